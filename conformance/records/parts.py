"""The parts of a record, one a group, and the record that is assembled from them.

While a run goes on, each group's verdicts are a file of their own in a folder beside the record, written whole. So
nothing recorded is lost when a process dies, and the record comes out in the order of the plan however many workers
there were.
"""

import base64
import json
import math
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..cases.description import Description
from ..checks.verdict import Status, Verdict, failure_to_show, status
from ..checks.whole_run.moments import Moments, to_rows
from ..checks.whole_run.verdicts import Judged, verdicts_of
from ..diagnosis.causes import Cause
from ..expectations.audit import ExpectationAudit, Key, count_matched
from ..expectations.expectation import Expectation
from . import whole_run
from .coverage import count_cases, count_checks, is_partly_judged
from .form.lines import SCHEMA, PartLine, VerdictLine
from .form.verdicts import dumps, format_group, hash_plan, to_verdict

_VERDICT = '{"kind":"verdict",'


def write_part(
    folder: Path,
    number: int,
    adapter: str,
    verdicts: Sequence[Sequence[Verdict]],
    expectations: Sequence[Expectation] = (),
    moments: Moments | None = None,
    layer: str | None = None,
) -> None:
    """Write one group's verdicts (a sequence a case) behind their tally, whole or not at all; `number` is its place
    in the plan, `expectations` are those that concern the adapter, and `moments` what the group adds to the checks of
    the run. `layer` is the layer of a trace that all of it is about.
    """
    path = folder / f"{number:06}.jsonl"
    scratch = path.with_suffix(f".{os.getpid()}")
    lines = list(format_group(adapter, verdicts))
    body = "".join(f"{line}\n" for line in lines)
    tally = {
        **_tally(adapter, verdicts),
        "verdicts": sum(line.startswith(_VERDICT) for line in lines),
        "covered": count_matched(expectations, (v for some in verdicts for v in some)),
        "moments": to_rows(moments or {}),
        **({} if layer is None else {"layer": layer, "partly": [v[0].case for v in verdicts if is_partly_judged(v)]}),
    }
    scratch.write_text(f"{dumps(tally)}\n{body}", encoding="utf-8")
    scratch.replace(path)


def read_part(path: Path) -> tuple[tuple[str, ...], tuple[Verdict, ...]]:
    """From a group's file: the cases that passed, and the failure to show of each case that has one."""
    by_case: dict[str, list[Verdict]] = {}
    with path.open(encoding="utf-8") as source:
        tally = json.loads(source.readline())
        cases: dict[str, Status] = tally["cases"]
        if {"failed", "errored"} & set(cases.values()) or tally["below_level"]:
            for line in source:
                if line.startswith(_VERDICT):
                    verdict = to_verdict(msgspec.json.decode(line, type=VerdictLine))
                    by_case.setdefault(verdict.case, []).append(verdict)
    shown = map(failure_to_show, by_case.values())
    passed = tuple(case for case, found in cases.items() if found == "passed")
    return passed, tuple(verdict for verdict in shown if verdict is not None)


def read_statuses(folder: Path, number: int) -> list[Status] | None:
    """The statuses of the cases of a group, by its place in the plan; None if the group has no part."""
    try:
        with (folder / f"{number:06}.jsonl").open(encoding="utf-8") as source:
            return list(json.loads(source.readline())["cases"].values())
    except FileNotFoundError:
        return None


def _tally(adapter: str, verdicts: Iterable[Sequence[Verdict]]) -> dict[str, Any]:
    """What the footer is summed from: the status of each case, counts by check, and the pass of least power."""
    cases: dict[str, Status] = {}
    checks: dict[str, Counter[str]] = defaultdict(Counter)
    below, least = 0, None
    for some in verdicts:
        cases[some[0].case] = status(some)
        below += sum(v.below_level for v in some)
        by_check: dict[str, list[Verdict]] = defaultdict(list)
        for v in some:
            by_check[v.check].append(v)
            if v.grade == "pass" and v.power is not None and (least is None or v.power < least[0]):
                least = [v.power, adapter, v.case, v.quantity]
        for check, group in by_check.items():
            checks[check][status(group)] += 1
    if least is not None and not math.isfinite(least[0]):
        least = None
    return {
        "adapter": adapter,
        "cases": cases,
        "checks": checks,
        "below_level": below,
        "weakest": least,
    }


def failing_adapters(folder: Path) -> set[str]:
    """The names of the adapters with a case that failed, from the parts in a folder. One that gave an error instead of
    numbers did not fail.
    """
    found: set[str] = set()
    for part in folder.glob("[0-9]*.jsonl"):
        with part.open(encoding="utf-8") as source:
            tally = json.loads(source.readline())
        if "failed" in tally["cases"].values():
            found.add(tally["adapter"])
    return found


def finish(
    path: Path,
    folder: Path,
    header: dict[str, Any],
    planned: Sequence[Key],
    audit: ExpectationAudit,
    found: Sequence[Cause] = (),
    described: Mapping[str, Any] | None = None,
) -> None:
    """Assemble the record at `path` from the parts in `folder`, in order, with header and footer; the footer holds the
    causes `found`. For a shard, `described` is the description of its run: the record then holds what merging needs.

    Planned cases without a verdict are listed in the footer as unanswered, and the expectations are audited.
    """
    head = {"kind": "header", "schema": SCHEMA, **header, "planned": len(planned)}
    of_adapter: dict[str, list[str]] = {adapter["name"]: [] for adapter in header["adapters"]}
    for name, case in planned:
        of_adapter[name].append(case)
    head["adapters"] = [{**one, "plan": hash_plan(of_adapter[one["name"]])} for one in header["adapters"]]
    head["expectations"] = [entry.to_json() for entry in audit.applicable]
    tallies: list[dict[str, Any]] = []
    scratch = path.with_name(path.name + ".unfinished")
    with scratch.open("w", encoding="utf-8") as out:
        out.write(dumps(head) + "\n")
        if described is not None:
            out.write(dumps({"kind": "run", "description": described}) + "\n")
        for part in sorted(folder.glob("[0-9]*.jsonl")):
            with part.open(encoding="utf-8") as source:
                tallies.append(json.loads(source.readline()))
                if described is not None:
                    out.write(_part_line(part, tallies[-1]) + "\n")
                shutil.copyfileobj(source, out)
        footer = {**_footer(audit.adapters, planned, tallies, audit), "causes": [cause.to_json() for cause in found]}
        out.write(dumps({"kind": "footer", **footer}) + "\n")
    scratch.replace(path)


def _part_line(part: Path, tally: Mapping[str, Any]) -> str:
    kept = part.with_suffix(".npz")
    questions = base64.b64encode(kept.read_bytes()).decode() if kept.exists() else ""
    return dumps({"kind": "part", "number": int(part.stem), "tally": tally, "questions": questions})


def restore_part(folder: Path, line: PartLine, body: bytes) -> None:
    """Write the part of a group as it was, from its line and the lines of the group in a shard."""
    (folder / f"{line.number:06}.jsonl").write_bytes(dumps(line.tally).encode() + b"\n" + body)
    if line.questions:
        (folder / f"{line.number:06}.npz").write_bytes(base64.b64decode(line.questions))


def _footer(
    adapters: Sequence[Description], planned: Sequence[Key], tallies: Sequence[dict[str, Any]], audit: ExpectationAudit
) -> dict[str, Any]:
    answered: dict[Key, Status] = {(t["adapter"], case): found for t in tallies for case, found in t["cases"].items()}
    checks: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    findings: Counter[str] = Counter()
    for tally in tallies:
        findings.update(tally["covered"])
        for check, found in tally["checks"].items():
            checks[tally["adapter"]][check].update(found)
    is_traced = any("layer" in tally for tally in tallies)
    names = dict.fromkeys(map(whole_run.name_of, tallies)) if is_traced else [adapter.name for adapter in adapters]
    moments = whole_run.merge_rows(names, tallies)
    partly = {(tally["adapter"], case) for tally in tallies for case in tally.get("partly", ())}
    of_run: dict[str, list[Verdict]] = {}
    judged: dict[str, list[Judged]] = {}
    for adapter in adapters:
        name, entries = adapter.name, audit.of(adapter)
        judged[name] = (
            whole_run.judge_traced_rows(moments, entries)
            if is_traced
            else whole_run.judge_rows(moments[name], entries, adapter)
        )
        of_run[name] = list(verdicts_of(judged[name]))
        findings.update(count_matched(entries, of_run[name]))
    return {
        **count_cases([adapter.name for adapter in adapters], planned, answered, partly),
        "checks": count_checks(checks, of_run),
        "verdicts": sum(tally["verdicts"] for tally in tallies),
        "below_level": sum(tally["below_level"] for tally in tallies),
        "weakest": min((t["weakest"] for t in tallies if t["weakest"] is not None), default=None),
        "expectations": [one.to_json() for one in audit.results(planned, answered, findings, of_run)],
        "moments": moments,
        "run": {name: whole_run.to_json(some) for name, some in judged.items()},
    }
