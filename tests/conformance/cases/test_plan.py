"""Plans: the same for the same question, covering what is declared, and honest about what is left out."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kterm.adapters import Adapter
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.description import Description, describe
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.cases.plan import PROFILES, OptionError, Plan, make_options, plan
from kterm.reference import ACTIVATIONS, BIASES, DTYPES, base_of

FULL = describe(Numpy(), "numpy")
NARROW = replace(FULL, dtypes=tuple(DTYPES))
REGULAR = [profile for profile in PROFILES if profile != "smoke"]


def planned(
    profile: str = "quick",
    seed: int = 0,
    adapter: Description = FULL,
    dtypes: tuple[str, ...] = (),
    activations: tuple[str, ...] = (),
) -> Plan:
    return plan(adapter, make_options(profile, seed, dtypes, activations))


def names(answer: Plan, dtype: str) -> list[str]:
    """The activation of every layer of every planned structure of one dtype, probes apart."""
    return [
        name
        for group in answer.groups
        if group.structure.dtype == dtype and group.regime != "layout"
        for name in group.structure.network.activations
    ]


def own(answer: Plan) -> list[Group]:
    """The groups of a plan under another seed than 0 that are its profile's own: neither probes nor smoke."""
    return [group for group in answer.groups if group.seed]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_same_question_gives_the_same_plan(profile: str) -> None:
    assert planned(profile, 5) == planned(profile, 5)
    other_framework = replace(FULL, spec="other", name="other", version="2")
    assert planned(profile, 5, other_framework) == planned(profile, 5)


def test_another_seed_gives_another_plan() -> None:
    plans = [planned(seed=seed) for seed in range(1, 7)]
    ids = [frozenset(group.id for group in own(answer)) for answer in plans]
    for i, some in enumerate(ids):
        for others in ids[:i]:
            assert len(some & others) < len(some) / 4
    assert {group.seed for group in own(plans[5])} == {6}


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(
    ("profile", "seeds"), [("quick", range(100)), ("standard", range(20)), ("thorough", range(2))], ids=lambda v: str(v)
)
def test_every_activation_and_bias_occurs_in_every_profile(profile: str, seeds: range, dtype: str) -> None:
    for seed in seeds:
        answer = planned(profile, seed)
        assert set(map(base_of, names(answer, dtype))) == set(ACTIVATIONS), seed
        normal = [g.structure.network for g in answer.groups if g.structure.dtype == dtype and g.regime == "normal"]
        assert {network.bias for network in normal} == set(BIASES)
        assert {name for network in normal for name in network.activations} == set(ACTIVATIONS), seed


@pytest.mark.parametrize("profile", REGULAR)
def test_activations_come_up_equally_often(profile: str) -> None:
    for seed in range(1, 6):
        counts = Counter(
            name
            for group in own(planned(profile, seed))
            if group.structure.dtype == "f64" and group.regime == "normal"
            for name in group.structure.network.activations
        )
        assert max(counts.values()) - min(counts.values()) <= 1


def test_every_regime_of_a_profile_is_planned_in_full() -> None:
    for profile, shares in PROFILES.items():
        answer = planned(profile, 1, NARROW)
        counts = Counter(
            (g.regime, g.structure.dtype, len(g.draws))
            for g in own(answer)
            if set(ACTIVATIONS).issuperset(g.structure.network.activations)  # no other values of parameters
        )
        due = Counter(
            {(share.regime, dtype, share.draws): share.structures for share in shares for dtype in share.dtypes}
        )
        if profile != "smoke":
            due["tails", "f16", 5] += 1  # the network of gelu_tanh
        assert counts == due
        assert {regime for regime, _, _ in due} <= set(REGIMES)


@pytest.mark.parametrize("profile", PROFILES)
def test_ids_are_unique_and_parse_back(profile: str) -> None:
    for seed in range(3):
        answer = planned(profile, seed, NARROW)
        assert len({group.id for group in answer.groups}) == len(answer.groups)
        for group in answer.groups:
            case = group.cases[0]
            assert parse_case(case.id, tuple(REGIMES)) == case


def test_the_default_profile_is_as_large_as_it_says() -> None:
    adapters = [planned("standard", adapter=replace(FULL, name=name)) for name in ("one", "two")]
    for answer in adapters:
        assert len({group.structure for group in answer.groups}) >= 100
    assert sum(len(group.draws) for answer in adapters for group in answer.groups) >= 20_000
    assert make_options("standard", 0) == type(make_options("standard", 0))()  # the default


def test_probes_come_first() -> None:
    for adapter in (FULL, replace(FULL, activations=("sin",), biases=("post",), dtypes=("f16",))):
        for profile in PROFILES:
            regimes = [group.regime for group in planned(profile, adapter=adapter, dtypes=adapter.dtypes).groups]
            assert regimes.count("layout") == 2
            assert regimes[:2] == ["layout"] * 2
    square, other = (group.structure.network.widths for group in planned().groups[:2])
    assert len(set(square)) == 1
    assert len(set(other)) == len(other)


def test_square_structures_are_as_wide_as_their_batch() -> None:
    square = [g.structure for seed in range(20) for g in planned(seed=seed).groups if g.regime == "square"]
    assert square
    for structure in square:
        assert set(structure.network.widths) == {structure.batch}
        assert structure.batch > 1
    assert max(structure.network.depth for structure in square) >= 3


def test_normal_structures_range_as_widely_as_they_should() -> None:
    normal = [g.structure for seed in range(40) for g in planned(seed=seed).groups if g.regime == "normal"]
    assert {s.network.depth for s in normal} >= {1, 2, 3, 8}
    widths = {width for s in normal for width in s.network.widths}
    assert {1, 64} <= widths <= set(range(1, 65))
    assert {s.batch for s in normal} <= set(range(1, 33))
    assert max(s.batch for s in normal) == 32


def test_degenerate_structures_have_each_degeneracy_in_every_dtype() -> None:
    for dtype in ("f32", "f64"):
        some = [g.structure for g in planned().groups if g.regime == "degenerate" and g.structure.dtype == dtype]
        assert {0, 1} <= {s.batch for s in some}
        assert any(set(s.network.widths) == {1} and s.batch > 1 for s in some)
        assert any(max(s.network.widths) > 1 and s.batch > 1 for s in some)


@pytest.mark.parametrize("most", [1, 2, 7, 45, 46, 47, 1000])
def test_max_structures_is_honoured(most: int) -> None:
    everything = planned().groups
    answer = planned(adapter=replace(FULL, max_structures=most)).groups
    assert [group.regime for group in answer[:2]] == ["layout"] * 2
    assert len(answer) == min(most + 2, len(everything))
    assert len(set(answer)) == len(answer)
    assert [group for group in everything if group in answer] == list(answer)


def test_a_small_sample_is_spread_over_dtypes_and_regimes() -> None:
    answer = planned(seed=1, adapter=replace(FULL, max_structures=20))
    assert {group.structure.dtype for group in own(answer)} == {"f32", "f64"}
    assert {"normal", "square", "degenerate"} <= {group.regime for group in own(answer)}
    assert len(own(answer)) == 10
    assert planned("smoke").groups[:12] == answer.groups[:12]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("seed", [0, 1])
def test_smoke_comes_first_and_nothing_twice(profile: str, seed: int) -> None:
    smoke, answer = planned("smoke").groups, planned(profile, seed)
    for few, many in zip(smoke, answer.groups, strict=False):
        assert (few.structure, few.regime, few.seed) == (many.structure, many.regime, many.seed)
        assert few.draws == many.draws[: len(few.draws)]
    cases = [case.id for group in answer.groups for case in group.cases]
    assert len(set(cases)) == len(cases)


def test_smoke_suits_what_an_adapter_declares() -> None:
    small = replace(FULL, activations=("tanh", "sin"), biases=("post",))
    groups = planned("smoke", adapter=small).groups[2:]
    assert {name for group in groups for name in group.structure.network.activations} == {"tanh", "sin"}
    assert {group.structure.network.bias for group in groups} == {"post"}
    # Neither has a kink or a seam.
    everything = {group.regime for group in planned("smoke").groups[2:]}
    assert "kinks" in everything
    assert {group.regime for group in groups} == everything - {"kinks"}
    for group in groups:
        assert parse_case(group.cases[0].id, tuple(REGIMES)) == group.cases[0]


def test_what_is_not_declared_is_listed_and_never_planned() -> None:
    small = replace(FULL, dtypes=("f32",), activations=("relu", "tanh", "sin"), biases=("pre",))
    for profile in PROFILES:
        answer = planned(profile, adapter=small)
        assert {group.structure.dtype for group in answer.groups} == {"f32"}
        assert {group.structure.network.bias for group in answer.groups} == {"pre"}
        used = {name for g in answer.groups for name in g.structure.network.activations}
        assert used <= set(small.activations) if profile == "smoke" else used == set(small.activations)
        lacking = {"dtype f64", "dtype bf16", "dtype f16", "bias none", "bias post"}
        lacking |= {f"activation {name}" for name in ACTIVATIONS if name not in small.activations}
        assert set(answer.unsupported) == lacking
        assert len(answer.unsupported) == len(lacking)
    assert planned(adapter=NARROW).unsupported == ()


def test_only_what_was_asked_for_is_planned_or_missed() -> None:
    answer = planned(dtypes=("f64",), activations=("tanh", "sin"))
    assert {group.structure.dtype for group in answer.groups} == {"f64"}
    assert set(names(answer, "f64")) == {"tanh", "sin"}
    assert answer.unsupported == ()
    answer = planned(dtypes=("f64", "f16"), activations=("tanh",))
    assert answer.unsupported == ("dtype f16",)
    assert {group.structure.dtype for group in answer.groups} == {"f64"}


@pytest.mark.parametrize("kept", [{"dtypes": ("f16",)}, {"activations": ("mish",)}])
def test_nothing_is_planned_where_nothing_is_left(kept: dict[str, Any]) -> None:
    adapter = replace(FULL, activations=tuple(name for name in ACTIVATIONS if name != "mish"))
    answer = planned(adapter=adapter, **kept)
    assert answer.groups == ()
    assert set(answer.unsupported) >= {
        f"{what.removesuffix('s')} {name}" for what, some in kept.items() for name in some
    }


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_dtype_asked_for_by_name_is_run(profile: str, dtype: str) -> None:
    answer = planned(profile, adapter=NARROW, dtypes=(dtype,))
    assert {group.structure.dtype for group in answer.groups} == {dtype}
    assert len(names(answer, dtype)) >= 10
    if profile in REGULAR and (dtype in ("f64", "f32") or profile == "quick"):
        assert set(map(base_of, names(answer, dtype))) == set(ACTIVATIONS)


def test_a_dtype_is_planned_alike_alone_and_in_company() -> None:
    together = {group for group in planned(adapter=NARROW).groups if group.structure.dtype == "f32"}
    assert {g for g in planned(adapter=NARROW, dtypes=("f32",)).groups if g.regime != "layout"} == together


def test_a_run_kept_to_some_regimes_plans_these_and_the_probes() -> None:
    everything = planned().groups
    kept = plan(FULL, make_options("quick", 0, regimes=["tails", "kinks", "tails"])).groups
    assert kept == tuple(group for group in everything if group.regime in ("layout", "tails", "kinks"))
    sampled = plan(replace(FULL, max_structures=6), make_options("quick", 0, regimes=["kinks"])).groups
    assert [group.regime for group in sampled] == ["layout"] * 2 + ["kinks"] * 6


def test_an_unknown_choice_is_one_line_that_offers_what_is_known() -> None:
    questions: list[tuple[Callable[[], Any], str]] = [
        (lambda: make_options("quik", 0), "did you mean quick?"),
        (lambda: make_options("", 0), "quick, standard, thorough"),
        (lambda: make_options("quick", 0, dtypes=["f23"]), "did you mean f32?"),
        (lambda: make_options("quick", 0, dtypes=["float32"]), "known are f64, f32, bf16, f16"),
        (lambda: make_options("quick", 0, activations=["tanhs"]), "did you mean tanh?"),
        (lambda: make_options("quick", 0, dtypes="f32"), "dtypes: 'f32' is one string; write dtypes=['f32']"),
        (lambda: make_options("quick", 0, activations="tanh"), "write activations=['tanh']"),
        (lambda: make_options("quick", 0, regimes=["kink"]), "did you mean kinks?"),
        (lambda: make_options("quick", 0, regimes=["layout"]), "known are normal, square"),
        (lambda: make_options("quick", 0, regimes="kinks"), "write regimes=['kinks']"),
        (lambda: make_options("quick", -1), "seed -1 should be"),
        (lambda: make_options("quick", 2**63), "from 0 to 2**63 - 1"),
    ]
    for question, fix in questions:
        with pytest.raises(OptionError) as caught:
            question()
        assert fix in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_a_name_asked_for_twice_counts_once() -> None:
    assert make_options("quick", 0, ["f32", "f32"], ["relu", "tanh", "relu"]) == make_options(
        "quick", 0, ["f32"], ["relu", "tanh"]
    )


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"dtypes": ("f32", "float64")}, "dtypes: unknown 'float64'; known are f64, f32, bf16, f16"),
        ({"dtypes": ()}, "dtypes: none declared"),
        ({"activations": {"tahn": abs}}, "activations: unknown 'tahn'; known are identity, "),
        ({"activations": {}}, "activations: none declared"),
        ({"biases": ("before",)}, "biases: unknown 'before'; known are none, pre, post"),
        ({"biases": ()}, "biases: none declared"),
    ],
    ids=lambda v: str(v)[:24],
)
def test_a_declaration_that_means_nothing_is_refused(declared: dict[str, Any], told: str) -> None:
    adapter: Adapter = type("Odd", (Numpy,), {**declared, "name": "odd"})()
    with pytest.raises(ValueError, match="adapter odd: ") as caught:
        describe(adapter, "odd")
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_description_is_in_canonical_order_and_survives_json() -> None:
    adapter = type("Shuffled", (Numpy,), {"dtypes": ("f32", "f64"), "biases": BIASES[::-1], "max_structures": 3})()
    adapter.activations = dict(reversed(list(Numpy.activations.items())))
    described = describe(adapter, "some:Spec")
    assert described.dtypes == ("f64", "f32")
    assert described.biases == BIASES
    assert described.activations == tuple(ACTIVATIONS)
    assert (described.spec, described.max_structures, described.layout) == ("some:Spec", 3, "(in, out)")
    assert Description.from_json(described.to_json()) == described
