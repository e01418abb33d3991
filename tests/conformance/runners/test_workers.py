"""The value of `-n`, the default adapters, and waiting for worker processes."""

import os
from concurrent.futures import Future

import pytest

from kterm.adapters.registry import AdapterError
from kterm.conformance.cases.plan import OptionError
from kterm.conformance.runners import workers
from kterm.conformance.runners.runner import NoAnswer


def test_a_number_of_workers_is_read() -> None:
    assert [workers.parse_workers(text) for text in ("0", "1", "12")] == [0, 1, 12]
    assert workers.parse_workers("auto") == workers.core_count() >= 1


@pytest.mark.parametrize("text", ["", "many", "-1", "1.5", "²", "٣", " 2", "2e3", "1025", "9" * 5000])
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(OptionError, match=r"-n .*: give .* workers") as caught:
        workers.parse_workers(text)
    assert "\n" not in str(caught.value)


def test_the_default_adapters_are_those_installed_and_never_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "is_installed", lambda name: name in ("jax", "numpy"))
    assert workers.choose_adapters(()) == ("jax",)
    assert workers.choose_adapters(("numpy", "torch", "numpy")) == ("numpy", "torch")
    monkeypatch.setattr(workers, "is_installed", lambda name: name == "numpy")
    with pytest.raises(AdapterError, match=r"pip install 'kterm\[torch\]' or pip install 'kterm\[jax\]'"):
        workers.choose_adapters(())


def test_waiting_raises_what_a_task_raised_and_counts_those_that_ended() -> None:
    ended: list[int] = []
    with workers.make_executor(0) as executor:
        workers.wait_for([executor.submit(int, "1"), executor.submit(int, "2")], lambda: ended.append(1))
        assert len(ended) == 2
        bad: Future[int] = executor.submit(int, "x")
        with pytest.raises(ValueError, match="invalid literal"):
            workers.wait_for([bad], poll=lambda: None)


def test_a_worker_process_that_ends_is_no_answer() -> None:
    with workers.make_executor(1) as executor, pytest.raises(NoAnswer, match="a worker process ended"):
        workers.wait_for([executor.submit(os._exit, 3)])
