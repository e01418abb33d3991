"""Whether a record adds up: its cases, its verdicts, its footer and the plan of its run say the same."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ..cases.case import Group, traced_layer
from ..cases.description import Description
from ..cases.draw import NUMBERS
from ..cases.plan import OptionError, Options, make_options, plan
from ..checks.verdict import Check, Status, Verdict, status
from ..checks.whole_run.verdicts import Judged, verdicts_of
from ..expectations.audit import AuditResult, Key, count_matched
from ..expectations.expectation import Expectation, expectation_for
from . import whole_run
from .coverage import JUDGED, count_cases, count_checks
from .form.lines import Number
from .form.verdicts import (
    CaseResult,
    case_id,
    hash_plan,
    is_in_full,
    is_sampled,
    rounded_margin,
    rounded_power,
)
from .severity import level_inconsistency

_REPEATED: tuple[Check, ...] = ("descent", "batch")
_WITHOUT_NUMBERS: tuple[Check, ...] = ("contract", "layout", *_REPEATED)


class Inconsistency(Exception):
    """What does not add up, and where: the end of a line that begins with the name of the record."""


@dataclass(frozen=True)
class Content:
    """A record's header and footer as written, the result of each case, the verdicts in full, and what follows from the
    header and the footer: see `kterm.conformance.records.record.Record`, whose names these are.
    """

    header: dict[str, Any]
    cases: Mapping[Key, CaseResult]
    verdicts: Mapping[Key, Sequence[Verdict]]
    footer: dict[str, Any]
    adapters: Mapping[str, Description]
    expectations: Mapping[str, Expectation]
    audited: Sequence[AuditResult]
    judged: Mapping[str, Sequence[Judged]]


# Cases.


def find_case_trouble(one: CaseResult, verdicts: Sequence[Verdict]) -> str | None:
    """Where the line of a case and the verdicts on it in full disagree; None where they agree."""
    line = one.line
    if not verdicts and not line.statuses and not line.blocked and not line.inconclusive:
        return "should have every verdict in full" if is_sampled(one.case) and any(one.tensors.values()) else None
    by_check: dict[Check, list[Verdict]] = defaultdict(list)
    seen: set[tuple[str, str, int | None, str]] = set()
    for v in verdicts:
        by_check[v.check].append(v)
        key = v.check, v.quantity, v.step, v.message
        if key in seen:
            return f"repeats the verdict on {v.check} {v.quantity}"
        seen.add(key)
    found = one.checks
    for check in (*by_check, *line.statuses):
        if check not in found or check in line.blocked:
            return f"has a verdict or a status of {check}, which its line does not have"
    weak = set(line.inconclusive)
    if weak - {name for names in one.tensors.values() for name in names}:
        return "names tensors as inconclusive that no check of it has"
    in_full = is_sampled(one.case)
    for check, result in found.items():
        if check not in line.blocked:
            names = one.tensors.get(check, ())
            if trouble := _check_trouble(check, result.status, names, by_check[check], weak.intersection(names)):
                return trouble
            if in_full and names and {v.quantity for v in by_check[check]} != {*names}:
                return f"should have every verdict of {check} in full"
    if not in_full and (extra := next((v for v in verdicts if not is_in_full(v)), None)):
        return f"is not sampled, and has the verdict on {extra.check} {extra.quantity} in full"
    return None


def _check_trouble(
    check: Check, recorded: Status, tensors: Sequence[str], verdicts: Sequence[Verdict], weak: set[str]
) -> str | None:
    """Where the status of one check, its verdicts in full and its inconclusive tensors disagree."""
    if check not in _WITHOUT_NUMBERS:
        if stray := next((v.quantity for v in verdicts if v.quantity not in tensors), None):
            return f"has a verdict on {stray}, which {check} did not compare"
        for v in verdicts:
            if (v.grade == "inconclusive") != (v.quantity in weak):
                return f"says of {v.quantity} that it is inconclusive, and the opposite"
    due = status([*verdicts, *(Verdict("", check, name, "inconclusive") for name in weak)]) if verdicts or weak else ""
    if check in _WITHOUT_NUMBERS and not verdicts and recorded in ("passed", "inconclusive"):
        return None  # a descent or a batch with too little power has no line of its own
    if recorded != (due or "passed"):
        return f"says that {check} is {recorded}, and its verdicts say {due or 'passed'}"
    return None


def find_margin_trouble(one: CaseResult, verdicts: Sequence[Verdict]) -> str | None:
    """Where margins and findings of a case disagree: a margin above 1 is a finding, and the worst one."""
    if not verdicts and not one.line.statuses:
        margins: tuple[Number | None, ...] = one.line.margins
        for pair in (one.line.descent, one.line.batch):
            if pair is not msgspec.UNSET:
                margins = (*margins, pair[0])
        for margin in margins:  # a plain loop: this is called for each of some 40,000 cases
            if not float(margin or 0) <= 1:
                return f"has a margin of {margin} and no finding"
        return None
    for check, result in one.checks.items():
        mine = [v for v in verdicts if v.check == check]
        findings = [v for v in mine if v.is_finding and not v.message]
        if result.margin is None or any(v.is_finding and v.message for v in mine):
            continue
        worst = max((rounded_margin(v.worst) for v in findings), default=None)
        if worst is None and not result.margin <= 1 and result.status not in ("inconclusive", "errored"):
            return f"has a margin of {result.margin:g} in {check} and no finding"
        if worst is not None and worst != result.margin:
            return f"has a margin of {result.margin:g} in {check}, and its worst finding one of {worst:g}"
        if worst is None and check in one.tensors and {v.quantity for v in mine} == {*one.tensors[check]}:
            powers = [v.power for v in mine if v.grade == "pass" and v.power is not None]
            least = rounded_power(min(powers)) if powers else None
            if (max(rounded_margin(v.worst) for v in mine), least) != (result.margin, result.power):
                return f"has other numbers in {check} than its verdicts in full"
    return None


# The footer.


def check_content(content: Content) -> str | None:
    """Where the cases, the verdicts and the footer of a record disagree; None where they agree."""
    header, footer = content.header, content.footer
    for key, one in content.cases.items():
        if trouble := find_case_trouble(one, content.verdicts.get(key, ())):
            return f": case {one.case} on {key[0]} {trouble}"
    if trouble := level_inconsistency(header, footer, content.verdicts.values()):
        return f": {trouble}"
    names = list(content.adapters)
    answered: dict[Key, Status] = {key: one.status for key, one in content.cases.items()}
    unanswered = [(name, case) for name, case in footer["unanswered"]]
    strays = [key for key in unanswered if key in answered or key[0] not in content.adapters]
    if strays or len(set(unanswered)) < len(unanswered):
        return ": its footer lists a case as unanswered that has a result, or twice"
    planned = [*answered, *unanswered]
    if not header["planned"] == len(planned) == footer["accounting"].get("planned"):
        return f": {header['planned']} cases planned, {len(answered)} answered, {len(unanswered)} unanswered"
    partly = {key for key, one in content.cases.items() if _is_partly_judged(one)} if "trace" in header else ()
    due = count_cases(names, planned, answered, partly)
    if footer["accounting"] != due["accounting"]:
        return f": its footer counts {footer['accounting']}, its cases give {due['accounting']}"
    if footer["by_adapter"] != due["by_adapter"]:
        return ": its footer counts other cases of an adapter than it holds"
    for name in names:
        if footer["judged"].get(name) != due["judged"][name]:
            return f": its footer says that other cases of {name} were judged than it holds"
    of_run = {name: list(verdicts_of(some)) for name, some in content.judged.items()}
    checks = count_checks(_count(content.cases), of_run)
    if footer["checks"] != checks:
        return ": its footer counts other statuses of checks than its cases give"
    if footer["verdicts"] != sum(map(len, content.verdicts.values())):
        return ": its footer counts other verdicts in full than it holds"
    if trouble := _weakest_trouble(content):
        return f": {trouble}"
    if trouble := _expectation_trouble(content, of_run):
        return f": {trouble}"
    return None


def _is_partly_judged(one: CaseResult) -> bool:
    return one.status == "inconclusive" and any(check.status in JUDGED for check in one.checks.values())


def _count(cases: Mapping[Key, CaseResult]) -> dict[str, dict[str, Counter[str]]]:
    """How many cases have each status, by adapter and check."""
    counted: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    plain: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for (adapter, _), one in cases.items():
        line = one.line
        repeated = line.descent is not msgspec.UNSET or line.batch is not msgspec.UNSET
        if line.statuses or line.blocked or repeated:
            for check, result in one.checks.items():
                counted[adapter][check][result.status] += 1
        else:
            plain[adapter, tuple(one.tensors)] += 1
    for (adapter, checks), count in plain.items():
        for check in checks:
            counted[adapter][check]["passed"] += count
    return counted


def _weakest_trouble(content: Content) -> str | None:
    """Where the footer names another pass as the weakest than the powers of the cases give."""
    least: float | None = None
    for one in content.cases.values():
        repeated = [pair[1] for pair in (one.line.descent, one.line.batch) if pair is not msgspec.UNSET]
        for power in (*one.line.powers, *repeated):
            if power is not None and (least is None or float(power) < least):
                least = float(power)
    named = content.footer["weakest"]
    if named is None:
        return None if least is None or least == float("inf") else "its footer names no weakest pass"
    power, adapter, case, quantity = named
    if (adapter, case) not in content.cases or least is None or rounded_power(float(power)) != least:
        return "its footer names another weakest pass than its cases give"
    found = content.cases[adapter, case]
    names = [found.tensors.get(check, (quantity,)) for check, one in found.checks.items() if one.power == least]
    return None if any(quantity in some for some in names) else "its footer names another weakest pass than it holds"


def _expectation_trouble(content: Content, of_run: Mapping[str, Sequence[Verdict]]) -> str | None:
    """Where a record's expectations, its verdicts and the audit in its footer disagree; None where they agree."""
    if [one.id for one in content.audited] != list(content.expectations):
        return "its footer audits other expectations than its header lists"
    findings: Counter[str] = Counter()
    for name, adapter in content.adapters.items():
        entries = [e for e in content.expectations.values() if e.concerns(adapter)]
        verdicts = [v for (of, _), some in content.verdicts.items() if of == name for v in some]
        for v in verdicts:
            if v.expectation != (expectation_for(v, entries) if v.is_finding else None):
                return f"its expectations do not agree with the verdict on {v.case} {v.check} {v.quantity}"
        if not whole_run.agree(content.footer["run"].get(name), content.judged[name]):
            return f"its verdicts on the run of {name} as a whole are not those that its moments give"
        findings += count_matched(entries, [*verdicts, *of_run[name]])
    groups: dict[str, dict[str, list[str]]] = {name: {} for name in content.adapters}
    for name, case in (*content.cases, *content.footer["unanswered"]):
        groups[name].setdefault(case.rpartition("-s")[0], []).append(case)
    for one in content.audited:
        if one.findings != findings[one.id] or (one.state == "met") != (one.findings > 0):
            return (
                f"expectation {one.id} covers {findings[one.id]} findings, its footer says {one.findings}, {one.state}"
            )
        entry = content.expectations[one.id]
        named = [name for name, adapter in content.adapters.items() if entry.concerns(adapter)]
        if one.cases != sum(entry.count_cases(groups[name].values()) for name in named):
            return f"expectation {one.id} covers other cases than its footer counts"
    return None


# The plan.


def options_of(header: Mapping[str, Any]) -> Options:
    """The options of a run, from its header. Raises OptionError."""
    kept = [tuple(header.get(name, ())) for name in ("dtypes", "activations", "regimes", "like")]
    return make_options(header["profile"], header["seed"], kept[0], kept[1], header["level"], kept[2], kept[3])


def planned_groups(header: Mapping[str, Any], adapters: Mapping[str, Description]) -> list[tuple[str, Group]]:
    """The groups that a run was to examine, with their adapters, planned anew from its header."""
    options = options_of(header)
    every = [(name, group) for name, adapter in adapters.items() for group in plan(adapter, options).groups]
    if "selected" not in header:
        return every
    return [one for first, last in header["selected"] for one in every[first : last + 1]]


def check_plan(content: Content) -> str | None:
    """Where a record holds other cases, or other checks of them, than its run had to examine."""
    header = content.header
    if "trace" in header:
        return _check_traced(content)
    if header.get("numbers") != NUMBERS:
        return f": has numbers of version {header.get('numbers')!r:.40}, and this version of kterm draws {NUMBERS!r}"
    try:
        groups = planned_groups(header, content.adapters)
    except OptionError as error:
        return f": its header asks for what no run can be asked for: {error}"
    named = [(name, group.id, group) for name, group in groups]
    cases = [(name, case_id(its_id, g.seed, draw), g) for name, its_id, g in named for draw in g.draws]
    for name in content.adapters:
        due = hash_plan(case for of, case, _ in cases if of == name)
        if next(one for one in header["adapters"] if one["name"] == name).get("plan") != due:
            return f": its header has another plan for {name} than this version of kterm makes from it"
    if len(cases) != header["planned"]:
        return f": its header promises {header['planned']:,} cases, and its plan has {len(cases):,}"
    unanswered = {(name, case) for name, case in content.footer["unanswered"]}
    held = iter(content.cases.items())
    proven: tuple[Group, object] | None = None
    shows_k = {name for (name, _), one in content.cases.items() if one.tensors.get("k_terms")}
    for name, case, group in cases:
        if (name, case) in unanswered:
            continue
        key, one = next(held, (None, None))
        if key != (name, case) or one is None:
            follows = " on ".join(reversed(key)) if key else "no case"
            return f": case {case} on {name} is planned next, and {follows} follows"
        # Most cases of a group have its checks, and none that is blocked or failed: they are looked at once.
        is_plain = not one.line.statuses and not one.line.blocked
        trouble = None
        if not is_plain or proven is None or proven[0] is not group or proven[1] is not one.tensors:
            trouble = _due_trouble(one, group, name in shows_k)
            proven = (group, one.tensors) if is_plain else proven
        trouble = trouble or find_margin_trouble(one, content.verdicts.get((name, case), ()))
        if trouble:
            return f": case {case} on {name} {trouble}"
    if (key := next(held, (None, None))[0]) is not None:
        return f": holds case {' on '.join(reversed(key))}, which is not planned"
    return None


def _check_traced(content: Content) -> str | None:
    """Where the record of a trace holds other layers, steps or quantities than its header lists."""
    header, trace = content.header, content.header["trace"]
    if len(content.adapters) != 1 or "selected" in header or "shard" in header or content.footer["unanswered"]:
        return ": its header describes the judging of no trace"
    ranges = [(one, *ends) for one in trace["layers"] for ends in one["steps"]]
    if any(not first <= last < trace["steps"] for _, first, last in ranges):
        return f": its header lists steps beyond the {trace['steps']:,} of its trace"
    due = sum(last - first + 1 for _, first, last in ranges)
    if not due == header["planned"] == len(content.cases):
        return f": its header promises {due:,} layers in a step, and it holds {len(content.cases):,}"
    (name,) = content.adapters
    held = iter(content.cases.items())
    for layer, first, last in ranges:
        tensors = {check: tuple(names) for check, names in layer["checks"].items()}
        for step, (key, one) in zip(range(first, last + 1), held, strict=False):
            if key != (name, case_id(layer["group"], 0, step)):
                return f": {layer['group']} in step {step} is listed next, and {key[1]} follows"
            trouble = None if one.tensors == tensors else "has other quantities than its header lists"
            if trouble := trouble or find_margin_trouble(one, content.verdicts.get(key, ())):
                return f": case {one.case} {trouble}"
    if header["adapters"][0].get("plan") != hash_plan(case for _, case in content.cases):
        return ": its header has another hash than its cases give"
    if {*content.footer["moments"]} != {traced_layer(layer["group"]) for layer in trace["layers"]}:
        return ": its footer has the moments of other layers than its header lists"
    return None


def _due_trouble(one: CaseResult, group: Group, shows_k: bool) -> str | None:
    """Which check of a case is missing, or is there and should not be."""
    present = {*one.tensors, *one.line.blocked}
    if group.regime == "layout":
        return None if present <= {"layout", "contract"} and present else "should have the check layout alone"
    if "contract" not in present:
        return "lacks the check contract"
    if one.line.statuses.get("contract") in ("errored", "unsupported", "expected"):
        return None  # there is no answer to check, or none of finite numbers
    if "contract" in one.line.blocked:
        return None
    due = ["forward", "error", "weight_gradients"]
    due += ["bias_gradients"] if group.structure.network.bias != "none" else []
    due += ["k_terms"] if shows_k else []
    missing = [check for check in due if check not in present]
    return f"lacks the check {missing[0]}" if missing else None
