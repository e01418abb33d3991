"""The twins regime: programs and buffers that are taken for another structure's, planted and caught; and what calls
remember of each other within a structure.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kterm.adapters import Observation
from kterm.adapters.quantities import arrays
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.draw import REGIMES, make_draws
from kterm.conformance.cases.plan import make_options, plan
from kterm.conformance.cases.shapes import Deal, twins
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.repeated.twins import twins_of
from kterm.conformance.checks.verdict import Verdict, status
from kterm.conformance.runners.process import ProcessRunner
from kterm.conformance.runners.runner import Answer, LocalRunner, NoAnswer
from kterm.reference import ACTIVATIONS, Array, Network, Parameters, Structure

from ....support.command import kterm
from ....support.frameworks import caches, miniatures
from ....support.frameworks.miniatures import Miniature, right

ROOT = Path(__file__).resolve().parents[4]
EVERY = describe(Miniature(), "sound")
PROGRAMS = (
    caches.Cached,
    caches.ByDtype,
    caches.BiasForgotten,
    caches.ActivationsForgotten,
    caches.OrderForgotten,
    caches.DtypeForgotten,
)
BUFFERS = (caches.SharedBuffers, caches.StaleRows)


def planted_file(folder: Path, planted: type[Miniature]) -> str:
    """A file's adapter, as a user has one."""
    path = folder / "planted.py"
    lines = [
        "import sys",
        f"sys.path.insert(0, {str(ROOT)!r})",
        f"from {planted.__module__} import {planted.__name__}",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return f"{path}:{planted.__name__}"


def group_of(text: str, draws: int = 3) -> Group:
    case = parse_case(f"{text}-s0", tuple(REGIMES))
    return Group(case.structure, case.regime, 0, tuple(range(draws)))


def only_twins(adapter: Miniature, dtype: str, seed: int) -> list[Verdict]:
    """What is found in the twins regime of the quick profile, by a process that meets nothing else."""
    groups = [g for g in plan(EVERY, make_options("quick", seed)).groups if g.regime == "twins"]
    runner = LocalRunner(adapter)
    chosen = [g for g in groups if g.structure.dtype == dtype and g.seed == seed]
    return [v for group in chosen for some in examine(group, runner).verdicts for v in some if v.is_finding]


@pytest.mark.parametrize("last_wins", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("shows", [True, False], ids=["shown", "silent"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("planted", PROGRAMS, ids=lambda p: p.name)
def test_a_program_taken_for_another_is_found(
    planted: type[caches.Cached], dtype: str, shows: bool, last_wins: bool
) -> None:
    for seed in (1, 2, 3):
        adapter = planted()
        adapter.shows, adapter.last_wins = shows, last_wins
        assert only_twins(adapter, dtype, seed), seed


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("planted", BUFFERS, ids=lambda p: p.name)
def test_a_buffer_taken_for_another_is_found(planted: type[Miniature], dtype: str) -> None:
    for seed in (1, 2, 3):
        assert only_twins(planted(), dtype, seed), seed


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("planted", [*PROGRAMS[1:4], caches.LastWins, BUFFERS[0]], ids=lambda p: p.name)
def test_each_is_found_in_the_quick_profile(planted: type[Miniature], dtype: str) -> None:
    adapter = planted()
    runner = LocalRunner(adapter)
    for group in plan(describe(adapter, adapter.name), make_options("quick", 0, [dtype])).groups:
        if any(verdict.is_finding for some in examine(group, runner).verdicts for verdict in some):
            return
    pytest.fail("no group of the quick profile has a finding")


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        (caches.LastWins, "changed its answer after another structure of the same shape was built"),
        (caches.SharedBuffers, "was changed by a call of another program of the same shape"),
        (caches.ByDtype, ""),
    ],
    ids=lambda p: getattr(p, "name", ""),
)
def test_each_is_found_through_a_host(tmp_path: Path, planted: type[Miniature], words: str) -> None:
    groups = [g for g in plan(EVERY, make_options("quick", 0, ["f64"])).groups if g.regime == "twins"]
    with closing(ProcessRunner(planted_file(tmp_path, planted))) as process:
        found = [v for g in groups for some in examine(g, process).verdicts for v in some if v.is_finding]
    assert any(words in v.message for v in found)


@pytest.mark.parametrize(
    ("planted", "dtype", "words"),
    [
        (caches.ActivationsForgotten, "f64", "first step that departs: x_1"),
        (caches.LastWins, "f64", "contract: the program of 3x2x4-silu.tanh-b3-pre-f64, built earlier, changed its"),
        (caches.DtypeForgotten, "f32", "contract: the program of 3x2x4-tanh.silu-b3-pre-f64, built after 3x2x4-"),
    ],
    ids=lambda p: getattr(p, "name", ""),
)
def test_a_case_with_twins_is_replayed_with_them(
    tmp_path: Path, planted: type[Miniature], dtype: str, words: str
) -> None:
    case = f"3x2x4-tanh.silu-b3-pre-{dtype}-twins-s0"
    done = kterm("replay", case, planted_file(tmp_path, planted), folder=tmp_path)
    assert done.returncode == 1, done.stderr
    assert words in done.stdout


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_a_sound_case_with_twins_is_replayed(tmp_path: Path, dtype: str) -> None:
    case = f"3x2x4-tanh.silu-b3-pre-{dtype}-twins-s0"
    sound = kterm("replay", case, planted_file(tmp_path, Miniature), folder=tmp_path)
    assert sound.returncode == 0, sound.stdout


# What is said.


def test_a_program_that_was_replaced_is_named() -> None:
    (first, *_) = examine(group_of("3x2x4-tanh.silu-b3-pre-f64-twins"), LocalRunner(caches.LastWins())).verdicts
    (said,) = [v.message for v in first if v.check == "contract" and v.is_finding]
    assert said.startswith(
        "the program of 3x2x4-silu.tanh-b3-pre-f64, built earlier, changed its answer after another structure of the "
        "same shape was built: outputs, E, "
    )
    assert status(first) == "failed"


def test_a_wider_program_is_not_let_off_as_a_narrower_one() -> None:
    """In f32 a program kept from f64 would answer rightly: the twin in f64 comes later and is judged."""
    (first, *_) = examine(group_of("3x2x4-tanh.silu-b3-pre-f32-twins"), LocalRunner(caches.DtypeForgotten())).verdicts
    (said,) = [v.message for v in first if v.check == "contract" and v.is_finding]
    assert said == (
        "the program of 3x2x4-tanh.silu-b3-pre-f64, built after 3x2x4-tanh.silu-b3-pre-f32, answers as that does: "
        "every number it gives is one of f32"
    )


class _WrongInF64(Miniature):
    """Half of every gradient, in float64 alone."""

    def answer(self, structure: Structure, parameters: Parameters, x: Array, y: Array) -> Observation:
        found = super().answer(structure, parameters, x, y)
        if structure.dtype != "f64":
            return found
        return replace(found, weight_gradients=tuple(g / 2 for g in found.weight_gradients))


def test_what_is_wrong_in_another_dtype_is_told_there() -> None:
    (first, *_) = examine(group_of("3x2x4-tanh.silu-b3-pre-f32-twins"), LocalRunner(_WrongInF64())).verdicts
    assert status(first) == "passed"
    (first, *_) = examine(group_of("3x2x4-tanh.silu-b3-pre-f64-twins"), LocalRunner(_WrongInF64())).verdicts
    assert status(first) == "failed"


# Sound adapters, and those that do not answer.


@pytest.mark.parametrize("sound", miniatures.SOUND, ids=lambda m: m.name)
def test_a_sound_framework_meets_twins_without_a_finding(sound: type[Miniature]) -> None:
    for seed, dtype in ((1, "f32"), (1, "f64"), (2, "f32"), (2, "f64")):
        assert not only_twins(sound(), dtype, seed)


class One(Miniature):
    """One activation, one bias placement, one dtype."""

    name = "one"
    activations = {"tanh": Miniature.activations["tanh"]}  # noqa: RUF012
    biases = ("pre",)
    dtypes = ("f64",)


def test_an_adapter_with_one_of_each_has_twins_of_other_batches_alone() -> None:
    described = describe(One(), "one")
    groups = [g for g in plan(described, make_options("quick", 1)).groups if g.regime == "twins"]
    assert groups
    for group in groups:
        (twin,) = twins_of(group.structure, make_draws(group.cases)[0], described)
        assert twin.structure == replace(group.structure, batch=group.structure.batch + 1)
        assert all(status(some) == "passed" for some in examine(group, LocalRunner(One())).verdicts)


def test_an_empty_batch_has_no_longer_twin() -> None:
    group = group_of("3x2x4-tanh.silu-b0-pre-f64-twins", 1)
    assert {twin.structure.batch for twin in twins_of(group.structure, make_draws(group.cases)[0], EVERY)} == {0}
    assert not [v for some in examine(group, LocalRunner(Miniature())).verdicts for v in some if v.is_finding]


@pytest.mark.parametrize("how", ["build", "call"])
@pytest.mark.parametrize(
    "bad",
    [
        lambda s: s.network.activations[0] == "silu",
        lambda s: s.network.bias == "none",
        lambda s: s.dtype == "f32",
        lambda s: s.dtype == "f64",
        lambda s: s.batch == 4,
    ],
    ids=["activations", "bias", "f32", "f64", "batch"],
)
def test_a_twin_that_is_not_answered_for_is_passed_over(how: str, bad: Callable[[Structure], bool]) -> None:
    for dtype in ("f32", "f64"):
        group = group_of(f"3x2x4-tanh.silu-b3-pre-{dtype}-twins")
        statuses = {status(some) for some in examine(group, LocalRunner(caches.Picky(how, bad))).verdicts}
        gone = "unsupported" if how == "build" else "errored"
        assert statuses == {gone if bad(group.structure) else "passed"}


def test_a_process_lost_with_a_twin_costs_no_case_of_the_structure_itself(tmp_path: Path) -> None:
    link = ProcessRunner(planted_file(tmp_path, caches.DiesInTwins))
    try:
        verdicts = examine(group_of("3x2x4-tanh.silu-b3-pre-f64-twins"), link).verdicts
    finally:
        link.close()
    assert {status(some) for some in verdicts} == {"passed"}


def test_a_process_lost_with_a_twin_that_answered_before_is_told(tmp_path: Path) -> None:
    link = ProcessRunner(planted_file(tmp_path, caches.DiesLater))
    try:
        first, *others = examine(group_of("3x2x4-tanh.silu-b3-pre-f64-twins"), link).verdicts
    finally:
        link.close()
    assert status(first) == "errored"
    assert any("exited with code 3" in v.message for v in first)
    assert {status(some) for some in others} == {"passed"}


# Programs side by side.


def _numbers(structure: Structure) -> tuple[Parameters, Array, Array]:
    group = Group(structure, "normal", 0, (0,))
    one = make_draws(group.cases)[0]
    return one.parameters, one.x, one.y


@pytest.mark.parametrize("linked", [False, True], ids=["runner", "link"])
def test_programs_live_beside_each_other_and_are_recalled(linked: bool) -> None:
    runs = ProcessRunner(f"{miniatures.__file__}:Miniature") if linked else LocalRunner(Miniature())
    structures = [Structure(Network((2, 3), (name,)), 2, "f64") for name in ("tanh", "sin", "relu")]
    numbers = _numbers(structures[0])
    try:
        for i, structure in enumerate(structures):
            runs.build(structure, None, i > 0)
            runs.call("normal", *numbers)
        for i in (1, 0, 2):
            runs.recall(i)
            answer = runs.call("normal", *numbers)
            assert answer.observation is not None
            due = right(structures[i], *numbers)
            assert all(a.tobytes() == arrays(due)[n].tobytes() for n, a in arrays(answer.observation).items())
            assert not runs.changed_since()
        runs.build(structures[1])
        runs.recall(0)
        assert runs.call("normal", *numbers).observation is not None
    finally:
        if isinstance(runs, ProcessRunner):
            runs.close()


def test_a_host_that_is_gone_recalls_nothing() -> None:
    link = ProcessRunner(f"{miniatures.__file__}:Miniature")
    link.build(Structure(Network((2, 3), ("tanh",)), 2, "f64"))
    link.close()
    with pytest.raises(NoAnswer, match="gone"):
        link.recall(0)


# Structures.


def test_twins_differ_in_one_thing_each() -> None:
    groups = [g for g in plan(EVERY, make_options("standard", 1)).groups if g.regime == "twins"]
    for group in groups:
        own = group.structure
        for twin in twins_of(own, make_draws(group.cases)[0], EVERY):
            other = twin.structure
            assert other.network.widths == own.network.widths
            changed = (
                other.network.activations != own.network.activations,
                other.network.bias != own.network.bias,
                other.dtype != own.dtype,
                other.batch != own.batch,
            )
            assert sum(changed) == 1
            found = right(other, twin.numbers.parameters, twin.numbers.x, twin.numbers.y)
            assert found.outputs.dtype == other.format.numpy
            assert len(found.outputs) == other.batch
        assert len(twins_of(own, make_draws(group.cases)[0], EVERY)) == 4


def test_the_activations_of_twins_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    for names in (list(ACTIVATIONS), ["relu", "relu6", "identity", "hardtanh", "tanh"]):
        deal = Deal(names, rng)
        for i in range(200):
            first, second = twins(i, deal, deal, rng).activations
            assert first != second
            assert {first, second} not in ({"relu", "relu6"}, {"identity", "hardtanh"})
    alone = Deal(["relu"], rng)
    assert twins(0, alone, alone, rng).activations == ("relu", "relu")


# What calls of one program remember of each other.


@pytest.mark.parametrize("linked", [False, True], ids=["runner", "link"])
@pytest.mark.parametrize(
    ("planted", "check"),
    [
        (caches.ByX, "descent"),
        (caches.ByParameters, "batch"),
        (caches.ForwardByContents, "descent"),
        (caches.ForwardByIdentity, None),  # in the draws already, where a new x lies where an old one lay
    ],
)
def test_what_is_kept_by_a_part_of_the_inputs_is_found(
    tmp_path: Path, planted: type[Miniature], check: str | None, linked: bool
) -> None:
    runs = ProcessRunner(planted_file(tmp_path, planted)) if linked else LocalRunner(planted())
    try:
        verdicts = examine(group_of("4x3x2-tanh.silu-b5-pre-f64-normal", 4), runs).verdicts
    finally:
        if isinstance(runs, ProcessRunner):
            runs.close()
    found = [v.check for some in verdicts for v in some if v.is_finding]
    assert found
    assert check in (None, found[0])


class _DiesOnce(LocalRunner):
    """A process that is lost at its first call, as seen from outside: the next one answers."""

    has_died = False

    def call(self, regime: str, parameters: Parameters, x: Array, y: Array) -> Answer:
        if not self.has_died:
            self.has_died = True
            raise NoAnswer("died", "the adapter's process exited with code 7")
        return super().call(regime, parameters, x, y)


def test_a_process_that_is_lost_once_at_the_program_of_a_twin_is_a_finding() -> None:
    group = next(g for g in plan(EVERY, make_options("quick", 1)).groups if g.regime == "twins")
    found = [v for some in examine(group, _DiesOnce(Miniature())).verdicts for v in some if v.is_finding]
    assert [(v.check, v.quantity) for v in found] == [("contract", "twins")]
    assert "process was lost at the program of" in found[0].message
    assert "exited with code 7" in found[0].message


def test_a_structure_whose_layer_has_no_inputs_has_twins() -> None:
    case = parse_case("0x3-tanh-b2-none-f64-twins-s0", tuple(REGIMES))
    made = twins_of(case.structure, make_draws([case])[0], EVERY)
    assert {twin.structure.network.bias for twin in made} > {"none"}
    assert all(b.shape == (3,) for twin in made for b in twin.numbers.parameters.biases)
    group = Group(case.structure, case.regime, 0, (0,))
    assert not any(v.fails for some in examine(group, LocalRunner(Miniature())).verdicts for v in some)
