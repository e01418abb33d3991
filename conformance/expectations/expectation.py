"""Expectations: known divergences of frameworks, written down with a reason, so that a run can be green honestly.

An expectation marks the findings that it matches as expected. It never matches a crash and never changes a tolerance.
A run audits its expectations (audit.py). In TOML:

    [[expectation]]
    framework = "torch"                  # pattern for the framework's name
    case = "*-f64-*"                     # pattern for the case id; optional, all cases
    check = "k_terms"                    # pattern for the check; optional
    quantity = "k_*"                     # pattern for the quantity; optional
    activation = ["softplus", "elu"]     # pattern for the activation of the layer that departs; optional
    grade = "inaccurate"                 # pattern for the grade, inaccurate or wrong; optional
    formula = "softplus-threshold"       # what the framework computes, a row of formulas.py; optional
    parameters = { threshold = 20 }      # the numbers in the formula
    size = "2 u"                         # by how much f or f' is off at most, absolutely; optional
    device = "cuda*"                     # pattern for the device of the run; optional
    versions = ">=2.13,<2.15"            # the framework's versions, as in a requirement; optional
    witness = "*-tails-*"                # pattern for the cases that are sure to show it; optional, all it matches
    reason = "the derivative is ..."     # required
    issue = "https://..."                # where it is discussed upstream

Patterns are shell-style. An array of patterns stands for one entry each, with the same other keys. With `adapter`
instead of `framework`, an entry is about one adapter by its name, and `versions` are those of the adapter.
"""

import itertools
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from fnmatch import fnmatchcase, translate
from functools import cached_property
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from ...reference import ACTIVATIONS, DTYPES, base_of
from ...reference.steps import Made
from ..cases.description import Description
from ..checks.verdict import (
    CHECKS,
    FINDINGS,
    REPEATED,
    RUN_CHECKS,
    RUN_QUANTITIES,
    ExpectationFor,
    Verdict,
    quantity_of,
)
from .formulas import FORMULAS, changes_of, find_problem

SHIPPED = Path(__file__).with_name("expectations.toml")

EXPECTABLE = tuple(check for check in (*CHECKS, *RUN_CHECKS) if check != "layout")
"""The checks whose findings can be expected. A wrong layout is the adapter's own mistake, and no check runs after it.
"""

SUBJECTS = ("framework", "adapter")
"""What an entry is about. It names exactly one of them."""

PATTERNS = (*SUBJECTS, "case", "check", "activation")
"""The keys that may hold an array."""


_MOST_BYTES = 2**20
_MOST_CHARACTERS = {"reason": 10_000}
_MOST_OF_OTHERS = 1_000
_MOST_ENTRIES = 10_000
"""The most bytes of a file, characters of a text, and entries that arrays stand for. The shipped file is far below."""


class ExpectationError(ValueError):
    """An expectations file that cannot be read or that lacks something. The message is one line that names the entry
    and the fix.
    """


@dataclass(frozen=True)
class Expectation:
    """One known divergence; patterns are shell-style.

    `id` is the number of the entry in its file, from 1; an entry with arrays becomes 3.1, 3.2, ... Either `framework`
    or `adapter` is empty. `versions` is a PEP 440 specifier for the version of that one, empty for any version. `size`
    bounds the absolute error of f or f': a number, or a multiple of the unit roundoff u of the case's dtype, and empty
    for any finding. With a size, only findings in an x or a k match.

    `formula` is the name of a row of `FORMULAS`, with its `parameters`. With a formula, an entry matches the findings
    that the formula explains, in whatever quantity, and `activation` names the layers that the formula changes.
    """

    id: str
    adapter: str = ""
    reason: str = ""
    issue: str = ""
    case: str = "*"
    check: str = "*"
    activation: str = "*"
    grade: str = "*"
    versions: str = ""
    witness: str = "*"
    size: str = ""
    quantity: str = "*"
    framework: str = ""
    formula: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    device: str = "*"

    def concerns(self, adapter: Description) -> bool:
        """Whether it is about this adapter, or about its framework, in this version and on this device. A version
        that PEP 440 does not know matches only an entry for any version.
        """
        name, version = (
            (adapter.framework, adapter.framework_version) if self.framework else (adapter.name, adapter.version)
        )
        if not self._is("framework" if self.framework else "adapter", name) or not self._is("device", adapter.device):
            return False
        try:
            # Nightly builds are before the release that they are named for, and after the one before.
            return not self.versions or SpecifierSet(self.versions).contains(Version(version), prereleases=True)
        except InvalidVersion:
            return False

    def matches(self, verdict: Verdict) -> bool:
        """Whether it matches this finding of an adapter that it concerns.

        A finding in a descent step counts as one of `descent` and as one of the check that compares its quantity. A
        finding of a whole run is matched only by an entry whose `check` names such checks alone. That a repeated call
        gave a wrong answer, and not only other bits, is matched only by an entry that names the grade.
        """
        asked = quantity_of(verdict.quantity)[0] if verdict.check == "descent" else None
        return (
            verdict.is_finding
            and verdict.check in EXPECTABLE
            and (verdict.check not in RUN_CHECKS or self.is_of_run)
            and (self._is("check", verdict.check) or (asked is not None and self._is("check", asked)))
            and self._is("quantity", verdict.quantity)
            and (bool(self.formula) or self._is_activation(verdict.activation or ""))
            and self._is("grade", verdict.grade)
            and (self.grade != "*" or verdict.grade != "wrong" or verdict.quantity not in REPEATED)
            and self._is("case", verdict.case)
            and (not self.size or (verdict.slack is not None and verdict.slack <= self._most(verdict.case)))
            and (not self.formula or self.id in verdict.formulas)
        )

    def _most(self, case: str) -> float:
        # Field 4 of an id is the dtype.
        return magnitude(self.size, DTYPES[case.split("-")[4]].u)

    @property
    def is_of_run(self) -> bool:
        """Whether it can match findings of the checks of a whole run only."""
        return not any(self._is("check", check) for check in CHECKS)

    def matches_case(self, case: str) -> bool:
        """Whether a finding in this case could match, as far as the case id and its activations say. Layout probes have
        no findings that can be expected.
        """
        if self.is_of_run or not self._is("case", case):
            return False
        # Fields 1 and 5 of an id: the activations, and the regime.
        _, names, *_, regime, _ = case.split("-")
        return regime != "layout" and any(self._is_about(name) for name in names.split("."))

    def count_cases(self, groups: Iterable[Sequence[str]]) -> int:
        """How many cases it matches, given the ids of the cases of each group. Quicker than one case after the other:
        activations and regime are those of the group.
        """
        anywhere = replace(self, case="*")
        found = [cases for cases in groups if cases and anywhere.matches_case(cases[0])]
        # The last field of an id, the draw, has no hyphen: a pattern that leaves it open matches a group or does not.
        if self.case == "*" or self.case.endswith("-*"):
            return sum(len(cases) for cases in found if self._is("case", cases[0]))
        return sum(self._is("case", case) for cases in found for case in cases)

    def _is_activation(self, name: str) -> bool:
        """Whether its pattern matches an activation, also with other values of the parameters."""
        return self._is("activation", name) or self._is("activation", base_of(name))

    def _is_about(self, activation: str) -> bool:
        return self._is_activation(activation) and (not self.formula or FORMULAS[self.formula].applies_to(activation))

    @property
    def changes(self) -> Made:
        """What its formula changes in the rule."""
        return changes_of(self.formula, self.parameters, self._is_activation)

    def is_witnessed_by(self, case: str) -> bool:
        """Whether this case matches and is sure to show the divergence."""
        return self._is("witness", case) and self.matches_case(case)

    def _is(self, name: str, text: str) -> bool:
        return getattr(self, name) == "*" or self._matches[name](text) is not None

    @cached_property
    def _matches(self) -> dict[str, Callable[[str], re.Match[str] | None]]:
        # fnmatch caches 256 patterns; `kterm expect` may write more.
        names = (*PATTERNS, "quantity", "grade", "witness", "device")
        return {name: re.compile(translate(getattr(self, name))).match for name in names}

    def label(self) -> str:
        """The name in messages, such as: expectation 3 (torch*, *-f64-*, softplus)."""
        subject = self.framework or self.adapter
        patterns = (self.versions, self.device, self.case, self.check, self.quantity, self.activation, self.grade)
        return f"expectation {self.id} ({', '.join((subject, *(p for p in patterns if p not in ('', '*'))))})"

    def to_json(self) -> dict[str, Any]:
        """Its fields, without those that have their default value."""
        defaults = {f.name: {} if f.default is MISSING else f.default for f in fields(self)}
        values = {name: getattr(self, name) for name in defaults}
        return {name: value for name, value in values.items() if value != defaults[name]}


def magnitude(size: str, u: float) -> float:
    """A size such as 2.1e-9 or "2 u" as a number. Raises ValueError for any other text."""
    number, multiple, rest = size.partition("u")
    value = float(number) * (u if multiple else 1.0)
    if rest.strip() or not 0 < value < math.inf:
        raise ValueError(size)
    return value


def expectation_for(verdict: Verdict, expectations: Iterable[Expectation]) -> str | None:
    """The id of the first of an adapter's expectations that matches a finding; None if none does."""
    return next((expectation.id for expectation in expectations if expectation.matches(verdict)), None)


def matcher(entries: Iterable[Expectation]) -> ExpectationFor:
    """What the checks need to know of the expectations that concern an adapter: which of them matches a finding, and
    what their formulas change in some cases.
    """
    entries = tuple(entries)
    stated = [one for one in entries if one.formula]

    def formulas_for(cases: Sequence[str]) -> dict[str, Made]:
        return {one.id: one.changes for one in stated if any(map(one.matches_case, cases))}

    return ExpectationFor(lambda finding: expectation_for(finding, entries), formulas_for)


def read(path: Path) -> tuple[Expectation, ...]:
    """The expectations of a TOML file in its order; an array of patterns gives several. Raises ExpectationError."""
    try:
        with path.open("rb") as source:
            raw = source.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise ExpectationError(f"expectations file {path}: has more than {_MOST_BYTES:,} bytes; use wider patterns")
        data = tomllib.loads(raw.decode())
    except OSError as error:
        raise ExpectationError(f"expectations file {path}: {error.strerror or error}; name a readable file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ExpectationError(f"expectations file {path} is not TOML: {_cut(str(error))}") from None
    except RecursionError:
        raise ExpectationError(f"expectations file {path}: is nested too deeply; give [[expectation]]s") from None
    entries = data.pop("expectation", [])
    if data or not isinstance(entries, list):
        held = _cut(", ".join(data)) or "a table"
        raise ExpectationError(f"expectations file {path}: holds {held}; give [[expectation]]s")
    found: list[Expectation] = []
    for number, entry in enumerate(entries, 1):
        found += itertools.islice(_entry(path, number, entry), _MOST_ENTRIES + 1 - len(found))
        if len(found) > _MOST_ENTRIES:
            raise ExpectationError(
                f"expectations file {path}, entry {number}: its arrays and those before it stand for more than "
                f"{_MOST_ENTRIES:,} entries; use wider patterns"
            )
    return tuple(found)


def _cut(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]}..."


def _entry(path: Path, number: int, entry: object) -> Iterator[Expectation]:
    where = f"expectations file {path}, entry {number}"
    known = {f.name for f in fields(Expectation)} - {"id"}
    if not isinstance(entry, dict):
        raise ExpectationError(f"{where}: is not a table; write [[expectation]]")
    for key, value in entry.items():
        if key not in known:
            raise ExpectationError(f"{where}: unknown key {_cut(key)!r}; known are {', '.join(sorted(known))}")
        if key == "reason" and isinstance(value, str) and not value.strip():
            raise ExpectationError(f"{where}: its reason is empty; write why the framework departs")
        if key == "parameters":
            if not isinstance(value, dict):
                raise ExpectationError(f"{where}: parameters should be a table such as {{ threshold = 20 }}")
            continue
        _require_patterns(where, key, value)
    named = [key for key in SUBJECTS if key in entry]
    if len(named) > 1:
        raise ExpectationError(f"{where}: names a framework and an adapter; keep one of them")
    if not named:
        raise ExpectationError(f"{where}: has no framework and no adapter; write one of them")
    if "reason" not in entry:
        raise ExpectationError(f"{where}: has no reason; write one")
    several = [key for key in PATTERNS if isinstance(entry.get(key), list)]
    for part, values in enumerate(itertools.product(*(entry[key] for key in several)), 1):
        one = Expectation(
            f"{number}.{part}" if several else f"{number}", **entry | dict(zip(several, values, strict=True))
        )
        _require_known(where, one)
        yield one


def _require_patterns(where: str, key: str, value: Any) -> None:
    values = value if isinstance(value, list) and key in PATTERNS else [value]
    if not values or not all(isinstance(one, str) and one.strip() for one in values):
        array = " or an array of them" if key in PATTERNS else ""
        raise ExpectationError(f"{where}: {key} should be a non-empty string{array}")
    most = _MOST_CHARACTERS.get(key, _MOST_OF_OTHERS)
    if any(len(one) > most for one in values):
        raise ExpectationError(f"{where}: {key} is longer than {most:,} characters; write a shorter one")


def _require_known(where: str, one: Expectation) -> None:
    try:
        magnitude(one.size or "1", 1.0)
    except ValueError:
        raise ExpectationError(
            f'{where}: size {one.size!r} is not a size; write one such as "2 u" or "2.1e-9"'
        ) from None
    known_names = [("check", EXPECTABLE), ("activation", tuple(ACTIVATIONS)), ("grade", FINDINGS)]
    for key, known in (*known_names, *([("quantity", RUN_QUANTITIES)] if one.is_of_run else ())):
        pattern = getattr(one, key)
        if not any(fnmatchcase(name, pattern) for name in known):
            raise ExpectationError(f"{where}: {key} {pattern!r} matches none of {', '.join(known)}")
    if one.parameters and not one.formula:
        raise ExpectationError(f"{where}: has parameters and no formula; write formula = ..., or remove them")
    if one.formula:
        takes = re.compile(translate(one.activation)).match
        problem = find_problem(one.formula, one.parameters, lambda activation: takes(activation) is not None)
        if problem:
            raise ExpectationError(f"{where}: {_cut(problem)}")
    try:
        SpecifierSet(one.versions)
    except InvalidSpecifier:
        raise ExpectationError(
            f'{where}: versions {one.versions!r} is not a version specifier; write one such as ">=2.13,<2.15"'
        ) from None
