"""A judged trace as a record of the suite: a case for each layer in each step, named by `cases.case.traced_id`."""

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from ....adapters.traces.manifest import Manifest
from ....reference import BIASES, DTYPES
from ...cases.case import traced_layer
from ...cases.description import Description
from ...cases.draw import NUMBERS
from ...cases.plan import Options as RunOptions
from ...checks.verdict import Verdict, failure_to_show, severity_of
from ...diagnosis.causes import Cause, order, sort_checks
from ...expectations.audit import ExpectationAudit
from ...expectations.expectation import Expectation
from ...records.coverage import sort_activations
from ...records.folder import RunFolder
from ...records.form.environment import describe_environment
from ...records.form.files import RecordError
from ...records.form.lines import Traced, TracedLayer
from ...records.form.verdicts import split_case
from ...records.parts import finish, write_part
from ...records.record import read
from .judgement import Judgement, LayerVerdict
from .lines import coverage_lines

_Case = tuple[list[LayerVerdict], list[Verdict]]
"""The verdicts on a layer in a step as they were given, and as a record has them."""


def deliver_record(judgement: Judgement, expected: Sequence[Expectation], is_own: bool, folder: RunFolder) -> None:
    """Write the record, read it as any reader does, and bring it to where it was asked for. Arguments and errors as for
    `write_record`.
    """
    record = write_record(judgement, expected, is_own, folder)
    if read(record).conforms != judgement.conforms:
        raise RecordError(f"record {folder.keep()}: does not say what was judged; this is a defect of kterm")
    folder.deliver(record)


def write_record(judgement: Judgement, expected: Sequence[Expectation], is_own: bool, folder: RunFolder) -> Path:
    """Write the record of a judgement into a folder, and give its path. `expected` are the known divergences of the
    framework, and `is_own` says that they are the user's own. Raises RecordError where it cannot be written.
    """
    cases: list[_Case] = [(some, _as_recorded(some)) for some in judgement.by_case.values()]
    manifest = judgement.trace.manifest
    adapter = _describe(manifest, [verdicts[0].case for _, verdicts in cases])
    audit = ExpectationAudit(tuple(expected), (adapter,), RunOptions(level=judgement.options.level), is_own, True)
    layers: list[TracedLayer] = []
    try:
        moments = dict(judgement.moments)
        for (group, checks), some in groupby(cases, key=_kind_of):
            verdicts = [one for _, one in some]
            steps = _ranges([split_case(one[0].case)[2] for one in verdicts])
            name = traced_layer(group)
            assert name is not None
            # The sums of a layer are over all its steps; its first part has them.
            write_part(folder.path, len(layers), adapter.name, verdicts, expected, moments.pop(name, None), name)
            layers.append(TracedLayer(group=group, steps=steps, checks=dict(checks)))
        path = folder.path / "record.jsonl"
        planned = [(adapter.name, verdicts[0].case) for _, verdicts in cases]
        header = _header(judgement, adapter, layers)
        finish(path, folder.path, header, planned, audit, _causes(adapter.name, cases))
    except OSError as error:
        raise RecordError(f"report {folder.report}: {error.strerror or error}; nothing was written") from None
    return path


def _as_recorded(some: Sequence[LayerVerdict]) -> list[Verdict]:
    """The verdicts on a layer in a step, each with a name of its own."""
    return [
        one.verdict
        if one.call is None
        else replace(one.verdict, quantity=f"{one.verdict.quantity} of call {one.call + 1}")
        for one in some
    ]


def _kind_of(case: _Case) -> tuple[str, tuple[tuple[Any, tuple[str, ...]], ...]]:
    """What cases have in common that stand together: the id without the step, and the quantities of each check."""
    checks: dict[Any, list[str]] = {}
    for verdict in case[1]:
        checks.setdefault(verdict.check, []).append(verdict.quantity)
    return split_case(case[1][0].case)[0], tuple((check, tuple(names)) for check, names in checks.items())


def _ranges(steps: Sequence[int]) -> tuple[tuple[int, int], ...]:
    found: list[list[int]] = []
    for step in steps:
        if found and step == found[-1][1] + 1:
            found[-1][1] = step
        else:
            found.append([step, step])
    return tuple((first, last) for first, last in found)


def _describe(manifest: Manifest, cases: Sequence[str]) -> Description:
    """The framework of a trace as a record describes an adapter. No command line can name it."""
    fields = [case.split("-") for case in cases]
    return Description(
        "",
        manifest.framework or "trace",
        manifest.framework_version,
        "",
        tuple(name for name in DTYPES if name in {one[4] for one in fields}),
        sort_activations({one[1] for one in fields}),
        tuple(name for name in BIASES if name in {one[3] for one in fields}),
        manifest.device or "cpu",
        None,
        framework=manifest.framework,
        framework_version=manifest.framework_version,
    )


def _header(judgement: Judgement, adapter: Description, layers: Sequence[TracedLayer]) -> dict[str, Any]:
    options, manifest = judgement.options, judgement.trace.manifest
    traced = Traced(
        manifest=hashlib.sha256(msgspec.json.encode(manifest)).hexdigest(),
        steps=len(manifest.steps),
        layers=tuple(layers),
        only_steps=options.steps,
        only_layers=options.layers,
        notes=(*coverage_lines(judgement), *manifest.notes),
    )
    return {
        "suite": metadata.version("kterm"),
        "numbers": NUMBERS,
        "profile": "trace",
        "seed": 0,
        "level": options.level,
        "device": None,
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "environment": describe_environment(),
        "adapters": [{**adapter.to_json(), "structures": len(layers), "unsupported": [], "fingerprint": None}],
        "trace": msgspec.to_builtins(traced),
    }


def _causes(adapter: str, cases: Sequence[_Case]) -> list[Cause]:
    """The findings by their cause: each layer in a step has that of its first failure."""
    found: dict[tuple[str, str], list[Verdict]] = {}
    for given, recorded in cases:
        shown = failure_to_show(recorded)
        if shown is None:
            continue
        cause = next(one.cause for one, verdict in zip(given, recorded, strict=True) if verdict is shown)
        text = "" if cause is None else cause.text
        # What is only described differs from layer to layer.
        place = shown.kind if cause is None or cause.is_known else shown.case
        found.setdefault((place, text), []).append(shown)
    return order(
        Cause(adapter, len(some), sort_checks(some), some[0], severity_of(some), text=text)
        for (_, text), some in found.items()
    )
