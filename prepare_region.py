"""Makes a new area out of what a person has: a DEM, an inventory and any of the layers below, all on one grid.

The DEM gives the grid; everything else is brought onto it. A factor without data is left out of all tables, and
factors.json says which factors there are. How to get the data, and what the constants do: docs/new_region.md.

Reads   below RAW, src_data/<REGION>/raw/ unless named, each found by its name, in any format that GDAL opens or CSV:
        dem                             elevation (m, or the unit it states), any CRS that EPSG can warp
        inventory                       landslides: points, polygons, or a raster of numbers other than 0
        stable                          places known not to slide, in the same forms (optional, as all that follow)
        land_use, lithology             classes, raster or polygons
        ndvi                            raster, -1 to 1 or -10,000 to 10,000
        roads, rivers, faults           lines; without rivers, streams are where CHANNEL cells drain through
        catchments                      polygons, lines, or a raster of their numbers
        insar                           velocities, points (CSV: X, Y) or a raster; or two: insar_asc, insar_desc
        mask                            polygons or raster: no points and no map there (water, glaciers)
Writes  src_data/<REGION>/composite.tif         DEM, aspect, curvature, slope
        src_data/<REGION>/factors.json          the factors of this region and what class codes stand for
        src_data/samples_<REGION>_noTS.csv      landslides and non-landslides: factors, X, Y, label
        src_data/samples_<REGION>.csv           the same and the weak InSAR landslides; with INSAR_FORM = insar not here
        src_data/<REGION>_samples_dates.csv     X, Y, year of the landslides, where the inventory has dates
        src_data/Ts_<REGION>.csv                the weak InSAR landslides in the published form (INSAR_FORM = Ts)
        src_data/insar_<REGION>.csv             all InSAR points for augment_inventory.py (INSAR_FORM = insar)
        src_data/grid_samples_<REGION>.csv      factors, X, Y of every cell; or, by GRID_FORM,
        src_data/<REGION>/factors.tif           a band a factor
        tmp/<REGION>_non_landslides.csv         the score of a quick model for each strategy of drawing non-landslides
Run     python prepare_region.py REGION=<name> [RAW=<folder> EPSG=32650 ...]; then make run REGION=<name>
"""

import re
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd

import study_area
from lsm.checks.inspection import write_checks
from lsm.inputs.crs import crs_name
from lsm.inputs.factor.definition import Factor
from lsm.inputs.layers import stack_layers
from lsm.inputs.rasters import TERRAIN as _TERRAIN
from lsm.inputs.rasters import Composite
from lsm.insar.cell_velocities import write_velocity_layer
from lsm.insar.rules import RULES as _RULES
from lsm.insar.rules import check_rules
from lsm.insar.tracks import joined, read_tracks
from lsm.insar.velocities import DIRECTIONS, TO_MM
from lsm.insar.weak_samples import at_rest, judged
from lsm.region import absences, factor_layers, region_files, sample_tables, surface, warp
from lsm.region.points import inventory
from lsm.run.paths import Paths, root, shown
from lsm.run.progress import Progress
from lsm.run.settings import InputError, at_least, of_stage, run
from lsm.run.writing import work_folder
from lsm.sources.files import below_root, library_notes, path_of, read_files
from lsm.sources.raster_files import METRES, open_raster_file
from study_area import Area


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants(Area):
    """What a person may set, here or for one run as NAME=value."""

    CHECK: bool = False      # True: run check_region.py instead
    OVERWRITE: bool = False  # True: replace tables that another maker, or nobody known, wrote

    # inputs; "": the file of that name in RAW if there is one; "none": no file; else a file
    RAW: str = ""              # folder; "": src_data/<REGION>/raw
    DEM: str = ""              # dem.tif
    INVENTORY: str = ""        # inventory.gpkg, .shp or .csv; file.gpkg|layername=<layer> where there are more layers
    STABLE: str = ""           # stable.gpkg, .shp or .csv
    LAND_USE: str = ""         # land_use.tif, .gpkg, ...
    LITHOLOGY: str = ""        # lithology.tif, .gpkg, ...
    NDVI: str = ""             # ndvi.tif
    ROADS: str = ""            # roads.gpkg, ...
    RIVERS: str = ""           # rivers.gpkg, ...
    FAULTS: str = ""           # faults.gpkg, ...
    CATCHMENTS: str = ""       # catchments.gpkg, ...
    INSAR: str = ""            # insar.csv, .gpkg, .tif, ...; or several, a track each: "asc.tif,desc.csv"
    DATE_FIELD: str = ""       # of the inventory, years or dates; "": recognised by its name (Year, date, Year_obs)
    MASK: str = ""             # mask.gpkg, .tif, ...: water, glaciers; no points and no map there
    MASK_KEEPS: bool = False   # True: points and map only there, as inside a study area
    POINTS_EPSG: int = 0       # of X, Y in CSV files; 0: the grid's, or WGS 84 for longitude, latitude
    LAND_USE_FIELD: str = ""   # of polygons, the field of classes; "": the only one
    LITHOLOGY_FIELD: str = ""  # the same
    DEM_UNIT: str = ""         # of the heights: m, dm, cm, mm, km, ft, us-ft; "": as the file says, else m
    CODES_OF: str = ""         # region whose class codes to take over, for a model fitted there; "": none

    # the grid
    EPSG: int = 0                 # of the area, a projected CRS in metres; 0: the CRS of the DEM
    CELL: float = 0.0             # m; 0: the cell of the DEM. Published: 78.18 x 75.37 m
    HOLES: int = 10               # cells; smaller holes in the DEM are filled from their rims
    WATER_CELLS: int = 100        # a connected area of exactly one height this large is water, left out of map and
                                  #   points; of whole-number heights other than 0 ten times as large; 0: none is
    COVER: float = 0.5            # least share of the DEM's cells that must have every factor
    GRID_FORM: str = "auto"       # "table" (CSV), "stack" (factors.tif), "both"; "auto": the table up to TABLE_CELLS
    TABLE_CELLS: int = 3_000_000  # valid cells; a row takes about 120 bytes

    # factors; the published study does not say how it computed them
    SLOPE_FORMULA: str = "ZevenbergenThorne"  # of slope and aspect, as of the curvature; or "Horn", which is smoother
    FLOW_CELLS: int = 1                       # cells a side of one cell of the flow computation; 2: 1/4 of the memory
    CHANNEL: int = 40                         # cells that drain through a stream cell, where no rivers are given
    NDVI_SCALE: float = 0.0                   # factor that makes NDVI x 10,000 of the values; 0: found from them
    FACTORS_MORE: tuple = ()                  # (("rainfall", "rain.tif", "continuous", "mm"), ...); kinds: continuous,
                                              #   distance, circular, categorical
    TERRAIN_MORE: tuple[str, ...] = ()        # names of lsm/region/surface.py: ("TPI", "relief", "HAND", ...)
    RELIEF_CELLS: int = 5                     # cells that the relief looks to each side

    # points; none of it published
    POLYGON_CELLS: str = "highest"  # of a landslide: "highest", "scarp" (highest by heights averaged over 5 x 5 cells),
                                    #   "every" EVERY-th cell, "centroid"
    EVERY: int = 5                  # cells
    STRATEGY: str = "random"        # of drawing non-landslides: "random"; "slope": as steep as the landslides; "buffer"
    RATIO: float = 1.0              # non-landslides for each landslide, weak ones too; published 8,634 to 8,459
    BUFFER: float = 300.0           # m from any landslide, for "buffer"
    SLOPE_CLASSES: int = 8          # of equally many landslides, for "slope"
    FOLD: int = 10                  # squares a side of the area, for the folds of the quick model

    # InSAR
    INSAR_POSITIVE: str = "towards"  # what the source counts as positive: "towards" or "away" from the satellite
    INSAR_UNIT: str = "mm/yr"        # or "cm/yr", "m/yr"
    INSAR_FORM: str = "Ts"           # "Ts": weak landslides are chosen here; "insar": by augment_inventory.py
# ----------------------------------------------------------------------------------------------------------------


def check_constants(c: Constants) -> None:
    """Raises InputError for constants that mean nothing."""
    for name, choices in (("GRID_FORM", ("auto", "table", "stack", "both")), ("SLOPE_FORMULA", surface.FORMULAS),
                          ("POLYGON_CELLS", inventory.POLYGON_CELLS), ("STRATEGY", absences.STRATEGIES),
                          ("INSAR_POSITIVE", DIRECTIONS), ("INSAR_UNIT", tuple(TO_MM)),
                          ("INSAR_FORM", ("Ts", "insar")), ("DEM_UNIT", ("", *METRES)), ("TERRAIN_MORE", surface.MORE)):
        value = getattr(c, name) if isinstance(getattr(c, name), tuple) else (getattr(c, name),)
        if not set(value) <= set(choices) or len(set(value)) < len(value):
            raise InputError(f"{name}={getattr(c, name)}: expected one of {', '.join(filter(None, choices))}, once")
    at_least(c, CELL=0, HOLES=0, COVER=0, FLOW_CELLS=1, CHANNEL=2, NDVI_SCALE=0, EVERY=1, WATER_CELLS=0, RELIEF_CELLS=1,
             RATIO=0.01, BUFFER=0, SLOPE_CLASSES=1, FOLD=2)
    if c.COVER > 1:
        raise InputError(f"COVER={c.COVER}: expected a share, 1 at most")
    if not re.fullmatch(r"[\w-]+", c.REGION):
        raise InputError(f"REGION={c.REGION}: expected letters, digits, - and _; it names files")


def main(c: Constants) -> None:
    """Prepares a region. No file is written before all has been read and checked."""
    check_constants(c)
    if c.CHECK:
        print("check_region.py does this: python check_region.py REGION=" + c.REGION)
        return write_checks(of_stage("check_region.py", REGION=c.REGION, SEED=c.SEED), stop=True)
    paths, rules = Paths(c.REGION), of_stage("augment_inventory.py", REGION=c.REGION)
    check_rules(rules)
    region_files.refuse_to_replace(paths, c.OVERWRITE)
    raw, notes = below_root("RAW", c.RAW) if c.RAW else paths.raw, []
    inputs, insar = region_files.find_inputs(raw, c)
    own = region_files.find_own(raw, c.FACTORS_MORE, study_area.FACTORS)
    notes += region_files.without_layer(c, {*inputs, *["INSAR"] * bool(insar)})
    notes += region_files.unused_files(raw, [*inputs.values(), *insar, *own.values()])
    codes = region_files.codes_of_region(c.CODES_OF)
    with library_notes(notes):
        prepare(c, paths, rules, raw, inputs, insar, own, codes, notes)


def prepare(c, paths: Paths, rules, raw, inputs: dict, insar: list, own: dict, codes: dict, notes: list) -> None:
    """Makes the region of its files.

    rules   the constants of augment_inventory.py; raw  the folder of raw files, if it is there
    inputs, insar, own  as `find_inputs` and `find_own` give them; codes  of classes, by factor
    notes   what a person should know so far
    """
    grid, aligned = warp.grid_for(open_raster_file(inputs["DEM"], "DEM", []), c.EPSG, c.CELL)
    print(f"{grid.rows} x {grid.cols} cells of {grid.cell:g} m, {crs_name(grid.crs)}: "
          f"{'the cells of the DEM' if aligned else 'the DEM is warped to them'}")
    tracks, more = read_tracks(insar, grid, c, rules.GEOMETRY)  # what is wrong with them is known before the work
    notes += more
    rng, points, weak = np.random.default_rng(c.SEED), joined(tracks), pd.DataFrame({"X": [], "Y": []})
    rest_xy = np.zeros((0, 2))
    steps = 6 + len(own) + len(set(inputs) - {"DEM", "INVENTORY", "STABLE", "RIVERS", "MASK"})
    with (work_folder(root() / "tmp" / f".{c.REGION}_layers") as folder,
          Progress(total=steps, unit="step", delay=1) as bar):
        def step(text: str) -> None:
            bar.set_description(text)
            bar.update()

        classes, read, more = factor_layers.make_layers(inputs, own, grid, folder, c, codes, step)
        notes += more
        write_velocity_layer(tracks, grid, folder, rules)
        further = (*(Factor(name, "continuous", surface.MORE[name]) for name in c.TERRAIN_MORE), *own)
        factors = tuple(f for f in (*study_area.FACTORS, *further) if (folder / f"{f.name}.tif").is_file())
        names, units = [f.name for f in factors], {f.name: f.unit for f in factors}
        complete, total, more = sample_tables.valid_cells(names, c.COVER, grid, folder)
        notes += more
        for stack, bands in (("composite", _TERRAIN), ("stack", names)):
            files = {name: folder / f"{name}.tif" for name in bands}
            stack_layers(files, units, grid, folder / "ground.tif", folder / f"{stack}.tif")
        step("points")
        landslides, stable, burned, more = sample_tables.place_points(read, inputs, grid, folder, c)
        notes += more
        if points is not None:
            motion = judged(rules, points, Composite.of(folder / "composite.tif"), folder / "stack.tif", factors,
                            landslides.xy, path_of(insar[0]))
            weak = sample_tables.as_table(names, motion.factors, points.xy[motion.sieve.left]).assign(label=1)
            notes += [*motion.notes, f"{len(weak):,} of {len(points.xy):,} InSAR points are weak landslides; dropped: "
                                     f"{motion.sieve.dropped or 'none'}"]
        stable, more = sample_tables.mark_occupied(landslides, stable, weak[["X", "Y"]].to_numpy(), burned, grid,
                                                   folder)
        notes += more
        if points is not None and stable is None:
            rest_xy, more = at_rest(motion, landslides.xy, c, rules.SPACING, grid, folder)
            notes += more
        step("tables")
        samples, scores = sample_tables.draw_samples(rng, landslides, stable, rest_xy, names, grid, folder, c)
        tables = {paths.samples_without_insar: samples, paths.samples: samples, paths.strategies: scores}
        if len(dates := sample_tables.table_of_dates(landslides)):
            tables[paths.samples_dates] = dates
            notes.append(f"{len(dates):,} of {len(landslides):,} landslides have a year, {dates['year'].min()} to "
                         f"{dates['year'].max()}" + "; FORECAST=True maps newer ones" * (dates["year"].nunique() > 1))
        if points is not None and c.INSAR_FORM == "insar":
            tables[paths.insar_table] = points.table()
            del tables[paths.samples]  # stage 0 makes it; without the weak labels it is not what to train on
        elif len(weak):
            tables[paths.insar_points] = sample_tables.published_form(weak)
            tables[paths.samples] = pd.concat([samples, weak]).sample(frac=1, random_state=c.SEED)
        as_csv = c.GRID_FORM in ("table", "both") or (c.GRID_FORM == "auto" and complete <= c.TABLE_CELLS)
        of_run = SimpleNamespace(**vars(c), **{name: getattr(rules, name) for name in _RULES if points is not None})
        of_raw = read_files([*inputs.values(), *insar, *own.values()]) + [raw] * raw.is_dir()
        written = region_files.write_region(paths, of_run, of_raw, folder, grid, factors, classes, tables, as_csv,
                                            not as_csv or c.GRID_FORM == "both")
        step("done")
    notes += ["the grid is factors.tif, no table (GRID_FORM, TABLE_CELLS)"] * (not as_csv)
    print_notes(samples, scores, [f"{complete:,} of {total:,} cells of the DEM have every factor", *notes], names,
                bool(insar))
    if paths.samples not in written:
        print("no samples table yet: augment_inventory.py makes it out of the InSAR points; make run does so by itself")
    print(*(f"wrote {shown(path)}" for path in written), sep="\n")


def print_notes(samples, scores, notes: list[str], names: list[str], weak: bool) -> None:
    """Prints what a person should know of the area made; weak: whether InSAR adds weak landslides."""
    left_out = [f.name for f in study_area.FACTORS if f.name not in names]
    print(f"{len(names)} factors: {', '.join(names)}" + (f"; without {', '.join(left_out)}" if left_out else ""))
    print(*notes, sep="\n")
    print(f"{len(samples):,} samples{' besides weak landslides' * weak}, {samples['label'].mean():.1%} landslides")
    print("AUROC of a quick model on whole squares left out, by how non-landslides are drawn (easy ones score higher):")
    for s in scores.itertuples():
        auroc = "too few points" if np.isnan(s.auroc) else f"{s.auroc:.3f}"
        print(f"  {s.strategy:8}{auroc}  {s.non_landslides:,} non-landslides{'  (chosen)' if s.chosen else ''}")


if __name__ == "__main__":
    run(main, Constants, makes_region=True)
