"""A run as JUnit XML, as Jenkins and GitLab read it: a test for each case, and a suite for each group of cases.

The elements are those of Jenkins' schema, in which a suite has properties and a test has none. So what the cases of a
group have in common stands in its suite: structure, dtype, regime, and the worst margin of all. A test has the name of
its case, and the adapter and the regime as its class. Not in a group are the checks of the run as a whole and the audit
of expectations: they have a suite of their own.

The standard library writes it. The packages that make JUnit XML would save no line here, and none keeps text valid.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as Xml

from ...checks.verdict import Status, Verdict, failure_of
from ...diagnosis.causes import Cause
from ...diagnosis.explanation import origin_of
from ...expectations.audit import FAILING, Key
from ..form.text import shorten
from ..form.verdicts import CaseResult, split_case
from ..form.words import diagnosis_lines, finding_lines, reason_of, words
from ..record import Record
from ..report import verdict_lines
from ..whole_run import finding_lines as run_lines

_MOST_CHARACTERS = 2000
_ELEMENTS: dict[Status, str] = {
    "failed": "failure", "errored": "error", "expected": "skipped", "inconclusive": "skipped",
    "unsupported": "skipped", "blocked": "skipped",
}  # fmt: skip
"""How a case that did not pass is shown."""


def to_junit(record: Record) -> bytes:
    """The document, in UTF-8. It has no times, as the record has none.

    Of the tests in the suites of groups, as many fail as cases failed; as many have an error as cases errored or have
    no result; and as many are skipped as were expected, inconclusive, unsupported or blocked.
    """
    root = Xml.Element("testsuites", name="kterm")
    shown = {(cause.adapter, cause.worst.case): cause for cause in record.causes if cause.worst.fails}
    for adapter, (line, _) in zip(record.header["adapters"], verdict_lines(record), strict=True):
        suite = Xml.SubElement(root, "testsuite", name=_text(adapter["name"]))
        about = {name: adapter.get(name) for name in ("version", "framework", "framework_version", "mutant", "device")}
        about |= {name: record.header[name] for name in ("suite", "profile", "seed", "level")}
        _add_properties(suite, {"verdict": line, **about})
        for (group, seed), cases in _groups(record, adapter["name"]).items():
            _add_group(suite, record, adapter, group, seed, cases, shown)
        _count(suite)
    _add_run(root, record)
    for name, value in _counts(root).items():
        if name != "skipped":  # the schema has it for a suite only
            root.set(name, str(value))
    Xml.indent(root, space="")
    return Xml.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _groups(record: Record, adapter: str) -> dict[tuple[str, int], list[str]]:
    """The cases of an adapter by group and seed, and those without a result after the others."""
    found: dict[tuple[str, int], list[str]] = {}
    missing = [(name, case) for name, case in record.footer["unanswered"]]
    for name, case in (*record.cases, *missing):
        if name == adapter:
            group, seed, _ = split_case(case)
            found.setdefault((group, seed), []).append(case)
    return found


def _add_group(
    parent: Xml.Element, record: Record, adapter: dict[str, Any], group: str, seed: int, cases: Sequence[str],
    shown: Mapping[Key, Cause],
) -> None:  # fmt: skip
    name = adapter["name"]
    widths, activations, batch, bias, dtype, regime = group.split("-")
    suite = Xml.SubElement(parent, "testsuite", name=_text(f"{name} {group}{f' seed {seed}' if seed else ''}"))
    facts: dict[str, Any] = {
        "structure": widths, "activation": activations, "batch": batch.removeprefix("b"), "bias": bias, "dtype": dtype,
        "regime": regime, "seed": seed, "cases": len(cases),
    }  # fmt: skip
    results = [record.cases[name, case] for case in cases if (name, case) in record.cases]
    _add_properties(suite, facts | _worst(results) | _failure_facts(record, adapter, cases, shown))
    for case in cases:
        test = Xml.SubElement(suite, "testcase", classname=_text(f"{name}.{regime}"), name=_text(case))
        result = record.cases.get((name, case))
        if result is None:
            _add_outcome(test, "error", "no result", "the run ended before this case was answered")
        elif result.status != "passed":
            _add_status(test, record, adapter, result, shown.get((name, case)))
    _count(suite)


def _worst(results: Sequence[CaseResult]) -> dict[str, Any]:
    """The worst margin of any check of any of these cases, in tolerances, and where it is."""
    found = [
        (one.margin, check, result.case)
        for result in results
        for check, one in result.checks.items()
        if one.margin is not None
    ]
    if not found:
        return {}
    margin, check, case = max(found, key=lambda one: math.inf if math.isnan(one[0]) else one[0])
    return {"worst margin": f"{margin:g}", "worst margin in": f"{check} of {case}"}


def _failure_facts(
    record: Record, adapter: dict[str, Any], cases: Sequence[str], shown: Mapping[Key, Cause]
) -> dict[str, Any]:
    """Of the first case that failed or errored: the check, where the failure begins, and a command that shows it; and
    the cause, of the first case that stands for one.
    """
    keys = [(adapter["name"], case) for case in cases]
    bad = [key for key in keys if key in record.cases and record.cases[key].status in ("failed", "errored")]
    facts: dict[str, Any] = {}
    if bad and (failure := failure_of(record.verdicts[bad[0]])) is not None:
        facts = {"check": failure.check, "begins at": origin_of(failure)}
        facts["replay"] = _replay(record, adapter, failure.case)
    if cause := next((shown[key] for key in keys if key in shown), None):
        facts["cause"] = " ".join(line.strip() for line in diagnosis_lines(cause))
    return facts


def _replay(record: Record, adapter: dict[str, Any], case: str) -> str:
    device = record.header.get("device")
    return f"kterm replay {case} {words(adapter, device)}" if adapter["spec"] else ""


def _add_status(
    test: Xml.Element, record: Record, adapter: dict[str, Any], result: CaseResult, cause: Cause | None
) -> None:
    key = adapter["name"], result.case
    verdicts = record.verdicts.get(key, [])
    failure = failure_of(verdicts)
    lines: list[str] = []
    if result.status in ("failed", "errored") and failure is not None:
        said = [line.strip() for line in finding_lines(failure)]
        message = f"{failure.check} {failure.grade}: {said[0] if said else failure.label}"
        lines = [f"begins at {origin_of(failure)}"] if origin_of(failure) else []
        lines += [line.strip() for line in diagnosis_lines(cause)] if cause is not None else []
        lines.append(_replay(record, adapter, result.case))
    elif result.status == "expected":
        message = "known divergence: " + "; ".join(_reasons(record, verdicts))
    elif result.status == "inconclusive":
        message = f"undecided, the tolerance is too wide: {', '.join(result.inconclusive)}"
    elif result.status == "blocked":
        message = "; ".join(f"{check}: {why}" for check, why in result.blocked.items())
    else:
        message = "; ".join(dict.fromkeys(v.message for v in verdicts if v.grade == result.status and v.message))
    _add_outcome(test, _ELEMENTS[result.status], result.status, message, *lines)


def _reasons(record: Record, verdicts: Sequence[Verdict]) -> Iterator[str]:
    ids = dict.fromkeys(v.expectation for v in verdicts if v.expectation)
    yield from dict.fromkeys(reason_of(record.expectations[one]) for one in ids)


def _add_run(root: Xml.Element, record: Record) -> None:
    """The suite of what belongs to no case: the run of each adapter as a whole, and each expectation."""
    suite = Xml.SubElement(root, "testsuite", name="the run as a whole")
    for name, verdicts in record.of_run.items():
        test = Xml.SubElement(suite, "testcase", classname=_text(f"{name}.run"), name="bias and spread")
        if any(verdict.fails for verdict in verdicts):
            first, *lines = run_lines(name, record.judged[name])
            _add_outcome(test, "failure", "wrong", first, *lines)
        test = Xml.SubElement(suite, "testcase", classname=_text(f"{name}.run"), name="something was checked")
        if name in record.unchecked:
            _add_outcome(test, "error", "unchecked", f"nothing was checked of {name}")
    for one in record.audited:
        test = Xml.SubElement(suite, "testcase", classname="expectations", name=_text(f"expectation {one.id}"))
        if one.state in FAILING:
            _add_outcome(test, "failure", one.state, one.message)
    _count(suite)


def _add_outcome(test: Xml.Element, element: str, kind: str, message: str, *lines: str) -> None:
    one = Xml.SubElement(test, element, type=kind, message=_text(message))
    if said := [_text(line) for line in lines if line]:
        one.text = "\n".join([_text(message), *said])


def _add_properties(suite: Xml.Element, facts: Mapping[str, Any]) -> None:
    properties = Xml.SubElement(suite, "properties")
    for name, value in facts.items():
        if value not in (None, ""):
            Xml.SubElement(properties, "property", name=name, value=_text(str(value)))


def _count(suite: Xml.Element) -> None:
    for name, value in _counts(suite).items():
        suite.set(name, str(value))


def _counts(suite: Xml.Element) -> dict[str, int]:
    found = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
    return {name: sum(1 for _ in suite.iter(element)) for name, element in found.items()}


def _text(text: str) -> str:
    """Text that may stand in XML, which has neither control characters nor lone surrogates."""
    return shorten(text, _MOST_CHARACTERS)
