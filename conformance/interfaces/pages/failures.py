"""The failures of a run as a page shows them: each cause, and what the framework gave beside what the rule gives."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ....reference.rounding import SIGMAS
from ...checks.verdict import CHECKS, Verdict
from ...diagnosis.causes import Cause
from ...records.form.words import command_lines, describe_rule, diagnosis_lines, headline
from ...records.record import Record
from ...records.severity import size_lines


@dataclass(frozen=True)
class Shown:
    """One quantity of a case beside the rule: a row of its pass. Numbers are those of the record, as text."""

    quantity: str
    grade: str
    at: str = ""
    observed: str = ""
    expected: str = ""
    sigmas: str = ""
    is_finding: bool = False


@dataclass(frozen=True)
class Failure:
    """A cause: what failed in how many cases, what is known of why, the smallest of its cases, and commands."""

    id: str
    adapter: str
    title: str
    case: str
    diagnosis: tuple[str, ...]
    numbers: tuple[str, ...]
    steps: tuple[Shown, ...]
    commands: tuple[str, ...]
    replayed: tuple[tuple[str, str], ...] = ()
    """Texts that were made by running the adapter: titles and texts."""


Replays = Mapping[tuple[str, str], Sequence[tuple[str, str]]]
"""By adapter and case: titles and texts that were made by running the adapter."""


def list_failures(record: Record, replays: Replays | None = None) -> list[Failure]:
    """Each cause of the run, in the order of a report."""
    named = {adapter["name"]: adapter for adapter in record.header["adapters"]}
    device = record.header.get("device")
    found = []
    for number, cause in enumerate(record.causes, 1):
        shown = cause.worst
        commands = command_lines(shown.case, named[cause.adapter], device)
        texts = tuple((replays or {}).get((cause.adapter, shown.case), ()))
        found.append(
            Failure(
                f"cause-{number}", cause.adapter, headline(cause), shown.case, tuple(_diagnosis(cause)),
                tuple(_strip(size_lines(cause.severity, cause.cases))),
                tuple(make_steps(record, cause.adapter, shown.case)), tuple(commands), texts,
            )
        )  # fmt: skip
    return found


def _diagnosis(cause: Cause) -> Iterator[str]:
    yield from _strip(diagnosis_lines(cause))
    if cause.worst.message:
        yield cause.worst.message


def _strip(lines: Sequence[str]) -> Iterator[str]:
    return (line.strip() for line in lines)


def make_steps(record: Record, adapter: str, case: str) -> Iterator[Shown]:
    """The pass of a case: every tensor that was compared, in the order of the checks, with both numbers of a finding.
    A record has numbers of findings only; of the others it has the largest error of all tensors of their check.
    """
    one = record.cases[adapter, case]
    in_full: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in record.verdicts.get((adapter, case), ()):
        in_full.setdefault((verdict.check, verdict.quantity), []).append(verdict)
    for check in CHECKS:
        if check not in one.checks:
            continue
        if why := one.blocked.get(check):
            yield Shown(check, f"blocked: {why}")
            continue
        result = one.checks[check]
        names = one.tensors.get(check, ())
        own = [quantity for of, quantity in in_full if of == check and quantity not in names]
        for name in (*names, *own):
            for verdict in in_full.pop((check, name), ()):
                yield show_verdict(verdict)
                break
            else:
                weak = name in one.inconclusive
                most = "" if result.margin is None else f"≤ {SIGMAS * result.margin:.2g}"
                yield Shown(name, "inconclusive" if weak else "pass", sigmas=most)
        if not names and not own:
            yield Shown(check, result.status)


def show_verdict(verdict: Verdict) -> Shown:
    """A verdict as a row."""
    at = f"[{', '.join(map(str, verdict.at))}]" if verdict.at else ""
    if verdict.message:
        return Shown(verdict.label, verdict.grade, at, verdict.message, "", "", verdict.is_finding)
    observed = "" if verdict.observed is None else f"{verdict.observed!r}"
    expected = "" if verdict.expected is None else describe_rule(verdict.expected, verdict.jump)
    sigmas = f"{SIGMAS * verdict.worst:.3g}"
    return Shown(verdict.label, verdict.grade, at, observed, expected, sigmas, verdict.is_finding)
