"""Reproducers: scripts that need NumPy and the framework alone, and fail as they say."""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from kterm.adapters import Adapter, Observation, Script
from kterm.adapters.registry import is_installed, load
from kterm.conformance.case import parse_case
from kterm.conformance.draw import REGIMES, draw
from kterm.conformance.evidence import evidence
from kterm.conformance.failure import Failure, Planted, calls_of, find, planted
from kterm.conformance.literals import literal
from kterm.conformance.observe import Runner
from kterm.conformance.reproduce import Reproduced, diagnosis, ran, reproduce_case
from kterm.conformance.script import Unwritable, write
from kterm.reference import DTYPES, Array

from .. import miniatures
from ..command import kterm
from . import flawed

FLAWED = Path(flawed.__file__)
FRAMEWORKS = ("jax", "jax-eager", "jax-vmap", "torch", "torch-func")
# Nothing of kterm can be imported, whatever is installed.
_ALONE = "import runpy, sys; sys.modules['kterm'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"


@cache
def _loaded(name: str) -> Adapter:
    if not is_installed(name):
        pytest.skip(f"{name}'s framework is not installed")
    return load(name)


def _sources(text: str, adapter: Adapter) -> tuple[Failure, str]:
    """What `kterm reproduce` writes of a case, without a process for the adapter."""
    case, runner = parse_case(text, tuple(REGIMES)), Runner(adapter)
    found = find(case, calls_of(case), runner)
    assert found is not None, f"{text} does not fail"
    failure, verdict = found
    described = runner.describe()
    script = adapter.script(failure.structure)
    return failure, write(failure, script, described.version, diagnosis(verdict, described))


def _alone(source: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The script, run where there is no kterm."""
    path = folder / "bug.py"
    path.write_text(source, encoding="utf-8")
    command = [sys.executable, "-I", "-c", _ALONE, str(path)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def _imports(source: str) -> set[str]:
    found = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def _prose(source: str) -> str:
    """A script with its comments and paragraphs each in one line."""
    return re.sub(r"\s+(?:# +)?", " ", source)


def _assert_fails_as_it_says(source: str, folder: Path) -> str:
    """That it ends in the assertion whose numbers its docstring states; the line that the assertion says."""
    done = _alone(source, folder)
    assert done.returncode == 1, done.stdout + done.stderr
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("AssertionError: "), done.stderr
    numbers = r"(\S+) is (\S+); it should be (\S+) within (\S+)$"
    stated, found = re.search(f"^    {numbers}", source, re.M), re.search(numbers, said)
    if stated:
        assert found
        # NumPy's script has other formulas than the reference, and need not give its very bits.
        allowed = 2 * float(stated[4]) if "import torch" not in source and "import jax" not in source else 0.0
        assert (found[1], found[3], found[4]) == (stated[1], stated[3], stated[4])
        assert abs(float(found[2]) - float(stated[2])) <= allowed or np.isnan([float(found[2]), float(stated[2])]).all()
    return said


def _assert_fit_to_paste(source: str, framework: str) -> None:
    assert _imports(source) <= {"math", "numpy", *([framework] if framework != "numpy" else [])}
    assert "import kterm" not in source
    assert max(map(len, source.splitlines())) <= 120
    tree = ast.parse(source)
    assert ast.get_docstring(tree)
    stored = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    # What a framework gives as one tuple is named as a whole.
    assert stored - read <= {"E", "zs", "xs", "ks", "dW", "db"} | {name for name in stored if name[1:2] == "_"}


REAL = {
    "torch": (
        ("3x3-softplus-b3-none-f64-tails-s2", "x_1", "55587"),
        ("3x4x2-softplus.tanh-b4-post-f64-tails-s4", "x_1", "55587"),
        ("2x2-hard_sigmoid-b2-pre-f64-normal-s0", "k_1", "1.0f / 6.0f"),
    ),
    "jax": (
        ("2x3-elu-b2-pre-f32-tails-s0", "k_1", "39794"),
        ("2x3-selu-b2-none-f64-tails-s1", "k_1", "39794"),
        ("2x2x2-relu.identity-b2-none-f32-subnormal-s3", "z_1", "16200"),
    ),
}


def _real() -> Iterator[object]:
    for name in FRAMEWORKS:
        for case, quantity, words in REAL[name.split("-")[0]]:
            yield pytest.param(name, case, quantity, words, id=f"{name}-{case}")


@pytest.mark.parametrize(("name", "case", "quantity", "words"), list(_real()))
def test_a_real_divergence_is_reproduced_by_the_framework_alone(
    tmp_path: Path, name: str, case: str, quantity: str, words: str
) -> None:
    failure, source = _sources(case, _loaded(name))
    assert (failure.kind, failure.quantity) == ("numbers", quantity)
    assert words in source
    assert f"of case {case}." in _prose(source)
    _assert_fit_to_paste(source, name.split("-")[0])
    said = _assert_fails_as_it_says(source, tmp_path)
    assert f" {quantity}" in said


# The three planted mistakes change what comes forward, what goes back, and what is gathered at the end.


def _forward(observed: Observation) -> Observation:
    """The first pre-activation of the last layer doubled."""
    assert observed.z is not None
    last = observed.z[-1].copy()
    last[0, 0] *= 2
    return replace(observed, z=(*observed.z[:-1], last))


def _backward(observed: Observation) -> Observation:
    """k_1 with the wrong sign."""
    assert observed.k is not None
    return replace(observed, k=(-observed.k[0], *observed.k[1:]))


def _gathered(observed: Observation) -> Observation:
    """Bias gradients zero."""
    return replace(observed, bias_gradients=tuple(map(np.zeros_like, observed.bias_gradients)))


PLANTED: dict[str, tuple[Callable[[Observation], Observation], str]] = {
    "z_2": (_forward, "a pre-activation doubled"),
    "k_1": (_backward, "the sign of k_1 changed"),
    "dE/db_2": (_gathered, "bias gradients zero"),
}


def _planted(adapter: Adapter, text: str, quantity: str) -> Failure:
    case = parse_case(text, tuple(REGIMES))
    one, (change, mistake) = draw([case])[0], PLANTED[quantity]
    right = adapter.program(case.structure)(one.parameters, one.x, one.y)
    wrong = change(right)
    return Failure(
        "numbers", case.structure, case.regime, one, wrong, quantity, "", text, planted=planted(mistake, right, wrong)
    )


@pytest.mark.parametrize("quantity", PLANTED)
@pytest.mark.parametrize(
    ("name", "dtype"),
    [("numpy", "f64"), ("numpy", "f32"), ("torch", "bf16"), ("jax-vmap", "bf16")],
)
def test_a_planted_mistake_is_reproduced(tmp_path: Path, name: str, dtype: str, quantity: str) -> None:
    adapter = _loaded(name)
    failure = _planted(adapter, f"3x2x2-tanh.mish-b3-pre-{dtype}-normal-s1", quantity)
    source = write(failure, adapter.script(failure.structure), adapter.version)
    assert f"# A mistake is planted here: the rule with {PLANTED[quantity][1]}." in source
    _assert_fit_to_paste(source, name.split("-")[0])
    _assert_fails_as_it_says(source, tmp_path)
    # It is the mistake that fails: without it the script passes.
    mended = source.replace(" + addend\n", "\n")
    assert mended != source
    done = _alone(mended, tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize(
    ("kind", "bad", "case", "words"),
    [
        ("numbers", flawed.MeanOverBatch, "2x2-tanh-b3-pre-f64-normal-s0", "dE/dW_1"),
        ("numbers", flawed.NotANumber, "2x2-tanh-b3-pre-f32-normal-s0", "E is nan; it should be"),
        (
            "form",
            flawed.Misshapen,
            "2x3-relu-b3-pre-f32-normal-s0",
            "dE/db_1 is float32[1, 3]; it should be float32[3]",
        ),
        ("raised", flawed.Raises, "2x3-gelu-b3-none-f32-normal-s0", "RuntimeError('no kernel for this shape')"),
        ("inputs", flawed.Modifies, "2x3-sin-b3-post-f64-normal-s0", "y was [["),
        ("again", flawed.Unsteady, "2x3-mish-b3-pre-f64-normal-s0", "call 2 gives E as"),
        ("overwritten", flawed.Overwrites, "2x3-gelu_tanh-b2-pre-f64-normal-s0", "outputs was [["),
        ("sum", flawed.RowsMeet, "2x3-tanh-b4-pre-f64-normal-s0", "that of its rows adds up to"),
    ],
)
def test_each_kind_of_failure_is_shown(tmp_path: Path, kind: str, bad: type[Adapter], case: str, words: str) -> None:
    failure, source = _sources(case, bad())
    assert failure.kind == kind
    _assert_fit_to_paste(source, "numpy")
    assert words in _assert_fails_as_it_says(source, tmp_path)
    # The same calls without the flaw pass.
    sound = _loaded("numpy").script(failure.structure)
    done = _alone(write(failure, sound, "1"), tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_failure_in_a_descent_step_is_shown_with_the_weights_of_that_step(tmp_path: Path) -> None:
    case = "2x2-tanh-b3-pre-f64-normal-s0"
    failure, source = _sources(case, flawed.Late())
    assert (failure.kind, failure.quantity) == ("numbers", "dE/dW_1")
    first = draw([parse_case(case, tuple(REGIMES))])[0]
    assert not np.array_equal(failure.draw.parameters.weights[0], first.parameters.weights[0])
    _assert_fails_as_it_says(source, tmp_path)


def _deep(scale: float) -> tuple[Failure, Adapter]:
    """k_1 of a deep network, one entry off by a factor."""
    adapter, text = _loaded("torch"), "3x3x3x3x3x3x3x3x3x3-tanh-b2-pre-f32-normal-s1"
    case = parse_case(text, tuple(REGIMES))
    one = draw([case])[0]
    right = adapter.program(case.structure)(one.parameters, one.x, one.y)
    assert right.k is not None
    off = right.k[0].copy()
    off[1, 1] *= np.float32(1 + scale)
    wrong = replace(right, k=(off, *right.k[1:]))
    mistake = planted("k_1 a little off", right, wrong)
    return Failure("numbers", case.structure, case.regime, one, wrong, "k_1", "", text, planted=mistake), adapter


def test_what_the_whole_pass_would_hide_is_judged_from_the_step_before(tmp_path: Path) -> None:
    failure, adapter = _deep(2e-5)
    assert failure.observation is not None
    found = evidence(failure.structure, failure.draw, failure.observation, "k_1")
    assert found is not None
    assert list(found.given) == ["z_1", "k_2"]
    source = write(failure, adapter.script(failure.structure), "1")
    assert "in float64 from PyTorch's own z_1, k_2:" in source
    _assert_fails_as_it_says(source, tmp_path)
    other = source.replace('"z_1": np.array([[', '"z_1": np.array([[9')
    assert "z_1 is another on this machine" in _alone(other, tmp_path).stderr


def test_what_the_inputs_alone_show_is_judged_from_them() -> None:
    failure, adapter = _deep(1e-2)
    assert failure.observation is not None
    found = evidence(failure.structure, failure.draw, failure.observation, "k_1")
    assert found is not None
    assert (found.at, found.given) == ((1, 1), {})
    source = write(failure, adapter.script(failure.structure), "1")
    assert re.search(r"and so on, \d+ more steps", source)


def test_what_does_not_depart_is_not_written() -> None:
    failure, adapter = _deep(0.0)
    with pytest.raises(Unwritable, match="k_1 does not depart"):
        write(failure, adapter.script(failure.structure), "1")
    for kind in ("programs", "layout"):
        with pytest.raises(Unwritable, match="because"):
            write(replace(failure, kind=kind, message="because"), adapter.script(failure.structure), "1")


def test_an_infinity_that_is_right_is_not_asserted(tmp_path: Path) -> None:
    adapter, case = _loaded("numpy"), parse_case("1x2-identity-b1-none-f32-normal-s0", tuple(REGIMES))
    weights = (np.array([[3e38, 1.0]], np.float32),)
    one = draw([case])[0]
    one = replace(one, parameters=replace(one.parameters, weights=weights), x=np.full((1, 1), 2, np.float32))
    right = adapter.program(case.structure)(one.parameters, one.x, one.y)
    assert right.z is not None
    wrong = replace(right, z=(right.z[0] * np.array([[1, 2]], np.float32),))
    mistake = Planted("a pre-activation doubled", {"z_1": np.array([[0.0, 2.0]])})
    failure = Failure("numbers", case.structure, case.regime, one, wrong, "z_1", "", case.id, planted=mistake)
    source = write(failure, adapter.script(case.structure), "1")
    assert "np.inf" in source
    assert "z_1[0, 1] is 4.0; it should be 2.0" in _assert_fails_as_it_says(source, tmp_path)
    done = _alone(source.replace(" + addend\n", "\n"), tmp_path)
    assert done.returncode == 0, done.stderr


def test_an_exact_draw_is_held_to_its_very_numbers(tmp_path: Path) -> None:
    adapter, case = _loaded("numpy"), parse_case("2x2-relu-b2-pre-f32-lattice-s1", tuple(REGIMES))
    one = draw([case])[0]
    right = adapter.program(case.structure)(one.parameters, one.x, one.y)
    wrong = replace(right, error=np.nextafter(right.error, np.float32(np.inf)))
    mistake = planted("a bit flipped", right, wrong)
    failure = Failure("numbers", case.structure, case.regime, one, wrong, "E", "", case.id, planted=mistake)
    source = write(failure, adapter.script(case.structure), "1")
    assert "half of a unit in the last place" in _prose(source)
    _assert_fails_as_it_says(source, tmp_path)


@pytest.mark.parametrize("at", ["declared", "free"])
def test_a_slope_at_a_kink_is_told(at: str) -> None:
    adapter = _loaded("numpy")
    case = parse_case("4x4-relu-b4-none-f64-kinks-s0", tuple(REGIMES))
    one = draw([case])[0]
    right = adapter.program(case.structure)(one.parameters, one.x, one.y)
    assert right.z is not None
    assert right.k is not None
    assert (right.z[0] == 0).any()
    slope = np.where(right.z[0] == 0, 3.0, right.z[0] > 0)
    wrong = replace(right, k=((right.outputs - one.y) * slope,))
    declared = {"relu": {0.0: 1.0}} if at == "declared" else {}
    failure = Failure("numbers", case.structure, case.regime, one, wrong, "k_1", "", case.id, conventions=declared)
    source = _prose(write(failure, adapter.script(case.structure), "1"))
    assert "f' jumps at z = 0: there it is what the adapter declares" in source
    assert ("* 1.0 = " if at == "declared" else "* 0.5 = ") in source


@pytest.mark.parametrize("dtype", ["f64", "f32", "f16", "bf16"])
def test_literals_give_back_the_bits(dtype: str) -> None:
    kind = DTYPES[dtype].numpy
    random = np.random.Generator(np.random.Philox(1))
    bits = random.integers(0, 256, size=(4096, kind.itemsize), dtype=np.uint8)
    numbers = bits.view(kind).reshape(-1)
    with np.errstate(invalid="ignore"):
        numbers = numbers[np.isfinite(numbers.astype(np.float64))]
    count = len(numbers) // 12 * 12
    arrays: list[Array] = [numbers, numbers[:count].reshape(-1, 12), numbers[:6].reshape(2, 3), numbers[:3]]
    arrays += [numbers[0], numbers[:0].reshape(0, 4), -np.zeros(2, kind)]
    for array in map(np.asarray, arrays):
        source = literal(array)
        back = eval(source, {"np": np})
        assert back.shape == array.shape
        assert back.astype(kind).tobytes() == array.tobytes()
        assert max(map(len, source.splitlines())) <= 112
    assert np.array_equal(eval(literal(np.array([np.inf, -np.inf])), {"np": np}), [np.inf, -np.inf])


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_the_command_writes_the_script_and_runs_it(tmp_path: Path, name: str) -> None:
    _loaded(name)
    case = REAL[name][0][0]
    done = kterm("reproduce", case, name, "-o", "bug.py", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("bug.py fails as it says: AssertionError: ")
    assert done.stdout.count("\n") == 1
    assert "kterm" not in _imports((tmp_path / "bug.py").read_text(encoding="utf-8"))


def test_the_page_shows_a_script_as_it_is_written() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reproducers.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- reproducer: (\S+) (\S+) -->\n```python\n(.*?)^```", page, re.M | re.S)
    assert shown is not None
    _loaded(shown[2])

    def unversioned(source: str) -> str:
        source = re.sub(r'Written with .*?"""', "", source, count=1, flags=re.S)
        return re.sub(r'^"""JAX \S+:', "", source)

    found = reproduce_case(shown[1], shown[2])
    assert isinstance(found, Reproduced)
    assert unversioned(found.source) == unversioned(shown[3])


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("mutant", ["no-slope-hidden", "gradient-mean", "forward-no-bias"])
def test_a_mutant_is_reproduced_by_the_smallest_case_that_shows_it(tmp_path: Path, name: str, mutant: str) -> None:
    _loaded(name)
    found = reproduce_case("4x8x3-silu.tanh-b5-pre-f32-normal-s0", name, mutant=mutant)
    assert isinstance(found, Reproduced)
    assert max(*found.failure.structure.network.widths, found.failure.structure.batch) <= 2
    assert f"A mistake is planted in what {found.source[3:].split()[0]} gives: the rule with" in _prose(found.source)
    _assert_fit_to_paste(found.source, name)
    _assert_fails_as_it_says(found.source, tmp_path)
    done = _alone(found.source.replace(" + addend\n", "\n"), tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_mistake_that_is_planted_around_programs_has_no_script() -> None:
    found = reproduce_case("4x3-tanh-b5-pre-f32-normal-s0", "numpy", mutant="inputs-modified")
    assert isinstance(found, str)
    assert "this is planted around the framework's programs" in found


def test_not_shrunk_it_is_of_the_case_itself(tmp_path: Path) -> None:
    case = "4x3x2-tanh-b3-pre-f32-normal-s0"
    command = ("reproduce", case, f"{FLAWED}:MeanOverBatch", "-o")
    assert kterm(*command, "small.py", folder=tmp_path).returncode == 0
    assert kterm(*command, "large.py", "--no-shrink", folder=tmp_path).returncode == 0
    small, large = ((tmp_path / name).read_text(encoding="utf-8") for name in ("small.py", "large.py"))
    assert "1 layer, widths 1 to 1" in _prose(small)
    assert "2 layers, widths 4 to 3 to 2" in _prose(large)
    for source in (small, large):
        assert f"of case {case}." in _prose(source)


def test_without_a_file_the_script_is_printed(tmp_path: Path) -> None:
    done = kterm("reproduce", "2x2-tanh-b3-pre-f64-normal-s0", f"{FLAWED}:MeanOverBatch", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("the script fails as it says: AssertionError: ")
    assert "dE/dW_1" in _assert_fails_as_it_says(done.stdout, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["bug.py"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("2x2-tanh-b3-pre-f64-normal-s0", "numpy"), 1, "does not fail on numpy: there is nothing to reproduce"),
        (
            ("2x2-tanh-b3-pre-f64-normal-s0", f"{FLAWED}:OnlyTheAdapter", "-o", "bug.py"),
            1,
            "bug.py passes: the framework's own calls are right, and the mistake is in the adapter",
        ),
        (
            ("3x3x3-relu.leaky_relu-b5-pre-f32-layout-s0", f"{miniatures.__file__}:LiesAboutLayout"),
            1,
            "no script of the framework's calls shows it: consistent with weights laid out (in, out)",
        ),
        (("2x2-tanh-b3-pre-f64-normal-s0", f"{FLAWED}:NoScript"), 3, "no-script has no script"),
        (("2x2-tanh-b3-pre-bf16-normal-s0", "numpy"), 1, "numpy has no dtype bf16"),
        (("2x2-tanh", "numpy"), 2, "it should look like"),
        (("2x2-tanh-b3-pre-f64-normal-s0", "tensorflop"), 3, "tensorflop"),
        (
            ("2x2-tanh-b3-pre-f64-normal-s0", f"{FLAWED}:MeanOverBatch", "-o", "/proc/none/bug.py"),
            2,
            "-o /proc/none/bug.py: No such file or directory; name a file that can be written",
        ),
    ],
)  # fmt: skip
def test_exit_codes(tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = kterm("reproduce", *arguments, folder=tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert words in said
    assert len(said.strip().splitlines()) == 1, said


def test_how_a_script_ends_is_told(tmp_path: Path) -> None:
    def told(source: str, timeout: float = 60) -> tuple[bool, str]:
        path = tmp_path / "bug.py"
        path.write_text(source, encoding="utf-8")
        return ran(path, timeout)

    assert told("assert False, 'as it is'") == (True, "fails as it says: AssertionError: as it is")
    assert told("print(1)")[0] is False
    assert told("import nowhere") == (False, "does not run: ModuleNotFoundError: No module named 'nowhere'")
    assert told("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)") == (True, "ends its process with signal 11")
    assert told("import time\ntime.sleep(600)", 0.5) == (True, "hangs: it has not ended within 0.5 s")
    # Neither the folder that it is called in nor the user's own packages are on its path.
    (tmp_path / "numpy.py").write_text("raise SystemExit('not this one')", encoding="utf-8")
    assert told("import numpy\nassert False, numpy.__name__") == (True, "fails as it says: AssertionError: numpy")


def test_what_explains_a_failure_is_told() -> None:
    case = "3x2-sigmoid-b3-none-f64-normal-s0"
    adapter = miniatures.NoSlopeAtOutput()
    runner, parsed = Runner(adapter), parse_case(case, tuple(REGIMES))
    found = find(parsed, calls_of(parsed), runner)
    assert found is not None
    told = diagnosis(found[1], runner.describe())
    assert told.startswith("What it gives is the rule with ")
    script: Script = adapter.script(parsed.structure)
    assert told in _prose(write(found[0], script, "1", told))
