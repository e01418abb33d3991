"""One step of a capture: the calls that the backward passes reached, and what the manifest says of them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace
from torch import Tensor

from ....reference import Array
from ..manifest import Activation, Call, Layer, Parameter, Products
from .layers import Place
from .values import Value, Values, copy_values, why_not

_NO_INPUT_GRADIENT = "the gradient by its input did not come"


@dataclass
class Behind:
    """The activation behind a call: its output, and the gradients of the pass that goes on, by name. `has_alias` says
    that it was given an alias of z, so that what it gives back is seen by itself.
    """

    name: str
    output: Value
    has_alias: bool
    output_gradient: str = ""
    input_gradient: str = ""


@dataclass(eq=False)
class Seen:
    """A call of a layer whose forward pass has run. Only autograd's graph holds it, so it goes when the graph goes.

    `rows` are those of a lookup that have a gradient, or None for all. `step` is the number of the step that the call
    was made in, or None if a backward pass made it to compute anew what was not kept. `has_base` says that z is a view,
    so that two hooks wait for its gradient, and `came` that the first of them has had it.
    """

    place: Place
    number: int
    axes: tuple[int, ...]
    input: Value
    output: Value
    weight: tuple[Tensor, Value]
    bias: tuple[Tensor, Value] | None
    products: Products | None
    needs_input_gradient: bool
    step: int | None
    rows: Array | None = None
    behind: Behind | None = None
    has_base: bool = False
    came: bool = False
    passed: "Passed | None" = None

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        return (self.weight[0],) if self.bias is None else (self.weight[0], self.bias[0])

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of the parameters in a trace: a matrix and a vector."""
        return (self.place.shape_of(self.weight[0]), (-1,))


@dataclass(eq=False)
class Passed:
    """A call that a backward pass has reached, with the names of its arrays."""

    place: Place
    number: int
    call: Call
    needs_input_gradient: bool
    input_gradient: str = ""

    def finish(self) -> Call:
        """The call as the manifest has it."""
        missing = (_NO_INPUT_GRADIENT,) if self.needs_input_gradient and not self.input_gradient else ()
        return replace(self.call, input_gradient=self.input_gradient or None, not_captured=missing)


@dataclass
class OpenStep:
    """What is known of the step that goes on. `others` says, by `id` of a parameter, what else is in its gradient, and
    `before` holds the gradients that were there when its first backward pass began. `limits` hold for all parameters.
    """

    order: dict[str, int] = field(default_factory=dict)
    passed: list[Passed] = field(default_factory=list)
    parameters: dict[int, tuple[str, Tensor, tuple[int, ...]]] = field(default_factory=dict)
    others: dict[int, str] = field(default_factory=dict)
    limits: list[str] = field(default_factory=list)
    before: dict[int, Value] | None = None
    forward_only: int = 0
    notes: Counter[str] = field(default_factory=Counter)

    def keep_before(self, parameters: Iterable[Tensor]) -> None:
        """Keep the gradients that are there before the first backward pass, once. A gradient of zeros adds nothing."""
        if self.before is not None:
            return
        self.before = {}
        for parameter in parameters:
            if (gradient := parameter.grad) is not None and not why_not(gradient) and bool(gradient.any()):
                self.before[id(parameter)] = Value(copy_values(gradient))

    def limit(self, why: str) -> None:
        """Say of all parameters why their gradients cannot be judged."""
        if why not in self.limits:
            self.limits.append(why)

    def layers(self) -> tuple[Layer, ...]:
        """The layers that have calls, in the order of their first call."""
        calls: dict[str, list[Passed]] = {}
        for one in self.passed:
            calls.setdefault(one.place.name, []).append(one)
        names = sorted(calls, key=lambda name: self.order.get(name, len(self.order)))
        return tuple(_layer(calls[name]) for name in names)

    def put_parameters(self, values: Values) -> tuple[Parameter, ...]:
        """The parameters of the layers that have calls, with their gradients."""
        return tuple(self._put(*known, values) for known in self.parameters.values())

    def _put(self, name: str, tensor: Tensor, shape: tuple[int, ...], values: Values) -> Parameter:
        gradient, before = tensor.grad, (self.before or {}).get(id(tensor))
        reasons = [*self.limits]
        if other := self.others.get(id(tensor)):
            reasons.append(other)
        if not tensor.requires_grad:
            reasons = ["it needs no gradient"]
        elif gradient is None:
            reasons.append("it has no gradient at the end of the step; end the step before gradients are set to None")
        elif why := why_not(gradient):
            reasons.append(f"its gradient is {why}")
        there = None if gradient is None or why_not(gradient) else Value(copy_values(gradient))
        return Parameter(
            name=name,
            gradient=None if there is None else values.put(there, f"{name}.gradient", shape=shape),
            gradient_before=None if before is None else values.put(before, f"{name}.gradient_before", shape=shape),
            not_captured="; ".join(reasons),
        )

    def list_notes(self, more: Iterable[str]) -> tuple[str, ...]:
        """What was left out, each once, with how often."""
        notes = [*more]
        if self.forward_only:
            calls = "1 call" if self.forward_only == 1 else f"{self.forward_only} calls"
            notes.append(f"{calls} of dense layers took no part in a backward pass, so they were not captured")
        return (*notes, *(note if n == 1 else f"{note} ({n} times)" for note, n in self.notes.items()))


def _layer(passed: Sequence[Passed]) -> Layer:
    place = passed[0].place
    calls = sorted(passed, key=lambda one: one.number)
    return Layer(
        name=place.name,
        weight=place.names[0],
        bias=place.names[1],
        calls=tuple(one.finish() for one in calls),
        layout=place.layout,
        kind=place.kind,
        type=place.type,
    )


def put_call(seen: Seen, values: Values, gradient: str, backward: int, readers: Mapping[int, int]) -> Passed | None:
    """Put the arrays of a call that a backward pass has reached. Returns None if they were written in an earlier step.

    `gradient` is the name of dL/dz. With one reader of z, an activation's gradient by its input is that.
    """
    name = seen.place.name
    given, output = values.put(seen.input, f"{name}.input"), values.put(seen.output, f"{name}.output")
    if not given or not output:
        return None
    shape, flat = seen.shapes
    weight = values.put(seen.weight[1], seen.place.names[0], is_parameter=True, shape=shape)
    bias = changed = None
    if seen.bias is not None:
        bias = values.put(seen.bias[1], seen.place.names[1] or f"{name}.bias", is_parameter=True, shape=flat)
    if values.has_changed(*seen.weight):
        now = values.of_parameter(seen.weight[0])
        changed = values.put(now, f"{name}.backward_weight", is_parameter=True, shape=shape)
    call = Call(
        weight=weight,
        input=given,
        output=output,
        bias=bias,
        output_gradient=gradient,
        backward_weight=changed,
        axes=seen.axes,
        backward=backward,
        products=seen.products,
        activation=_activation(seen, values, gradient, is_alone=readers.get(seen.number) == 1),
    )
    return Passed(seen.place, seen.number, call, seen.needs_input_gradient)


def _activation(seen: Seen, values: Values, gradient: str, *, is_alone: bool) -> Activation | None:
    behind = seen.behind
    if behind is None or not behind.output_gradient:
        return None
    output = values.put(behind.output, f"{seen.place.name}.activation")
    given_back = behind.input_gradient or ("" if behind.has_alias or not is_alone else gradient)
    made = Activation(
        name=behind.name,
        output=output or None,
        output_gradient=behind.output_gradient,
        input_gradient=given_back or None,
        is_alone=is_alone,
    )
    behind.output_gradient = behind.input_gradient = ""
    return made
