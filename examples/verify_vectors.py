"""The verdicts of `kterm vectors verify` in plain NumPy: python examples/verify_vectors.py VECTORS RESULTS"""

import json
import math
import sys
from pathlib import Path

import ml_dtypes
import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16, "BOOL": "?"}


def read(data):
    """The arrays and the metadata of the bytes of a safetensors file."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    metadata, arrays = header.pop("__metadata__", {}), {}
    if end > len(data) or data[8:end].count(b'"data_offsets"') != len(header):
        raise ValueError("the header is cut off, or a name occurs twice")
    for name, entry in header.items():
        (start, stop), dtype = entry["data_offsets"], np.dtype(DTYPES[entry["dtype"]])
        raw = data[end + start : end + stop]
        if start < 0 or not len(raw) == stop - start == math.prod(entry["shape"]) * dtype.itemsize:
            raise ValueError(f"{name}: its bytes do not fit its shape")
        arrays[name] = np.frombuffer(raw, dtype).reshape(entry["shape"])
    return arrays, metadata


def judge(name, i, due, given):
    """The verdict on one quantity of draw i: whether each entry lies within its interval. NaN: any answer is right."""
    a, lower, upper = (x[i].astype(float) for x in (given[name], due[name + ".lower"], due[name + ".upper"]))
    inside = (np.isnan(lower) | ((lower <= a) & (a <= upper))).all()
    return ("passed" if due[name + ".shows"][i] else "inconclusive") if inside else "failed"


def verify(vectors, results):
    """The verdict on each case, and those on its quantities by name."""
    for entry in json.loads((Path(vectors) / "manifest.json").read_text(encoding="utf-8"))["structures"]:
        data, names = (Path(vectors) / entry["file"]).read_bytes(), entry["quantities"]
        (due, _), outcome, given = read(data), "errored", {}
        try:
            given, metadata = read((Path(results) / entry["file"]).read_bytes())
            outcome = "unsupported" if not given and metadata.get("unsupported") else "errored"
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass
        fits = all(name in names or name[:2] in ("z_", "x_", "k_") for name in given)
        fits &= all(name in given or name[0] in "zxk" for name in names)
        judged = [name for name in names if name in given]
        fits &= all((given[n].shape, given[n].dtype) == (due[n].shape, due[n].dtype) for n in judged)
        for i, case in enumerate(entry["cases"]):
            found = {name: judge(name, i, due, given) for name in judged} if fits else {}
            worst = next((one for one in ("failed", "inconclusive") if one in found.values()), "passed")
            yield case, worst if fits else outcome, found


if __name__ == "__main__":
    verdicts = list(verify(*sys.argv[1:]))
    print(*(f"{case}: {outcome}" for case, outcome, _ in verdicts if outcome != "passed"), sep="\n")
    sys.exit(bool({"failed", "errored"} & (found := {outcome for _, outcome, _ in verdicts}) or "passed" not in found))
