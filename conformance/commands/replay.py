"""What `kterm replay` does: one case, every step of the pass beside the rule's, in units of tolerance, and the first
step that departs.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
from rich.table import Table

from ...adapters import Observation
from ...adapters.quantities import arrays
from ...reference import Array
from ...reference.rounding import SIGMAS
from ..cases.case import Case, Group, parse_case
from ..cases.description import Description
from ..cases.draw import REGIMES, Draw, make_draws
from ..cases.plan import OptionError
from ..checks.comparison.compare import Comparison, compare
from ..checks.examine import examine
from ..checks.findings import verdict_on
from ..checks.repeated.departures import RuleJudge
from ..checks.repeated.twins import build_twins
from ..checks.verdict import Verdict
from ..failures.histories.history import NOT_REPEATABLE, describe_steps
from ..failures.histories.playing import Played
from ..failures.histories.recording import RecordingRunner
from ..failures.known_causes import shipped_expectation_for
from ..failures.shrinking.shrink import shrink
from ..records.form.console import TextConsole
from ..records.form.words import describe_rule, finding_lines, versioned
from ..records.report import entries
from ..runners.process import ProcessRunner
from ..runners.runner import NoAnswer
from ..runners.threads import pin_here

_MOST_DRAWS = 64
_COLUMNS = ("step", "largest entry", "worst at", "framework", "rule", "error / tolerance", "grade")


def run_replay(text: str, spec: str, device: str | None, mutant: str | None = None, python: str | None = None) -> int:
    """Print the replay: the case's call alone, and if nothing is wrong with it, whether something is after the calls
    that a check makes of its structure. The exit code is 0 if nothing is wrong, and 1 otherwise.

    Raises CaseError for what is not a case id, OptionError where the adapter does not support the case, and NoAnswer
    where it does not answer.
    """
    pin_here()
    case = parse_case(text, tuple(REGIMES))
    group = Group(case.structure, case.regime, case.seed, (case.draw,))
    with closing(ProcessRunner(spec, device, mutant=mutant, python=python)) as runner:
        described = runner.describe()
        stack = make_draws([case])
        one = stack[0]
        try:
            twins = build_twins(group, one, runner)
            runner.build(case.structure, None, twins.is_built)
            answer = runner.call(case.regime, one.parameters, one.x, one.y)
            twins.recheck(runner, RuleJudge(described, shipped_expectation_for(described)))
        except NoAnswer as no:
            if no.kind != "unsupported":
                raise
            missing = no.message.removeprefix("NotImplementedError: ")
            raise OptionError(f"case {case.id} is not for {described.name}: {missing}") from None
        console = TextConsole()
        console.print(f"{case.id} on {versioned(described.to_json())}, weights {described.layout}")
        for problem in (*answer.all_problems, *(one.message for one in twins.findings)):
            console.print(f"contract: {problem}")
        if answer.observation is None:
            return 1
        if answer.judged_in is not None:
            structure = replace(group.structure, dtype=answer.judged_in)
            group, stack = replace(group, structure=structure), stack.astype(structure.format.numpy)
        judged = _judge(group, stack, answer.observation, described)
        departs = _print_side_by_side(console, stack, answer.observation, *judged)
        if twins.findings and not departs:
            console.print("This call agrees with the rule. What is wrong with the twins needs other calls.")
            _print_needed_calls(console, case, runner)
            return 1
        if departs or answer.all_problems:
            _print_first_departure(console, stack, answer.observation, *judged)
            return 1
        if not _print_further_calls(console, case, runner):
            return 1
    _print_first_departure(console, stack, answer.observation, *judged)
    return 0


def _judge(
    group: Group, stack: Draw, observation: Observation, adapter: Description
) -> tuple[list[Comparison], list[Verdict]]:
    case, arithmetic = group.cases[0], adapter.arithmetic_in(group.structure.dtype)
    compared = list(compare(group.structure, stack, [observation], group.regime, adapter.conventions, arithmetic))
    return compared, [verdict_on(group, case.id, one, 0, bool(stack.dead[0])) for one in compared]


def _print_further_calls(console: TextConsole, case: Case, runner: ProcessRunner) -> bool:
    """Make the calls that a check makes of the structure, up to those of this case, and what it repeats. If one fails
    that the case alone does not show, print the calls that it needs. Whether none fails.
    """
    if case.regime == "layout":
        return True
    # Draws that an earlier version or another profile did not make cost time, and show nothing more.
    draws = tuple(range(case.draw + 1)) if case.draw < _MOST_DRAWS else (0, case.draw)
    group = Group(case.structure, case.regime, case.seed, draws)
    recording = RecordingRunner(runner)
    expectation_for = shipped_expectation_for(runner.describe())
    verdicts = [verdict for some in examine(group, recording, expectation_for).verdicts for verdict in some]
    verdict = next((verdict for verdict in verdicts if verdict.fails), None)
    made = len(recording.calls)
    if verdict is None:
        console.print(
            f"Made as well: {made} calls in the same process, those of the draws up to this one and what a check "
            "repeats. None fails."
        )
        return True
    console.print("Alone, this call agrees with the rule. It does not show a failure that needs other calls:")
    console.print(f"in {made} calls as a check makes them, {verdict.case} fails: {verdict.check}, {verdict.label}")
    for line in finding_lines(verdict):
        console.print(line)
    _print_needed_calls(console, parse_case(verdict.case, tuple(REGIMES)), runner)
    return False


def _print_needed_calls(console: TextConsole, failing: Case, runner: ProcessRunner) -> None:
    """The calls with which a failing case fails in a new process."""
    runner.close()
    expectation_for = shipped_expectation_for(runner.describe())
    shrunk = shrink(failing, runner, expectation_for=expectation_for, start=runner.close, shrinks=False)
    if shrunk is None or not shrunk.is_repeatable:
        console.print(f"{NOT_REPEATABLE}: the failure depends on chance, or on more than these calls")
    elif shrunk.played is None:
        console.print(f"That case fails alone as well: kterm replay {failing.id}")
    else:
        _print_history(console, shrunk.played, runner.describe())


def _print_history(console: TextConsole, played: Played, adapter: Description) -> None:
    """The steps of a history, and its last call beside the rule."""
    history, observation = played.history, played.observation
    console.print("The calls that it needs, in a new process:")
    for line in describe_steps(history):
        console.print(f"  {line}")
    if history.aim != "answer" or observation is None:
        console.print(f"then: {played.verdict.message}")
        return
    console.print("The last of them:")
    stack = history.draw[None]
    judged = _judge(Group(history.structure, history.regime, 0, (0,)), stack, observation, adapter)
    _print_side_by_side(console, stack, observation, *judged)
    _print_first_departure(console, stack, observation, *judged)


def _print_side_by_side(
    console: TextConsole,
    stack: Draw,
    observation: Observation,
    compared: Sequence[Comparison],
    judged: Sequence[Verdict],
) -> bool:
    """Every quantity beside the rule's. Whether any departs."""
    shown = arrays(observation)
    _print_entries(console, "x_0", stack.x[0])
    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for one, verdict in zip(compared, judged, strict=True):
        values = shown[one.quantity].astype(float)
        table.add_row(
            one.quantity,
            f"{np.abs(values).max(initial=0.0):.6g}",
            f"[{', '.join(map(str, verdict.at))}]" if verdict.at else "",
            f"{float(one.observed[0])!r}",
            describe_rule(float(one.expected[0]), None if one.jump is None else float(one.jump[0])),
            f"{float(one.worst[0]):.3g}",
            verdict.grade,
            style="red" if verdict.is_finding else None,
        )
    console.print(table)
    console.print(f"The tolerance is {SIGMAS:g} standard deviations of the rounding error; where z, x and k are shown,")
    console.print("each step is judged from the framework's own previous value.")
    if stack.dead[0]:
        console.print("This draw can show little: a gradient is all zero, or its numbers overflow or are not exact.")
    return any(verdict.is_finding for verdict in judged)


def _print_first_departure(
    console: TextConsole,
    stack: Draw,
    observation: Observation,
    compared: Sequence[Comparison],
    judged: Sequence[Verdict],
) -> None:
    """The first step that departs, with its numbers, or that none does."""
    first = next((one for one, verdict in zip(compared, judged, strict=True) if verdict.is_finding), None)
    if first is None:
        console.print("no step departs from the rule" if stack.dead[0] else "every step agrees with the rule")
        return
    where = f", at layer {first.layer}" if first.layer else ""
    console.print(f"first step that departs: {first.quantity}{where}")
    name = first.quantity
    _print_entries(console, f"the framework's {name}:", arrays(observation)[name])


def _print_entries(console: TextConsole, name: str, array: Array) -> None:
    for line in f"{name} {entries(array)}".splitlines():
        console.print(line)
