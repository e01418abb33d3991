"""What to do about findings in numbers, by the name of the known mistake that explains them.

A number that departs from the rule was computed by the framework, or by the adapter around it. The advice says what to
look at in the adapter, and when the framework is wrong. It is a fix only if it holds either way: the loss that a
program returns and differentiates is E by the contract, and a weight is no gradient.
"""

import re
from dataclasses import dataclass

from ...diagnosis.explanation import Explanation
from .finding import Advice, Whose

_FRAMEWORK = "If the adapter does not do this itself, the framework does"

_SCALES = {
    "1/B": ("structure.batch", "B"),
    "2/B": ("structure.batch / 2", "B / 2"),
    "1/(B n_n)": ("structure.batch * structure.network.widths[-1]", "B n_n"),
    "2/(B n_n)": ("structure.batch * structure.network.widths[-1] / 2", "B n_n / 2"),
    "2": ("1 / 2", "1/2"),
    "1/2": ("2", "2"),
}
"""What E is in units of the loss that a program returns, by the name of the factor: in Python and in words."""


@dataclass(frozen=True)
class Row:
    """The mistakes whose names or words match a pattern, and what to do."""

    pattern: str
    text: str
    whose: Whose = "either"


ROWS: tuple[Row, ...] = (
    Row(
        r"^parameters-for-gradients",
        "return the gradients; what comes back is the weights and biases that were passed in",
        "adapter",
    ),
    Row(
        r"^updated-weights",
        "return the gradients, and take no step before: what comes back is the weights and biases after a step",
        "adapter",
    ),
    Row(
        r"^(error-|scaled-error)",
        "all gradients agree with the rule, so E alone has another scale: return the sum of (outputs - y)**2 over "
        "outputs and rows, over 2. If E is a loss of the framework that is documented as that, the framework is wrong",
    ),
    Row(
        r"^(mean-over-|factor-|scaled-residual|sign\b)",
        "outputs and E agree with the rule, and the gradients have another scale: see whether the program "
        "differentiates the E that it returns, or a loss of the framework such as a mean. Return such a loss as it is, "
        "with the method error_scale. If it is the same E, the framework is wrong",
    ),
    Row(
        r"the bias placement 'none'|^forward-no-bias|^forward-no-outer-bias",
        "see whether the program adds parameters.biases to each layer. If the framework has no biases, declare "
        'biases = ("none",)',
    ),
    Row(
        r"the bias placement 'pre' where 'post'",
        'for "post", add the bias to the activation, f(x W) + b; or leave "post" out: biases = ("none", "pre")',
        "adapter",
    ),
    Row(
        r"the bias placement 'post' where 'pre'",
        'for "pre", add the bias before the activation, f(x W + b); or leave "pre" out of biases',
        "adapter",
    ),
    Row(
        r"^parameter(-\w+)?@(\w+) with",
        "see whether the function that is declared for {1} uses the parameter that it gets by keyword. If it passes it "
        "on, the framework ignores it",
    ),
    Row(
        r"^(?:other-activation|f-of-other)@(\w+)-for-(\w+)",
        'see whether activations["{1}"] is {0} in the framework. If it is {1} there, the framework is wrong',
    ),
    Row(
        r"^forward-no-activation|^linear-output",
        "see whether the last function of self.functions(structure) is called. If the framework's last layer is always "
        "linear, declare limits = Limits(last_identity=True)",
    ),
    Row(
        r"last-row|first-row|micro-batches|^batch-",
        "see whether the gradients of all rows are added up: a loop over examples must keep the sum, and not the last. "
        f"{_FRAMEWORK}",
    ),
    Row(
        r"^(accumulated|momentum|carried-over)",
        "see whether gradients are cleared in each call, before the backward pass, and whether an optimiser is on. "
        f"{_FRAMEWORK}",
    ),
    Row(
        r"^(constant-|stale-weights|stale-biases)",
        "see whether each call copies parameters into the model, and whether the backward pass uses the copies. "
        f"{_FRAMEWORK}",
    ),
    Row(
        r"^stale-",
        "see what a program keeps from call to call, and what programs share: in self, in the class, in a cache. "
        "If the adapter keeps nothing, the framework does",
    ),
    Row(
        r"^(gradient-order|all-gradients-order)",
        "see whether the gradients are returned in the order of the layers, the first first. "
        "If they are as the framework lists them by layer, the framework is wrong",
    ),
    Row(
        r"^gradient-(transposed|reshaped)",
        "see whether each weight gradient is returned with the axes of its weight. If it is as the framework gives it, "
        "the framework is wrong",
    ),
    Row(
        r"^(computed-in|backward-in|forward-in|error-in)-(\w+)|^(\w+)-products",
        "see whether the adapter, or a setting of the framework, converts arrays to a narrower dtype, as JAX does "
        "unless jax_enable_x64 is set. Otherwise leave the dtype out of dtypes, or declare its arithmetic",
    ),
    Row(
        r":0\b|-zero\b|stopped-after-last",
        "no gradient reaches this place: see whether the loss was computed from this parameter, without a detached "
        f"copy on the way. {_FRAMEWORK}",
    ),
    Row(
        r"^strides-ignored",
        "see whether the adapter passes the memory of an array on, without its strides. If it passes a NumPy array, "
        "the framework ignores them",
    ),
    Row(r"^(weight-decay|decay|bias-decay)", f"see whether a weight decay is on. {_FRAMEWORK}"),
    Row(
        r"clipped|norm-clipped",
        f"see whether gradients are clipped. {_FRAMEWORK}",
    ),
)
"""The advice by mistake, the most special first."""

_GENERAL = (
    "If the adapter computes this step itself, look there. If it only calls the framework's own layers, activations "
    "and loss, the framework is wrong"
)


def advise_on_numbers(mistake: Explanation, is_program: bool) -> Advice:
    """What to do about a mistake that explains failing numbers. `is_program` says that the adapter is a program, whose
    base class is not kterm's.
    """
    if mistake.name.startswith("scaled-loss:"):
        return _on_loss(mistake.name.partition(":")[2], is_program)
    for row in ROWS:
        for text in (mistake.name, mistake.mistake):
            if found := re.search(row.pattern, text):
                return Advice(row.whose, row.text.format(*(group or "" for group in found.groups()), "", ""))
    return Advice("either", _GENERAL)


def _on_loss(factor: str, is_program: bool) -> Advice:
    # The loss is of the last layer, so the units of "the layer" are the outputs.
    factor = factor.replace("n_i", "n_n").replace("n_{i+1}", "n_n")
    python, words = _SCALES.get(factor, ("E over the loss that is returned", f"1 / ({factor})"))
    if is_program:
        text = f"multiply E and all gradients by {words}: the loss has another scale than E, the sum of squares over 2"
    else:
        text = (
            "the loss has another scale than E, the sum of squares over 2: give the class the method "
            f"error_scale(self, structure) that returns {python}, or make the loss E"
        )
    return Advice("adapter", f"{text}. If the framework documents the loss as just that, the framework is wrong")
