"""The known mistakes that failing answers are compared with, in stages: the simplest first."""

from collections.abc import Iterable, Iterator

from ..hypothesis import STEP_OF, Hypothesis
from ..question import Question
from .activations import AT_ZERO, of_one_activation
from .families import fitted
from .formats import FORMATS, of_parts
from .known import in_some_layers, known, of_one_gradient, of_other_activations, pairs
from .losses import LOSSES, with_limits
from .machinery import STALE, of_a_twin, of_other_inputs

PLAIN: tuple[Hypothesis, ...] = (*known(), *STALE, *LOSSES, *AT_ZERO, *FORMATS)
"""The mistakes that have one form for all networks."""

_SYMBOLS = {**STEP_OF, "k": "drsk"}
_RANKS = {step: rank for rank, steps in enumerate(("zx", "E", "drsk", "W", "b")) for step in steps}
"""The order in which the steps of the rule are seen in an answer."""


def stages(question: Question) -> Iterator[Iterable[list[Hypothesis]]]:
    """The hypotheses about a question, in stages. Each stage is a series of lists; what comes in one list competes."""
    possible = steps_before(question)

    def kept(some: Iterable[Hypothesis]) -> list[list[Hypothesis]]:
        return [[one for one in some if one.steps & possible]]

    network, own = question.structure.network, question.activation
    others = of_other_inputs(question.earlier is not None, question.regime)
    yield [
        *kept((*PLAIN, *of_one_gradient(), *of_a_twin(network), *others)),
        *([one] for one in of_parts() if one.steps & possible),
    ]
    yield with_limits(question)
    yield fitted(question)
    yield kept((*in_some_layers(network, own, STALE), *of_other_activations(own), *of_one_activation(own)))
    yield kept(pairs())


def steps_before(question: Question) -> set[str]:
    """The steps in which a mistake must be made to be seen first in the quantity that departs first.

    If x, z and k are shown, these are the steps between it and the quantity shown before it. If not, they are all steps
    whose own results are hidden.
    """
    symbol = question.first.partition("_")[0]
    own = set(_SYMBOLS[symbol])
    shown = {name.partition("_")[0] for name in question.observed}
    if symbol == "outputs" or symbol == "x":
        return own | ({"z"} if "z" not in shown else set())
    if symbol in ("dE/dW", "dE/db") and "k" not in shown:
        return own | set("drsk") | ({"z", "x"} if "x" not in shown else set())
    if symbol == "k" and "x" not in shown:
        return own | {"z", "x"}
    return own


def first_rank(hypothesis: Hypothesis) -> int:
    """The place, in the order of the computation, of the first step that a hypothesis changes."""
    return min(_RANKS[step] for step in hypothesis.steps)


def rank_of(question: Question) -> int:
    """The place of the quantity that departs first."""
    return _RANKS[_SYMBOLS[question.first.partition("_")[0]][0]]
