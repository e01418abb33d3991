"""Capture of PyTorch models: hooks that copy what each dense layer is given and gives, in the steps of a block.

The input of each call is replaced by an alias of it, a view, so that the gradient of the alias is that by this call
alone, though other layers may read the same tensor. The output is not replaced: an activation that works in place
would refuse a view.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial, wraps
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import TraceError
from ..recording import Recording, note_uncalled
from ..trace import TraceBuilder
from .activations import may_read_several_times, name_activation
from .layers import Place, Places, find_places, say_distributed
from .recorder import Hook, Recorder
from .values import why_not

_OF_EMBEDDING = ("input", "weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse")
"""The arguments of `functional.embedding`."""


class TorchCapture(Recording):
    """A block in which the steps of a PyTorch model are recorded; `kterm.capture(model)` makes it.

        with kterm.capture(model) as trace:
            for x, y in batches:
                loss_of(model(x), y).backward()
                trace.end_step()            # before gradients are unscaled, clipped or zeroed
                optimizer.step()
                optimizer.zero_grad()

    The end of the block ends the last step. Several backward passes in one step are gradient accumulation. No number of
    the step changes, and nothing of the capture stays behind. After an exception, steps that ended stay.

    Captured are calls of `nn.Linear`, of transformers' Conv1D, and of `torch.nn.functional.linear` with a parameter of
    the model, as `nn.MultiheadAttention` makes them; embeddings whose table is also the weight of such a module; and an
    activation module that is given the output of a layer. Modules that `dense` names, such as those around a kernel of
    your own, are captured as dense layers: they must have a parameter `weight`, (outputs, inputs) or its transpose, and
    may have a `bias`. Calls without gradients, and those that no backward pass reaches, are left out.

    Memory: for a call with N rows, N (2 inputs + 2 outputs) numbers, less what calls share, such as the input of q, k
    and v; for an activation behind it up to N (3 outputs) more; for a step, the weights and their gradients. With
    `to`, a folder, these are on disk, and memory holds one copy of the weights. `memory` says what is held now.
    """

    def __init__(self, model: nn.Module, to: str | os.PathLike[str] | None = None, dense: Sequence[str] = ()) -> None:
        """`dense` is as in `find_places`. Raises TraceError if the model has no dense layer, for a pattern that matches
        none, and if the folder is not empty.
        """
        if not isinstance(model, nn.Module):
            raise TraceError(f"capture: {type(model).__name__} is no torch.nn.Module; give the model itself")
        self._places = self._find_places(model, dense)
        if not self._places.modules and not self._places.weights:
            raise TraceError(f"capture: {type(model).__name__} has no dense layer (nn.Linear, Conv1D) to capture")
        parameters = list[Tensor](model.parameters())
        device = str(parameters[0].device)
        version = str(torch.__version__)
        facts = {"framework": "torch", "framework_version": version, "device": device}
        super().__init__(TraceBuilder(to, **facts, notes=self._list_facts()))
        self._recorder = Recorder(self._builder, parameters, streams=to is not None)
        self._model, self._exit, self._has_raised = model, ExitStack(), False
        # Weights of dense layers. Lookups in a table are captured once it is known to be one of them.
        self._matrices = {id(module._parameters["weight"]) for module, _ in self._places.modules}
        self._entered: dict[int, tuple[Tensor, Tensor | None, Any]] = {}

    def _find_places(self, model: nn.Module, dense: Sequence[str]) -> Places:
        """The dense layers. Raises TraceError."""
        return find_places(model, dense)

    def _list_modules(self) -> Iterable[nn.Module]:
        """The modules that may be activations."""
        return self._model.modules()

    def _list_facts(self) -> tuple[str, ...]:
        """Notes of the whole trace."""
        return ()

    @property
    def memory(self) -> int:
        """The bytes of all arrays that the capture holds in memory now."""
        return self._builder.memory + self._recorder.values.bytes

    def _why_empty(self) -> str:
        return "; ".join((super()._why_empty(), *self._places.notes))

    def __enter__(self) -> Self:
        if self._recorder.is_open or self._builder.step:
            raise TraceError("capture: this capture was used before; make a new one")
        modules = [module for module, _ in self._places.modules]
        if any(isinstance(hook, Hook) and hook.is_live for one in modules for hook in one._forward_hooks.values()):
            raise TraceError("capture: another capture of this model is open; end its block first")
        self._recorder.is_open = True
        for module, place in self._places.modules:
            self._hook(module, partial(self._before_layer, place), partial(self._after_layer, place))
        for module in self._list_modules():
            if (name := name_activation(module)) is not None:
                self._hook(module, self._before_activation, partial(self._after_activation, name))
        self._replace(functional, "linear", self._linear)
        self._replace(functional, "embedding", self._embedding)
        self._replace(torch.autograd, "backward", self._run_backward)
        self._replace(torch.autograd, "grad", self._run_grad)
        return self

    def _hook(self, module: nn.Module, before: Callable[..., Any], after: Callable[..., Any]) -> None:
        recorder = self._recorder
        handle = module.register_forward_pre_hook(Hook(recorder, before), with_kwargs=True)
        self._exit.callback(handle.remove)
        # First, since hooks of the user may replace the output.
        handle = module.register_forward_hook(Hook(recorder, after), with_kwargs=True, prepend=True)
        self._exit.callback(handle.remove)

    def _replace(self, owner: Any, name: str, new: Callable[..., Any]) -> None:
        """Replace a function until the block ends."""
        old = getattr(owner, name)

        @wraps(old)
        def replaced(*args: Any, **kwargs: Any) -> Any:
            if torch.compiler.is_compiling() or not self._recorder.is_open:
                return old(*args, **kwargs)
            return new(partial(old, *args, **kwargs))

        def restore() -> None:
            if getattr(owner, name) is replaced:
                setattr(owner, name, old)

        setattr(owner, name, replaced)
        self._exit.callback(restore)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        try:
            if kind is None and (self._recorder.step.passed or self._recorder.broken) and not self._has_raised:
                self.end_step()
        finally:
            self._recorder.close()
            self._exit.close()
            self._entered.clear()

    def end_step(self) -> None:
        """End a step: after its last backward pass, before gradients are unscaled, clipped or set to zero. Raises
        TraceError if no backward pass reached a layer, or if the trace could not be written.
        """
        recorder, step = self._recorder, self._recorder.step
        if recorder.broken is not None:
            self._has_raised = True
            raise recorder.broken
        if not recorder.is_open:
            raise TraceError("capture: the block has ended, and so has its last step")
        if not step.passed:
            why = "capture: no backward pass reached a dense layer in this step; call end_step after backward()"
            raise TraceError("; ".join((why, *step.list_notes(self._places.notes))))
        self._note_uncalled()
        if why := say_distributed(self._model):
            step.limit(why)
        try:
            recorder.end_step(self._places.notes)
        except TraceError as error:
            recorder.broken, self._has_raised = error, True
            raise

    def _note_uncalled(self) -> None:
        """Note matrices, and stacks of them, that have a gradient and no captured call."""
        step, places = self._recorder.step, self._places
        names = list[str]()
        for parameter in self._model.parameters():
            key = id(parameter)
            is_matrix = key in self._matrices or (key in places.weights and key not in places.tables)
            may_be = is_matrix or key in places.stacks
            if may_be and key not in step.parameters and parameter.grad is not None:
                names.append(places.names.get(key, "a parameter"))
        step.notes.update(note_uncalled(names))

    def _before_layer(self, place: Place, module: nn.Module, args: Any, kwargs: Any) -> Any:
        x = first_of(args, kwargs)
        self._recorder.step.order.setdefault(place.name, len(self._recorder.step.order))
        self._entered.pop(id(module), None)
        if not isinstance(x, Tensor) or not torch.is_grad_enabled():
            return None
        return self._enter(module, x, alias_of(x), args, kwargs)

    def _enter(
        self, module: nn.Module, x: Tensor, alias: Tensor | None, args: Any, kwargs: Any, seen: Any = None
    ) -> tuple[Any, Any] | None:
        """Keep what a module is called with until it returns. Returns its arguments with the alias, if there is one."""
        self._entered[id(module)] = x, alias, seen
        return None if alias is None else with_first(alias, args, kwargs)

    def _after_layer(self, place: Place, module: nn.Module, args: Any, kwargs: Any, z: Any) -> None:
        entered = self._entered.pop(id(module), None)
        if entered is None or not isinstance(z, Tensor) or not z.requires_grad:
            return None
        x, alias, _ = entered
        weight, bias = module._parameters.get("weight"), module._parameters.get("bias")
        if weight is None:
            return self._recorder.note(place, "a call with a weight that is computed")
        if not _is_same(first_of(args, kwargs), x if alias is None else alias):
            return self._recorder.note(place, "a call whose input another hook replaced")
        return self._recorder.add_call(place, x, alias, z, weight, bias)

    def _before_activation(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        self._entered.pop(id(module), None)
        x = first_of(args, kwargs)
        seen = self._recorder.find_call(x) if isinstance(x, Tensor) and torch.is_grad_enabled() else None
        if seen is None or seen.behind is not None:
            return None
        # An alias would collect what several readers give back, and so change the order of a sum in which others of z
        # have a part.
        has_none = getattr(module, "inplace", False) or may_read_several_times(module)
        return self._enter(module, x, None if has_none else alias_of(x), args, kwargs, seen)

    def _after_activation(self, name: str, module: nn.Module, args: Any, kwargs: Any, a: Any) -> None:
        entered = self._entered.pop(id(module), None)
        if entered is None or not isinstance(a, Tensor) or not a.requires_grad or why_not(a):
            return
        x, alias, seen = entered
        if _is_same(first_of(args, kwargs), x if alias is None else alias):
            self._recorder.add_activation(seen, name, alias, a)

    def _linear(self, run: partial[Any]) -> Any:
        """`functional.linear`: calls are captured with a matrix of the model that is no hooked module's."""
        args, kwargs = run.args, run.keywords
        weight = kwargs.get("weight", args[1] if len(args) > 1 else None)
        x, place = first_of(args, kwargs), self._places.weights.get(id(weight))
        if place is None:
            return run()
        self._recorder.step.order.setdefault(place.name, len(self._recorder.step.order))
        if not torch.is_grad_enabled() or not isinstance(x, Tensor):
            return run()
        self._matrices.add(id(weight))
        alias = self._recorder.run_carefully(partial(alias_of, x))
        if alias is not None:
            args, kwargs = with_first(alias, args, kwargs)
        z = run.func(*args, **kwargs)
        if isinstance(z, Tensor) and z.requires_grad and isinstance(weight, Tensor):
            bias = kwargs.get("bias", args[2] if len(args) > 2 else None)
            self._recorder.run_carefully(partial(self._add_functional, place, x, alias, z, weight, bias))
        return z

    def _add_functional(
        self, place: Place, x: Tensor, alias: Tensor | None, z: Tensor, weight: Tensor, bias: Tensor | None
    ) -> None:
        name = self._places.names.get(id(bias))
        if bias is not None and name is None:
            return self._recorder.note(place, "a call with a bias that is no parameter of the model")
        place = Place(place.name, (place.names[0], name), place.type)
        return self._recorder.add_call(place, x, alias, z, weight, bias)

    def _embedding(self, run: partial[Any]) -> Any:
        """`functional.embedding`: lookups are captured in a table that is the weight of a dense layer too."""
        named = {**dict(zip(_OF_EMBEDDING, run.args, strict=False)), **run.keywords}
        weight, indices = named.get("weight"), named.get("input")
        place = self._places.tables.get(id(weight))
        z = run()
        if place is None or id(weight) not in self._matrices:
            return z
        self._recorder.step.order.setdefault(place.name, len(self._recorder.step.order))
        if isinstance(z, Tensor) and z.requires_grad and isinstance(weight, Tensor) and isinstance(indices, Tensor):
            self._recorder.run_carefully(partial(self._add_lookup, place, indices, z, weight, named))
        return z

    def _add_lookup(self, place: Place, indices: Tensor, z: Tensor, weight: Tensor, named: dict[str, Any]) -> None:
        if others := [name for name in ("max_norm", "scale_grad_by_freq", "sparse") if named.get(name)]:
            return self._recorder.note(place, f"a call with {others[0]}")
        padding = named.get("padding_idx")
        padding = padding if padding is None or padding >= 0 else padding + len(weight)
        return self._recorder.add_call(place, indices, None, z, weight, None, padding)

    def _run_backward(self, run: partial[Any]) -> Any:
        """`torch.autograd.backward`, which `Tensor.backward` calls."""
        args, kwargs = run.args, run.keywords
        is_limited = kwargs.get("inputs") is not None or len(args) > 5
        tensors = first_of(args, kwargs)
        self._recorder.run_carefully(partial(self._recorder.start_pass, tensors, is_limited=is_limited))
        try:
            return self._recorder.run_pass(run)
        finally:
            self._entered.clear()

    def _run_grad(self, run: partial[Any]) -> Any:
        """`torch.autograd.grad`, whose gradients do not go to the parameters."""
        return self._recorder.run_apart(run)


def alias_of(x: Tensor) -> Tensor | None:
    return x.view_as(x) if x.requires_grad and not why_not(x) else None


def first_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The first argument, by position or by name."""
    return args[0] if args else next(iter(kwargs.values()), None)


def with_first(value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments with another first one."""
    if args:
        return (value, *args[1:]), kwargs
    return args, {**kwargs, next(iter(kwargs)): value}


def _is_same(one: Any, other: Tensor) -> bool:
    """Whether a module was given this tensor, or one with its memory, as PyTorch's own backward hooks make it."""
    if one is other:
        return True
    return isinstance(one, Tensor) and one.data_ptr() == other.data_ptr() and one.shape == other.shape
