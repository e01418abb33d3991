"""The block of a capture of a Keras model: nothing stays, and what cannot be captured is refused or said."""

from typing import Any

import pytest

pytest.importorskip("keras")

import kterm
from kterm.adapters.traces.keras.activations import LAYERS

from .models import BACKEND, IGNORED, L, end_step, keras, make_batch, make_mlp, run_pass

pytestmark = IGNORED
WATCHED = [L.Dense, L.EinsumDense, L.ReversibleEmbedding, *LAYERS]


def look_at(model: Any) -> Any:
    """All that a capture could leave."""
    calls = [one.__dict__.get("call") for one in WATCHED]
    update = [vars(one).get("stateless_apply") for one in type(model.optimizer).__mro__]
    return calls, update, [(sorted(vars(one)), getattr(one, "activation", None)) for one in model.layers]


@pytest.mark.parametrize("raises", [False, True])
def test_nothing_stays_behind(raises: bool) -> None:
    model = make_mlp()
    model.train_on_batch(*make_batch())
    before = look_at(model)
    try:
        with kterm.capture(model) as trace:
            assert look_at(model)[0] != before[0]
            model.train_on_batch(*make_batch())
            if raises:
                raise ValueError
            trace.end_step()
    except ValueError:
        assert raises
    assert look_at(model) == before
    with kterm.capture(model):
        pass


def test_steps_that_ended_stay_after_an_error_and_a_layer_that_raises_keeps_its_activation() -> None:
    model = make_mlp()
    before = model.layers[0].activation

    def fail(z: Any) -> Any:
        raise ZeroDivisionError

    capture = kterm.capture(model)

    def run() -> None:
        with capture as trace:
            end_step(trace, run_pass(model, make_batch()[0]))
            model.layers[0].activation = fail
            run_pass(model, make_batch()[0])

    with pytest.raises(ZeroDivisionError):
        run()
    assert model.layers[0].activation is fail
    model.layers[0].activation = before
    assert len(capture.steps) == 1


def test_models_that_cannot_be_captured_are_refused() -> None:
    for model, message in (
        (keras.Sequential([L.Dense(3)]), "is not built; call it once"),
        (keras.Sequential([keras.Input((3,)), L.ReLU()]), r"has no dense layer \(Dense, EinsumDense"),
        (L.Dense, "type is not a model of torch, flax, equinox, keras"),
    ):
        with pytest.raises(kterm.TraceError, match=message) as caught:
            kterm.capture(model)
        assert "\n" not in str(caught.value)
    model = make_mlp()
    for pattern in ("*/nothing", "*/leaky*"):
        with pytest.raises(kterm.TraceError, match="matches no layer of the model that has a matrix as kernel"):
            kterm.capture(model, dense=[pattern])


def test_one_capture_of_a_model_at_a_time() -> None:
    model = make_mlp()
    with kterm.capture(model) as capture:
        with pytest.raises(kterm.TraceError, match=r"another capture .*is open; end its block first"):
            kterm.capture(model).__enter__()
        with pytest.raises(kterm.TraceError, match="no backward pass reached a dense layer"):
            capture.end_step()
    with pytest.raises(kterm.TraceError, match="used before; make a new one" if BACKEND == "jax" else "nothing was"):
        capture.__enter__() if BACKEND == "jax" else capture.trace()


def test_a_subclass_with_its_own_call_is_not_taken_for_a_dense_layer() -> None:
    class Doubled(L.Dense):
        def call(self, inputs: Any, training: Any = None) -> Any:
            return keras.ops.matmul(inputs, self.kernel) * 2 + self.bias

    class Behind(L.Dense):
        def call(self, inputs: Any, training: Any = None) -> Any:
            return super().call(inputs) * 2

    model = keras.Sequential([keras.Input((12,)), Doubled(5, name="doubled"), Behind(4, name="behind")])
    with kterm.capture(model) as trace:
        end_step(trace, run_pass(model, make_batch()[0]))
    (step,) = trace.manifest.steps
    assert [layer.name.rpartition("/")[2] for layer in step.layers] == ["behind"]
    (note,) = step.notes
    assert note.endswith("doubled/kernel: has a gradient, and no call of a dense layer with it was captured")
    kterm.judge(trace).raise_if_failed()


def test_what_is_not_a_plain_dense_layer_is_said() -> None:
    model = keras.Sequential([keras.Input((12,)), L.Dense(16, name="adapted"), L.Dense(3, name="plain")])
    model.layers[0].enable_lora(2)
    with kterm.capture(model) as trace:
        end_step(trace, run_pass(model, make_batch()[0]))
        model.layers[1].enable_lora(2)
        with pytest.raises(kterm.TraceError, match="no backward pass reached"):
            end_step(trace, run_pass(model, make_batch()[0]))
    (step,) = trace.manifest.steps
    assert [layer.name.rpartition("/")[2] for layer in step.layers] == ["plain"]
    assert any(note.endswith("adapted: its kernel is computed, so it was not captured") for note in step.notes)


def test_a_regularizer_in_the_loss_is_not_taken_for_the_layers_gradient() -> None:
    model = keras.Sequential(
        [keras.Input((12,)), L.Dense(8, kernel_regularizer="l2", name="one"), L.Dense(5, name="two")]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with kterm.capture(model) as trace:
        model.train_on_batch(*make_batch())
        trace.end_step()
    judgement = kterm.judge(trace)
    judgement.raise_if_failed()
    ((_, unjudged),) = judgement.unjudged
    assert unjudged.layer.endswith("one")
    assert unjudged.name == "dL/dW"
    assert "regularizer" in unjudged.why or "something that was not captured uses it too" in unjudged.why


def test_layers_with_equal_paths_and_equal_weights_are_apart() -> None:
    model = keras.Sequential([keras.Input((12,)), L.Dense(12, use_bias=False), L.Dense(12, use_bias=False)])
    first, second = model.layers
    second.kernel.assign(first.kernel.value)
    second._path = first.path
    with kterm.capture(model) as trace:
        end_step(trace, run_pass(model, make_batch()[0]))
    names = [layer.name for layer in trace.manifest.steps[0].layers]
    assert names == [first.path, f"{first.path}#2"]
    kterm.judge(trace).raise_if_failed()


@pytest.mark.skipif(BACKEND != "jax", reason="PyTorch keeps gradients with their parameters")
def test_gradients_that_do_not_fit_are_refused() -> None:
    model = make_mlp()
    with kterm.capture(model) as trace:
        gradients = run_pass(model, make_batch()[0])
        with pytest.raises(kterm.TraceError, match=r"give the gradients of the 7 model\.trainable_variables"):
            trace.end_step(gradients[1:])
        run_pass(model, make_batch()[0])
        with pytest.raises(kterm.TraceError, match="no gradients; call end_step"):
            trace.end_step()
        for seed in range(2):
            model.train_on_batch(*make_batch(seed))
        with pytest.raises(kterm.TraceError, match="the optimizer ran more than once"):
            trace.end_step()
        model.train_on_batch(*make_batch())
        trace.end_step()
    assert len(trace.steps) == 1


@pytest.mark.skipif(BACKEND != "torch", reason="JAX compiles steps anew inside the block")
def test_a_compiled_step_is_said_to_show_nothing() -> None:
    model = make_mlp()
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=True)
    with kterm.capture(model) as trace, pytest.raises(kterm.TraceError, match=r"the model is compiled \(jit_compile\)"):
        trace.end_step()  # without a step: compiling takes minutes


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's modules are captured on PyTorch")
def test_a_module_of_pytorch_inside_is_captured_too() -> None:
    import torch

    inner = L.TorchModuleWrapper(torch.nn.Linear(12, 6))
    model = keras.Sequential([keras.Input((12,)), inner, L.Dense(3, name="outer")])
    model(make_batch()[0])
    with kterm.capture(model) as trace:
        end_step(trace, run_pass(model, make_batch()[0]))
    assert [layer.type for layer in trace.manifest.steps[0].layers] == ["Linear", "Dense"]
    kterm.judge(trace).raise_if_failed()


@pytest.mark.skipif(BACKEND != "jax", reason="forward-mode is that of JAX")
def test_forward_mode_runs_as_outside_the_block_and_is_said() -> None:
    import jax

    model, (x, _) = make_mlp(), make_batch()
    values = [one.value for one in model.trainable_variables]
    fixed = [one.value for one in model.non_trainable_variables]

    def run(values: Any) -> Any:
        return model.stateless_call(values, fixed, x)[0]

    plain = jax.jvp(run, (values,), (values,))
    with kterm.capture(model) as trace:
        seen = jax.jvp(run, (values,), (values,))
        end_step(trace, run_pass(model, x))
    for one, other in zip(plain, seen, strict=True):
        assert one.tobytes() == other.tobytes()
    (note,) = [one for one in trace.trace().manifest.steps[0].notes if "forward-mode" in one]
    assert "jax.jvp" in note
