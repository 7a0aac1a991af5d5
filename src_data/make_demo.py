"""Makes the demo area: a synthetic island whose landslide probability is known in every cell.

The island has fractal terrain and four landslide-inducing environments, quarters with winding borders. The log-odds of
a landslide are a weighted sum of standardised factors, with other weights in each environment. Some weights change sign
from one environment to the next, so no model without X,Y is right everywhere. Inventory, absence and InSAR points are
drawn from that probability. Landslides on slopes that InSAR sees move are missing from the inventory; they are InSAR
points only. The tables are like published ones: zeros stored as 0.000001, a BOM, repeated places.

Reads   nothing
Writes  src_data/samples_demo.csv         inventory, absence and InSAR points: factors, X, Y, label
        src_data/samples_demo_noTS.csv    the same without InSAR points
        src_data/Ts_demo.csv              InSAR points; velocity with the opposite sign, repeated as last column
        src_data/grid_samples_demo.csv    one row a land cell: factors, X, Y of its centre
        src_data/demo/composite.tif       DEM, aspect, curvature, slope
        src_data/demo/raw/                the same area in the form that prepare_region.py reads: DEM, inventory, InSAR
                                          points and the layers behind the factors
        src_data/demo/truth/              probability.tif, environment.tif, leading_factor.csv; no stage reads them
Run     python src_data/make_demo.py
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lsm.demo.island import make_factors, noise
from lsm.demo.landslides import draw_points, make_environments, make_probability, make_velocity
from lsm.demo.raw_layers import write_raw
from lsm.inputs.bands import NODATA
from lsm.inputs.crs import crs_of
from lsm.inputs.rasters import TERRAIN as _TERRAIN
from lsm.inputs.rasters import Grid, centres, write_band, write_bands
from lsm.inputs.samples import STORED_ZERO as _STORED_ZERO
from lsm.region.sample_tables import published_form
from lsm.run import writing
from lsm.run.artifacts import artifact, write_csv
from lsm.run.paths import Paths, shown
from lsm.run.settings import run


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants:
    """What a person may set, here or for one run as NAME=value."""

    REGION: str = "demo"  # names the files
    SEED: int = 1         # of every random draw

    # the grid
    ROWS: int = 300           # cells
    COLS: int = 400
    CELL: float = 50.0        # m
    EPSG: int = 32650         # WGS 84 / UTM zone 50N
    WEST: float = 780000.0    # m, the upper left corner
    NORTH: float = 2500000.0  # m
    LAND: float = 0.65        # share of cells above the sea

    # the terrain and what lies on it; lengths in cells
    PEAK: float = 800.0          # m, the highest cell
    PLAIN: float = 4.0           # m, lower land is levelled to this: flat ground, slope 0 and aspect -1
    CHANNEL: int = 40            # cells that drain through a cell before it is a stream
    CATCHMENT: int = 200         # cells; smaller basins along the coast count as one catchment
    ROAD_LENGTH: float = 30.0    # wave length of the random field whose contour lines are the roads
    FAULT_SPACING: float = 45.0  # between faults
    DECIMALS: int = 3            # of every factor value

    # InSAR
    HEADING: float = -13.0   # degrees: ascending orbit, looking to the right
    INCIDENCE: float = 39.0  # degrees, from the vertical
    GAPS: float = 0.40       # share of land without a measurement
    MOVING: float = 0.60     # probability above which a slope can be a slow-moving one
    VELOCITY: float = 9.0    # mm/yr down the slope, the mean of moving slopes
    NOISE: float = 0.7       # mm/yr, sd of a measurement
    THRESHOLD: float = 2.0   # mm/yr: a landslide with |DV| from here up counts as slow-moving

    # the points
    INVENTORY: int = 5000    # landslides of the inventory
    ABSENCE: int = 5500      # non-landslides
    INSAR: int = 1500        # InSAR points
    REPEATED: float = 0.02   # share of inventory and absence points that lie in the cell of another point, half of them
                             #   with its very coordinates
    CONFLICTS: float = 0.05  # share of the repeated points that are non-landslides at the place of a landslide

    # of each environment: the weights of standardised terms in the log-odds of a landslide; the first term leads
    WEIGHTS: tuple[tuple, ...] = (
        (("slope", 4.4), ("NDVI", -1.4), ("log dis2road", 1.4), ("cos aspect", 1.0)),
        (("log dis2drainage", -4.4), ("NDVI", 1.6), ("slope", 1.2), ("curvature", -1.0)),
        (("log dis2road", -4.4), ("slope", -1.4), ("log dis2drainage", -1.2), ("land use = 1", 0.8)),
        (("NDVI", -4.4), ("log dis2drainage", 1.4), ("slope", 1.2), ("cos aspect", -1.0), ("lithology = 3", 0.8)),
    )
# ----------------------------------------------------------------------------------------------------------------


def write_input(path: Path, table: pd.DataFrame, made_from: tuple) -> None:
    """Writes an input table as the published ones are: zeros of factors stored as 0.000001, and a BOM."""
    factors = table.loc[:, :"X"].columns[:-1]
    table = table.assign(**{name: table[name].mask(table[name] == 0, _STORED_ZERO) for name in factors})
    with artifact(path, *made_from) as temporary:
        writing.write_table(table, temporary, encoding="utf-8-sig")


def main(c: Constants) -> None:
    """Makes the area."""
    rng, paths, made_from = np.random.default_rng(c.SEED), Paths(c.REGION), ("src_data/make_demo.py", c, [])
    grid = Grid(c.ROWS, c.COLS, (c.WEST, c.CELL, 0.0, c.NORTH, 0.0, -c.CELL), crs_of(c.EPSG).ExportToWkt())
    factors, land, lines = make_factors(rng, c)
    environment = make_environments(rng, land.shape)[land]
    patches = noise(rng, land.shape, 25.0, 5.0)[land]
    cells = pd.DataFrame({name: v[land] for name, v in factors.items()})  # one row a land cell
    share = (c.INVENTORY + c.INSAR) / (c.INVENTORY + c.INSAR + c.ABSENCE)
    probability, planted = make_probability(cells, environment, c.WEIGHTS, share)
    x, y = centres(grid.geotransform, *np.nonzero(land))
    cells = cells.assign(DV=make_velocity(rng, c, cells, probability, patches), X=x, Y=y)
    inventory, insar = draw_points(rng, c, cells, probability)
    samples = pd.concat([inventory, insar]).sample(frac=1, random_state=rng)

    def on_map(values, dtype=np.float32):
        raster = np.full(land.shape, NODATA, dtype)  # (rows, cols)
        raster[land] = values
        return raster

    tables = {paths.samples: samples, paths.samples_without_insar: inventory,
              paths.insar_points: published_form(insar), paths.grid: cells}
    for path, table in tables.items():
        write_input(path, table, made_from)
    write_bands(paths.composite, [on_map(cells[name]) for name in _TERRAIN], grid, NODATA, list(_TERRAIN), *made_from,
                options=("COMPRESS=DEFLATE", "PREDICTOR=3"))
    truth = {paths.truth / "probability.tif": on_map(probability),
             paths.truth / "environment.tif": on_map(environment, np.int32)}
    for path, band in truth.items():
        write_band(path, band, grid, NODATA, path.stem, *made_from)
    leaders = paths.truth / "leading_factor.csv"
    write_csv(leaders, planted, *made_from)
    raw = write_raw(paths.raw, factors, land, lines, inventory, cells, rng, grid, c, made_from)
    print(f"{c.ROWS} x {c.COLS} cells, {land.mean():.1%} land, {(cells['DV'] == 0).mean():.1%} of it without InSAR; "
          f"{c.INVENTORY} inventory landslides, {c.INSAR} InSAR points, {c.ABSENCE} non-landslides; mean probability "
          f"{probability.mean():.2f}")
    for path in (*tables, paths.composite, *truth, leaders, *raw):
        print(f"wrote {shown(path)}")


if __name__ == "__main__":
    run(main, Constants, makes_region=True)
