"""One naming scheme over all commands, and the same meaning of an option wherever it is."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from kterm.conformance.commands.cli import app

from ....support.here import kterm_here


def _commands(group: Any, *names: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, *names, name)
        else:
            yield " ".join((*names, name)), command


COMMANDS = dict(_commands(typer.main.get_command(app)))


def _is_argument(parameter: Any) -> bool:
    return parameter.param_type_name == "argument"


@pytest.mark.parametrize("name", COMMANDS)
def test_adapters_are_positional_and_files_to_write_are_output(name: str) -> None:
    parameters = {one.name: one for one in COMMANDS[name].params}
    for one in ("adapter", "adapters"):
        assert one not in parameters or _is_argument(parameters[one])
    for short, long in (("-o", "--output"), ("-n", "--workers"), ("-q", "--quiet"), ("-v", "--verbose")):
        for one in parameters.values():
            assert (short in one.opts) == (long in one.opts), f"{name}: {one.opts}"
    assert "-h" in COMMANDS[name].context_settings.get("help_option_names", ["-h"])


def test_an_option_of_one_name_means_the_same_everywhere() -> None:
    """The first sentence of its help, its spellings and whether it is repeatable; the defaults differ."""
    meanings: dict[str, dict[tuple[str, tuple[str, ...], bool], list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, command in COMMANDS.items():
        for one in command.params:
            if not _is_argument(one) and one.name in ("dtype", "activation", "workers", "device", "seed", "quiet",
                                                      "verbose", "expectations", "python", "profile"):  # fmt: skip
                first = (one.help or "").split(".")[0].replace("adapters run", "adapter runs")
                if one.name == "seed":
                    first = first.split(" of ")[0]
                meanings[one.name][first, tuple(one.opts), one.multiple].append(name)
    assert {option: dict(some) for option, some in meanings.items() if len(some) > 1} == {}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_in_60_columns(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    done = kterm_here(*name.split(), "-h", folder=tmp_path)
    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if len(line) > 60] == []


def test_quiet_and_verbose_contradict_each_other(tmp_path: Path) -> None:
    done = kterm_here("check", "numpy", "-q", "-v", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "kterm: --quiet and --verbose contradict each other; give one of them\n"
