"""`kterm expect`: from a run to its expectations, and back."""

import re
from pathlib import Path

import pytest

from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.expectations import expectation as known
from kterm.conformance.records.record import read

from ...support.command import assert_one_line, kterm
from ...support.frameworks import miniatures
from ...support.here import kterm_here

MINIATURES = Path(miniatures.__file__)


def _check(folder: Path, name: str, *arguments: str) -> tuple[int, Path]:
    """The exit code and the record of a run of a framework whose tanh is too steep in some structures."""
    command = ("check", f"{MINIATURES}:SteepInSome", "--profile", "smoke", "-n", "0", "--report", name)
    activations = ("--activation", "tanh", "--activation", "relu", "--activation", "elu")
    done = kterm(*command, *activations, *arguments, folder=folder)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.returncode, folder / name


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    code, path = _check(tmp_path_factory.mktemp("expect"), "first.jsonl")
    assert code == 1
    return path


def test_with_reasons_the_proposals_make_the_same_run_conform(tmp_path: Path, report: Path) -> None:
    path = tmp_path / "proposed.toml"
    done = kterm("expect", str(report), "-o", str(path), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"{re.escape(str(path))}: \d+ new entr(y|ies), each still needs a reason\n", done.stdout)
    text = path.read_text(encoding="utf-8")
    assert kterm_here("expect", str(report), folder=tmp_path).stdout == text

    # A person has to write the reasons.
    with pytest.raises(known.ExpectationError, match="entry 1: its reason is empty"):
        known.read(path)
    path.write_text(text.replace('reason = ""', 'reason = "too steep by 1e-6"'), encoding="utf-8")
    entries = known.read(path)
    assert {entry.activation for entry in entries} == {"tanh"}

    # They match each finding of the first run, and no tensor that passed.
    first = read(report)
    verdicts = [v for some in first.verdicts.values() for v in some]
    findings = [v for v in verdicts if v.is_unexpected]
    assert findings
    assert all(known.expectation_for(v, entries) for v in findings)
    failed = {(v.case, v.check, v.activation) for v in findings}
    for (_, case), one in first.cases.items():
        for k in one.tensors.get("k_terms", ()):
            names = case.split("-")[1].split(".")
            activation = names[int(k[2:]) - 1] if len(names) > 1 else names[0]
            as_finding = Verdict(case, "k_terms", k, "wrong", activation=activation)
            if (case, "k_terms", activation) not in failed and k not in one.inconclusive:
                assert not known.expectation_for(as_finding, entries), as_finding

    code, again = _check(tmp_path, "second.jsonl", "--expectations", str(path))
    second = read(again)
    assert {one.state for one in second.audited} == {"met"}
    assert (code, second.conforms) == (0, True), second.footer["accounting"]


def test_a_file_is_not_overwritten(tmp_path: Path, report: Path) -> None:
    path = tmp_path / "there.toml"
    path.write_text("reasons", encoding="utf-8")
    for name, words in (
        ("there.toml", "exists and may hold reasons; name a new file"),
        ("none/new.toml", "name a file"),
    ):
        assert_one_line(kterm_here("expect", str(report), "-o", name, folder=tmp_path), 2, words)
    assert path.read_text(encoding="utf-8") == "reasons"


def test_a_file_that_is_no_record_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("{}\n", encoding="utf-8")
    for name in ("none.jsonl", "nowhere.jsonl"):
        done = kterm_here("expect", name, folder=tmp_path)
        assert done.stdout == ""
        assert_one_line(done, 2, name)
