"""A run does not conform if nothing but layout probes, or only unsupported cases, was judged for some adapter. It says
so, whatever narrowed it.
"""

from pathlib import Path

import pytest

from kterm.conformance.cases.plan import OptionError
from kterm.conformance.checks.verdict import Status
from kterm.conformance.interfaces.api import check_adapter, parametrize_with_cases
from kterm.conformance.records.coverage import cover
from kterm.conformance.records.record import read

from ...support.command import pytest_run
from ...support.here import kterm_here

ADAPTERS = """
from kterm.adapters import Limits
from kterm.adapters.numpy_adapter import Numpy

class Smooth(Numpy):
    name = "smooth"
    dtypes = ("f32",)
    activations = {name: Numpy.activations[name] for name in ("identity", "tanh")}

class Refusing(Smooth):
    name = "refusing"

    def build(self, structure):
        raise NotImplementedError("not this one")

class OnlyProbes(Smooth):
    name = "only-probes"

    def build(self, structure):
        if structure.network.widths not in ((3, 3, 3), (2, 3, 4)):
            raise NotImplementedError("only two networks")
        return super().build(structure)

class Tiny(Smooth):
    name, limits = "tiny", Limits(entries=4)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(ADAPTERS, encoding="utf-8")
    return tmp_path


PROBES = ", no case beside the layout probes"
NOTHING = "no case is left by what was asked for and what it declares"


@pytest.mark.parametrize(
    ("names", "options", "said"),
    [
        (("Refusing",), (), {"refusing": " unsupported"}),
        (("OnlyProbes",), (), {"only-probes": f" unsupported{PROBES}"}),
        (("Smooth",), ("--regime", "kinks"), {"smooth": f"2 passed{PROBES}"}),
        (("Smooth",), ("--regime", "kinks", "--regime", "lattice", "--activation", "tanh"), {"smooth": PROBES}),
        (("Tiny", "Smooth"), ("--regime", "converged"), {"tiny": NOTHING}),
        (("Smooth", "numpy"), ("--activation", "relu", "--regime", "converged"), {"smooth": NOTHING}),
        (("Smooth", "numpy"), ("--dtype", "f64", "--regime", "converged"), {"smooth": NOTHING}),
        (("Smooth", "Refusing"), ("--regime", "converged"), {"refusing": " unsupported"}),
    ],
)
def test_a_run_that_judges_nothing_of_an_adapter_does_not_conform(
    folder: Path, names: tuple[str, ...], options: tuple[str, ...], said: dict[str, str]
) -> None:
    specs = [name if name == "numpy" else f"mine.py:{name}" for name in names]
    done = kterm_here("check", *specs, "--profile", "smoke", *options, "-n", "0", "--report", "r.jsonl", folder=folder)
    assert done.returncode == 1, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("nothing was checked of ")]
    assert len(lines) == len(said)
    for line, (name, words) in zip(lines, said.items(), strict=True):
        assert line.startswith(f"nothing was checked of {name}: ")
        assert line.endswith(words)
    assert "\ndoes not conform (componentwise)\n" in done.stdout
    record = read(folder / "r.jsonl")
    assert (record.unchecked, record.conforms) == (tuple(said), False)


@pytest.mark.parametrize(
    ("selected", "status", "said"),
    [
        ("layout", 1, "nothing was checked of smooth: 2 passed, no case beside the layout probes"),
        ("numpy", 0, "no part of this run: smooth; every case of it was deselected"),
    ],
)
def test_a_run_of_pytest_leaves_out_what_is_deselected(folder: Path, selected: str, status: int, said: str) -> None:
    adapters = ("--kterm-adapter", "mine.py:Smooth", *(("--kterm-adapter", "numpy") if selected == "numpy" else ()))
    options = ("--kterm-profile", "smoke", "--kterm-regime", "converged", "-p", "no:cacheprovider", "-n", "0")
    done = pytest_run("--pyargs", "kterm.conformance", *adapters, *options, "-k", selected, folder=folder)
    assert done.returncode == status, done.stdout + done.stderr
    assert said in done.stdout


def test_tests_of_layout_probes_alone_are_refused() -> None:
    with pytest.raises(OptionError, match="no case of numpy is left to check beside the layout probes"):
        parametrize_with_cases("numpy", profile="smoke", activations=["tanh"], regimes=["lattice"])
    results = check_adapter("numpy", profile="smoke", activations=["tanh"], regimes=["lattice"])
    assert not results.conforms
    assert str(results).endswith("nothing was checked beside the layout")


@pytest.mark.parametrize(
    ("status", "count"), [("passed", 1), ("expected", 1), ("failed", 1), ("unsupported", 0), ("inconclusive", 0)]
)
def test_what_counts_as_judged(status: Status, count: int) -> None:
    found = cover([("3x2-tanh-b2-pre-f32-normal-s0", status), ("3x3x3-relu.relu-b2-pre-f64-layout-s0", "passed")])
    assert found.cases == count
    assert found.dtypes == (("f32",) if count else ())
