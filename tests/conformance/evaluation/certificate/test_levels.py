"""The level of each dtype, and what was left out, for adapters that differ in one thing each."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.plan import PROFILES, make_options, plan
from kterm.conformance.evaluation.certificate.figures import find_divergences
from kterm.conformance.evaluation.certificate.form import Divergence, LeftOut
from kterm.conformance.evaluation.certificate.levels import choose_levels, least
from kterm.conformance.evaluation.certificate.refusal import WHOLE
from kterm.conformance.records.record import read
from kterm.reference.arithmetic import Arithmetic

from ....support.command import kterm
from ....support.here import kterm_here
from .conftest import Recorder

ADAPTER = replace(describe(Numpy(), "numpy"), dtypes=("f64", "f32", "bf16"))
MET = Divergence("coarse", "", 3, ("f32",), "formula", "flush-to-zero", True)
LACKS = LeftOut("not judged", "f of tanh in bf16", ("bf16",))
NO_F16 = LeftOut("undeclared", "dtype f16", ())


def test_a_level_is_that_of_a_dtype() -> None:
    assert choose_levels(ADAPTER, [], []) == dict.fromkeys(ADAPTER.dtypes, "strict")
    assert choose_levels(ADAPTER, [NO_F16], []) == dict.fromkeys(ADAPTER.dtypes, "strict")
    mixed = choose_levels(ADAPTER, [LACKS, NO_F16], [MET])
    assert mixed == {"f64": "strict", "f32": "declared", "bf16": "partial"}
    assert least(mixed) == "partial"
    assert least({"f64": "strict"}) == "strict"
    assert least({"f64": "declared", "f32": "strict"}) == "declared"


@pytest.mark.parametrize(
    ("arithmetic", "due"),
    [
        (Arithmetic(), "strict"),
        (Arithmetic(flushing="never"), "strict"),
        (Arithmetic(flushing="may"), "declared"),
        (Arithmetic(operands="tf32"), "declared"),
        (Arithmetic(accumulator="f16"), "declared"),
        (Arithmetic(rounding="toward zero"), "declared"),
    ],
)
def test_arithmetic_that_widens_what_is_right_is_declared(arithmetic: Arithmetic, due: str) -> None:
    adapter = replace(ADAPTER, arithmetic=(("f32", arithmetic),))
    assert choose_levels(adapter, [], []) == {"f64": "strict", "f32": due, "bf16": "strict"}


def test_wider_results_are_declared_in_every_dtype() -> None:
    adapter = replace(ADAPTER, result_dtypes=(("E", "f64"),))
    assert {*choose_levels(adapter, [], []).values()} == {"declared"}


def _left_out(path: Path, folder: Path) -> tuple[dict[str, Any], dict[str, list[str]]]:
    done = kterm_here("certify", str(path), "-o", "c.json", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    certificate = json.loads((folder / "c.json").read_text(encoding="utf-8"))
    found: dict[str, list[str]] = {}
    for one in certificate["left_out"]:
        assert one["what"] in done.stdout
        found.setdefault(one["why"], []).append(one["what"])
    assert certificate["level"] == "partial"
    return certificate, found


def test_what_a_small_port_leaves_out_is_listed(record: Recorder, tmp_path: Path) -> None:
    path = record("port.py:Port")
    header = read(path).header
    certificate, found = _left_out(path, tmp_path)
    assert {(one["what"], tuple(one["dtypes"])) for one in certificate["left_out"]} >= {
        ("dtype bf16", ()), ("activation gelu", ("f64", "f32")),
    }  # fmt: skip
    assert found["profile"] == ["profile quick, which has few cases; standard and thorough have enough"]
    assert found["undeclared"] == header["adapters"][0]["unsupported"]
    assert "activation gelu" in found["undeclared"]
    whole = len(plan(replace(read(path).adapters["port"], max_structures=None), make_options("quick", 0)).groups)
    planned = header["adapters"][0]["structures"]
    assert found["limits"] == [f"max_structures: {planned} of {whole} structures"]
    assert planned < whole


def test_what_limits_cut_is_listed(record: Recorder, tmp_path: Path) -> None:
    _, found = _left_out(record("port.py:Narrow"), tmp_path)
    assert any(one.startswith("the limits of narrow leave out ") for one in found["limits"])
    assert any(one.startswith("the limits of narrow change structures: ") for one in found["limits"])


def test_an_adapter_that_shows_gradients_alone_lacks_what_needs_the_others(record: Recorder, tmp_path: Path) -> None:
    certificate, found = _left_out(record("port.py:Silent"), tmp_path)
    assert {one.split(":")[0] for one in found["no pass"]} >= {
        f"{what} in {dtype}"
        for what in ("k_terms", "bias of the whole run", "spread of the whole run")
        for dtype in ("f64", "f32")
    }
    assert all(one["slopes"] for one in certificate["grades"])  # seen in dE/dW
    assert not any("f' of" in one for one in found.get("not judged", ()))


def test_cases_that_an_adapter_refuses_are_counted_in_their_dtype(record: Recorder, tmp_path: Path) -> None:
    certificate, found = _left_out(record("port.py:Lazy"), tmp_path)
    refused = certificate["accounting"]["unsupported"]
    assert found["unsupported"] == [f"{refused} cases in f32, for which it raises NotImplementedError"]
    assert [one["dtypes"] for one in certificate["left_out"] if one["why"] == "unsupported"] == [["f32"]]


def test_an_expectation_without_a_bound_may_hide_a_mistake_of_any_size(record: Recorder, tmp_path: Path) -> None:
    certificate, found = _left_out(record("port.py:Off", "--expectations", "unbounded.toml"), tmp_path)
    due = "findings of any size may match the expectation with the reason: coarse"
    assert found["unbounded expectation"] == [due]
    assert [one["bound"] for one in certificate["divergences"]] == ["none"]
    certificate, found = _left_out(record("port.py:Off", "--expectations", "bounded.toml"), tmp_path)
    assert "unbounded expectation" not in found
    (met,) = certificate["divergences"]
    assert (met["bound"], met["limit"], met["shipped"]) == ("size", "0.01", False)


def test_an_expectation_for_everything_leaves_no_pass(record: Recorder, tmp_path: Path) -> None:
    """Expected findings are no passes: who expects everything has shown nothing."""
    _, found = _left_out(record("port.py:Wild", "--expectations", "wild.toml"), tmp_path)
    assert "layout: no probe passed" in found["no pass"]
    assert {one.split(":")[0] for one in found["no pass"]} >= {"descent in f64", "descent in f32"}


def test_a_normwise_run_is_partial(record: Recorder, tmp_path: Path) -> None:
    _, found = _left_out(record("port.py:Port", "--level", "normwise"), tmp_path)
    assert found["level"] == ["--level normwise lets findings pass that are only componentwise: 0 here"]


def test_an_entry_that_is_shipped_is_known_as_such(record: Recorder) -> None:
    pytest.importorskip("torch")
    path = record("torch", "--activation", "softplus", "--regime", "tails", "--dtype", "f64")
    (found,) = find_divergences(read(path), "torch")
    assert (found.shipped, found.bound, found.dtypes) == (True, "formula", ("f64",))
    assert found.limit == 'softplus-threshold {"threshold": 20}'
    assert found.issue.startswith("https://")


def test_the_page_has_the_number_of_cases_that_are_planned() -> None:
    cases = sum(len(group.draws) for group in plan(describe(Numpy(), "numpy"), make_options("standard", 0)).groups)
    page = Path(__file__).resolve().parents[4] / "docs" / "certificate.md"
    assert f"strict · f64 f32 · {cases:,} cases\n" in page.read_text(encoding="utf-8")


@pytest.mark.heavy
def test_the_reference_is_strict(tmp_path: Path) -> None:
    """All but bf16 and f16, which it does not have."""
    assert "standard" in WHOLE
    assert "standard" in PROFILES
    done = kterm("check", "numpy", "--profile", "standard", "--report", "r.jsonl", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    done = kterm_here("certify", "r.jsonl", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "strict · f64 f32" in done.stdout
