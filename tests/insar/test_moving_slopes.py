"""The rules by which InSAR points become weak labels, each against a plain reference."""

import itertools
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

import augment_inventory
from lsm.inputs.crs import crs_of
from lsm.insar.moving_slopes import (
    NOTE,
    WEAK,
    PointTerrain,
    Sieve,
    find_moving,
    is_near,
    significant,
    slope_cosine,
    slope_velocity,
    thin_points,
    told_by_flat_ground,
)
from lsm.insar.velocities import InsarPoints
from lsm.run.settings import InputError, constants

NORMAL = NormalDist()

# geometry -------------------------------------------------------------------------------------------------------

SIN, COS = (lambda d: np.sin(np.radians(d))), (lambda d: np.cos(np.radians(d)))


@pytest.mark.parametrize(("slope", "aspect", "heading", "incidence", "expected"), [
    # Flying north and looking right, the satellite stands in the west.
    (30, 90, 0, 40, -SIN(70)),              # down to the east: away and down, the slope and 40 degrees add up
    (30, 270, 0, 40, SIN(10)),              # down to the west: towards it, but for the descent
    (40, 270, 0, 40, 0),                    # at right angles to the line of sight: nothing is seen
    (25, 90, 180, 25, 0),
    (30, 0, 0, 40, -SIN(30) * COS(40)),     # down along the flight: only the descent is seen
    (30, 180, 0, 40, -SIN(30) * COS(40)),
    (0, 270, 0, 40, SIN(40)),               # level, to the satellite's side
    (90, 90, 0, 40, -COS(40)),              # straight down
    (30, 123, 77, 0, -SIN(30)),             # seen from above: the descent, whatever the directions
    (30, 90, 180, 40, SIN(10)),             # flying south it stands in the east
    (30, 0, 90, 40, SIN(10))])              # flying east, in the north
def test_cosine_by_hand(slope, aspect, heading, incidence, expected):
    assert slope_cosine(slope, aspect, heading, incidence) == pytest.approx(expected, abs=1e-12)


def test_cosine_against_vectors():
    rng = np.random.default_rng(1)
    slope, aspect = rng.uniform(0.1, 89, 500), rng.uniform(0, 360, 500)
    heading, incidence = rng.uniform(-180, 360, 500), rng.uniform(0, 80, 500)
    found = {look: slope_cosine(slope, aspect, heading, incidence, look) for look in ("right", "left")}
    up = np.array([0.0, 0, 1])
    for k in range(500):
        # The ground is the plane z = gradient . (e, n); the way down is minus the gradient, followed on the plane.
        gradient = -np.tan(np.radians(slope[k])) * np.array([SIN(aspect[k]), COS(aspect[k])])
        down = np.array([*-gradient, -(gradient @ gradient)])
        flight = np.array([SIN(heading[k]), COS(heading[k]), 0])
        for look, side in (("right", np.cross(flight, up)), ("left", np.cross(up, flight))):
            sight = SIN(incidence[k]) * side - COS(incidence[k]) * up  # from the satellite to the ground
            expected = down @ -sight / np.linalg.norm(down)
            assert found[look][k] == pytest.approx(expected, abs=1e-12)


def test_a_satellite_sees_the_velocity_that_it_was_given():
    rng = np.random.default_rng(2)
    cosine, velocity = rng.uniform(-1, 1, 400), rng.normal(0, 9, 400)
    back = slope_velocity(velocity * cosine, cosine, 0.3)
    seen = np.abs(cosine) >= 0.3
    np.testing.assert_allclose(back[seen], velocity[seen])
    np.testing.assert_allclose(back[~seen], (velocity * np.abs(cosine) / 0.3)[~seen])  # never more than it was
    assert (np.abs(back) <= np.abs(velocity) + 1e-12).all()


def test_floor_of_the_cosine():
    cosine = np.array([0.5, 0.3, 0.1, 1e-9, -1e-9, -0.2, -0.9])
    np.testing.assert_allclose(slope_velocity(np.full(7, 3.0), cosine, 0.3), [6, 10, 10, 10, -10, -10, -10 / 3])


# spacing --------------------------------------------------------------------------------------------------------

def thinned_by_loop(xy, strength, spacing) -> set:
    kept = []
    for i in sorted(range(len(xy)), key=lambda i: (-strength[i], i)):
        if all(np.hypot(*(xy[i] - xy[j])) >= spacing for j in kept):
            kept.append(i)
    return set(kept)


@pytest.mark.parametrize("seed", range(6))
def test_thinning_against_a_loop(seed):
    rng = np.random.default_rng(seed)
    xy, strength = rng.uniform(0, 900, (200, 2)), rng.integers(0, 30, 200).astype(float)
    keep = thin_points(xy, strength, 80.0)
    assert set(np.flatnonzero(keep)) == thinned_by_loop(xy, strength, 80.0)
    kept = xy[keep]
    assert min(np.hypot(*(a - b)) for a, b in itertools.combinations(kept, 2)) >= 80
    for i in np.flatnonzero(~keep):  # whoever was dropped has one at least as strong nearby
        near = np.hypot(*(kept - xy[i]).T) < 80
        assert strength[keep][near].max() >= strength[i]


def test_thinning_keeps_what_is_just_far_enough():
    xy = np.array([(x, y) for x in range(0, 400, 80) for y in range(0, 400, 80)], float)
    assert thin_points(xy, np.ones(25), 80.0).all()
    assert thin_points(xy, np.ones(25), 80.001).sum() < 25
    assert thin_points(xy, np.ones(25), 0.0).all()


def test_of_points_at_one_place_the_strongest_stays():
    keep = thin_points(np.zeros((4, 2)), np.array([1.0, 5, 5, 2]), 80)
    np.testing.assert_array_equal(keep, [False, True, False, False])


def test_nearness():
    rng = np.random.default_rng(4)
    xy, others = rng.uniform(0, 1000, (150, 2)), rng.uniform(0, 1000, (60, 2))
    distance = np.hypot(*(xy[:, None] - others).transpose(2, 0, 1)).min(axis=1)
    np.testing.assert_array_equal(is_near(xy, others, 70.0), distance < 70)
    assert not is_near(np.array([[80.0, 0]]), np.zeros((1, 2)), 80.0).any()
    assert not is_near(xy, np.empty((0, 2)), 1e9).any()
    assert is_near(np.empty((0, 2)), xy, 80.0).shape == (0,)


def test_the_sieve():
    sieve = Sieve(4)
    sieve.drop("a", np.array([True, False, False, False]))
    sieve.drop("b", np.array([True, False, True, False]))
    sieve.drop("c", np.zeros(4, bool))
    assert list(sieve.fate) == ["a", WEAK, "b", WEAK]
    assert list(sieve.left) == [1, 3]
    assert sieve.table().to_numpy().tolist() == [["InSAR points", 0, 4], ["a", 1, 3], ["b", 1, 2], ["c", 0, 2]]


# geometry that is not known --------------------------------------------------------------------------------------

def judge(velocity, *settings, slope=30, epsg=32650, west=0.0, north=0.0, **columns):
    """Points on even slopes, of 30 degrees if not told, down to the right on the map, 100 m apart, after the rules."""
    n = len(velocity)
    terrain = np.empty((4, n), np.float32)  # DEM, aspect, curvature, slope
    terrain[0], terrain[1], terrain[2], terrain[3] = 100, 90, 0, slope
    ground = PointTerrain(terrain, np.ones(n, bool), crs_of(epsg).ExportToWkt())
    xy = np.column_stack([west + np.arange(n) * 100 + 50.0, np.full(n, north - 50.0)])
    points = InsarPoints(xy, np.array(velocity), **columns)
    c = constants(augment_inventory.Constants, ["REGION=isle", *settings])
    return find_moving(points, ground, np.empty((0, 2)), lambda here: np.ones((len(here), 3)), c, Path("insar.csv"))


def test_without_geometry_the_line_of_sight_is_judged():
    motion = judge([1.99, -1.99, 2.0, -2.0, 9.0])
    assert list(motion.sieve.left) == [2, 3, 4]
    assert motion.sieve.fate[0] == "below 2 mm/yr along the line of sight"
    assert motion.measured[["cosine", "slope_velocity"]].isna().all(axis=None)
    assert "too few points on flat ground to tell them (0)" in motion.notes[0]
    assert motion.notes[1:] == (NOTE,)


def test_without_geometry_no_point_is_kept_that_geometry_would_drop_as_slow():
    velocity = np.random.default_rng(3).normal(0, 3, 400)
    blind = judge(velocity, "SPACING=0").sieve.left
    for heading, incidence in itertools.product((-13.0, 60.0, 193.0), (25.0, 39.0)):
        seen = judge(velocity, "SPACING=0", f"GEOMETRY=({heading}, {incidence})")
        assert {note.partition(":")[0] for note in seen.notes} <= {"InSAR points",
                                                                   "weak labels that move up their slope"}
        assert set(blind) <= set(seen.sieve.left)  # |V_LOS| is a lower bound of |V_slope|


# noise, and points at rest -----------------------------------------------------------------------------------------

def test_of_many_points_noise_alone_makes_hardly_a_weak_label():
    noise, error = np.random.default_rng(5).normal(0, 2, 20_000), np.full(20_000, 2.0)
    assert len(judge(noise, "SPACING=0", error=error).sieve.left) <= 2
    many = len(judge(noise, "SPACING=0", "FALSE_SHARE=1", error=error).sieve.left)
    assert 600 < many < 1200  # 4.6 % of them, as two standard errors let pass
    moving = np.where(np.arange(20_000) < 500, 12.0, noise)
    found = judge(moving, "SPACING=0", error=error).sieve.left
    assert (found < 500).sum() > 480
    assert (found >= 500).mean() < 0.1


def test_the_share_of_false_ones_against_the_steps_of_benjamini_and_hochberg():
    velocity, error = np.array([9.0, 0.1, 3.2, 2.6, 2.2, 0.5, 9.0]), np.ones(7)
    tested = np.array([True] * 6 + [False])
    p = np.sort([2 * (1 - NORMAL.cdf(v)) for v in velocity[tested]])
    largest = max(i for i in range(6) if p[i] <= 0.05 * (i + 1) / 6)
    passes = significant(velocity, error, tested, 0.05)
    assert passes.sum() == largest + 1
    assert list(np.flatnonzero(passes)) == [0, 2, 3, 4]
    assert not passes[6]


def told(velocity, given=None, flat=None, heading=None):
    """What flat ground tells of velocities; all points lie on it if not said."""
    flat = np.ones(len(velocity), bool) if flat is None else flat
    points = InsarPoints(np.zeros((len(velocity), 2)), velocity, error=given, heading=heading)
    return told_by_flat_ground(points, flat, ~flat)


@pytest.mark.parametrize(("given", "expected", "words"), [
    (0, 1.5, "5,000 without a velocity error"), (0.3, 1.5, "scatter 5.03 times as wide"), (1.5, 1.5, ""),
    (4.0, 4.0, "are the errors too large")])
def test_velocities_on_flat_ground_tell_their_errors(given, expected, words):
    velocity = np.random.default_rng(6).normal(-8, 1.5, 5_000)  # the whole plain sinks
    velocity[:50] = 400
    found, error, notes = told(velocity, np.full(5_000, float(given)))
    np.testing.assert_array_equal(found, velocity)
    np.testing.assert_allclose(error, expected, rtol=0.05)
    assert len(notes) == bool(words)
    assert words in "".join(notes)
    _, error, notes = told(velocity, np.full(5_000, float(given)), np.arange(5_000) < 99)  # too few
    np.testing.assert_array_equal(error, np.full(5_000, given))
    assert bool(notes) == (not given)


def test_velocities_that_are_all_alike_tell_no_error():
    velocity = np.random.default_rng(7).normal(0, 3, 1_000)
    velocity[:600] = 0
    _, error, notes = told(velocity)
    assert not error.any()
    assert "no velocity errors, and half of 1,000 points on flat ground are exactly alike" in notes[0]


def test_each_track_tells_its_own_errors():
    rng = np.random.default_rng(9)
    velocity = np.concatenate([rng.normal(0, 2, 500), rng.normal(0, 5, 500), [30.0]])
    given, heading = np.concatenate([np.full(500, 1.0), np.zeros(501)]), np.where(np.arange(1_001) < 500, -13.0, 193.0)
    _, error, notes = told(velocity, given, np.arange(1_001) < 1_000, heading)
    np.testing.assert_allclose(error, np.concatenate([np.full(500, 2.0), np.full(501, 5.0)]), rtol=0.15)
    assert len(notes) == 2
    assert "of heading -13" in notes[1]
    _, error, _ = told(velocity, None, np.arange(1_001) < 1_000, heading)
    np.testing.assert_allclose(error, np.concatenate([np.full(500, 2.0), np.full(501, 5.0)]), rtol=0.15)
    assert significant(np.array([0.1, 0.1]), np.array([0, 1.0]), np.ones(2, bool), 0.05).tolist() == [True, False]


def test_a_reference_that_moves_moves_no_slope():
    rng = np.random.default_rng(10)
    flat = np.arange(2_000) < 500
    velocity = rng.normal(5, 0.5, 2_000)
    found, _, notes = told(velocity, np.full(2_000, 0.5), flat)
    assert abs(np.median(found)) < 0.1
    assert "as if the reference moved" in notes[0]
    sinking = np.where(flat, velocity, velocity - 5)  # the plain alone
    found, _, notes = told(sinking, np.full(2_000, 0.5), flat)
    np.testing.assert_array_equal(found, sinking)
    assert not notes
    slope = np.where(flat, 1.0, 30.0)
    assert not len(judge(velocity, "SPACING=0", slope=slope, error=np.full(2_000, 0.5)).sieve.left)
    kept = judge(velocity, "SPACING=0", "FLAT_TELLS=False", slope=slope, error=np.full(2_000, 0.5)).sieve.left
    assert len(kept) > 1_400


def test_without_errors_the_scatter_of_flat_ground_stands_for_them():
    rng = np.random.default_rng(7)
    velocity, slope = rng.normal(0, 3, 2_000), np.where(np.arange(2_000) < 400, 1.0, 30.0)
    velocity[1_900:] = 30
    motion = judge(velocity, "SPACING=0", slope=slope)
    assert "2,000 without a velocity error" in motion.notes[0]
    assert set(range(1_900, 2_000)) <= set(motion.sieve.left)
    assert len(motion.sieve.left) < 125  # about one in twenty is noise after all; of two errors it were 180


def test_points_at_rest():
    velocity = np.array([8.0, 0.3, -1.99, 2.0, 1.0, 0.2])
    coherence, error = np.array([0.9, 0.9, 0.9, 0.9, 0.1, 0.9]), np.array([0.5, 0.5, 0.5, 9.0, 0.5, 0.5])
    assert list(judge(velocity, coherence=coherence, error=error).rest) == [1, 2, 5]  # 3 may move, 4 is not known
    flat = np.array([30.0, 30, 1, 30, 30, 30])
    assert list(judge(velocity, slope=flat, coherence=coherence, error=error).rest) == [1, 5]


def test_points_bring_their_own_geometry_or_take_the_constant():
    heading, incidence = np.full(3, -13.0), np.full(3, 39.0)
    own = judge([5.0, 1.0, -3.0], heading=heading, incidence=incidence).measured
    assert own.equals(judge([5.0, 1.0, -3.0], "GEOMETRY=(-13.0, 39.0)").measured)
    assert own.equals(judge([5.0, 1.0, -3.0], "GEOMETRY=(77.0, 39.0)", heading=heading).measured)


def test_where_the_map_is_turned_aspects_count_from_true_north():
    """As in EPSG:3035 in Portugal; within a UTM zone the way up counts as north."""
    angles = {"heading": np.full(2, -13.0), "incidence": np.full(2, 39.0)}
    for place, turned in (({"epsg": 3035, "west": 2775486, "north": 2064994}, -12.52), ({"north": 5e6}, 0)):
        motion = judge([5.0, 1.0], **angles, **place)
        cosine = slope_cosine(*(np.full(2, value) for value in (30.0, 90.0 + turned, -13.0, 39.0)))
        np.testing.assert_allclose(motion.measured["cosine"], cosine, atol=1e-3)
        assert any("-13 degrees off true north" in note for note in motion.notes) == bool(turned)


@pytest.mark.parametrize(("settings", "columns", "words"), [
    ((), {"incidence": np.full(2, 39.0)}, "insar.csv: header: .* or neither, found no heading; add it, or say both"),
    ((), {"heading": np.full(2, 39.0)}, "found no incidence; add it"),
    (("DOWNHILL=True",), {}, "DOWNHILL=True expects columns heading and incidence .*, found neither; add them")])
def test_half_a_geometry(settings, columns, words):
    with pytest.raises(InputError, match=words):
        judge([5.0, 6.0], *settings, **columns)


def test_each_file_is_a_track_of_its_own():
    """Two ascending frames count from references of their own."""
    rng = np.random.default_rng(9)
    file = np.arange(1_000) % 2
    velocity = np.where(file == 1, 4.0, -4.0) + rng.normal(0, 1, 1_000)
    points = InsarPoints(np.zeros((1_000, 2)), velocity, heading=np.full(1_000, -13.0), file=file)
    flat = np.arange(1_000) < 500
    found, error, _ = told_by_flat_ground(points, flat, ~flat)
    for number in (0, 1):
        assert abs(np.median(found[file == number])) < 0.1
    np.testing.assert_allclose(error, 1.0, rtol=0.15)
