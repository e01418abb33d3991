"""Adapters that emulate other arithmetic conform if they declare it. If they do not, their failure names it."""

from typing import ClassVar

import pytest

from kterm.conformance.arithmetic.fingerprint import Fingerprint, ProductArithmetic
from kterm.conformance.cases.description import Description, describe
from kterm.conformance.interfaces.api import check_adapter
from kterm.conformance.records.report import arithmetic_lines
from kterm.reference.arithmetic import Arithmetic

from ...support.frameworks.biased import Truncated
from ...support.frameworks.emulated import (
    EMULATED,
    Bf16,
    Emulated,
    Tf32,
    Tf32InBatches,
    undeclared,
)


@pytest.mark.parametrize("adapter", EMULATED, ids=lambda adapter: adapter.__name__)
def test_an_adapter_that_declares_its_arithmetic_conforms(adapter: type[Emulated]) -> None:
    check_adapter(adapter(), profile="smoke").raise_if_failed()


@pytest.mark.parametrize(
    ("adapter", "sentence"),
    [
        (Tf32, "operands of products are cut to 11 bits (tf32), in f32"),
        (Tf32InBatches, "operands of products are cut to 11 bits (tf32) where the batch is at least 2, in f32"),
        (Bf16, "operands of products are cut to 8 bits (bf16), in f32"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_an_adapter_that_does_not_declare_it_fails_and_it_is_named(adapter: type[Emulated], sentence: str) -> None:
    results = check_adapter(undeclared(adapter), profile="smoke")
    assert not results.conforms
    assert results.undeclared == (sentence,)
    assert f"emulated: measured, and not declared: {sentence}" in str(results)


class _Truncated(Truncated):
    """Declares what it does."""

    arithmetic: ClassVar[dict[str, Arithmetic]] = {"f32": Arithmetic(rounding="toward zero")}


def test_errors_toward_zero_are_no_bias_where_they_are_declared() -> None:
    declared = check_adapter(_Truncated(), profile="quick", activations=["identity"], dtypes=["f32"])
    assert declared.conforms
    outward = [one.means["outward"] for one in declared.judged if one.quantity == "dE/dW"]
    assert [mean.value < -mean.limit for mean in outward] == [True]
    undeclared_run = check_adapter(Truncated(), profile="quick", activations=["identity"], dtypes=["f32"])
    assert "bias" in {verdict.check for verdict in undeclared_run.failures}


@pytest.mark.parametrize(
    ("arithmetic", "is_one_sided"),
    [
        (Arithmetic(), False),
        (Arithmetic(rounding="toward zero"), True),
        (Arithmetic(operands="tf32", operand_rounding="toward zero"), True),
        (Arithmetic(operand_rounding="toward zero"), False),
        (Arithmetic(operands="tf32"), False),
    ],
)
def test_only_what_is_cut_has_one_side(arithmetic: Arithmetic, is_one_sided: bool) -> None:
    assert arithmetic.is_one_sided == is_one_sided


def test_a_declaration_travels_as_plain_data() -> None:
    described = describe(Tf32(), "spec")
    assert described.arithmetic == (("f32", Arithmetic(operands="tf32")),)
    assert described.arithmetic_in("f32") == Arithmetic(operands="tf32")
    assert described.arithmetic_in("f64") is None
    assert Description.from_json(described.to_json()) == described


def test_a_report_names_what_is_measured_and_not_declared() -> None:
    one = ProductArithmetic("f32", "z", 1, "tf32", "nearest", 24)
    measured = Fingerprint("mine", "1.0", "cpu", (one,)).to_json()
    header = {"name": "mine", "arithmetic": {}, "fingerprint": measured}
    assert arithmetic_lines(header) == [
        "mine: measured, and not declared: operands of products are cut to 11 bits (tf32), in f32"
    ]
    assert arithmetic_lines({**header, "arithmetic": {"f32": Arithmetic(operands="tf32").to_json()}}) == []
    assert arithmetic_lines({**header, "fingerprint": None}) == []
