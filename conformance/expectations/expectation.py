"""Expectations: known divergences of frameworks, written down with a reason, so that a run can be green honestly.

An expectation marks the findings that it matches as expected. It never matches a crash and never changes a tolerance.
A run audits its expectations (audit.py). In TOML:

    [[expectation]]
    adapter = "jax*"                     # pattern for the adapter's name
    case = "*-f64-*"                     # pattern for the case id; optional, all cases
    check = "k_terms"                    # pattern for the check; optional
    quantity = "k_*"                     # pattern for the quantity; optional
    activation = ["softplus", "elu"]     # pattern for the activation of the layer that departs; optional
    grade = "inaccurate"                 # pattern for the grade, inaccurate or wrong; optional
    size = "2 u"                         # by how much f or f' is off at most, absolutely; optional
    versions = ">=0.4,<0.11"             # the framework's versions, as in a requirement; optional
    witness = "*-tails-*"                # pattern for the cases that are sure to show it; optional, all it matches
    reason = "the derivative is ..."     # required
    issue = "https://..."                # where it is discussed upstream

Patterns are shell-style. An array of patterns stands for one entry each, with the same other keys.
"""

import itertools
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase, translate
from functools import cached_property
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from ...reference import ACTIVATIONS, DTYPES
from ..checks.verdict import CHECKS, FINDINGS, RUN_CHECKS, RUN_QUANTITIES, Verdict, quantity_of

SHIPPED = Path(__file__).with_name("expectations.toml")

EXPECTABLE = tuple(check for check in (*CHECKS, *RUN_CHECKS) if check != "layout")
"""The checks whose findings can be expected. A wrong layout is the adapter's own mistake, and no check runs after it.
"""

PATTERNS = ("adapter", "case", "check", "activation")
"""The keys that may hold an array."""


class ExpectationError(ValueError):
    """An expectations file that cannot be read or that lacks something. The message is one line that names the entry
    and the fix.
    """


@dataclass(frozen=True)
class Expectation:
    """One known divergence; patterns are shell-style.

    `id` is the number of the entry in its file, from 1; an entry with arrays becomes 3.1, 3.2, ... `versions` is a PEP
    440 specifier, empty for any version. `size` bounds the absolute error of f or f': a number, or a multiple of the
    unit roundoff u of the case's dtype, and empty for any finding. With a size, only findings in an x or a k match.
    """

    id: str
    adapter: str
    reason: str
    issue: str = ""
    case: str = "*"
    check: str = "*"
    activation: str = "*"
    grade: str = "*"
    versions: str = ""
    witness: str = "*"
    size: str = ""
    quantity: str = "*"

    def concerns(self, adapter: str, version: str) -> bool:
        """Whether it is about this adapter in this version of its framework. A version that PEP 440 does not know
        matches only an entry for any version.
        """
        if not self._is("adapter", adapter):
            return False
        try:
            # Nightly builds are before the release that they are named for, and after the one before.
            return not self.versions or SpecifierSet(self.versions).contains(Version(version), prereleases=True)
        except InvalidVersion:
            return False

    def matches(self, verdict: Verdict) -> bool:
        """Whether it matches this finding of an adapter that it concerns.

        A finding in a descent step counts as one of `descent` and as one of the check that compares its quantity. A
        finding of a whole run is matched only by an entry whose `check` names such checks alone.
        """
        asked = quantity_of(verdict.quantity)[0] if verdict.check == "descent" else None
        return (
            verdict.is_finding
            and verdict.check in EXPECTABLE
            and (verdict.check not in RUN_CHECKS or self.is_of_run)
            and (self._is("check", verdict.check) or (asked is not None and self._is("check", asked)))
            and self._is("quantity", verdict.quantity)
            and self._is("activation", verdict.activation or "")
            and self._is("grade", verdict.grade)
            and self._is("case", verdict.case)
            and (not self.size or (verdict.slack is not None and verdict.slack <= self._most(verdict.case)))
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
        return regime != "layout" and any(self._is("activation", name) for name in names.split("."))

    def is_witnessed_by(self, case: str) -> bool:
        """Whether this case matches and is sure to show the divergence."""
        return self._is("witness", case) and self.matches_case(case)

    def _is(self, name: str, text: str) -> bool:
        return getattr(self, name) == "*" or self._matches[name](text) is not None

    @cached_property
    def _matches(self) -> dict[str, Callable[[str], re.Match[str] | None]]:
        # fnmatch caches 256 patterns; `kterm expect` may write more.
        names = ("adapter", "case", "check", "quantity", "activation", "grade", "witness")
        return {name: re.compile(translate(getattr(self, name))).match for name in names}

    def label(self) -> str:
        """The name in messages, such as: expectation 3 (torch*, *-f64-*, softplus)."""
        patterns = (self.versions, self.case, self.check, self.quantity, self.activation, self.grade)
        return f"expectation {self.id} ({', '.join((self.adapter, *(p for p in patterns if p not in ('', '*'))))})"

    def to_json(self) -> dict[str, str]:
        """Its fields, without those that have their default value."""
        values = {f.name: (getattr(self, f.name), f.default) for f in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}


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


def read(path: Path) -> tuple[Expectation, ...]:
    """The expectations of a TOML file in its order; an array of patterns gives several. Raises ExpectationError."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExpectationError(f"expectations file {path}: {error.strerror or error}; name a readable file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ExpectationError(f"expectations file {path} is not TOML: {error}") from None
    entries = data.pop("expectation", [])
    if data or not isinstance(entries, list):
        raise ExpectationError(f"expectations file {path}: holds {', '.join(data) or 'a table'}; give [[expectation]]s")
    return tuple(one for number, entry in enumerate(entries, 1) for one in _entry(path, number, entry))


def _entry(path: Path, number: int, entry: object) -> Iterator[Expectation]:
    where = f"expectations file {path}, entry {number}"
    known = {f.name for f in fields(Expectation)} - {"id"}
    if not isinstance(entry, dict):
        raise ExpectationError(f"{where}: is not a table; write [[expectation]]")
    for key, value in entry.items():
        if key not in known:
            raise ExpectationError(f"{where}: unknown key {key!r}; known are {', '.join(sorted(known))}")
        if key == "reason" and isinstance(value, str) and not value.strip():
            raise ExpectationError(f"{where}: its reason is empty; write why the framework departs")
        _require_patterns(where, key, value)
    for key in ("adapter", "reason"):
        if key not in entry:
            raise ExpectationError(f"{where}: has no {key}; write one")
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


def _require_known(where: str, one: Expectation) -> None:
    try:
        magnitude(one.size or "1", 1.0)
    except ValueError:
        raise ExpectationError(
            f'{where}: size {one.size!r} is not a size; write one such as "2 u" or "2.1e-9"'
        ) from None
    known_names = [("check", EXPECTABLE), ("activation", ACTIVATIONS), ("grade", FINDINGS)]
    for key, known in (*known_names, *([("quantity", RUN_QUANTITIES)] if one.is_of_run else ())):
        pattern = getattr(one, key)
        if not any(fnmatchcase(name, pattern) for name in known):
            raise ExpectationError(f"{where}: {key} {pattern!r} matches none of {', '.join(known)}")
    try:
        SpecifierSet(one.versions)
    except InvalidSpecifier:
        raise ExpectationError(
            f'{where}: versions {one.versions!r} is not a version specifier; write one such as ">=2.13,<2.15"'
        ) from None
