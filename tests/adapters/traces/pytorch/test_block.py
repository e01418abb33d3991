"""The block of a capture: it leaves nothing behind, drops what did not end, and refuses what it cannot record."""

import copy
import gc
import io
import pickle
import weakref
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional

import kterm

from .models import Attended, Gated, Language, make_tokens, run_step


def look_at(model: nn.Module) -> list[Any]:
    """All that a capture could leave on a model and on PyTorch."""
    of_modules = [{key: copy.copy(value) for key, value in vars(module).items()} for module in model.modules()]
    return [of_modules, functional.linear, torch.autograd.backward, torch.autograd.grad, nn.Linear.forward]


@pytest.mark.parametrize("ending", ["ends", "raises", "interrupted"])
def test_nothing_stays_behind(ending: str) -> None:
    model = Language(Attended, tied=True)
    before = look_at(model)
    errors = {"raises": ValueError, "interrupted": KeyboardInterrupt}
    try:
        with kterm.capture(model):
            assert look_at(model)[1:4] != before[1:4]
            run_step(model)
            model.zero_grad()
            if ending in errors:
                raise errors[ending]
    except (ValueError, KeyboardInterrupt):
        assert ending in errors
    assert look_at(model) == before


def test_a_graph_that_outlives_the_block_keeps_nothing() -> None:
    model = Language(Gated)
    with kterm.capture(model) as trace:
        run_step(model)
        trace.end_step()
        loss = model(make_tokens()).sum()
        held = weakref.ref(trace)
    assert trace.memory == trace.bytes
    steps = len(trace.steps)
    loss.backward()
    assert len(trace.steps) == steps
    del trace
    gc.collect()
    assert held() is None


def test_calls_that_no_backward_pass_reaches_go_with_their_graph() -> None:
    model = Language(Gated)
    gc.collect()
    with kterm.capture(model) as trace:
        gc.disable()  # so no cycle of references is in the way
        try:
            model(make_tokens())
            weights = sum(parameter.nbytes for name, parameter in model.named_parameters() if "norm" not in name)
            assert trace.memory <= weights
            for _ in range(5):
                model(make_tokens())
            assert trace.memory <= weights
        finally:
            gc.enable()


def test_what_a_checkpoint_computes_anew_goes_with_its_pass() -> None:
    memory = []
    for kept in ("all", "plain"):
        torch.manual_seed(0)
        model = Language(Gated, kept=kept)
        with kterm.capture(model) as trace:
            run_step(model)
            memory.append(trace.memory)
    assert memory[0] == memory[1]


def run_and_fail(capture: Any, model: nn.Module) -> None:
    """A step that ends, and one that fails."""
    with capture:
        run_step(model)
        capture.end_step()
        run_step(model)
        raise ZeroDivisionError


def test_after_an_exception_steps_that_ended_stay(tmp_path: Path) -> None:
    for to in (None, tmp_path / "trace"):
        model = Language(Gated)
        capture = kterm.capture(model, to)
        with pytest.raises(ZeroDivisionError):
            run_and_fail(capture, model)
        assert len(capture.steps) == 1
    assert sorted(path.name for path in (tmp_path / "trace").iterdir()) == ["step-0000.safetensors", "trace.json"]


def test_a_copy_of_the_model_is_not_captured() -> None:
    model = Language(Gated)
    with kterm.capture(model) as trace:
        other, stored = copy.deepcopy(model), io.BytesIO()
        torch.save(model, stored)
        run_step(other)
        with pytest.raises(kterm.TraceError, match="no backward pass reached a dense layer"):
            trace.end_step()
        run_step(model)
    again = pickle.loads(pickle.dumps(other))
    run_step(again)
    assert [len(layer.calls) for layer in trace.manifest.steps[0].layers] == [1] * 15


def test_a_model_is_captured_once_at_a_time() -> None:
    model = Language(Gated)
    with kterm.capture(model) as outer:
        with pytest.raises(kterm.TraceError, match="another capture of this model is open; end its block first"):
            kterm.capture(model).__enter__()
        with kterm.capture(nn.Linear(2, 2)):
            run_step(model)
    assert len(outer.steps) == 1
    with pytest.raises(kterm.TraceError, match="used before; make a new one"), outer:
        pass
    with kterm.capture(model):
        pass


def test_a_compiled_program_is_left_alone() -> None:
    layer = nn.Linear(3, 2)
    with kterm.capture(layer) as trace:
        compiled = torch.compile(layer, backend="eager", fullgraph=True)
        compiled(torch.ones(4, 3)).sum().backward()
    with pytest.raises(kterm.TraceError, match="nothing was captured"):
        trace.trace()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.ReLU(), r"capture: ReLU has no dense layer \(nn.Linear, Conv1D\) to capture"),
        (nn.Conv2d(3, 2, 1), "capture: Conv2d has no dense layer"),
        (3, "capture: int is not a model of torch"),
        (torch.ones(3), "capture: Tensor is no torch.nn.Module; give the model itself"),
        (nn.Linear, "capture: type is not a model of torch"),
    ],
    ids=str,
)
def test_what_is_no_model_is_refused_in_one_line(model: Any, message: str) -> None:
    with pytest.raises(kterm.TraceError, match=message) as caught:
        kterm.capture(model)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(kterm.TraceError, match="the folder is not empty; name a new one"):
        kterm.capture(nn.Linear(2, 2), tmp_path)


def test_a_step_without_a_backward_pass_is_refused_and_may_go_on() -> None:
    model = Language(Gated)
    with kterm.capture(model) as trace:
        model(make_tokens())
        with pytest.raises(kterm.TraceError, match="call end_step after backward"):
            trace.end_step()
        run_step(model)
        trace.end_step()
    with pytest.raises(kterm.TraceError, match="the block has ended"):
        trace.end_step()
    with kterm.capture(model) as empty:
        pass
    with pytest.raises(kterm.TraceError, match="run the forward and the backward pass of the model inside the block"):
        empty.trace()
