"""The lines of a record as types. The JSON Schema of the record is made from them.

A record is a header, the groups of the run, and a footer. A group is a line, and one line for each of its cases;
verdicts that are kept in full follow the line of their case.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from ...checks.verdict import Check, Grade, Status

SCHEMA = 6
"""Raised when a reader of the old schema could misread the new."""

Number = float | Literal["inf", "-inf", "nan"]
"""JSON has no infinities and no NaN: they are text, which Python's float() reads."""
Count = Annotated[int, Meta(ge=0)]
Pair = tuple[Number | None, Number | None]
"""A margin and a power."""
Slopes = dict[str, tuple[tuple[float, Number], ...]]


class Environment(Struct, frozen=True, omit_defaults=True):
    """Where the oracle and the adapters ran: versions of what computes, the processor, and settings by name."""

    libraries: dict[str, str] = {}
    cpu: str = ""
    cpu_flags: str = ""
    cores: Count = 0
    blas: str = ""
    variables: dict[str, str] = {}


class Adapter(Struct, frozen=True, kw_only=True):
    """What the header says of one adapter. What else it declares stands beside, with the names of its description."""

    spec: str
    name: str
    version: str
    layout: str
    dtypes: tuple[str, ...]
    activations: tuple[str, ...]
    biases: tuple[str, ...]
    device: str
    mutant: str | None = None
    plan: str = ""
    structures: Count = 0
    unsupported: tuple[str, ...] = ()


class TracedLayer(Struct, frozen=True, kw_only=True):
    """Cases of a trace: one layer in some steps, [first, last] of each unbroken range, and what is judged of it."""

    group: str
    steps: tuple[tuple[Count, Count], ...]
    checks: dict[Check, tuple[str, ...]]


class Traced(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a record of a trace says of it: the SHA-256 of its manifest, its number of steps, what was judged, and in
    sentences what was not. `only_steps` and `only_layers` are what the judging was restricted to; empty means all.
    """

    manifest: str
    steps: Count
    layers: tuple[TracedLayer, ...]
    only_steps: tuple[Count, ...] = ()
    only_layers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Header(Struct, frozen=True, kw_only=True, tag_field="kind", tag="header"):
    """The first line."""

    schema: Literal[6]
    suite: str
    profile: str
    seed: Count
    level: Literal["componentwise", "normwise"]
    adapters: tuple[Adapter, ...]
    planned: Count
    numbers: str = ""
    dtypes: tuple[str, ...] = ()
    activations: tuple[str, ...] = ()
    regimes: tuple[str, ...] = ()
    like: tuple[str, ...] = ()
    device: str | None = None
    platform: str = ""
    python: str = ""
    environment: Environment = Environment()
    selected: tuple[tuple[Count, Count], ...] | UnsetType = UNSET
    shard: tuple[Count, Count] | UnsetType = UNSET
    trace: Traced | UnsetType = UNSET
    expectations: tuple[dict[str, Any], ...] = ()


class RunLine(Struct, frozen=True, kw_only=True, tag_field="kind", tag="run"):
    """The second line of a shard: the run that it is a part of, from which merging makes the whole record."""

    description: dict[str, Any]


class PartLine(Struct, frozen=True, kw_only=True, tag_field="kind", tag="part"):
    """In a shard, before the lines of each group: its place in the plan, what the footer is summed from, and the calls
    that causes are looked for in, as a file of NumPy in base64.
    """

    number: Count
    tally: dict[str, Any]
    questions: str = ""


class GroupLine(Struct, frozen=True, kw_only=True, gc=False, tag_field="kind", tag="group"):
    """The cases of one structure in one regime on one adapter. `checks` gives the tensors of each check that most of
    its cases have, in the order of their margins.
    """

    adapter: str
    group: str
    seed: Count = 0
    checks: dict[Check, tuple[str, ...]]


class CaseLine(Struct, frozen=True, kw_only=True, gc=False, tag_field="kind", tag="case"):
    """One case of the group above: its draw, and for each check with tensors the worst margin of any tensor and the
    least power of those that passed.
    """

    draw: Count
    margins: tuple[Number, ...]
    powers: tuple[Number | None, ...]
    descent: Pair | UnsetType = UNSET
    batch: Pair | UnsetType = UNSET
    statuses: dict[Check, Status] = {}
    inconclusive: tuple[str, ...] = ()
    blocked: dict[Check, str] = {}
    chosen: Slopes = {}
    checks: dict[Check, tuple[str, ...]] | UnsetType = UNSET


class VerdictLine(Struct, frozen=True, kw_only=True, gc=False, tag_field="kind", tag="verdict"):
    """A verdict in full: a finding, an error, or any verdict on a sampled case."""

    adapter: str
    case: str
    check: Check
    quantity: str
    grade: Grade
    worst: Number = 0.0
    power: Number | None = None
    observed: Number | None = None
    expected: Number | None = None
    tolerance: Number | None = None
    jump: Number | None = None
    slack: Number | None = None
    normwise: Number | None = None
    relative: Number | None = None
    region: tuple[Number, Number] | None = None
    at: tuple[int, ...] = ()
    activation: str | None = None
    message: str = ""
    formulas: tuple[str, ...] = ()
    expectation: str | None = None
    below_level: bool = False
    step: int | None = None
    origin: str = ""
    explanations: tuple[tuple[str, str, Number], ...] = ()
    chosen: tuple[tuple[float, Number], ...] = ()


class Footer(Struct, frozen=True, kw_only=True, tag_field="kind", tag="footer"):
    """The last line."""

    accounting: dict[str, Count]
    by_adapter: dict[str, dict[str, Count]]
    judged: dict[str, dict[str, Any]]
    unanswered: tuple[tuple[str, str], ...]
    checks: dict[str, dict[str, dict[str, Count]]]
    verdicts: Count
    below_level: Count
    weakest: tuple[Number, str, str, str] | None
    expectations: tuple[dict[str, Any], ...]
    moments: dict[str, tuple[tuple[str | int, ...], ...]]
    run: dict[str, tuple[dict[str, Any], ...]]
    causes: tuple[dict[str, Any], ...]


Line = Header | RunLine | PartLine | GroupLine | CaseLine | VerdictLine | Footer
