"""The cases of `kterm smoke`: one small network, and others that differ from it in one thing each.

An adapter that is asked for a float32 network has to do one thing more than for the first, and so it is with no bias,
the other bias placement, an empty batch, arrays of other memory orders, or one more activation. So what goes wrong in
one of them and not in the first says what the adapter does not do.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ....adapters import Limits
from ....reference import BIASES, DTYPES, Bias, Network, Structure
from ...cases.case import Group
from ...cases.description import Description
from ...cases.limited import cut_groups
from ...cases.plan import OptionError, Options, plan

_BATCH = 5
_WIDTHS = (3, 4, 2)
_OTHER_WIDTHS = ((2, 5, 3), (4, 3, 2), (3, 2, 4), (5, 4, 3), (4, 2, 5))
"""The widths of networks that differ from the first in the dtype or in the bias placement. A framework that keeps
programs by shape alone then does not answer with the program of another; networks of one shape are asked for as twins.
"""
_CURVED = ("tanh", "sigmoid", "softplus", "silu", "sin")
"""The activations of the first network, the first that there is: f' is nowhere 0 or 1 for long."""
_TOGETHER = 4
"""How many activations a network has that is asked for in float32."""


def plan_smoke(adapter: Description) -> tuple[Group, ...]:
    """The groups to ask an adapter for, layout probes first, as far as it declares them and they are within its limits.

    Raises OptionError if nothing is left.
    """
    probes = [one for one in plan(adapter, Options("smoke")).groups if one.regime == "layout"]
    groups = tuple(_distinct((*probes, *_within(adapter.limits, list(_networks(adapter))))))
    if not groups:
        raise OptionError(f"{adapter.name}: its limits leave no network to ask for; raise limits of width or entries")
    return groups


def _networks(adapter: Description) -> Iterator[Group]:
    names, first = adapter.activations, _first_activation(adapter)
    dtype = "f64" if "f64" in adapter.dtypes else min(adapter.dtypes, key=lambda name: DTYPES[name].u)
    bias: Bias = "pre" if "pre" in adapter.biases else adapter.biases[0]
    network = Network(_WIDTHS, (first, first), bias)
    structure = Structure(network, _BATCH, dtype)
    yield Group(structure, "normal", 0, (0, 1))
    others = iter(_OTHER_WIDTHS)
    for name in (one for one in adapter.dtypes if one != dtype):
        yield Group(Structure(replace(network, widths=next(others)), _BATCH, name), "normal", 0, (0, 1))
    for other in (one for one in BIASES if one in adapter.biases and one != bias):
        yield Group(Structure(replace(network, widths=next(others), bias=other), _BATCH, dtype), "normal", 0, (0, 1))
    deep = Network((3, 4, 4, 4, 2), (first,) * 4, bias)
    yield Group(Structure(deep, 4, dtype), "normal", 0, (0,))
    for rows in (1, 0):
        yield Group(replace(structure, batch=rows), "degenerate", 0, (0, 1) if rows else (0,))
    # Of these arrays x is reversed in the first, and read-only in the second, if it has no biases.
    yield Group(Structure(Network((3, 2), (first,), bias), _BATCH, dtype), "strided", 0, (0, 1))
    plain: Bias = "none" if "none" in adapter.biases else bias
    yield Group(Structure(Network((3, 4, 2, 3), (first,) * 3, plain), _BATCH, dtype), "strided", 0, (0, 1))
    other = next((name for name in names if name != first), first)
    yield Group(replace(structure, network=replace(network, activations=(first, other))), "twins", 0, (0, 1))
    for narrow in ((3, 1, 2), (4, 3, 1)):
        yield Group(Structure(replace(network, widths=narrow), _BATCH, dtype), "normal", 0, (0, 1))
    for name in names:
        yield Group(Structure(Network((3, 2), (name,), bias), _BATCH, dtype), "normal", 0, (0, 1))
    if dtype == "f64" and "f32" in adapter.dtypes:
        yield from _in_f32(names, bias)


def _in_f32(names: Sequence[str], bias: Bias) -> Iterator[Group]:
    """Every activation in float32, where a constant of a formula may be in float64: several in one network, since each
    network may have to be compiled.
    """
    for at in range(0, len(names), _TOGETHER):
        some = tuple(names[at : at + _TOGETHER])
        widths = (4, *(5 + i % 2 for i in range(len(some) - 1)), 3)
        yield Group(Structure(Network(widths, some, bias), 6, "f32"), "normal", 0, (0,))


def _first_activation(adapter: Description) -> str:
    return next((name for name in _CURVED if name in adapter.activations), adapter.activations[0])


def _within(limits: Limits | None, groups: Sequence[Group]) -> Iterator[Group]:
    if limits is None:
        yield from groups
    else:
        for fitted in cut_groups(groups, limits)[0]:
            yield from fitted


def _distinct(groups: Iterable[Group]) -> list[Group]:
    found: dict[str, Group] = {}
    for group in groups:
        found.setdefault(group.id, group)
    return list(found.values())
