"""The smoke profile: the few cases that find every known mistake. Every profile begins with them.

They are data, measured and written by `kterm mutants --smallest`. If an adapter lacks an activation or a bias placement
of a case, another that it has takes its place.
"""

import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from ...reference import ACTIVATIONS, BIASES, Bias, Network, Structure, base_of
from .case import Group, parse_case
from .regimes import REGIMES

SHIPPED = Path(__file__).with_name("smoke.toml")
_HEAD = """\
# The smallest set of cases that finds every known mistake, each by at least ten tolerances, whether or not z, x and k
# are shown. Written by kterm mutants --smallest; the stars stand for the dtype.
"""


@dataclass(frozen=True)
class Recipe:
    """The first draws, under seed 0, of a network in a regime, for any dtype."""

    network: Network
    batch: int
    regime: str
    draws: int

    @property
    def name(self) -> str:
        """The id of its groups, with a star for the dtype."""
        return Group(Structure(self.network, self.batch, "f64"), self.regime, 0, ()).id.replace("-f64-", "-*-")

    def group(self, names: Sequence[str], biases: Sequence[Bias], dtype: str) -> Group | None:
        """The group in a dtype, for an adapter with these activations and bias placements; None if no activation suits
        the regime.
        """
        suited = [name for name in names if REGIMES[self.regime].pool(ACTIVATIONS[name])]
        if not suited:
            return None
        order, has = list(ACTIVATIONS), {base_of(name): name for name in names}
        given = tuple(has.get(n) or suited[order.index(n) % len(suited)] for n in self.network.activations)
        own = self.network.bias
        bias = own if own in biases else biases[BIASES.index(own) % len(biases)]
        network = replace(self.network, activations=given, bias=bias)
        return Group(Structure(network, self.batch, dtype), self.regime, 0, tuple(range(self.draws)))


def groups(
    recipes: Iterable[Recipe], names: Sequence[str], biases: Sequence[Bias], dtypes: Sequence[str]
) -> Iterator[Group]:
    """The groups of each recipe in each dtype."""
    for recipe in recipes:
        for dtype in dtypes:
            group = recipe.group(names, biases, dtype)
            if group is not None:
                yield group


@cache
def shipped() -> tuple[Recipe, ...]:
    """The recipes of the smoke profile; the one that shows most comes first."""
    return read(SHIPPED)


def read(path: Path) -> tuple[Recipe, ...]:
    """The recipes of a file, in its order. Raises CaseError if an entry names no structure."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["group"]
    return tuple(_recipe(entry["cases"], entry["draws"]) for entry in entries)


def _recipe(name: str, draws: int) -> Recipe:
    case = parse_case(f"{name.replace('-*-', '-f64-')}-s0", tuple(REGIMES))
    return Recipe(case.structure.network, case.structure.batch, case.regime, draws)


def text(recipes: Iterable[Recipe]) -> str:
    """The recipes as the text of a file."""
    return _HEAD + "".join(f'\n[[group]]\ncases = "{one.name}"\ndraws = {one.draws}\n' for one in recipes)


def recipe_of(group: Group) -> Recipe:
    """The recipe of a group: everything except its dtype."""
    structure = group.structure
    return Recipe(structure.network, structure.batch, group.regime, len(group.draws))
