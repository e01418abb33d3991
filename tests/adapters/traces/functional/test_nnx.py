"""Steps of models of flax nnx: same bits, every quantity within rounding, mistakes found, nothing left behind."""

from typing import Any

import numpy as np
import pytest

import kterm
from kterm.adapters.traces.errors import TraceError

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
