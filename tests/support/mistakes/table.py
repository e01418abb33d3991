"""The mistakes: what the author did, the adapter, what is seen of it, and the advice."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from kterm.adapters import Adapter

from .adapters import (
    Dropout,
    FixedSlope,
    LastBuilt,
    NoTransposition,
    Unwritten,
    WrongLayout,
    accumulated,
    after_a_step,
    always_inside,
    answering,
    bias_ignored,
    in_float32,
    into_one_buffer,
    k_of_outputs,
    keeping,
    last_row,
    linear_output,
    mean,
    no_reversed,
    of_all,
    of_gradients,
    once,
    other_gelu,
    raises,
    scaled,
    shown,
    takes_a_step,
    with_first_weights,
    written,
)


@dataclass(frozen=True)
class Mistake:
    """An adapter with one mistake. `says` is in what was seen of it, and `fix` in the advice. `is_certain` says that
    the advice is a fix, since only the adapter can have made it; otherwise it names what to look at.
    """

    words: str
    """What the author did, as a page for readers puts it."""
    adapter: type[Adapter]
    says: str
    fix: str
    is_certain: bool = True


def _certain() -> Iterator[Mistake]:
    yield Mistake(
        "`weight_layout` is left at `IN_OUT`, or set to `OUT_IN`, and the other is true", WrongLayout,
        "consistent with weights laid out (in, out) where the adapter declares (out, in)",
        "write weight_layout = IN_OUT",
    )  # fmt: skip
    yield Mistake(
        "the weights are turned on the way in, and the gradients are not on the way out", NoTransposition,
        "dE/dW_1 has shape", "return each weight gradient with the axes of its weight, (out, in): transpose it",
    )  # fmt: skip
    yield Mistake(
        "a loss that is a mean over the batch is returned and differentiated", answering(mean),
        "the loss, in E and in the gradients, 1/B of what it should be", "returns structure.batch, or make the loss E",
    )  # fmt: skip
    yield Mistake(
        "the mean over all entries, as most frameworks have it",
        answering(lambda found, s, p, x, y: scaled(found, 2 / max(y.size, 1), 2 / max(y.size, 1))),
        "2/(B n_n) of what it should be", "returns structure.batch * structure.network.widths[-1] / 2",
    )  # fmt: skip
    yield Mistake(
        "the sum of squares without the half", answering(lambda found, s, p, x, y: scaled(found, 2, 2)),
        "the loss, in E and in the gradients, 2 times what it should be", "returns 1 / 2",
    )  # fmt: skip
    yield Mistake(
        "E has an axis", answering(lambda found, s, p, x, y: replace(found, error=found.error[None])),
        "E has shape (1,); it should be ()", "np.asarray(E).reshape(())",
    )  # fmt: skip
    yield Mistake(
        "E has an entry for each row",
        answering(lambda found, s, p, x, y: replace(found, error=np.square(found.outputs - y).sum(1) / 2)),
        "E has shape (5,); it should be ()", "add up what is returned, over all outputs and rows",
    )  # fmt: skip
    yield Mistake(
        "E is a Python float", answering(lambda found, s, p, x, y: replace(found, error=float(found.error))),
        "E is a builtins.float", "np.asarray(E, x.dtype)",
    )  # fmt: skip
    yield Mistake(
        "gradients are lists", answering(lambda found, s, p, x, y: of_gradients(found, lambda a: a.tolist())),
        "dE/dW_1 is a builtins.list", "np.asarray(dE/dW_1, x.dtype)",
    )  # fmt: skip
    yield Mistake(
        "a tuple in place of an `Observation`", answering(lambda found, s, p, x, y: (found.outputs, found.error)),
        "the program returned a tuple", "return kterm.adapters.Observation",
    )  # fmt: skip
    yield Mistake(
        "a layer is forgotten",
        answering(lambda found, s, p, x, y: replace(found, weight_gradients=found.weight_gradients[1:])),
        "weight_gradients holds", "one array for each layer, in the order of the layers",
    )  # fmt: skip
    yield Mistake(
        "bias gradients of a network without biases",
        answering(lambda found, s, p, x, y: replace(
            found, bias_gradients=tuple(np.zeros(n, x.dtype) for n in s.network.widths[1:]))),
        "it should hold 0", "return bias_gradients=()",
    )  # fmt: skip
    yield Mistake(
        "the weights are returned", answering(lambda found, s, p, x, y: replace(
            found, weight_gradients=p.weights, bias_gradients=p.biases)),
        "the weights and biases themselves in place of their gradients", "return the gradients; what comes back is",
    )  # fmt: skip
    yield Mistake(
        "the weights are returned after a step of an optimiser", answering(after_a_step),
        "W - 0.0625 dE/dW in place of dE/dW", "take no step before",
    )  # fmt: skip
    yield Mistake(
        "float64 comes back for float32",
        answering(lambda found, s, p, x, y: of_all(found, lambda a: a.astype(np.float64))),
        "float64", "in the dtype of the inputs",
    )  # fmt: skip
    yield Mistake(
        "float32 comes back for float64",
        answering(lambda found, s, p, x, y: of_all(found, lambda a: a.astype(np.float32))),
        "float32", "in the dtype of the inputs",
    )  # fmt: skip
    yield Mistake(
        "the arrays of the last call are returned again, with new numbers in them", keeping(list, into_one_buffer),
        "an earlier observation was changed by a later call", "return copies",
    )  # fmt: skip
    yield Mistake(
        "an activation that does not take its parameter", FixedSlope,
        "got an unexpected keyword argument 'slope'", '"leaky_relu": lambda z, slope: ...',
    )  # fmt: skip
    yield Mistake(
        "the bias is added inside the activation for `post` too, which is declared by default",
        answering(lambda found, *_: found, always_inside),
        "the bias placement 'pre' where 'post' is due", 'leave "post" out: biases = ("none", "pre")',
    )  # fmt: skip
    yield Mistake(
        "an array is written to, which may be read-only", answering(written),
        "read-only", "pass np.array(x",
    )  # fmt: skip
    yield Mistake(
        "arrays that the framework cannot take as they are in memory", answering(no_reversed),
        "At least one stride in the given numpy array is negative", "pass np.array(x",
    )  # fmt: skip
    yield Mistake(
        "z is shown after the activation, and x before it",
        answering(lambda found, s, p, x, y: replace(found, z=found.x, x=found.z), shown),
        "what is shown as z_1 is x_1 of the rule", "show z and x at the right place",
    )  # fmt: skip
    yield Mistake(
        "x begins with the input", answering(lambda found, s, p, x, y: replace(found, x=(x, *(found.x or ()))), shown),
        "x holds", "the input x_0 is not among them",
    )  # fmt: skip
    yield Mistake(
        "k is the gradient of the activations", answering(k_of_outputs, shown),
        "what is shown as k_1 is dE/dx_1 of the rule", "show k at the right place",
    )  # fmt: skip
    yield Mistake(
        "a hole is left", answering(raises), "fill in hole 5 of adapter.py", "fill in what is marked with HOLE"
    )
    yield Mistake(
        "build refuses everything", Unwritten, "no case was judged", "raise NotImplementedError only for",
    )  # fmt: skip


def _uncertain() -> Iterator[Mistake]:
    def unsure(words: str, adapter: type[Adapter], says: str, fix: str) -> Mistake:
        return Mistake(words, adapter, says, fix, False)

    yield unsure(
        "a mean, and the empty batch",
        answering(lambda found, s, p, x, y: replace(found, error=found.error * x.dtype.type(1 if len(x) else np.nan))),
        "E not finite where the rule gives a finite number", "see whether the loss is a mean",
    )  # fmt: skip
    yield unsure(
        "bias gradients with a row for each example",
        answering(lambda found, s, p, x, y: replace(
            found, bias_gradients=tuple(np.tile(b, (len(x), 1)) for b in found.bias_gradients))),
        "dE/db_1 has shape (5, 4); it should be (4,)", "see whether the adapter is to add up the rows",
    )  # fmt: skip
    yield unsure(
        "a step is taken in the arrays that were passed in", answering(takes_a_step),
        "inputs were modified in place", "see whether the adapter writes into the arrays",
    )  # fmt: skip
    yield unsure(
        "a program that can be called once", keeping(lambda: [True], once),
        "IndexError: pop from empty list", "see whether build makes something that a call uses up",
    )  # fmt: skip
    yield unsure(
        "gradients that nothing was propagated to",
        answering(lambda found, s, p, x, y: replace(found, weight_gradients=(None, *found.weight_gradients[1:]))),
        "dE/dW_1", "make this weight or bias a parameter that the framework differentiates",
    )  # fmt: skip
    yield unsure(
        "the backward pass alone gives float64 for float32",
        answering(lambda found, s, p, x, y: replace(
            found, weight_gradients=tuple(g.astype(np.float64) for g in found.weight_gradients),
            bias_gradients=tuple(g.astype(np.float64) for g in found.bias_gradients))),
        "only the backward pass gives float64", "whether the adapter converts the gradients",
    )  # fmt: skip
    yield unsure(
        "gradients are not cleared between calls", keeping(list, accumulated),
        "the same call, made again, gave other bits in dE/dW_1", "gradients that are not cleared",
    )  # fmt: skip
    yield unsure(
        "the structure is kept in the adapter, so that the next build replaces it", LastBuilt,
        "changed its answer after another structure", "keep nothing of a structure where the next build replaces it",
    )  # fmt: skip
    yield unsure(
        "weights are copied into the model once", keeping(list, with_first_weights),
        "the weights and biases of the program's first call", "see whether each call copies parameters into the model",
    )  # fmt: skip
    yield unsure(
        "another loss is differentiated than E",
        answering(lambda found, s, p, x, y: scaled(found, 1, 1 / max(len(x), 1))),
        "a mean over the batch instead of a sum", "see whether the program differentiates the E that it returns",
    )  # fmt: skip
    yield unsure(
        "E alone is a mean", answering(lambda found, s, p, x, y: scaled(found, 1 / max(len(x), 1), 1)),
        "E averaged over the batch", "E alone has another scale",
    )  # fmt: skip
    yield unsure(
        "the gradients of one example at a time are not added up", answering(last_row),
        "the last row of the batch alone", "see whether the gradients of all rows are added up",
    )  # fmt: skip
    yield unsure(
        "biases are not passed on", answering(lambda found, *_: found, bias_ignored),
        "no bias added", "see whether the program adds parameters.biases to each layer",
    )  # fmt: skip
    yield unsure(
        "the last layer is left linear", answering(lambda found, *_: found, linear_output),
        "no activation at the output layer", "see whether the last function of self.functions(structure) is called",
    )  # fmt: skip
    yield unsure(
        "an activation under another one's name", answering(lambda found, *_: found, other_gelu),
        "gelu_tanh in place of gelu", 'see whether activations["gelu"] is gelu_tanh in the framework',
    )  # fmt: skip
    yield unsure(
        "float64 is computed in float32", answering(lambda found, *_: found, in_float32),
        "everything computed in f32", "converts arrays to a narrower dtype",
    )  # fmt: skip
    yield unsure(
        "the layers are listed from the last to the first",
        answering(lambda found, s, p, x, y: replace(found, weight_gradients=found.weight_gradients[::-1],
                                                    bias_gradients=found.bias_gradients[::-1])),
        "dE/dW_1 has shape (4, 2); it should be (3, 4)", "this is the shape of W_2",
    )  # fmt: skip
    yield unsure("dropout is on", Dropout, "the same call, made again, gave other bits", "dropout")


MISTAKES: tuple[Mistake, ...] = (*_certain(), *_uncertain())
