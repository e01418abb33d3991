"""What `--timings` writes: the seconds of each group, apart from the record."""

import json
from pathlib import Path

from kterm.conformance.records.form.timings import note_seconds, read_seconds
from kterm.conformance.records.record import read

from ...support.command import assert_one_line, kterm
from ...support.here import kterm_here

ASKED = ("check", "numpy", "--profile", "smoke", "--dtype", "f32")


def test_each_group_has_its_seconds_and_the_record_has_none(tmp_path: Path) -> None:
    for name in ("a", "b"):
        kterm_here(*ASKED, "-n", "0", "-o", f"{name}.jsonl", "--timings", f"{name}.json", folder=tmp_path)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    found = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    record = read(tmp_path / "a.jsonl")
    assert sum(cases for _, _, cases, _ in found["groups"]) == record.header["planned"]
    assert found["adapters"]["numpy"]["cases"] == record.header["planned"]
    assert all(seconds > 0 for *_, seconds in found["groups"])
    total = sum(seconds for *_, seconds in found["groups"])
    assert abs(found["adapters"]["numpy"]["seconds"] - total) < 1e-3
    assert found["seconds"] >= total
    assert found["workers"] == 0
    groups = list(dict.fromkeys(case.rpartition("-s")[0] for _, case in record.cases))
    assert [group for _, group, _, _ in found["groups"]] == groups


def test_several_workers_note_every_group(tmp_path: Path) -> None:
    done = kterm(*ASKED, "-n", "2", "--timings", "t.json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert found["workers"] == 2
    assert len(found["groups"]) == len({group for _, group, _, _ in found["groups"]}) > 10


def test_a_file_that_cannot_be_written_is_refused_before_the_run(tmp_path: Path) -> None:
    done = kterm_here(*ASKED, "--timings", "none/t.json", folder=tmp_path)
    assert_one_line(done, 2, "none/t.json: No such file or directory; name a file that can be written")


def test_a_note_that_was_cut_is_left_out(tmp_path: Path) -> None:
    note_seconds(tmp_path, "gw0", 3, 0.25)
    note_seconds(tmp_path, "gw1", 4, 0.5)
    with (tmp_path / "seconds-gw1.jsonl").open("a", encoding="utf-8") as out:
        out.write("[5,0.1")
    assert read_seconds(tmp_path) == {3: 0.25, 4: 0.5}
