"""Small models of transformers and torchvision with random weights, and batches for them. Nothing is downloaded."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Batch = tuple[Tensor, ...]
_WORDS, _LENGTH, _CLASSES = 300, 24, 10


@dataclass(frozen=True)
class Model:
    """How a model is made, how a batch of `n` examples is drawn, and its loss. `checkpoint` switches activation
    checkpointing on, reentrant or not; None where the model offers none.
    """

    name: str
    build: Callable[[], nn.Module]
    draw: Callable[[int], Batch]
    loss: Callable[[nn.Module, Batch], Tensor]
    checkpoint: Callable[[nn.Module, bool], None] | None = None


def _draw_words(n: int) -> Batch:
    return (torch.randint(0, _WORDS, (n, _LENGTH)),)


def _draw_images(n: int) -> Batch:
    return torch.randn(n, 3, 32, 32), torch.randint(0, _CLASSES, (n,))


def _language_loss(model: nn.Module, batch: Batch) -> Tensor:
    return model(input_ids=batch[0], labels=batch[0]).loss


def _image_loss(model: nn.Module, batch: Batch) -> Tensor:
    images, labels = batch
    dtype = next(model.parameters()).dtype
    return functional.cross_entropy(model(images.to(dtype)), labels)


def _checkpoint_transformers(model: Any, reentrant: bool) -> None:
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    # Reentrant checkpoints pass gradients on only if an input needs one.
    model.enable_input_require_grads()


def import_library(name: str) -> Any:
    """A library, also where the compiled operators of torchvision, which transformers imports, are not for this
    PyTorch. The models need none of them.
    """
    try:
        import_module("torchvision")
    except ModuleNotFoundError:
        pass  # transformers does without
    except RuntimeError:  # operator torchvision::nms does not exist
        for loaded in [one for one in sys.modules if one.split(".")[0] == "torchvision"]:
            del sys.modules[loaded]
        registrations = "torchvision._meta_registrations"
        sys.modules[registrations] = ModuleType(registrations)
        import_module("torchvision")
    return import_module(name)


def _llama(tied: bool) -> nn.Module:
    transformers = import_library("transformers")
    config = transformers.LlamaConfig(
        vocab_size=_WORDS,
        hidden_size=32,
        intermediate_size=80,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        attention_dropout=0.1,
        tie_word_embeddings=tied,
    )
    return transformers.LlamaForCausalLM(config)


def _gpt2() -> nn.Module:
    transformers = import_library("transformers")
    config = transformers.GPT2Config(vocab_size=_WORDS, n_embd=32, n_layer=3, n_head=4, n_positions=64)
    return transformers.GPT2LMHeadModel(config)  # dropout is 0.1 everywhere by default


def _vit() -> nn.Module:
    vision = import_library("torchvision")
    model = vision.models.VisionTransformer(
        image_size=32,
        patch_size=8,
        num_layers=3,
        num_heads=4,
        hidden_dim=32,
        mlp_dim=64,
        dropout=0.1,
        attention_dropout=0.1,
        num_classes=_CLASSES,
    )
    nn.init.normal_(model.heads.head.weight, std=0.1)  # torchvision begins with zeros, and then no gradient passes it
    return model


MODELS: Mapping[str, Model] = {
    one.name: one
    for one in (
        Model("llama", lambda: _llama(tied=False), _draw_words, _language_loss, _checkpoint_transformers),
        Model("llama-tied", lambda: _llama(tied=True), _draw_words, _language_loss, _checkpoint_transformers),
        Model("gpt2", _gpt2, _draw_words, _language_loss, _checkpoint_transformers),
        Model("vit", _vit, _draw_images, _image_loss),
    )
}
