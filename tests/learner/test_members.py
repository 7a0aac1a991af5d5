from types import SimpleNamespace

import pytest

import meta_learner
from lsm.learner.members import Kind, kinds_of_members
from lsm.run.settings import constants


def of(labelled: int, *arguments: str) -> list[Kind]:
    """The kinds of an inventory, by the constants of stage 3."""
    return kinds_of_members(constants(meta_learner.Constants, list(arguments)), labelled)


def test_a_large_inventory_gets_the_constants():
    c = SimpleNamespace(LOCAL_MEMBERS=4, LOCAL_NEIGHBOURHOOD=90, LOCAL_ITERATIONS=3000, LOCAL_BORROW=70,
                        REGIONAL_MEMBERS=2, REGIONAL_NEIGHBOURHOOD=500, REGIONAL_ITERATIONS=1000, REGIONAL_SUPPORT=24,
                        REGIONAL_BORROW=200, PLACE=True, PLACE_FROM=2000, NORMALISE=True, DIRECT=True,
                        CURVES_BELOW=2000, SUPPORT=12, QUERY=14, ADAPT_STEPS=9, ADAPT_BATCH=5,
                        NORMALISE_FROM=2000, DECAY=500.0)
    assert kinds_of_members(c, 100_000) == [
        Kind("local", members=4, neighbourhood=90, support=12, query=14, iterations=3000, normalise=True, place=False,
             direct=True, borrow=70, steps=9, batch=5, decay=0.005),
        Kind("regional", members=2, neighbourhood=500, support=24, query=24, iterations=1000, normalise=False,
             place=True, direct=True, borrow=200, steps=9, batch=5, decay=0.005)]
    c.PLACE = c.NORMALISE = c.DIRECT = False
    for kind in kinds_of_members(c, 100_000):
        assert (kind.place, kind.normalise, kind.direct) == (False,) * 3


@pytest.mark.parametrize(("labelled", "local", "regional"), [
    (100_000, (80, 3000), (400, 1500)), (12_000, (80, 3000), (400, 1500)), (11_999, (80, 2999), (400, 1499)),
    (2000, (80, 500), (400, 250)), (1999, (80, 199), (400, 99)),
    (400, (80, 40), (400, 20)), (319, (79, 31), (319, 15)), (100, (25, 10), (100, 5)), (40, (10, 4), (40, 2))])
def test_sizes_follow_from_the_number_of_labelled_points(labelled, local, regional):
    """Neighbourhoods of at most a quarter of the points, or all; a step for every four points, or eight; below
    2,000 points, where the direct path bends, for ten or twenty."""
    found = of(labelled)
    assert [kind.name for kind in found] == ["local", "regional"]
    assert [(kind.neighbourhood, kind.iterations) for kind in found] == [local, regional]


@pytest.mark.parametrize(("labelled", "decay", "normalised"), [(100_000, 0.005, True), (2000, 0.25, True),
                                                               (1999, 0.25, False), (100, 5.0, False)])
def test_few_points_get_more_decay_and_no_normalisation(labelled, decay, normalised):
    local, regional = of(labelled)
    assert local.decay == regional.decay == decay
    assert (local.normalise, regional.normalise) == (normalised, False)
    assert (local.place, regional.place) == (False, labelled >= 2000)


def test_a_short_run_stays_short():
    assert [kind.iterations for kind in of(100_000, "LOCAL_ITERATIONS=60", "REGIONAL_ITERATIONS=40")] == [60, 40]


def test_published_is_one_kind_of_blocks():
    for labelled in (10_000, 100):  # a published setting does not follow from the inventory
        assert of(labelled, "RECIPE=published") == [
            Kind("blocks", members=1, neighbourhood=0, support=8, query=8, iterations=5000, normalise=True, place=False,
                 direct=False, borrow=0, steps=5, batch=8, decay=0.0)]


def test_a_kind_without_members_is_left_out():
    both = of(1000)
    assert of(1000, "REGIONAL_MEMBERS=0") == both[:1]
    assert of(1000, "LOCAL_MEMBERS=0") == both[1:]
    assert [kind.name for kind in of(1000, "RECIPE=published", "REGIONAL_MEMBERS=2")] == ["blocks", "regional"]
