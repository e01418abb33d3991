"""The cause of a finding about an activation, or about what is passed from it to its layer."""

from collections.abc import Iterator, Mapping

import numpy as np

from .....adapters.traces.manifest import Activation
from .....reference import ACTIVATIONS, DTYPES, Array
from .....reference import rounding as r
from .....reference.error_model import Estimate, Reading, deviation
from ..products.compare import seed_of
from .find import Cause, Sample, explain_result, join_causes

_MOST_ENTRIES = 2048


def find_activation_cause(
    activation: Activation, quantity: str, dtype: str, z: Array, arrays: Mapping[str, Array], at: int, name: str
) -> Cause:
    """The cause of a finding in `a` or in `dL/dz` of an activation whose input is `z` (N, n). `at` is the flat index of
    the entry with the largest error.
    """
    reading = deviation(DTYPES[dtype])
    field = activation.output if quantity == "a" else activation.input_gradient
    assert field is not None  # a finding is about an array
    picked = _pick(z.size, at, name)

    def taken(array: Array) -> Array:
        return array.reshape(-1)[picked].astype(np.float64)[None]

    seen, row = taken(arrays[field]), ACTIVATIONS[activation.name]
    own = Estimate(taken(z))
    back = Estimate(taken(arrays[activation.output_gradient])) if activation.output_gradient is not None else None
    if quantity == "a" or back is None:
        due = r.activation(row, own, reading)
        candidates = _other_values(activation.name, own, reading)
    else:
        due = r.hadamard(back, r.derivative(row, own, reading), reading)
        value = None if activation.output is None else Estimate(taken(arrays[activation.output]))
        candidates = _other_slopes(activation.name, own, value, back, reading)
    sample = Sample(np.zeros(1, int), picked, seen, due, reading, DTYPES[dtype].max)
    names = [words for words, estimate in candidates if sample.explained(estimate)]
    names = names or list(explain_result(sample, dtype))
    return join_causes(names) or Cause("unknown", False)


def find_passing_cause(expected: Array, observed: Array, dtype: str, name: str) -> Cause:
    """The cause of a dL/dz that is not, bit for bit, what the activation behind the layer gave back."""
    differs = np.flatnonzero((expected != observed).reshape(-1))
    picked = _pick(expected.size, int(differs[0]) if differs.size else 0, name)
    due, seen = (a.reshape(-1)[picked].astype(np.float64)[None] for a in (expected, observed))
    sample = Sample(np.zeros(1, int), picked, seen, Estimate(due), deviation(DTYPES[dtype]), DTYPES[dtype].max)
    found = join_causes(list(explain_result(sample, dtype)))
    where = "something between the activation and the layer changes the gradient"
    if found is None:
        return Cause(f"unknown; {where}", False)
    return Cause(f"{where}: it {found.text}", found.is_known)


def _pick(size: int, at: int, name: str) -> Array:
    if size <= _MOST_ENTRIES:
        return np.arange(size)
    return np.unique([at, *seed_of(f"{name} entries").choice(size, _MOST_ENTRIES, replace=False)])


def _other_values(own: str, z: Estimate, reading: Reading) -> Iterator[tuple[str, Estimate]]:
    for name in ACTIVATIONS:
        if name != own:
            yield f"uses {name} in place of {own}", r.activation(ACTIVATIONS[name], z, reading)


def _other_slopes(
    own: str, z: Estimate, value: Estimate | None, back: Estimate, reading: Reading
) -> Iterator[tuple[str, Estimate]]:
    right = r.derivative(ACTIVATIONS[own], z, reading)
    yield "leaves out f'", back
    yield "applies f' twice", r.hadamard(r.hadamard(back, right, reading), right, reading)
    if value is not None:
        yield "uses f' of a in place of z", r.hadamard(back, r.derivative(ACTIVATIONS[own], value, reading), reading)
        yield "uses f in place of f'", r.hadamard(back, value, reading)
    for name in ACTIVATIONS:
        if name not in (own, "identity"):
            slope = r.derivative(ACTIVATIONS[name], z, reading)
            yield f"uses f' of {name} in place of {own}", r.hadamard(back, slope, reading)
