"""Judge damaged traces, and see that each is judged or refused in one line, in time and memory.

    python -m benchmarks.models.fuzzed_traces --count 20000

Each trace is one of a small model with one to three changes: in its manifest, or in the header or the arrays of a step.
Bytes are flipped, cut out, doubled or replaced; values of the manifest and of headers are replaced by values of another
kind, by huge ones and by those of other places; names of arrays and of files are exchanged.
"""

import argparse
import json
import random
import resource
import struct
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cost.fuzzed_records import STRANGE, damage_text, list_places
from kterm.adapters.traces.errors import TraceError
from kterm.adapters.traces.manifest import MANIFEST, Activation, Call, Layer, Parameter
from kterm.adapters.traces.trace import TraceBuilder
from kterm.conformance.interfaces.models.lines import coverage_lines, finding_lines, run_lines, table_of_layers
from kterm.conformance.interfaces.models.run import judge

_STEP = "step-0000.safetensors"
_OWN: tuple[Any, ...] = (
    "layers.0", "W", "x", "indices", "../x", "/dev/zero", "/etc/passwd", ".", "tanh", "gelu_tanh", "in_out", "out_in",
    "lookup", "dense", "bf16", "F64", "I64", [2**62, 4], [0], [6, 0], 2**53, "leaky_relu_1e308", "softplus_1e-300",
)  # fmt: skip


def write_sound(folder: Path) -> None:
    """A trace with two layers, a shared table, an activation and two calls."""
    rng, builder = np.random.default_rng(0), TraceBuilder(folder, framework="torch", framework_version="2.13.0")

    def put(name: str, *shape: int) -> str:
        return builder.put(name, rng.normal(size=shape).astype(np.float32))

    weight, table = put("W", 5, 4), put("table", 7, 4)
    behind = Activation(name="tanh", output=put("a", 6, 5), output_gradient=put("ga", 6, 5), is_alone=True)
    calls = [
        Call(
            weight=weight, bias=put("b", 5), input=put("x", 6, 4), output=put("z", 6, 5),
            output_gradient=put("k", 6, 5), input_gradient=put("gx", 6, 4), axes=(2, 3), backward=i, activation=behind,
        )
        for i in range(2)
    ]  # fmt: skip
    indices = builder.put("indices", rng.integers(0, 7, 6))
    lookup = Call(weight=table, input=indices, output=put("rows", 6, 4), output_gradient=put("kr", 6, 4))
    head = Call(weight=table, input=put("h", 6, 4), output=put("logits", 6, 7), output_gradient=put("kl", 6, 7))
    layers = (
        Layer(name="layers.0", weight="w", bias="b", layout="out_in", calls=tuple(calls)),
        Layer(name="head", weight="t", layout="out_in", calls=(head,)),
        Layer(name="embed", weight="t", kind="lookup", calls=(lookup,)),
    )
    parameters = (
        Parameter(name="w", gradient=put("gW", 5, 4), gradient_before=put("before", 5, 4)),
        Parameter(name="b", gradient=put("gb", 5)),
        Parameter(name="t", gradient=put("gt", 7, 4)),
    )
    builder.end_step(layers, parameters)


def damage(folder: Path, rng: random.Random) -> None:
    """Make one to three changes to a trace."""
    for _ in range(rng.randint(1, 3)):
        rng.choice((_damage_manifest, _damage_manifest, _damage_values, _damage_values, _damage_header, _damage_bytes))(
            folder, rng
        )


def _damage_manifest(folder: Path, rng: random.Random) -> None:
    path = folder / MANIFEST
    path.write_bytes(damage_text(path.read_bytes(), rng))


def _damage_values(folder: Path, rng: random.Random) -> None:
    path = folder / MANIFEST
    path.write_bytes(_with_other_value(path.read_bytes(), rng))


def _damage_header(folder: Path, rng: random.Random) -> None:
    path = folder / _STEP
    data = path.read_bytes()
    if len(data) < 8:
        return
    (length,) = struct.unpack("<Q", data[:8])
    length = min(length, len(data) - 8)
    text = _with_other_value(data[8 : 8 + length].rstrip(), rng)
    path.write_bytes(struct.pack("<Q", max(len(text), length)) + text.ljust(length) + data[8 + length :])


def _damage_bytes(folder: Path, rng: random.Random) -> None:
    path = folder / _STEP
    path.write_bytes(damage_text(path.read_bytes(), rng))


def _with_other_value(text: bytes, rng: random.Random) -> bytes:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return text
    places = list_places(row)
    if not places:
        return text
    holder, key = rng.choice(places)
    if rng.random() < 0.15:
        del holder[key]
    elif rng.random() < 0.4:
        other, its = rng.choice(places)
        holder[key] = json.loads(json.dumps(other[its]))
    else:
        holder[key] = rng.choice((*STRANGE, *_OWN))
    return json.dumps(row).encode()


def try_trace(folder: Path) -> str:
    """What is said of a damaged trace: a line, or nothing if it is judged."""
    try:
        judgement = judge(folder)
    except TraceError as error:
        said = str(error)
        assert said.isprintable(), said
        assert len(said) < 700, said
        return said
    for line in (str(judgement), *finding_lines(judgement, None), *coverage_lines(judgement), *run_lines(judgement)):
        assert line.isprintable(), line
    table_of_layers(judgement)
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    outcomes, slowest = Counter[str](), (0.0, 0)
    with tempfile.TemporaryDirectory() as made:
        sound = Path(made) / "sound"
        write_sound(sound)
        contents = {name: (sound / name).read_bytes() for name in (MANIFEST, _STEP)}
        folder = Path(made) / "trace"
        folder.mkdir()
        for number in range(arguments.count):
            for name, data in contents.items():
                (folder / name).write_bytes(data)
            damage(folder, random.Random(f"{arguments.seed}.{number}"))
            started = time.monotonic()
            try:
                said = try_trace(folder)
            except BaseException:
                print(f"trace {number} of seed {arguments.seed}:")
                raise
            slowest = max(slowest, (time.monotonic() - started, number))
            outcomes["judged" if not said else said.partition("trace.json: ")[2][:40] or "refused otherwise"] += 1
    judged = outcomes.pop("judged", 0)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{arguments.count:,} traces: {judged:,} judged, {sum(outcomes.values()):,} refused in one line")
    print(f"slowest {slowest[0]:.2f} s (trace {slowest[1]}), {memory:.2f} GiB at most")


if __name__ == "__main__":
    main()
