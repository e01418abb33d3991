"""Limits reach the plan from an adapter in another process."""

from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest

from kterm.adapters import Limits
from kterm.conformance.cases.description import Description
from kterm.conformance.cases.plan import make_options, plan
from kterm.conformance.runners.link import messages
from kterm.conformance.runners.process import ProcessRunner

ADAPTER = """
import numpy as np
from kterm import Limits
from kterm.adapters.numpy_adapter import Numpy

class Small(Numpy):
    name = "small"
    limits = {limits}
    max_structures = np.int64(40)
"""


def _described(folder: Path, limits: str) -> Description:
    path = folder / "small.py"
    path.write_text(ADAPTER.format(limits=limits), encoding="utf-8")
    with closing(ProcessRunner(f"{path}:Small")) as runner:
        return runner.describe()


def test_limits_cross_the_link_and_cut_the_plan(tmp_path: Path) -> None:
    text = "Limits(width=np.int64(16), depth=3, batch=8, least_batch=1, speed=np.float64(1e5), hidden_alike=True)"
    described = _described(tmp_path, text)
    assert described.limits == Limits(width=16, depth=3, batch=8, least_batch=1, speed=1e5, hidden_alike=True)
    assert described.max_structures == 40
    widths = [max(g.structure.network.widths) for g in plan(described, make_options("quick", 0)).groups]
    assert max(widths) <= 16


@pytest.mark.parametrize("limits", ["None", "Limits()"])
def test_no_limits_are_none(tmp_path: Path, limits: str) -> None:
    assert _described(tmp_path, limits).limits is None


def test_a_message_has_every_limit() -> None:
    assert set(messages.Limits.__struct_fields__) == {"max_structures", *(field.name for field in fields(Limits))}
