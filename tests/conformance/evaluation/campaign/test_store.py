"""The folder of a campaign: nothing is lost, nothing counts twice, and nothing else is taken for it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kterm.conformance.cases.plan import OptionError, make_options
from kterm.conformance.evaluation.campaign.drive import Goal, drive
from kterm.conformance.evaluation.campaign.store import ASKED, UNITS, Store
from kterm.conformance.evaluation.campaign.units import Unit, make_units
from kterm.conformance.records.form.files import RecordError

from . import CASES, COST, RUN, Done, small_campaign


class Workers:
    """Workers that answer at once, the last unit first, and keep which they were given."""

    def __init__(self, room: int = 3, refused: str = "") -> None:
        self._lines = {unit.number: line for unit, line in small_campaign()}
        self._room, self._refused = room, refused
        self._units: list[Unit] = []
        self.given: list[int] = []

    @property
    def has_room(self) -> bool:
        return len(self._units) < self._room

    @property
    def running(self) -> int:
        return len(self._units)

    def submit(self, unit: Unit) -> None:
        self._units.append(unit)
        self.given.append(unit.number)

    def take(self, seconds: float) -> Done | None:
        unit = self._units.pop()
        return Done(unit, self._lines[unit.number], refused=self._refused)


def _drive(folder: Path, cases: int = CASES, workers: Workers | None = None) -> tuple[list[int], bytes]:
    """Which units were run, and the units in order."""
    workers = workers or Workers()
    with Store(folder) as store:
        store.begin(RUN, COST)
        drive(workers, make_units(RUN, COST), Goal(cases), store, lambda unit, line: None)
        return workers.given, b"".join(line for _, line in store.lines())


def test_a_campaign_goes_on_where_it_was(tmp_path: Path) -> None:
    given, whole = _drive(tmp_path / "at once")
    assert sorted(given) == [unit.number for unit, _ in small_campaign()]
    first, _ = _drive(tmp_path / "in two", 100)
    rest, _ = _drive(tmp_path / "in two", 100)
    assert rest == []
    rest, both = _drive(tmp_path / "in two")
    assert sorted([*first, *rest]) == sorted(given)
    assert both == whole


def test_a_line_that_was_cut_short_is_run_again(tmp_path: Path) -> None:
    _, whole = _drive(tmp_path / "c")
    path = tmp_path / "c" / UNITS
    text = path.read_bytes()
    for cut in (1, 30, len(text.splitlines(keepends=True)[-1]) - 1):
        path.write_bytes(text[:-cut])
        given, again = _drive(tmp_path / "c")
        assert len(given) == 1
        assert again == whole


def test_a_line_that_was_written_when_an_interrupt_came_counts(tmp_path: Path) -> None:
    unit, line = small_campaign()[0]
    with Store(tmp_path / "c") as store:
        store.begin(RUN, COST)
        with (tmp_path / "c" / UNITS).open("ab") as other:
            other.write(line + b"\n")
        assert unit.number not in store.done
        store.reread()
        assert store.done == {unit.number}


def test_a_unit_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    _, whole = _drive(tmp_path / "c")
    path = tmp_path / "c" / UNITS
    # The second of each has another seed, so that it is seen which one counts.
    path.write_bytes(whole + whole.replace(b'"seed":0', b'"seed":9'))
    assert path.read_bytes() != whole * 2
    given, again = _drive(tmp_path / "c")
    assert given == []
    assert again == whole
    with Store(tmp_path / "c") as store:
        store.begin(RUN, COST)
        assert not store.write(0, b"{}", 1.0)


def test_a_damaged_line_is_refused(tmp_path: Path) -> None:
    _drive(tmp_path / "c")
    path = tmp_path / "c" / UNITS
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1][:50] + b"\n", *lines[2:]]))
    with pytest.raises(RecordError, match="line 2 is damaged; delete it, and its unit is run again"):
        _drive(tmp_path / "c")


def test_another_campaign_is_refused(tmp_path: Path) -> None:
    _drive(tmp_path / "c")
    other = make_options("standard", 3, ["f32"], ["tanh", "relu"], regimes=["square"])
    newer = replace(RUN.adapters[0], version="99")
    cases = {
        "profile was quick, and is standard; seed was 0, and is 3; regimes was square kinks, and is square": replace(
            RUN, options=other
        ),
        "its adapters were numpy .*, and are numpy 99": replace(RUN, adapters=(newer,)),
        "numpy had another layout": replace(RUN, adapters=(replace(RUN.adapters[0], layout="in x out T"),)),
        "device was none, and is cuda": replace(RUN, device="cuda"),
        "the expectations are others": replace(RUN, expectations=RUN.expectations[1:]),
    }
    with Store(tmp_path / "c") as store:
        for words, run in cases.items():
            with pytest.raises(
                OptionError, match=rf"^campaign \S+c: {words}.*; ask for the same, or name another folder$"
            ):
                store.begin(run, COST)
        with pytest.raises(OptionError, match=r"unit_cost was 2000\.0, and is 1\.0"):
            store.begin(RUN, 1.0)
        store.begin(replace(RUN, timeout=1.0), COST)


def test_another_environment_is_refused(tmp_path: Path) -> None:
    _drive(tmp_path / "c")
    path = tmp_path / "c" / ASKED
    asked = json.loads(path.read_text(encoding="utf-8"))
    asked["place"]["kterm"] = "0.0.1"
    path.write_text(json.dumps(asked), encoding="utf-8")
    with pytest.raises(OptionError, match=r"kterm was 0.0.1, and is 0.1.0; ask for the same"):
        _drive(tmp_path / "c")
    path.write_text("{", encoding="utf-8")
    with pytest.raises(OptionError, match=r"campaign\.json is damaged; name another folder"):
        _drive(tmp_path / "c")
    path.unlink()
    with pytest.raises(OptionError, match=r"has no campaign.json; name another folder"):
        _drive(tmp_path / "c")


def test_nothing_is_left_of_a_campaign_that_does_not_begin(tmp_path: Path) -> None:
    with Store(tmp_path / "c"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_two_campaigns_cannot_write_one_folder(tmp_path: Path) -> None:
    with (
        Store(tmp_path / "c"),
        pytest.raises(OptionError, match=r"campaign \S+c: another run, process \d+, is writing it; .* another folder"),
    ):
        Store(tmp_path / "c")
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match=r"campaign \S+file: File exists; name a folder that can be written"):
        Store(tmp_path / "file")


def test_a_worker_that_is_unlike_this_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="worker here: kterm is 9, not 0; workers must be like this machine"):
        _drive(tmp_path / "c", workers=Workers(refused="kterm is 9, not 0"))


def test_when_the_time_is_over_what_is_in_work_is_waited_for(tmp_path: Path) -> None:
    workers = Workers()
    with Store(tmp_path / "c") as store:
        store.begin(RUN, COST)
        drive(workers, make_units(RUN, COST), Goal(None, -1.0), store, lambda unit, line: None)
        assert workers.given == []
        now = iter([0.0, 0.0, 2.0, 2.0])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("time.monotonic", lambda: next(now, 2.0))
            drive(workers, make_units(RUN, COST), Goal(None, 1.0), store, lambda unit, line: None)
        assert store.done == {0, 1}
