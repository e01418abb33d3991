"""`kterm campaign` as users call it: workers that die, campaigns that are killed, and what is asked for wrongly."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("distributed")

from kterm.conformance.evaluation.campaign import cluster
from tests.support.command import assert_one_line, group_is_gone, interrupt, kterm
from tests.support.here import kterm_here

ASKED = (
    "numpy",
    "--unit-seconds",
    "0.1",
    "--profile",
    "quick",
    "--dtype",
    "f32",
    "--activation",
    "tanh",
    "--regime",
    "square",
)
MANY = ("--cases", "400")
_MAIN = "from kterm.conformance.commands.cli import main; main()"


def _start(*arguments: str, folder: Path) -> "subprocess.Popen[str]":
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    return subprocess.Popen(
        [sys.executable, "-c", f"{heed}\n{_MAIN}", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def _children(parent: int) -> list[int]:
    """The processes that any thread of a process started."""
    listed = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(one) for path in listed for one in path.read_text().split()]


def _has_units(folder: Path, count: int, run: "subprocess.Popen[str]") -> bool:
    path = folder / "units.jsonl"
    while run.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return True
        time.sleep(0.02)
    return False


def _workers(run: "subprocess.Popen[str]") -> list[int]:
    """The processes that have the adapter as a child."""
    return [one for one in _children(run.pid) if any("host" in _command(child) for child in _children(one))]


def _command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed campaign."""
    folder = tmp_path_factory.mktemp("whole")
    done = kterm_here("campaign", *ASKED, *MANY, "-n", "0", "-o", "c", folder=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith("PASS numpy")
    return folder / "c"


def _listens_to_this_machine_alone(processes: list[int]) -> bool:
    """Whether nothing that these processes listen to is at an address that other machines can reach."""
    sockets = set[str]()
    for file in (file for one in processes for file in Path(f"/proc/{one}/fd").iterdir()):
        with suppress(FileNotFoundError):
            sockets.add(os.readlink(file))
    rows = [line.split() for kind in ("tcp", "tcp6") for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]
    assert listening
    return all(address.startswith("0100007F:") for address in listening)


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds processes in /proc")
def test_whatever_dies_the_campaign_is_the_same(whole: Path, tmp_path: Path) -> None:
    wanted = (*ASKED, *MANY, "-o")
    # All of it is killed, and goes on with two workers, one of them killed.
    first = _start("campaign", *wanted, "parts", "-n", "0", folder=tmp_path)
    assert _has_units(tmp_path / "parts", 2, first)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert group_is_gone(first)
    second = _start("campaign", *wanted, "parts", "-n", "2", folder=tmp_path)
    done = (tmp_path / "parts" / "units.jsonl").read_bytes().count(b"\n")
    assert _has_units(tmp_path / "parts", done + 1, second)
    workers = _workers(second)
    assert workers
    assert _listens_to_this_machine_alone([second.pid, *workers])
    hosts = [host for worker in workers for host in _children(worker)]
    os.kill(workers[0], signal.SIGKILL)
    said, errors = second.communicate(timeout=120)
    assert second.returncode == 0, errors
    assert said.splitlines()[1].startswith("PASS numpy")
    parts = tmp_path / "parts"
    assert (parts / "summary.json").read_bytes() == (whole / "summary.json").read_bytes()
    lines = [sorted((folder / "units.jsonl").read_bytes().splitlines()) for folder in (whole, parts)]
    assert lines[0] == lines[1]
    assert group_is_gone(second)
    assert not any("link.host" in _command(host) for host in hosts)


def test_ctrl_c_keeps_what_is_there(tmp_path: Path) -> None:
    run = _start("campaign", *ASKED, "--hours", "1", "-o", "c", "-n", "1", folder=tmp_path)
    assert _has_units(tmp_path / "c", 1, run)
    interrupt(run)
    said, errors = run.communicate(timeout=60)
    assert run.returncode == 130, errors
    assert "Traceback" not in errors
    assert said.splitlines()[-1].endswith("keeps what was done, and the same command goes on")
    assert group_is_gone(run)
    summary = json.loads((tmp_path / "c" / "summary.json").read_text())
    assert summary["units"] == (tmp_path / "c" / "units.jsonl").read_bytes().count(b"\n") > 0


KILLER = '''
import os, signal
from kterm.adapters.numpy_adapter import Numpy

class Killer(Numpy):
    """Ends the worker that asks it for a network of three layers."""

    name = "killer"

    def build(self, structure):
        if structure.network.depth == 3:
            os.kill(os.getppid(), signal.SIGKILL)
        return super().build(structure)
'''


@pytest.mark.heavy
def test_a_unit_that_kills_its_workers_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "killer.py").write_text(KILLER)
    few = "import kterm.conformance.evaluation.campaign.cluster as cluster; cluster.MOST_DEATHS = 1"
    asked = ("killer.py:Killer", *ASKED[1:], "--cases", "200", "-o", "c")
    done = kterm("campaign", *asked, "-n", "1", folder=tmp_path, first=few)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "contract errored in" in done.stdout
    assert "1 worker died while it ran this case or others of its unit" in done.stdout
    (adapter,) = json.loads((tmp_path / "c" / "summary.json").read_text())["adapters"]
    assert adapter["statuses"]["errored"] > 0
    assert adapter["statuses"]["passed"] > 0


def test_a_mistake_is_named_and_exits_with_1(tmp_path: Path) -> None:
    asked = (*ASKED, "--mutant", "no-slope-hidden", "--cases", "100", "-n", "0", "-o", "c")
    done = kterm_here("campaign", *asked, folder=tmp_path)
    assert done.returncode == 1
    assert "it equals the rule with no f' in hidden layers" in done.stdout
    assert "found: numpy: k_terms wrong" in done.stderr


def test_what_is_asked_for_wrongly_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for arguments, words in (
        (("-o", "c"), "say how much to run: --cases N, --hours H or both"),
        (("--cases", "0", "-o", "c"), "--cases 0: give at least 1"),
        (("--cases", "1", "--unit-seconds", "nan"), "--unit-seconds nan: give a positive number of seconds"),
        (("--hours", "-1", "-o", "c"), "--hours -1: give a positive number of hours"),
    ):
        assert_one_line(kterm_here("campaign", *ASKED, *arguments, folder=tmp_path), 2, words)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "distributed", None)
        done = kterm_here("campaign", *ASKED, "--cases", "9", folder=tmp_path)
    assert_one_line(done, 2, "dask.distributed is not installed; pip install 'kterm[dask]'")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(cluster, "CONNECT", 0.5)
    at = f"tcp://127.0.0.1:{port}"
    done = kterm_here("campaign", *ASKED, "--cases", "9", "--scheduler", at, folder=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert f"scheduler {at}: " in done.stderr


CLUSTER = """
import sys
import threading
import kterm.conformance.records.run as run
here = run.describe_place()
if len(sys.argv) > 1:
    run.describe_place = lambda: {**here, "kterm": sys.argv[1]}
from distributed import LocalCluster
alone = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "protocol": "tcp", "processes": False}
with LocalCluster(n_workers=1, threads_per_worker=2, **alone) as cluster:
    ended = threading.Event()
    def change():
        for count in (2, 1, 3, 2) * 100:
            if ended.wait(0.7):
                return
            cluster.scale(count)
    threading.Thread(target=change).start()
    print(cluster.scheduler_address, flush=True)
    input()
    ended.set()
"""
"""A scheduler with workers in its process, which come and go, and may say that they have another version of kterm."""


def _hosts_of(parent: int) -> list[int]:
    return [child for child in _children(parent) if "link.host" in _command(child)]


def _with_cluster(asked: tuple[str, ...], folder: Path, *version: str) -> "subprocess.CompletedProcess[str]":
    """A campaign on a scheduler of its own. None of the adapters' processes may outlive it."""
    command = [sys.executable, "-c", CLUSTER, *version]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        address = running.stdout.readline().strip()
        done = kterm("campaign", *asked, "--scheduler", address, folder=folder)
        # A worker that is leaving just now ends its process in a moment.
        until = time.monotonic() + 20
        while (left := _hosts_of(running.pid)) and time.monotonic() < until:
            time.sleep(0.1)
        running.communicate("\n")
    assert left == []
    return done


def test_workers_of_a_scheduler_may_come_and_go(whole: Path, tmp_path: Path) -> None:
    done = _with_cluster((*ASKED, *MANY, "-o", "c"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "c" / "summary.json").read_bytes() == (whole / "summary.json").read_bytes()


@pytest.mark.heavy
def test_workers_that_are_unlike_this_machine_are_refused(tmp_path: Path) -> None:
    done = _with_cluster((*ASKED, "--cases", "80", "-o", "c"), tmp_path, "0.0.1")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("kterm: worker ")
    assert line.endswith(": kterm is 0.0.1, not 0.1.0; workers must be like this machine")
