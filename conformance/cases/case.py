"""Cases, and the ids that name them: readable, stable, safe in a shell and in `pytest -k`, and parsed back to the
same case.
"""

import re
from dataclasses import dataclass

from ...reference import BIASES, DTYPES, Network, Structure

_ID = re.compile(
    r"(?P<widths>\d{1,19}(?:x\d{1,19})+)-(?P<activations>[a-z0-9_]+(?:\.[a-z0-9_]+)*)-b(?P<batch>\d{1,19})"
    r"-(?P<bias>[a-z]+)-(?P<dtype>[a-z0-9]+)-(?P<regime>[a-z]+)(?:-s(?:(?P<seed>\d{1,19})\.)?(?P<draw>\d{1,19}))?"
)
_EXAMPLE = "4x8x3-relu.tanh-b5-pre-f32-normal-s17"


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


def parse_case(text: str, regimes: tuple[str, ...]) -> Case:
    """The case that an id names. Raises CaseError, in one line, for anything that is not the id of a case."""
    found = _ID.fullmatch(text)
    if found is None or found["draw"] is None:
        raise CaseError(f"case id {text!r} does not parse; it should look like {_EXAMPLE}")
    if found["bias"] not in BIASES:
        raise CaseError(f"case id {text!r}: bias {found['bias']!r} should be one of {', '.join(BIASES)}")
    if found["dtype"] not in DTYPES:
        raise CaseError(f"case id {text!r}: dtype {found['dtype']!r} should be one of {', '.join(DTYPES)}")
    if found["regime"] not in regimes:
        raise CaseError(f"case id {text!r}: regime {found['regime']!r} should be one of {', '.join(regimes)}")
    widths = tuple(map(int, found["widths"].split("x")))
    names = tuple(found["activations"].split("."))
    if len(names) == 1:
        names *= len(widths) - 1
    try:
        network = Network(widths, names, found["bias"])  # pyright: ignore[reportArgumentType]  (checked above)
        structure = Structure(network, int(found["batch"]), found["dtype"])
    except ValueError as error:
        raise CaseError(f"case id {text!r}: {error}") from None
    case = Case(structure, found["regime"], int(found["seed"] or 0), int(found["draw"]))
    if case.id != text:
        raise CaseError(f"case id {text!r} is not in its one canonical form; did you mean {case.id}?")
    return case
