"""What counts as the same failure."""

from dataclasses import replace

import pytest

from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.failures.shrinking.same_failure import FailureKind, Origin

F32, F64 = (f"1x1-tanh-b1-none-{dtype}-normal-s0" for dtype in ("f32", "f64"))


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({}, True),
        ({"quantity": "k_3", "at": (0,)}, True),
        ({"worst": 11.0}, True),
        ({"worst": 9.0}, False),
        ({"worst": 9e3}, True),
        ({"worst": 2e4}, False),
        # In another dtype the same relative error is another number of tolerances.
        ({"case": F64, "worst": 100 * 2.0**29}, True),
        ({"case": F64, "worst": 100.0}, False),
        ({"observed": float("nan")}, False),
        ({"quantity": "dE/dW_1", "check": "weight_gradients"}, False),
        ({"activation": "relu"}, False),
        ({"grade": "inaccurate"}, False),
        ({"expectation": "1"}, False),
        ({"message": "the same call, made again, gave other bits"}, False),
    ],
)
def test_what_counts_as_the_same(change: dict, is_same: bool) -> None:
    original = Verdict(F32, "k_terms", "k_1", "wrong", worst=100.0, activation="tanh")
    assert FailureKind.of(original).matches(replace(original, **change)) is is_same


def test_a_slight_failure_must_keep_half_of_its_orders_of_magnitude() -> None:
    slight = Verdict("c", "k_terms", "k_1", "inaccurate", worst=4.0, activation="tanh")
    kind = FailureKind.of(slight)
    assert kind.matches(replace(slight, worst=2.0))
    assert not kind.matches(replace(slight, worst=1.9))
    assert not kind.matches(None)


def test_messages_are_compared_without_names_and_numbers() -> None:
    one = Verdict("c", "contract", "observation", "wrong", message="dE/db_1 has shape (1, 3); it should be (3,)")
    kind = FailureKind.of(one)
    assert kind.matches(replace(one, message="dE/db_2 has shape (1, 2); it should be (2,)"))
    assert not kind.matches(replace(one, message="dE/db_2 has dtype float64; it should be float32"))
    layout = Verdict("c", "layout", "weights", "wrong", message="consistent with weights laid out (in, out)")
    assert FailureKind.of(layout).matches(replace(layout, message="another message"))


def test_how_wrong_a_wrong_number_is_depends_on_the_numbers() -> None:
    kind = FailureKind.of(Verdict(F64, "k_terms", "k_1", "wrong", worst=1e15, activation="tanh"))
    assert kind.matches(Verdict(F64, "k_terms", "k_1", "wrong", worst=1e300, activation="tanh"))
    assert kind.matches(Verdict(F64, "k_terms", "k_1", "wrong", worst=1e12, activation="tanh"))
    # A slope that is inaccurate far out is another mistake than a wrong slope.
    assert not kind.matches(Verdict(F64, "k_terms", "k_1", "wrong", worst=1e11, activation="tanh"))


def test_where_a_failure_begins_is_kept() -> None:
    failure = Verdict(F64, "weight_gradients", "dE/dW_1", "wrong", worst=1e12, activation="tanh")
    either, product = Origin(frozenset(("k", "dE/dW")), "tanh"), Origin(frozenset(("dE/dW",)), "tanh")
    kind = FailureKind.of(failure, Origin(frozenset(("k",)), "tanh"))
    assert kind.matches(failure, either)
    assert kind.matches(failure)
    assert not kind.matches(failure, product)
    assert not kind.matches(failure, Origin(frozenset(("k",)), "silu"))
