"""The order in which a sum adds its terms, as a tree, and a few words for the usual ones.

For example, ((t0 + t1) + t2) + t3 is the tree (((0, 1), 2), 3), and "one after another". A tree is found as FPRev does
it (Xie, Gao, Wang, Xue, arXiv 2411.00442): with a huge M as term i, -M as term j and ones elsewhere, the ones that are
added to either before the two cancel are lost. What is left of n counts the terms below the node where i and j meet.
"""

from collections.abc import Sequence

import numpy as np

from ...reference import Array

Tree = int | tuple["Tree", ...]
"""A term by its number, or what is added together, in the order of the first term of each. More than two parts are
added at once, without rounding between them.
"""


def make_tree(sizes: Array) -> Tree | None:
    """The tree whose smallest part with both i and j has `sizes[i, j]` terms; None if there is no such tree. `sizes` is
    a symmetric (n, n) array of integers; its diagonal does not count.
    """
    try:
        return _subtree(sizes, tuple(range(len(sizes))))
    except ValueError:
        return None


def _subtree(sizes: Array, terms: tuple[int, ...]) -> Tree:
    if len(terms) == 1:
        return terms[0]
    parts: list[list[int]] = []
    for term in terms:
        near = [part for part in parts if sizes[part[0], term] < len(terms)]
        if len(near) > 1 or any(sizes[one, term] > len(terms) for part in parts for one in part):
            raise ValueError(terms)
        if near:
            near[0].append(term)
        else:
            parts.append([term])
    if len(parts) == 1:
        raise ValueError(terms)
    for part in parts:
        inside = np.ix_(part, part)
        outside = [one for one in terms if one not in part]
        if (sizes[inside][~np.eye(len(part), dtype=bool)] > len(part)).any():
            raise ValueError(terms)
        if (sizes[np.ix_(part, outside)] != len(terms)).any():
            raise ValueError(terms)
    return tuple(_subtree(sizes, tuple(part)) for part in parts)


def terms_of(tree: Tree) -> tuple[int, ...]:
    """The terms of a tree, in ascending order."""
    if isinstance(tree, int):
        return (tree,)
    return tuple(sorted(term for part in tree for term in terms_of(part)))


def describe_order(tree: Tree | None) -> str:
    """A few words for an order: "unknown" where no tree was found or it is none of the usual ones."""
    if tree is None:
        return "unknown"
    return _describe(tree) or "another order"


def _describe(tree: Tree) -> str:
    """Words for an order of terms that may stand for parts; empty if it is none of the usual ones."""
    if isinstance(tree, int):
        return ""
    terms = terms_of(tree)
    if all(isinstance(part, int) for part in tree):
        return "all at once" if len(tree) > 2 else "one after another"
    if (chain := _chain(tree)) is not None:
        return chain
    return _halved(tree) or _in_lanes(tree, terms) or _in_blocks(tree, terms)


def _chain(tree: Tree) -> str | None:
    """Words for a running sum, of single terms or of k at once, forward or backward; None for anything else."""
    added: list[list[int]] = []
    while not isinstance(tree, int):
        inner = [part for part in tree if not isinstance(part, int)]
        if len(inner) > 1:
            return None
        added.append([part for part in tree if isinstance(part, int)])
        if not inner:
            break
        tree = inner[0]
    added.reverse()
    # The first two terms of a running sum are one node, whichever of them is first.
    flat = [term for some in added for term in some]
    forward, n = sorted(flat), len(flat)
    sizes = [len(some) for some in added]
    backward = [term for some in added for term in sorted(some, reverse=True)] == forward[::-1]
    if flat != forward and not backward:
        return None
    way = "" if flat == forward else ", from the last"
    if sizes[0] == 2 and set(sizes[1:]) <= {1}:
        return f"one after another{way}"
    # A running sum of blocks: the first block has no sum before it.
    if len(set(sizes[:-1])) == 1 and sizes[-1] <= sizes[0] and sizes[0] > 1:
        return f"{sizes[0]} at once, added to the sum before{way}" if n > sizes[0] else "all at once"
    return None


def _halved(tree: Tree) -> str:
    """Words for an order that halves the terms down to single ones; empty for anything else."""

    def halves(one: Tree) -> bool:
        if isinstance(one, int):
            return True
        sizes = [len(terms_of(part)) for part in one]
        return len(sizes) == 2 and abs(sizes[0] - sizes[1]) <= 1 and all(map(halves, one))

    return "in pairs" if halves(tree) else ""


def _in_lanes(tree: Tree, terms: Sequence[int]) -> str:
    """Words for k sums, of every k-th term each; empty for anything else."""
    for k in range(len(terms) // 2, 1, -1):
        lanes = [terms[lane::k] for lane in range(k)]
        if (words := _in_parts(tree, lanes)) is not None:
            inner, outer = words
            return f"{k} interleaved sums{inner}, {outer}"
    return ""


def _in_blocks(tree: Tree, terms: Sequence[int]) -> str:
    """Words for sums of k terms next to each other; empty for anything else."""
    for k in range(len(terms) // 2 + len(terms) % 2, 1, -1):
        blocks = [terms[start : start + k] for start in range(0, len(terms), k)]
        if (words := _in_parts(tree, blocks)) is not None:
            inner, outer = words
            return f"blocks of {k}{inner}, {outer}"
    return ""


def _in_parts(tree: Tree, parts: Sequence[Sequence[int]]) -> tuple[str, str] | None:
    """How each of the parts is summed, and how their sums are added, if each is a part of the tree."""
    subtrees = {terms_of(one): one for one in nodes_of(tree)}
    found = [subtrees.get(tuple(part)) for part in parts]
    if any(one is None for one in found):
        return None
    number = {tuple(part): i for i, part in enumerate(parts)}
    inner = {_describe(_renumbered(one)) for one in found if one is not None and not isinstance(one, int)}
    if len(inner) > 1:
        return None
    how = next(iter(inner), "")
    outer = _renumbered(_collapsed(tree, number))
    added = _describe(outer)
    if not added or (inner and not how):
        return None
    inside = "" if how in ("", "one after another") else f" ({how})"
    return inside, f"added {added}"


def nodes_of(tree: Tree) -> list[Tree]:
    """The tree and all its parts."""
    return [tree] if isinstance(tree, int) else [tree, *(node for part in tree for node in nodes_of(part))]


def _collapsed(tree: Tree, number: dict[tuple[int, ...], int]) -> Tree:
    """The tree with each part in place of its number."""
    if (terms := terms_of(tree)) in number:
        return number[terms]
    assert not isinstance(tree, int)
    return tuple(_collapsed(part, number) for part in tree)


def _renumbered(tree: Tree) -> Tree:
    """The same tree over the numbers 0 to n - 1."""
    place = {term: i for i, term in enumerate(terms_of(tree))}

    def again(one: Tree) -> Tree:
        return place[one] if isinstance(one, int) else tuple(again(part) for part in one)

    return again(tree)
