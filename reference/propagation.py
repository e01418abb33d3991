"""Every quantity of the rule with its rounding error, in the order of computation: what a verdict compares with."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from . import rounding
from .activations import ACTIVATIONS
from .error_model import Estimate, Reading
from .network import Array, Network, Parameters, Structure
from .rounding import Conventions
from .steps import Made, Work, run, start
from .value import Value


@dataclass(frozen=True)
class Shown:
    """The intermediate values that a framework shows: z_1..z_n, x_1..x_n and k_1..k_n, each (..., B, n_i).

    None stands for what it does not show: a whole field, or the value of one layer.
    """

    z: tuple[Array | None, ...] | None = None
    x: tuple[Array | None, ...] | None = None
    k: tuple[Array | None, ...] | None = None


@dataclass(frozen=True)
class Quantity:
    """One quantity of the rule with its error.

    `symbol` is z, x, E, k, W (for dE/dW) or b (for dE/db). Layers count from 1; E has layer 0. For k_i, `side` holds
    dE/dx_i, which is k_i before the multiplication by f'. For an x or a k of a layer whose activation has a `Tail`,
    `sharp` gives the estimate for a formula of f or f' that does not cancel; it is None for others.
    """

    symbol: str
    layer: int
    estimate: Estimate
    side: Array | None = None
    sharp: Callable[[], Estimate] | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The name in reports, such as z_2, E or dE/dW_1."""
        if self.symbol == "E":
            return "E"
        return f"dE/d{self.symbol}_{self.layer}" if self.symbol in "Wb" else f"{self.symbol}_{self.layer}"


def propagate(
    network: Network,
    parameters: Parameters,
    x: Array,
    y: Array,
    reading: Reading,
    shown: Shown | None = None,
    conventions: Conventions | None = None,
    changes: Sequence[Made] = (),
) -> Iterator[Quantity]:
    """Yield every quantity of the rule with its error, in the order of computation.

    The order is z_1, x_1, ..., z_n, x_n, E, k_n, ..., k_1, dE/dW_n, ..., dE/dW_1, dE/db_n, ..., dE/db_1. `x` (..., B,
    n_0), `y` (..., B, n_n) and the parameters are float64 arrays whose numbers are exact in the format under test. They
    may have leading axes.

    Where `shown` has a value, the next step starts from that value instead of the oracle's. Its error then does not
    grow with depth (a *local certificate*), and the first step that fails is the one with the mistake. `conventions`
    fixes the slopes exactly at kinks. `changes` makes it another rule: see `kterm.reference.steps`. The shapes are not
    validated.
    """
    shown = shown or Shown()
    values = {"z": shown.z, "x": shown.x, "k": shown.k}

    def give(name: str, computed: Value) -> Value:
        symbol, _, layer = name.partition("_")
        if symbol == "outputs":
            symbol, layer = "x", str(network.depth)
        some = values.get(symbol)
        own = None if some is None else some[int(layer) - 1]
        return computed if own is None else computed.shown_as(own)

    structure = Structure(network, x.shape[-2], reading.format.name)
    work = run(start(structure, parameters, x, y, reading, conventions=conventions), changes, give)
    for name, value in work.given.items():
        symbol, _, layer = name.partition("_")
        if name == "E":
            yield Quantity("E", 0, value.moved(lambda a: a[..., 0, 0]).estimate)
        elif symbol == "dE/db":
            yield Quantity("b", int(layer), value.moved(lambda a: a[..., 0, :]).estimate)
        elif symbol == "dE/dW":
            yield Quantity("W", int(layer), value.estimate)
        elif symbol == "k":
            i = int(layer)
            yield Quantity("k", i, value.estimate, work.s[i].value, _sharp_k(work, i))
        elif symbol == "x":
            yield Quantity("x", int(layer), value.estimate, sharp=_sharp_x(work, int(layer)))
        elif name != "outputs":
            yield Quantity(symbol, int(layer), value.estimate)


def _sharp_x(work: Work, i: int) -> Callable[[], Estimate] | None:
    row, reading, z = ACTIVATIONS[work.name(i)], work.reading, work.z[i]
    # A bias that is added behind f hides its tail.
    if row.tail is None or row.tail.f_terms is None or reading is None or work.network.bias == "post":
        return None
    sharp = replace(row, f_terms=row.tail.f_terms)
    return lambda: rounding.activation(sharp, z.estimate, reading)


def _sharp_k(work: Work, i: int) -> Callable[[], Estimate] | None:
    row, z, s = ACTIVATIONS[work.name(i)], work.z[i], work.s[i]
    reading = s.reading
    if row.tail is None or row.tail.slope_terms is None or reading is None:
        return None
    sharp = replace(row, slope_terms=row.tail.slope_terms)
    at_kinks = work.conventions.get(row.name)
    return lambda: rounding.hadamard(s.estimate, rounding.derivative(sharp, z.estimate, reading, at_kinks), reading)
