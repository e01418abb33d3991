"""A certificate as types. Its JSON Schema is made from them.

Everything in a certificate follows from a record and the files that are named beside it: it holds no time, so the same
record gives the same bytes.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from ...cases.level import Level
from ...checks.verdict import Check
from ...records.form.lines import Count, Environment

SCHEMA = 1
"""Raised when a reader of the old schema could misread the new."""

CertificateLevel = Literal["strict", "declared", "partial"]
"""From the highest to the least: see `kterm.conformance.evaluation.certificate.levels`."""
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Reason = Literal[
    "profile", "level", "undeclared", "limits", "unsupported", "not judged", "no pass", "unbounded expectation"
]
"""Why something was left out."""
Bound = Literal["formula", "size", "none"]
"""What keeps an expectation from matching a mistake of any size."""
Relative = Annotated[float, Meta(ge=0)]
"""A relative error: the norm of the error over the norm of the tensor."""


class _Part(Struct, frozen=True, forbid_unknown_fields=True):
    """What all parts of a certificate have in common."""


class LeftOut(_Part, frozen=True):
    """What a run left out, in words, why, and in which dtypes."""

    why: Reason
    what: str
    dtypes: tuple[str, ...]


class RecordFile(_Part, frozen=True):
    """The record: SHA-256 of its lines, decompressed; the version of kterm that wrote it, the version of the draws,
    what was asked for, and the hash of the plan.
    """

    sha256: Sha256
    suite: str
    numbers: str
    profile: str
    seed: Count
    level: Level
    plan: str


class Subject(_Part, frozen=True):
    """The adapter that was checked, in what versions, and what it declares. `activations` and `biases` by name."""

    name: str
    version: str
    framework: str
    framework_version: str
    device: str
    dtypes: tuple[str, ...]
    activations: tuple[str, ...]
    biases: tuple[str, ...]
    arithmetic: dict[str, dict[str, Any]]
    """The arithmetic of products that it declares, by dtype."""
    result_dtypes: dict[str, str]
    """The wider dtypes of results that it declares, by quantity."""


class Place(_Part, frozen=True):
    """Where the run took place."""

    platform: str
    python: str
    environment: Environment


class Tolerance(_Part, frozen=True):
    """What the tolerances rest on: how many standard deviations a tolerance has, the least power of a pass, and the
    rate at which a sound adapter has a finding of `bias` or `spread` in a whole run, at most.
    """

    sigmas: float
    least_power: float
    run_false_alarms: float


class Smallest(_Part, frozen=True):
    """The smallest relative error of a tensor that would have been seen, in passes of one check and dtype, from their
    power: in the weakest of them, in half of them, and in the strongest. Draws in which nothing rounds do not count.
    """

    in_the_weakest_case: Relative
    in_half_of_the_cases: Relative
    in_the_strongest_case: Relative


class CheckGrade(_Part, frozen=True):
    """What one check said in one dtype: cases by status, the largest error of a pass in units of its tolerance, and the
    smallest mistake; these two are null if it compares no numbers, or nothing passed with numbers that round.
    """

    check: Check
    dtype: str
    cases: dict[str, Count]
    worst: float | None
    smallest_mistake: Smallest | None


class RunGrade(_Part, frozen=True):
    """What the run as a whole said of one quantity: the grade, and for `bias` the smallest relative error in all of its
    entries that would have been seen; null if none would.
    """

    check: Check
    dtype: str
    quantity: str
    activation: str
    grade: str
    smallest_mistake: Relative | None


class Cell(_Part, frozen=True):
    """One activation in one dtype: the cases that have it in a layer, by status, and in how many layers its values (`x`
    or the outputs) and its slopes (`k`; of an adapter that shows none, `dE/dW`) were judged with power. `worst` is the
    largest error of any check that passed in these cases, in units of its tolerance.
    """

    activation: str
    dtype: str
    cases: Count
    passed: Count
    expected: Count
    inconclusive: Count
    unsupported: Count
    values: Count
    slopes: Count
    worst: float | None


class Divergence(_Part, frozen=True):
    """A known divergence that the run met: why, in how many cases and which dtypes, and how findings are bounded. The
    `limit` is the formula with its parameters, or the size. `shipped` says whether the entry is one of this version of
    kterm.
    """

    reason: str
    issue: str
    cases: Count
    dtypes: tuple[str, ...]
    bound: Bound
    limit: str
    shipped: bool


class Kills(_Part, frozen=True):
    """How many of the known mistakes the checks find when they are planted in this adapter, in one dtype. `score` is
    `killed` over `killed` and `survived`; mistakes that change no answer are not applicable. If the profile is smoke,
    which every profile begins with, the score is a lower limit.
    """

    dtype: str
    profile: str
    killed: Count
    survived: tuple[str, ...]
    not_applicable: Count
    score: float


class KillScore(_Part, frozen=True):
    """What `kterm mutants --json` measured of this adapter, and the SHA-256 of that file."""

    sha256: Sha256
    by_dtype: tuple[Kills, ...]


class CalibrationScore(_Part, frozen=True):
    """What `kterm calibrate --json` measured of this adapter, and the SHA-256 of that file: false alarms in so many
    cases, and the upper limit of their rate at a confidence.
    """

    sha256: Sha256
    cases: Count
    false_alarms: Count
    rate_below: float
    confidence: float


class Repeated(_Part, frozen=True):
    """What `--recheck` repeated and found as recorded: how many cases were chosen, how many were repeated with their
    groups, and whether margins and powers agreed in all their digits, as they must on the machine of the record.
    """

    chosen: Count
    cases: Count
    to_the_last_digit: bool


class Certificate(_Part, frozen=True, tag_field="kind", tag="kterm certificate"):
    """What a record shows of one adapter whose run conforms. `levels` are those of the dtypes that it declares, and
    `level` is the least of them.
    """

    schema: Literal[1]
    level: CertificateLevel
    levels: dict[str, CertificateLevel]
    adapter: Subject
    record: RecordFile
    place: Place
    tolerance: Tolerance
    left_out: tuple[LeftOut, ...]
    accounting: dict[str, Count]
    checks: tuple[CheckGrade, ...]
    run: tuple[RunGrade, ...]
    grades: tuple[Cell, ...]
    divergences: tuple[Divergence, ...]
    kills: KillScore | Literal["not measured"] = "not measured"
    calibration: CalibrationScore | Literal["not measured"] = "not measured"
    repeated: Repeated | Literal["not repeated"] = "not repeated"
