"""What to do about findings in words: the wrong form of an answer, an exception, a call that changes its arguments.

Each row of `FORMS` is a pattern of a message of the check `contract` and the fix. These findings are about what an
adapter returns and how it is called. So the fix is in the adapter whatever the framework does, unless a row says that
the framework may be wrong.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ....reference import ACTIVATIONS
from ...cases.case import Case
from .finding import Advice, Whose


@dataclass(frozen=True)
class Form:
    """A row: the messages that it is about, and the fix, in which {0}, {1} stand for the groups of the pattern."""

    pattern: str
    text: str
    whose: Whose = "adapter"


_GRADIENT = r"dE/d[Wb]_\d+"
_ARRAY = r"(outputs|E|[zxk]_\d+|dE/d[Wb]_\d+)"

FORMS: tuple[Form, ...] = (
    Form(r"E has shape \((?:1,\s*)+\)|E has shape \(1,\)", "give E without axes: np.asarray(E).reshape(())"),
    Form(r"E has shape \(\d", "E is one number: add up what is returned, over all outputs and rows"),
    Form(r"E is a (?:builtins\.float|builtins\.int)\b", "give np.asarray(E, x.dtype)"),
    Form(
        rf"no gradient reached {_GRADIENT}|{_GRADIENT} is a builtins\.NoneType|{_GRADIENT} has dtype object",
        "make this weight or bias a parameter that the framework differentiates, before the forward pass, and run "
        "backward on the loss that was computed from it",
        "either",
    ),
    Form(rf"{_ARRAY} is a builtins\.(?:list|tuple)\b", "give a NumPy array: np.asarray({0}, x.dtype)"),
    Form(rf"{_ARRAY} is a ", "convert it to a NumPy array before it is returned"),
    Form(
        r"bias_gradients holds \d+ arrays?; it should hold 0",
        "for a network without biases return bias_gradients=(); if the framework has no layer without biases, declare "
        'biases = ("pre",)',
    ),
    Form(
        r"x holds (\d+) arrays?; it should hold (\d+)",
        "show x_1 to x_n, one for each layer; the input x_0 is not among them",
    ),
    Form(
        r"([zk]) holds (\d+) arrays?; it should hold (\d+)",
        "show one array for each layer, {0}_1 to {0}_n, or leave {0} out",
    ),
    Form(
        r"(weight|bias)_gradients holds (\d+) arrays?; it should hold (\d+)",
        "return one array for each layer, in the order of the layers, the first first; look for a layer whose "
        "{0} is no parameter of the model",
    ),
    Form(
        r"dE/db_\d+ has shape \((\d+), (\d+)\); it should be \(\d+,\)",
        "a bias gradient has one entry for each unit of the layer: see whether the adapter is to add up the rows of "
        "the batch. If it returns what the framework gives for a bias, the framework does not add them up",
        "either",
    ),
    Form(
        r"only the backward pass gives",
        "outputs and E have the dtype that is asked for, so see whether the adapter converts the gradients, or starts "
        "the backward pass with a number of another dtype. If it returns what the framework gives, the framework does; "
        "declare result_dtypes if that is meant",
        "either",
    ),
    Form(
        r"has dtype (\w+); it should be (\w+)|come?s? back as (\w+)",
        "compute in the dtype of the inputs, and return x.dtype. If the framework has no such dtype, leave it out of "
        "dtypes",
    ),
    Form(
        r"inputs were modified in place",
        "see whether the adapter writes into the arrays that it gets, as an optimiser's step does: the suite takes the "
        "steps itself. If it only passes them on, the framework does; to go on, give it copies, np.array(weight)",
        "either",
    ),
    Form(
        r"earlier observation was changed|observation of \S+ was changed",
        "return copies, np.array(gradient): what is returned now is written over by the next call",
    ),
    Form(
        r"changed its answer after another structure",
        "keep nothing of a structure where the next build replaces it: in self, in the class or in the module. "
        "If the adapter keeps nothing, the framework does",
        "either",
    ),
    Form(
        r"answers as that does: every number it gives is one of",
        "see whether the adapter keeps programs, models or arrays by shape alone. If it keeps none, the framework does",
        "either",
    ),
    Form(
        r"the same call, made again, gave other bits",
        "see what a call leaves behind: gradients that are not cleared, a model that was updated, dropout or another "
        "source of randomness that is on. If the adapter leaves nothing, the framework does",
        "either",
    ),
    Form(
        r"(outputs|[zxk]_\d+) has shape \((\d+), (\d+)\); it should be \(\3, \2\)",
        "give one row for each example: turn {0} round, as in array.T",
    ),
    Form(r"has shape \(.*\); it should be", "return an array of that shape"),
    Form(
        r"should return an Observation",
        "return kterm.adapters.Observation(outputs, error, weight_gradients, bias_gradients)",
    ),
    Form(r"fill in holes? ", "fill in what is marked with HOLE"),
)
"""The messages of the check `contract`, the most special first."""

_KEYWORD = re.compile(r"unexpected keyword argument '(\w+)'")


def advise_on_words(message: str) -> Advice | None:
    """What to do about a message; None if no row is about it."""
    if keyword := _KEYWORD.search(message):
        named = [name for name, row in ACTIVATIONS.items() if keyword[1] in row.parameters]
        if named:
            how = f'"{named[0]}": lambda z, {keyword[1]}: ...'
            return Advice("adapter", f"let the function that is declared for {' and '.join(named)} take it: {how}")
    for row in FORMS:
        if found := re.search(row.pattern, message):
            return Advice(row.whose, row.text.format(*(group or "" for group in found.groups())))
    return None


def is_turned(message: str) -> bool:
    """Whether a message is about a weight gradient of the transposed shape."""
    found = re.search(r"dE/dW_\d+ has shape \((\d+), (\d+)\); it should be \((\d+), (\d+)\)", message)
    return found is not None and found.groups()[:2] == found.groups()[:1:-1]


def layer_of_shape(message: str, widths: Sequence[int]) -> int | None:
    """The layer whose weight has the shape that a message gives for another layer's gradient; None if it is no such
    message, or the shape of no one layer alone.
    """
    found = re.search(r"dE/dW_(\d+) has shape \((\d+), (\d+)\)", message)
    if found is None:
        return None
    own, *shape = map(int, found.groups())
    layers = [i for i, pair in enumerate(pairwise(widths), 1) if list(pair) == shape]
    return layers[0] if len(layers) == 1 and layers != [own] else None


def common_place(failing: Sequence[Case], others: Sequence[Case]) -> Advice | None:
    """What to do about a failure that is seen only in cases with one property, while others pass: an empty batch, or
    arrays that are not contiguous; or in all cases with a dtype or a bias placement, and in no other. None otherwise.
    """
    for is_there, advice in _PLACES:
        if all(map(is_there, failing)) and not all(map(is_there, others)):
            return advice
    for what, of in (("dtypes", _dtype), ("biases", _bias)):
        (first, *rest) = {of(case) for case in failing}
        if not rest and all(of(case) != first for case in others) and others:
            return Advice(
                "either", f'see what is different for "{first}"; if the framework has none, leave it out of {what}'
            )
    return None


def _dtype(case: Case) -> str:
    return case.structure.dtype


def _bias(case: Case) -> str:
    return case.structure.network.bias


_PLACES = (
    (
        lambda case: case.structure.batch == 0,
        Advice(
            "either",
            "see whether the loss is a mean, which an empty batch has none of: then declare "
            "limits = Limits(least_batch=1). If it is a sum, the framework is wrong: of no rows it is 0",
        ),
    ),
    (
        lambda case: case.regime == "strided",
        Advice(
            "adapter",
            'arrays may be strided or read-only: pass np.array(x, order="C") on, and so with y, weights and biases',
        ),
    ),
)
"""Properties that all failing cases have and no other case: whether a case has it, and what to do."""
