"""Puts a mistake into one layer of a model: another function in place of its products, or a change of its gradient."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Rule = Callable[["Call"], Tensor]


@dataclass
class Call:
    """A call of the layer with rows as matrices: x (N, inputs), w (inputs, outputs), b (outputs,), k = dL/dz
    (N, outputs). `last` is the call before this one, and `other` the weight of another layer with the same shape.
    """

    x: Tensor
    w: Tensor
    b: Tensor | None
    axes: tuple[int, ...]
    other: Tensor
    k: Tensor = field(default_factory=lambda: torch.empty(0))
    last: "Call | None" = None

    @property
    def z(self) -> Tensor:
        """z = x W + b."""
        return self.x @ self.w if self.b is None else self.x @ self.w + self.b

    @property
    def gx(self) -> Tensor:
        """dL/dx = k Wᵀ."""
        return self.k @ self.w.T

    @property
    def gw(self) -> Tensor:
        """dL/dW = xᵀ k."""
        return self.x.T @ self.k

    @property
    def gb(self) -> Tensor:
        """dL/db = Σ k."""
        return self.k.sum(0)


class _Products(torch.autograd.Function):
    """The products of a layer by other rules. `rules` has those that differ, by quantity."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, call: Call, rules: Mapping[str, Rule], turned: bool
    ) -> Tensor:
        ctx.call, ctx.rules, ctx.shape, ctx.turned = call, rules, x.shape, turned
        z = rules["z"](call) if "z" in rules else call.z
        return z.reshape(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        call, rules = ctx.call, ctx.rules
        call.k = gradients[0].reshape(-1, gradients[0].shape[-1])
        gx, gw, gb = (rules[n](call) if n in rules else getattr(call, n) for n in ("gx", "gw", "gb"))
        gw = gw.T if ctx.turned else gw
        return gx.reshape(ctx.shape), gw.contiguous(), None if call.b is None else gb, None, None, None


@contextmanager
def replace_products(layer: Any, other: Any, rules: Mapping[str, Rule]) -> Iterator[None]:
    """Let one layer compute by other rules, as a hand-written kernel in place of `forward` does."""
    kind: Any = type(layer)
    right = kind.forward
    last: list[Call] = []

    def forward(self: Any, x: Tensor) -> Tensor:
        if self is not layer or not torch.is_grad_enabled():
            return right(self, x)
        turned = isinstance(self, nn.Linear)
        weights = [one.weight.detach().clone() for one in (self, other)]
        w, another = [one.T for one in weights] if turned else weights
        bias = None if self.bias is None else self.bias.detach().clone()
        rows = x.detach().clone().reshape(-1, x.shape[-1])
        call = Call(rows, w, bias, tuple(x.shape[:-1]), another, last=last.pop() if last else None)
        last.append(call)
        if call.last is not None:
            call.last.last = None
        z: Any = _Products.apply(x, self.weight, self.bias, call, rules, turned)
        return z

    kind.forward = forward
    try:
        yield
    finally:
        kind.forward = right


class _Slope(torch.autograd.Function):
    """An activation with another value or another slope."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, value: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.z, ctx.slope = z.detach().clone(), slope
        return value(z)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0] * ctx.slope(ctx.z), None, None


@contextmanager
def replace_activation(
    module: Any,
    value: Callable[[Tensor], Tensor] | None = None,
    slope: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Iterator[None]:
    """Give an activation module another value or another slope, a function of z and a."""
    right = type(module).forward
    own = value or (lambda z: right(module, z))

    def slope_of(z: Tensor) -> Tensor:
        with torch.enable_grad():
            z = z.requires_grad_()
            a = own(z)
            due = torch.autograd.grad(a.sum(), z)[0]
        return due if slope is None else slope(z.detach(), a.detach())

    module.forward = lambda z: _Slope.apply(z, own, slope_of)
    try:
        yield
    finally:
        del module.forward
