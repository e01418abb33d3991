"""Where a record goes: what can be written is written as it should be, and anything else is refused before any work."""

import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kterm.conformance.cases.plan import OptionError
from kterm.conformance.records.folder import RunFolder
from kterm.conformance.records.record import RecordError


def _write(report: Path, text: str = "new") -> Path:
    with RunFolder(report) as folder:
        record = folder.path / "record.jsonl"
        record.write_text(text, encoding="utf-8")
        return folder.deliver(record)


def test_a_new_file_is_made_and_nothing_else(tmp_path: Path) -> None:
    assert _write(tmp_path / "record.jsonl").read_text(encoding="utf-8") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["record.jsonl"]


def test_a_file_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    report = tmp_path / "record.jsonl"
    report.write_text("old", encoding="utf-8")
    report.chmod(0o640)
    _write(report)
    assert report.read_text(encoding="utf-8") == "new"
    assert report.stat().st_mode & 0o777 == 0o640


def test_a_file_stays_as_it_is_until_the_record_is_whole(tmp_path: Path) -> None:
    report = tmp_path / "record.jsonl"
    report.write_text("old", encoding="utf-8")
    with RunFolder(report):
        assert report.read_text(encoding="utf-8") == "old"
    assert report.read_text(encoding="utf-8") == "old"


def test_of_a_symbolic_link_the_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "target.jsonl", tmp_path / "link.jsonl"
    link.symlink_to(target)
    for text in ("one", "two"):  # the target is missing at first
        _write(link, text)
        assert link.is_symlink()
        assert target.read_text(encoding="utf-8") == text


def test_a_fifo_is_written_to_and_stays(tmp_path: Path) -> None:
    fifo, said = tmp_path / "fifo", list[str]()
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: said.append(fifo.read_text(encoding="utf-8")))
    reader.start()
    _write(fifo)
    reader.join(10)
    assert said == ["new"]
    assert fifo.is_fifo()


def test_a_device_stays_a_device() -> None:
    _write(Path("/dev/null"))
    assert Path("/dev/null").is_char_device()


def test_what_lies_beside_the_report_is_not_touched(tmp_path: Path) -> None:
    mine = tmp_path / "record.jsonl.parts" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine", encoding="utf-8")
    _write(tmp_path / "record.jsonl")
    assert mine.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (".", "is a folder"),
        ("none/record.jsonl", "there is no folder"),
        ("loop", "Too many levels of symbolic links"),
        ("file/record.jsonl", "Not a directory"),
        ("x" * 300, "File name too long"),
    ],
)
def test_what_cannot_be_written_is_refused_in_one_line_before_any_work(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("", encoding="utf-8")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OptionError, match=words) as caught:
        RunFolder(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert "name a file that can be written" in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="everything can be written by root")
def test_a_file_that_is_read_only_is_refused(tmp_path: Path) -> None:
    (tmp_path / "record.jsonl").touch(0o444)
    with pytest.raises(OptionError, match="cannot be written"):
        RunFolder(tmp_path / "record.jsonl")


def test_a_second_run_with_the_same_report_is_refused_and_names_the_first(tmp_path: Path) -> None:
    report, link = tmp_path / "record.jsonl", tmp_path / "link.jsonl"
    link.symlink_to(report)
    with RunFolder(report):
        for name in (report, link):
            with pytest.raises(OptionError, match=rf"another run, process {os.getpid()}, is writing it"):
                RunFolder(name)
        with RunFolder(tmp_path / "other.jsonl"):
            pass
    with RunFolder(report):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["link.jsonl"]


def test_a_lock_that_was_left_behind_does_not_hold(tmp_path: Path) -> None:
    (tmp_path / ".record.jsonl.lock").write_text("1\n", encoding="utf-8")
    _write(tmp_path / "record.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["record.jsonl"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_on_a_full_device_the_record_is_kept_and_the_message_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(RecordError, match="No space left on device; the whole record is kept in") as caught:
        _write(Path("/dev/full"))
    assert Path(str(caught.value).rpartition(" ")[2]).read_text(encoding="utf-8") == "new"


def test_without_a_report_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with suppress(KeyboardInterrupt), RunFolder():
        assert list(tmp_path.iterdir())
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [None, "run.jsonl"])
def test_an_interrupt_right_behind_the_system_call_leaves_no_folder(
    name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    make, report = Path.mkdir, None if name is None else tmp_path / name

    def interrupted(path: Path, **options: Any) -> None:
        make(path, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", interrupted)
        with pytest.raises(KeyboardInterrupt):
            RunFolder(report)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    with RunFolder(report) as folder:  # the lock is free
        assert folder.path.stat().st_mode & 0o077 == 0 or os.name == "nt"
