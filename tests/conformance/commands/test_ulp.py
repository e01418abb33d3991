"""Activations measured on their own: the points, the 50-digit values, the unit, and what `kterm ulp` finds."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from kterm.conformance.evaluation.accuracy.exact import Truth, joined, precision, truth
from kterm.conformance.evaluation.accuracy.measure import measured, points
from kterm.reference import ACTIVATIONS, DTYPES, Activation, Array, DType

from ...support import formulas
from ...support.command import kterm

FORMULAS = Path(formulas.__file__)
ROWS = [pytest.param(row, id=row.name) for row in ACTIVATIONS.values()]
NARROW = [pytest.param(DTYPES[name], id=name) for name in ("bf16", "f16")]


def ulp(folder: Path, *arguments: str, code: int) -> tuple[str, dict[tuple[str, str, str], dict[str, Any]]]:
    """What `kterm ulp` prints, and the measurements by activation, dtype and function."""
    done = kterm("ulp", *arguments, "-n", "0", "--json", "ulp.jsonl", folder=folder)
    assert done.returncode == code, done.stdout + done.stderr
    rows = map(json.loads, (folder / "ulp.jsonl").read_text(encoding="utf-8").splitlines())
    return done.stdout, {(row["activation"], row["dtype"], row.get("function", "")): row for row in rows}


def asked(spec: str, *activations: str, dtype: str = "f32", samples: int = 0) -> list[str]:
    chosen = [word for name in activations for word in ("--activation", name)]
    return [f"{FORMULAS}:{spec}", *chosen, "--dtype", dtype, "--samples", str(samples)]


# The unit and the true values.


def value(exact: Truth, i: int) -> Fraction:
    whole = int(exact.sign[i]) * (int(exact.high[i]) * 2**53 + int(exact.low[i]))
    return whole * Fraction(2) ** (int(exact.exponent[i]) - 106)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_ulps_are_those_of_exact_arithmetic(dtype: DType) -> None:
    # identity: the truth is z itself, so that what is given may be any other number.
    rng = np.random.default_rng(3)
    z = rng.normal(size=300) * 2.0 ** rng.integers(-30, 15, 300)
    z = np.concatenate([z, [0.0, dtype.tiny, dtype.subnormal * 3, -1.0, dtype.max]])
    with np.errstate(over="ignore"):
        given = (z * (1 + rng.normal(size=z.size) * 8 * dtype.u)).astype(dtype.numpy).astype(np.float64)
    given[[0, 1, -1]] = 0.0, -1.0, np.inf
    true = truth("identity", False, z)
    found = true.ulps(given, dtype)
    top = Fraction(2) ** int(np.frexp(dtype.max)[1])
    for i, point in enumerate(z):
        exact = Fraction(float(point))
        assert value(true, i) == exact
        exponent = int(np.frexp(point)[1]) - 1 if point else -10_000
        # Goldberg's: 2**(e - p + 1), where 2**e <= |v| < 2**(e + 1); not below the smallest subnormal.
        unit = max(Fraction(2) ** (exponent - precision(dtype) + 1), Fraction(dtype.subnormal))
        at = top if np.isinf(given[i]) else Fraction(float(given[i]))
        assert found[i] == pytest.approx(float(abs(at - exact) / unit), rel=1e-12)


@pytest.mark.parametrize("name", ["tanh", "gelu", "selu", "log_sigmoid", "sin"])
def test_a_rounded_truth_is_within_half_an_ulp(name: str) -> None:
    z = np.array([-30.0, -1.0, 0.0, 1e-310, 0.7, 12.5])
    for slope in (False, True):
        exact = truth(name, slope, z)
        assert (exact.ulps(exact.rounded(), DTYPES["f64"]) <= 0.5).all()
        assert (joined([exact[:2], exact[2:]]).low == exact.low).all()


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_what_rounds_to_an_infinity_overflows(dtype: DType) -> None:
    edge = Fraction(2) ** int(np.frexp(dtype.max)[1]) * (1 - Fraction(1, 2 ** (precision(dtype) + 1)))
    whole, exponent = edge, 0
    while whole >= 2**106:
        whole, exponent = whole / 2, exponent + 1
    while whole < 2**105:
        whole, exponent = whole * 2, exponent - 1

    def made(bits: int) -> Truth:
        parts = (np.array([float(part)]) for part in (1, bits >> 53, bits & (2**53 - 1)))
        return Truth(*parts, np.array([exponent + 106]))  # pyright: ignore[reportCallIssue]

    # Half a unit beyond the largest number is a tie, which goes to the even one: infinity.
    assert made(int(whole)).overflows(dtype).all()
    assert not made(int(whole) - 2**40).overflows(dtype).any()


# The points.


@pytest.mark.parametrize("dtype", NARROW)
def test_every_finite_number_of_a_16_bit_format_is_a_point(dtype: DType) -> None:
    z = points(ACTIVATIONS["tanh"], dtype, 0, 0)
    with np.errstate(invalid="ignore"):
        every = np.arange(1 << 16, dtype=np.uint16).view(dtype.numpy).astype(np.float64)
    # Of the 65,536 those that are finite; the two zeros are one point.
    assert z.size == np.isfinite(every).sum() - 1 == {"bf16": 65_279, "f16": 63_487}[dtype.name]
    assert set(z) == set(every[np.isfinite(every)])


@pytest.mark.parametrize("name", ["f32", "f64"])
def test_every_binade_of_a_wide_format_is_sampled_on_both_sides_with_its_ends(name: str) -> None:
    dtype, row = DTYPES[name], ACTIVATIONS["hard_swish"]
    z = points(row, dtype, 1, 0)
    assert (np.diff(z) > 0).all()
    assert (z == z.astype(dtype.numpy)).all()
    assert (z == points(row, dtype, 1, 0)).all()
    assert not np.isin(points(row, dtype, 1, 1), z).all()
    exponents = np.frexp(z[z != 0])[1]
    lowest, highest = (int(np.frexp(end)[1]) for end in (dtype.subnormal, dtype.max))
    assert set(np.unique(exponents)) == set(range(lowest, highest + 1))
    for exponent in (lowest, -40, 0, 3, highest):
        first, last = 2.0 ** (exponent - 1), dtype.max
        if exponent < highest:
            last = float(np.nextafter(dtype.numpy.type(2.0**exponent), dtype.numpy.type(0)))
        for sign in (-1, 1):
            assert np.isin([sign * first, sign * last], z).all()
        inside = (np.abs(z) >= first) & (np.abs(z) <= last)
        assert inside.sum() >= (2 if exponent == lowest else 6)
    assert ((np.abs(z) >= 1 / 8) & (np.abs(z) < 1024)).mean() > (0.5 if name == "f32" else 0.2)
    for kink in row.kinks:
        around = [np.nextafter(dtype.numpy.type(kink.point), dtype.numpy.type(side)) for side in (-np.inf, np.inf)]
        assert np.isin([kink.point, *around], z).all()


# The reference, where every number can be tried.


def unfinished(row: Activation, dtype: DType) -> Array:
    """The finite numbers of a 16-bit format at which f or f' is not a number, though the true value is one."""
    z = points(row, dtype, 0, 0).astype(dtype.numpy)
    bad = np.zeros(z.shape, bool)
    for function in (row.f, row.derivative):
        true = function(z.astype(np.float64))
        # No true value is beyond twice the format's range: float64 must have them all.
        assert np.isfinite(true).all()
        with np.errstate(over="ignore"):
            representable = np.isfinite(true.astype(dtype.numpy).astype(np.float64))
        bad |= representable & ~np.isfinite(function(z).astype(np.float64))
    return z[bad]


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("row", ROWS)
def test_the_reference_gives_a_number_at_every_16_bit_number_whose_true_value_is_one(
    row: Activation, dtype: DType
) -> None:
    assert unfinished(row, dtype).size == 0


@pytest.mark.parametrize("row", ROWS)
def test_float64_knows_which_true_values_are_numbers(row: Activation) -> None:
    # What the test above takes for true, held to 50 digits at a part of the points.
    for dtype in (DTYPES["bf16"], DTYPES["f16"]):
        z = points(row, dtype, 0, 0)[::401]
        for slope, function in ((False, row.f), (True, row.derivative)):
            exact = truth(row.name, slope, z)
            with np.errstate(over="ignore"):
                rounded = function(z).astype(dtype.numpy).astype(np.float64)
            assert (np.isinf(rounded) == exact.overflows(dtype)).all()


def test_an_overflowing_formula_is_not_a_number_somewhere() -> None:
    row = formulas.Overflowing().row("squareplus")
    with np.errstate(all="ignore"):
        assert np.abs(unfinished(row, DTYPES["bf16"])).min() == ml_dtypes.bfloat16(2.0**64)


@pytest.mark.parametrize(("dtype", "name"), [("bf16", "silu"), ("f16", "selu")])
def test_the_reference_is_as_accurate_as_the_table_at_every_16_bit_number(
    dtype: str, name: str, tmp_path: Path
) -> None:
    _, rows = ulp(tmp_path, *asked("Formulas", name, dtype=dtype), code=0)
    for row in rows.values():
        # Once rounded from float32: no more than a little over half a unit where nothing cancels.
        assert row["most"] <= 0.501
        assert row["units"] <= row["stated"]
        assert not row["nans"] + row["infinities"]


# What `kterm ulp` finds.


SOME = ("tanh", "leaky_relu", "hard_sigmoid", "selu", "softplus", "gelu", "squareplus", "sin")


@pytest.mark.parametrize(("dtype", "names"), [("f32", tuple(ACTIVATIONS)), ("f64", SOME)], ids=["f32", "f64"])
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
    shown, rows = ulp(tmp_path, *asked(spec, "tanh", "sigmoid"), code=1)
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
    shown, rows = ulp(tmp_path, *asked(spec, "sigmoid", "squareplus", "tanh"), code=1)
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
    _, shown = ulp(tmp_path, *asked("Overflowing", "tanh"), code=1)
    _, silent = ulp(tmp_path, *asked("SilentOverflowing", "tanh"), code=1)
    assert shown == silent | {key: row | {"adapter": "formulas"} for key, row in silent.items()}


def test_a_mistake_far_out_is_found_where_it_is(tmp_path: Path) -> None:
    _, rows = ulp(tmp_path, *asked("WrongFarOut", "softplus", dtype="f64", samples=1), code=1)
    for function, terms in (("f", 20.0), ("f'", 1 + 20.0)):
        found = rows["softplus", "f64", function]
        assert 20 < found["units_at"] < 20.5
        # log1p(exp(-z)) left out of f, and as much of f'.
        assert found["units"] == pytest.approx(np.exp(-found["units_at"]) / terms * 2**53, rel=0.05)


@pytest.mark.parametrize(
    ("spec", "dtype"), [("Silent", "f32"), ("NoIdentity", "f32"), ("SilentNoIdentity", "f32"), ("NoIdentity", "f16")]
)
def test_adapters_that_show_less_measure_the_same(spec: str, dtype: str, tmp_path: Path) -> None:
    shown, rows = ulp(tmp_path, *asked(spec, "selu", dtype=dtype), code=0)
    _, usual = ulp(tmp_path, *asked("Formulas", "selu", dtype=dtype), code=0)
    assert rows == usual
    assert ("does not declare identity" in shown) == ("NoIdentity" in spec)


def test_between_the_one_sided_derivatives_at_a_kink_is_no_error(tmp_path: Path) -> None:
    _, rows = ulp(tmp_path, *asked("OddAtKinks", "relu", "leaky_relu", "relu6"), code=1)
    for name in ("relu", "leaky_relu"):
        assert rows[name, "f32", "f'"]["worst"] == rows[name, "f32", "f'"]["units"] == 0
    found = rows["relu6", "f32", "f'"]
    assert (found["units"], found["units_at"]) == ("inf", 6)
    assert found["worst"] == 0.25 * 2**23


def test_flushing_below_the_normal_range_is_counted_and_no_error(tmp_path: Path) -> None:
    names = ("identity", "relu", "leaky_relu", "sigmoid", "silu", "elu", "tanhshrink")
    _, rows = ulp(tmp_path, *asked("Flushing", *names), code=0)
    assert rows["identity", "f32", "f"]["flushed"] > 40
    assert rows["sigmoid", "f32", "f"]["flushed"] > 10
    _, usual = ulp(tmp_path, *asked("Formulas", *names), code=0)
    assert usual["identity", "f32", "f"]["flushed"] == 0
    # And it is not a licence: what is lost above the normal range is an error.
    row, dtype = ACTIVATIONS["identity"], DTYPES["f32"]
    z = np.array([-1.0, 0.0, dtype.tiny / 2, 4 * dtype.tiny])
    assert measured(row, dtype, False, z, np.array([-1.0, 0, 0, 4 * dtype.tiny]), truth("identity", False, z)).is_sound
    assert not measured(row, dtype, False, z, np.array([-1.0, 0, 0, 0]), truth("identity", False, z)).is_sound


def test_an_infinity_within_the_error_of_a_sound_formula_is_one(tmp_path: Path) -> None:
    # The scale of selu takes numbers from 0.95 of the range on out of it.
    row, dtype = ACTIVATIONS["selu"], DTYPES["f32"]
    edge = dtype.max / 1.0507009873554805
    z = np.array([0.0, edge * 0.9, edge * (1 - dtype.u), edge * 1.01])
    true = truth("selu", False, z)
    assert list(true.overflows(dtype)) == [False, False, False, True]
    for given, infinities in (
        ((0, edge * 0.9 * 1.0507009873554805, np.inf, np.inf), 0),
        ((0, np.inf, np.inf, np.inf), 1),
    ):
        found = measured(row, dtype, False, z, np.array(given), true)
        assert found.infinities == infinities
        assert found.is_sound == (infinities == 0)
    assert not measured(row, dtype, False, z, np.array([0, edge * 0.9, edge, -np.inf]), true).is_sound


def test_products_that_are_rounded_to_fewer_digits_are_named(tmp_path: Path) -> None:
    shown, rows = ulp(tmp_path, *asked("RoundedProducts", "tanh"), code=1)
    assert "tanh f32 z_1 is not x_0 W_1" in shown
    assert rows["tanh", "f32", ""]["fails"]


def test_what_cannot_be_measured_is_told_and_does_not_end_the_run(tmp_path: Path) -> None:
    shown, rows = ulp(tmp_path, *asked("Troubled", "celu", "elu", "selu", "sin"), code=1)
    assert "celu f32 unsupported: NotImplementedError: celu is not there yet" in shown
    assert "elu f32 raised: ZeroDivisionError" in shown
    assert "selu f32 outputs has dtype float64; it should be float32" in shown
    assert [rows[name, "f32", ""]["fails"] for name in ("celu", "elu", "selu")] == [False, True, True]
    assert rows["sin", "f32", "f"]["units"] < 3
    # What is not supported is no failure, but nothing measured is.
    ulp(tmp_path, *asked("Troubled", "celu", "sin"), code=0)
    ulp(tmp_path, *asked("Troubled", "celu"), code=1)


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
    done = kterm("ulp", *arguments, folder=tmp_path)
    assert done.returncode == code, done.stdout + done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert words in done.stderr


def test_without_mpmath_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "mpmath.py").write_text("raise ModuleNotFoundError('no', name='mpmath')\n", encoding="utf-8")
    done = kterm("ulp", "numpy", folder=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr == "kterm: mpmath is not installed; pip install 'kterm[ulp]'\n"
    assert kterm("adapters", folder=tmp_path).returncode == 0


def test_the_constants_in_the_page_are_those_of_the_table() -> None:
    page = (Path(__file__).parents[3] / "docs" / "accuracy.md").read_text(encoding="utf-8")
    rows = page.split("<!-- constants -->\n")[1].split("<!-- end -->")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
    stated = {name.strip("`"): (float(f), float(slope)) for name, f, _, slope, _ in cells}
    assert stated == {name: (row.f_ulps, row.slope_ulps) for name, row in ACTIVATIONS.items()}
