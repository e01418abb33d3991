"""The pytest plugin: the same plan and the same verdicts with any number of workers, no silence when one dies, and what
a user of pytest expects of its options.
"""

import errno
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from kterm.conformance.records.record import read

from ...support.command import pytest_run
from ...support.frameworks import biased, miniatures, tails

MINIATURES = Path(miniatures.__file__)
SUITE = ("--pyargs", "kterm.conformance", "-p", "no:cacheprovider", "-q")
SMOKE = ("--kterm-adapter", "numpy", "--kterm-profile", "smoke")
BAD = ("--kterm-adapter", f"{MINIATURES}:WeightDecay", "--kterm-profile", "smoke", "--kterm-dtype", "f64")


def _suite(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return pytest_run(*SUITE, *arguments, folder=folder, environment=environment)


# Workers.


@pytest.mark.parametrize(
    "workers",
    [
        ("-n", "2"),
        pytest.param(("-n", "2", "--dist", "loadfile"), marks=pytest.mark.heavy),
        pytest.param(("-n", "2", "--dist", "loadgroup"), marks=pytest.mark.heavy),
        ("-n", "2", "--dist", "worksteal"),
        ("-n0",),
        ("-p", "no:xdist"),
    ],
    ids=" ".join,
)
def test_the_command_of_the_readme_conforms_and_leaves_nothing_behind(tmp_path: Path, workers: tuple[str, ...]) -> None:
    folder, temporary = tmp_path / "empty", tmp_path / "temporary"
    folder.mkdir()
    temporary.mkdir()
    done = pytest_run(
        "--pyargs", "kterm.conformance", *SMOKE, "--kterm-dtype", "f64", *workers, "-p", "no:cacheprovider",
        folder=folder, environment={"TMPDIR": str(temporary)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "planned 12 = " in done.stdout
    assert "without a result" not in done.stdout
    assert not list(folder.iterdir())
    assert not list(temporary.glob("kterm-*"))


def test_the_same_plan_and_the_same_bits_with_any_number_of_workers(tmp_path: Path) -> None:
    records = []
    for workers in ("0", "1", "2"):
        report = tmp_path / f"record-{workers}.jsonl"
        done = _suite(
            tmp_path, "--kterm-adapter", "numpy", "--kterm-adapter", f"{MINIATURES}:Silent", "--kterm-profile", "smoke",
            "--kterm-dtype", "f64", "--kterm-report", str(report), "-n", workers,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "\nconforms (componentwise)\n" in done.stdout
        records.append(report.read_bytes())
    assert records[0] == records[1] == records[2]
    assert len(list(tmp_path.iterdir())) == len(records)  # nothing but the records is left behind


def test_a_run_that_is_biased_as_a_whole_fails_though_each_item_passes(tmp_path: Path) -> None:
    records = []
    for workers in ("0", "2"):
        report = tmp_path / f"record-{workers}.jsonl"
        done = _suite(
            tmp_path, "--kterm-adapter", f"{biased.__file__}:ScaledWeights", "--kterm-profile", "quick",
            "--kterm-dtype", "f32", "--kterm-report", str(report), "-k", "f32-square or layout", "-n", workers,
        )  # fmt: skip
        assert done.returncode == 1, done.stdout + done.stderr
        assert " failed" not in done.stdout.splitlines()[-1]
        assert "scaled-weights: bias in f32, dE/dW: the mean error is +0." in done.stdout
        assert "does not conform" in done.stdout
        records.append(report.read_bytes())
    assert records[0] == records[1]


_SLOW = """
import time
from kterm.adapters.numpy_adapter import Numpy
class Slow(Numpy):
    name = "slow"
    def build(self, structure):
        time.sleep(0.4)
        return super().build(structure)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finding another process's children needs /proc")
@pytest.mark.parametrize(
    ("restarts", "with_report"),
    [("1", True), *(pytest.param(*some, marks=pytest.mark.heavy) for some in (("1", False), ("0", True)))],
)
def test_a_worker_that_is_killed_loses_nothing_that_was_recorded(
    tmp_path: Path, restarts: str, with_report: bool
) -> None:
    (tmp_path / "slow.py").write_text(_SLOW, encoding="utf-8")
    report, temporary = tmp_path / "record.jsonl", tmp_path / "temporary"
    temporary.mkdir()
    run = subprocess.Popen(
        [
            sys.executable, "-m", "pytest", *SUITE, "--kterm-adapter", "slow.py:Slow", "--kterm-profile", "smoke",
            *(("--kterm-report", str(report)) if with_report else ()), "-n", "2", "--max-worker-restart", restarts,
        ],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    end = time.monotonic() + 120
    while len(written := [p.name for p in tmp_path.rglob("[0-9]*.jsonl")]) < 5:
        assert run.poll() is None, "the run ended before a worker could be killed"
        assert time.monotonic() < end
        time.sleep(0.02)
    os.kill(_worker_of(run.pid), signal.SIGKILL)
    said, _ = run.communicate(timeout=300)
    assert run.returncode != 0, said
    assert "does not conform" in said
    accounting = re.search(r"planned 22 = (\d+) passed .* \+ (\d+) without a result", said)
    assert accounting is not None, said
    assert int(accounting[1]) >= len(written) - 1  # one of them may hold the case that is inconclusive
    if restarts == "1":
        assert int(accounting[2]) <= 2, said  # the group that the worker was at has at most two cases
    assert not list(tmp_path.rglob("*.parts"))
    assert not list(temporary.glob("kterm-*"))
    if with_report:
        record = read(report)
        unanswered = [case for _, case in record.footer["unanswered"]]
        assert len(unanswered) == int(accounting[2])
        assert len(record.cases) + len(unanswered) == record.footer["accounting"]["planned"]
        if restarts == "1":
            assert f"no result for: {unanswered[0]} on slow" in said


def _worker_of(pid: int) -> int:
    """A process that xdist started: a child of the run that is not an adapter's host."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
            words = entry.with_name("cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(fields[1]) == pid and not any(b"kterm.conformance.runners.link.host" in word for word in words):
            return int(entry.parent.name)
    raise AssertionError("no worker was found")


# Selection, and stopping before the end.


def test_only_what_is_selected_is_accounted_for(tmp_path: Path) -> None:
    report = tmp_path / "record.jsonl"
    done = _suite(
        tmp_path, "--kterm-adapter", "numpy", "--kterm-profile", "quick", "-k", "degenerate and f32", "--kterm-report",
        str(report), "-n", "0",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    record = read(report)
    assert record.cases
    assert record.header["selected"]
    assert all("-f32-degenerate-" in case for _, case in record.cases)


def test_collecting_alone_succeeds_and_writes_no_record(tmp_path: Path) -> None:
    done = _suite(tmp_path, *SMOKE, "--collect-only", "--kterm-report", "record.jsonl", "-n", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("suite.py::numpy-") == 20
    assert "conform" not in done.stdout.replace("conformance", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_that_stops_early_counts_what_has_no_result(tmp_path: Path, workers: str) -> None:
    done = _suite(tmp_path, *BAD, "-x", "--tb=no", "-n", workers)
    assert done.returncode in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
    assert re.search(r"^stopped early: no result for \d+ of 12 cases$", done.stdout, re.MULTILINE), done.stdout
    assert "no result for:" not in done.stdout


def test_the_last_failures_alone_can_be_run_again(tmp_path: Path) -> None:
    arguments = ("--pyargs", "kterm.conformance", *BAD, "-q", "--tb=no", "-n0")
    first = pytest_run(*arguments, folder=tmp_path)
    again = pytest_run(*arguments, "--lf", folder=tmp_path)
    failed = re.findall(r"^FAILED .*", first.stdout, re.MULTILINE)
    assert failed
    assert re.findall(r"^FAILED .*", again.stdout, re.MULTILINE) == failed
    assert " passed" not in again.stdout.splitlines()[-1]
    assert "no result" not in again.stdout


def test_a_run_that_checks_nothing_fails(tmp_path: Path) -> None:
    done = _suite(tmp_path, "--kterm-adapter", "numpy", "--kterm-dtype", "bf16", "-n", "0")
    assert done.returncode != 0
    assert "nothing was checked" in done.stdout


# Node ids, and what is printed of failures.


@pytest.mark.parametrize("root", [(), pytest.param(("--rootdir", ".."), marks=pytest.mark.heavy)])
def test_every_printed_node_id_selects_its_item_when_it_is_pasted(tmp_path: Path, root: tuple[str, ...]) -> None:
    folder = tmp_path / "below"
    folder.mkdir()
    (folder / "dotted.py").write_text(
        "from kterm.adapters.numpy_adapter import Numpy\n"
        "class Dotted(Numpy):\n    name = 'my.port[a::b]'\n    slopes_at_kinks = {}\n",
        encoding="utf-8",
    )
    options = ("--kterm-adapter", "dotted.py:Dotted", "--kterm-profile", "smoke", "-p", "no:cacheprovider", *root)
    done = pytest_run(
        "--pyargs", "kterm.conformance", *options, "-v", "-rA", "-n0", "--junitxml", "results.xml", folder=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    while_running = re.findall(r"^(\S+) PASSED +\[", done.stdout, re.MULTILINE)
    assert len(while_running) == 20
    assert re.findall(r"^PASSED (\S+)$", done.stdout, re.MULTILINE) == while_running
    properties = ElementTree.parse(folder / "results.xml").iter("property")
    in_xml = [one.attrib["value"] for one in properties if one.attrib["name"] == "nodeid"]
    assert [os.path.abspath(folder / name) for name in in_xml] == [
        os.path.abspath(folder / name) for name in while_running
    ]
    for pasted in (while_running[2], in_xml[2]):
        again = pytest_run(pasted, *options, "-v", "-n0", folder=folder)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "collected 1 item" in again.stdout
        assert Path(pasted).name in again.stdout


def test_a_failure_is_explained_without_a_traceback(tmp_path: Path) -> None:
    done = _suite(
        tmp_path, "--kterm-adapter", f"{MINIATURES}:WeightDecay", "--kterm-profile", "quick", "--kterm-dtype", "f64",
        "-k", "square", "-n", "0",
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert not re.search(r"\.py:\d+", done.stdout)
    assert re.search(
        r"dE/dW_\d+\[\d+, \d+\] \(\w+\): the framework gives \S+, the rule \S+; \S+ σ, \S+ times the tolerance",
        done.stdout,
    )
    for command in ("shrink", "replay", "reproduce"):
        assert re.search(rf"kterm {command} \S+ {re.escape(str(MINIATURES))}:WeightDecay", done.stdout)


def test_an_expected_divergence_is_an_xfail_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "known.toml").write_text(
        '[[expectation]]\nadapter = "weight-decay"\ncheck = ["weight_gradients", "descent", "batch"]\n'
        'reason = "it decays its weights"\n',
        encoding="utf-8",
    )
    done = _suite(tmp_path, *BAD, "--kterm-expectations", "known.toml", "-rx", "-n0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^XFAIL \S+ - .*expected in \d of \d cases: it decays its weights", done.stdout, re.MULTILINE)
    assert re.search(r"\d+ xfailed", done.stdout)
    assert re.search(r" \+ 0 failed \+ \d+ expected", done.stdout)


# Mistakes, and a disk that is full.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--kterm-adapter", "tensorflop"), "tensorflop"),
        (("--kterm-adapter", "numpy", "--kterm-profile", "quik"), "did you mean quick?"),
        (("--kterm-adapter", "numpy", "--kterm-expectations", "none.toml"), "none.toml"),
        (("--kterm-adapter", "numpy", "--kterm-timeout", "0"), "timeout 0: give a positive number of seconds"),
        (("--kterm-adapter", "numpy", "--kterm-timeout", "nan"), "timeout nan: give a positive number of seconds"),
        (("--kterm-adapter", "numpy", "--kterm-report", "."), "is a folder; name a file that can be written"),
    ],
)
def test_a_wrong_option_is_a_usage_error(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    done = _suite(tmp_path, *arguments, "-n", "0")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "Traceback" not in done.stderr
    assert words in done.stderr


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_disk_that_fills_up_stops_the_run_and_what_was_written_is_kept(tmp_path: Path, workers: str) -> None:
    (tmp_path / "conftest.py").write_text(
        "import os\n"
        "from kterm.conformance.records import run\n"
        "write = run.write_part\n"
        "def full(folder, number, *rest):\n"
        f"    if number > 4: raise OSError({errno.ENOSPC}, os.strerror({errno.ENOSPC}))\n"
        "    write(folder, number, *rest)\n"
        "run.write_part = full\n",
        encoding="utf-8",
    )
    done = pytest_run(str(tmp_path), *SUITE, *SMOKE, "--kterm-report", "record.jsonl", "-n", workers, folder=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    kept = re.search(r"No space left on device; .*; the results so far are kept in (\S+)", done.stdout)
    assert kept is not None, done.stdout
    assert len(list(Path(kept[1]).glob("[0-9]*.jsonl"))) >= 3
    assert not (tmp_path / "record.jsonl").exists()


# Without an adapter.


def test_without_an_adapter_the_plugin_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(
        "import sys\n"
        "def test_one():\n"
        "    assert 'kterm.conformance.interfaces.plugin' in sys.modules\n"
        "    heavy = {'numpy', 'scipy', 'torch', 'jax', 'rich', 'typer', 'kterm.reference'}\n"
        "    heavy.add('kterm.conformance.records.run')\n"
        "    assert not heavy & set(sys.modules)\n",
        encoding="utf-8",
    )
    done = pytest_run("-q", "-p", "no:cacheprovider", folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "kterm" not in done.stdout


def test_the_plugin_costs_next_to_nothing_without_an_adapter(tmp_path: Path) -> None:
    """Counted in imported modules, not in seconds: nothing but the plugin and the packages around it that pytest has
    not imported already.
    """
    script = (
        "import sys, pytest, _pytest.config\n"
        "before = set(sys.modules)\n"
        "import kterm.conformance.interfaces.plugin\n"
        "print(*(name for name in set(sys.modules) - before if not name.startswith('__editable__')))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    parts = ["kterm", "conformance", "interfaces", "plugin"]
    assert set(done.stdout.split()) == {".".join(parts[:i]) for i in range(1, len(parts) + 1)}


def test_at_level_normwise_what_is_only_componentwise_passes(tmp_path: Path) -> None:
    coarse = ("--kterm-adapter", f"{Path(tails.__file__)}:ClippedSilu", "--kterm-profile", "quick")
    coarse = (*coarse, "--kterm-dtype", "f32", "-p", "no:xdist", "-k", "tails")
    done = _suite(tmp_path, *coarse, "--kterm-level", "normwise")
    assert done.returncode == 0, done.stdout
    assert "are componentwise only and pass at level normwise\nconforms (normwise)\n" in done.stdout
    done = _suite(tmp_path, *coarse, "--kterm-level", "loose")
    assert done.returncode == 4
    assert "kterm: unknown level 'loose'; known are componentwise, normwise" in done.stdout + done.stderr
