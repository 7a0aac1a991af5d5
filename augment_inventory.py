"""Stage 0: adds weak landslide labels where InSAR sees slopes move, so that training also has slow landslides.

InSAR points come in two forms. Ts_<REGION>.csv is the published form. It holds the factors too and is taken as already
sampled: every row becomes a landslide sample. insar_<REGION>.csv (or .gpkg, one layer of points) holds measurements: x,
y and velocity (mm/yr along the line of sight), optionally coherence, heading and incidence (degrees) and velocity_error
(mm/yr). In a raster of velocities, insar_<REGION>.tif, each cell is a measurement. A measurement becomes a weak label
where it passes all rules (lsm/insar/moving_slopes.py) under the constants below; prepare_region.py applies the same
rules under the same constants. Its terrain comes from composite.tif, its other factors from its cell of the grid, a
table or a raster. DV is always positive towards the satellite, whatever the source counts as positive
(lsm/insar/velocities.py).

Velocity defines the weak labels, and DV is also a factor. Scores on InSAR points are therefore partly circular: the
stage names every factor that alone tells the weak labels from the non-landslides.

Reads   src_data/samples_<REGION>_noTS.csv          inventory and non-landslides: factors, X, Y, label
        src_data/Ts_<REGION>.csv                    InSAR points, published form (factors, velocity, X, Y); or
        src_data/insar_<REGION>.csv, .gpkg or .tif  InSAR measurements, and for these:
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
from pathlib import Path

import numpy as np
import pandas as pd

from lsm.inputs import grid_cells
from lsm.inputs.rasters import Composite
from lsm.inputs.samples import read_samples
from lsm.insar import weak_samples
from lsm.insar.moving_slopes import Motion, is_near
from lsm.insar.rules import check_rules
from lsm.insar.velocities import DIRECTIONS, TO_MM, read_insar
from lsm.run.artifacts import write_csv, wrote
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
    INSAR_UNIT: str = "mm/yr"        # of insar tables, layers and rasters that do not state it; or "cm/yr", "m/yr"
    # geometry of insar points
    GEOMETRY: tuple = ()     # (heading, incidence) in degrees of all points, such as (-13.0, 39.0), where the source
                             #   has no such columns; (): without them V_LOS stands for V_slope, its lower bound
    LOOK: str = "right"      # the side of its track the satellite looks to; "left" for the few that do
    MIN_COSINE: float = 0.3  # least |C| in V_slope = V_LOS / C; not published, 0.3 in Ciampalini et al. (2016)
    # what makes an insar point a weak label, here and in prepare_region.py; none of it published
    MIN_VELOCITY: float = 2.0   # mm/yr, of |V_slope|; 97.5 % of the published points exceed it
    DOWNHILL: bool = False      # True drops points whose V_slope goes up the slope; False judges |V_slope| alone
    MIN_SLOPE: float = 5.0      # degrees; gentler ground settles rather than slides
    MIN_COHERENCE: float = 0.7  # where the source gives it; the usual bound of persistent scatterers
    ERRORS: float = 2.0         # least |V_LOS| in standard errors; 95 % of pure noise fails
    FALSE_SHARE: float = 0.05   # share of the points that pass which may be noise; of many points noise alone makes
                                #   some fast; 1: not asked
    FLAT_TELLS: bool = True     # True: velocities on flat ground tell their errors, and whether the reference moves
    SPACING: float = 80.0       # m, between weak labels and to inventory landslides; the published points' median
                                #   spacing
    # what a weak label counts
    WEIGHT: float = 1.0     # up to 1, the weight of an observed landslide or a non-landslide; published 1
    SEPARATES: float = 0.9  # AUROC; warn of a factor that alone reaches it, or 1 - it, on weak labels and absences
    # files
    OVERWRITE: bool = False   # True: replace a samples table that this stage did not write, or that was changed since
    GRID_ROWS: int = 500_000  # rows of the grid table, or cells of factors.tif, in memory at once
# ----------------------------------------------------------------------------------------------------------------

_STAGE = "augment_inventory.py"


def check_constants(c: Constants) -> None:
    """Raises InputError for constants that mean nothing."""
    for name in ("TS_POSITIVE", "INSAR_POSITIVE"):
        if getattr(c, name) not in DIRECTIONS:
            raise InputError(f"{name}={getattr(c, name)}: expected {' or '.join(DIRECTIONS)}")
    if c.INSAR_UNIT not in TO_MM:
        raise InputError(f"INSAR_UNIT={c.INSAR_UNIT}: expected one of {', '.join(TO_MM)}")
    check_rules(c)
    for name, low, high in (("WEIGHT", 0.001, 1), ("SEPARATES", 0.5, 1), ("GRID_ROWS", 1, np.inf)):
        if not low <= getattr(c, name) <= high:
            raise InputError(f"{name}={getattr(c, name)}: expected {low} to {high}")


def source_of(paths: Paths) -> Path:
    """The one file of InSAR points. Raises InputError where there is none, or more than one."""
    accepted = paths.insar_sources()
    found = [path for path in accepted if path.is_file()]
    if not found:
        raise InputError(f"{shown(accepted[0])}: missing, as are {shown(accepted[1])}, {accepted[2].name} and "
                         f"{accepted[3].name}; put the InSAR points there in one of these forms")
    if len(found) > 1:
        raise InputError(f"{' and '.join(map(shown, found))}: expected one source of InSAR points, found {len(found)}; "
                         "move all but one away")
    return found[0]


def from_measurements(c, paths: Paths, path: Path, factors, landslides: np.ndarray) -> tuple[pd.DataFrame, Motion]:
    """The points of an insar table or layer that pass all rules, as samples (text), and what the rules found.

    landslides  (landslides, 2), of the inventory. Raises InputError.
    """
    composite = Composite.of(paths.composite)
    own = wrote(path, ("prepare_region.py",))  # which writes mm/yr, positive towards the satellite, whatever it read
    points, notes = read_insar(path, composite.grid, unit="mm/yr" if own else c.INSAR_UNIT,
                               positive="towards" if own else c.INSAR_POSITIVE)
    motion = weak_samples.judged(c, points, composite, grid_cells.grid_of(paths), factors, landslides, path)
    if not len(motion.sieve.left):
        raise InputError(f"{shown(path)}: expected points that pass the rules, found none of {len(points.xy):,}: "
                         f"{motion.sieve.dropped}; look at units and CRS; if nothing moves there, leave the points out")
    for note in [*notes, *motion.notes]:
        print(note)
    return weak_samples.measured_samples(motion, factors), motion


def main(c: Constants) -> None:
    """Runs the stage."""
    paths, factors = Paths(c.REGION), c.factors
    check_constants(c)
    if paths.samples.is_file() and not c.OVERWRITE and not wrote(paths.samples, (_STAGE,)):
        raise InputError(f"{shown(paths.samples)}: expected none, or one that {_STAGE} wrote, found another; move it "
                         "away, or replace it with OVERWRITE=True")
    path = source_of(paths)
    samples = read_samples(paths.samples_without_insar, factors)
    inventory = weak_samples.table_as_text(paths.samples_without_insar, factors, ("X", "Y", "label"))
    label, inputs = samples.label == 1, [paths.samples_without_insar, path]
    if path == paths.insar_points:
        weak, motion = weak_samples.published_points(path, factors, c.TS_POSITIVE)
    else:
        weak, motion = from_measurements(c, paths, path, factors, samples.xy[label])
        inputs += [paths.composite, grid_cells.grid_of(paths)]

    table, sieve = pd.concat([inventory, weak], ignore_index=True), motion.sieve
    origin = pd.DataFrame({
        "row": np.arange(len(table)),
        "origin": np.concatenate([np.where(label, "inventory", "absence"), np.full(len(weak), "insar")]),
        "weight": np.concatenate([np.ones(len(label)), np.full(len(weak), c.WEIGHT)]),
        "velocity": np.concatenate([np.full(len(label), np.nan), motion.measured["velocity"].iloc[sieve.left]])})
    made = (_STAGE, c, inputs, paths.insar_sources())
    write_csv(paths.augmentation, sieve.table(), *made)
    write_csv(paths.augmentation_points, motion.measured.assign(fate=sieve.fate), *made)
    write_csv(paths.samples_origin, origin, *made)
    write_csv(paths.samples, table, *made)
    print_rules(c, samples, weak, motion)
    for written in (paths.augmentation, paths.augmentation_points, paths.samples_origin, paths.samples):
        print(f"wrote {shown(written)}")


def print_rules(c, samples, weak: pd.DataFrame, motion: Motion) -> None:
    """Prints what each rule dropped, and what a person should know of the weak labels."""
    label, sieve = samples.label == 1, motion.sieve
    print(f"{'':52}{'dropped':>10}{'kept':>10}")
    for rule, dropped, kept in sieve.rows:
        print(f"{rule:52}{dropped:10,}{kept:10,}")
    print(f"{len(label) + len(weak):,} samples: {label.sum():,} landslides of the inventory, {len(weak):,} weak labels "
          f"of weight {c.WEIGHT:g}, {(~label).sum():,} non-landslides")
    close = is_near(weak[["X", "Y"]].to_numpy(float), samples.xy[~label], c.SPACING).sum()
    print(f"weak labels within {c.SPACING:g} m of a non-landslide: {close:,}; both stay")
    alone = [f"{name} (AUROC {auroc:.3f})" for name, auroc in
             weak_samples.separations(motion.factors, samples.factors[~label], c.factors)
             if not 1 - c.SEPARATES <= auroc <= c.SEPARATES]
    if alone:
        print(f"warning: one factor alone separates weak labels from non-landslides: {', '.join(alone)}. Scores on "
              "weak labels are circular to that extent: look at scores on inventory points, and without that factor")


if __name__ == "__main__":
    run(main, Constants)
