from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lsm.comparison import protocols
from lsm.comparison.splits import QUERY, SUPPORT, TRAIN, UNUSED
from lsm.learner.support import dates
from lsm.run.settings import InputError


def constants(**values) -> SimpleNamespace:
    return SimpleNamespace(**{"SEED": 1, "SEEDS": 2, "MIN_SAMPLES": 16, "HELD_OUT_SHARE": 0.25,
                              "DEVELOPMENT_SHARE": 0.4, "SQUARES": (), "FOLDS": 5, "REPEATS": 2, "NEWER": 0.3,
                              "BUFFER": 0.0} | values)


def made_points(n: int = 800, blocks: int = 25, cells: int = 100, seed: int = 0) -> SimpleNamespace:
    """Samples over 10 x 8 km in square blocks, a third of them landslides, some dated; then cells."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform((800_000, 2_400_000), (810_000, 2_408_000), (n + cells, 2))
    side = int(np.sqrt(blocks))
    block = (((xy - xy.min(axis=0)) / np.ptp(xy, axis=0) * side).clip(0, side - 1).astype(int) @ [side, 1])
    label = np.append((rng.random(n) < 0.33).astype(np.int32), np.full(cells, -1))
    origin = np.where(label < 0, "cell", np.where(label == 0, "absence", "inventory"))
    year = np.where((label == 1) & (rng.random(len(label)) < 0.9), rng.integers(2000, 2011, len(label)), np.nan)
    return SimpleNamespace(sample=np.append(np.arange(n), np.full(cells, -1)), xy=xy, label=label, block=block,
                           origin=origin, year=year)


def roles_of(points, **values) -> tuple[dict, str]:
    roles, cannot = protocols.all_splits(points, constants(**values))
    return roles, "; ".join(text for _, text in cannot)


# partitions -----------------------------------------------------------------------------------------------------

def test_partitions_are_compact_and_every_point_is_asked_once_a_repeat():
    points = made_points()
    roles, _ = roles_of(points)
    sample = points.label >= 0
    for name in ("partitions", protocols.RANDOM_FOLDS):
        folds = np.stack([roles[name, k] for k in range(1, 11)])
        for repeat in (folds[:5], folds[5:]):
            assert ((repeat == QUERY).sum(axis=0) == 1).all()
            assert set(np.unique(repeat[:, sample])) == {TRAIN, QUERY}
            assert set(np.unique(repeat[:, ~sample])) == {UNUSED, QUERY}
            fold = (repeat == QUERY).argmax(axis=0)
            means = np.stack([points.xy[sample & (fold == k)].mean(axis=0) for k in range(5)])
            nearest = np.hypot(*(points.xy[:, None] - means).transpose(2, 0, 1)).argmin(axis=1)
            assert ((nearest == fold).mean() > 0.97) == (name == "partitions")
        assert ((folds[:5] == QUERY).argmax(axis=0) != (folds[5:] == QUERY).argmax(axis=0)).any()


def test_repeats_follow_the_number_of_points():
    for n, expected in ((300, 10), (1000, 5), (5000, 1), (9000, 1)):
        roles, _ = roles_of(made_points(n, cells=0), REPEATS=0)
        assert sum(name == "partitions" for name, _ in roles) == 5 * expected


# blocks ---------------------------------------------------------------------------------------------------------

def test_augmentation_takes_what_insar_told_from_the_points_that_teach():
    points = made_points()
    points.origin[(points.label == 1) & (points.xy[:, 0] < 804_000)] = "insar"
    roles, _ = roles_of(points)
    for seed in (1, 2):
        before, role = roles["published", seed], roles["augmentation", seed]
        told = (points.origin == "insar") & np.isin(before, (TRAIN, SUPPORT))
        assert told.any()
        np.testing.assert_array_equal(role, np.where(told, UNUSED, before))


@pytest.mark.parametrize("share", [0.01, 0.7])
def test_a_share_that_holds_out_no_block_or_too_many_is_refused(share):
    with pytest.raises(InputError, match=rf"^HELD_OUT_SHARE={share} of \d+ blocks: expected 1 or more"):
        roles_of(made_points(), HELD_OUT_SHARE=share)


def test_the_table_of_splits_has_every_sample_and_its_roles(tmp_path):
    points = made_points(n=50, cells=9)
    role = np.resize([TRAIN, QUERY, UNUSED], 59)
    protocols.write_splits(tmp_path / "splits.csv", points, {("temporal", 2): role}, (
        "compare_methods.py", SimpleNamespace(REGION="isle", SEED=1), []))
    table = pd.read_csv(tmp_path / "splits.csv")
    assert table["sample"].tolist() == list(range(50))
    assert table["temporal 2"].tolist() == ["train", "query", "unused"] * 16 + ["train", "query"]
    np.testing.assert_allclose(table[["x", "y"]], points.xy[:50])


def test_older_landslides_teach_and_newer_ones_are_asked():
    points = made_points()
    roles, _ = roles_of(points)
    first = dates.newest(points.year, 0.3)
    landslide, absent = points.label == 1, points.label == 0
    for seed in (1, 2):
        role = roles["temporal", seed]
        assert (role[landslide & (points.year < first)] == TRAIN).all()
        assert (role[landslide & (points.year >= first)] == QUERY).all()
        assert (role[landslide & np.isnan(points.year)] == UNUSED).all()
        assert (role[points.label < 0] == QUERY).all()
        asked = (role[landslide & np.isfinite(points.year)] == QUERY).mean()
        assert (role[absent] == QUERY).mean() == pytest.approx(asked, abs=0.01)
        assert set(role[absent]) == {TRAIN, QUERY}
    assert (roles["temporal", 1] != roles["temporal", 2])[absent].any()
    assert not (roles["temporal", 1] != roles["temporal", 2])[landslide].any()


def test_no_dates_are_said():
    points = made_points()
    points.year[:] = np.nan
    roles, said = roles_of(points)
    assert "temporal: the landslides have no dates" in said
    assert not [name for name, _ in roles if name == "temporal"]


# what an area is too small for ----------------------------------------------------------------------------------

def test_a_small_inventory_is_judged_by_squares_and_partitions():
    points = made_points(n=200)  # blocks of about 8 samples
    roles, said = roles_of(points)
    assert {name for name, _ in roles} == {"blocked 1 km", "blocked 2 km", "partitions", "random folds", "temporal"}
    assert said == "published, spatial, augmentation, k-shot: fewer than 20 blocks have more than 16 samples"
    assert "K" not in said.split("k-shot")[1]


def test_random_folds_are_left_out_where_random_halves_are_scored():
    large, small = roles_of(made_points())[0], roles_of(made_points(n=200))[0]
    said = protocols.without_random_folds(large, ["published", "partitions"])
    assert said.startswith("random folds: not scored, since published scores random halves")
    assert "PROTOCOLS=partitions" in said
    assert protocols.without_random_folds(large, ["partitions", "blocked"]) == ""
    assert protocols.without_random_folds(large, ["published"]) == ""
    assert protocols.without_random_folds(small, ["published", "partitions"]) == ""


def test_points_of_thin_blocks_are_counted():
    points, c = made_points(), constants()
    roles, _ = protocols.all_splits(points, c)
    assert protocols.unused_points(points, roles, ["published", "spatial"], c) == ""
    points.block[:5] = 25  # a block of its own
    roles, _ = protocols.all_splits(points, c)
    assert (np.stack([role[:5] for (name, _), role in roles.items() if name == "spatial"]) == UNUSED).all()
    assert protocols.unused_points(points, roles, ["partitions"], c) == ""  # which use them
    assert protocols.unused_points(points, roles, ["spatial", "partitions", "k-shot"], c) == (
        "spatial, k-shot: 5 of 800 points are not used: their blocks have no more than 16 (MIN_SAMPLES)")


def test_folds_of_one_class_are_named():
    points = made_points()
    west = points.xy[:, 0] < 806_000
    points.label[west & (points.label >= 0)] = 0
    _, said = roles_of(points, SQUARES=(6000,), FOLDS=4)
    assert "the query points hold" in said
    assert "non-landslides only" in said
    assert "blocked 6 km" in said


def test_a_fold_whose_teachers_hold_one_class_is_left_out():
    points = made_points(n=60, cells=0)
    east = points.xy[:, 0] > 805_000
    points.label[:] = east
    points.year[:] = np.nan
    roles, said = roles_of(points, FOLDS=2, REPEATS=1, SQUARES=(20_000,))
    for key, role in roles.items():
        assert len(np.unique(points.label[role == TRAIN])) == 2, key
    assert "the training points hold" in said


@pytest.mark.parametrize(("extent", "sizes"), [(60_970, (5000, 10_000)), (28_000, (2000, 5000)), (4_150, (500, 1000)),
                                               (19_400, (2000, 5000))])
def test_squares_follow_the_extent(extent, sizes):
    xy = np.array([[0, 0], [extent, extent / 2]])
    assert protocols.square_sizes(xy, ()) == sizes
    assert protocols.square_sizes(xy, (300,)) == (300,)


# the strip ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("protocol", "cut", "side"), [
    ("published", "random", 0), ("development_spatial", "line", 0), ("blocked 0.5 km", "squares", 500),
    ("partitions", "places", 0), ("random folds", "random", 0), ("temporal", "years", 0)])
def test_methods_are_told_how_the_query_was_cut(protocol, cut, side):
    assert (protocols.cut_of(protocol), protocols.side_of(protocol)) == (cut, side)


def test_nothing_teaches_within_the_strip():
    points = made_points()
    plain, _ = roles_of(points)
    apart, _ = roles_of(points, BUFFER=300.0)
    cut = set()
    for key, role in apart.items():
        before = plain[key]
        np.testing.assert_array_equal(role == QUERY, before == QUERY)
        taught = np.isin(before, (TRAIN, SUPPORT)) & (points.label >= 0)
        asked = (before == QUERY) & (points.label >= 0)  # cells of a held-out block lie in its support half too
        distance = np.hypot(*(points.xy[:, None] - points.xy[asked]).transpose(2, 0, 1)).min(axis=1)
        name = key[0].partition(" ")[0]
        if name in ("blocked", "spatial", "development_spatial", "partitions"):
            np.testing.assert_array_equal(role[taught] == UNUSED, distance[taught] < 300)
            cut.add(name)
        else:
            np.testing.assert_array_equal(role, before)
    assert cut == {"spatial", "development_spatial", "blocked", "partitions"}


# what the bootstrap draws ---------------------------------------------------------------------------------------

def test_units_are_blocks_or_squares():
    points = made_points()
    roles, _ = roles_of(points)
    units = protocols.units_of(points, roles, constants())
    assert set(units) == {name for name, _ in roles}
    np.testing.assert_array_equal(units["spatial"], points.block)
    for name, side in (("blocked 2 km", 2000), ("blocked 1 km", 1000), ("partitions", 1000), ("temporal", 1000)):
        square = [tuple(s) for s in np.floor(points.xy / side).astype(int)]
        pairs = set(zip(square, units[name].tolist(), strict=True))
        assert len(pairs) == len(set(square)) == len(set(units[name]))
