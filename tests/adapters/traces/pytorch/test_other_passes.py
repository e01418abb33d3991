"""Capture of PyTorch: backward passes of other models in the same block."""

from typing import Any

import pytest

import kterm

torch = pytest.importorskip("torch")


def _model() -> Any:
    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, 5))


def test_backward_passes_of_another_model_are_not_counted() -> None:
    model, other = _model(), _model()
    with kterm.capture(model) as capture:
        for number in range(3):
            other(torch.randn(9, 6)).square().sum().backward()
            model(torch.randn(9, 6)).square().sum().backward()
            if number == 0:
                model[2].weight.grad = None
    (finding,) = kterm.judge(capture).findings
    assert finding.cause is not None
    assert finding.cause.text == "leaves out backward pass 1 of 3"


def test_gradients_that_are_set_to_zero_behind_a_pass_of_another_model_are_not_those_that_a_step_began_with() -> None:
    # As in a GAN: the other model learns first, while this one still has the gradients of the step before.
    model, other = _model(), _model()
    with kterm.capture(model) as capture:
        for _ in range(3):
            other(model(torch.randn(9, 6)).detach()[:, :1].expand(-1, 6)).square().sum().backward()
            model.zero_grad(set_to_none=False)
            model(torch.randn(9, 6)).square().sum().backward()
            capture.end_step()
    judgement = kterm.judge(capture)
    assert [str(one.cause) for one in judgement.findings] == []
    assert judgement.conforms
    # The calls of the generator that the other model learned from have no backward pass, and no part in a gradient.
    assert all(len(layer.calls) == 1 for step in capture.manifest.steps for layer in step.layers)


def test_gradients_that_a_step_began_with_are_kept_where_a_checkpoint_hides_the_model() -> None:
    from torch.utils.checkpoint import checkpoint

    model = _model()
    with kterm.capture(model) as capture:
        for _ in range(2):
            x = torch.randn(9, 6, requires_grad=True)
            torch.as_tensor(checkpoint(model, x, use_reentrant=True)).square().sum().backward()
            capture.end_step()  # and no zero_grad: the second step begins with the gradients of the first
    assert kterm.judge(capture).conforms
    assert capture.manifest.steps[0].parameters[0].gradient_before is None
    assert all(one.gradient_before is not None for one in capture.manifest.steps[1].parameters)


class NewGELUActivation(torch.nn.Module):
    """As transformers has it: z is read several times."""

    def forward(self, z: Any) -> Any:
        return 0.5 * z * (1.0 + torch.tanh(0.7978845608028654 * (z + 0.044715 * torch.pow(z, 3.0))))


NewGELUActivation.__module__ = "transformers.activations"


@pytest.mark.parametrize("name", ["Tanhshrink", "Softsign", "Mish", "NewGELUActivation"])
def test_an_activation_that_reads_z_several_times_beside_others_keeps_its_bits(name: str) -> None:
    def step(captured: bool) -> list[Any]:
        torch.manual_seed(0)
        first, last = torch.nn.Linear(50, 60), torch.nn.Linear(60, 3)
        behind = NewGELUActivation() if name == "NewGELUActivation" else getattr(torch.nn, name)()
        model = torch.nn.ModuleList([first, behind, last])

        def run() -> None:
            z = first(torch.randn(200, 50))
            (last(behind(z)) * z[:, :3] + z.exp()[:, 3:6]).square().sum().backward()

        if captured:
            with kterm.capture(model) as capture:
                run()
            assert kterm.judge(capture).conforms
        else:
            run()
        return [one.grad.clone() for one in model.parameters() if one.grad is not None]

    assert all(torch.equal(a, b) for a, b in zip(step(True), step(False), strict=True))
