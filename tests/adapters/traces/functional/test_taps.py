"""Arrays pass through the host and come back as they were, and the host has those of each call together."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax")

import jax
import jax.numpy as jnp

from kterm.adapters.traces.functional.taps import (
    Host,
    SeenCall,
    enter,
    leave,
    leave_activation,
    show_gradient,
)

RNG = np.random.default_rng(0)
FIRST, SECOND = (jnp.asarray(RNG.normal(size=shape), "float32") for shape in ((7, 5), (5, 5)))
X = jnp.asarray(RNG.normal(size=(6, 7)), "float32")


def make_loss(host: Host | None, *, batched: bool, checkpoint: bool) -> Any:
    """A loss of two weights and x in which the second weight is used twice."""

    def multiply(name: str, x: Any, weight: Any) -> Any:
        if host is None:
            return x @ weight
        x, number = enter(host, name, x, weight, None)
        return leave(host, x @ weight, number)

    def run_second(x: Any, weight: Any) -> Any:
        return jax.nn.gelu(multiply("second", x, weight))

    def run(first: Any, second: Any, x: Any) -> Any:
        step = jax.checkpoint(run_second) if checkpoint else run_second
        return jnp.sum(step(step(jax.nn.gelu(multiply("first", x, first)), second), second) ** 2)

    if not batched:
        return run
    return lambda first, second, x: jax.vmap(run, (None, None, 0))(first, second, x).sum()


def take_whole(host: Host) -> list[SeenCall]:
    """The calls that a backward pass reached."""
    return [seen for _, seen in sorted(host.take().items()) if "output_gradient" in seen.arrays]


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("jit", [False, True])
def test_gradients_follow_from_what_the_host_saw(batched: bool, checkpoint: bool, jit: bool) -> None:
    host = Host()
    host.is_open = True
    plain, tapped = (
        jax.value_and_grad(make_loss(one, batched=batched, checkpoint=checkpoint), (0, 1)) for one in (None, host)
    )
    if jit:
        plain, tapped = jax.jit(plain), jax.jit(tapped)
    expected, got = plain(FIRST, SECOND, X), tapped(FIRST, SECOND, X)
    if not jit:  # a compiler may fuse otherwise around the host
        for one, other in zip(jax.tree.leaves(expected), jax.tree.leaves(got), strict=True):
            assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
    calls = take_whole(host)
    assert [seen.kind for seen in calls].count("second") == 2
    assert len(calls) == 3
    for name, gradient in zip(("first", "second"), got[1], strict=True):
        ours = [seen for seen in calls if seen.kind == name]
        terms = [(seen.input.astype("f8"), seen.arrays["output_gradient"].astype("f8")) for seen in ours]
        exact = sum(x.T @ k for x, k in terms)
        # Each entry sums n products of one call after another; n rounding errors of the sum of magnitudes bound it.
        bound = 2.0**-23 * (2 * len(X)) * sum(np.abs(x).T @ np.abs(k) for x, k in terms)
        assert np.all(np.abs(np.asarray(gradient) - exact) <= bound)
    for seen in calls:
        z = seen.input.astype("f8") @ seen.weight
        assert np.all(np.abs(seen.arrays["output"] - z) <= 2.0**-23 * 8 * (np.abs(seen.input) @ np.abs(seen.weight)))
        assert ("input_gradient" in seen.arrays) == (seen.kind == "second")


def test_each_pass_of_a_loop_is_a_call() -> None:
    host = Host()
    host.is_open = True

    def run(weight: Any, x: Any) -> Any:
        def step(x: Any, _: Any) -> tuple[Any, None]:
            x, number = enter(host, "loop", x, weight, None)
            return jnp.tanh(leave(host, x @ weight, number)), None

        return jnp.sum(jax.lax.scan(step, x, None, length=3)[0])

    gradient = jax.jit(jax.grad(run))(SECOND, X[:, :5])
    calls = take_whole(host)
    assert len(calls) == 3
    exact = sum(seen.input.astype("f8").T @ seen.arrays["output_gradient"].astype("f8") for seen in calls)
    assert np.max(np.abs(np.asarray(gradient) - exact)) <= 2.0**-23 * 18 * np.max(np.abs(exact))


def test_a_closed_host_keeps_nothing_and_its_own_error_does_not_end_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host()
    loss = make_loss(host, batched=False, checkpoint=False)
    jax.block_until_ready(jax.grad(loss)(FIRST, SECOND, X))
    assert not host.take()
    host.is_open = True
    monkeypatch.setattr(host, "_numbers", iter(()))
    jax.block_until_ready(jax.grad(loss)(FIRST, SECOND, X))
    assert host.failure is not None


def test_the_host_sees_the_activation_behind_a_call_and_gradients_that_are_shown_to_it() -> None:
    host = Host()
    host.is_open = True

    def run(weight: Any, x: Any) -> Any:
        given, number = enter(host, "one", x, weight, None)
        z = leave(host, given @ weight, number)
        a = leave_activation(host, jnp.tanh(z), number, "tanh")
        return jnp.sum(a**2) + jnp.sum(z)

    def run_plain(weight: Any, x: Any) -> Any:
        z = x @ weight
        return jnp.sum(jnp.tanh(z) ** 2) + jnp.sum(z)

    gradient = show_gradient(host, "weight", jax.grad(run)(FIRST, X))
    assert np.asarray(gradient).tobytes() == np.asarray(jax.grad(run_plain)(FIRST, X)).tobytes()
    assert host.bytes > gradient.nbytes
    (seen,) = take_whole(host)
    assert seen.activation == "tanh"
    a, by_a = seen.arrays["activation_output"], seen.arrays["activation_output_gradient"]
    assert np.array_equal(a, jnp.tanh(seen.arrays["output"]))
    assert np.array_equal(by_a, 2 * a)
    # z is read by the sum too.
    k = by_a * (1 - a.astype("f8") ** 2) + 1
    assert np.abs(seen.arrays["output_gradient"] - k).max() < 2.0**-20
    assert {name: [one.shape for one in some] for name, some in host.take_gradients().items()} == {"weight": [(7, 5)]}
    assert not host.take_gradients()


def run_two(host: Host, weight: Any, x: Any) -> Any:
    """Two calls with one activation each, of the same shapes, so that only their names differ."""
    total = 0.0
    for name, activation in (("tanh", jnp.tanh), ("sigmoid", jax.nn.sigmoid)):
        given, number = enter(host, "one", x, weight, None)
        z = leave(host, given @ weight, number)
        total += jnp.sum(leave_activation(host, activation(z), number, name) ** 2)
    return total


@pytest.mark.parametrize("jit", [False, True])
def test_each_activation_and_each_gradient_keeps_its_own_name(jit: bool) -> None:
    host = Host()
    host.is_open = True

    def step(weight: Any) -> Any:
        gradient = jax.grad(lambda weight: run_two(host, weight, X))(weight)
        return show_gradient(host, "first", gradient), show_gradient(host, "second", 2 * gradient)

    jax.block_until_ready((jax.jit(step) if jit else step)(FIRST))
    calls = {seen.activation: seen for seen in take_whole(host)}
    assert set(calls) == {"tanh", "sigmoid"}
    for name, activation in (("tanh", np.tanh), ("sigmoid", lambda z: 1 / (1 + np.exp(-z)))):
        a = activation(calls[name].arrays["output"].astype("f8"))
        assert np.abs(calls[name].arrays["activation_output"] - a).max() < 2.0**-20
    gradients = host.take_gradients()
    assert np.array_equal(gradients["second"][0], 2 * gradients["first"][0])


def test_forward_mode_and_second_derivatives_pass_an_activation() -> None:
    host = Host()
    host.is_open = True

    def run(host: Host) -> Any:
        return lambda x: run_two(host, FIRST, x)

    plain = Host()  # a closed host looks at nothing
    x, tangent = X[:1], jnp.ones_like(X[:1])
    for one, other in zip(
        jax.tree.leaves(jax.jvp(run(host), (x,), (tangent,))),
        jax.tree.leaves(jax.jvp(run(plain), (x,), (tangent,))),
        strict=True,
    ):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
    assert host.has_forward_mode
    assert not take_whole(host)
    jax.block_until_ready(jax.hessian(run(host))(x))
    calls = take_whole(host)
    assert calls
    assert all(seen.is_second for seen in calls)


@pytest.mark.parametrize("jit", [False, True])
def test_the_host_is_given_numbers_and_waits_for_nothing(jit: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An array of JAX may wait for threads that all wait in calls of the host: the step never ends."""
    host, given = Host(), list[Any]()
    host.is_open = True
    start, add = host.start, host.add
    monkeypatch.setattr(host, "start", lambda kind, *arrays: (given.extend(arrays), start(kind, *arrays))[1])
    monkeypatch.setattr(host, "add", lambda n, q, *some: (given.extend((n, some[0])), add(n, q, *some))[1])

    def step(weight: Any) -> Any:
        return jax.grad(lambda weight: run_two(host, weight, X))(weight)

    jax.block_until_ready((jax.jit(step) if jit else step)(FIRST))
    assert len(given) >= 20
    assert {type(one) for one in given if one is not None} == {np.ndarray}


def test_equal_calls_stay_two_in_a_compiled_program() -> None:
    host = Host()
    host.is_open = True

    def twice(weight: Any) -> Any:
        total = 0.0
        for _ in range(2):
            given, number = enter(host, "one", X, weight, None)
            total += jnp.sum(leave(host, given @ weight, number) ** 2)
        return total

    jax.block_until_ready(jax.jit(jax.grad(twice))(FIRST))
    assert len(take_whole(host)) == 2
