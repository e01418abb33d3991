"""What a capture cannot see is said, and never fails the step."""

import os
from collections.abc import Callable

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

import kterm
from kterm.adapters.traces.manifest import Activation, Step

from .models import count_checked


class Two(nn.Module):
    """Two layers with an activation module between them."""

    def __init__(self, between: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.up, self.act, self.down = nn.Linear(6, 5), between or nn.Tanh(), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.act(self.up(x)))


X = torch.linspace(-1, 1, 24).reshape(4, 6)


def capture(model: nn.Module, run: Callable[[], object]) -> Step:
    """The only step of a block."""
    with kterm.capture(model) as trace:
        run()
    count_checked(trace.trace())
    (step,) = trace.manifest.steps
    return step


def reason(step: Step, name: str) -> str:
    """Why a gradient cannot be judged."""
    (found,) = (one.not_captured for one in step.parameters if one.name == name)
    return found


def behind(step: Step, name: str = "up") -> Activation | None:
    """The activation behind the first call of a layer."""
    (layer,) = (one for one in step.layers if one.name == name)
    return layer.calls[0].activation


@pytest.mark.parametrize(
    ("more", "node"),
    [
        (lambda model: model.up.weight.square().sum(), "PowBackward0"),
        (lambda model: (X @ model.up.weight.T).sum(), "PermuteBackward0"),
        (lambda model: functional.linear(X, model.up.weight).square().sum(), "TBackward0"),
    ],
    ids=["decay", "matmul", "linear"],
)
def test_another_use_of_a_weight_is_said(more: Callable[[Two], Tensor], node: str) -> None:
    model = Two()
    step = capture(model, lambda: (model(X).square().sum() + more(model)).backward())
    assert reason(step, "up.weight") == f"something that was not captured uses it too ({node})"
    assert reason(step, "up.bias") == reason(step, "down.weight") == ""


def test_another_use_is_said_under_autocast_where_casts_are_shared() -> None:
    model = Two()

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            (model(X).float().square().sum() + functional.linear(X, model.up.weight).float().sum()).backward()

    step = capture(model, run)
    assert reason(step, "up.weight") == "something that was not captured uses it too (ToCopyBackward0)"
    assert reason(step, "down.weight") == ""


@pytest.mark.parametrize("inplace", [False, True])
def test_an_activation_is_alone_if_nothing_else_reads_its_input(inplace: bool) -> None:
    model = Two(nn.ReLU(inplace))
    step = capture(model, lambda: model(X).square().sum().backward())
    found = behind(step)
    assert found is not None
    assert (found.name, found.is_alone) == ("relu", True)
    assert found.input_gradient == step.layers[0].calls[0].output_gradient

    def run() -> None:
        z = model.up(X)
        other = 2 * z
        (model.down(model.act(z)).sum() + other.square().sum()).backward()

    found = behind(capture(model, run))
    assert found is not None
    assert not found.is_alone
    assert (found.input_gradient is None) == inplace  # a change in place leaves no gradient of its own


def test_an_in_place_activation_behind_a_view_is_seen() -> None:
    # With a bias and three axes, z is a view, whose own node a change in place replaces.
    model = Two(nn.ReLU(inplace=True))
    step = capture(model, lambda: model(X.reshape(2, 2, 6)).square().sum().backward())
    found = behind(step)
    assert found is not None
    assert found.is_alone
    assert step.layers[0].calls[0].axes == (2, 2)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (nn.GELU(), "gelu"),
        (nn.GELU("tanh"), "gelu_tanh"),
        (nn.SiLU(), "silu"),
        (nn.LeakyReLU(0.2), "leaky_relu_0d2"),
        (nn.ELU(), "elu"),
        (nn.ELU(0.5, inplace=True), "elu_0d5"),
        (nn.Softplus(), "softplus"),
        (nn.Softplus(2), None),
        (nn.Hardtanh(), "hardtanh"),
        (nn.Hardtanh(-2, 2), None),
        (nn.ReLU6(), "relu6"),
        (nn.LeakyReLU(-0.5), None),
        (nn.Softmax(-1), None),
        (type("Own", (nn.ReLU,), {})(), None),
        (nn.Dropout(0.5), None),
    ],
    ids=str,
)
def test_activations_have_the_names_of_the_table(module: nn.Module, name: str | None) -> None:
    model = Two(module)
    found = behind(capture(model, lambda: model(X).square().sum().backward()))
    assert (None if found is None else found.name) == name


def test_a_frozen_weight_has_no_gradient_and_its_calls_are_captured() -> None:
    model = Two()
    model.down.weight.requires_grad_(False)
    step = capture(model, lambda: model(X).square().sum().backward())
    assert reason(step, "down.weight") == "it needs no gradient"
    assert [layer.name for layer in step.layers] == ["up", "down"]


def test_a_gradient_that_is_gone_is_said() -> None:
    model = Two()
    step = capture(model, lambda: (model(X).sum().backward(), model.zero_grad()))
    assert "end the step before gradients are set to None" in reason(step, "up.weight")


def test_a_pass_for_some_inputs_is_said() -> None:
    model = Two()
    step = capture(model, lambda: model(X).sum().backward(inputs=[model.down.weight]))
    assert "limited to some inputs" in reason(step, "down.weight")


def test_a_pass_that_begins_unseen_is_said() -> None:
    model, start = Two(), torch.autograd.backward
    step = capture(model, lambda: start(model(X).sum()))
    assert "whose start was not seen" in reason(step, "down.weight")


def test_a_gradient_penalty_is_said() -> None:
    model = Two()
    x = X.clone().requires_grad_()

    def run() -> None:
        y = model(x).square().sum()
        (slope,) = torch.autograd.grad(y, x, create_graph=True)
        (y + slope.square().sum()).backward()

    step = capture(model, run)
    assert "torch.autograd.grad gives its gradients elsewhere" in step.notes[0]
    assert "something that was not captured uses it too" in reason(step, "up.weight")


def test_a_pass_that_gives_its_gradients_elsewhere_is_no_part_of_the_sum() -> None:
    model = Two()
    x = X.clone().requires_grad_()

    def run() -> None:
        loss = model(x).square().sum()
        torch.autograd.grad(loss, x, retain_graph=True)
        loss.backward()

    step = capture(model, run)
    assert [len(layer.calls) for layer in step.layers] == [1, 1]
    assert reason(step, "up.weight") == ""


def test_two_passes_over_one_graph_are_two_calls() -> None:
    model = Two()

    def run() -> None:
        loss = model(X).square().sum()
        loss.backward(retain_graph=True)
        loss.backward()

    step = capture(model, run)
    assert [[call.backward for call in layer.calls] for layer in step.layers] == [[0, 1], [0, 1]]


def test_weights_that_change_before_the_backward_pass_are_kept_in_both_states() -> None:
    model = Two()

    def run() -> None:
        loss = model(X).square().sum()
        model.down.weight.data.mul_(2)  # no counter of versions sees this
        loss.backward()

    with kterm.capture(model) as trace:
        run()
    up, down = trace.manifest.steps[0].layers
    assert up.calls[0].backward_weight is None
    arrays, call = trace.steps[0], down.calls[0]
    assert call.backward_weight is not None
    assert (arrays[call.backward_weight] == 2 * arrays[call.weight]).all()


def test_an_input_is_kept_as_it_was() -> None:
    model, x = Two(), X.clone()

    def run() -> None:
        z = model.up(x)
        x.data.zero_()
        z.sum().backward()

    with kterm.capture(model) as trace:
        run()
    call = trace.manifest.steps[0].layers[0].calls[0]
    assert call.input is not None
    assert (trace.steps[0][call.input] == X.numpy()).all()


def test_one_tensor_that_changes_between_two_calls_has_two_values() -> None:
    model, x = Two(), X.clone()
    model.up.weight.requires_grad_(False)  # PyTorch keeps x for the gradient of the weight, and refuses the change

    def run() -> None:
        first = model.up(x)
        x.add_(1)
        (first + model.up(x)).sum().backward()

    with kterm.capture(model) as trace:
        run()
    first, second = (trace.steps[0][call.input or ""] for call in trace.manifest.steps[0].layers[0].calls)
    assert (first == X.numpy()).all()
    assert (second == first + 1).all()


@pytest.mark.parametrize(
    ("make", "note"),
    [
        (lambda: parametrizations.weight_norm(nn.Linear(6, 5)), "its weight is no parameter of it"),
        (lambda: torch.nn.utils.skip_init(nn.Linear, 6, 5, dtype=torch.complex64), "a tensor of torch.complex64"),
    ],
    ids=["parametrized", "complex"],
)
def test_other_layers_are_noted(make: Callable[[], nn.Linear], note: str) -> None:
    model = Two()
    other = make()
    model.other = other

    def run() -> None:
        y = other(X.to(torch.complex64)) if "complex" in note else other(X)
        (model(X).sum() + y.abs().sum()).backward()

    step = capture(model, run)
    assert [layer.name for layer in step.layers] == ["up", "down"]
    assert any(note in one for one in step.notes)


def test_parameters_that_are_computed_for_a_call_are_noted() -> None:
    model = Two()
    made = {name: parameter * 1 for name, parameter in model.named_parameters() if name.startswith("up")}
    step = capture(model, lambda: torch.func.functional_call(model, made, (X,)).sum().backward())
    assert "up: a call with a weight that is computed, which was not captured" in step.notes
    assert [layer.name for layer in step.layers] == ["down"]


def test_an_empty_batch_is_noted() -> None:
    model = Two()
    step = capture(model, lambda: (model(X).sum() + model(X[:0]).sum()).backward())
    assert "up: a call with an empty tensor, which was not captured" in step.notes
    assert "something that was not captured uses it too" in reason(step, "up.weight")


def test_calls_without_a_backward_pass_are_counted() -> None:
    model = Two()

    def run() -> None:
        with torch.no_grad():
            model(X)
        model(X)
        model(X).sum().backward()

    step = capture(model, run)
    assert step.notes == ("2 calls of dense layers took no part in a backward pass, so they were not captured",)


def test_a_call_that_a_hook_of_the_user_changes_is_noted() -> None:
    model = Two()

    def run() -> None:
        with model.up.register_forward_pre_hook(lambda module, args: (args[0] * 2,)):
            model(X).sum().backward()

    step = capture(model, run)
    assert "up: a call whose input another hook replaced, which was not captured" in step.notes
    assert [layer.name for layer in step.layers] == ["down"]


def test_an_output_that_a_hook_of_the_user_replaces_is_kept_as_the_layer_gave_it() -> None:
    model = Two()

    def double(module: nn.Module, args: object, output: Tensor) -> Tensor:
        return output * 2

    model.up.register_forward_hook(double)
    step = capture(model, lambda: model(X).square().sum().backward())  # and every quantity is checked
    assert behind(step) is None


def test_an_activation_of_an_output_that_was_changed_in_place_is_left_out() -> None:
    model = Two()
    step = capture(model, lambda: model.down(model.act(model.up(X).mul_(2))).square().sum().backward())
    assert behind(step) is None


def test_backward_hooks_of_the_user_do_not_hide_a_layer() -> None:
    model = Two()
    model.down.register_full_backward_hook(lambda module, given, back: None)
    step = capture(model, lambda: model(X).sum().backward())
    assert [layer.name for layer in step.layers] == ["up", "down"]
    assert step.layers[1].calls[0].input_gradient


def test_a_gradient_that_a_hook_edits_is_kept_as_it_came() -> None:
    model = Two()
    model.up.weight.register_hook(lambda gradient: gradient * 2)
    with kterm.capture(model) as trace:
        model(X).square().sum().backward()
    with pytest.raises(AssertionError, match=r"up\.weight: .* sigma"):
        count_checked(trace.trace())
    assert {one.layer for one in kterm.judge(trace).findings} == {"up"}


def test_gradients_that_processes_exchange_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Two()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    said = {one.not_captured for one in capture(model, lambda: model(X).sum().backward()).parameters}
    assert said == {"2 processes may have exchanged gradients, and this one saw its own calls only"}


def test_an_error_inside_the_capture_does_not_reach_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Two()

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory\nsecond line")

    monkeypatch.setattr("kterm.adapters.traces.pytorch.values.copy_values", fail)
    with kterm.capture(model) as trace:
        model(X).sum().backward()
        with pytest.raises(kterm.TraceError, match="no backward pass reached") as caught:
            trace.end_step()
    assert "a part of the step could not be captured (RuntimeError: out of memory) (2 times)" in str(caught.value)
    assert model.up.weight.grad is not None


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_ends_the_step_with_one_line(tmp_path: os.PathLike[str]) -> None:
    model = Two()
    folder = os.path.join(tmp_path, "trace")
    capture = kterm.capture(model, folder)
    os.symlink("/dev/full", os.path.join(folder, "step-0000.safetensors"))
    with capture as trace:
        for _ in range(20):
            model(X.repeat(1000, 1)).sum().backward()
        with pytest.raises(kterm.TraceError, match="No space left"):
            trace.end_step()
    assert model.up.weight.grad is not None


def test_a_parameter_has_one_reason_for_each_lack() -> None:
    model = Two()

    def run() -> None:
        (model(X).sum() + model.up.weight.sum()).backward()
        model.up.weight.grad = None

    assert reason(capture(model, run), "up.weight") == (
        "something that was not captured uses it too (SumBackward0); "
        "it has no gradient at the end of the step; end the step before gradients are set to None"
    )
