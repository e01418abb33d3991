"""The smallest set of cases, and the smoke profile that is made of one."""

from kterm.conformance.cases import smoke
from kterm.conformance.cases.plan import make_options, plan
from kterm.conformance.evaluation.kills.smallest import Coverage, choose_recipes
from kterm.reference import Network, Structure

from . import FULL


def test_smoke_is_what_its_file_says() -> None:
    recipes = smoke.shipped()
    assert smoke.SHIPPED.read_text(encoding="utf-8") == smoke.text(recipes)
    groups = plan(FULL, make_options("smoke", 0, ["f64"])).groups[2:]
    assert [smoke.recipe_of(group) for group in groups] == list(recipes)
    assert sum(len(group.draws) for group in groups) <= 30


def test_smoke_comes_from_the_quick_profile() -> None:
    known = {(g.structure, g.regime) for g in plan(FULL, make_options("quick", 0, ["f64"])).groups}
    for recipe in smoke.shipped():
        assert (Structure(recipe.network, recipe.batch, "f64"), recipe.regime) in known


def _make_coverage(name: str, *found: str, calls: int = 100) -> Coverage:
    recipe = smoke.Recipe(Network((len(name), 1), ("tanh",), "none"), 2, "normal", len(found))
    return Coverage(recipe, tuple(frozenset((one, "f64", False) for one in some) for some in found), calls)


def test_the_smallest_set_is_the_choose_recipes() -> None:
    # Taking the largest first would take three.
    some = [_make_coverage("greedy", "abcd"), _make_coverage("one", "abe"), _make_coverage("two", "cdf")]
    assert [recipe.network for recipe in choose_recipes(some)] == [some[1].recipe.network, some[2].recipe.network]


def test_draws_are_taken_from_the_first_on() -> None:
    some = [_make_coverage("first", "a", "", "b"), _make_coverage("other", "a")]
    assert [(recipe.network, recipe.draws) for recipe in choose_recipes(some)] == [(some[0].recipe.network, 3)]
    some.append(_make_coverage("more", "b"))
    assert [recipe.draws for recipe in choose_recipes(some)] == [1, 1]


def test_there_are_enough_calls() -> None:
    some = [_make_coverage("first", "a", calls=9), _make_coverage("other", "a", calls=59)]
    assert [recipe.network for recipe in choose_recipes(some)] == [some[1].recipe.network]


def test_of_equals_the_smaller_network_is_taken() -> None:
    some = [_make_coverage("large" * 9, "a"), _make_coverage("small", "a"), _make_coverage("medium" * 4, "a")]
    assert [recipe.network for recipe in choose_recipes(some)] == [some[1].recipe.network]
