"""Mistakes planted in one layer of real models: what the judge says, and what comparing with a second run finds.

    python -m benchmarks.models.faults [--mistake NAME] [--write]

It needs torch, transformers and torchvision. The second run is that of the same model with the same weights and batches
in float64, as a second framework would give. It exits with 1 if a mistake is not found, if the layer or the quantity is
wrong, or if a cause is.
"""

import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

import kterm
from benchmarks._common import circumstances, one_thread, parser, publish, table
from benchmarks.models.build import MODELS, Batch, Model
from benchmarks.models.mistakes import ACTIVATION, MISTAKES, OTHER, UP, Mistake
from benchmarks.models.plant import replace_activation, replace_products
from kterm.conformance.interfaces.models.judgement import Judgement

Said = Literal["right", "unknown", "wrong"]
STEPS, WORDS = 3, 300
CLOSE: Mapping[str, tuple[float | None, float | None]] = {"defaults": (None, None), "1e-3": (1e-3, 1e-5)}
_SHOWN = {"defaults": "its defaults", "1e-3": "`rtol=1e-3`"}
_MODEL_OF = {"transformer": "gpt2", "model": "llama", "encoder": "vit"}
NONE = Mistake("none", UP, (), "")


@dataclass(frozen=True)
class Seen:
    """What a comparison with a second run finds: whether anything differs, and the layer that it points at."""

    found: bool = False
    layer: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What the judge and the comparisons, by their tolerances, say of a mistake."""

    mistake: Mistake
    found: bool
    layer: bool
    quantity: bool
    cause: Said
    words: str
    others: Mapping[str, Seen]


def main() -> int:
    """Plant all mistakes, print the table, and return the exit code."""
    options = parser(__doc__)
    options.add_argument("--mistake", action="append", choices=[one.name for one in (NONE, *MISTAKES)])
    chosen = options.parse_args()
    one_thread()
    outcomes = []
    for mistake in (NONE, *MISTAKES):
        if not chosen.mistake or mistake.name in chosen.mistake:
            outcomes.append(plant(mistake))
            print(" | ".join((*_row(outcomes[-1]), outcomes[-1].words)), flush=True)
    planted = [one for one in outcomes if one.mistake is not NONE]
    publish("models-faults", "Mistakes in one layer of a real model", _body(outcomes, planted), chosen.write)
    sound = [one for one in outcomes if one.mistake is NONE]
    good = all(one.found and one.layer and one.quantity and one.cause != "wrong" for one in planted)
    return 0 if good and not any(one.found for one in sound) else 1


def plant(mistake: Mistake) -> Outcome:
    """Train a model with a mistake for a few steps, judge the steps, and compare each with a second run."""
    torch.manual_seed(0)
    kind = MODELS[_MODEL_OF[mistake.layer.partition(".")[0]]]
    model, second = kind.build().train(), kind.build().train().double()
    every: Any = [*model.modules(), *second.modules()]
    for module in every:  # random numbers differ in float64
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in ("attention_dropout", "dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):  # transformers begins with zeros
                parameter.normal_(std=0.1)
    others: dict[str, Seen] = {name: Seen() for name in CLOSE}
    layer = model.get_submodule(mistake.layer)
    with ExitStack() as stack:
        stack.enter_context(_planted(mistake, model))
        capture = stack.enter_context(kterm.capture(model))
        for _ in range(STEPS):
            batches = [_draw(kind, mistake) for _ in range(mistake.passes)]
            second.load_state_dict(model.state_dict())
            due = _run(second, batches, kind.loss)
            seen = _run(model, batches, kind.loss, mistake, layer)
            capture.end_step()
            for name, tolerances in CLOSE.items():
                if not others[name].found:
                    others[name] = _compare(due, seen, tolerances)
            optimizer.step()
            optimizer.zero_grad()
    return _outcome(mistake, kterm.judge(capture.trace()), others)


def _draw(kind: Model, mistake: Mistake) -> Batch:
    """Words of the shape that a mistake needs, or images."""
    return kind.draw(mistake.axes[0]) if kind.name == "vit" else (torch.randint(0, WORDS, mistake.axes),)


@contextmanager
def _planted(mistake: Mistake, model: nn.Module) -> Iterator[None]:
    layer = model.get_submodule(mistake.layer)
    with ExitStack() as stack:
        if mistake.rules:
            other = model.get_submodule(OTHER[mistake.layer])
            stack.enter_context(replace_products(layer, other, mistake.rules))
        if mistake.value is not None or mistake.slope is not None:
            module = model.get_submodule(ACTIVATION)
            stack.enter_context(replace_activation(module, mistake.value, mistake.slope))
        if (change := mistake.hook) is not None:
            # A hook between the activation and the layer.
            def add(module: nn.Module, args: Any, z: Tensor) -> None:
                if z.requires_grad:
                    z.register_hook(change)

            stack.callback(layer.register_forward_hook(add).remove)
        if mistake.parameter_hook is not None:
            stack.callback(layer.get_parameter("weight").register_hook(mistake.parameter_hook).remove)
        yield


def _run(
    model: nn.Module,
    batches: list[Batch],
    loss: Callable[..., Tensor],
    mistake: Mistake = NONE,
    layer: nn.Module | None = None,
) -> dict[str, Tensor]:
    """One step of some micro-batches. Returns outputs of layers in the order of their calls, then gradients in the
    order of the backward pass, by name.
    """
    seen: dict[str, Tensor] = {}
    handles = []
    for name, module in model.named_modules():
        if type(module).__name__ in ("Linear", "Conv1D"):

            def keep(module: nn.Module, args: Any, z: Tensor, name: str = name) -> None:
                seen.setdefault(f"{name} output", z.detach().double())

            handles.append(module.register_forward_hook(keep))
    model.zero_grad()
    for number, batch in enumerate(batches):
        value = loss(model, batch)
        if mistake.before is not None and layer is not None:
            mistake.before(layer)
        value.backward()
        if mistake.between is not None and layer is not None and number == 0:
            mistake.between(layer)
    if mistake.after is not None and layer is not None:
        mistake.after(layer)
    for handle in handles:
        handle.remove()
    outputs = [*seen]
    for name in reversed(outputs):
        own = name.removesuffix(" output")
        for parameter, tensor in model.get_submodule(own).named_parameters(recurse=False):
            if tensor.grad is not None:
                seen[f"{own} {parameter}"] = tensor.grad.detach().double().clone()
    return seen


def _compare(
    due: Mapping[str, Tensor], seen: Mapping[str, Tensor], tolerances: tuple[float | None, float | None]
) -> Seen:
    """The first output, or else the first gradient in the order of the backward pass, that differs."""
    rtol, atol = tolerances
    for name, tensor in seen.items():
        try:
            torch.testing.assert_close(tensor.float(), due[name].float(), rtol=rtol, atol=atol)
        except AssertionError:
            return Seen(True, name.rpartition(" ")[0])
    return Seen()


def _outcome(mistake: Mistake, judgement: Judgement, others: Mapping[str, Seen]) -> Outcome:
    findings = judgement.findings
    causes = [one.cause for one in findings if one.cause is not None]
    said: Said = "unknown"
    if any(cause.is_known and (not mistake.cause or mistake.cause not in cause.text) for cause in causes):
        said = "wrong"
    elif any(cause.is_known for cause in causes):
        said = "right"
    return Outcome(
        mistake,
        bool(findings),
        bool(findings) and all(one.layer == mistake.layer for one in findings),
        bool(findings) and all(one.verdict.quantity in mistake.quantities for one in findings),
        said,
        "; ".join(
            dict.fromkeys(f"{f.verdict.quantity} of {f.layer}: {f.cause.text if f.cause else ''}" for f in findings)
        ),
        others,
    )


def _row(one: Outcome) -> tuple[str, ...]:
    mistake = one.mistake

    def mark(true: bool) -> str:
        return "yes" if true else "no"

    compared = [
        mark(seen.found) + (", its layer" if seen.layer == mistake.layer else ", another layer" if seen.found else "")
        for seen in one.others.values()
    ]
    if mistake is NONE:
        return mistake.name, "", mark(one.found), "", "", "", *[mark(seen.found) for seen in one.others.values()]
    quantity = mistake.quantities[0]
    return mistake.name, quantity, mark(one.found), mark(one.layer), mark(one.quantity), one.cause, *compared


def _body(outcomes: list[Outcome], planted: list[Outcome]) -> str:
    header = (
        "mistake",
        "quantity",
        "found",
        "layer",
        "right quantity",
        "cause",
        *(f"`assert_close`, {n}" for n in CLOSE),
    )
    n = len(planted)
    counts = [
        f"The judge finds {sum(one.found for one in planted)} of {n}, with the right layer in "
        f"{sum(one.layer for one in planted)} and the right quantity in {sum(one.quantity for one in planted)}. The "
        f"cause is right in {sum(one.cause == 'right' for one in planted)}, unknown in "
        f"{sum(one.cause == 'unknown' for one in planted)} and wrong in {sum(one.cause == 'wrong' for one in planted)}."
    ]
    for name in CLOSE:
        seen = [(one.others[name], one.mistake) for one in planted]
        found = sum(one.found for one, _ in seen)
        right = sum(one.layer == mistake.layer for one, mistake in seen)
        false = [one for one in outcomes if one.mistake is NONE and one.others[name].found]
        alarm = ". It rejects the sound model too" if false else ""
        counts.append(f"`assert_close` with {_SHOWN[name]} finds {found} and points at the layer in {right}{alarm}.")
    said = textwrap.fill(" ".join(counts), 120)
    return f"""\
Which mistakes in one layer of a model does the judge find? Each is planted in one layer of a GPT-2-like or a Llama-like
model of `transformers`, or of a ViT of `torchvision`, in float32, which then takes {STEPS} steps of AdamW: a
hand-written kernel in place of the layer's own products, or a training loop that changes a gradient. Beside it, the
same steps are compared with a second run, of the right model in float64 with the same weights and batches:
`torch.testing.assert_close` with its defaults for float32, and with `rtol=1e-3, atol=1e-5`. It compares outputs in the
order of the forward pass, then gradients of parameters in the order of the backward pass, and points at the layer of
the first that differs. A cause that is "unknown" is one that the judge describes without naming the mistake.

{said}

{table(header, map(_row, outcomes))}

{circumstances("kterm", "numpy", "torch", "transformers", "torchvision")}"""


if __name__ == "__main__":
    sys.exit(main())
