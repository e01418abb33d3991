"""What is done otherwise on Windows and macOS, as far as it can be seen on another system: calls that are not there
stand behind a look at `sys.platform`, and the branches for Windows do what they should.
"""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from kterm.conformance.cases.plan import OptionError
from kterm.conformance.records import folder
from kterm.conformance.runners import environments, workers
from kterm.conformance.runners.link import channel, endings

ROOT = Path(__file__).resolve().parents[3]
ROOMS = ("reference", "adapters", "conformance", "src")
POSIX_MODULES = {"crypt", "fcntl", "grp", "nis", "posix", "pty", "pwd", "resource", "spwd", "syslog", "termios", "tty"}
"""Modules of the standard library that Windows lacks."""


def _unguarded(path: Path) -> Iterator[str]:
    """The imports of these modules that stand behind no look at the platform."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "platform" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        if id(node) not in guarded and {name.partition(".")[0] for name in names} & POSIX_MODULES:
            yield f"{path}: {ast.unparse(node)}"


def test_no_module_imports_what_windows_lacks() -> None:
    found = [one for room in ROOMS for path in (ROOT / room).rglob("*.py") for one in _unguarded(path)]
    assert found == []


def test_an_import_of_what_windows_lacks_is_found(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("import fcntl\nfrom resource import getrusage\n")
    assert len(list(_unguarded(path))) == 2
    path.write_text("import sys\nif sys.platform != 'win32':\n    import fcntl\n")
    assert list(_unguarded(path)) == []


def test_ci_finds_calls_of_what_windows_lacks(tmp_path: Path) -> None:
    stage = re.search(r"^on\(\) \{ (pyright --pythonplatform) \"\$1\" \$callers; \}$", _CI, re.M)
    assert stage is not None
    calls = ("os.fork()", "os.killpg(1, 9)", "os.getuid()", "signal.SIGKILL", "signal.alarm(1)", "os.O_NOFOLLOW")
    path = tmp_path / "module.py"
    path.write_text("import os\nimport signal\n" + "".join(f"print({call})\n" for call in calls))
    command = [sys.executable, "-m", *stage[1].split(), "Windows", str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(re.findall("is not a known attribute", done.stdout)) == len(calls), done.stdout


_CI = (ROOT / ".ci/run").read_text(encoding="utf-8")


def test_ci_looks_at_every_module_that_could_call_it() -> None:
    modules = re.search(r"^modules='(.*)'$", _CI, re.M)
    rooms = re.search(r"^callers=.*--include='\*\.py' (.*)\)$", _CI, re.M)
    assert modules is not None
    assert rooms is not None
    assert set(rooms[1].split()) == {"reference", "adapters", "conformance"}
    # All that these modules import of the standard library, beside what is the same on every system.
    same = {
        "__future__", "abc", "argparse", "array", "ast", "base64", "binascii", "bisect", "builtins", "bz2", "code",
        "collections", "concurrent", "contextlib", "copy", "csv", "ctypes", "dataclasses", "datetime", "decimal",
        "difflib", "enum", "fnmatch", "fractions", "functools", "gc", "glob", "gzip", "hashlib", "heapq", "html",
        "importlib", "inspect", "io", "itertools", "json", "keyword", "linecache", "logging", "lzma", "math",
        "numbers", "operator", "pathlib", "pickle", "platform", "pprint", "queue", "random", "re", "reprlib",
        "runpy", "secrets", "shlex", "statistics", "string", "struct", "sys", "tempfile", "textwrap", "threading",
        "tokenize", "tomllib", "traceback", "types", "typing", "unicodedata", "urllib", "uuid", "venv", "warnings",
        "weakref", "xml", "zipfile", "zlib",
    }  # fmt: skip
    used: set[str] = set()
    for path in (path for room in rooms[1].split() for path in (ROOT / room).rglob("*.py")):
        used |= set(re.findall(r"^ *(?:import|from) (\w+)", path.read_text(encoding="utf-8"), re.M))
    assert (used & set(sys.stdlib_module_names)) - same <= set(modules[1].split("|"))


@pytest.mark.parametrize("most", [61, 1024])
def test_auto_starts_no_more_workers_than_the_system_can_wait_for(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # ProcessPoolExecutor refuses more than 61 on Windows.
    monkeypatch.setattr(workers, "MOST_WORKERS", most)
    monkeypatch.setattr(workers, "core_count", lambda: 128)
    assert workers.parse_workers("auto") == min(most, 128)


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_cores_are_counted_where_there_is_no_affinity(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = SimpleNamespace(cpu_count=lambda: 7)
    monkeypatch.setattr(workers, "os", bare)
    monkeypatch.setattr(workers, "sys", SimpleNamespace(platform=system))
    assert workers.core_count() == 7


def test_a_process_gets_a_group_of_its_own_and_its_tree_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without what Windows lacks, so that its use is an error.
    bare = SimpleNamespace(**{name: value for name, value in vars(os).items() if name not in ("killpg", "setsid")})
    monkeypatch.setattr(endings, "os", bare)
    monkeypatch.setattr(endings, "signal", SimpleNamespace())
    monkeypatch.setattr(endings, "sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 512, raising=False)
    real, given, ran = subprocess.Popen, dict[str, Any](), list[list[str]]()

    def popen(command: Any, **options: Any) -> Any:
        given.update(options)
        return real(command, **{**options, "creationflags": 0})

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: ran.append(command))
    process = endings.start([sys.executable, "-c", "input()"], os.environ, "mark")
    try:
        endings.end(process, "mark")
    finally:
        process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    assert (given["creationflags"], given["start_new_session"]) == (512, False)
    assert ran == [["taskkill", "/T", "/F", "/PID", str(process.pid)]]
    assert process.poll() is not None
    assert endings.describe_end(3221225477) == "exited with code 3221225477"


def test_a_request_is_written_where_pipes_always_block(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = {name: value for name, value in vars(os).items() if name != "set_blocking"}
    monkeypatch.setattr(channel, "os", SimpleNamespace(**{**bare, "name": "nt"}))
    echo = "import sys\nfor line in sys.stdin.buffer:\n    sys.stdout.buffer.write(line); sys.stdout.buffer.flush()"
    opened = channel.Channel([sys.executable, "-c", echo], os.environ)
    try:
        long = b"x" * 2**20  # more than a pipe takes at once
        assert opened.ask(b"short\n", 30, 2**21) == b"short"
        assert opened.ask(long + b"\n", 30, 2**21) == long
    finally:
        opened.close()


def test_a_process_that_reads_nothing_does_not_block_where_pipes_always_do(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = {name: value for name, value in vars(os).items() if name != "set_blocking"}
    monkeypatch.setattr(channel, "os", SimpleNamespace(**{**bare, "name": "nt"}))
    opened = channel.Channel([sys.executable, "-c", "import time; time.sleep(60)"], os.environ)
    with pytest.raises(channel.NoAnswer, match=r"no answer within 0\.5 s"):
        opened.ask(b"x" * 2**20 + b"\n", 0.5, 2**20)


@pytest.fixture
def as_on_windows(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that writes records, with locks as on Windows: made here of those of POSIX."""
    if sys.platform == "win32":
        return folder
    import fcntl

    def locking(file: int, mode: int, count: int) -> None:
        assert (mode, count) == (2, 1)
        assert os.lseek(file, 0, os.SEEK_CUR) == 1 << 20
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    monkeypatch.setitem(sys.modules, "fcntl", None)  # importing it is an error
    monkeypatch.setattr(sys, "platform", "win32")
    spec = importlib.util.spec_from_file_location("kterm.conformance.records.folder_as_on_windows", folder.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_a_report_is_locked_and_released(as_on_windows: ModuleType, tmp_path: Path) -> None:
    report = tmp_path / "run.jsonl"
    with as_on_windows.RunFolder(report) as opened:
        lock = tmp_path / ".run.jsonl.lock"
        assert lock.read_text() == f"{os.getpid()}\n"
        other = os.open(lock, os.O_RDWR)
        with pytest.raises(BlockingIOError):
            as_on_windows._try_lock(other)
        os.close(other)
        record = opened.path / "record.jsonl"
        record.write_text("{}\n")
        assert opened.deliver(record) == report
    assert report.read_text() == "{}\n"
    assert list(tmp_path.iterdir()) == [report]


def test_a_report_that_another_run_writes_is_refused(
    as_on_windows: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(sys.modules["msvcrt"], "locking", locked)
    (tmp_path / ".run.jsonl.lock").write_text("4711\n")
    with pytest.raises(OptionError, match="another run, process 4711, is writing it"):
        as_on_windows.RunFolder(tmp_path / "run.jsonl")


def test_the_package_is_copied_where_links_are_not_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("A required privilege is not held by the client")

    monkeypatch.setenv(environments.VARIABLE, str(tmp_path))
    monkeypatch.setattr(Path, "symlink_to", refuse)
    (environment, *_) = environments.read_environments().values()
    (site := environment.folder / "Lib" / "site-packages").mkdir(parents=True)
    environments._link_package(environment)
    links = Path((site / "kterm-links.pth").read_text().strip())
    assert (links / "kterm" / "conformance" / "runners" / "link" / "host.py").is_file()
    assert not any(path.is_symlink() for path in (links / "kterm").iterdir())


def test_a_clone_without_links_says_what_to_do(tmp_path: Path) -> None:
    package = tmp_path / "kterm"
    package.mkdir()
    for name in ("__init__.py", "__main__.py"):
        (package / name).write_bytes((ROOT / "src" / "kterm" / name).read_bytes())
    for name in ("adapters", "conformance", "reference"):
        (package / name).write_text(f"../../{name}")
    command = [sys.executable, "-m", "kterm", "check", "numpy"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"kterm: {package / 'conformance'} should be a link to a folder; "
        "clone again with git clone -c core.symlinks=true\n"
    )
