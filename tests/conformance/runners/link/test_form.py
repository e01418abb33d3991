"""What is wrong with the form of an answer is said in the same words wherever the adapter runs: in this process, in the
suite's Python host, or as a program.
"""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from kterm.conformance.records.record import read
from kterm.conformance.runners.process import ProcessRunner, open_runner
from kterm.conformance.runners.runner import Answer, NoAnswer
from kterm.reference import Network, Parameters, Structure

from ....support.here import kterm_here
from ....support.program import as_program

ADAPTERS = """
from dataclasses import replace

import numpy as np
from kterm.adapters.numpy_adapter import Numpy
from kterm.adapters.quantities import arrays, with_arrays

class Odd(Numpy):
    dtypes = ("f64", "f32", "f16")

    def build(self, structure):
        program = super().build(structure)
        return lambda *given: self.change(program(*given))

def cast(observed, dtype, *names):
    return with_arrays(observed, {n: a.astype(dtype) for n, a in arrays(observed).items() if n in names or not names})

class Wide(Odd):
    name = "wide"
    def change(self, o): return cast(o, np.float64)

class WideError(Odd):
    name, result_dtypes = "wide-error", {"E": "f64"}
    def change(self, o): return cast(o, np.float64, "E")

class Narrow(Odd):
    name = "narrow"
    def change(self, o): return cast(o, np.float16)

class NoGradient(Odd):
    name = "no-gradient"
    def change(self, o): return replace(o, weight_gradients=(None, *o.weight_gradients[1:]))

class NoneInArray(Odd):
    name = "none-in-array"
    def change(self, o): return replace(o, weight_gradients=(np.asarray([None]), *o.weight_gradients[1:]))

class Integers(Odd):
    name = "integers"
    def change(self, o): return cast(o, np.int64, "outputs")

class Number(Odd):
    name = "number"
    def change(self, o): return replace(o, error=float(o.error))

class Reports(Odd):
    name = "reports"
    def change(self, o):
        raise RuntimeError('Traceback (most recent call last):\\n  File "a.py", line 1\\n    f()\\nKeyError: 3')

class Attribute(Odd):
    name = "attribute"
    def change(self, o): return replace(o, weight_gradients=(None.numpy(),))
"""

STRUCTURE = Structure(Network((2, 3, 1), ("tanh", "identity"), "pre"), 2, "f32")
NUMBERS = (
    Parameters(
        (np.ones((2, 3), np.float32), np.ones((3, 1), np.float32)), (np.zeros(3, np.float32), np.zeros(1, np.float32))
    ),
    np.ones((2, 2), np.float32),
    np.zeros((2, 1), np.float32),
)

MISSING = (
    "no gradient reached dE/dW_1: it is None; make W_1 a parameter that the framework differentiates, and compute the "
    "loss from that same W_1"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("odd")
    (found / "odd.py").write_text(ADAPTERS, encoding="utf-8")
    return found


def _specs(folder: Path, name: str) -> tuple[str, str]:
    """An adapter in Python, and the same as a program."""
    spec = f"{folder / 'odd.py'}:{name}"
    return spec, as_program(spec, folder)


def _answers(folder: Path, name: str) -> list[Answer | NoAnswer]:
    """What an adapter answers in this process, in the suite's host, and as a program."""
    spec, program = _specs(folder, name)
    found: list[Answer | NoAnswer] = []
    for runner in (open_runner(spec), ProcessRunner(spec), ProcessRunner(program)):
        with closing(runner):
            runner.build(STRUCTURE)
            try:
                found.append(runner.call("normal", *NUMBERS))
            except NoAnswer as no:
                found.append(no)
    return found


@pytest.mark.parametrize(
    ("name", "problems"),
    [
        ("NoGradient", (MISSING,)),
        ("NoneInArray", (MISSING,)),
        ("Integers", ("outputs has dtype int64; it should be float32",)),
        ("Number", ("E is a builtins.float; it should be a NumPy array: convert it before it is returned",)),
    ],
)
def test_a_wrong_form_has_the_same_words_everywhere(folder: Path, name: str, problems: tuple[str, ...]) -> None:
    for answer in _answers(folder, name):
        assert isinstance(answer, Answer)
        assert (answer.observation, answer.all_problems) == (None, problems)


@pytest.mark.parametrize(
    ("name", "said", "judged_in"),
    [
        ("Wide", "outputs, E, z_1 and more come back as float64 where float32 is asked for", None),
        ("WideError", "", None),
        ("Narrow", "outputs, E, z_1 and more come back as float16 where float32 is asked for", "f16"),
    ],
)
def test_another_dtype_is_found_everywhere(folder: Path, name: str, said: str, judged_in: str | None) -> None:
    for answer in _answers(folder, name):
        assert isinstance(answer, Answer)
        assert (answer.problems, answer.judged_in) == ((), judged_in)
        assert answer.dtype_problem.partition(";")[0] == said
        assert answer.observation is not None
        assert answer.observation.outputs.dtype == (np.float16 if judged_in else np.float32)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Reports", "RuntimeError: KeyError: 3"),
        (
            "Attribute",
            "AttributeError: 'NoneType' object has no attribute 'numpy' (is a gradient None? Then none reached that "
            "parameter)",
        ),
    ],
)
def test_an_error_has_the_same_words_everywhere(folder: Path, name: str, said: str) -> None:
    for answer in _answers(folder, name):
        assert isinstance(answer, NoAnswer)
        assert (answer.kind, answer.message) == ("raised", said)


@pytest.mark.parametrize("as_program", [False, True])
def test_a_run_has_one_cause_for_another_dtype(folder: Path, tmp_path: Path, as_program: bool) -> None:
    spec = _specs(folder, "Wide")[as_program]
    done = kterm_here("check", spec, "--profile", "smoke", "--dtype", "f32", "-n", "0", "--report", "r.jsonl",
                      folder=tmp_path)  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    record = read(tmp_path / "r.jsonl")
    assert [cause.worst.quantity for cause in record.causes] == ["dtype"]
    graded = {check for one in record.cases.values() for check, found in one.checks.items() if found.status == "passed"}
    assert {"layout", "forward", "k_terms", "weight_gradients", "descent", "batch"} <= graded
