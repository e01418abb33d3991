"""Mistakes in PyTorch models: custom autograd functions, hooks, autocast, and settings around a training step."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from kterm.adapters import Program
from kterm.adapters.base import Function
from kterm.adapters.frameworks.shared.torch_shared import TorchAdapter
from kterm.reference import Structure

from .engine import gradients_alone
from .mistake import Mistake


class Model:
    """A model and its training step, with a method for each part. Layers are counted from 0."""

    replaced: ClassVar[Mapping[str, Function]] = {}

    def __init__(self, structure: Structure) -> None:
        self.depth = structure.network.depth

    def linear(self, i: int, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """A dense layer; w is (out, in)."""
        return F.linear(x, w, b)

    def loss(self, out: Tensor, y: Tensor) -> Tensor:
        """E."""
        return F.mse_loss(out, y, reduction="sum") / 2

    def backward(self, error: Tensor, weights: list[Tensor], biases: list[Tensor]) -> None:
        """The backward pass, and what follows it."""
        error.backward()


class TorchPort(TorchAdapter):
    """A model as an adapter in float32. Its name is that of PyTorch's adapter, whose known divergences it has."""

    name = "torch"

    def __init__(self, model: type[Model], shown: bool) -> None:
        super().__init__()
        self.model, self.shown, self.dtypes = model, shown, ("f32",)

    def make_backpropagate(self, structure: Structure) -> Function:
        model, network = self.model(structure), structure.network
        own = zip(network.activations, self.functions(structure), strict=True)
        functions = [model.replaced.get(name, function) for name, function in own]

        def backpropagate(weights: list[Tensor], biases: list[Tensor], _: list[Tensor], x: Tensor, y: Tensor) -> tuple:
            for parameter in (*weights, *biases):
                parameter.requires_grad_()
            zs, xs, out = list[Tensor](), list[Tensor](), x
            for i, function in enumerate(functions):
                z = model.linear(i, out, weights[i], biases[i] if network.bias == "pre" else None)
                z.retain_grad()
                out = function(z)
                if network.bias == "post":
                    out = out + biases[i]
                zs.append(z)
                xs.append(out)
            error = model.loss(out, y)
            model.backward(error, weights, biases)
            by_weight, by_bias, k = (list(map(_gradient, some)) for some in (weights, biases, zs))
            return (by_weight, by_bias, k), (error, zs, xs)

        return backpropagate

    def build(self, structure: Structure) -> Program:
        program = super().build(structure)
        return program if self.shown else lambda *given: gradients_alone(program(*given))


def _gradient(tensor: Tensor) -> Tensor:
    """What was passed back to a tensor; zeros if nothing was."""
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


class _SiluFromOutput(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        y = F.silu(z)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        s = torch.sigmoid(y)
        return gradients[0] * s * (1 + y * (1 - s))


class _GeluDetached(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        gate = torch.special.ndtr(z)
        ctx.save_for_backward(gate)
        return z * gate

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gate,) = ctx.saved_tensors
        return gradients[0] * gate


class _TanhInHalf(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        y = torch.tanh(z)
        ctx.save_for_backward(y.to(torch.bfloat16))
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        y = y.float()
        return gradients[0] * (1 - y * y)


class _MishWithoutSigmoid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.save_for_backward(z)
        return F.mish(z)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        t = torch.tanh(F.softplus(z))
        return gradients[0] * (t + z * (1 - t * t))


class _FusedLinear(torch.autograd.Function):
    """A dense layer whose weight gradient is computed in bfloat16."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x @ w.T

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, w = ctx.saved_tensors
        k = gradients[0]
        return k @ w, (k.bfloat16().T @ x.bfloat16()).float()


class SiluFromOutput(Model):
    """A custom silu saves its output and differentiates there."""

    replaced: ClassVar[Mapping[str, Function]] = {"silu": _SiluFromOutput.apply}


class GeluDetached(Model):
    """A custom gelu treats its gate as a constant."""

    replaced: ClassVar[Mapping[str, Function]] = {"gelu": _GeluDetached.apply}


class TanhSavedInHalf(Model):
    """A custom tanh saves its output in bfloat16."""

    replaced: ClassVar[Mapping[str, Function]] = {"tanh": _TanhInHalf.apply}


class MishWithoutSigmoid(Model):
    """A custom mish forgets the derivative of softplus."""

    replaced: ClassVar[Mapping[str, Function]] = {"mish": _MishWithoutSigmoid.apply}


class SoftplusBeta(Model):
    """softplus has beta 2."""

    replaced: ClassVar[Mapping[str, Function]] = {"softplus": lambda z: F.softplus(z, beta=2.0)}


class CeluDefault(Model):
    """celu is called without its alpha."""

    replaced: ClassVar[Mapping[str, Function]] = {"celu": F.celu}


class LeakyDefault(Model):
    """leaky_relu is called without its slope."""

    replaced: ClassVar[Mapping[str, Function]] = {"leaky_relu": F.leaky_relu}


class SquareplusAsSoftplus(Model):
    """squareplus is mapped to softplus."""

    replaced: ClassVar[Mapping[str, Function]] = {"squareplus": F.softplus}


class FusedWeightGradient(Model):
    """A fused dense layer computes the weight gradient in bfloat16."""

    def linear(self, i: int, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        z = _FusedLinear.apply(x, w)
        assert isinstance(z, Tensor)
        return z if b is None else z + b


class AutocastForward(Model):
    """Dense layers run under autocast to bfloat16."""

    def linear(self, i: int, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return F.linear(x, w, b).float()


class NormClipped(Model):
    """clip_grad_norm_(1.0) is left in the step."""

    def backward(self, error: Tensor, weights: list[Tensor], biases: list[Tensor]) -> None:
        error.backward()
        torch.nn.utils.clip_grad_norm_([*weights, *biases], 1.0)


class BackwardTwice(Model):
    """backward is called twice with the graph retained."""

    def backward(self, error: Tensor, weights: list[Tensor], biases: list[Tensor]) -> None:
        error.backward(retain_graph=True)
        error.backward()


class HookTwice(Model):
    """A hook that doubles is registered on the first layer's weight."""

    def backward(self, error: Tensor, weights: list[Tensor], biases: list[Tensor]) -> None:
        weights[0].register_hook(lambda gradient: 2 * gradient)
        error.backward()


class MeanReduction(Model):
    """mse_loss has its default reduction, the mean, and E is undone by hand with the batch alone."""

    def loss(self, out: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(out, y) * max(len(out), 1) / 2


class SmoothL1(Model):
    """smooth_l1_loss stands where mse_loss should."""

    def loss(self, out: Tensor, y: Tensor) -> Tensor:
        return F.smooth_l1_loss(out, y, reduction="sum")


class SparseBackward(Model):
    """Weights are detached in every second layer for the forward pass of the loss (a frozen trunk)."""

    def linear(self, i: int, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return F.linear(x.detach(), w, b) if i and i % 2 == 0 else F.linear(x, w, b)


def _row(model: type[Model], wrong: str, *accepted: str, shows: str = "any case", source: str = "") -> Mistake:
    name = "torch" + "".join(f"-{c.lower()}" if c.isupper() else c for c in model.__name__)
    return Mistake(name, wrong, lambda shown: TorchPort(model, shown), accepted, ("f32",), shows, source)


TORCH_MISTAKES: tuple[Mistake, ...] = (
    _row(SiluFromOutput, "a custom silu differentiates at its output", "f' .*activation", shows="layers of silu"),
    _row(GeluDetached, "a custom gelu treats its gate as a constant", "gate", shows="layers of gelu"),
    _row(
        TanhSavedInHalf, "a custom tanh saves its output in bfloat16", "(f'|slope|output).*(bf16|narrow)",
        shows="layers of tanh",
    ),
    _row(MishWithoutSigmoid, "a custom mish forgets the derivative of softplus", shows="layers of mish"),
    _row(SoftplusBeta, "softplus has beta 2", "beta", shows="layers of softplus"),
    _row(
        CeluDefault, "celu is called without its alpha", "elu in place of celu|default parameter|alpha",
        shows="layers of celu",
    ),
    _row(
        LeakyDefault, "leaky_relu is called without its slope", "0\\.01|default parameter",
        shows="layers of leaky_relu",
    ),
    _row(
        SquareplusAsSoftplus, "squareplus is mapped to softplus", "softplus in place of squareplus",
        shows="layers of squareplus",
    ),
    _row(FusedWeightGradient, "a fused dense layer computes dE/dW in bfloat16", "bf16|bfloat16|8 bits"),
    _row(AutocastForward, "dense layers run under autocast to bfloat16", "bf16|bfloat16|8 bits"),
    _row(NormClipped, "clip_grad_norm_(1.0) is left in the step", "norm"),
    _row(
        BackwardTwice, "backward is called twice with the graph retained", "factor 2|half of E forgotten|2 times what",
    ),
    _row(
        HookTwice, "a hook doubles the gradient of the first weight",
        "first layer's weight gradient twice|dE/dW_1 2 times",
    ),
    _row(
        MeanReduction, "the mean over outputs is not undone in E and its gradient", "outputs",
        shows="more than one output",
    ),
    _row(SmoothL1, "smooth_l1_loss stands where mse_loss should", "Huber|residual.*(held|clipped)"),
    _row(
        SparseBackward, "every second layer detaches its input, so nothing is passed back through it",
        "k_\\d+ left at zero|passed back.*zero|gradient stopped", shows="depth over 2",
    ),
)  # fmt: skip
"""In float32, with the known divergences of PyTorch expected."""
