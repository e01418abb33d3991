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
from kterm.reference import Network, Parameters, Structure  # noqa: E402


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


class Seen(Torch):
    """PyTorch that keeps what its program is given."""

    given: list[Any] = []  # noqa: RUF012  (what the test reads)

    def make_backpropagate(self, structure: Structure) -> Any:
        inner = super().make_backpropagate(structure)

        def backpropagate(weights: Any, biases: Any, shifts: Any, x: Any, y: Any) -> Any:
            Seen.given = [*weights, x, y]
            return inner(weights, biases, shifts, x, y)

        return backpropagate


def test_only_x_keeps_fortran_order() -> None:
    structure = Structure(Network((3, 2), ("tanh",), "none"), 4, "f64")
    weight, x, y = (np.arange(float(m * n)).reshape(m, n) / 8 for m, n in ((3, 2), (4, 3), (4, 2)))
    program = Seen().build(structure)
    for is_fortran in (False, True):
        order = "F" if is_fortran else "C"
        weights = (np.array(weight.T, order=order),)  # PyTorch's layout is (out, in)
        program(Parameters(weights, ()), np.array(x, order=order), np.array(y, order=order))
        tensors = Seen.given
        assert [one.is_contiguous() for one in tensors] == [True, not is_fortran, True]
        assert [one.tolist() for one in tensors] == [weight.T.tolist(), x.tolist(), y.tolist()]
