"""From what was seen of an adapter to findings: each cause with what to do about it, those of the adapter first."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ....adapters.layout import IN_OUT, OUT_IN
from ....adapters.registry import COMMAND
from ...cases.case import Case, parse_case
from ...cases.regimes import REGIMES
from ...checks.verdict import Verdict
from ...diagnosis.causes import Cause
from ...diagnosis.explanation import Explanation
from ...records.form.words import finding_lines
from .finding import Advice, Finding, Whose
from .look import Look
from .numbers import advise_on_numbers
from .shown import Misshown
from .words import advise_on_words, common_place, is_turned, layer_of_shape

_MOST_NAMED = 3
_LAYOUTS = {IN_OUT.name: ("IN_OUT", "in_out"), OUT_IN.name: ("OUT_IN", "out_in")}
_KEPT = ("accumulated", "momentum", "carried-over", "stale-", "constant-")
"""Mistakes that a repeated call shows too: with one of them known, that says nothing new."""


def findings_of(look: Look) -> list[Finding]:
    """What is wrong, the mistakes of the adapter first, and those that more cases show before others."""
    kept = any(mistake.name.startswith(_KEPT) for cause in look.causes for mistake in cause.mistakes)
    again = "the same call, made again"
    causes = [cause for cause in look.causes if cause.mistakes or not (kept and again in cause.worst.message)]
    # A layout probe that raises says nothing that other cases do not say.
    causes = [c for c in causes if c.worst.check != "layout" or c.worst.is_finding or len(causes) == 1]
    found = [*(_of_cause(cause, look) for cause in causes), *_of_misshown(look.misshown)]
    if not look.passed and not found:
        found.append(_nothing_judged(look))
    return sorted(_merged(found), key=lambda one: one.whose != "adapter")


def _merged(found: Iterable[Finding]) -> list[Finding]:
    """Findings with the same advice as one, unless it is advice for all kinds of findings: the first, and the number of
    all cases.
    """
    kept: dict[tuple[str, ...], Finding] = {}
    for one in found:
        key = (one.advice, *(one.seen if one.advice in (_UNKNOWN.text, _RAISED.text) else ()))
        before = kept.get(key)
        kept[key] = one if before is None else replace(before, cases=before.cases + one.cases)
    return list(kept.values())


def _of_cause(cause: Cause, look: Look) -> Finding:
    if cause.mistakes:
        return _of_mistakes(cause, look.adapter.spec.startswith(COMMAND))
    shown = cause.worst
    if not shown.message:
        numbers = (line.strip() for line in finding_lines(shown))
        seen = ("no known mistake explains the numbers", *numbers, *cause.description)
        return Finding("either", seen, _UNKNOWN.text, shown.case, cause.cases)
    if shown.check == "layout":
        advice = _on_layout(shown, look)
    else:
        # The first in the order of the plan, whose network is plain, and not the smallest: that has an empty batch.
        shown = next(iter(look.verdicts_of(cause)), shown)
        advice = _on_words(shown, cause, look)
    where = tuple(line for line in cause.description if line.startswith("fails in all"))
    return Finding(advice.whose, (shown.message, *where), advice.text, shown.case, cause.cases)


def _of_mistakes(cause: Cause, is_program: bool) -> Finding:
    """A finding whose numbers known mistakes explain: those with advice of their own, since the others give the same
    numbers for the same reason.
    """
    own: dict[Advice, Explanation] = {}
    for mistake in cause.mistakes:
        own.setdefault(advise_on_numbers(mistake, is_program), mistake)
    if any(mistake.name.startswith("mean-over-batch") for mistake in own.values()):
        # A mean over micro-batches of at least B rows is one over the batch.
        own = {advice: mistake for advice, mistake in own.items() if "micro-batches" not in mistake.name}
    named = list(own.items())[:_MOST_NAMED]
    words = ", or of ".join(f"the rule with {mistake.mistake}" for _, mistake in named)
    seen = (f"the answers are those of {words}", *(line.strip() for line in finding_lines(cause.worst)))
    # Several mistakes that give the same numbers have several fixes, and none of them is certain.
    whose: Whose = named[0][0].whose if len(named) == 1 else "either"
    advice = "; or ".join(advice.text for advice, _ in named)
    return Finding(whose, seen, advice, cause.worst.case, cause.cases, named[0][1].name)


def _on_layout(verdict: Verdict, look: Look) -> Advice:
    found = re.search(r"weights laid out (\(\w+, \w+\)) where", verdict.message)
    if verdict.is_finding and not look.is_layout_wrong:
        return Advice(
            "either",
            "the other probe agrees with weight_layout, so it is right: see whether the adapter turns some matrices "
            "round by their shape. If it does not, the framework does",
        )
    if verdict.is_finding and found and found[1] in _LAYOUTS:
        python, word = _LAYOUTS[found[1]]
        is_program = look.adapter.spec.startswith(COMMAND)
        return Advice("adapter", f'answer "layout": "{word}"' if is_program else f"write weight_layout = {python}")
    return advise_on_words(verdict.message) or _RAISED


_RAISED = Advice(
    "either",
    "see what the message says. If the exception is raised by the framework for what the adapter declares, and for "
    "arguments of the right form, the framework is wrong",
)
_UNKNOWN = Advice(
    "either",
    "kterm replay shows every step beside the rule's. If all steps are the framework's, the framework is wrong",
)


def _on_words(shown: Verdict, cause: Cause, look: Look) -> Advice:
    message = shown.message
    if look.is_layout_seen and is_turned(message):
        return Advice(
            "adapter",
            f"return each weight gradient with the axes of its weight, {look.adapter.layout}: transpose it; "
            "weight_layout is right, since the outputs agree with it",
        )
    if is_turned(message):
        return Advice("either", "see whether each weight gradient is returned with the axes of its weight")
    if other := layer_of_shape(message, _case_of(shown).structure.network.widths):
        return Advice(
            "either",
            f"see whether the gradients are returned in the order of the layers, the first first: this is the shape of "
            f"W_{other}",
        )
    if shown.grade == "errored" and _is_of_later_calls(cause, look):
        return Advice(
            "either",
            "the first call of each program was answered: see whether build makes something that a call uses up, and "
            "make it in the program. If the program only calls the framework, that raises when it is called again",
        )
    known = advise_on_words(message)
    if known is not None:
        return known
    placed = common_place([_case_of(verdict) for verdict in look.verdicts_of(cause)], look.passed)
    if placed is not None:
        return placed
    return _RAISED if shown.grade == "errored" else _UNKNOWN


def _is_of_later_calls(cause: Cause, look: Look) -> bool:
    """Whether the first call of each program was answered, and a later one raised."""
    verdicts = look.verdicts_of(cause)
    return all(_is_later(verdict) for verdict in verdicts)


def _is_later(verdict: Verdict) -> bool:
    return _case_of(verdict).draw > 0 or verdict.quantity != "program"


def _case_of(verdict: Verdict) -> Case:
    return parse_case(verdict.case, tuple(REGIMES))


def _of_misshown(found: Sequence[Misshown]) -> list[Finding]:
    """One finding for all arrays that are shown for what they are not."""
    if not found:
        return []
    smallest = min(found, key=lambda one: (len(one.case), one.case))
    own = [one for one in found if one.case == smallest.case]
    seen = [
        f"what is shown as {one.name} is {f'{one.is_really} of the rule' if one.is_really else 'not that'}: "
        f"{one.name}{list(one.at)} is {one.observed!r}, the rule has {one.expected!r}"
        for one in own[:_MOST_NAMED]
    ]
    seen.append("outputs, E and all gradients of the same calls agree with the rule")
    wrong = list(dict.fromkeys(one.name[0] for one in found))
    named = " and ".join(wrong)
    return [
        Finding(
            "adapter",
            tuple(seen),
            f"show {named} at the right place, z_i before and x_i after the activation and k_i = dE/dz_i, or leave "
            f"{named} out",
            smallest.case,
            len({one.case for one in found}),
            "misshown",
        )
    ]


def _nothing_judged(look: Look) -> Finding:
    why = [f"unsupported: {message}" for message in look.unsupported[:_MOST_NAMED]]
    return Finding(
        "adapter",
        ("no case was judged", *why),
        "let build raise NotImplementedError only for what the framework does not have, and declare the rest",
    )
