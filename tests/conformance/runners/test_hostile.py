"""Hostile and broken programs: each gets a clear verdict in time, and none harms the run."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kterm.adapters.registry import AdapterError
from kterm.conformance.runners import process
from kterm.conformance.runners.process import ProcessRunner
from kterm.conformance.runners.runner import NoAnswer
from kterm.reference import Array, Network, Parameters, Structure, backpropagate

from ...support.here import kterm_here
from ...support.hostile.table import KINDS, spec_of

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the hostile programs need POSIX")
PATIENCE = {"hung": 1.5}
"""Seconds, by the verdict that is due. The others never wait so long, also on a machine that does much else."""
STRUCTURE = Structure(Network((2, 3, 2), ("identity", "identity"), "pre"), 4, "f64")
MOST_TEXT = 4096


def _numbers(seed: int) -> tuple[Parameters, Array, Array]:
    rng = np.random.default_rng(seed)
    weights = (rng.normal(size=(2, 3)), rng.normal(size=(3, 2)))
    return (
        Parameters(weights, (rng.normal(size=3), rng.normal(size=2))),
        rng.normal(size=(4, 2)),
        rng.normal(size=(4, 2)),
    )


def _verdict(runner: ProcessRunner) -> tuple[str, str]:
    """What two calls of one program come to."""
    try:
        runner.build(STRUCTURE)
        for seed in (1, 2):
            given = _numbers(seed)
            answer = runner.call("normal", *given)
            if answer.problems or answer.observation is None:
                return "problems", "; ".join(answer.problems)
            due, found = backpropagate(STRUCTURE.network, *given), answer.observation
            pairs = [(found.outputs, due.outputs), (found.error, due.error)]
            pairs += [*zip(found.weight_gradients, due.weight_gradients, strict=True)]
            pairs += [*zip(found.bias_gradients, due.bias_gradients, strict=True)]
            if any(not np.allclose(one, other, 1e-12, 1e-12) for one, other in pairs):
                return "wrong", ""
    except NoAnswer as no:
        return no.kind, no.message
    return "right", ""


def _processes(mark: str) -> set[str]:
    """The processes that have a mark in their environment, apart from this one: what a test started, and what that
    started.
    """
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            marked, state = (path / "environ").read_bytes(), (path / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z" and mark.encode() in marked:
            found.add(path.name)
    return found


@pytest.fixture
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Other workers run hostile programs at the same time.
    mark = f"hostile-{os.getpid()}-{time.monotonic_ns()}"
    monkeypatch.setenv("KTERM_TEST_MARK", mark)
    yield
    end = time.monotonic() + 10
    while (left := _processes(mark)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not left


# Every second one takes part in each run of the tests, and none that is slow.
KINDS_HERE = [
    pytest.param(kind.name, marks=pytest.mark.heavy if number % 2 or kind.is_slow else ())
    for number, kind in enumerate(KINDS.values())
]


@pytest.mark.usefixtures("nothing_stays")
@pytest.mark.parametrize("name", KINDS_HERE)
def test_each_kind_gets_its_verdict(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = KINDS[name]
    timeout = PATIENCE.get(kind.verdict, 60.0)
    if name == "silence at first":
        monkeypatch.setattr(process, "LOADING", 0.8)
        timeout = 0.8
    try:
        runner = ProcessRunner(spec_of(name), timeout=timeout)
    except AdapterError as error:
        verdict, message = "load", str(error)
    else:
        described = runner.describe()
        assert described.name.isprintable()
        assert len(described.name) <= MOST_TEXT
        verdict, message = _verdict(runner)
        runner.close()
    assert (verdict, kind.words in message) == (kind.verdict, True), message
    assert message.isprintable()
    assert "Traceback" not in message
    assert len(message) <= MOST_TEXT


def test_there_are_kinds_enough() -> None:
    assert len(KINDS) == len({kind.change for kind in KINDS.values()}) >= 60


def _check(spec: str, folder: Path) -> tuple[int, str]:
    """The exit code of a whole run, and what it printed."""
    done = kterm_here("check", spec, "--profile", "smoke", "-n", "0", folder=folder)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.usefixtures("nothing_stays")
def test_a_process_that_dies_costs_the_case_that_runs(tmp_path: Path) -> None:
    code, said = _check(spec_of("exits with 3", 8, tmp_path / "flag"), tmp_path)
    counts = re.search(r"^planned (\d+) = (\d+) passed \+ 0 failed \+ 1 errored$", said, re.M)
    assert counts is not None, said
    assert (code, int(counts[2])) == (1, int(counts[1]) - 1)


@pytest.mark.usefixtures("nothing_stays")
@pytest.mark.parametrize(
    ("name", "due"), [("an unknown member", 0), ("one part in a million off", 1), ("everything is unsupported", 1)]
)
def test_wrong_numbers_do_not_conform_and_honest_ones_do(name: str, due: int, tmp_path: Path) -> None:
    code, said = _check(spec_of(name), tmp_path)
    assert code == due, said
    assert "Traceback" not in said
