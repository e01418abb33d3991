"""What is measured of an adapter's arithmetic and not declared, in sentences."""

from collections.abc import Iterator, Mapping, Sequence

from ...reference.arithmetic import OPERAND_FORMATS, Arithmetic
from ..cases.description import Description
from .fingerprint import Fingerprint, ProductArithmetic
from .probes import BITS, TERMS_CHOPPED

_ROUNDS_TO_NEAREST = ("nearest", "nearest, ties away", "unknown", "exact")
_FLUSHED = {
    "all": "factors and results below the normal range become 0",
    "outputs": "results below the normal range become 0",
    "inputs": "factors below the normal range become 0",
}


def explain_by_arithmetic(fingerprint: Fingerprint, declared: Mapping[str, Arithmetic]) -> list[str]:
    """What is measured and is less exact than what is declared, a sentence each, such as "operands of products are cut
    to 11 bits (tf32) where the batch is at least 2, in f32". Where nothing is declared for a dtype, its usual
    arithmetic counts as declared, with gradual underflow. What is unknown is no difference.
    """
    found: dict[str, dict[str, str]] = {}
    for dtype in dict.fromkeys(one.dtype for one in fingerprint.measured):
        measured = [one for one in fingerprint.measured if one.dtype == dtype]
        by_sentence: dict[str, list[ProductArithmetic]] = {}
        for one in measured:
            for sentence in _differences(one, declared.get(dtype, Arithmetic())):
                by_sentence.setdefault(sentence, []).append(one)
        for sentence, some in by_sentence.items():
            found.setdefault(sentence, {})[dtype] = _where(some, measured)
    lines = []
    for sentence, by_dtype in found.items():
        for where in dict.fromkeys(by_dtype.values()):
            names = [dtype for dtype, one in by_dtype.items() if one == where]
            lines.append(f"{sentence}{where}, in {_listed(names)}")
    return lines


def find_contradictions(fingerprint: Fingerprint, described: Description) -> list[str]:
    """The sentences of `explain_by_arithmetic` on dtypes for which something is declared, and what is declared but does
    not happen: flushing that is not there.
    """
    declared = dict(described.arithmetic)
    own = Fingerprint(
        fingerprint.adapter,
        fingerprint.version,
        fingerprint.device,
        tuple(one for one in fingerprint.measured if one.dtype in declared),
    )
    kept = [one for one in own.measured if declared[one.dtype].flushing == "always" and one.flushing == "none"]
    names = list(dict.fromkeys(one.dtype for one in kept))
    lines = explain_by_arithmetic(own, declared)
    if names:
        lines.append(f"numbers below the normal range are kept, where flushing is declared always, in {_listed(names)}")
    return lines


def _differences(one: ProductArithmetic, declared: Arithmetic) -> Iterator[str]:
    own, cut = BITS[one.dtype], declared.cut
    kept = own if cut is None else min(own, cut.format.bits * cut.terms)
    bits = bits_of(one.operands, one.dtype)
    if bits is not None and bits < kept:
        name = "" if one.operands.endswith("bits") else f" ({one.operands})"
        yield f"operands of products are cut to {bits} bits{name}"
    elif one.operands.startswith("bf16x") or one.operands.startswith("tf32x"):
        if cut is None:
            yield f"operands of products are split into terms ({one.operands})"
    elif one.operands == "several terms":
        yield "products are rounded more than once"
    if one.operand_rounding not in _ROUNDS_TO_NEAREST and declared.operand_rounding == "nearest":
        yield f"operands of products are rounded {one.operand_rounding}"
    usual = max(own, 24) if one.dtype in ("bf16", "f16") else own
    due = usual if declared.accumulator is None else BITS[declared.accumulator]
    if one.accumulator is not None and one.accumulator < due:
        yield f"partial sums have {one.accumulator} bits"
    chopped = declared.rounding == "toward zero"
    if one.accumulation not in (*_ROUNDS_TO_NEAREST, *(("toward zero", TERMS_CHOPPED) if chopped else ())):
        yield f"partial sums are rounded {one.accumulation.replace(TERMS_CHOPPED, 'toward zero, term by term')}"
    is_sum = one.accumulator == own
    if one.store not in _ROUNDS_TO_NEAREST and not (is_sum and (chopped or one.store == one.accumulation)):
        yield f"results are rounded {one.store}"
    if one.flushing in _FLUSHED and declared.flushing in (None, "never"):
        yield _FLUSHED[one.flushing]


def bits_of(operands: str, dtype: str) -> int | None:
    """The bits that factors keep, from `ProductArithmetic.operands`; None if that does not say."""
    name, _, terms = operands.partition("x")
    if name in OPERAND_FORMATS and (not terms or terms.isdigit()):
        return min(OPERAND_FORMATS[name].bits * int(terms or 1), BITS[dtype])
    if operands == dtype:
        return BITS[dtype]
    count, _, rest = operands.partition(" ")
    return int(count) if count.isdigit() and rest.startswith("bits") else None


def _where(some: Sequence[ProductArithmetic], measured: Sequence[ProductArithmetic]) -> str:
    """The condition under which some of the measured products have a property; empty for all of them."""
    if len(some) == len(measured):
        return ""
    for many, words in ((True, "where the batch is at least 2"), (False, "where the batch is 1")):
        if list(some) == [one for one in measured if (one.batch > 1) == many]:
            return f" {words}"
    return f" of {_listed([f'{one.kind} (batch {one.batch})' for one in some])}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
