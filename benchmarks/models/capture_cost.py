"""What `kterm.capture` costs: the time of a training step with it and without, in memory and into a folder, on one
thread; and the size of the trace.

    python -m benchmarks.models.capture_cost [--rounds 9] [--only llama]

Models have random weights, made from a configuration: nothing is downloaded. Needs transformers and torchvision.
"""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import kterm
from benchmarks._common import (
    Function,
    circumstances,
    interleaved,
    one_thread,
    parser,
    quartiles,
    ratio_text,
    ratios,
    seconds_text,
    table,
)
from benchmarks.models.build import import_library

WIDTH, LAYERS, HEADS, VOCABULARY, LENGTH, BATCH = 256, 4, 8, 2000, 128, 4


@dataclass(frozen=True)
class Workload:
    """A model with what it is trained on."""

    model: nn.Module
    loss: Callable[[nn.Module], Tensor]

    def run(self, autocast: torch.dtype | None) -> None:
        """One step, without the optimizer's."""
        self.model.zero_grad()
        with nullcontext() if autocast is None else torch.autocast("cpu", autocast):
            loss = self.loss(self.model)
        loss.backward()


def _language(model: nn.Module) -> Workload:
    tokens = torch.randint(0, VOCABULARY, (BATCH, LENGTH))
    return Workload(model, lambda model: model(input_ids=tokens, labels=tokens).loss)


def make_llama() -> Workload:
    """Gated, with rotary positions, as in Llama."""
    transformers: Any = import_library("transformers")
    sizes = {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "intermediate_size": 3 * WIDTH}
    config = transformers.LlamaConfig(**sizes, num_hidden_layers=LAYERS, num_attention_heads=HEADS)
    return _language(transformers.LlamaForCausalLM(config))


def make_gpt2() -> Workload:
    """As GPT-2, with a table that the head shares."""
    transformers: Any = import_library("transformers")
    sizes = {"vocab_size": VOCABULARY, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": LENGTH}
    config = transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)
    return _language(transformers.GPT2LMHeadModel(config))


def make_vit() -> Workload:
    """torchvision's ViT on patches of 8 by 8."""
    models: Any = import_library("torchvision.models.vision_transformer")
    images, classes = torch.randn(BATCH, 3, 88, 88), torch.randint(0, 10, (BATCH,))
    model = models.VisionTransformer(88, 8, LAYERS, HEADS, WIDTH, 4 * WIDTH, num_classes=10)
    return Workload(model, lambda model: nn.functional.cross_entropy(model(images).float(), classes))


MODELS = {"llama": make_llama, "gpt2": make_gpt2, "vit": make_vit}


def measure(workload: Workload, autocast: torch.dtype | None, rounds: int, folder: Path) -> list[str]:
    """The cells of a row: time, two ratios, the bytes of the trace and of the model, and those that a capture holds
    after the backward pass.
    """
    seen, held = list[kterm.Trace](), dict[Path | None, int]()

    def run_captured(to: Path | None) -> None:
        if to is not None:
            shutil.rmtree(to, ignore_errors=True)
        with kterm.capture(workload.model, to) as trace:
            workload.run(autocast)
            held[to] = trace.memory
        seen[:] = [trace.trace()]

    functions: dict[str, Function] = {
        "plain": partial(workload.run, autocast),
        "memory": partial(run_captured, None),
        "folder": partial(run_captured, folder / "trace"),
    }
    times = interleaved(functions, rounds)
    bytes_of_model = sum(parameter.nbytes for parameter in workload.model.parameters())
    cells = [ratio_text(ratios(times, over, "plain")) for over in ("memory", "folder")]
    sizes = (seen[0].bytes, held[None], held[folder / "trace"], bytes_of_model)
    return [seconds_text(quartiles(times["plain"])[1]), *cells, *(f"{size / 1e6:.0f} MB" for size in sizes)]


def main() -> None:
    """Measure each model in float32 and under autocast."""
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--only", choices=MODELS)
    chosen = arguments.parse_args()
    one_thread()
    torch.set_num_threads(1)
    rows = list[list[str]]()
    with tempfile.TemporaryDirectory() as folder:
        for name, make in MODELS.items():
            if chosen.only in (None, name):
                for autocast in (None, torch.bfloat16):
                    torch.manual_seed(0)
                    what = f"{name}, {'float32' if autocast is None else 'bfloat16 autocast'}"
                    rows.append([what, *measure(make(), autocast, chosen.rounds, Path(folder))])
                    print(" | ".join(rows[-1]), flush=True)
    print(
        table(["step", "without", "in memory", "into a folder", "trace", "held", "held with a folder", "weights"], rows)
    )
    print(circumstances("torch", "transformers", "torchvision"))


if __name__ == "__main__":
    main()
