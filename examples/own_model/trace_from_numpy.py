"""A training step of one layer as a trace, written without kterm: a JSON file and a safetensors file."""

import json
import struct
from pathlib import Path

import numpy as np

FORMATS = {"float32": "F32", "float64": "F64", "float16": "F16", "int64": "I64"}


def write_safetensors(path, arrays):
    header, end = {}, 0
    for name, array in arrays.items():
        offsets = [end, end + array.nbytes]
        header[name] = {"dtype": FORMATS[str(array.dtype)], "shape": array.shape, "data_offsets": offsets}
        end += array.nbytes
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(a.tobytes() for a in arrays.values()))


rng = np.random.default_rng(0)
x, W, b, y = (rng.normal(size=shape).astype(np.float32) for shape in ((32, 12), (12, 5), (5,), (32, 5)))
z = x @ W + b
k = z - y  # the loss is half the sum of (z - y)**2
arrays = {"x": x, "W": W, "b": b, "z": z, "k": k, "gx": k @ W.T, "gW": x.T @ k, "gb": k.sum(0)}
call = {"input": "x", "weight": "W", "bias": "b", "output": "z", "output_gradient": "k", "input_gradient": "gx"}
layer = {"name": "out", "weight": "out.weight", "bias": "out.bias", "layout": "in_out", "calls": [call]}
parameters = [{"name": "out.weight", "gradient": "gW"}, {"name": "out.bias", "gradient": "gb"}]
step = {"file": "step-0.safetensors", "layers": [layer], "parameters": parameters}
manifest = {"format": "kterm-trace", "version": 1, "framework": "numpy", "framework_version": np.__version__}

folder = Path("numpy-trace")
folder.mkdir(exist_ok=True)
write_safetensors(folder / step["file"], arrays)
(folder / "trace.json").write_text(json.dumps(manifest | {"steps": [step]}, indent=1))
