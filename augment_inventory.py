"""Stage 0: adds weak landslide labels where InSAR sees slopes move, so that slow slopes are not missing from training.

Two forms of InSAR points. Ts_<REGION>.csv, the published one, holds the factors too and is taken as already sampled:
every row becomes a landslide sample. insar_<REGION>.csv (or .gpkg, one layer of points) holds measurements: x, y and
velocity (mm/yr along the line of sight), optionally coherence, heading, incidence (degrees) and velocity_error
(mm/yr). Each measurement has to pass all rules below; its factors come from composite.tif and, those that are not in
there, from its cell of the grid, a table or a raster. Whatever way a source counts, DV here is positive towards the
satellite (lsm/region/insar.py).

DV defines the weak labels and is a factor too, so scores on InSAR points are partly circular: the stage names every
factor that alone tells the weak labels from the non-landslides.

Reads   src_data/samples_<REGION>_noTS.csv          inventory and non-landslides: factors, X, Y, label
        src_data/Ts_<REGION>.csv                    InSAR points, published form (factors, velocity, X, Y); or
        src_data/insar_<REGION>.csv or .gpkg        InSAR measurements, and for these:
        src_data/<REGION>/composite.tif             DEM, aspect, curvature, slope
        src_data/grid_samples_<REGION>.csv          the other factors; or src_data/<REGION>/factors.tif
Writes  src_data/samples_<REGION>.csv               factors, X, Y, label: the inventory's rows as they are, then the
                                                    weak labels
        src_data/<REGION>_samples_origin.csv        row (of the samples' data, from 0), origin (inventory, insar,
                                                    absence), weight, velocity (mm/yr, positive towards the satellite)
        tmp/<REGION>_augmentation.csv               rule, dropped, kept
        tmp/<REGION>_augmentation_points.csv        X, Y, velocity, cosine (C), slope_velocity (mm/yr, positive
                                                    downhill), fate: "weak label" or the rule that dropped the point
Run     python augment_inventory.py [REGION=HK SPACING=100 ...]
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from lsm.inputs import grid_cells
from lsm.inputs.rasters import TERRAIN as _TERRAIN
from lsm.inputs.rasters import Raster, cell_of, centres, crs_name, locate, read_composite
from lsm.inputs.samples import STORED_ZERO as _STORED_ZERO
from lsm.inputs.samples import count_rows, grid_chunks, read_samples
from lsm.region import insar
from lsm.run.artifacts import read_record, write_csv
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError, run
from study_area import Area


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants(Area):
    """What a person may set, here or for one run as NAME=value."""

    # what the sources count as positive: "towards" the satellite or "away" from it
    TS_POSITIVE: str = "away"        # Ts tables; published: their sign is the opposite of DV in the samples
    INSAR_POSITIVE: str = "towards"  # insar tables and layers; not published, the habit of most products
    # geometry of insar points
    GEOMETRY: tuple = ()     # (heading, incidence) in degrees of all points, such as (-13.0, 39.0), where the source
                             #   has no such columns; (): it must have them
    LOOK: str = "right"      # the side of its track the satellite looks to; "left" for the few that do
    MIN_COSINE: float = 0.3  # least |C| in V_slope = V_LOS / C; not published, 0.3 in Ciampalini et al. (2016)
    # what makes an insar point a weak label; none of it published
    MIN_VELOCITY: float = 2.0   # mm/yr, of |V_slope|; 97.5 % of the published points exceed it
    DOWNHILL: bool = False      # True drops points that the projection moves up their slope; False takes |V_slope|
                                #   alone
    MIN_SLOPE: float = 5.0      # degrees; gentler ground settles rather than slides
    MIN_COHERENCE: float = 0.7  # where the source gives it; the usual bound of persistent scatterers
    ERRORS: float = 2.0         # least |V_LOS| in standard errors where the source gives them; 95 % of pure noise fails
    SPACING: float = 80.0       # m, between weak labels and to inventory landslides; the published points' median
                                #   spacing
    # what a weak label counts
    WEIGHT: float = 1.0     # up to 1, which is that of an observed landslide or a non-landslide; published 1
    SEPARATES: float = 0.9  # warn of a factor that alone reaches this AUROC, or 1 - it, on weak labels and absences
    # files
    OVERWRITE: bool = False   # True replaces a samples table that this stage did not write, or that was changed since
    GRID_ROWS: int = 500_000  # rows of the grid table, or cells of factors.tif, in memory at once
# ----------------------------------------------------------------------------------------------------------------

_STAGE = "augment_inventory.py"


def is_own(path) -> bool:
    """Whether this stage wrote the table and nobody changed it since."""
    try:
        return read_record(path, _STAGE)["stage"] == _STAGE
    except InputError:
        return False


def check_constants(c) -> None:
    """Raises InputError for constants that mean nothing."""
    directions, limits = insar.DIRECTIONS, (insar.LIMITS["heading"], insar.LIMITS["incidence"])
    for name, known in (("TS_POSITIVE", directions), ("INSAR_POSITIVE", directions), ("LOOK", tuple(insar.LOOKS))):
        if getattr(c, name) not in known:
            raise InputError(f"{name}={getattr(c, name)}: expected {' or '.join(known)}")
    in_range = len(c.GEOMETRY) == 2 and all(isinstance(v, (int, float)) and low <= v <= high
                                            for v, (low, high, _) in zip(c.GEOMETRY, limits, strict=True))
    if c.GEOMETRY and not in_range:
        raise InputError(f"GEOMETRY={c.GEOMETRY}: expected (heading, incidence) in degrees, incidence from 0 to 90")
    for name, low, high in (("MIN_COSINE", 0.01, 1), ("MIN_VELOCITY", 0, np.inf), ("MIN_SLOPE", 0, 90),
                            ("ERRORS", 0, np.inf), ("MIN_COHERENCE", 0, 1), ("SPACING", 0, np.inf),
                            ("WEIGHT", 0.001, 1), ("SEPARATES", 0.5, 1), ("GRID_ROWS", 1, np.inf)):
        if not low <= getattr(c, name) <= high:
            raise InputError(f"{name}={getattr(c, name)}: expected {low} to {high}")


def source_of(paths: Paths):
    """The one file of InSAR points. Raises InputError where there is none, or more than one."""
    known = (paths.insar_points, paths.insar_table, paths.insar_layer)
    found = [path for path in known if path.is_file()]
    if not found:
        raise InputError(f"{shown(known[0])}: missing, as are {shown(known[1])} and {known[2].name}; put the InSAR "
                         "points there in one of these forms")
    if len(found) > 1:
        raise InputError(f"{' and '.join(map(shown, found))}: expected one source of InSAR points, found {len(found)}; "
                         "move all but one away")
    return found[0]


def as_text(path, factors, ending: tuple[str, ...]) -> pd.DataFrame:
    """The columns of a table that its reader has accepted, under their published names, as text: a person's numbers
    go through digit by digit."""
    table = pd.read_csv(path, encoding="utf-8-sig", dtype=str)
    names = {f.name: (f.name, *f.aliases) for f in factors} | {name: (name,) for name in ending}
    return pd.DataFrame({name: table[insar.column_of(table.columns, known)] for name, known in names.items()})


def number(value) -> str:
    """The shortest decimal that reads back as `value`; zero as published tables store it."""
    return np.format_float_positional(value if value else value.dtype.type(_STORED_ZERO), trim="-")


def sampled_points(path, factors, positive: str):
    """A Ts table as samples (text) with label 1, and their factors (points, factors); then, as `measured_points`, a
    sieve that keeps all and the table of measured numbers. Raises InputError."""
    velocity = [j for j, factor in enumerate(factors) if factor.zero_is_missing]
    if not velocity:
        raise InputError(f"{shown(path)}: expected a factor that holds the velocity (zero_is_missing) in FACTORS of "
                         "study_area.py, found none; give the points as insar_<REGION>.csv")
    if not count_rows(path):
        raise InputError(f"{shown(path)}: expected one row an InSAR point, found none; fill it or remove it")
    values = np.concatenate([v for v, _ in grid_chunks(path, factors, 10**6)])
    table = as_text(path, factors, ("X", "Y")).assign(label="1")
    for j in velocity:
        insar.check_unit(values[:, j], path)
        values[:, j] = insar.towards_satellite(values[:, j], positive)
        if positive == "away":
            table[factors[j].name] = table[factors[j].name].map(insar.negated)
    measured = table[["X", "Y"]].assign(velocity=values[:, velocity[0]], cosine=np.nan, slope_velocity=np.nan)
    return table, values, insar.Sieve(len(table)), measured


def check_extent(outside: np.ndarray, xy: np.ndarray, raster: Raster, path, composite) -> None:
    """Refuses points (points, 2) most of which lie outside the raster. Raises InputError."""
    if outside.sum() * 2 <= len(outside):
        return
    corners = centres(raster.geotransform, *(np.array([-0.5, n - 0.5]) for n in raster.valid.shape))
    expected, found = (f"X {x.min():.0f} .. {x.max():.0f}, Y {y.min():.0f} .. {y.max():.0f}"
                       for x, y in (corners, xy.T))
    raise InputError(f"{shown(path)}: columns x, y: expected points within {expected}, found {found}, "
                     f"{outside.sum()} of {len(outside)} outside; are they in the CRS of {shown(composite)}, "
                     f"{crs_name(raster.crs)}?")


def geometry_of(points: insar.Points, constant: tuple, path) -> tuple[np.ndarray, np.ndarray]:
    """Heading and incidence of every point (points,): its own, else the constant's. Raises InputError."""
    if not constant and (points.heading is None or points.incidence is None):
        missing = " and no ".join(n for n in ("heading", "incidence") if getattr(points, n) is None)
        raise InputError(f"{shown(path)}: header: expected columns heading and incidence (degrees), found no "
                         f"{missing}; add them, or say them for all points: GEOMETRY=\"(-13.0, 39.0)\"")
    own = (points.heading, points.incidence)
    return tuple(np.full(len(points.xy), float(constant[i])) if v is None else v for i, v in enumerate(own))


def apply_rules(c, points: insar.Points, raster: Raster, landslides: np.ndarray, path, composite):
    """All rules but those of the grid table and of spacing. landslides (landslides, 2): those of the inventory.

    Returns the sieve and, of every point, its measured numbers as a table: X, Y, velocity, cosine, slope_velocity.
    """
    heading, incidence = geometry_of(points, c.GEOMETRY, path)
    sieve, (row, col, inside) = insar.Sieve(len(points.xy)), locate(raster.geotransform, raster.valid.shape, points.xy)
    outside = ~inside
    check_extent(outside, points.xy, raster, path, composite)
    sieve.drop("outside the raster", outside)
    nodata = np.zeros(len(row), bool)
    nodata[sieve.left] = ~raster.valid[row[sieve.left], col[sieve.left]]
    sieve.drop("on nodata", nodata)
    slope, aspect = np.full((2, len(row)), np.nan)
    for values, name in ((slope, "slope"), (aspect, "aspect")):
        values[sieve.left] = raster.bands[_TERRAIN.index(name), row[sieve.left], col[sieve.left]]
    cosine = insar.slope_cosine(slope, aspect, heading, incidence, c.LOOK)
    downhill = insar.slope_velocity(points.velocity, cosine, c.MIN_COSINE)

    if points.coherence is not None:
        sieve.drop(f"coherence below {c.MIN_COHERENCE:g}", points.coherence < c.MIN_COHERENCE)
    sieve.drop(f"flat ground, slope below {c.MIN_SLOPE:g} degrees", (slope < c.MIN_SLOPE) | (aspect < 0))
    if points.error is not None:
        sieve.drop(f"velocity below {c.ERRORS:g} of its errors", np.abs(points.velocity) < c.ERRORS * points.error)
    sieve.drop(f"below {c.MIN_VELOCITY:g} mm/yr along the slope", np.abs(downhill) < c.MIN_VELOCITY)
    if c.DOWNHILL:
        sieve.drop("moving up the slope", downhill < 0)
    sieve.drop(f"within {c.SPACING:g} m of an inventory landslide", insar.is_near(points.xy, landslides, c.SPACING))
    return sieve, pd.DataFrame({"X": points.xy[:, 0], "Y": points.xy[:, 1], "velocity": points.velocity,
                                "cosine": cosine, "slope_velocity": downhill})


def grid_rows(path, factors, raster: Raster, cell: np.ndarray, rows: int) -> np.ndarray:
    """Factors (points, factors) of the grid's row in each point's cell (points,), a whole number row * cols + col; nan
    where the grid has none there. Of several rows in a cell the one nearest to its centre, of equals the first."""
    wanted, place = np.unique(cell, return_inverse=True)
    values, nearest = np.full((len(wanted), len(factors)), np.nan, np.float32), np.full(len(wanted), np.inf)
    bar = tqdm(total=grid_cells.count(path), desc="grid", unit="row", unit_scale=True, disable=None, delay=2)
    for chunk, xy in grid_cells.chunks(path, factors, rows):
        row, col = cell_of(raster.geotransform, xy)
        own = np.where((col >= 0) & (col < raster.valid.shape[1]), row * raster.valid.shape[1] + col, -1)
        of_chunk = np.flatnonzero(np.isin(own, wanted))
        x, y = centres(raster.geotransform, row[of_chunk], col[of_chunk])
        distance = np.hypot(xy[of_chunk, 0] - x, xy[of_chunk, 1] - y)
        order = np.lexsort((distance, own[of_chunk]))
        found, first = np.unique(own[of_chunk][order], return_index=True)
        best, at = order[first], np.searchsorted(wanted, found)
        closer = distance[best] < nearest[at]
        nearest[at[closer]], values[at[closer]] = distance[best[closer]], chunk[of_chunk[best[closer]]]
        bar.update(len(xy))
    bar.close()
    return values[place]


def factors_at(path, factors, raster: Raster, xy: np.ndarray, velocity: np.ndarray, rows: int) -> np.ndarray:
    """Factors (points, factors) of points: velocity as measured, terrain from the raster, the others from the grid
    `path` (table or stack), nan where it has none in a point's cell."""
    row, col = cell_of(raster.geotransform, xy)
    values = np.full((len(xy), len(factors)), np.nan, np.float32)
    bands, others = [name.lower() for name in _TERRAIN], []
    for j, factor in enumerate(factors):
        band = next((bands.index(n.lower()) for n in (factor.name, *factor.aliases) if n.lower() in bands), None)
        if factor.zero_is_missing:
            values[:, j] = velocity
        elif band is not None:
            values[:, j] = raster.bands[band, row, col]
        else:
            others.append(j)
    if others:
        cell = row * raster.valid.shape[1] + col
        values[:, others] = grid_rows(path, tuple(factors[j] for j in others), raster, cell, rows)
    return values


def measured_points(c, paths: Paths, path, factors, landslides: np.ndarray):
    """The points of an insar table or layer that pass every rule, as samples (text) with label 1, and their factors
    (points, factors); then the sieve and the table of `apply_rules`. Raises InputError."""
    raster = read_composite(paths.composite)
    points = insar.read_points(path, c.INSAR_POSITIVE, raster.crs)
    sieve, measured = apply_rules(c, points, raster, landslides, path, paths.composite)
    candidates = sieve.left
    values = factors_at(grid_cells.grid_of(paths), factors, raster, points.xy[candidates], points.velocity[candidates],
                        c.GRID_ROWS)
    has_row = np.zeros(len(points.xy), bool)
    has_row[candidates] = np.isfinite(values).all(axis=1)
    sieve.drop("not on the grid to predict", ~has_row)
    kept = np.zeros(len(points.xy), bool)
    speed = measured["slope_velocity"].abs().to_numpy()
    kept[sieve.left] = insar.thin(points.xy[sieve.left], speed[sieve.left], c.SPACING)
    sieve.drop(f"within {c.SPACING:g} m of a faster point", ~kept)
    left = sieve.left
    if not len(left):
        dropped = ", ".join(f"{n:,} {rule}" for rule, n, _ in sieve.rows[1:] if n)
        raise InputError(f"{shown(path)}: expected points that pass the rules, found none of {len(points.xy):,}: "
                         f"{dropped}; look at units and CRS, or change the constants of {_STAGE}")
    values = values[np.searchsorted(candidates, left)]
    text = {f.name: [number(v) for v in (points.velocity[left] if f.zero_is_missing else values[:, j])]
            for j, f in enumerate(factors)}
    text |= {name: [number(v) for v in points.xy[left, j]] for j, name in enumerate(("X", "Y"))}
    return pd.DataFrame(text).assign(label="1"), values, sieve, measured


def separations(weak: np.ndarray, absent: np.ndarray, factors) -> list[tuple[str, float]]:
    """Of each factor the AUROC furthest from 0.5 with which it alone tells weak labels (n, factors) from absences.

    A category is taken code by code, a direction by its sine and cosine, a velocity with and without its sign.
    """
    label, out = np.repeat((1, 0), (len(weak), len(absent))), []
    for factor, v in zip(factors, np.concatenate([weak, absent]).T, strict=True):
        views = [v]
        if factor.kind == "categorical":
            views = [v == code for code in np.unique(v)]
        elif factor.kind == "circular":
            views = [np.where(v < 0, 0, turn(np.radians(v))) for turn in (np.sin, np.cos)]
        elif factor.zero_is_missing:
            views = [v, np.abs(v)]
        aurocs = [roc_auc_score(label, view) for view in views]
        out.append((factor.name, max(aurocs, key=lambda auroc: abs(auroc - 0.5))))
    return out


def main(c) -> None:
    """Runs the stage; c holds the constants."""
    paths, factors = Paths(c.REGION), c.factors
    check_constants(c)
    if paths.samples.is_file() and not c.OVERWRITE and not is_own(paths.samples):
        raise InputError(f"{shown(paths.samples)}: expected none, or one that {_STAGE} wrote, found another; move it "
                         "away, or replace it with OVERWRITE=True")
    path = source_of(paths)
    samples = read_samples(paths.samples_without_insar, factors)
    inventory = as_text(paths.samples_without_insar, factors, ("X", "Y", "label"))
    label, inputs = samples.label == 1, [paths.samples_without_insar, path]
    if path == paths.insar_points:
        weak, values, sieve, measured = sampled_points(path, factors, c.TS_POSITIVE)
    else:
        weak, values, sieve, measured = measured_points(c, paths, path, factors, samples.xy[label])
        inputs += [paths.composite, grid_cells.grid_of(paths)]

    table = pd.concat([inventory, weak], ignore_index=True)
    origin = pd.DataFrame({
        "row": np.arange(len(table)),
        "origin": np.concatenate([np.where(label, "inventory", "absence"), np.full(len(weak), "insar")]),
        "weight": np.concatenate([np.ones(len(label)), np.full(len(weak), c.WEIGHT)]),
        "velocity": np.concatenate([np.full(len(label), np.nan), measured["velocity"].iloc[sieve.left]])})
    made = (_STAGE, c, inputs)
    write_csv(paths.augmentation, sieve.table(), *made)
    write_csv(paths.augmentation_points, measured.assign(fate=sieve.fate), *made)
    write_csv(paths.samples_origin, origin, *made)
    write_csv(paths.samples, table, *made)

    print(f"{'':52}{'dropped':>10}{'kept':>10}")
    for rule, dropped, kept in sieve.rows:
        print(f"{rule:52}{dropped:10,}{kept:10,}")
    print(f"{len(table):,} samples: {label.sum():,} landslides of the inventory, {len(weak):,} weak labels of weight "
          f"{c.WEIGHT:g}, {(~label).sum():,} non-landslides")
    close = insar.is_near(weak[["X", "Y"]].to_numpy(float), samples.xy[~label], c.SPACING).sum()
    print(f"weak labels within {c.SPACING:g} m of a non-landslide: {close:,}; both stay")
    uphill = (measured["slope_velocity"].iloc[sieve.left] < 0).sum()
    if uphill:
        print(f"weak labels that move up their slope: {uphill:,}; noise, other ground motion or, if they are many, a "
              "wrong INSAR_POSITIVE, heading or LOOK; DOWNHILL=True drops them")
    alone = [f"{name} (AUROC {auroc:.3f})" for name, auroc in separations(values, samples.factors[~label], factors)
             if not 1 - c.SEPARATES <= auroc <= c.SEPARATES]
    if alone:
        print(f"warning: alone tells the weak labels from the non-landslides: {', '.join(alone)}. Scores on weak "
              "labels are circular to that extent: look at those on inventory points, and without that factor")
    for written in (paths.augmentation, paths.augmentation_points, paths.samples_origin, paths.samples):
        print(f"wrote {shown(written)}")


if __name__ == "__main__":
    run(main, Constants)
