"""Layout probes: small networks that prove, before anything else is judged, that weights are laid out as declared."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..cases.case import Case, Group
from ..cases.draw import make_draws
from ..runners.runner import LAYOUTS, NoAnswer, Runner
from .comparison.compare import compare
from .verdict import Verdict

OUTPUTS_AGREE = "outputs agree as declared"
"""How the message of a square probe begins whose weight gradients alone depart."""


def probe(group: Group, runs: Runner) -> list[list[Verdict]]:
    """The layout verdict of each case of a probe group.

    The declared layout is right if outputs and weight gradients agree with the rule. Otherwise the other layouts are
    tried; one that agrees is the layout that the framework really uses. If none agrees, the probe is inconclusive, and
    the later checks say what else is wrong.
    """
    return [[_probe(group, case, runs)] for case in group.cases]


def find_layout_error(probes: Iterable[Group], runner: Runner) -> str | None:
    """The message of the first layout probe that fails, or None."""
    verdicts = (verdict for group in probes for some in probe(group, runner) for verdict in some)
    return next((verdict.message for verdict in verdicts if verdict.is_finding), None)


def _probe(group: Group, case: Case, runs: Runner) -> Verdict:
    declared = runs.describe().layout
    shape = "square" if len(set(group.structure.network.widths)) == 1 else "non-square"
    try:
        odd = _departures(group, case, runs, None)
        trouble = "departs from the rule in " + ", ".join(odd)
    except NoAnswer as no:
        if no.kind == "unsupported":
            return Verdict(case.id, "layout", "weights", "unsupported", message=no.message)
        odd, trouble = (), f"{no.kind}: {no.message}"
        if no.lost:
            return Verdict(case.id, "layout", "weights", "errored", message=trouble)
    else:
        if not odd:
            return Verdict(case.id, "layout", "weights", "pass")
    for name in LAYOUTS:
        if name != declared and not _tried(group, case, runs, name):
            message = (
                f"consistent with weights laid out {name} where the adapter declares {declared} "
                f"({shape} probe: as declared, it {trouble}); fix weight_layout"
            )
            return Verdict(case.id, "layout", "weights", "wrong", message=message)
    if odd and all(name.startswith("dE/dW") for name in odd) and shape == "square":
        return Verdict(case.id, "layout", "weights", "inconclusive", message=f"{OUTPUTS_AGREE} {declared}, {trouble}")
    grade = "inconclusive" if odd else "errored"
    return Verdict(case.id, "layout", "weights", grade, message=f"no known layout explains it: the adapter {trouble}")


def _tried(group: Group, case: Case, runs: Runner, layout: str) -> Sequence[str]:
    try:
        return _departures(group, case, runs, layout)
    except NoAnswer as no:
        return (no.message,)


def _departures(group: Group, case: Case, runs: Runner, layout: str | None) -> Sequence[str]:
    """The names of the outputs and weight gradients that disagree with the rule."""
    stack = make_draws([case])
    runs.build(group.structure, layout)
    one = stack[0]
    answer = runs.call(group.regime, one.parameters, one.x, one.y)
    if answer.observation is None:
        return tuple(answer.problems)
    structure = group.structure
    if answer.judged_in is not None:
        structure = replace(structure, dtype=answer.judged_in)
        stack = stack.astype(structure.format.numpy)
    # From the inputs alone: compared from its own intermediate values, a transposed network would agree with itself.
    arithmetic = runs.describe().arithmetic_in(group.structure.dtype)
    alone = replace(answer.observation, z=None, x=None, k=None)
    compared = compare(structure, stack, [alone], arithmetic=arithmetic)
    return tuple(c.quantity for c in compared if (c.quantity == "outputs" or c.symbol == "W") and not c.worst[0] <= 1)
