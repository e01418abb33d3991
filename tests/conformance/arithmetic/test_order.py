"""Orders of summation: trees from what is left of a sum, and their names."""

import numpy as np
import pytest

from kterm.conformance.arithmetic.order import Tree, describe_order, make_tree, terms_of


def chain(n: int) -> Tree:
    tree: Tree = (0, 1)
    for term in range(2, n):
        tree = (tree, term)
    return tree


def backward(n: int) -> Tree:
    tree: Tree = (n - 2, n - 1)
    for term in range(n - 3, -1, -1):
        tree = (term, tree)
    return tree


def halves(first: int, n: int) -> Tree:
    return first if n == 1 else (halves(first, n // 2), halves(first + n // 2, n // 2))


def fused(k: int, n: int) -> Tree:
    tree: Tree = tuple(range(k))
    for start in range(k, n, k):
        tree = (tree, *range(start, start + k))
    return tree


def lanes(k: int, n: int) -> Tree:
    made: list[Tree] = []
    for lane in range(k):
        tree: Tree = (lane, lane + k)
        for term in range(lane + 2 * k, n, k):
            tree = (tree, term)
        made.append(tree)
    return ((made[0], made[1]), (made[2], made[3]))


def blocks(k: int, n: int) -> Tree:
    tree: Tree = chain(k)
    for start in range(k, n, k):
        block: Tree = (start, start + 1)
        for term in range(start + 2, start + k):
            block = (block, term)
        tree = (tree, block)
    return tree


def sizes_of(tree: Tree, n: int) -> np.ndarray:
    sizes = np.full((n, n), n)

    def visit(one: Tree) -> None:
        terms = terms_of(one)
        sizes[np.ix_(terms, terms)] = len(terms)
        if not isinstance(one, int):
            for part in one:
                visit(part)

    visit(tree)
    return sizes


ORDERS = {
    "one after another": chain(16),
    "one after another, from the last": backward(16),
    "in pairs": halves(0, 16),
    "4 at once, added to the sum before": fused(4, 16),
    "all at once": tuple(range(16)),
    "4 interleaved sums, added in pairs": lanes(4, 16),
    "blocks of 4, added one after another": blocks(4, 16),
}


@pytest.mark.parametrize("name", ORDERS)
def test_a_tree_is_found_and_named(name: str) -> None:
    tree = make_tree(sizes_of(ORDERS[name], 16))
    assert tree is not None
    assert describe_order(tree) == name


def test_sizes_of_no_tree_are_unknown() -> None:
    sizes = sizes_of(chain(8), 8)
    sizes[0, 7] = sizes[7, 0] = 3
    assert make_tree(sizes) is None
    assert describe_order(None) == "unknown"


def test_an_unusual_tree_has_no_name() -> None:
    odd: Tree = ((((0, 5), 3), (1, 7)), ((2, 6), 4))
    tree = make_tree(sizes_of(odd, 8))
    assert tree is not None
    assert describe_order(tree) == "another order"
