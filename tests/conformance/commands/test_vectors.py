"""`kterm vectors`: write, answer, judge; a user's mistake is one line."""

import json
import re
from pathlib import Path

import pytest

from ...docs import page
from ...support.command import assert_one_line
from ...support.here import kterm_here


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds `vectors`, right `results` and `wrong` ones."""
    path = tmp_path_factory.mktemp("vectors")
    for words in (
        "export vectors --profile smoke",
        "answer vectors numpy results",
        "answer vectors numpy wrong --mutant no-slope-hidden",
    ):
        done = kterm_here("vectors", *words.split(), folder=path)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 1
    return path


def test_right_results_conform(folder: Path) -> None:
    done = kterm_here("vectors", "verify", "vectors", "results", folder=folder)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-2:] == ["20 cases = 16 passed + 4 inconclusive", "conforms (componentwise)"]


def test_wrong_results_do_not_and_the_page_shows_it(folder: Path) -> None:
    done = kterm_here("vectors", "verify", "vectors", "wrong", "--json", "verdicts.json", folder=folder)
    assert done.returncode == 1
    shown = re.search(r"<!-- wrong -->\n```\n(.*)\n```", page("docs/vectors.md"))
    assert shown is not None
    assert shown[1] in done.stdout
    assert "and 6 more structures" in done.stdout or done.stdout.count("failed in") <= 10
    assert done.stdout.splitlines()[-1] == "does not conform (componentwise)"
    verdicts = json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))
    assert len(verdicts) == 20
    assert {one["outcome"] for one in verdicts.values()} >= {"failed", "passed"}


def test_results_with_odd_text_are_printed_in_plain_characters(folder: Path, tmp_path: Path) -> None:
    from kterm.adapters.traces.container import write_arrays

    for path in (folder / "vectors").glob("*.safetensors"):
        write_arrays(tmp_path / path.name, {}, {"unsupported": "no \x1b[31m[bold]relu[/]\n"})
    done = kterm_here("vectors", "verify", str(folder / "vectors"), str(tmp_path), folder=folder)
    assert done.returncode == 1
    assert "unsupported in 2 of 2 cases: no \\x1b[31m[bold]relu[/]\\n" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("verify vectors nowhere", "nowhere: is no folder; write the results to one"),
        ("verify results results", "name a folder that kterm vectors export wrote"),
        ("verify vectors results --json nowhere/a.json", "name a file that can be written"),
        ("export vectors", "the folder is not empty; name a new one"),
        ("export new --bias outside", "unknown bias 'outside'; known are none, pre, post"),
        ("export new --dtype f33", "unknown dtype 'f33'; did you mean"),
        ("answer vectors numpy results/manifest --mutant sing", "unknown mutant 'sing'; did you mean sign?"),
    ],
)
def test_a_mistake_of_the_user_is_one_line(words: str, said: str, folder: Path) -> None:
    assert_one_line(kterm_here("vectors", *words.split(), folder=folder), 2, said)
