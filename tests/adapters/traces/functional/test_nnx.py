"""Steps of models of flax nnx: same bits, every quantity within rounding, mistakes found, nothing left behind."""

import math
from typing import Any

import numpy as np
import pytest
from msgspec import structs

import kterm
from kterm.adapters.traces.errors import TraceError
from kterm.adapters.traces.manifest import Products
from kterm.adapters.traces.trace import Trace

nnx: Any = pytest.importorskip("flax.nnx")
jax: Any = pytest.importorskip("jax")
jnp = jax.numpy

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5, 8)), "float32")


class Block(nnx.Module):
    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.attention = nnx.MultiHeadAttention(2, 8, rngs=rngs, decode=False)
        self.up = nnx.Linear(8, 8, rngs=rngs)
        self.down = nnx.Linear(8, 8, use_bias=False, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = x + self.attention(x)
        return x + self.down(nnx.gelu(self.up(nnx.tanh(self.up(x)))))


def loss_of(model: Any, x: Any) -> Any:
    return jnp.mean(model(x) ** 2)


def same(one: Any, other: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


def test_a_transformer_block_is_certified_with_the_same_bits() -> None:
    model, run = Block(), nnx.value_and_grad(loss_of)
    before = run(model, X)
    with kterm.capture(model) as trace:
        step = run(model, X)
        trace.end_step(step[1])
    assert same(before, step)
    layers = {layer.name: layer for layer in trace.manifest.steps[0].layers}
    assert set(layers) == {f"attention.{one}" for one in ("query", "key", "value", "out")} | {"up", "down"}
    assert len(layers["up"].calls) == 2
    assert layers["attention.out"].calls[0].axes == (4, 5)
    assert trace.steps[0]["attention.out.x"].shape == (20, 8)
    assert not trace.manifest.steps[0].notes
    assert str(kterm.judge(trace)).startswith("PASS")


def test_a_function_compiled_before_the_block_is_seen_and_a_wrong_gradient_found() -> None:
    model, run = Block(), nnx.jit(nnx.value_and_grad(loss_of))
    before = run(model, X)
    with kterm.capture(model) as trace:
        gradients = run(model, X)[1]
        gradients["down"]["kernel"][...] *= 0.5
        trace.end_step(gradients)
    verdict = str(kterm.judge(trace))
    assert verdict.startswith("FAIL")
    assert "dL/dW of down" in verdict
    assert same(before, run(model, X))


def test_micro_batches_are_a_sum() -> None:
    model, run = Block(), nnx.grad(loss_of)
    with kterm.capture(model) as trace:
        first, second = run(model, X[:2]), run(model, X[2:])
        trace.end_step(jax.tree.map(jnp.add, first, second))
        run(model, X[:2])
        trace.end_step(run(model, X[2:]))
    steps = trace.manifest.steps
    assert [len(one.layers[-1].calls) for one in steps] == [2, 2]
    assert "step" in (verdict := str(kterm.judge(trace)))
    assert verdict.startswith("FAIL")


@pytest.mark.parametrize("raises", [False, True])
def test_nothing_stays_behind(raises: bool) -> None:
    model = Block()
    before = nnx.Linear.__call__, nnx.LinearGeneral.__call__, sorted(vars(model.up))
    run = jax.jit(lambda x: model(x))
    try:
        with kterm.capture(model):
            run(X)
            if raises:
                raise ValueError
    except ValueError:
        assert raises
    assert (nnx.Linear.__call__, nnx.LinearGeneral.__call__, sorted(vars(model.up))) == before
    assert "callback" not in str(jax.make_jaxpr(run)(X))


def test_what_cannot_be_captured_is_said() -> None:
    model = Block()
    with pytest.raises(TraceError, match="no dense layer"):
        kterm.capture(nnx.LayerNorm(8, rngs=nnx.Rngs(0)))
    with pytest.raises(TraceError, match="for PyTorch models"):
        kterm.capture(model, dense=["up"])
    with kterm.capture(model) as trace:
        with pytest.raises(TraceError, match="no backward pass reached"):
            trace.end_step({})
        gradients = nnx.grad(loss_of)(model, X)
        nnx.update(model, jax.tree.map(lambda one: one + 1, nnx.state(model)))
        trace.end_step(gradients)
    notes = trace.manifest.steps[0].notes
    assert any("its weight is none of the model" in note for note in notes)
    assert any(note.startswith("up.kernel: has a gradient") for note in notes)


DERIVATIVES = {
    "jvp": lambda run: jax.jvp(run, (X,), (X,)),
    "jit jvp": lambda run: jax.jit(lambda x: jax.jvp(run, (x,), (x,)))(X),
    "checkpoint": lambda run: jax.jvp(jax.checkpoint(run), (X,), (X,)),
}
SECOND = {
    "hessian": lambda run: jax.hessian(run)(X[0, :1]),
    "jit hessian": lambda run: jax.jit(jax.hessian(run))(X[0, :1]),
    "reverse twice": lambda run: jax.jacrev(jax.jacrev(run))(X[0, :1]),
}


def test_forward_mode_and_second_derivatives_run_as_before_and_are_said() -> None:
    layers = nnx.Sequential(nnx.Linear(8, 6, rngs=nnx.Rngs(0)), nnx.tanh, nnx.Linear(6, 1, rngs=nnx.Rngs(1)))

    def run(x: Any) -> Any:
        return jnp.sum(layers(x))

    every = {**DERIVATIVES, **SECOND}
    before = [derive(run) for derive in every.values()]
    with kterm.capture(layers) as trace:
        for derive, due in zip(every.values(), before, strict=True):
            assert same(due, derive(run))
            trace.end_step(nnx.grad(loss_of)(layers, X))
    judgement = kterm.judge(trace)
    assert not judgement.findings
    for number, (name, step) in enumerate(zip(every, trace.manifest.steps, strict=True)):
        assert any("forward-mode" in note for note in step.notes)
        # A call of a second derivative is none of the step. Whether the gradient of its weight holds it is not known,
        # so that is not judged, and what the step itself did is. A compiled hessian has such a call of one layer only.
        assert any("second derivative" in note for note in step.notes) == (name in SECOND), name
        assert [len(layer.calls) for layer in step.layers] == [1, 1], name
        found = [v.verdict.quantity for v in judgement.verdicts if v.step == number]
        assert found.count("z") == 2
        assert found.count("dL/dW") == (2 if name in DERIVATIVES else 1 if name == "jit hessian" else 0), name


@pytest.mark.parametrize(
    ("axes", "order"), [((70,), "in blocks of 32"), ((5, 14), "one after another"), ((2, 40), "in blocks of 32")]
)
@pytest.mark.parametrize("jit", [False, True])
def test_rows_of_a_bias_gradient_are_added_in_bfloat16(jit: bool, axes: tuple[int, ...], order: str) -> None:
    parameter = "float32" if jit else "bfloat16"
    layer = nnx.Linear(8, 7, dtype=jnp.bfloat16, param_dtype=parameter, rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(1).normal(size=(*axes, 8)), "bfloat16")
    rows = np.random.default_rng(2).normal(size=(math.prod(axes), 7)).astype(jnp.bfloat16)
    rows[-1] -= rows.astype("float32").sum(0).astype(jnp.bfloat16)  # rows that almost cancel
    k = rows.reshape(*axes, 7)
    run = nnx.grad(lambda layer, x: jnp.sum(layer(x) * k))
    with kterm.capture(layer) as trace:
        trace.end_step((nnx.jit(run) if jit else run)(layer, x))
    products = trace.manifest.steps[0].layers[0].calls[0].products
    assert products is not None
    assert products.bias_accumulator == "bf16"
    judgement = kterm.judge(trace)
    assert str(judgement).startswith("PASS")
    (bias,) = (v.verdict for v in judgement.verdicts if v.verdict.quantity == "dL/db")
    assert (bias.grade, bias.power) == ("pass", np.inf)
    # The same numbers depart from sums in float32, and the cause is named.
    found = kterm.judge(without_products(trace.trace())).findings
    assert [one.verdict.quantity for one in found] == ["dL/db"]
    assert found[0].cause is not None
    assert found[0].cause.text == f"accumulates the sum over rows in bf16, {order}: equal bit for bit"


def without_products(trace: Trace) -> Trace:
    """A trace of one layer that declares nothing of how the rows of a bias gradient are added."""
    (step,) = trace.manifest.steps
    (layer,) = step.layers
    calls = [structs.replace(one, products=Products(dtype="bf16")) for one in layer.calls]
    step = structs.replace(step, layers=(structs.replace(layer, calls=tuple(calls)),))
    return Trace(structs.replace(trace.manifest, steps=(step,)), trace.steps)


class Tied(nnx.Module):
    """A table of tokens that is the weight of the last layer too, and a matrix that no layer has."""

    def __init__(self, dtype: Any = None) -> None:
        rngs = nnx.Rngs(0)
        self.table = nnx.Embed(9, 8, dtype=dtype, rngs=rngs)
        self.unused = nnx.Embed(9, 8, dtype=dtype, rngs=rngs)
        self.up = nnx.Linear(8, 8, dtype=dtype, rngs=rngs)
        self.own = nnx.List([nnx.Param(jnp.eye(8)), nnx.Param(jnp.eye(8))])
        self.experts = nnx.Param(jnp.ones((2, 8, 8)))
        self.positions = nnx.Param(jnp.ones((1, 5, 8)))

    def __call__(self, tokens: Any) -> Any:
        x = self.table(tokens) + self.unused(tokens) + self.positions[...]
        x = self.up(x) @ self.own[0][...] @ self.own[1][...] @ self.experts[...].sum(0)
        return self.table.attend(x)


TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, 9, (4, 5)))


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
def test_a_tied_last_layer_is_judged_but_for_the_gradient_of_its_table(jit: bool, dtype: Any) -> None:
    model, run, attend = Tied(dtype), nnx.grad(loss_of), nnx.Embed.attend
    with kterm.capture(model) as trace:
        trace.end_step((nnx.jit(run) if jit else run)(model, TOKENS))
    assert nnx.Embed.attend is attend
    (step,) = trace.manifest.steps
    judgement = kterm.judge(trace)
    assert str(judgement).startswith("PASS"), judgement
    found = {v.verdict.quantity for v in judgement.verdicts if v.layer == "table"}
    assert {"z", "dL/dx"} <= found
    assert "dL/dW" not in found
    reasons = {one.name: one.not_captured for one in step.parameters}
    assert reasons["table.embedding"] == "lookups in the table, which were not captured, have a part in it"
    assert step.notes == (
        "experts: has a gradient, and no call of a dense layer with it was captured",
        "own.*: has a gradient, and no call of a dense layer with it was captured (2 times)",
    )


def test_a_wrong_output_of_a_tied_layer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model, right = Tied(), nnx.Embed.attend
    monkeypatch.setattr(nnx.Embed, "attend", lambda self, x: right(self, x) * jnp.ones(9).at[3].set(1.01))
    with kterm.capture(model) as trace:
        trace.end_step(nnx.grad(loss_of)(model, TOKENS))
    assert {(one.layer, one.verdict.quantity) for one in kterm.judge(trace).findings} == {
        ("table", "z"),
        ("table", "dL/dx"),
    }
