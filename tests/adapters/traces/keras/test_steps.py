"""Steps of Keras models: every quantity within rounding, same bits, and what is said of each call."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras")

import kterm
from kterm.adapters.traces.keras.activations import FUNCTIONS, name_activation
from kterm.adapters.traces.manifest import Products
from kterm.reference.activations import ACTIVATIONS

from .models import (
    BACKEND,
    CLASSES,
    IGNORED,
    WIDTH,
    L,
    end_step,
    keras,
    layers_of,
    make_batch,
    make_mlp,
    numpy_of,
    policy_of,
    run_pass,
)

pytestmark = IGNORED


def train(model: Any, steps: int, to: Any = None) -> Any:
    """Capture steps of train_on_batch."""
    with kterm.capture(model, to) as trace:
        for seed in range(steps):
            model.train_on_batch(*make_batch(seed))
            trace.end_step()
    return trace


def test_steps_of_a_compiled_model_are_certified() -> None:
    model = make_mlp()
    trace = train(model, 2)
    layers = layers_of(trace)
    assert list(layers) == ["first", "second", "third", "last"]
    names = {name: one.calls[0].activation and one.calls[0].activation.name for name, one in layers.items()}
    assert names == {"first": "gelu", "second": "leaky_relu_0d1", "third": "elu_0d625", "last": None}
    (note,) = trace.manifest.steps[0].notes
    assert note.endswith("last: its activation softmax, which was not captured")
    judgement = kterm.judge(trace)
    judgement.raise_if_failed()
    assert judgement.unjudged == ()
    judged = {(one.layer.rpartition("/")[2], one.verdict.quantity) for one in judgement.verdicts}
    assert judged >= {("first", name) for name in ("z", "a", "dL/dz", "dL/dz behind", "dL/dW", "dL/db")}
    assert judged >= {("second", name) for name in ("z", "a", "dL/dx", "dL/dW", "dL/db")}
    # On JAX what a layer of its own gives back is not looked at.
    assert (("second", "dL/dz") in judged) == (BACKEND == "torch")
    assert ("third", "dL/db") not in judged
    assert trace.manifest.framework == BACKEND
    assert "Keras" in trace.manifest.notes[0]


def test_z_is_what_the_layer_has_in_front_of_its_activation() -> None:
    model = make_mlp()
    kernel, bias = (np.asarray(keras.ops.convert_to_numpy(one.value)) for one in model.layers[0].variables)
    trace = train(model, 1)
    call, arrays = layers_of(trace)["first"].calls[0], trace.steps[0]
    x, _ = make_batch()
    assert call.output is not None
    assert call.activation is not None
    z, a = arrays[call.output], arrays[call.activation.output or ""]
    assert np.abs(z - (x.astype("f8") @ kernel + bias)).max() < 1e-5
    assert np.array_equal(arrays[call.weight], kernel)
    assert np.abs(a - z).max() > 0.1


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_steps_have_the_bits_that_they_have_without_the_capture(policy: str) -> None:
    plain, captured = (make_mlp(policy, eager=True) for _ in range(2))  # a compiler may fuse otherwise around the host
    losses = [plain.train_on_batch(*make_batch(seed)) for seed in range(3)]
    with kterm.capture(captured) as trace:
        for seed in range(3):
            assert captured.train_on_batch(*make_batch(seed)) == losses[seed]
            trace.end_step()
    assert numpy_of(plain.variables) == numpy_of(captured.variables)


def make_branched() -> Any:
    """A model in which others read what the activation layer reads."""
    keras.utils.set_random_seed(0)
    x = keras.Input((WIDTH,))
    z = L.Dense(9, name="branched")(x)
    model = keras.Model(x, L.Dense(CLASSES, name="last")(L.Activation("squareplus")(z) + z * z + z))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    return model


def test_the_order_in_which_parts_of_a_gradient_are_added_stays() -> None:
    plain, captured = make_branched(), make_branched()
    for seed in range(3):
        plain.train_on_batch(*make_batch(seed))
    with kterm.capture(captured) as trace:
        for seed in range(3):
            captured.train_on_batch(*make_batch(seed))
            trace.end_step()
    assert numpy_of(plain.variables) == numpy_of(captured.variables)
    activation = layers_of(trace)["branched"].calls[0].activation
    assert activation is not None
    assert not activation.is_alone
    assert activation.input_gradient is None
    kterm.judge(trace).raise_if_failed()


def test_products_are_those_of_the_dtype_that_layers_compute_in() -> None:
    trace = train(make_mlp("mixed_bfloat16"), 1)
    call, arrays = layers_of(trace)["second"].calls[0], trace.steps[0]
    # On JAX, rows of a bias gradient are added in bfloat16.
    rows = {"bias_accumulator": "bf16", "separate_bias": True} if BACKEND == "jax" else {}
    assert call.products == Products(dtype="bf16", **rows)
    assert {name: str(arrays[getattr(call, name)].dtype) for name in ("weight", "input", "output")} == {
        "weight": "float32",
        "input": "bfloat16",
        "output": "bfloat16",
    }
    judgement = kterm.judge(trace)
    assert not judgement.findings
    of_bias = [one.verdict for one in judgement.verdicts if one.verdict.quantity == "dL/db"]
    assert of_bias
    assert {one.grade for one in of_bias} == {"pass"}
    trace = train(make_mlp("bfloat16"), 1)
    assert layers_of(trace)["second"].calls[0].products == (Products(**rows) if rows else None)


@pytest.mark.skipif(BACKEND != "torch", reason="JAX has no float64 in this process")
def test_float64_that_keras_computes_in_float32_is_a_finding() -> None:
    model = make_mlp("float64")
    with kterm.capture(model) as trace:
        model.train_on_batch(*make_batch(0, "float64"))
        trace.end_step()
    found = {one.verdict.quantity for one in kterm.judge(trace).findings}
    assert {"z", "dL/dx", "dL/dW"} <= found


def test_fit_ends_its_steps_in_a_callback(tmp_path: Any) -> None:
    model = make_mlp()

    class EndStep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            trace.end_step()

    with kterm.capture(model, tmp_path / "trace") as trace:
        model.fit(*make_batch(), batch_size=8, epochs=1, verbose=0, callbacks=[EndStep()])
    assert len(trace.steps) == 2
    kterm.judge(str(tmp_path / "trace")).raise_if_failed()


def test_a_loop_of_your_own_with_micro_batches() -> None:
    model = make_mlp()
    x, _ = make_batch()
    with kterm.capture(model) as trace:
        first, second = run_pass(model, x[:8]), run_pass(model, x[8:])
        end_step(trace, None if first is None else [a + b for a, b in zip(first, second, strict=True)])
    assert [len(one.calls) for one in layers_of(trace).values()] == [2] * 4
    kterm.judge(trace).raise_if_failed()


def make_transformer(policy: str = "float32") -> Any:
    """A block of attention between a table and itself, with dense layers by equations, one of them called twice."""
    keras.utils.set_random_seed(0)
    with policy_of(policy):
        indices, table = keras.Input((6,), dtype="int32"), L.ReversibleEmbedding(23, 16, name="table")
        x = table(indices)
        x = x + L.MultiHeadAttention(2, 8, name="attention")(x, x)
        x = L.EinsumDense("abc,bcd->abd", (6, 16), name="rows")(x)
        twice = L.EinsumDense("...c,cd->...d", 16, activation="silu", bias_axes="d", name="twice")
        x = L.Activation("tanh")(L.EinsumDense("abc,cd->abd", (6, 16), name="up")(twice(twice(x))))
        model = keras.Model(indices, table(x, reverse=True))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_attention_equations_and_a_table_that_is_read_backwards(policy: str) -> None:
    model = make_transformer(policy)
    rng = np.random.default_rng(0)
    with kterm.capture(model) as trace:
        for _ in range(2):
            tokens = rng.integers(0, 23, (4, 6))
            model.train_on_batch(tokens, tokens)
            trace.end_step()
    layers = {layer.name.split("/", 1)[-1] if "attention" in layer.name else layer.name: layer
              for layer in trace.manifest.steps[0].layers}  # fmt: skip
    expected = {"query", "key", "value", "attention_output", "twice", "up", "table/reverse"}
    assert set(layers) == expected | ({"table"} if BACKEND == "torch" else set())
    assert trace.steps[0][layers["query"].calls[0].weight].shape == (16, 16)
    assert layers["attention_output"].calls[0].axes == (4, 6)
    assert len(layers["twice"].calls) == 2
    assert [call.activation and call.activation.name for call in layers["twice"].calls] == ["silu", "silu"]
    assert layers["up"].calls[0].activation is not None
    assert layers["table/reverse"].layout == "out_in"
    assert any("rows: its equation abc,bcd->abd" in note for note in trace.manifest.steps[0].notes)
    judgement = kterm.judge(trace)
    is_wide = policy == "float32"
    if is_wide or BACKEND == "torch":
        judgement.raise_if_failed()
    else:
        assert {one.verdict.quantity for one in judgement.findings} <= {"dL/db"}
    unjudged = {one.why for _, one in judgement.unjudged}
    lookups = "lookups in the table, which were not captured, have a part in it"
    assert unjudged == (set() if BACKEND == "torch" else {lookups})


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (keras.activations.get(None), None),
        (keras.activations.leaky_relu, "leaky_relu_0d2"),
        (keras.activations.gelu, "gelu"),
        (keras.activations.get("swish"), "silu"),
        (keras.activations.softmax, None),
        (lambda z: z, None),
        (L.ReLU(), "relu"),
        (L.ReLU(6.0), "relu6"),
        (L.ReLU(4.0), None),
        (L.ReLU(6.0, 0.1), None),
        (L.ReLU(negative_slope=0.25), "leaky_relu_0d25"),
        (L.ReLU(threshold=1.0), None),
        (L.LeakyReLU(), "leaky_relu_0d3"),
        (L.LeakyReLU(7.0), None),
        (L.ELU(), "elu"),
        (L.Activation("mish"), "mish"),
        (L.Softmax(), None),
    ],
)
def test_names_of_activations(activation: Any, name: str | None) -> None:
    assert name_activation(activation) == name


def test_each_function_computes_what_its_name_says() -> None:
    z = np.linspace(-7, 7, 57)
    for function, name in FUNCTIONS.items():
        run = getattr(keras.activations, function)
        got = keras.ops.convert_to_numpy(run(keras.ops.convert_to_tensor(z, "float32")))
        due = ACTIVATIONS[name].f(z)
        assert np.abs(got - due).max() < 1e-5, function


def test_memory_is_that_of_the_arrays(tmp_path: Any) -> None:
    model = make_mlp()
    with kterm.capture(model, tmp_path / "trace") as trace:
        model.train_on_batch(*make_batch())
        trace.end_step()
        kept = trace.memory
        bytes_of_weights = sum(4 * int(np.prod(one.shape)) for one in model.trainable_variables)
        assert kept <= bytes_of_weights
        model.train_on_batch(*make_batch())  # a step that does not end
        assert trace.memory > kept
    assert trace.memory == 0
    assert trace.steps[0][layers_of(trace)["last"].calls[0].output].shape[1] == CLASSES
