"""Which equations of einsum are those of a dense layer."""

import pytest

from kterm.adapters.traces.keras.equations import read_equation


@pytest.mark.parametrize(
    ("equation", "bias", "features"),
    [
        ("ab,bc->ac", None, (1, 1)),
        ("ab,bc->ac", "c", (1, 1)),
        ("abc,cd->abd", "d", (1, 1)),
        ("...x, xy -> ...y", "y", (1, 1)),
        ("abc,cde->abde", "de", (1, 2)),
        ("abcd,cde->abe", "e", (2, 1)),
        ("abcd,cdef->abef", "fe", (2, 2)),
    ],
)
def test_an_equation_of_a_dense_layer(equation: str, bias: str | None, features: tuple[int, int]) -> None:
    assert read_equation(equation, bias) == features


@pytest.mark.parametrize(
    ("equation", "bias"),
    [
        ("abc,bd->adc", None),  # contracts an axis that is not the last
        ("abc,bcd->abd", None),  # a weight for each row
        ("ab,cb->ac", None),  # the weight lies otherwise
        ("abc,cd->adb", None),  # the rows are moved
        ("abcd,dce->abe", None),  # features in another order
        ("abc,cde->abde", "e"),  # a bias for some features
        ("abc,cd->abd", "bd"),  # a bias for each row
        ("abc,c->ab", None),  # no features
        ("ab,c->abc", None),
        ("ab,bb->ab", None),
        ("ab", None),
    ],
)
def test_another_equation(equation: str, bias: str | None) -> None:
    assert read_equation(equation, bias) is None
