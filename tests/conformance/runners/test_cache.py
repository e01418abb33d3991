"""The compilation cache: where it lies, that it changes no number, and that it answers for no other program."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from kterm.adapters.quantities import arrays
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.draw import make_draws
from kterm.conformance.cases.regimes import REGIMES
from kterm.conformance.checks.examine import examine
from kterm.conformance.runners import cache
from kterm.conformance.runners.cache import VARIABLE, bound, cache_line, compilation_cache, with_cache
from kterm.conformance.runners.process import ProcessRunner
from kterm.conformance.runners.workers import make_executor

from ...support.command import kterm, pytest_run
from ...support.frameworks.miniatures import __file__ as MINIATURES

DIRECTORY, ENABLE = "JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"
CASES = (
    "3x4x2-tanh.gelu-b5-pre-f32-normal-s0",
    "4x3x3-sigmoid.leaky_relu-b4-post-f64-normal-s0",
    "2x5x3-softplus.relu-b3-none-bf16-normal-s0",
)

WRONG = '''
"""JAX with one mistake in the program itself: {what}."""

import jax
import jax.numpy as jnp

from kterm.adapters.frameworks.shared.jax_shared import ACTIVATIONS, Call
from kterm.adapters.jax_adapter import Jax


@jax.custom_jvp
def tanh(z):
    return jnp.tanh(z)


@tanh.defjvp
def _(z, dz):
    return jnp.tanh(z[0]), (1 - z[0] * z[0]) * dz[0]


class Wrong(Jax):
    activations = {{**ACTIVATIONS, {entry}}}
'''
MISTAKES = {
    "another derivative": ("tanh", '"tanh": Call(tanh)'),
    "another constant": ("leaky_relu", '"leaky_relu": Call(lambda z, slope: jnp.where(z >= 0, z, 1.0625 * slope * z))'),
    "another function": ("gelu", '"gelu": Call(jax.nn.gelu, {"approximate": True})'),
}


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of what these tests are about comes from outside, and the cache of whoever runs them is not touched."""
    for name in (VARIABLE, DIRECTORY, ENABLE):
        monkeypatch.delenv(name, raising=False)
    cache._bound_once.cache_clear()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the programs of CASES, compiled by jax."""
    pytest.importorskip("jax")
    root = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(root))
        patch.delenv(DIRECTORY, raising=False)
        patch.delenv(ENABLE, raising=False)
        answers()
    assert len(entries(root)) == len(CASES)
    return root


@pytest.fixture
def folder(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it for one test, in use."""
    copy = shutil.copytree(filled, tmp_path / "warm")
    monkeypatch.setenv(VARIABLE, str(copy))
    return copy


def entries(root: Path) -> list[Path]:
    return sorted(root.glob("jax/kterm-*/*-cache"))


def answers(spec: str = "jax") -> list[bytes]:
    """All numbers that an adapter in a host process answers to CASES."""
    found = []
    with closing(ProcessRunner(spec)) as runner:
        for text in CASES:
            case = parse_case(text, tuple(REGIMES))
            draw = make_draws([case])[0]
            runner.build(case.structure)
            observed = runner.call(case.regime, draw.parameters, draw.x, draw.y).observation
            assert observed is not None
            found += [array.tobytes() for array in arrays(observed).values()]
    return found


def findings(spec: str, mutant: str | None = None) -> list[str]:
    """What the checks find in the structures of CASES."""
    found = []
    with closing(ProcessRunner(spec, mutant=mutant)) as runner:
        for text in CASES:
            case = parse_case(text, tuple(REGIMES))
            group = Group(case.structure, case.regime, case.seed, tuple(range(3)))
            verdicts = examine(group, runner).verdicts
            found += [one.check for some in verdicts for one in some if one.is_finding]
    return found


def test_cache_lies_under_the_users_cache_directory_by_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cache, "user_cache_path", lambda *_, **__: tmp_path / "caches" / "kterm")
    monkeypatch.setattr(cache.metadata, "version", {"kterm": "1.2", "jax": "3.4", "jaxlib": "5.6"}.__getitem__)
    monkeypatch.setattr(cache, "_folder_name", cache._folder_name.__wrapped__)
    found = compilation_cache({})
    assert found is not None
    assert found.folder is not None
    assert found.folder.parent == tmp_path / "caches" / "kterm" / "jax"
    assert found.folder.name.startswith("kterm-1.2-jax-3.4-jaxlib-5.6-")
    assert found.folder.is_dir()
    made = with_cache({"A": "b"})
    assert made["A"] == "b"
    assert made[DIRECTORY] == str(found.folder)


def test_cache_is_another_on_another_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jax")
    monkeypatch.setattr(cache, "_folder_name", cache._folder_name.__wrapped__)
    here = cache._folder_name()
    monkeypatch.setattr(cache, "_cpu", lambda: "avx2 sse4")
    assert cache._folder_name() != here


def test_variable_moves_the_cache_and_empty_turns_it_off(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    assert with_cache({VARIABLE: str(tmp_path)})[DIRECTORY].startswith(str(tmp_path / "jax" / "kterm-"))
    off = with_cache({VARIABLE: "", DIRECTORY: "/elsewhere"})
    assert off[ENABLE] == "false"
    assert DIRECTORY not in off
    assert str(compilation_cache({VARIABLE: ""})).startswith("off (--no-cache")


def test_users_own_settings_of_jax_win(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    theirs = {VARIABLE: str(tmp_path), DIRECTORY: "/elsewhere"}
    assert with_cache(theirs) == theirs
    assert str(compilation_cache(theirs)) == "/elsewhere"
    kept = with_cache({VARIABLE: str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "2"})
    assert kept["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] == "2"
    assert DIRECTORY not in with_cache({VARIABLE: str(tmp_path), ENABLE: "0"})
    assert not list(tmp_path.glob("elsewhere*"))


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("JAX_")}


def test_processes_that_measure_use_it_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("jax")
    for chosen in (str(tmp_path), ""):
        monkeypatch.setenv(VARIABLE, chosen)
        with make_executor(1) as pool:
            found = pool.submit(_environment).result()
        assert found == {name: value for name, value in with_cache(os.environ).items() if name.startswith("JAX_")}
        assert found


def test_no_cache_without_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_folder_name", lambda: None)
    assert with_cache({"A": "b"}) == {"A": "b"}
    assert cache_line(["jax"]) is None


def test_line_is_for_adapters_that_can_use_jax(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("jax")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert cache_line(["numpy", "torch"]) is None
    for spec in ("jax-vmap", "my/own.py:Adapter"):
        assert cache_line(["numpy", spec]) == f"compilation cache: {compilation_cache(os.environ)}"


def test_cache_that_cannot_be_written_is_said_and_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("jax")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file"))
    assert with_cache({VARIABLE: str(tmp_path / "file")})[ENABLE] == "false"
    done = kterm("check", f"{MINIATURES}:Miniature", "--profile", "smoke", "-n", "0", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith("compilation cache: ")]
    assert len(said) == 1
    assert said[0].startswith(f"compilation cache: off ({tmp_path}")
    assert said[0].endswith("cannot be written: Not a directory)")


def test_least_recently_used_entries_go_first(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        path = tmp_path / "kterm-1" / f"{name}-cache"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(100))
        os.utime(path, (1e9 - age, 1e9 - age))
    others = tmp_path / "kterm-1" / "notes.txt"
    others.write_bytes(bytes(1000))
    bound(tmp_path, 200)
    assert {path.name for path in tmp_path.rglob("*-cache")} == {"new-cache", "middle-cache"}
    bound(tmp_path, 50)
    assert not list(tmp_path.rglob("*-cache"))
    assert others.exists()


def test_numbers_are_the_same_without_a_cache_cold_and_warm(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    before = entries(folder)
    warm = answers()
    assert entries(folder) == before  # every program was found
    monkeypatch.setenv(VARIABLE, "")
    assert answers() == warm


def test_broken_entries_are_compiled_again(folder: Path) -> None:
    right = answers()
    for number, entry in enumerate(entries(folder)):
        data = entry.read_bytes()
        entry.write_bytes((data[: len(data) // 2], b"", bytes(reversed(data)))[number])
    assert answers() == right


def test_hosts_fill_one_cache_at_once(monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path) -> None:
    right = answers()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "new"))
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: answers(), range(2))) == [right, right]
    assert [entry.name for entry in entries(tmp_path / "new")] == [entry.name for entry in entries(folder)]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("mutant", ["no-slope", "bias-mean", "forward-no-bias", "k-narrowed", "constant-weights"])
def test_mutants_are_found_with_a_warm_cache(mutant: str) -> None:
    assert findings("jax", mutant)


@pytest.mark.usefixtures("folder")
def test_right_adapter_passes_with_a_warm_cache() -> None:
    assert not findings("jax")


@pytest.mark.parametrize("what", MISTAKES)
def test_another_program_is_never_answered_from_the_cache(folder: Path, tmp_path: Path, what: str) -> None:
    """The adapter's functions have the same names, and its arrays the same shapes: only the program differs."""
    name, entry = MISTAKES[what]
    (tmp_path / "wrong.py").write_text(WRONG.format(what=what, entry=entry), encoding="utf-8")
    before = entries(folder)
    answers(f"{tmp_path}/wrong.py:Wrong")
    # The one program with the activation is compiled; the others are the right ones, and are found.
    assert len(entries(folder)) == len(before) + sum(name in text for text in CASES) == len(before) + 1
    assert findings(f"{tmp_path}/wrong.py:Wrong")


@pytest.mark.heavy
def test_record_is_the_same_with_and_without_a_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`kterm check --no-cache`, then twice with one cache: cold and warm."""
    pytest.importorskip("jax")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    records, lines = [], []
    for name, options in (("without", ["--no-cache"]), ("cold", []), ("warm", [])):
        report = tmp_path / f"{name}.jsonl"
        done = kterm(
            "check", "jax", "--profile", "smoke", "--dtype", "f32", "--activation", "tanh", "--activation", "relu",
            "-n", "0", "--report", str(report), *options, folder=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        records.append(report.read_bytes())
        lines += [line for line in done.stdout.splitlines() if line.startswith("compilation cache: ")]
        assert bool(entries(tmp_path / "cache")) == (name != "without")
    assert records[0] == records[1] == records[2]
    assert lines[0] == "compilation cache: off (--no-cache, or KTERM_CACHE_DIR is empty)"
    assert lines[1] == lines[2]
    assert str(tmp_path / "cache") in lines[1]


@pytest.mark.heavy
def test_pytest_takes_the_option_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("jax")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    for options, words in (([], str(tmp_path / "cache")), (["--kterm-no-cache"], "off (--no-cache")):
        done = pytest_run(
            "--pyargs", "kterm.conformance", "--kterm-adapter", f"{MINIATURES}:Miniature", "--kterm-profile", "smoke",
            "-k", "no such group", *options, folder=tmp_path,
        )  # fmt: skip
        assert f"compilation cache: {words}" in done.stdout
