"""What the commands write beside what they print: the same from a run and from its record, and asked for only."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from kterm.conformance.records.record import read
from kterm.conformance.records.views.junit import to_junit
from kterm.conformance.records.views.summary import MOST_BYTES

from ....support.command import assert_one_line
from ....support.here import kterm_here
from ....support.hostile.views import assert_inert
from .test_annotations import read_command
from .test_junit import assert_counts, ends_in, facts_of, valid
from .test_summary import counts_in, table_of

MUTANT = ("numpy", "--profile", "smoke", "-n", "0", "--mutant", "no-slope-last")
ALL = ("--summary", "page.md", "--junit", "junit.xml", "--github")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a failing run with every output, and what it printed in out.txt."""
    folder = tmp_path_factory.mktemp("run")
    step = folder / "step.md"
    step.write_text("before\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITHUB_STEP_SUMMARY", str(step))
        done = kterm_here("check", *MUTANT, *ALL, "-o", "run.jsonl", folder=folder)
    assert done.returncode == 1, done.stderr
    (folder / "out.txt").write_text(done.stdout, encoding="utf-8")
    return folder


def test_every_number_is_that_of_the_lines_of_the_record(run: Path) -> None:
    record = read(run / "run.jsonl")
    assert (run / "junit.xml").read_bytes() == to_junit(record)
    assert_counts(valid(record), ends_in(run / "run.jsonl"))
    page = (run / "page.md").read_text(encoding="utf-8")
    assert_inert(page)
    # The checks of the run as a whole count quantities, and no line of a case has them.
    counted = {check: found for check, found in table_of(page)["numpy"].items() if check not in ("bias", "spread")}
    assert counted == counts_in(run / "run.jsonl")["numpy"]
    assert (run / "step.md").read_text(encoding="utf-8") == f"before\n{page}"


def test_the_verdict_and_the_margins_are_those_of_the_lines_of_the_record(run: Path) -> None:
    ends = ends_in(run / "run.jsonl")
    bad = ends["failed"] + ends["errored"]
    verdict = f"**FAIL numpy [^:]*: {sum(ends.values())} cases, {bad} failures**".replace("**", r"\*\*")
    assert re.search(verdict, (run / "page.md").read_text(encoding="utf-8"))
    margins: dict[str, float] = {}
    group = ""
    for line in map(json.loads, (run / "run.jsonl").read_text(encoding="utf-8").splitlines()):
        if line["kind"] == "group":
            group = f"numpy {line['group']}"
        if line["kind"] == "case":
            numbers = [*line["margins"], *(line[name][0] for name in ("descent", "batch") if name in line)]
            margins[group] = max([margins.get(group, 0.0), *map(float, numbers)])
    root = Xml.parse(run / "junit.xml").getroot()
    shown = {one.attrib["name"]: facts_of(one) for one in root[0].findall("testsuite")}
    assert {name: float(facts.get("worst margin", 0)) for name, facts in shown.items()} == margins
    failing = [facts for facts in shown.values() if "replay" in facts]
    assert {facts["replay"].split(" ", 3)[3] for facts in failing} == {"numpy --mutant no-slope-last"}
    cause = next(facts["cause"] for facts in failing if "cause" in facts)
    assert cause.startswith("it equals the rule with no f' at the output layer")


def test_between_pause_and_end_no_line_is_a_command(run: Path) -> None:
    first, *lines = (run / "out.txt").read_text(encoding="utf-8").splitlines()
    word = first.removeprefix("::stop-commands::")
    assert re.fullmatch(r"[0-9a-f]{32}", word)
    end = lines.index(f"::{word}::")
    assert any(line.startswith("FAIL numpy ") for line in lines[:end])
    found = [read_command(line) for line in lines[end + 1 :]]
    assert [kind for kind, _, _ in found] == ["error", "warning", "notice"]
    assert found[0][1] == {"title": "numpy: k_terms wrong in 16 cases; it begins at k_2"}


def test_a_record_is_viewed_as_its_run(run: Path, tmp_path: Path) -> None:
    done = kterm_here("view", str(run / "run.jsonl"), "--summary", "page.md", "--junit", "junit.xml", folder=tmp_path)
    assert done.returncode == 1
    assert (tmp_path / "junit.xml").read_bytes() == (run / "junit.xml").read_bytes()
    pages = [folder / "page.md" for folder in (tmp_path, run)]
    assert len({path.read_text(encoding="utf-8").rpartition("The record is")[0] for path in pages}) == 1
    printed = (run / "out.txt").read_text(encoding="utf-8").splitlines()
    # Nothing of GitHub unless it is asked for, and no time that a run took.
    assert done.stdout.splitlines() == printed[1 : printed.index("does not conform (componentwise)") + 1]


def test_a_comparison_is_annotated(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    good = kterm_here("check", *MUTANT[:5], "-o", "good.jsonl", folder=tmp_path)
    assert good.returncode == 0
    done = kterm_here("compare", "good.jsonl", str(run / "run.jsonl"), "--github", folder=tmp_path)
    assert done.returncode == 1
    kind, properties, text = read_command(done.stdout.splitlines()[-1])
    assert (kind, properties["title"]) == ("error", done.stdout.splitlines()[1])
    assert "kterm replay " in text
    page = (tmp_path / "step.md").read_text(encoding="utf-8")
    assert_inert(page)
    assert page.startswith("**WORSE: ")
    done = kterm_here("compare", "good.jsonl", "good.jsonl", "--github", folder=tmp_path)
    assert [read_command(done.stdout.splitlines()[-1])[0], done.returncode] == ["notice", 0]


def test_a_summary_that_is_full_gets_nothing_more(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = tmp_path / "step.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    for held, least in ((MOST_BYTES - 500, 1), (MOST_BYTES - 10, 0), (MOST_BYTES + 10, 0)):
        step.write_bytes(b"x" * held)
        assert kterm_here("view", str(run / "run.jsonl"), "--github", folder=tmp_path).returncode == 1
        assert max(held, MOST_BYTES) >= step.stat().st_size >= held + least


@pytest.mark.parametrize("command", [("check", *MUTANT), ("view", "r.jsonl"), ("merge", "r.jsonl", "-o", "all.jsonl")])
@pytest.mark.parametrize("option", ["--summary", "--junit"])
def test_a_file_that_cannot_be_written_is_refused_at_once(
    command: tuple[str, ...], option: str, tmp_path: Path
) -> None:
    for name in ("no/such/file", "."):
        words = f"{option} {name}: is no file in a folder that exists; name one that can be written"
        assert_one_line(kterm_here(*command, option, name, folder=tmp_path), 2, words)
