"""Steps of models of equinox: layers under vmap, same bits, every quantity within rounding, nothing left behind."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import kterm

eqx: Any = pytest.importorskip("equinox")
jax: Any = pytest.importorskip("jax")
jnp = jax.numpy

X = jnp.asarray(np.random.default_rng(0).normal(size=(9, 6)), "float32")


def loss_of(model: Any, x: Any) -> Any:
    return jnp.mean(jax.vmap(model)(x) ** 2)


@pytest.mark.parametrize("jit", [False, True])
def test_two_steps_are_certified(jit: bool) -> None:
    model = eqx.nn.MLP(6, 3, 8, 2, key=jax.random.key(0))
    old, run = eqx.nn.Linear.__call__, eqx.filter_value_and_grad(loss_of)
    run = eqx.filter_jit(run) if jit else run
    before = run(model, X)
    with kterm.capture(model) as trace:
        loss, gradients = run(model, X)
        trace.end_step(gradients)
        new = eqx.apply_updates(model, jax.tree.map(lambda one: -one, gradients))
        trace.end_step(run(new, X)[1], new)
    assert eqx.nn.Linear.__call__ is old
    if not jit:  # a compiler may fuse otherwise around the host
        for one, other in zip(jax.tree.leaves(before), jax.tree.leaves((loss, gradients)), strict=True):
            assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
    for step in trace.manifest.steps:
        assert [layer.name for layer in step.layers] == ["layers.0", "layers.1", "layers.2"]
        assert step.layers[0].layout == "out_in"
        assert step.layers[0].calls[0].axes == (9,)
        assert not step.notes
    assert np.array_equal(trace.steps[0]["layers.0.x"], X)  # in the order of the batch
    assert str(kterm.judge(trace)).startswith("PASS")


def test_a_wrong_gradient_and_equal_weights_are_said() -> None:
    model = eqx.nn.MLP(6, 6, 6, 2, key=jax.random.key(0))
    model = eqx.tree_at(lambda one: one.layers[1], model, model.layers[2])
    with kterm.capture(model) as trace:
        gradients = eqx.filter_grad(loss_of)(model, X)
        trace.end_step(eqx.tree_at(lambda one: one.layers[0].weight, gradients, replace_fn=lambda one: one * 0.5))
    step = trace.manifest.steps[0]
    assert [layer.name for layer in step.layers] == ["layers.0"]
    assert any("layers.1 and layers.2 have the same weight" in note for note in step.notes)


def test_a_weight_that_is_cast_for_the_step_is_that_of_its_layer() -> None:
    model = eqx.nn.MLP(6, 3, 8, 2, key=jax.random.key(0))

    def cast(tree: Any) -> Any:
        return jax.tree.map(lambda one: one.astype("bfloat16") if eqx.is_inexact_array(one) else one, tree)

    with kterm.capture(model) as trace:
        gradients = eqx.filter_grad(lambda model: loss_of(cast(model), cast(X)).astype("float32"))(model)
        trace.end_step(gradients)
    step = trace.manifest.steps[0]
    assert [layer.name for layer in step.layers] == ["layers.0", "layers.1", "layers.2"]
    assert not step.notes
    assert trace.steps[0]["layers.0.weight"].dtype == "bfloat16"
    assert trace.steps[0]["layers.0.weight.gradient"].dtype == "float32"
    judgement = kterm.judge(trace)
    assert str(judgement).startswith("PASS")
    assert len(judgement.verdicts) == 4 * 3 - 1  # no dL/dx of the first layer


def test_a_call_of_an_unknown_weight_leaves_the_gradients_of_other_shapes_to_judge() -> None:
    model = eqx.nn.MLP(6, 3, 8, 2, key=jax.random.key(0))

    def scaled(model: Any) -> Any:
        # The weight of the last layer is scaled before the call, which makes it another one.
        other = eqx.tree_at(lambda one: one.layers[2].weight, model, replace_fn=lambda one: one * 2)
        return loss_of(other, X)

    with kterm.capture(model) as trace:
        trace.end_step(eqx.filter_grad(scaled)(model))
    step = trace.manifest.steps[0]
    assert [layer.name for layer in step.layers] == ["layers.0", "layers.1"]
    assert "its weight is none of the model" in step.notes[0]
    found = {(v.layer, v.verdict.quantity) for v in kterm.judge(trace).verdicts}
    assert {("layers.0", "dL/dW"), ("layers.1", "dL/dW")} <= found


def test_a_layer_whose_output_is_not_computed_is_judged_by_its_gradients() -> None:
    model = eqx.nn.MLP(6, 3, 8, 1, key=jax.random.key(0))
    k = jnp.asarray(np.random.default_rng(1).normal(size=(9, 3)), "float32")
    with kterm.capture(model) as trace:
        # The gradients of this loss need no output of the last layer, so a compiler leaves it out.
        trace.end_step(eqx.filter_jit(eqx.filter_grad(lambda model, x: jnp.sum(jax.vmap(model)(x) * k)))(model, X))
    first, last = (layer.calls[0] for layer in trace.manifest.steps[0].layers)
    assert first.output is not None
    assert not first.not_captured
    assert last.output is None
    assert "not computed" in last.not_captured[0]
    judgement = kterm.judge(trace)
    assert str(judgement).startswith("PASS")
    found = {(v.layer, v.verdict.quantity) for v in judgement.verdicts}
    assert {("layers.1", name) for name in ("dL/dx", "dL/dW", "dL/db")} <= found
    assert ("layers.1", "z") not in found


def test_matrices_of_the_model_that_no_layer_has_are_said() -> None:
    class Model(eqx.Module):
        up: Any
        conv: Any
        cell: Any
        own: Any

        def __call__(self, x: Any) -> Any:
            x = self.conv(self.up(x)[None])[0]
            return self.own @ self.cell(x, jnp.zeros(5))

    keys = jax.random.split(jax.random.key(0), 3)
    convolution = eqx.nn.Conv1d(1, 1, 3, padding=1, key=keys[1])
    model = Model(eqx.nn.Linear(6, 6, key=keys[0]), convolution, eqx.nn.GRUCell(6, 5, key=keys[2]), jnp.eye(5))
    with kterm.capture(model) as trace:
        trace.end_step(eqx.filter_grad(loss_of)(model, X))
    assert trace.manifest.steps[0].notes == tuple(
        f"{name}: has a gradient, and no call of a dense layer with it was captured"
        for name in ("cell.weight_ih", "cell.weight_hh", "own")
    )


SHARDED = """
import jax, jax.numpy as jnp, numpy as np, equinox as eqx, kterm
from jax.sharding import Mesh, NamedSharding, PartitionSpec

mesh = Mesh(np.array(jax.devices()), ("batch",))
place = lambda spec: lambda one: jax.device_put(one, NamedSharding(mesh, spec)) if eqx.is_array(one) else one
model = jax.tree.map(place(PartitionSpec()), eqx.nn.MLP(6, 3, 8, 2, key=jax.random.key(0)))
x = place(PartitionSpec("batch"))(jnp.asarray(np.random.default_rng(0).normal(size=(8, 6)), "float32"))
run = eqx.filter_grad(lambda model, x: jnp.mean(jax.vmap(model)(x) ** 2))
for one in (run, eqx.filter_jit(run)):
    with kterm.capture(model) as trace:
        trace.end_step(one(model, x))
    print(kterm.judge(trace), [call.axes for layer in trace.manifest.steps[0].layers for call in layer.calls])
"""


def test_a_batch_on_two_devices_is_one_call() -> None:
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run([sys.executable, "-c", SHARDED], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["PASS", "PASS"], lines
    assert all(line.endswith("[(8,), (8,), (8,)]") for line in lines), lines
