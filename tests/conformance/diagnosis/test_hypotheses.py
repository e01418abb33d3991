"""Each kind of hypothesis: planted, it is named; a near miss of it is not."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from kterm.adapters import Adapter, Observation
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.diagnosis.causes import Cause
from kterm.conformance.diagnosis.hypotheses.activations import VARIANTS, of_one_activation
from kterm.conformance.diagnosis.hypotheses.table import PLAIN
from kterm.conformance.mutants import MUTANTS
from kterm.reference import Array, Parameters, Structure
from kterm.reference.steps import Changes

from ...support.planted import Silent, causes_of, nearly, with_changes

GROUPS = (
    "4x6x5x3-tanh.softplus.sigmoid-b5-pre-f64-normal",
    "3x5x6x4-sigmoid.tanh.identity-b7-pre-f32-normal",
    "5x4x6-softplus.tanh-b6-post-f64-normal",
)
BY_NAME = {one.name: one for one in PLAIN}
NAMED = (
    "log-cosh",
    "huber-0.5-gradient",
    "residual-size",
    "residual-first-row-alone",
    "residual-weights-falling",
    "residual-micro-batches-4",
    "weights-size",
    "parameters-for-gradients",
    "tf32-products-zsW",
    "bf16-products-sW",
    "bf16-accumulator-b",
    "stale-saved-x",
    "stale-residual",
)


def _names(found: list[Cause]) -> list[str]:
    return [] if not found else [one.name for one in found[0].mistakes]


@pytest.mark.parametrize("name", NAMED)
def test_what_is_planted_is_named_as_fact(name: str) -> None:
    (changes, _), = BY_NAME[name].mistakes  # fmt: skip
    found = causes_of(with_changes(changes), GROUPS)
    assert name in _names(found), found
    assert found[0].is_fact
    assert not any(set(_names(causes_of(with_changes(nearly(changes)), GROUPS))) & {name} for _ in range(1))


@pytest.mark.parametrize("name", ["huber-0.5-gradient", "residual-weights-falling", "weights-size", "stale-saved-x"])
def test_what_is_planted_is_named_from_gradients_alone(name: str) -> None:
    (changes, _), = BY_NAME[name].mistakes  # fmt: skip
    assert name in _names(causes_of(with_changes(changes, Silent()), GROUPS))
    assert not _names(causes_of(with_changes(nearly(changes), Silent()), GROUPS))


_ACTIVATIONS = (
    ("leaky_relu", "leaky_relu with the slope 0.2, in both directions"),
    ("leaky_relu", "leaky_relu with the slope 0.01, in the forward pass alone"),
    ("celu", "celu with alpha = 1, in both directions"),
    ("gelu", "gelu with the sigmoid form z s(1.702 z), in both directions"),
    ("hard_sigmoid", "hard_sigmoid with the slope 0.2, in the backward pass alone"),
    ("sigmoid", "sigmoid's f' with the \"1 -\" missing, s s for s(1 - s)"),
    ("tanh", "tanh's f' with the \"1 -\" missing, t^2 for 1 - t^2"),
)


@pytest.mark.parametrize(("activation", "mistake"), _ACTIVATIONS)
def test_a_variant_of_an_activation_is_named(activation: str, mistake: str) -> None:
    one = next(one for one in of_one_activation(activation) if one.mistake == mistake)
    (changes, _), = one.mistakes  # fmt: skip
    groups = (
        f"4x6x5x3-softsign.{activation}.mish-b5-pre-f64-normal",
        f"3x5x4-{activation}.mish-b4-none-f32-normal",
        "4x6x3-mish.sin-b3-pre-f64-normal",
    )
    found = causes_of(with_changes(changes), groups, draws=4)
    assert mistake in [e.mistake for e in found[0].mistakes], found
    near = causes_of(with_changes(nearly(changes)), groups, draws=4)
    assert not near or not near[0].mistakes, near


def test_a_coarse_formula_is_named() -> None:
    """log(1 + exp z) is 0 in the left tail; in the right one it overflows, and those cases fail in words."""
    one = next(one for one in of_one_activation("softplus") if one.mistake == "softplus by log(1 + exp z)")
    (changes, _), = one.mistakes  # fmt: skip
    found = causes_of(
        with_changes(changes), ("4x6x5-softplus.mish-b5-pre-f64-tails", "3x5x4-softplus.mish-b4-none-f32-tails"), 6
    )
    assert one.mistake in [e.mistake for cause in found for e in cause.mistakes], found


def test_each_variant_differs_from_the_right_function() -> None:
    assert len({(v.activation, v.text) for v in VARIANTS}) == len(VARIANTS)


def test_two_mistakes_that_agree_in_all_cases_are_both_named() -> None:
    """In networks of one layer, no f' at the output layer is no f' at all."""
    groups = ("4x3-tanh-b5-pre-f64-normal", "3x4-sigmoid-b4-none-f32-normal")
    found = causes_of(with_changes(MUTANTS["no-slope-last"].changes), groups)
    assert {"no-slope-last", "no-slope"} <= {e.name for e in found[0].mistakes}


# Parts of a pass in a narrower format.


class Narrow(Numpy):
    """The reference, with quantities of some kinds replaced by what the same step gives in float32."""

    name = "narrow"
    kinds: tuple[str, ...] = ()

    def build(self, structure: Structure) -> Callable[[Parameters, Array, Array], Observation]:
        wide = super().build(structure)
        narrow = super().build(Structure(structure.network, structure.batch, "f32"))

        def call(parameters: Parameters, x: Array, y: Array) -> Observation:
            def half(a: Array) -> Array:
                return a.astype(np.float32)

            cast = Parameters(tuple(map(half, parameters.weights)), tuple(map(half, parameters.biases)))
            low, high = narrow(cast, half(x), half(y)), wide(parameters, x, y)
            widened: dict[str, object] = {}
            for kind in self.kinds:
                value = getattr(low, kind)
                widened[kind] = (
                    tuple(a.astype(x.dtype) for a in value) if isinstance(value, tuple) else value.astype(x.dtype)
                )
            return replace(high, **widened)

        return call


_BACKWARD = ("k", "weight_gradients", "bias_gradients")


@pytest.mark.parametrize(
    ("kinds", "name"),
    [
        ((*_BACKWARD, "z", "x", "outputs", "error"), "computed-in-f32"),
        (_BACKWARD, "backward-in-f32"),
        (("error",), "error-in-f32"),
    ],
)
def test_a_part_in_a_narrower_format_is_named_by_its_numbers(kinds: tuple[str, ...], name: str) -> None:
    adapter = Narrow()
    adapter.kinds = kinds
    groups = ("4x6x5x3-tanh.softplus.sigmoid-b5-pre-f64-normal", "5x4x6-softplus.tanh-b6-post-f64-normal")
    found = causes_of(adapter, groups)
    assert _names(found) == [name], found


def test_an_error_of_the_size_of_a_narrower_format_is_not_taken_for_it() -> None:
    """A table with errors of about 2^-24 lies within the rounding errors of f32; its values are no numbers of f32."""
    rough: Changes = {"x": lambda w, i, right: right().through(lambda a: a * (1 + 3e-8 * np.sin(1e3 * a)))}
    found = causes_of(with_changes(rough), GROUPS[::2])
    assert found
    assert not any(cause.mistakes for cause in found), found


# Numbers that are read from the answers.


def _gradients(change: Callable[[Structure, Observation], Observation], base: type[Numpy] = Numpy) -> Adapter:
    class Changed(base):
        name = "changed"

        def build(self, structure: Structure) -> Callable[[Parameters, Array, Array], Observation]:
            program = super().build(structure)
            return lambda parameters, x, y: change(structure, program(parameters, x, y))

    return Changed()


def _clip_by_norm(structure: Structure, o: Observation) -> Observation:
    both = (*o.weight_gradients, *o.bias_gradients)
    norm = np.sqrt(sum(float(np.square(g.astype(float)).sum()) for g in both))
    factor = min(1.0, 0.25 / norm)
    return replace(
        o,
        weight_gradients=tuple((g * factor).astype(g.dtype) for g in o.weight_gradients),
        bias_gradients=tuple((g * factor).astype(g.dtype) for g in o.bias_gradients),
    )


def _clip_by_value(structure: Structure, o: Observation) -> Observation:
    return replace(
        o,
        weight_gradients=tuple(np.clip(g, -0.05, 0.05) for g in o.weight_gradients),
        bias_gradients=tuple(np.clip(g, -0.05, 0.05) for g in o.bias_gradients),
    )


def _outputs_times(structure: Structure, o: Observation) -> Observation:
    """As scikit-learn has it: the gradient of the summed loss where E is a mean over the outputs."""
    n = structure.network.widths[-1]
    return replace(
        o,
        weight_gradients=tuple(g * g.dtype.type(n) for g in o.weight_gradients),
        bias_gradients=tuple(g * g.dtype.type(n) for g in o.bias_gradients),
    )


@pytest.mark.parametrize(
    ("change", "base", "said"),
    [
        (_clip_by_norm, Numpy, "all gradients together clipped to the norm 0.25"),
        (_clip_by_value, Numpy, "all gradients held between ±0.05"),
        (_outputs_times, Silent, "the residual n_n times what it should be: the number of outputs"),
    ],
)
def test_a_number_is_read_once_and_is_the_same_in_all_cases(
    change: Callable[[Structure, Observation], Observation], base: type[Numpy], said: str
) -> None:
    found = causes_of(_gradients(change, base), GROUPS)
    assert said in [e.mistake for e in found[0].mistakes], found


def test_a_number_that_differs_from_case_to_case_is_not_named() -> None:
    """E of a Huber loss is 0.776 times what it should be in one case, and another part in the next."""

    def huber(structure: Structure, o: Observation) -> Observation:
        return replace(o, error=o.error * o.error.dtype.type(0.5 + 0.4 / (1 + float(o.error))))

    found = causes_of(_gradients(huber), GROUPS)
    assert found
    assert not any(cause.mistakes for cause in found), found


def _wrong_k(structure: Structure, o: Observation) -> Observation:
    assert o.k is not None
    return replace(o, k=tuple(k * (1 + 0.01 * np.sin(np.arange(k.shape[1]))).astype(k.dtype) for k in o.k))


def test_a_wrong_k_beside_right_gradients_is_described_so() -> None:
    found = causes_of(_gradients(_wrong_k), GROUPS)
    assert found
    for cause in found:
        assert not cause.mistakes
        assert any("the gradients agree with the rule" in line for line in cause.description), cause.description
