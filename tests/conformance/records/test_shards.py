"""The shards of a run, merged, are the record of the whole run, byte for byte."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.plan import OptionError, deal, estimate_cost, make_options, parse_shard, plan
from kterm.conformance.records.record import read

from ...support.command import assert_one_line, kterm
from ...support.here import kterm_here

ASKED = ("--profile", "smoke", "-n", "0")
MUTANT = ("--mutant", "no-slope-last")

Make = Callable[..., Path]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A function that records a run, once for the same arguments."""
    made: dict[tuple[str, ...], Path] = {}

    def run(*arguments: str) -> Path:
        if arguments not in made:
            path = made[arguments] = tmp_path_factory.mktemp("run") / "run.jsonl"
            # In a process of its own, as on another machine: what a run sets in its environment is in its record.
            done = kterm("check", "numpy", *ASKED, *arguments, "-o", str(path), folder=path.parent)
            assert done.returncode in (0, 1), done.stdout + done.stderr
        return made[arguments]

    return run


@pytest.mark.parametrize("mutant", [(), MUTANT], ids=["sound", "mutant"])
def test_merged_shards_are_the_whole_run(make: Make, mutant: tuple[str, ...], tmp_path: Path) -> None:
    shards = [make("--shard", f"{i}/3", *mutant) for i in (3, 1, 2)]
    done = kterm_here("merge", *map(str, shards), "-o", "all.jsonl", folder=tmp_path)
    assert done.returncode == (1 if mutant else 0), done.stdout + done.stderr
    assert ("does not conform" in done.stdout) is bool(mutant)
    assert (tmp_path / "all.jsonl").read_bytes() == make(*mutant).read_bytes()


def test_a_shard_is_a_record_of_its_part(make: Make) -> None:
    parts = [read(make("--shard", f"{i}/3")) for i in (1, 2, 3)]
    whole = read(make())
    assert sum(len(part.cases) for part in parts) == len(whole.cases)
    for part in parts:
        assert all(whole.cases[key].line == one.line for key, one in part.cases.items())
        assert part.conforms


def test_what_is_no_whole_run_is_refused(make: Make, tmp_path: Path) -> None:
    one, two, three = (str(make("--shard", f"{i}/3")) for i in (1, 2, 3))
    strange, other_shards = str(make("--shard", "3/3", *MUTANT)), str(make("--shard", "2/2"))
    rows = [
        ((one, two), "groups are in no record, such as "),
        ((one, two, two, three), "overlap: both hold "),
        ((one, two, other_shards), "overlap: both hold "),
        ((one, two, strange), "differs from "),
        ((one, two, str(make())), "is no shard; write shards with kterm check --shard I/N -o FILE"),
    ]
    for records, words in rows:
        assert_one_line(kterm_here("merge", *records, "-o", "all.jsonl", folder=tmp_path), 2, words)
        assert not (tmp_path / "all.jsonl").exists()


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("run", lambda line: {**line, "description": {"adapters": 3}}),
        ("run", lambda line: {**line, "description": {**line["description"], "adapters": []}}),
        ("part", lambda line: {**line, "questions": "%%%"}),
        ("part", lambda line: {**line, "questions": "AAAA"}),
        ("part", lambda line: {**line, "tally": {}}),
        ("part", lambda line: {**line, "number": 10**9}),
        ("part", lambda line: {**line, "tally": {**line["tally"], "verdicts": 0}}),
    ],
)
def test_parts_that_no_run_wrote_are_refused_in_one_line(
    kind: str, change: Callable[[dict[str, Any]], dict[str, Any]], make: Make, tmp_path: Path
) -> None:
    names = []
    for i in (1, 2, 3):
        lines = make("--shard", f"{i}/3", *MUTANT).read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            if line.startswith(f'{{"kind":"{kind}"') and (kind == "run" or '"questions":""' not in line):
                lines[number] = json.dumps(change(json.loads(line)))
                if kind == "part":
                    break
        names.append(f"shard-{i}.jsonl")
        (tmp_path / names[-1]).write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = kterm_here("merge", *names, "-o", "all.jsonl", folder=tmp_path)
    assert_one_line(done, 2, "record")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "all.jsonl").exists()


def test_another_seed_is_named(make: Make, tmp_path: Path) -> None:
    records = [str(make("--shard", "1/2")), str(make("--shard", "2/2", "--seed", "1"))]
    assert_one_line(kterm_here("merge", *records, "-o", "all.jsonl", folder=tmp_path), 2, "in seed")


@pytest.mark.parametrize("profile", ["quick", "standard"])
@pytest.mark.parametrize("count", [2, 4, 7])
def test_shards_cost_about_the_same(profile: str, count: int) -> None:
    groups = list(enumerate(plan(describe(Numpy(), "numpy"), make_options(profile, 0)).groups))
    dealt = [deal(groups, i, count) for i in range(1, count + 1)]
    assert sorted(number for own in dealt for number in own) == [number for number, _ in groups]
    costs = [sum(estimate_cost(groups[number][1]) for number in own) for own in dealt]
    assert max(costs) < 1.3 * sum(costs) / count


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/", "/4", "a/b", "-1/4", "1/0", "1/4/2"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="write the number of this part and of all, such as 1/4"):
        parse_shard(text)
