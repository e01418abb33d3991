"""Limits reach the plan from an adapter in another process."""

import sys
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import pytest

from kterm.adapters import Limits
from kterm.conformance.cases.description import Description
from kterm.conformance.cases.plan import make_options, plan
from kterm.conformance.runners.link import messages
from kterm.conformance.runners.process import ProcessRunner
from kterm.conformance.runners.runner import NoAnswer
from kterm.reference import Network, Structure

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


# Answers every request with what is right for some of them: it refuses nothing.
ANYTHING = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    result = {"program": 1}
    if asked["method"] == "initialize":
        result = {"protocol": 1, "name": "mine", "version": "1", "layout": "in_out", "dtypes": ["f64"],
                  "activations": ["tanh"], "biases": ["pre"], "limits": {"width": 4}}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
    if asked["method"] == "shutdown":
        break
"""


def test_a_program_is_not_asked_for_what_it_does_not_declare(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(ANYTHING, encoding="utf-8")
    with closing(ProcessRunner(f"command:'{sys.executable}' '{tmp_path / 'program.py'}'")) as runner:
        right = Structure(Network((2, 3), ("tanh",), "pre"), 2, "f64")
        runner.build(right)
        for changed, said in (
            (replace(right, dtype="f32"), "mine has no dtype f32"),
            (replace(right, network=Network((2, 3), ("relu",), "pre")), "mine has no activation relu"),
            (replace(right, network=Network((2, 3), ("tanh",), "none")), "mine has no bias placement none"),
            (replace(right, network=Network((5, 3), ("tanh",), "pre")), "mine: width 5 is above its limit of 4"),
        ):
            with pytest.raises(NoAnswer, match=said) as refused:
                runner.build(changed)
            assert refused.value.kind == "unsupported"


@pytest.mark.parametrize("limits", ["None", "Limits()"])
def test_no_limits_are_none(tmp_path: Path, limits: str) -> None:
    assert _described(tmp_path, limits).limits is None


def test_a_message_has_every_limit() -> None:
    assert set(messages.Limits.__struct_fields__) == {"max_structures", *(field.name for field in fields(Limits))}
