"""What adapters, records and users write is plain text in the output of every command."""

import glob
import json
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from kterm.adapters.traces.manifest import MANIFEST
from kterm.conformance.commands.cli import app
from kterm.conformance.records.form.text import fit, printable

from ....support.here import kterm_here
from ....support.hostile.text import HOSTILE, make_hostile, trouble_in, write_adapters
from ....support.mistakes.models.faults import FAULTS

CASE = "2x3x1-tanh.identity-b2-pre-f64-normal-s0"
SMALL = ("--profile", "smoke", "-n", "0")
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("check", "hostile.py:Wrong", *SMALL, "--verbose", "-o", "run.jsonl"),
    ("check", "hostile.py:Raises", *SMALL),
    ("check", "hostile.py:Unloadable", *SMALL),
    ("check", "hostile.py:Misnamed", *SMALL),
    ("check", f"{HOSTILE}.py:Nothing", *SMALL),
    ("check", "numpy", "--resume", f"{HOSTILE}.jsonl"),
    ("check", "numpy", "--profile", HOSTILE),
    ("check", "numpy", "--expectations", f"{HOSTILE}.toml", *SMALL),
    ("replay", CASE, "hostile.py:Wrong"),
    ("replay", CASE, "hostile.py:Raises"),
    ("replay", HOSTILE, "numpy"),
    ("shrink", CASE, "hostile.py:Wrong", "--builds", "4"),
    ("shrink", CASE, "hostile.py:Raises", "--builds", "4"),
    ("reproduce", CASE, "hostile.py:Wrong", "--no-shrink", "-o", "bug.py"),
    ("reproduce", CASE, "hostile.py:Raises", "--no-shrink"),
    ("kinks", "hostile.py:Wrong"),
    ("kinks", "--record", "hostile.jsonl"),
    ("arithmetic", "hostile.py:Wrong", "--bitwise"),
    ("arithmetic", "hostile.py:Misnamed"),
    ("arithmetic", "hostile.py:Raises"),
    ("nonfinite", "hostile.py:Wrong"),
    ("nonfinite", "hostile.py:Raises"),
    ("ulp", "hostile.py:Raises", "-n", "0", "--samples", "0"),
    ("calibrate", "hostile.py:Wrong", "--draws", "4", "--networks", "0", "-n", "0", "--activation", "tanh"),
    ("mutants", "hostile.py:Raises", *SMALL, "--dtype", "f64", "--mutant", "sign"),
    ("smoke", "hostile.py:Wrong"),
    ("smoke", "hostile.py:Raises"),
    ("expect", "hostile.jsonl"),
    ("recheck", "hostile.jsonl"),
    ("recheck", f"{HOSTILE}.jsonl"),
    ("rows", "hostile.jsonl"),
    ("rows", "hostile.jsonl", "-o", HOSTILE),
    ("merge", "hostile.jsonl", "-o", "all.jsonl"),
    ("view", "hostile.jsonl", "--verbose"),
    ("view", "plain.jsonl", "--summary", HOSTILE),
    ("report", "hostile.jsonl", "--ulp", HOSTILE),
    ("report", "plain.jsonl", "-o", f"{HOSTILE}/x"),
    ("certify", "hostile.jsonl"),
    ("certify", "plain.jsonl", "--adapter", HOSTILE),
    ("certify", "plain.jsonl", "--kills", HOSTILE),
    ("certify", "sound.jsonl"),
    ("certify", "sound.jsonl", "-o", HOSTILE),
    ("certify", "sound.jsonl", "--recheck", "1"),
    ("certify", "sound.jsonl", "--verify", "sound.json"),
    ("certify", "plain.jsonl", "--verify", "sound.json"),
    ("certify", "traced.jsonl"),
    ("certify", f"{HOSTILE}.jsonl"),
    ("campaign", "hostile.py:Wrong", "--cases", "20", "--profile", "smoke", "-n", "0", "-o", "campaign"),
    ("campaign", "hostile.py:Unloadable", "--cases", "20", "-o", "campaign"),
    ("compare", "plain.jsonl", "hostile.jsonl"),
    ("compare", "hostile.jsonl", "hostile.jsonl", "--verbose"),
    ("compare", "plain.jsonl", "hostile.jsonl", "--format", "markdown"),
    ("compare", "plain.jsonl", "hostile.jsonl", "--format", HOSTILE),
    ("vectors", "export", "vectors", "--profile", "smoke", "--dtype", "f64", "--activation", "tanh"),
    ("vectors", "answer", "vectors", "hostile.py:Wrong", "results"),
    ("vectors", "answer", "vectors", "hostile.py:Misnamed", "others"),
    ("vectors", "verify", "vectors", "results"),
    ("vectors", "verify", HOSTILE, "results"),
    ("judge", "trace"),
    ("judge", "trace", "--report", HOSTILE),
    ("view", "traced.jsonl", "--verbose", "--github"),
    ("rows", "traced.jsonl"),
    ("expect", "traced.jsonl"),
    ("recheck", "traced.jsonl"),
    ("compare", "traced.jsonl", "traced.jsonl", "--verbose"),
    ("judge", "trace", "--layer", HOSTILE),
    ("judge", HOSTILE),
    ("reproduce", "trace", HOSTILE),
    ("reproduce", "trace", "layers.1", "--quantity", HOSTILE),
    ("cases", "trace"),
    ("cases", HOSTILE),
    ("new-adapter", HOSTILE),
    ("env", "create", HOSTILE),
    ("env", "list"),
    ("adapters",),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with hostile adapters, a record of a failing run, and a hostile copy of it."""
    made = tmp_path_factory.mktemp("hostile")
    write_adapters(made)
    done = kterm_here("check", "numpy", *SMALL, "--mutant", "no-slope-hidden", "-o", "plain.jsonl", folder=made)
    assert done.returncode == 1, done.stderr
    make_hostile(made / "plain.jsonl", made / "hostile.jsonl", "numpy")
    for command in (
        ("check", "hostile.py:Sound", "--profile", "quick", "-n", "0", "-o", "sound.jsonl"),
        ("certify", "sound.jsonl", "-o", "sound.json"),
    ):
        done = kterm_here(*command, folder=made)
        assert done.returncode == 0, done.stderr
    _write_trace(made / "trace")
    done = kterm_here("judge", "trace", "--report", "traced.jsonl", folder=made)
    assert done.returncode == 1, done.stderr
    return made


def _write_trace(folder: Path) -> None:
    """A trace with a mistake, in which every name is hostile."""
    FAULTS[0].trace().save(folder)
    text = json.loads((folder / MANIFEST).read_text())
    text |= {"framework": HOSTILE, "framework_version": HOSTILE, "notes": [HOSTILE]}
    for step in text["steps"]:
        step["notes"] = [HOSTILE]
        for number, layer in enumerate(step["layers"]):
            layer |= {"name": f"{number}{HOSTILE}", "not_captured": [HOSTILE], "type": HOSTILE}
    (folder / MANIFEST).write_text(json.dumps(text))


def _param(command: tuple[str, ...]) -> Any:
    slow = command[0] == "calibrate" or "--bitwise" in command
    return pytest.param(command, id=printable(" ".join(command))[:60], marks=[pytest.mark.heavy] if slow else [])


@pytest.mark.parametrize("command", [*map(_param, COMMANDS)])
def test_all_that_a_command_prints_is_inert(folder: Path, command: tuple[str, ...]) -> None:
    done = kterm_here(*command, folder=folder)
    said = done.stdout + done.stderr
    assert trouble_in(said) == []
    assert "Traceback" not in said
    assert said


def test_proposals_of_expectations_are_toml_whatever_the_names(folder: Path) -> None:
    text = kterm_here("expect", "hostile.jsonl", folder=folder).stdout
    entries = tomllib.loads(text)["expectation"]
    assert entries
    assert all(one["adapter"] == glob.escape(HOSTILE) for one in entries if "adapter" in one)


def _commands(group: Any, *names: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, *names, name)
        else:
            yield (*names, name)


def test_every_command_is_tried() -> None:
    tried = {command[:n] for command in COMMANDS for n in (1, 2)}
    assert {name for name in _commands(typer.main.get_command(app)) if name not in tried} == set()


@pytest.mark.parametrize(
    "text",
    ["\x1b[31m", "a\rb", "\u202eab", "a" + "\u0301" * 9, "\u3164", "\u1160" * 9, ":smile:\n", "\ud800", "\x9b1m"],
)
def test_what_would_change_a_terminal_is_caught_by_this_test(text: str) -> None:
    assert trouble_in(printable(text)) == []
    if not text.startswith((":", "\u3164", "\u1160")):
        assert trouble_in(text) != []


def test_what_people_write_stays_as_it_is() -> None:
    for text in ("1.5e3 σ, été, 漢字", "e\u0301te\u0301", "Việt", "שָׁלוֹם", "[/] :smile: <b>"):
        assert printable(text) == text
    assert printable("x" * 10_005) == "x" * 10_000 + "... and 5 more characters"


def test_lines_break_between_words_and_commands_as_a_shell_takes_them() -> None:
    assert fit("  one two three four", 12) == "  one two\n    three\n    four"
    command = "  kterm replay 4x3 'my port.py:Port' --device cpu"
    broken = fit(command, 20)
    assert broken == "  kterm replay 4x3 \\\n    'my port.py:Port' \\\n    --device cpu"
    assert shlex.split(broken.replace("\\\n", "")) == shlex.split(command)
    assert fit(f"on {'a' * 20} here", 12) == f"on\n  {'a' * 20}\n  here"
