"""A bias that is added to a rounded product: its errors have a mean, which is no finding where that is declared."""

import ml_dtypes
import numpy as np
import pytest

from kterm.adapters.traces.manifest import Call, Layer, Products
from kterm.adapters.traces.trace import Trace, TraceBuilder
from kterm.conformance.interfaces.models.judge import judge_trace
from kterm.reference import Array

BF16 = np.dtype(ml_dtypes.bfloat16)


def round_down(product: Array) -> Array:
    """Rounded toward zero to bf16, as a cast does that cuts the last 16 bits off."""
    return (product.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32).astype(BF16)


def make_trace(products: Products | None, cut: bool = False, steps: int = 40) -> Trace:
    """Steps of one layer with the same small bias, of one sign, as after a few steps of training."""
    rng = np.random.default_rng(0)
    w, b = rng.normal(size=(16, 24)).astype(BF16), rng.uniform(0, 4e-3, 24).astype(BF16)
    builder = TraceBuilder(framework="small", framework_version="1")
    for _ in range(steps):
        x = rng.normal(size=(48, 16)).astype(BF16)
        product = x.astype(np.float32) @ w.astype(np.float32)
        z = np.add(round_down(product) if cut else product.astype(BF16), b)
        call = Call(
            weight=builder.put("W", w),
            bias=builder.put("b", b),
            input=builder.put("x", x),
            output=builder.put("z", z),
            products=products,
        )
        builder.end_step([Layer(name="up", weight="up.weight", bias="up.bias", calls=(call,))], [])
    return builder.trace()


def failing(trace: Trace) -> set[str]:
    judgement = judge_trace(trace)
    assert not judgement.findings
    return {v.check for one in judgement.whole for v in one.verdicts if v.fails}


DECLARED = Products(separate_bias=True)


@pytest.mark.parametrize(
    ("products", "cut", "found"), [(None, False, {"bias"}), (DECLARED, False, set()), (DECLARED, True, {"bias"})]
)
def test_the_mean_of_the_addition_is_none_of_the_product(products: Products | None, cut: bool, found: set[str]) -> None:
    assert failing(make_trace(products, cut)) == found
