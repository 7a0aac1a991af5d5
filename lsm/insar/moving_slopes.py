"""Which InSAR points become weak landslide labels: the rules, in one place for every form of InSAR data.

A point becomes a weak label where the slope below it moves: fast enough along the slope, on steep enough ground, well
measured, away from inventory landslides and from faster points. The bounds are the constants of augment_inventory.py.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from scipy.stats import false_discovery_control, norm

from lsm.inputs.crs import off_north
from lsm.inputs.rasters import TERRAIN
from lsm.insar.rules import LOOKS, RuleConstants
from lsm.insar.tracks import typical_heading
from lsm.insar.velocities import InsarPoints
from lsm.run.paths import shown
from lsm.run.settings import InputError

WEAK = "weak label"               # the fate of a point that no rule has dropped
WIDER, TOO_LARGE = 1.1, 0.5       # times; errors that are less too small stay, and errors that seem too large
FLAT_POINTS = 100                 # points on flat ground that tell how wide velocities scatter where no slope moves
NOTE = ("no heading and incidence: the velocity along the line of sight stands for the velocity along the slope, which "
        "is never slower")


class Sieve:
    """Points on their way through the rules: `fate` (points,) of each, WEAK or the rule that dropped it; `rows` (rule,
    dropped, kept of all points after it) of each rule so far."""

    def __init__(self, points: int):
        self.fate = np.full(points, WEAK, dtype=object)
        self.rows = [("InSAR points", 0, points)]

    @property
    def left(self) -> np.ndarray:
        """Numbers (left,) of the points that no rule has dropped yet, ascending."""
        return np.flatnonzero(self.fate == WEAK)

    def drop(self, rule: str, bad: np.ndarray) -> None:
        """Drops the points still left that are `bad`, (points,) bool of all points."""
        bad = bad & (self.fate == WEAK)
        self.fate[bad] = rule
        self.rows.append((rule, int(bad.sum()), len(self.left)))

    @property
    def dropped(self) -> str:
        """How many points each rule dropped, in words; "" where none did."""
        return "; ".join(f"{n:,} {rule}" for rule, n, _ in self.rows if n)

    def table(self) -> pd.DataFrame:
        """The rows under their names: rule, dropped, kept."""
        return pd.DataFrame(self.rows, columns=["rule", "dropped", "kept"])


@dataclass(frozen=True)
class PointTerrain:
    """The terrain under InSAR points: the bands of TERRAIN (4, points), nan where there is none; which points (points,)
    lie inside the raster; and its crs as WKT."""

    terrain: np.ndarray
    inside: np.ndarray
    crs: str


@dataclass(frozen=True)
class Motion:
    """InSAR points after the rules: the sieve; measured, a table of all points with X, Y, velocity (mm/yr along the
    line of sight), cosine (C) and slope_velocity (mm/yr, positive downhill; both nan without geometry); factors (left,
    factors) of the points that are left; the numbers (n,) of the points at rest, as well measured and on as steep
    ground, but slower than MIN_VELOCITY; and notes for a person."""

    sieve: Sieve
    measured: pd.DataFrame
    factors: np.ndarray
    rest: np.ndarray
    notes: tuple[str, ...] = ()


def find_moving(points: InsarPoints, ground: PointTerrain, landslides: np.ndarray, factors_at,
                c: RuleConstants, path: Path) -> Motion:
    """Applies all rules.

    landslides  (landslides, 2), of the inventory
    factors_at  (numbers of points) -> their factors (numbers, factors), nan where the grid has none in their cell
    path        of the points, for messages
    Raises InputError.
    """
    sieve = Sieve(len(points.xy))
    slope, aspect = (ground.terrain[TERRAIN.index(name)].astype(float) for name in ("slope", "aspect"))
    sieve.drop("outside the raster", ~ground.inside)
    sieve.drop("on nodata", np.isnan(slope))
    if points.coherence is not None:
        sieve.drop(f"coherence below {c.MIN_COHERENCE:g}", points.coherence < c.MIN_COHERENCE)
    measurable, flat = sieve.fate == WEAK, (slope < c.MIN_SLOPE) | (aspect < 0)
    sieve.drop(f"flat ground, slope below {c.MIN_SLOPE:g} degrees", flat)
    velocity, error, notes = points.velocity, np.zeros(len(flat)) if points.error is None else points.error, []
    if c.FLAT_TELLS:
        velocity, error, notes = told_by_flat_ground(points, measurable & flat, measurable & ~flat)
    turned = off_north(ground.crs, *np.median(points.xy, axis=0))
    cosine, downhill, speed, along = _along_the_slope(replace(points, velocity=velocity), slope, aspect + turned, c,
                                                      path)
    if along != "slope":
        notes.append(NOTE)
    elif turned:
        notes.append(f"the way up on the map is {turned:.0f} degrees off true north, from which headings count: for "
                     "the velocity along the slope aspects are turned by it")
    if error.any():
        sieve.drop(f"velocity below {c.ERRORS:g} of its errors", np.abs(velocity) < c.ERRORS * error)
        sieve.drop(f"may be noise (FALSE_SHARE {c.FALSE_SHARE:g})",
                   ~significant(velocity, error, measurable & ~flat, c.FALSE_SHARE))
    sieve.drop(f"below {c.MIN_VELOCITY:g} mm/yr along the {along}", speed < c.MIN_VELOCITY)
    if c.DOWNHILL:
        sieve.drop("moving up the slope", downhill < 0)
    sieve.drop(f"within {c.SPACING:g} m of an inventory landslide", is_near(points.xy, landslides, c.SPACING))

    candidates = sieve.left
    factors = factors_at(candidates)
    on_grid, kept = np.zeros((2, len(points.xy)), bool)
    on_grid[candidates] = np.isfinite(factors).all(axis=1)
    sieve.drop("not on the grid to predict", ~on_grid)
    kept[sieve.left] = thin_points(points.xy[sieve.left], speed[sieve.left], c.SPACING)
    sieve.drop(f"within {c.SPACING:g} m of a faster point", ~kept)
    if uphill := int((downhill[sieve.left] < 0).sum()):
        notes.append(f"weak labels that move up their slope: {uphill:,}; noise, other ground motion or, if they are "
                     "many, a wrong INSAR_POSITIVE, heading or LOOK; DOWNHILL=True drops them")
    measured = pd.DataFrame({"X": points.xy[:, 0], "Y": points.xy[:, 1], "velocity": points.velocity,
                             "cosine": cosine, "slope_velocity": downhill})
    return Motion(sieve, measured, factors[np.searchsorted(candidates, sieve.left)],
                  np.flatnonzero(measurable & ~flat & (speed < c.MIN_VELOCITY)), tuple(notes))


def told_by_flat_ground(points: InsarPoints, flat: np.ndarray, steep: np.ndarray
                        ) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The velocities (points,) mm/yr that the rules judge, their standard errors (points,), 0 where nothing tells them,
    and notes.

    flat, steep  (points,) bool: well measured points on ground where no slope moves, and on slopes
    What the source gives is often the misfit of a straight line alone. So the errors are made wider where velocities on
    flat ground scatter wider than they say, and where the source gives none, this scatter stands for them: the median
    absolute deviation, which single fast points and a common motion do not change (the empirical null of Efron 2004,
    Journal of the American Statistical Association 99). Where flat and steep ground move alike, the reference of the
    velocities moves: this motion is subtracted. Each track is looked at alone.
    """
    velocity, error = points.velocity.copy(), np.zeros(len(flat)) if points.error is None else points.error.copy()
    heading, notes = np.zeros(len(flat)) if points.heading is None else points.heading, []
    file = np.zeros(len(flat)) if points.file is None else points.file
    ascends = np.cos(np.radians(heading)) > 0
    for of_track in ((file == number) & (ascends == up) for up in (False, True) for number in np.unique(file)):
        if not of_track.any():
            continue
        here = of_track & flat
        what = "InSAR points" + f" of heading {typical_heading(heading[of_track]):.0f}" * (points.heading is not None)
        if here.sum() < FLAT_POINTS:
            if not error[of_track].any():
                notes.append(f"{what}: no velocity errors, and too few points on flat ground to tell them "
                             f"({here.sum()}): weak landslides may be noise; add a column velocity_error")
            continue
        ground, slopes = np.median(velocity[here]), velocity[of_track & steep]
        alike = len(slopes) > 0 and abs(np.median(slopes) - ground) < abs(ground) / 2
        if alike and abs(ground) > _scatter(velocity[here]):
            velocity[of_track] -= ground
            notes.append(f"{what}: flat and steep ground alike move by {ground:.3g} mm/yr (median), as if the "
                         "reference moved: the rules subtract it, DV does not")
        for given, these in ((True, of_track & (error > 0)), (False, of_track & ~(error > 0))):
            told = these & flat
            if told.sum() < FLAT_POINTS:
                continue
            scatter = _scatter(velocity[told], error[told] if given else 1.0)
            of = f"{told.sum():,} points on flat ground"
            if not given and not scatter:
                notes.append(f"{what}: no velocity errors, and half of {of} are exactly alike: weak landslides may be "
                             "noise; add a column velocity_error, and remove points that are gaps")
            elif not given:
                error[these] = scatter
                notes.append(f"{what}: {these.sum():,} without a velocity error (none, or 0); {scatter:.3g} mm/yr, the "
                             f"scatter of {of}, stands for it")
            elif scatter > WIDER:
                error[these] *= scatter
                notes.append(f"{what}: velocities of {of} scatter {scatter:.3g} times as wide as their errors say; the "
                             "errors count so many times. If this ground itself sinks, set FLAT_TELLS = False in "
                             "augment_inventory.py")
            elif 0 < scatter < TOO_LARGE:
                notes.append(f"{what}: velocities of {of} scatter {scatter:.3g} times as wide as their errors say: are "
                             "the errors too large, or in another unit? So fewer points pass")
    return velocity, error, notes


def _scatter(velocity: np.ndarray, error: np.ndarray | float = 1.0) -> float:
    """The median absolute deviation of velocities from their median, in errors, as a standard deviation."""
    return float(np.median(np.abs(velocity - np.median(velocity)) / error) / norm.ppf(0.75))


def significant(velocity: np.ndarray, error: np.ndarray, tested: np.ndarray, share: float) -> np.ndarray:
    """Which velocities (points,) are no noise, if a `share` of the points that pass may be noise after all.

    error  (points,) standard errors, 0 where they are not known: such points pass; tested  (points,) bool: the points
    to judge; no other point passes
    Of many points some are fast by chance, however many errors that takes. Benjamini and Hochberg (1995), Journal of
    the Royal Statistical Society B 57, bound their share of the points that pass.
    """
    passes, tested = tested.copy(), tested & (error > 0)
    if tested.any() and share < 1:
        p = 2 * norm.sf(np.abs(velocity[tested]) / error[tested])
        passes[tested] = false_discovery_control(p) <= share
    return passes


def _along_the_slope(points: InsarPoints, slope: np.ndarray, aspect: np.ndarray, c: RuleConstants, path: Path):
    """C, V_slope and the speed that the rules judge, (points,) each, and along what it is: "slope" or "line of sight".

    Heading and incidence are the points' own, else of c.GEOMETRY. Where there is neither, C is unknown, and the speed
    is |V_LOS|: as |C| is at most 1, |V_slope| is at least this. Raises InputError for half a geometry.
    """
    own = {"heading": points.heading, "incidence": points.incidence}
    missing = [name for name, values in own.items() if values is None]
    if not c.GEOMETRY and len(missing) == 1:
        raise InputError(f"{shown(path)}: header: expected columns heading and incidence (degrees) or neither, found "
                         f"no {missing[0]}; add it, or say both for all points in augment_inventory.py: "
                         'GEOMETRY="(-13.0, 39.0)"')
    if not c.GEOMETRY and missing:
        if c.DOWNHILL:
            raise InputError(f"{shown(path)}: header: DOWNHILL=True expects columns heading and incidence (degrees), "
                             'found neither; add them, or say them for all points: GEOMETRY="(-13.0, 39.0)"')
        unknown = np.full(len(points.xy), np.nan)
        return unknown, unknown, np.abs(points.velocity), "line of sight"
    heading, incidence = (np.full(len(points.xy), float(c.GEOMETRY[i])) if values is None else values
                          for i, values in enumerate(own.values()))
    cosine = slope_cosine(slope, aspect, heading, incidence, c.LOOK)
    downhill = slope_velocity(points.velocity, cosine, c.MIN_COSINE)
    return cosine, downhill, np.abs(downhill), "slope"


def slope_cosine(slope: np.ndarray, aspect: np.ndarray, heading: np.ndarray, incidence: np.ndarray,
                 look: str = "right") -> np.ndarray:
    """C, the cosine between steepest descent and the way to the satellite: V_LOS = C V_slope.

    slope, aspect       degrees; aspect clockwise from north, the way down
    heading, incidence  degrees: flight direction clockwise from north (about -13 ascending, 193 descending), and the
                        angle of the line of sight off the vertical at the point
    look                one of LOOKS

    With s, a, h, i for the four and components east, north, up, the unit vector down the slope is
        d = (cos s sin a, cos s cos a, -sin s).
    A satellite that looks right stands, seen from the ground, at azimuth h - 90, at angle i off the vertical:
        l = (sin i sin(h - 90), sin i cos(h - 90), cos i) = (-sin i cos h, sin i sin h, cos i),
    and C = d . l. A left-looking one stands at h + 90, which turns the sign of the first two components. A point moving
    at V down the slope comes nearer to the satellite at V C, so V_slope = V_LOS / C is positive downhill. Ciampalini
    et al. (2016), Remote Sensing of Environment 184, use this projection for landslide inventories.
    """
    s, a, h, i = (np.radians(v) for v in (slope, aspect, heading, incidence))
    sideways = LOOKS[look] * np.sin(i) * (np.cos(a) * np.sin(h) - np.sin(a) * np.cos(h))
    return np.cos(s) * sideways - np.sin(s) * np.cos(i)


def slope_velocity(velocity: np.ndarray, cosine: np.ndarray, floor: float) -> np.ndarray:
    """V_slope = V_LOS / C in mm/yr, positive down the slope; |C| counts as at least `floor`, its sign kept.

    Where the line of sight is nearly at right angles to the slope, dividing by C would turn noise into velocity, hence
    the bound (0.3 in Ciampalini et al. 2016).
    """
    return velocity / np.copysign(np.maximum(np.abs(cosine), floor), cosine)


def thin_points(xy: np.ndarray, strength: np.ndarray, spacing: float) -> np.ndarray:
    """Which points (points,) to keep so that no two kept ones are nearer than `spacing` m.

    The strongest first, of equals the first in the table; each drops the weaker ones nearer than `spacing`.
    """
    tree, keep, open_ = cKDTree(xy), np.zeros(len(xy), bool), np.ones(len(xy), bool)
    for point in np.argsort(-strength, kind="stable"):
        if open_[point]:
            keep[point] = True
            open_[tree.query_ball_point(xy[point], np.nextafter(spacing, 0))] = False
    return keep


def is_near(xy: np.ndarray, others: np.ndarray, distance: float) -> np.ndarray:
    """Which points (points,) lie nearer than `distance` m to any of `others` (others, 2)."""
    if not len(xy) or not len(others):
        return np.zeros(len(xy), bool)
    return cKDTree(others).query(xy, distance_upper_bound=distance)[0] < distance
