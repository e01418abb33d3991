"""Small transformers of flax nnx and equinox with random weights, and what a training step of each needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

WORDS, LENGTH = 300, 24
_WIDTH, _INNER, _HEADS, _BLOCKS = 32, 80, 4, 2


@dataclass(frozen=True)
class Precision:
    """The dtype of parameters, and the one that layers compute in."""

    parameters: str = "float32"
    computed: str = "float32"


@dataclass(frozen=True)
class Library:
    """A model of a library. `build` makes it and its optimizer, with rematerialised blocks or without. `make_step`
    gives the function from the model and a batch of words to the loss and its gradients, and `update` a model and an
    optimizer after a step of Adam.
    """

    name: str
    build: Callable[[Precision, bool], tuple[Any, Any]]
    make_step: Callable[[Precision, bool], Callable[[Any, Any], tuple[Any, Any]]]
    update: Callable[[Any, Any, Any], tuple[Any, Any]]


def draw_words(rng: np.random.Generator, examples: int) -> Any:
    """A batch of words."""
    return jnp.asarray(rng.integers(0, WORDS, (examples, LENGTH)), "int32")


def _loss(logits: Any, words: Any) -> Any:
    wide = logits.astype(jnp.promote_types(logits.dtype, "float32"))
    return optax.softmax_cross_entropy_with_integer_labels(wide[:, :-1], words[:, 1:]).mean()


class _FlaxBlock(nnx.Module):
    def __init__(self, rngs: nnx.Rngs, kinds: Mapping[str, Any]) -> None:
        self.before = nnx.LayerNorm(_WIDTH, rngs=rngs, **kinds)
        self.attention = nnx.MultiHeadAttention(_HEADS, _WIDTH, rngs=rngs, decode=False, **kinds)
        self.behind = nnx.LayerNorm(_WIDTH, rngs=rngs, **kinds)
        self.up = nnx.Linear(_WIDTH, _INNER, rngs=rngs, **kinds)
        self.down = nnx.Linear(_INNER, _WIDTH, rngs=rngs, **kinds)

    def __call__(self, x: Any, mask: Any) -> Any:
        x = x + self.attention(self.before(x), mask=mask)
        return x + self.down(nnx.gelu(self.up(self.behind(x))))


class _FlaxTransformer(nnx.Module):
    def __init__(self, precision: Precision, remat: bool, tied: bool) -> None:
        rngs = nnx.Rngs(0)
        kinds: dict[str, Any] = {"dtype": jnp.dtype(precision.computed), "param_dtype": jnp.dtype(precision.parameters)}
        self.words = nnx.Embed(WORDS, _WIDTH, rngs=rngs, **kinds)
        self.places = nnx.Embed(LENGTH, _WIDTH, rngs=rngs, **kinds)
        self.blocks = nnx.List([_FlaxBlock(rngs, kinds) for _ in range(_BLOCKS)])
        self.last = nnx.LayerNorm(_WIDTH, rngs=rngs, **kinds)
        self.head = None if tied else nnx.Linear(_WIDTH, WORDS, use_bias=False, rngs=rngs, **kinds)
        self.remat = remat

    def __call__(self, words: Any) -> Any:
        x = self.words(words) + self.places(jnp.arange(LENGTH))
        mask = nnx.make_causal_mask(words)
        run = nnx.remat(_FlaxBlock.__call__) if self.remat else _FlaxBlock.__call__
        for block in self.blocks:
            x = run(block, x, mask)
        x = self.last(x)
        return self.words.attend(x) if self.head is None else self.head(x)


def _build_flax(precision: Precision, remat: bool, tied: bool) -> tuple[Any, Any]:
    model = _FlaxTransformer(precision, remat, tied)
    return model, nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)


def _make_flax_step(precision: Precision, jit: bool) -> Callable[[Any, Any], tuple[Any, Any]]:
    run = nnx.value_and_grad(lambda model, words: _loss(model(words), words))
    return nnx.jit(run) if jit else run


@nnx.jit
def _apply_flax(model: Any, optimizer: Any, gradients: Any) -> None:
    optimizer.update(model, gradients)


def _update_flax(model: Any, optimizer: Any, gradients: Any) -> tuple[Any, Any]:
    _apply_flax(model, optimizer, gradients)
    return model, optimizer


class _EquinoxBlock(eqx.Module):
    before: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention
    behind: eqx.nn.LayerNorm
    up: eqx.nn.Linear
    down: eqx.nn.Linear

    def __init__(self, key: Any) -> None:
        keys = jax.random.split(key, 3)
        biases = {f"use_{name}_bias": True for name in ("query", "key", "value", "output")}
        self.before, self.behind = eqx.nn.LayerNorm(_WIDTH), eqx.nn.LayerNorm(_WIDTH)
        self.attention = eqx.nn.MultiheadAttention(_HEADS, _WIDTH, key=keys[0], **biases)
        self.up = eqx.nn.Linear(_WIDTH, _INNER, key=keys[1])
        self.down = eqx.nn.Linear(_INNER, _WIDTH, key=keys[2])

    def __call__(self, x: Any) -> Any:
        y = jax.vmap(self.before)(x)
        x = x + self.attention(y, y, y, mask=jnp.tril(jnp.ones((LENGTH, LENGTH), bool)))
        y = jax.vmap(self.up)(jax.vmap(self.behind)(x))
        return x + jax.vmap(self.down)(jax.nn.gelu(y))


class _EquinoxTransformer(eqx.Module):
    words: eqx.nn.Embedding | None
    places: eqx.nn.Embedding
    blocks: list[_EquinoxBlock]
    last: eqx.nn.LayerNorm
    head: Any
    remat: bool = eqx.field(static=True)

    def __init__(self, remat: bool, tied: bool) -> None:
        keys = jax.random.split(jax.random.key(0), 3 + _BLOCKS)
        words = eqx.nn.Embedding(WORDS, _WIDTH, key=keys[0])
        self.places = eqx.nn.Embedding(LENGTH, _WIDTH, key=keys[1])
        self.blocks = [_EquinoxBlock(key) for key in keys[3:]]
        self.last = eqx.nn.LayerNorm(_WIDTH)
        head = eqx.nn.Linear(_WIDTH, WORDS, use_bias=False, key=keys[2])
        self.words = None if tied else words
        self.head = eqx.nn.Shared((words, head), lambda two: two[1].weight, lambda two: two[0].weight) if tied else head
        self.remat = remat

    def __call__(self, words: Any) -> Any:
        table, head = self.head() if self.words is None else (self.words, self.head)
        x = jax.vmap(table)(words) + self.places.weight
        for block in self.blocks:
            x = (eqx.filter_checkpoint(block) if self.remat else block)(x)
        return jax.vmap(head)(jax.vmap(self.last)(x))


def _cast(tree: Any, dtype: str) -> Any:
    return jax.tree.map(lambda one: one.astype(dtype) if eqx.is_inexact_array(one) else one, tree)


def _build_equinox(precision: Precision, remat: bool, tied: bool) -> tuple[Any, Any]:
    model = _cast(_EquinoxTransformer(remat, tied), precision.parameters)
    return model, optax.adam(1e-3).init(eqx.filter(model, eqx.is_inexact_array))


def _make_equinox_step(precision: Precision, jit: bool) -> Callable[[Any, Any], tuple[Any, Any]]:
    def loss(model: Any, words: Any) -> Any:
        # Mixed precision in equinox is a cast of the model in front of the forward pass.
        model = model if precision.computed == precision.parameters else _cast(model, precision.computed)
        return _loss(jax.vmap(model)(words), words)

    run = eqx.filter_value_and_grad(loss)
    return eqx.filter_jit(run) if jit else run


@eqx.filter_jit
def _update_equinox(model: Any, state: Any, gradients: Any) -> tuple[Any, Any]:
    updates, state = optax.adam(1e-3).update(gradients, state)
    return eqx.apply_updates(model, updates), state


def _flax(name: str, tied: bool) -> Library:
    return Library(name, lambda p, remat: _build_flax(p, remat, tied), _make_flax_step, _update_flax)


def _equinox(name: str, tied: bool) -> Library:
    return Library(name, lambda p, remat: _build_equinox(p, remat, tied), _make_equinox_step, _update_equinox)


LIBRARIES: Mapping[str, Library] = {
    one.name: one
    for one in (
        _flax("flax", tied=False),
        _flax("flax-tied", tied=True),
        _equinox("equinox", tied=False),
        _equinox("equinox-tied", tied=True),
    )
}
