"""`kterm ulp`: what it finds in frameworks whose activations are accurate, and in others.

Most tests run the command in this process, where they share the 50-digit values; two run it as a user does.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kterm.adapters.registry import load
from kterm.conformance.commands.facts import ulp as command
from kterm.conformance.evaluation.accuracy import survey
from kterm.conformance.evaluation.accuracy.exact import Truth, compute_truth
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import ACTIVATIONS, Array

from ....support import formulas
from ....support.command import assert_one_line, kterm
from ....support.here import kterm_here

FORMULAS = Path(formulas.__file__)

_known: dict[tuple[str, bool, bytes], Truth] = {}


def _compute_truth_once(name: str, slope: bool, z: Array) -> Truth:
    key = name, slope, z.tobytes()
    if key not in _known:
        _known[key] = compute_truth(name, slope, z)
    return _known[key]


class _LocalAdapter(LocalRunner):
    """An adapter in this process, in place of one in a process of its own."""

    def __init__(self, spec: str, device: str | None, *, python: str | None = None) -> None:
        assert python is None
        super().__init__(load(spec, device), spec)

    def close(self) -> None:
        """There is no process to end."""


@pytest.fixture(autouse=True)
def share(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, compute the true values of each activation once, and start no process for an adapter."""
    monkeypatch.setattr(survey, "compute_truth", _compute_truth_once)
    monkeypatch.setattr(command, "ProcessRunner", _LocalAdapter)


def ulp(folder: Path, *arguments: str, code: int) -> tuple[str, dict[tuple[str, str, str], dict[str, Any]]]:
    """What `kterm ulp` prints, and the measurements by activation, dtype and function."""
    done = kterm_here("ulp", *arguments, "-n", "0", "--json", "ulp.jsonl", folder=folder)
    assert done.returncode == code, done.stdout + done.stderr
    rows = map(json.loads, (folder / "ulp.jsonl").read_text(encoding="utf-8").splitlines())
    return done.stdout, {(row["activation"], row["dtype"], row.get("function", "")): row for row in rows}


def select(spec: str, *activations: str, dtype: str = "f32", samples: int = 0) -> list[str]:
    chosen = [word for name in activations for word in ("--activation", name)]
    return [f"{FORMULAS}:{spec}", *chosen, "--dtype", dtype, "--samples", str(samples)]


@pytest.mark.parametrize(("dtype", "name"), [("bf16", "silu"), ("f16", "selu")])
def test_the_reference_is_as_accurate_as_the_table_at_every_16_bit_number(
    dtype: str, name: str, tmp_path: Path
) -> None:
    _, rows = ulp(tmp_path, *select("Formulas", name, dtype=dtype), code=0)
    for row in rows.values():
        # Once rounded from float32: no more than a little over half a unit where nothing cancels.
        assert row["most"] <= 0.501
        assert row["units"] <= row["stated"]
        assert not row["nans"] + row["infinities"]


# What `kterm ulp` finds.


SOME = ("tanh", "leaky_relu", "hard_sigmoid", "selu", "softplus", "gelu", "squareplus", "sin")


@pytest.mark.parametrize(
    ("dtype", "names"),
    [("f32", tuple(ACTIVATIONS)), pytest.param("f64", SOME, marks=pytest.mark.heavy)],
    ids=["f32", "f64"],
)
def test_numpy_is_as_accurate_as_the_table_says(dtype: str, names: tuple[str, ...], tmp_path: Path) -> None:
    chosen = [word for name in names for word in ("--activation", name)]
    shown, rows = ulp(tmp_path, "numpy", "--samples", "0", "--dtype", dtype, *chosen, code=0)
    assert len(rows) == 2 * len(names)
    assert f"numpy: {len(names)} activations by dtypes, {len(names)} as accurate as the table says, 0 not" in shown
    for (name, _, function), row in rows.items():
        table = ACTIVATIONS[name]
        stated = table.slope_ulps if function == "f'" else table.f_ulps
        assert 0 <= row["units"] <= row["stated"] == stated
        assert row["median"] <= row["most"] <= row["worst"]
        assert not (row["worst"] and stated == 0)
        assert row["nans"] == row["infinities"] == 0
    # It does show errors: the log in it is not correctly rounded.
    assert rows["softplus", dtype, "f"]["worst"] > 0.5


@pytest.mark.parametrize("spec", ["HalfTanh", "SilentHalfTanh"])
def test_a_derivative_from_half_precision_is_a_poor_formula(spec: str, tmp_path: Path) -> None:
    shown, rows = ulp(tmp_path, *select(spec, "tanh", "sigmoid"), code=1)
    found = rows["tanh", "f32", "f'"]
    # 2 t dt of half precision, in units of float32: up to 2 * 2**-12 / 2**-24.
    assert 2**11 < found["units"] < 2**13.5
    assert found["given"] != found["true"]
    assert rows["tanh", "f32", "f"]["units"] < 3
    assert rows["sigmoid", "f32", "f'"]["units"] <= ACTIVATIONS["sigmoid"].slope_ulps
    assert "tanh f32 f': a poor formula" in shown
    assert "2 activations by dtypes, 1 as accurate as the table says, 1 not" in shown


@pytest.mark.parametrize("spec", ["Overflowing", "SilentOverflowing"])
def test_nan_and_infinity_for_finite_numbers_are_listed_with_where_they_begin(spec: str, tmp_path: Path) -> None:
    shown, rows = ulp(tmp_path, *select(spec, "sigmoid", "squareplus", "tanh"), code=1)
    sigmoid, squareplus, slope = rows["sigmoid", "f32", "f"], rows["squareplus", "f32", "f"], rows["tanh", "f32", "f'"]
    # exp overflows in float32 from 88.72284 on, and exp(2 z) from half of that.
    assert sigmoid["nans"] > 100
    assert 88.722 < sigmoid["nan_at"] < 90
    assert 44.361 < slope["nan_at"] < 45
    assert rows["sigmoid", "f32", "f'"]["nans"] == 0
    assert squareplus["infinities"] > 100
    assert abs(squareplus["infinity_at"]) == 2.0**64
    for row in (sigmoid, squareplus, slope):
        assert row["units"] < 10
    assert "sigmoid f32 f: NaN for a finite number at" in shown
    assert "squareplus f32 f: an infinity for a finite number at" in shown


def test_sums_that_a_nan_spoils_are_taken_apart(tmp_path: Path) -> None:
    _, shown = ulp(tmp_path, *select("Overflowing", "tanh"), code=1)
    _, silent = ulp(tmp_path, *select("SilentOverflowing", "tanh"), code=1)
    assert shown == silent | {key: row | {"adapter": "formulas"} for key, row in silent.items()}


def test_a_mistake_far_out_is_found_where_it_is(tmp_path: Path) -> None:
    _, rows = ulp(tmp_path, *select("WrongFarOut", "softplus", dtype="f64", samples=1), code=1)
    for function, terms in (("f", 20.0), ("f'", 1 + 20.0)):
        found = rows["softplus", "f64", function]
        assert 20 < found["units_at"] < 20.5
        # log1p(exp(-z)) left out of f, and as much of f'.
        assert found["units"] == pytest.approx(np.exp(-found["units_at"]) / terms * 2**53, rel=0.05)


@pytest.mark.parametrize(
    ("spec", "dtype"), [("Silent", "f32"), ("NoIdentity", "f32"), ("SilentNoIdentity", "f32"), ("NoIdentity", "f16")]
)
def test_adapters_that_show_less_measure_the_same(spec: str, dtype: str, tmp_path: Path) -> None:
    shown, rows = ulp(tmp_path, *select(spec, "selu", dtype=dtype), code=0)
    _, usual = ulp(tmp_path, *select("Formulas", "selu", dtype=dtype), code=0)
    assert rows == usual
    assert ("does not declare identity" in shown) == ("NoIdentity" in spec)


def test_between_the_one_sided_derivatives_at_a_kink_is_no_error(tmp_path: Path) -> None:
    _, rows = ulp(tmp_path, *select("OddAtKinks", "relu", "leaky_relu", "relu6"), code=1)
    for name in ("relu", "leaky_relu"):
        assert rows[name, "f32", "f'"]["worst"] == rows[name, "f32", "f'"]["units"] == 0
    found = rows["relu6", "f32", "f'"]
    assert (found["units"], found["units_at"]) == ("inf", 6)
    assert found["worst"] == 0.25 * 2**23


def test_flushing_below_the_normal_range_is_counted_and_no_error(tmp_path: Path) -> None:
    names = ("identity", "relu", "leaky_relu", "sigmoid", "silu", "elu", "tanhshrink")
    _, rows = ulp(tmp_path, *select("Flushing", *names), code=0)
    assert rows["identity", "f32", "f"]["flushed"] > 40
    assert rows["sigmoid", "f32", "f"]["flushed"] > 10
    _, usual = ulp(tmp_path, *select("Formulas", *names), code=0)
    assert usual["identity", "f32", "f"]["flushed"] == 0


def test_products_that_are_rounded_to_fewer_digits_are_named(tmp_path: Path) -> None:
    shown, rows = ulp(tmp_path, *select("RoundedProducts", "tanh"), code=1)
    assert "tanh f32 z_1 is not x_0 W_1" in shown
    assert rows["tanh", "f32", ""]["fails"]


def test_what_cannot_be_measured_is_reported_and_does_not_end_the_run(tmp_path: Path) -> None:
    shown, rows = ulp(tmp_path, *select("Troubled", "celu", "elu", "selu", "sin"), code=1)
    assert "celu f32 unsupported: NotImplementedError: celu is not there yet" in shown
    assert "elu f32 raised: ZeroDivisionError" in shown
    assert "outputs comes back as float64 where float32 is asked for" in shown
    assert [rows[name, "f32", ""]["fails"] for name in ("celu", "elu", "selu")] == [False, True, True]
    assert rows["sin", "f32", "f"]["units"] < 3
    # An activation that is not supported is no failure; that nothing was measured is one.
    ulp(tmp_path, *select("Troubled", "celu", "sin"), code=0)
    ulp(tmp_path, *select("Troubled", "celu"), code=1)


def test_several_adapters_share_the_points_and_processes_work_out_the_same(tmp_path: Path) -> None:
    words = ("--activation", "tanh", "--dtype", "f32", "--samples", "0")
    done = kterm("ulp", "numpy", f"{FORMULAS}:Silent", *words, "-n", "2", "--json", "two.jsonl", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in (tmp_path / "two.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["adapter"] for row in rows] == ["numpy", "numpy", "formulas", "formulas"]
    _, alone = ulp(tmp_path, "numpy", *words, code=0)
    assert rows[:2] == list(alone.values())


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("numpi",), 3, "did you mean numpy?"),
        (("numpy", "--dtype", "f33"), 2, "known are f64, f32, bf16, f16"),
        (("numpy", "--activation", "rellu"), 2, "did you mean relu?"),
        (("numpy", "--dtype", "f16"), 2, "nothing declared of what was asked for, f16"),
        (("numpy", "--samples", "11"), 2, "--samples 11 should be from 0 to 10"),
        (("numpy", "--seed", "-1"), 2, "seed -1"),
        (("numpy", "-n", "many"), 2, "give a number of workers, or auto"),
        (("numpy", "--json", "/proc/none/ulp.jsonl"), 2, "name a file that can be written"),
        (("numpy", "--device", "abacus"), 3, "abacus"),
    ],
)
def test_a_mistake_is_one_line_with_its_exit_code(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    assert_one_line(kterm_here("ulp", *arguments, folder=tmp_path), code, words)


def test_without_mpmath_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "mpmath.py").write_text("raise ModuleNotFoundError('no', name='mpmath')\n", encoding="utf-8")
    done = kterm("ulp", "numpy", folder=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr == "kterm: mpmath is not installed; pip install 'kterm[ulp]'\n"
    assert kterm("adapters", folder=tmp_path).returncode == 0


def test_the_constants_in_the_page_are_those_of_the_table() -> None:
    page = (Path(__file__).parents[4] / "docs" / "accuracy.md").read_text(encoding="utf-8")
    rows = page.split("<!-- constants -->\n")[1].split("<!-- end -->")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
    stated = {name.strip("`"): (float(f), float(slope)) for name, f, _, slope, _ in cells}
    assert stated == {name: (row.f_ulps, row.slope_ulps) for name, row in ACTIVATIONS.items()}
