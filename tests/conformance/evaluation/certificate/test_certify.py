"""The file of a certificate, its schema, the files that are named beside the record, and `--verify`."""

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kterm.conformance.evaluation.certificate.make import from_bytes, to_text
from kterm.conformance.evaluation.certificate.schema import format_schema
from kterm.conformance.mutants import MISTAKES

from ....support.here import kterm_here
from .conftest import FILES, Recorder

SMOKE = ("--profile", "smoke")
DOCS = Path(__file__).resolve().parents[4] / "docs"


def _certify(folder: Path, record: Path, *options: str, code: int = 0) -> str:
    """What is printed, and said on standard error."""
    done = kterm_here("certify", str(record), *options, folder=folder)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def _loaded(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


# The file.


def test_the_schema_of_the_page_is_that_of_the_types() -> None:
    assert (DOCS / "certificate.schema.json").read_text(encoding="utf-8") == format_schema()


@pytest.mark.parametrize("run", [("port.py:Port",), ("port.py:Off", "--expectations", "bounded.toml")])
def test_a_certificate_satisfies_its_schema(run: tuple[str, ...], record: Recorder, tmp_path: Path) -> None:
    """The types, which the schema is made from, refuse what is missing, of another type, or unknown."""
    _certify(tmp_path, record(*run), "-o", "c.json")
    data = (tmp_path / "c.json").read_bytes()
    assert to_text(from_bytes(data)).encode() == data


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.update(endorsed=True),
        lambda one: one.update(level="perfect"),
        lambda one: one.pop("left_out"),
        lambda one: one["record"].update(sha256="0"),
        lambda one: one["grades"][0].update(cases=-1),
        lambda one: one["adapter"].update(name=1),
        lambda one: one.update(kind="certificate"),
        lambda one: one.update(schema=2),
    ],
)
def test_what_is_no_certificate_is_refused(change: Callable[[Any], object], record: Recorder, tmp_path: Path) -> None:
    path = record("port.py:Port")
    _certify(tmp_path, path, "-o", "c.json")
    data = _loaded(tmp_path / "c.json")
    change(data)
    with pytest.raises(ValueError, match="is no certificate that this version knows"):
        from_bytes(json.dumps(data).encode())
    (tmp_path / "c.json").write_text(json.dumps(data), encoding="utf-8")
    said = _certify(tmp_path, path, "--verify", "c.json", code=2)
    assert said.startswith("kterm: --verify c.json: is no certificate")
    assert said.count("\n") == 1


def test_equal_records_give_equal_bytes(record: Recorder, tmp_path: Path) -> None:
    path = record("port.py:Port")
    packed = tmp_path / "run.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for source, name in ((path, "a"), (packed, "b")):
        _certify(tmp_path, source, "-o", f"{name}.json")
    for end in ("json", "svg"):
        assert (tmp_path / f"a.{end}").read_bytes() == (tmp_path / f"b.{end}").read_bytes()


@pytest.mark.parametrize(
    ("options", "due"),
    [
        (("--badge", "b.png"), "--badge b.png: name a file that ends with .svg"),
        (("-o", "/dev/null/certificates"), "Not a directory; name a file or folder that can be written"),
        (("--kills", "none.json"), "--kills none.json: No such file or directory; name a readable file"),
        (("--verify", "none.json"), "--verify none.json: No such file or directory; name a readable file"),
    ],
)
def test_files_that_do_not_fit_are_one_line(
    options: tuple[str, ...], due: str, record: Recorder, tmp_path: Path
) -> None:
    said = _certify(tmp_path, record("port.py:Port"), *options, code=2)
    assert (due in said, said.count("\n")) == (True, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_made(record: Recorder, tmp_path: Path) -> None:
    _certify(tmp_path, record("port.py:Port"), "-o", "some/folder", code=0)
    assert len(list((tmp_path / "some" / "folder").iterdir())) == 2


def test_one_file_holds_one_certificate(record: Recorder, tmp_path: Path) -> None:
    path = record("port.py:Port", "port.py:Silent")
    for options in (("-o", "c.json"), ("--badge", "b.svg")):
        assert "is one file, and the record has port, silent" in _certify(tmp_path, path, *options, code=2)
    _certify(tmp_path, path, "-o", "c.json", "--badge", "b.svg", "--adapter", "silent")
    assert _loaded(tmp_path / "c.json")["adapter"]["name"] == "silent"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["b.svg", "c.json"]
    _certify(tmp_path, path)
    assert {one.name for one in tmp_path.iterdir()} >= {"kterm-port.json", "kterm-silent.json", "kterm-silent.svg"}


def test_a_certificate_of_two_is_that_of_one_alone(record: Recorder, tmp_path: Path) -> None:
    """All but the digest, and the environment: threadpoolctl sets a variable in the first run of a process only."""
    _certify(tmp_path, record("port.py:Port"), "-o", "one.json")
    _certify(tmp_path, record("port.py:Port", "port.py:Silent"), "-o", "two.json", "--adapter", "port")
    one, two = (_loaded(tmp_path / f"{name}.json") for name in ("one", "two"))
    assert one["record"].pop("sha256") != two["record"].pop("sha256")
    del one["place"]["environment"]["variables"], two["place"]["environment"]["variables"]
    assert one == two


# A certificate compared with its record.

CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "level": lambda one: one.update(level="strict"),
    "levels.f32": lambda one: one["levels"].update(f32="declared"),
    "left_out": lambda one: one["left_out"].pop(),
    "accounting.passed": lambda one: one["accounting"].update(passed=10**6),
    "grades[0].worst": lambda one: one["grades"][0].update(worst=0.001),
    "adapter.version": lambda one: one["adapter"].update(version="2.0"),
    "record.sha256": lambda one: one["record"].update(sha256="0" * 64),
    "tolerance.sigmas": lambda one: one["tolerance"].update(sigmas=5.0),
    "kills": lambda one: one.update(kills={"sha256": "0" * 64, "by_dtype": []}),
}


def test_a_certificate_is_as_its_record_gives_it(record: Recorder, tmp_path: Path) -> None:
    path = record("port.py:Port")
    _certify(tmp_path, path, "-o", "c.json")
    assert _certify(tmp_path, path, "--verify", "c.json") == "c.json: is as the record gives it\n"
    other = _certify(tmp_path, record("port.py:Silent"), "--verify", "c.json", code=2)
    assert "unknown adapter of the record 'port'" in other


@pytest.mark.parametrize("where", CHANGES)
def test_a_figure_that_was_changed_is_found(where: str, record: Recorder, tmp_path: Path) -> None:
    path = record("port.py:Port")
    _certify(tmp_path, path, "-o", "c.json")
    data = _loaded(tmp_path / "c.json")
    CHANGES[where](data)
    (tmp_path / "changed.json").write_text(json.dumps(data), encoding="utf-8")
    if where == "kills":  # what was measured beside the run is compared if its file is named
        assert "not compared: kills; give --kills FILE" in _certify(tmp_path, path, "--verify", "changed.json")
        return
    said = _certify(tmp_path, path, "--verify", "changed.json", code=1)
    assert said.startswith(f"{where}: ")
    assert said.endswith("changed.json: differs in 1 place\n")


# What was repeated.


def test_what_was_repeated_stands_in_the_certificate(record: Recorder, tmp_path: Path) -> None:
    (tmp_path / "port.py").write_text(FILES["port.py"], encoding="utf-8")
    path = record("port.py:Port")
    again = ("--recheck", "3", "--trust")
    said = _certify(tmp_path, path, "-o", "c.json", *again)
    found = _loaded(tmp_path / "c.json")["repeated"]
    assert found["chosen"] >= 3
    assert found["cases"] >= found["chosen"]
    assert found["to_the_last_digit"] is True
    assert f"repeated {found['cases']:,} cases: all as recorded" in said
    assert "not compared: repeated; give --recheck N" in _certify(tmp_path, path, "--verify", "c.json")
    assert "not compared" not in _certify(tmp_path, path, "--verify", "c.json", *again)


# Kill score and calibration.


@pytest.fixture(scope="module")
def measured(record: Recorder) -> Path:
    """The folder of the records, with files of `kterm mutants` and `kterm calibrate` of the port."""
    folder = record("port.py:Port").parent
    for command in (
        ("mutants", "port.py:Port", *SMOKE, "--dtype", "f64", "--brief", "-n", "0", "--json", "kills.json"),
        ("calibrate", "port.py:Port", "--draws", "40", "--networks", "0", "-n", "0", "--json", "calibration.json"),
    ):
        done = kterm_here(*command, folder=folder)
        assert done.returncode in (0, 1), done.stdout + done.stderr
    return folder


def test_kill_score_and_calibration_are_those_of_their_files(record: Recorder, measured: Path, tmp_path: Path) -> None:
    kills, calibration = (measured / f"{name}.json" for name in ("kills", "calibration"))
    said = _certify(
        tmp_path, record("port.py:Port"), "-o", "c.json", "--kills", str(kills), "--calibration", str(calibration)
    )
    found = _loaded(tmp_path / "c.json")
    assert found["kills"]["sha256"] == hashlib.sha256(kills.read_bytes()).hexdigest()
    fates, mistakes = _loaded(kills)["fates"], {one.name for one in MISTAKES}
    for one in found["kills"]["by_dtype"]:
        own = {f["mutant"]: f for f in fates if f["dtype"] == one["dtype"] and f["mutant"] in mistakes}
        killed = [name for name, f in own.items() if any(cell["killed"] for cell in f["regimes"].values())]
        assert one["killed"] == len(killed) > 50
        assert one["survived"] == [name for name, f in own.items() if f["state"] == "survived"]
        assert one["killed"] + len(one["survived"]) + one["not_applicable"] == len(mistakes)
        assert one["score"] == pytest.approx(len(killed) / (len(killed) + len(one["survived"])))
        assert f"finds {len(killed)} of" in said
    assert [one["dtype"] for one in found["kills"]["by_dtype"]] == ["f64"]
    spread = _loaded(calibration)["spread"]
    assert found["calibration"]["cases"] == sum(one["judged"] for one in spread)
    assert found["calibration"]["false_alarms"] == sum(one["alarms"] for one in spread) == 0
    limit = 1 - 0.05 ** (1 / found["calibration"]["cases"])
    assert found["calibration"]["rate_below"] == pytest.approx(limit, rel=6e-3)
    from_bytes((tmp_path / "c.json").read_bytes())


ODD: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "suite": (lambda one: one.update(suite="0.0.9"), "is of kterm 0.0.9, numbers"),
    "numbers": (lambda one: one.update(numbers="0"), "measure it anew"),
    "sigmas": (lambda one: one.update(sigmas=5.0), "λ = 5; here"),
    "profile": (lambda one: one.update(profile="standard"), "has profile standard and seed 0"),
    "seed": (lambda one: one.update(seed=1), "has profile smoke and seed 1"),
    "without": (lambda one: one.update(without=["descent"]), "measured with a part of the checks"),
    "gradients alone": (lambda one: one.update(gradients_alone=True), "measured with a part of the checks"),
    "another adapter": (lambda one: one["adapters"][0].update(name="torch"), "is of torch, and not of port"),
    "another version": (lambda one: one["adapters"][0].update(version="2"), "declares other things"),
    "another plan": (lambda one: one["adapters"][0].update(max_structures=5), "declares other things"),
    "no description": (lambda one: one["adapters"][0].pop("slopes_at_kinks"), "declares other things"),
    "a mutant left out": (lambda one: one["fates"].pop(), "lacks the mutant"),
    "a mutant twice": (lambda one: one["fates"].append(one["fates"][0]), "twice in"),
    "a state": (lambda one: one["fates"][0].update(state="found"), "and its cases do not"),
    "no fates": (lambda one: one.update(fates=[]), "has no mutant of port"),
    "no file of mutants": (lambda one: one.pop("fates"), "was not written with --json of that command"),
}


@pytest.mark.parametrize("name", ODD)
def test_kills_of_something_else_are_refused(name: str, record: Recorder, measured: Path, tmp_path: Path) -> None:
    data = _loaded(measured / "kills.json")
    change, due = ODD[name]
    change(data)
    (tmp_path / "odd.json").write_text(json.dumps(data), encoding="utf-8")
    said = _certify(tmp_path, record("port.py:Port"), "--kills", "odd.json", code=2)
    assert (due in said, said.count("\n")) == (True, 1), said
    assert said.startswith("kterm: --kills odd.json: ")


def test_a_calibration_of_something_else_is_refused(record: Recorder, measured: Path, tmp_path: Path) -> None:
    for change, due in (
        (lambda one: one.update(spread=[]), "has 0 alarms in 0 cases of port"),
        (lambda one: one["spread"][0]["statuses"].update(errored=1), "1 case of port errored"),
        (lambda one: one["spread"][0].update(alarms=10**6), "1,000,000 alarms in"),
        (lambda one: one.update(numbers="0"), "measure it anew"),
    ):
        data = _loaded(measured / "calibration.json")
        change(data)
        (tmp_path / "odd.json").write_text(json.dumps(data), encoding="utf-8")
        said = _certify(tmp_path, record("port.py:Port"), "--calibration", "odd.json", code=2)
        assert (due in said, said.count("\n")) == (True, 1), said
