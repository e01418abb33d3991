"""Calls become layers: a call that knows its layer is given to it, the others to the layer whose bits they read."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax")

from kterm.adapters.traces.functional.step import Kind, Model, Place, record_step
from kterm.adapters.traces.functional.taps import SeenCall
from kterm.adapters.traces.trace import TraceBuilder

RNG = np.random.default_rng(0)
ARRAYS = {name: RNG.normal(size=shape).astype("f4") for name, shape in (("a", (3, 2)), ("b", (3, 2)), ("c", (4, 5)))}
PLACES = [Place(name.upper(), name, None, "Dense") for name in ARRAYS]


def make_call(weight: Any, place: str = "", **changes: Any) -> SeenCall:
    x = RNG.normal(size=(6, weight.shape[0])).astype("f4")
    k = RNG.normal(size=(6, weight.shape[1])).astype("f4")
    seen = SeenCall(Kind(place=place), x, weight, None, {"output": x @ weight, "output_gradient": k})
    seen.arrays |= changes.pop("arrays", {})
    for name, value in changes.items():
        setattr(seen, name, value)
    return seen


def record(calls: list[SeenCall], model: Model, gradients: Any = ARRAYS, **more: Any) -> Any:
    builder = TraceBuilder(None, framework="jax")
    record_step(builder, dict(enumerate(calls, 1)), model, gradients, **more)
    return builder.trace().manifest.steps[0]


def why_not(step: Any) -> dict[str, str]:
    return {one.name: one.not_captured for one in step.parameters}


def test_a_call_that_knows_its_layer_needs_no_bits() -> None:
    both = [make_call(ARRAYS["a"], "A"), make_call(ARRAYS["a"], "B"), make_call(ARRAYS["c"])]
    step = record(both, Model(ARRAYS, PLACES))
    assert [layer.name for layer in step.layers] == ["A", "B", "C"]
    assert set(why_not(step).values()) == {""}
    step = record(both[:2], Model({}, PLACES))  # as Keras gives it
    assert [layer.name for layer in step.layers] == ["A", "B"]


def test_a_lost_call_touches_the_gradients_that_it_may_be_part_of_and_no_others() -> None:
    whole = [make_call(ARRAYS[name], name.upper()) for name in ARRAYS]
    second = make_call(ARRAYS["a"], "A", is_second=True)
    found = why_not(record([*whole, second], Model({}, PLACES)))
    assert found["a"].startswith("a call of its layer")
    assert (found["b"], found["c"]) == ("", "")
    unknown = make_call(ARRAYS["a"] + 1)
    found = why_not(record([*whole, unknown], Model(ARRAYS, PLACES)))
    assert found["a"] == found["b"] != ""
    assert found["c"] == ""


def test_a_weight_of_two_layers_stays_one_parameter_with_what_was_missed_of_either() -> None:
    places = [Place("A", "a", None, "Dense"), Place("T", "a", None, "Dense")]
    calls = [make_call(ARRAYS["a"], "A", is_second=True), make_call(ARRAYS["a"], "A"), make_call(ARRAYS["a"], "T")]
    step = record(calls, Model({}, places))
    assert [one.name for one in step.parameters] == ["a"]
    assert why_not(step)["a"].startswith("a call of its layer")


def test_a_bias_of_two_layers_may_have_been_touched_through_either() -> None:
    arrays = {**ARRAYS, "d": RNG.normal(size=2).astype("f4"), "e": RNG.normal(size=(7, 2)).astype("f4")}
    places = [Place("A", "a", "d", "Dense"), Place("E", "e", "d", "Dense")]
    calls = [make_call(arrays["a"], "A", bias=arrays["d"]), make_call(arrays["e"], "E", bias=arrays["d"])]
    unknown = make_call(arrays["a"] + 1)
    found = why_not(record([*calls, unknown], Model(arrays, places), gradients=arrays))
    assert found["e"] == ""
    assert found["a"] == found["d"] != ""


def test_notes_are_counted_and_other_parts_of_a_gradient_said() -> None:
    calls = [make_call(ARRAYS["a"], "A"), make_call(ARRAYS["c"], "C", is_second=True)]
    model = Model({}, PLACES[:1] + PLACES[2:], {"a": "it has a regularizer"})
    step = record(calls, model, more={"seen before": 2, "once": 1})
    assert why_not(step) == {"a": "it has a regularizer"}
    assert {"seen before (2 times)", "once"} < set(step.notes)


def test_a_call_without_output_has_no_activation() -> None:
    a = RNG.normal(size=(6, 2)).astype("f4")
    shown = {"activation_output": a, "activation_output_gradient": a}
    with_z = make_call(ARRAYS["a"], "A", arrays=shown, activation="tanh")
    without = make_call(ARRAYS["b"], "B", arrays=shown, activation="tanh")
    del without.arrays["output"]
    one, other = (layer.calls[0] for layer in record([with_z, without], Model({}, PLACES)).layers)
    assert one.activation is not None
    assert one.activation.name == "tanh"
    assert (other.activation, other.output) == (None, None)
    assert len(other.not_captured) == 1
