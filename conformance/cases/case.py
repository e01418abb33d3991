"""Cases, and the ids that name them: readable, stable, safe in a shell and in `pytest -k`, and parsed back to the
same case.
"""

import re
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import quote, unquote

from ...reference import BIASES, DTYPES, Network, Structure
from .exact_numbers import CANDIDATES

_ID = re.compile(
    r"(?P<widths>\d{1,19}(?:x\d{1,19})+)-(?P<activations>[a-z0-9_]+(?:\.[a-z0-9_]+)*)-b(?P<batch>\d{1,19})"
    r"-(?P<bias>[a-z]+)-(?P<dtype>[a-z0-9]+)-(?P<regime>[a-z]+)(?:-s(?:(?P<seed>\d{1,19})\.)?(?P<draw>\d{1,19}))?"
)
_EXAMPLE = "4x8x3-relu.tanh-b5-pre-f32-normal-s17"

MOST_WIDTH = MOST_BATCH = 2**17
MOST_DEPTH = 2**8
MOST_NUMBERS = 2**20
"""The most parameters and activations that a case may have in all, as in one layer of 1,023 by 1,023. Replaying a case
with its twin programs takes up to 520 bytes a number: about 0.7 GB at this bound. The largest planned case has 200,000
numbers.
"""


class CaseError(ValueError):
    """A case id that does not parse, with what is wrong and what it should look like, in one line."""


@dataclass(frozen=True)
class Group:
    """All the draws of one structure in one regime: what one worker runs, having compiled the structure once."""

    structure: Structure
    regime: str
    seed: int
    draws: tuple[int, ...]

    @property
    def id(self) -> str:
        """The cases' common id, without the draw."""
        return f"{structure_id(self.structure)}-{self.regime}"

    @property
    def cases(self) -> tuple["Case", ...]:
        """One case a draw."""
        return tuple(Case(self.structure, self.regime, self.seed, draw) for draw in self.draws)


@dataclass(frozen=True)
class Case:
    """A structure, a regime and a draw: `draw` is its index under `seed`."""

    structure: Structure
    regime: str
    seed: int
    draw: int

    @property
    def id(self) -> str:
        """For example 4x8x3-relu.tanh-b5-pre-f32-normal-s17; under another seed than 0, ...-s7.17."""
        seed = f"{self.seed}." if self.seed else ""
        return f"{structure_id(self.structure)}-{self.regime}-s{seed}{self.draw}"


def structure_id(structure: Structure) -> str:
    """For example 4x8x3-relu.tanh-b5-pre-f32; one activation name stands for all layers when they share it."""
    network = structure.network
    names = network.activations if len(set(network.activations)) > 1 else network.activations[:1]
    return f"{'x'.join(map(str, network.widths))}-{'.'.join(names)}-b{structure.batch}-{network.bias}-{structure.dtype}"


def traced_id(structure: Structure, layer: str) -> str:
    """The common id of the cases of a layer in the record of a trace. The layer stands behind an @, where other ids
    have the regime, and the step is the draw: 768x3072-gelu-b512-pre-f32-@blocks.7.up-s3.
    """
    return f"{structure_id(structure)}-{traced_place(layer)}"


def traced_place(layer: str) -> str:
    """The name of a layer as ids have it: behind an @, and without hyphens, blanks and what is not ASCII."""
    return "@" + quote(layer, safe="/[]:,+=()").replace("-", "%2D")


def traced_layer(case: str) -> str | None:
    """The layer in an id of a case, of a group or of a whole run; None if it is of no trace."""
    place = next((field for field in case.split("-") if field.startswith("@")), None)
    return None if place is None else unquote(place[1:])


def count_numbers(structure: Structure, regime: str) -> int:
    """How many numbers are held at once where a case is made: the parameters and the activations of every layer, inputs
    included, in every draw that is made at once.
    """
    widths = structure.network.widths
    parameters = sum(n * m + m for n, m in pairwise(widths))
    return (parameters + structure.batch * sum(widths)) * (CANDIDATES if regime == "lattice" else 1)


def parse_case(text: str, regimes: tuple[str, ...]) -> Case:
    """The case that an id names. Raises CaseError, in one line, for anything that is not the id of a case, and for a
    case that is larger than `MOST_WIDTH`, `MOST_DEPTH`, `MOST_BATCH` or `MOST_NUMBERS`.
    """
    shown = f"case id {_short(text)!r}"
    found = _ID.fullmatch(text)
    if found is None or found["draw"] is None:
        raise CaseError(f"{shown} does not parse; it should look like {_EXAMPLE}")
    if found["bias"] not in BIASES:
        raise CaseError(f"{shown}: bias {_short(found['bias'])!r} should be one of {', '.join(BIASES)}")
    if found["dtype"] not in DTYPES:
        raise CaseError(f"{shown}: dtype {_short(found['dtype'])!r} should be one of {', '.join(DTYPES)}")
    if found["regime"] not in regimes:
        raise CaseError(f"{shown}: regime {_short(found['regime'])!r} should be one of {', '.join(regimes)}")
    widths = tuple(map(int, found["widths"].split("x")))
    names = tuple(found["activations"].split("."))
    for what, given, most in (
        ("width", max(widths), MOST_WIDTH),
        ("depth", len(widths) - 1, MOST_DEPTH),
        ("batch", int(found["batch"]), MOST_BATCH),
    ):
        if given > most:
            raise CaseError(f"{shown}: {what} {given} is too large; the most is {most:,}")
    if len(names) == 1:
        names *= len(widths) - 1
    try:
        network = Network(widths, names, found["bias"])  # pyright: ignore[reportArgumentType]  (checked above)
        structure = Structure(network, int(found["batch"]), found["dtype"])
    except ValueError as error:
        raise CaseError(f"{shown}: {_short(str(error))}") from None
    if (numbers := count_numbers(structure, found["regime"])) > MOST_NUMBERS:
        raise CaseError(
            f"{shown}: it would hold {numbers:,} numbers, and the most is {MOST_NUMBERS:,}; give smaller sizes"
        )
    case = Case(structure, found["regime"], int(found["seed"] or 0), int(found["draw"]))
    if case.id != text:
        raise CaseError(f"{shown} is not in its one canonical form; did you mean {case.id}?")
    return case


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."
