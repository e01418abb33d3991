"""Mistakes of kernels and of training loops, planted in one layer of GPT-2, of Llama or of a ViT: what each changes,
and what the judge should say.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from benchmarks.models.plant import Call, Rule

UP = "transformer.h.1.mlp.c_fc"
SQUARE = "transformer.h.1.attn.c_proj"
GATE = "model.layers.1.mlp.up_proj"
PATCH = "encoder.layers.encoder_layer_1.mlp.0"
QUERY = "model.layers.1.self_attn.q_proj"
OTHER = {
    UP: "transformer.h.2.mlp.c_fc",
    SQUARE: "transformer.h.2.attn.c_proj",
    GATE: "model.layers.2.mlp.up_proj",
    PATCH: "encoder.layers.encoder_layer_2.mlp.0",
    QUERY: "model.layers.2.self_attn.q_proj",
}
ACTIVATION = "transformer.h.1.mlp.act"


@dataclass(frozen=True)
class Mistake:
    """One mistake. `quantities` are those that may depart, the first of them first; `cause` is a part of the right
    words, or empty where the data cannot earn one.

    A kernel has `rules`, by quantity. An activation has `value` or `slope`. A loop has `between`, which is called with
    the layer between micro-batches, `before`, between forward and backward pass, `after`, behind the last backward
    pass, or `hook`, which changes dL/dz on its way to the layer.
    """

    name: str
    layer: str
    quantities: tuple[str, ...]
    cause: str
    rules: Mapping[str, Rule] = field(default_factory=dict)
    value: Callable[[Tensor], Tensor] | None = None
    slope: Callable[[Tensor, Tensor], Tensor] | None = None
    between: Callable[[nn.Module], None] | None = None
    before: Callable[[nn.Module], None] | None = None
    after: Callable[[nn.Module], None] | None = None
    hook: Callable[[Tensor], Tensor] | None = None
    parameter_hook: Callable[[Tensor], Tensor] | None = None
    passes: int = 1
    axes: tuple[int, int] = (2, 24)


def to_bf16(a: Tensor) -> Tensor:
    """Rounded to bfloat16."""
    return a.to(torch.bfloat16).to(a.dtype)


def to_f16(a: Tensor) -> Tensor:
    """Rounded to float16."""
    return a.to(torch.float16).to(a.dtype)


def to_tf32(a: Tensor) -> Tensor:
    """Rounded to the 11 bits of tf32."""
    bits = a.contiguous().view(torch.int32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


def truncate(a: Tensor, dropped: int = 0xFFFF) -> Tensor:
    """Without the last bits, by default those that bfloat16 lacks."""
    return (a.contiguous().view(torch.int32) & ~dropped).view(torch.float32)


def add_in_bf16(x: Tensor, k: Tensor) -> Tensor:
    """xᵀ k with a bfloat16 accumulator."""
    total = torch.zeros(x.shape[1], k.shape[1], dtype=torch.bfloat16)
    for row, other in zip(x, k, strict=True):
        total = (total.float() + torch.outer(row, other)).bfloat16()
    return total.float()


def _with_bias(c: Call, product: Tensor) -> Tensor:
    return product if c.b is None else product + c.b


def _z(name: str, layer: str, cause: str, rule: Rule) -> Mistake:
    return Mistake(name, layer, ("z",), cause, {"z": rule})


def _gx(name: str, layer: str, cause: str, rule: Rule) -> Mistake:
    return Mistake(name, layer, ("dL/dx",), cause, {"gx": rule})


def _gw(name: str, layer: str, cause: str, rule: Rule, passes: int = 1) -> Mistake:
    return Mistake(name, layer, ("dL/dW",), cause, {"gw": rule}, passes=passes)


def _gb(name: str, cause: str, rule: Rule, layer: str = UP, axes: tuple[int, int] = (2, 24)) -> Mistake:
    return Mistake(name, layer, ("dL/db",), cause, {"gb": rule}, axes=axes)


def _columns(a: Tensor, number: int, factor: float) -> Tensor:
    a = a.clone()
    a[:, number] *= factor
    return a


def _last_input(c: Call) -> Tensor:
    return c.x if c.last is None else c.last.x


def _gradient(layer: nn.Module) -> Tensor:
    gradient = layer.get_parameter("weight").grad
    assert gradient is not None  # a backward pass has run
    return gradient


def _lose(layer: nn.Module) -> None:
    layer.get_parameter("weight").grad = None


def _edit(change: Callable[[Tensor], Tensor]) -> Callable[[nn.Module], None]:
    """A change of the weight's gradient in place."""

    def run(layer: nn.Module) -> None:
        gradient = _gradient(layer)
        gradient.copy_(change(gradient))

    return run


def _clip_norm(layer: nn.Module) -> None:
    weight = layer.get_parameter("weight")
    nn.utils.clip_grad_norm_([weight], 0.25 * float(_gradient(layer).norm()))


def _clip_value(layer: nn.Module) -> None:
    nn.utils.clip_grad_value_([layer.get_parameter("weight")], 0.5 * float(_gradient(layer).abs().max()))


def _update(layer: nn.Module) -> None:
    layer.get_parameter("weight").data.mul_(0.97)


def _decay(layer: nn.Module) -> None:
    _gradient(layer).add_(layer.get_parameter("weight").detach(), alpha=1e-2)


def _wrong_gelu_slope(z: Tensor) -> Tensor:
    with torch.enable_grad():
        z = z.detach().clone().requires_grad_()
        return torch.autograd.grad(nn.functional.gelu(z, approximate="tanh").sum(), z)[0]


MISTAKES: tuple[Mistake, ...] = (
    # z
    _z("transposed weight", QUERY, "uses the weight transposed", lambda c: c.x @ c.w.T),
    _z(
        "reshaped weight",
        UP,
        "uses the weight reshaped",
        lambda c: _with_bias(c, c.x @ c.w.T.contiguous().reshape(c.w.shape)),
    ),
    _z("no bias", UP, "leaves out the bias", lambda c: c.x @ c.w),
    _z("bias twice", UP, "adds the bias twice", lambda c: c.z + (0 if c.b is None else c.b)),
    _z("x in bf16", GATE, "rounds x to bf16", lambda c: to_bf16(c.x) @ c.w),
    _z("W in bf16", UP, "rounds W to bf16", lambda c: _with_bias(c, c.x @ to_bf16(c.w))),
    _z("x and W in tf32", GATE, "rounds x and W to 11 bits", lambda c: to_tf32(c.x) @ to_tf32(c.w)),
    _z("z in f16", UP, "rounds the result to f16", lambda c: to_f16(c.z)),
    _z("z in bf16", GATE, "rounds the result to bf16", lambda c: to_bf16(c.z)),
    _z("weight of another layer", GATE, "uses the weight of model.layers.2.mlp.up_proj", lambda c: c.x @ c.other),
    _z(
        "weight of the step before",
        GATE,
        "uses the weight of the previous step",
        lambda c: c.x @ (c.w if c.last is None else c.last.w),
    ),
    _z(
        "input of the step before",
        UP,
        "uses the input of the previous step",
        lambda c: _with_bias(c, _last_input(c) @ c.w),
    ),
    _z("rows moved", UP, "has the rows moved", lambda c: c.z.roll(1, 0)),
    _z("one unit 0.1 % high", UP, "column 3 alone departs: it is 1.001 times", lambda c: _columns(c.z, 3, 1.001)),
    _z("columns rolled", UP, "", lambda c: c.z.roll(1, 1)),
    _z("bias of the next unit", UP, "", lambda c: c.x @ c.w + (0 if c.b is None else c.b.roll(1))),
    _z("z truncated to bf16", GATE, "", lambda c: truncate(c.z)),
    _z("z accumulated in bf16", GATE, "accumulates sums in bf16", lambda c: add_in_bf16(c.x.T, c.w)),
    # dL/dx
    _gx("gx zero", UP, "is 0", lambda c: c.gx * 0),
    _gx("gx halved", GATE, "0.5 times", lambda c: c.gx / 2),
    _gx("gx negated", UP, "-1 times", lambda c: -c.gx),
    _gx("gx by W in place of its transpose", QUERY, "uses the weight transposed", lambda c: c.k @ c.w),
    _gx("gx clipped", UP, "clips entries at", lambda c: c.gx.clamp(-float(c.gx.std()), float(c.gx.std()))),
    _gx(
        "gx with dropout",
        GATE,
        "sets entries to 0",
        lambda c: c.gx * 2 * (torch.rand(c.gx.shape, generator=torch.Generator().manual_seed(1)) < 0.5),
    ),
    _gx("gx of k in bf16", GATE, "rounds dL/dz to bf16", lambda c: to_bf16(c.k) @ c.w.T),
    _gx("gx in bf16", UP, "rounds the result to bf16", lambda c: to_bf16(c.gx)),
    _gx(
        "gx by another layer's weight",
        UP,
        "uses the weight of transformer.h.2.mlp.c_fc",
        lambda c: c.k @ c.other.T,
    ),
    _gx("gx without the last unit", UP, "", lambda c: c.k[:, :-1] @ c.w[:, :-1].T),
    _gx("gx of k truncated to tf32", UP, "", lambda c: truncate(c.k, 0x1FFF) @ c.w.T),
    # dL/dW
    _gw("gW mean over rows", UP, "the mean over the 48 rows", lambda c: c.gw / len(c.x)),
    _gw("gW mean over batch", GATE, "the mean over axis 0", lambda c: c.gw / c.axes[0]),
    _gw("gW transposed", QUERY, "is transposed", lambda c: c.gw.T.contiguous()),
    _gw("gW reshaped", UP, "", lambda c: c.gw.T.contiguous().reshape(c.gw.shape)),
    _gw("gW of the last row", PATCH, "adds the last row alone", lambda c: torch.outer(c.x[-1], c.k[-1])),
    _gw(
        "gW of the last position",
        PATCH,
        "adds the last position of each example alone",
        lambda c: c.x[c.axes[1] - 1 :: c.axes[1]].T @ c.k[c.axes[1] - 1 :: c.axes[1]],
    ),
    _gw(
        "gW of the input of the step before",
        GATE,
        "uses the input of the previous step",
        lambda c: _last_input(c).T @ c.k,
    ),
    _gw(
        "gW of the micro-batch before",
        UP,
        "uses the input of the call before",
        lambda c: _last_input(c).T @ c.k,
        passes=3,
    ),
    _gw("gW of x in bf16", GATE, "rounds x to bf16", lambda c: to_bf16(c.x).T @ c.k),
    _gw("gW accumulated in bf16", UP, "accumulates sums in bf16", lambda c: add_in_bf16(c.x, c.k)),
    _gw("gW with noise", GATE, "", lambda c: c.gw + 1e-4 * c.gw.std() * torch.randn(c.gw.shape)),
    _gw("gW of x one position late", UP, "", lambda c: c.x.roll(1, 0).T @ c.k),
    _gw("gW of x drawn anew by dropout", UP, "", lambda c: nn.functional.dropout(c.x, 0.1).T @ c.k),
    _gw("gW 0.001 % high", GATE, "1.00001 times", lambda c: c.gw * 1.00001),
    _gw("gW of every second row", UP, "", lambda c: c.x[::2].T @ c.k[::2]),
    # dL/db
    _gb("gb mean over rows", "the mean over the 48 rows", lambda c: c.k.mean(0)),
    _gb("gb zero", "is 0", lambda c: c.gb * 0),
    _gb("gb over the wrong axis", "summed over the outputs", lambda c: c.k.sum(1), SQUARE, (2, 16)),
    _gb("gb of the last row", "adds the last row alone", lambda c: c.k[-1].clone(), PATCH),
    _gb("gb of k in bf16", "rounds dL/dz to bf16", lambda c: to_bf16(c.k).sum(0)),
    # Activations
    Mistake("other activation", UP, ("a", "dL/dz"), "gelu in place of gelu_tanh", value=nn.functional.gelu),
    Mistake(
        "slope of a in place of z",
        UP,
        ("dL/dz",),
        "uses f' of a in place of z",
        slope=lambda z, a: _wrong_gelu_slope(a),
    ),
    Mistake("no slope", UP, ("dL/dz",), "leaves out f'", slope=lambda z, a: torch.ones_like(z)),
    # Training loops
    Mistake("lost micro-batch", UP, ("dL/dW",), "leaves out backward pass 1 of 3", between=_lose, passes=3),
    Mistake(
        "mean over micro-batches",
        GATE,
        ("dL/dW",),
        "the mean over the 3 backward passes",
        after=_edit(lambda g: g / 3),
        passes=3,
    ),
    Mistake("mean over two ranks", GATE, ("dL/dW",), "0.5 times", after=_edit(lambda g: g / 2)),
    Mistake("hook on the parameter", UP, ("dL/dW",), "0.9 times", parameter_hook=lambda g: 0.9 * g),
    Mistake("hook on dL/dz", UP, ("dL/dx", "dL/dW", "dL/db"), "3 times", hook=lambda g: 3 * g),
    Mistake("clipped by norm", UP, ("dL/dW",), "times what it should be", after=_clip_norm),
    Mistake("clipped by value", GATE, ("dL/dW",), "clips entries at", after=_clip_value),
    Mistake("weight updated before the backward pass", GATE, ("dL/dx",), "as it was changed", before=_update),
    Mistake("weight decay in the gradient", UP, ("dL/dW",), "as weight decay does", after=_decay),
    Mistake("gradient in bf16", GATE, ("dL/dW",), "rounds the result to bf16", after=_edit(to_bf16)),
    Mistake(
        "one column of gW negated",
        UP,
        ("dL/dW",),
        "alone departs: it is -1 times",
        after=_edit(lambda g: _columns(g, 5, -1.0)),
    ),
)
