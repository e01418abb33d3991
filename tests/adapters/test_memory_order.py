"""PyTorch's inner arrays in Fortran order: a kernel that reads them in the order of memory is found."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from kterm.adapters.torch_adapter import Torch  # noqa: E402  (after the skip)
from kterm.conformance.cases.case import Group, parse_case  # noqa: E402
from kterm.conformance.cases.regimes import REGIMES  # noqa: E402
from kterm.conformance.checks.examine import examine  # noqa: E402
from kterm.conformance.runners.runner import LocalRunner  # noqa: E402


def _flat(tensor: Any) -> Any:
    """The numbers in the order of memory, in the same shape."""
    return tensor.mT.reshape(tensor.shape) if tensor.mT.is_contiguous() and not tensor.is_contiguous() else tensor


class _FlatTanh(torch.autograd.Function):
    """A tanh whose backward reads memory order instead of strides, as in pytorch#175188."""

    orders: set[tuple[bool, bool]] = set()  # noqa: RUF012  (what the tests read)

    @staticmethod
    def forward(ctx: Any, z: Any) -> Any:
        out = torch.tanh(z)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (out,) = ctx.saved_tensors
        (gradient,) = gradients
        _FlatTanh.orders.add((out.is_contiguous(), gradient.is_contiguous()))
        return _flat(gradient) * (1 - _flat(out) ** 2)


class Flat(Torch):
    """PyTorch with that tanh."""

    name = "flat"
    activations = {"tanh": lambda z: _FlatTanh.apply(z)}  # noqa: RUF012  (declared by the base)


def _failing(adapter: Torch, regime: str) -> set[int]:
    case = parse_case(f"4x5x6x3-tanh-b7-pre-f64-{regime}-s0", tuple(REGIMES))
    group = Group(case.structure, case.regime, 0, (0, 1, 2, 3))
    verdicts = examine(group, LocalRunner(adapter)).verdicts
    return {i for i, some in enumerate(verdicts) if any(v.is_finding for v in some)}


def test_a_kernel_that_ignores_the_strides_of_inner_arrays_is_found() -> None:
    assert not _failing(Torch(), "strided")
    assert not _failing(Flat(), "normal")
    assert _FlatTanh.orders == {(True, True)}
    assert len(_failing(Flat(), "strided")) == 1  # the one of four draws whose inputs are in Fortran order
    assert (False, False) in _FlatTanh.orders


def test_tensors_keep_fortran_order_only_where_asked() -> None:
    from kterm.adapters.frameworks.shared.torch_shared import to_tensor

    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    for given in (array, array[:, ::-1], np.repeat(array, 2, axis=1)[:, ::2]):
        kept, plain = to_tensor(given, "cpu", keeps_order=True), to_tensor(given, "cpu")
        assert plain.is_contiguous()
        assert kept.is_contiguous() != given.flags.f_contiguous
        assert kept.tolist() == plain.tolist() == given.tolist()
