"""The messages of the protocol as types: what the suite sends, and what it accepts from an adapter's process.

docs/protocol.md says what each means. The JSON Schema of all messages is made from these types.
"""

from typing import Annotated, Generic, Literal, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

PROTOCOL = 1
"""The version of the protocol."""

UNSUPPORTED, RAISED, NOT_LOADED = -32001, -32002, -32003
"""The codes of errors: a structure that cannot be run, a framework that failed, an adapter that does not load."""

Size = Annotated[int, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]


class Tensor(Struct, frozen=True):
    """An array: its dtype (f64, f32, f16 or bf16), its shape, and its bytes, little-endian and row-major, as base64."""

    dtype: str
    shape: tuple[Size, ...]
    data: bytes


Value = Tensor | str | None
"""What an answer holds for a tensor. null is none at all, and text the type of what is there instead."""


class Initialize(Struct, frozen=True):
    """The parameters of `initialize`. `device` is null where the user names none."""

    protocol: int = PROTOCOL
    device: str | None = None


class ArithmeticDeclaration(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How products are computed in a dtype."""

    operands: str | None = None
    terms: int = 1
    accumulator: str | None = None
    rounding: str = "nearest"
    operand_rounding: str = "nearest"
    flushing: str | None = None


class Limits(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What bounds the plan of a run: how many structures, and the limits of each, as in `kterm.Limits`."""

    max_structures: Count | None = None
    width: Count | None = None
    depth: Count | None = None
    batch: Size | None = None
    least_batch: Size = 0
    entries: Count | None = None
    speed: float | None = None
    call_seconds: float | None = None
    run_seconds: float | None = None
    hidden_alike: bool = False
    last_identity: bool = False


class Declaration(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The result of `initialize`: what an adapter declares.

    `kinks` are declared slopes: (activation, kink, f' there). `result_dtypes` names the dtype of quantities that always
    come back in a wider one than is asked for, and `fixed_parameters` the values of activations' parameters that the
    framework does not let one set. `optional` names what a host has beyond the protocol; the
    suite's Python host alone has anything there. `layout` is "in_out" or "out_in"; a host that converts weights itself
    gives any name.
    """

    protocol: Literal[1]
    name: str
    version: str
    layout: str
    dtypes: tuple[str, ...]
    activations: tuple[str, ...]
    biases: tuple[str, ...]
    framework: str = ""
    framework_version: str = ""
    device: str | None = None
    kinks: tuple[tuple[str, float, float], ...] = ()
    zero_width: bool = False
    propagates: tuple[str, ...] = ()
    arithmetic: dict[str, ArithmeticDeclaration] = {}
    result_dtypes: dict[str, str] = {}
    fixed_parameters: dict[str, dict[str, float]] = {}
    limits: Limits = Limits()
    optional: tuple[str, ...] = ()
    has_script: bool = False


class ActivationCall(Struct, frozen=True):
    """An activation of a layer, with the values of its parameters."""

    name: str
    parameters: dict[str, float]


class StructureMessage(Struct, frozen=True):
    """The network, batch size and dtype to build a program for. There is one activation a layer, and one width more."""

    widths: tuple[Size, ...]
    activations: tuple[ActivationCall, ...]
    bias: str
    dtype: str
    batch: Size


class Build(Struct, frozen=True, omit_defaults=True):
    """The parameters of `build`. `layout` is sent to the suite's Python host alone."""

    structure: StructureMessage
    layout: str | None = None


class Built(Struct, frozen=True):
    """The result of `build`: the number by which the program is called."""

    program: int


class Backprop(Struct, frozen=True, omit_defaults=True):
    """The parameters of `backprop`: one call of a program. Weights are in the declared layout. `biases` is empty for a
    network without biases. `memory` is sent to the suite's Python host alone: how arrays lie in memory.
    """

    program: int
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    x: Tensor
    y: Tensor
    memory: str | None = None


class Observed(Struct, frozen=True):
    """The result of `backprop`. Weight gradients are in the declared layout. `z`, `x` and `k` are optional.
    `modified` says that the program changed an input in place.
    """

    outputs: Value
    error: Value
    weight_gradients: tuple[Value, ...]
    bias_gradients: tuple[Value, ...] = ()
    z: tuple[Value, ...] | None = None
    x: tuple[Value, ...] | None = None
    k: tuple[Value, ...] | None = None
    modified: bool = False


class ProgramNumber(Struct, frozen=True):
    """The parameters of `release`, and of `reread`, which the suite's Python host alone has."""

    program: int


class ScriptMessage(Struct, frozen=True):
    """The result of `script`, which the suite's Python host alone has: the framework's own calls, as source."""

    framework: str
    requires: str
    preamble: str
    setup: str
    calls: str
    shown: dict[str, str]


class Nothing(Struct, frozen=True):
    """An empty object."""


class ErrorMessage(Struct, frozen=True):
    """Why there is no result. `code` is one of the JSON-RPC codes, or -32001 to -32003; `message` is for people."""

    code: int
    message: str


Params = TypeVar("Params")
Result = TypeVar("Result")


class Request(Struct, Generic[Params], frozen=True):
    """A request: one line on the standard input of the adapter's process."""

    id: int
    method: str
    params: Params
    jsonrpc: Literal["2.0"] = "2.0"


class Reply(Struct, Generic[Result], frozen=True):
    """A reply: one line on standard output. It has a result or an error, and the id of the request."""

    jsonrpc: Literal["2.0"]
    id: int
    result: Result | UnsetType = UNSET
    error: ErrorMessage | UnsetType = UNSET


METHODS: dict[str, tuple[type[Struct], type[Struct]]] = {
    "initialize": (Initialize, Declaration),
    "build": (Build, Built),
    "backprop": (Backprop, Observed),
    "release": (ProgramNumber, Nothing),
    "shutdown": (Nothing, Nothing),
}
"""The parameters and the result of each method that every adapter has."""
