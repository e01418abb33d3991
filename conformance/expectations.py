"""Expectations: known divergences of frameworks, written down with a reason, so that a run can be green honestly.

An expectation excuses a wrong number where it says, never a crash, and never changes a tolerance. In TOML:

    [[expectation]]
    adapter = "jax*"                     # shell-style pattern for the adapter's name
    case = "*-f64-*"                     # pattern for the case id; optional, all cases
    check = "k_terms"                    # pattern for the check; optional
    activation = "softplus"              # pattern for the activation of the layer that departs; optional
    reason = "the derivative is ..."     # required
    link = "https://..."                 # required: where it is discussed upstream
"""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path

from .verdict import CHECKS, Verdict

SHIPPED = Path(__file__).with_name("expectations.toml")


class ExpectationError(ValueError):
    """An expectations file that cannot be read or that says too little, in one line that names the entry and the
    mend.
    """


@dataclass(frozen=True)
class Expectation:
    """One known divergence; patterns are shell-style."""

    adapter: str
    reason: str
    link: str
    case: str = "*"
    check: str = "*"
    activation: str = "*"

    def covers(self, adapter: str, verdict: Verdict) -> bool:
        """Whether it excuses this failing verdict of this adapter."""
        return (
            fnmatchcase(adapter, self.adapter)
            and fnmatchcase(verdict.case, self.case)
            and fnmatchcase(verdict.check, self.check)
            and fnmatchcase(verdict.activation or "", self.activation)
        )


def excuse(adapter: str, verdict: Verdict, expectations: Iterable[Expectation]) -> str | None:
    """The reason of the first expectation that covers a failing verdict, with its link; None where there is none."""
    for expectation in expectations:
        if expectation.covers(adapter, verdict):
            return f"{expectation.reason} ({expectation.link})"
    return None


def read(path: Path) -> tuple[Expectation, ...]:
    """The expectations of a TOML file, in its order. Raises ExpectationError."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExpectationError(f"expectations file {path}: {error.strerror or error}; name a readable file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ExpectationError(f"expectations file {path} is not TOML: {error}") from None
    entries = data.pop("expectation", [])
    if data or not isinstance(entries, list):
        raise ExpectationError(f"expectations file {path}: holds {', '.join(data) or 'a table'}; give [[expectation]]s")
    return tuple(_entry(path, number, entry) for number, entry in enumerate(entries, 1))


def _entry(path: Path, number: int, entry: object) -> Expectation:
    where = f"expectations file {path}, entry {number}"
    known = {f.name for f in fields(Expectation)}
    if not isinstance(entry, dict):
        raise ExpectationError(f"{where}: is not a table")
    for key, value in entry.items():
        if key not in known:
            raise ExpectationError(f"{where}: unknown key {key!r}; known are {', '.join(sorted(known))}")
        if not isinstance(value, str) or not value.strip():
            raise ExpectationError(f"{where}: {key} should be a non-empty string")
    for key in ("adapter", "reason", "link"):
        if key not in entry:
            raise ExpectationError(f"{where}: has no {key}; write one")
    expectation = Expectation(**entry)
    if not any(fnmatchcase(check, expectation.check) for check in CHECKS):
        raise ExpectationError(f"{where}: check {expectation.check!r} matches none of {', '.join(CHECKS)}")
    return expectation
