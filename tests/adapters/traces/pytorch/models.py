"""Small models that need PyTorch alone, one step of them, and what a trace of it must hold."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import kterm
from kterm.adapters.traces.manifest import Call, Layer, Parameter
from kterm.reference import DTYPES, Array
from kterm.reference.rounding import SIGMAS, Estimate, deviation, product

WIDTH, VOCABULARY = 12, 23


class Conv1D(nn.Module):
    """The dense layer of transformers' GPT-2: its weight is (inputs, outputs)."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(torch.randn(nx, nf) / nx**0.5)
        self.bias = nn.Parameter(torch.randn(nf) / 4)

    def forward(self, x: Tensor) -> Tensor:
        flat = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return flat.view(*x.shape[:-1], self.nf)


class Gated(nn.Module):
    """A block as in Llama: q, k and v read the same tensor, and silu is gated."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.gate, self.up = nn.Linear(WIDTH, 20, bias=False), nn.Linear(WIDTH, 20, bias=False)
        self.act, self.down = nn.SiLU(), nn.Linear(20, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        weights = torch.softmax(self.q(h) @ self.k(h).mT / WIDTH**0.5, -1)
        x = x + self.o(weights @ self.v(h))
        h = self.norm(x)
        return x + self.down(self.act(self.gate(h)) * self.up(h))


class Packed(nn.Module):
    """A block as in GPT-2, with an activation that works in place and a dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.o = Conv1D(3 * WIDTH, WIDTH), Conv1D(WIDTH, WIDTH)
        self.up, self.act, self.down = Conv1D(20, WIDTH), nn.ReLU(inplace=True), Conv1D(WIDTH, 20)
        self.dropout = nn.Dropout(0.25)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).split(WIDTH, -1)
        x = x + self.o(torch.softmax(q @ k.mT / WIDTH**0.5, -1) @ v)
        return x + self.dropout(self.down(self.act(self.up(x))))


class Attended(nn.Module):
    """PyTorch's own attention, which calls `functional.linear` with its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 3, batch_first=True)
        self.up, self.act, self.down = nn.Linear(WIDTH, 20), nn.GELU(), nn.Linear(20, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return x + self.down(self.act(self.up(x)))


class Language(nn.Module):
    """Blocks between an embedding and a head, which may share a table. A shared block is called twice."""

    def __init__(self, block: type[nn.Module], *, tied: bool = False, shared: bool = False, kept: str = "all") -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH, padding_idx=0)
        first = block()
        self.blocks = nn.ModuleList([first, first if shared else block()])
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        if tied:
            self.head.weight = self.embed.weight
        self.kept = kept

    def forward(self, indices: Tensor) -> Tensor:
        x: Any = self.embed(indices)
        for block in self.blocks:
            x = block(x) if self.kept == "all" else checkpoint(block, x, use_reentrant=self.kept == "reentrant")
        return self.head(x)


def make_tokens(seed: int = 0) -> Tensor:
    """(3, 5) indices, one of them that of the padding."""
    tokens = torch.randint(1, VOCABULARY, (3, 5), generator=torch.Generator().manual_seed(seed))
    tokens[1, 2] = 0
    return tokens


def run_step(model: nn.Module, *, passes: int = 1, autocast: torch.dtype | None = None) -> None:
    """The passes of one training step."""
    for number in range(passes):
        tokens = make_tokens(number)
        with nullcontext() if autocast is None else torch.autocast("cpu", autocast):
            logits = model(tokens)
            loss = functional.cross_entropy(logits.flatten(0, 1).float(), tokens.flatten().flip(0))
        (loss / passes).backward()


def capture_step(make: Callable[[], nn.Module], **options: Any) -> kterm.Trace:
    """The trace of a step, once it is known that its gradients have the bits that they have without the capture."""
    plain, captured = (_make_seeded(make) for _ in range(2))
    torch.manual_seed(1)
    run_step(plain, **options)
    torch.manual_seed(1)
    with kterm.capture(captured) as trace:
        run_step(captured, **options)
    _assert_same_gradients(plain, captured)
    return trace.trace()


def _make_seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(7)
    return make()


def _assert_same_gradients(one: nn.Module, other: nn.Module) -> None:
    plain, captured = ({n: p.grad for n, p in model.named_parameters()} for model in (one, other))
    assert plain.keys() == captured.keys()
    for name, gradient in plain.items():
        other_gradient = captured[name]
        if gradient is None or other_gradient is None:
            assert gradient is other_gradient, name
        else:
            assert torch.equal(gradient, other_gradient), name


def count_checked(trace: kterm.Trace) -> dict[str, int]:
    """Recompute every quantity of every step in float64, and see that it is within its tolerance. Returns how many of
    each there were.
    """
    counts: dict[str, int] = dict.fromkeys(("z", "dL/dx", "dL/dW", "dL/db"), 0)
    for step, arrays in zip(trace.manifest.steps, trace.steps, strict=True):
        for layer in step.layers:
            for call in layer.calls:
                if layer.kind == "lookup":
                    continue
                x, w, z, k = (_get(arrays, n) for n in (call.input, call.weight, call.output, call.output_gradient))
                w = w if layer.layout == "in_out" else w.T
                assert int(np.prod(call.axes)) == len(x) == len(z)
                pairs = [("z", z, x, w, 0.0 if call.bias is None else _get(arrays, call.bias))]
                if call.input_gradient is not None:
                    pairs.append(("dL/dx", _get(arrays, call.input_gradient), k, w.T, 0.0))
                for name, seen, a, b, more in pairs:
                    _check(f"{name} of {layer.name}", seen, [(a, b)], call, more)
                    counts[name] += 1
        for parameter in step.parameters:
            if parameter.gradient is not None and not parameter.not_captured:
                name = _check_gradient(step.layers, parameter, arrays)
                counts[name] += 1
    return counts


def _check_gradient(layers: tuple[Layer, ...], parameter: Parameter, arrays: Mapping[str, Array]) -> str:
    terms, last = list[tuple[Array, Array]](), None
    is_bias = all(layer.bias == parameter.name for layer in layers if parameter.name in (layer.weight, layer.bias))
    for layer in layers:
        if parameter.name not in (layer.weight, layer.bias):
            continue
        for last in layer.calls:
            x, k = _get(arrays, last.input), _get(arrays, last.output_gradient)
            if layer.kind == "lookup":
                x = np.eye(len(_get(arrays, last.weight)), dtype=k.dtype)[x]
            factors = (np.ones((1, len(k)), k.dtype), k) if is_bias else (x.T, k)
            terms.append((factors[1].T, factors[0].T) if layer.layout == "out_in" and not is_bias else factors)
    assert last is not None
    more = 0.0 if parameter.gradient_before is None else _get(arrays, parameter.gradient_before)
    seen = _get(arrays, parameter.gradient)
    _check(parameter.name, seen.reshape(1, -1) if is_bias else seen, terms, last, more)
    return "dL/db" if is_bias else "dL/dW"


def _check(what: str, seen: Array, terms: list[tuple[Array, Array]], call: Call, more: Array | float) -> None:
    """That a sum of products is within λσ, where factors and the sum are rounded as autocast rounds them."""
    rounded = None if call.products is None else call.products.dtype
    dtype = DTYPES[rounded or {"float64": "f64", "float32": "f32"}[str(seen.dtype)]]
    reading = deviation(dtype)
    a = np.concatenate([_round(one, rounded) for one, _ in terms], axis=1)
    b = np.concatenate([_round(one, rounded) for _, one in terms], axis=0)
    due = product(Estimate(a), Estimate(b), reading)
    extra = np.abs(_round(np.asarray(more), rounded)) * reading.u
    # Each part of a sum may be rounded before it is added to the others.
    stored = [reading.u * np.abs(_round(p, rounded) @ _round(q, rounded)) for p, q in terms] if len(terms) > 1 else []
    assert due.error is not None
    sigma = np.sqrt(np.square(due.error) + np.square(extra) + sum(np.square(3 * one) for one in stored))
    off = np.abs(_round(seen, None) - (due.value + _round(np.asarray(more), rounded)))
    assert (off <= SIGMAS * sigma).all(), f"{what}: {np.nanmax(off / sigma):.1f} sigma"


def _round(array: Array, dtype: str | None) -> Array:
    return (array if dtype is None else array.astype(DTYPES[dtype].numpy)).astype(np.float64)


def _get(arrays: Mapping[str, Array], name: str | None) -> Array:
    assert name is not None
    return arrays[name]
