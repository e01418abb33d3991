"""Keeps what the hooks of a capture see: calls as they run, and their gradients as backward passes reach them."""

import weakref
from collections.abc import Callable
from functools import partial
from threading import RLock
from typing import Any

import torch
from torch import Tensor

from ..errors import TraceError
from ..trace import TraceBuilder
from .graph import Marks, Readers
from .layers import Place, describe_products, fit_layout, say_unknown_products
from .step import Behind, OpenStep, Seen, put_call
from .values import Values, why_not


class Recorder:
    """The steps of a block. Nothing in it raises an error into the user's step: `run_carefully` notes it."""

    def __init__(self, builder: TraceBuilder, parameters: list[Tensor], *, streams: bool) -> None:
        """`parameters` are those of the model, whose gradients may be there before a step."""
        self.builder, self.values = builder, Values(builder, streams=streams)
        self.step, self.is_open, self.depth = OpenStep(), False, 0
        self.broken: TraceError | None = None
        self._parameters, self._streams = parameters, streams
        # Only autograd's graph holds calls, so that those go which no backward pass will reach.
        self._calls: weakref.WeakValueDictionary[int, Seen] = weakref.WeakValueDictionary()
        self._marks = Marks(self._calls.get)
        self._outputs: dict[int, tuple[weakref.ref[Tensor], int, Seen]] = {}
        self._handles, self._lock = list[Any](), RLock()
        self._next, self._backward, self._apart, self._readers = 0, 0, 0, Readers()

    def end_step(self, notes: tuple[str, ...]) -> None:
        """End the open step."""
        with self._lock:
            step = self.step
            parameters = step.put_parameters(self.values)
            self.builder.end_step(step.layers(), parameters, step.list_notes(notes))
            self.step, self._backward = OpenStep(), 0
            self.values.end_step()
            self._handles = [one for one in self._handles if one.hooks_dict_ref() is not None]

    def close(self) -> None:
        """Remove what waits for gradients, drop the open step, and keep nothing but steps that have ended."""
        self.is_open = False
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._outputs.clear()
        self.builder.discard_step()
        self.values.clear()
        self.step = OpenStep()

    def note(self, place: Place, why: str) -> None:
        """Say what of a layer was not captured."""
        self.step.notes[f"{place.name}: {why}, which was not captured"] += 1

    def run_carefully(self, run: Callable[[], Any]) -> Any:
        """Run a part of the capture. Returns None after an error, which the step notes."""
        try:
            with self._lock:
                return run()
        except TraceError as error:
            self.broken = self.broken or error
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            self.step.notes[f"a part of the step could not be captured ({reason})"] += 1
            self.step.limit("a part of the step could not be captured")
        return None

    # Calls

    def add_call(
        self,
        place: Place,
        x: Tensor,
        alias: Tensor | None,
        z: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        padding: int | None = None,
    ) -> None:
        """Copy the values of a call that has just run, and wait for its gradients."""
        is_lookup = place.kind == "lookup"
        for one in (x, z, weight, bias):
            if one is not None and (why := why_not(one, indices=is_lookup and one is x)):
                return self.note(place, f"a call with {why}")
        node: Any = z.grad_fn
        if node is None or not weight.is_leaf:
            return self.note(place, "a call with a weight that is computed")
        if (why := say_unknown_products(x, z)) and not is_lookup:
            return self.note(place, why)
        fitted = place if is_lookup else fit_layout(place, weight, x, z)
        if fitted is None:
            return self.note(place, "a call whose output has not the shape of x W")
        place, values, rows = fitted, self.values, None
        axes = tuple(x.shape if is_lookup else x.shape[: x.ndim - place.inputs])
        if is_lookup:
            given, output, rows = values.of_lookup(x, z, padding)
        else:
            given, output = values.of_rows(x, place.inputs), values.of_rows(z, place.outputs)
        base = _base_of(z)
        seen = Seen(
            place=place,
            number=self._next,
            axes=axes if rows is None else (int(rows.sum()),),
            input=given,
            output=output,
            weight=(weight, values.of_parameter(weight)),
            bias=None if bias is None else (bias, values.of_parameter(bias)),
            products=None if is_lookup else describe_products(place, x, weight, z),
            needs_input_gradient=alias is not None,
            step=None if self.depth else self.builder.step,
            rows=rows,
            has_base=base is not None,
        )
        self._calls[seen.number] = seen
        self._next += 1
        if seen.step is not None:
            self.step.forward_only += 1
            if self._streams:  # memory need not hold these until the backward pass
                values.put(given, f"{place.name}.input")
                values.put(output, f"{place.name}.output")
        self._marks.add(node, (seen.number, "output"))
        self._wait(z, self._reach, seen)
        if base is not None:
            # A change in place of z puts another node before that of its base, and z's own is never reached.
            self._marks.add(base, (seen.number, "output"))
            self._handles.append(base.register_prehook(Hook(self, partial(self._reach_base, seen))))
        if alias is not None:
            self._marks.add(alias.grad_fn, (seen.number, "input"))
            self._wait(alias, self._reach_input, seen)
        key = id(z)
        self._outputs[key] = weakref.ref(z, lambda gone: self._forget(key, gone)), z._version, seen

    def _forget(self, key: int, gone: Any) -> None:
        if (known := self._outputs.get(key)) is not None and known[0] is gone:
            del self._outputs[key]

    def _wait(self, tensor: Tensor, run: Callable[..., None], *args: Any) -> None:
        """Call `run` with the gradient of a tensor when a backward pass has it."""
        self._handles.append(tensor.register_hook(Hook(self, partial(run, *args))))

    def find_call(self, z: Tensor) -> Seen | None:
        """The call whose output a tensor is, unless something wrote to it since."""
        known = self._outputs.get(id(z))
        return known[2] if known is not None and known[0]() is z and known[1] == z._version else None

    def add_activation(self, seen: Seen, name: str, alias: Tensor | None, a: Tensor) -> None:
        """Copy what the activation behind a call gave. Without an alias of its input, as where it works in place, what
        it gives back is known if nothing else reads z.
        """
        seen.behind = behind = Behind(name, self.values.of_rows(a, seen.place.outputs), has_alias=alias is not None)
        if self._streams and seen.step is not None:
            self.values.put(behind.output, f"{seen.place.name}.activation")
        self._wait(a, self._reach_activation, seen, behind)
        if alias is not None:
            self._wait(alias, self._reach_activation_input, seen, behind)

    # Backward passes

    def start_pass(self, tensors: Any, *, is_limited: bool) -> None:
        """A backward pass begins at some tensors. With `is_limited`, it gives gradients to some inputs only."""
        if is_limited:
            self.step.limit("a backward pass was limited to some inputs")
        roots = [tensors] if isinstance(tensors, Tensor) else tensors
        found = self._marks.read_graph([one.grad_fn for one in roots if one.grad_fn is not None])
        # A pass of another model adds nothing here, and gradients may be set to zero behind it. One that comes to this
        # model in a checkpoint begins another pass there.
        if found.of_output or any(id(one) in found.others for one in self._parameters):
            self.step.keep_before(self._parameters)
        self._readers.of_output.update(found.of_output)
        for key, reader in found.others.items():
            self.step.others.setdefault(key, f"something that was not captured uses it too ({reader})")

    def run_pass(self, run: Callable[[], Any]) -> Any:
        """Run a backward pass, which may run others inside."""
        self.depth += 1
        try:
            return run()
        finally:
            self.depth -= 1
            if not self.depth:
                self._backward += 1
                self._readers = Readers()

    def run_apart(self, run: Callable[[], Any]) -> Any:
        """Run a pass of `torch.autograd.grad`, whose gradients do not go to the parameters."""
        if self.is_open:
            self.step.notes["a pass of torch.autograd.grad gives its gradients elsewhere, so it was not captured"] += 1
        self._apart += 1
        try:
            return run()
        finally:
            self._apart -= 1

    def _reach(self, seen: Seen, gradient: Tensor) -> None:
        """A backward pass has come to the output of a call."""
        if self._apart:
            return
        seen.came = seen.has_base
        step = self.step
        if not self.depth:
            step.keep_before(self._parameters)
            step.limit("a backward pass ran whose start was not seen, so it may hold parts that were not captured")
        name = f"{seen.place.name}.output_gradient"
        name = self.values.put_gradient(gradient, name, seen.rows, features=seen.place.outputs)
        seen.passed = passed = put_call(seen, self.values, name, self._backward, self._readers.of_output)
        for own, parameter, shape in zip(seen.place.names, seen.parameters, seen.shapes, strict=False):
            if own is not None:
                step.parameters.setdefault(id(parameter), (own, parameter, shape))
                if passed is None:
                    step.others.setdefault(id(parameter), "a call of an earlier step has a part in it")
        if passed is not None:
            step.passed.append(passed)
        if seen.step == self.builder.step:
            seen.step = None
            step.forward_only -= 1

    def _reach_base(self, seen: Seen, gradients: tuple[Tensor | None, ...]) -> None:
        gradient = gradients[0]
        if gradient is not None and not seen.came:
            self._reach(seen, gradient)
        seen.came = False

    def _reach_input(self, seen: Seen, gradient: Tensor) -> None:
        if not self._apart and seen.passed is not None:
            name, place = f"{seen.place.name}.input_gradient", seen.place
            seen.passed.input_gradient = self.values.put_gradient(gradient, name, features=place.inputs)

    def _reach_activation(self, seen: Seen, behind: Behind, gradient: Tensor) -> None:
        if not self._apart:
            name, place = f"{seen.place.name}.activation_gradient", seen.place
            behind.output_gradient = self.values.put_gradient(gradient, name, features=place.outputs)

    def _reach_activation_input(self, seen: Seen, behind: Behind, gradient: Tensor) -> None:
        if not self._apart:
            name = f"{seen.place.name}.activation_input_gradient"
            behind.input_gradient = self.values.put_gradient(gradient, name, features=seen.place.outputs)


def _base_of(z: Tensor) -> Any:
    """The node of the tensor that z is a view of, if z has all of its entries. None if z is no view."""
    base = z._base if z._is_view() else None
    return base.grad_fn if base is not None and base.numel() == z.numel() else None


class Hook:
    """A hook of a recorder. It does nothing once the block has ended, or in a program that is being compiled. A copy of
    it, as in a copy of the model, never does anything.
    """

    def __init__(self, recorder: Recorder | None = None, run: Callable[..., Any] | None = None) -> None:
        self._recorder, self._run = recorder, run

    @property
    def is_live(self) -> bool:
        """Whether it is no copy."""
        return self._recorder is not None

    def __call__(self, *args: Any) -> Any:
        recorder, run = self._recorder, self._run
        if torch.compiler.is_compiling() or recorder is None or run is None or not recorder.is_open:
            return None
        return recorder.run_carefully(partial(run, *args))

    def __reduce__(self) -> tuple[type["Hook"], tuple[()]]:
        return Hook, ()
