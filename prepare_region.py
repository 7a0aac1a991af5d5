"""Makes a new area out of what a person has: a DEM, an inventory and any of the layers below, on one grid.

The DEM gives the grid; everything else is brought onto it. A factor without data is left out of all tables, and
factors.json says which there are. How to get the data, and what the constants do: docs/new_region.md.

Reads   below RAW, src_data/<REGION>/raw/ unless named, each found by its name (dem.tif, inventory.gpkg, ...):
        dem                             elevation (m), any CRS that EPSG can warp
        inventory                       landslides, points or polygons, GeoPackage, Shapefile or CSV
        stable                          places known not to slide, in the same forms; none are drawn then (optional,
                                        like all that follow)
        land_use, lithology             classes, raster or polygons
        ndvi                            raster, -1 to 1 or -10,000 to 10,000
        roads, rivers, faults           lines; without rivers, streams are where CHANNEL drains through
        catchments                      polygons or lines
        insar                           points, CSV (X, Y) or a layer, with the velocity along the line of sight
        CHECK=True reads a region's tables and rasters instead, and changes none of them
Writes  src_data/<REGION>/composite.tif         DEM, aspect, curvature, slope
        src_data/<REGION>/factors.json          the factors of this region and what class codes stand for
        src_data/samples_<REGION>_noTS.csv      landslides and drawn non-landslides: factors, X, Y, label
        src_data/samples_<REGION>.csv           the same and the weak InSAR landslides; with INSAR_FORM = insar
                                                augment_inventory.py makes it
        src_data/Ts_<REGION>.csv                InSAR points on moving slopes in the published form (INSAR_FORM = Ts)
        src_data/insar_<REGION>.csv             all InSAR points for augment_inventory.py (INSAR_FORM = insar)
        src_data/grid_samples_<REGION>.csv      factors, X, Y of every cell; or, by GRID_FORM,
        src_data/<REGION>/factors.tif           a band a factor
        tmp/<REGION>_non_landslides.csv         what a quick model scores by strategy of drawing non-landslides
        tmp/<REGION>_checks.csv                 with CHECK=True: topic, file, level, found, remedy
        tmp/<REGION>_correlation.csv            with CHECK=True: correlations of the factors, variance inflation
Run     python prepare_region.py REGION=<name> [RAW=<folder> EPSG=32650 ...], then make run REGION=<name>
        python prepare_region.py REGION=<name> CHECK=True
"""

import contextlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal
from tqdm import tqdm

import study_area
from lsm.inputs.layers import stack_layers
from lsm.inputs.rasters import TERRAIN as _TERRAIN
from lsm.inputs.rasters import Grid, crs_name
from lsm.inputs.samples import read_factors, write_factors
from lsm.region import absences, checks, factor_layers, inventory, terrain, warp
from lsm.region.sample_tables import (
    place_points,
    published_form,
    sample_tables,
    weak_landslides,
    work_folder,
    write_grid,
)
from lsm.run.artifacts import record_path, whole, write_csv, write_record
from lsm.run.paths import Paths, root, shown
from lsm.run.settings import InputError, run
from study_area import Area


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants(Area):
    """What a person may set, here or for one run as NAME=value."""

    CHECK: bool = False      # True: only check what is there
    OVERWRITE: bool = False  # True: replace tables that another maker, or nobody known, wrote

    # inputs; "": the file of that name in RAW if there is one, "none": leave it out, else a file
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
    INSAR: str = ""            # insar.csv, .gpkg, ...
    POINTS_EPSG: int = 0       # of X, Y in CSV files; 0: the grid's, or WGS 84 for longitude, latitude
    LAND_USE_FIELD: str = ""   # of polygons, the field of classes; "": the only one
    LITHOLOGY_FIELD: str = ""  # of polygons, the field of classes; "": the only one
    CODES_OF: str = ""         # region whose class codes to take over, for a model carried from there; "": none

    # the grid
    EPSG: int = 0                 # of the area, a projected CRS in metres; 0: that of the DEM
    CELL: float = 0.0             # m; 0: that of the DEM. Published: 78.18 x 75.37 m
    HOLES: int = 10               # cells; smaller holes in the DEM are filled from their rims
    COVER: float = 0.5            # least share of the DEM's cells that must have every factor
    GRID_FORM: str = "auto"       # "table" (CSV), "stack" (factors.tif), "both"; "auto": the table up to TABLE_CELLS
    TABLE_CELLS: int = 3_000_000  # valid cells; a row takes about 120 bytes

    # factors; the published study says how of none
    SLOPE_FORMULA: str = "ZevenbergenThorne"  # of slope and aspect, which the curvature is of too; or "Horn", smoother
    FLOW_CELLS: int = 1                       # cells a side of one cell of the flow computation; 2 takes a quarter of
                                              #   the memory
    CHANNEL: int = 40                         # cells that drain through a stream cell, where no rivers are given
    NDVI_SCALE: float = 0.0                   # what NDVI is multiplied by to be x 10,000; 0: found from the values

    # points; none of it published
    POLYGON_CELLS: str = "highest"  # of an inventory polygon: "highest" (its scarp), "every" EVERY-th cell, or
                                    #   "centroid"
    EVERY: int = 5                  # cells
    STRATEGY: str = "random"        # of drawing non-landslides: "random"; "slope": as steep as the landslides; "buffer"
    RATIO: float = 1.0              # non-landslides a landslide; published 8,634 to 8,459
    BUFFER: float = 300.0           # m from any landslide, for "buffer"
    SLOPE_CLASSES: int = 8          # of equally many landslides, for "slope"
    FOLD: int = 10                  # squares a side of the area, for the folds of the quick model

    # InSAR
    INSAR_POSITIVE: str = "towards"  # what the source counts as positive: "towards" or "away" from the satellite
    INSAR_UNIT: str = "mm/yr"        # or "cm/yr", "m/yr"
    INSAR_FORM: str = "Ts"           # "Ts": moving slopes become weak landslides here; "insar": augment_inventory.py
                                     #   decides
    MIN_VELOCITY: float = 2.0        # mm/yr along the line of sight, for "Ts"; 97.5 % of the published points exceed it
    MIN_SLOPE: float = 5.0           # degrees, for "Ts"; gentler ground settles rather than slides
    SPACING: float = 80.0            # m, for "Ts": between InSAR points and to inventory landslides; published: median
                                     #   80
# ----------------------------------------------------------------------------------------------------------------

_STAGE = "prepare_region.py"
_MAKERS = (_STAGE, "augment_inventory.py")  # what stage 0 made of an earlier run's tables is made again too
_INPUTS = ("DEM", "INVENTORY", "STABLE", "LAND_USE", "LITHOLOGY", "NDVI", "ROADS", "RIVERS", "FAULTS", "CATCHMENTS",
           "INSAR")
_SUFFIXES = (".tif", ".tiff", ".gpkg", ".shp", ".geojson", ".csv")
_CACHE = 256 << 20  # bytes of GDAL's block cache
_DISTANCES = {"dis2road": "ROADS", "dis2drainage": "RIVERS", "dis2catchment": "CATCHMENTS", "dis2faults": "FAULTS"}
_CATEGORIES = {"land use": "LAND_USE", "lithology": "LITHOLOGY"}


def check_constants(c) -> None:
    """Raises InputError for constants that mean nothing."""
    for name, choices in (("GRID_FORM", ("auto", "table", "stack", "both")), ("SLOPE_FORMULA", terrain.FORMULAS),
                          ("POLYGON_CELLS", inventory.POLYGON_CELLS), ("STRATEGY", absences.STRATEGIES),
                          ("INSAR_POSITIVE", ("towards", "away")), ("INSAR_UNIT", tuple(inventory.TO_MM)),
                          ("INSAR_FORM", ("Ts", "insar"))):
        if getattr(c, name) not in choices:
            raise InputError(f"{name}={getattr(c, name)}: expected one of {', '.join(choices)}")
    for name, least in (("CELL", 0), ("HOLES", 0), ("COVER", 0), ("FLOW_CELLS", 1), ("CHANNEL", 2), ("NDVI_SCALE", 0),
                        ("EVERY", 1), ("RATIO", 0.01), ("BUFFER", 0), ("SLOPE_CLASSES", 1), ("FOLD", 2),
                        ("SPACING", 0)):
        if getattr(c, name) < least:
            raise InputError(f"{name}={getattr(c, name)}: expected {least} or more")
    if c.COVER > 1:
        raise InputError(f"COVER={c.COVER}: expected a share, 1 at most")
    if not re.fullmatch(r"[\w-]+", c.REGION):
        raise InputError(f"REGION={c.REGION}: expected letters, digits, - and _; it names files")


def find_inputs(folder: Path, c) -> dict[str, str]:
    """The files there are, by the name of their constant. Raises InputError for one named and missing."""
    found = {}
    for name in _INPUTS:
        given = getattr(c, name)
        if given and given != "none":
            found[name] = str(root() / given)
        elif not given:
            there = [p for p in (folder / f"{name.lower()}{s}" for s in _SUFFIXES) if p.is_file()]
            if len(there) > 1:
                raise InputError(f"{shown(folder)}: expected one file for {name}, found "
                                 f"{', '.join(p.name for p in there)}; name one: {name}=<file>")
            found.update((name, str(p)) for p in there)
    for name in ("DEM", "INVENTORY"):
        if name not in found:
            raise InputError(f"{shown(folder)}: expected {name.lower()}.*, found none; put it there, or give "
                             f"{name}=<file> or RAW=<folder>")
    missing = next((n for n, p in found.items() if not Path(p.partition("|")[0]).is_file()), None)
    if missing:
        raise InputError(f"{missing}: {shown(Path(found[missing]))}: missing; put it there, or name another file")
    return found


def own(path: Path) -> bool:
    """Whether this maker, or stage 0 out of what it made, wrote an existing file, by its record."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads(record_path(path).read_text()).get("stage") in _MAKERS
    return False


def make_layers(inputs: dict, grid: Grid, folder: Path, c, codes: dict, step) -> tuple[dict, list[str]]:
    """Writes a layer a factor into the folder; returns the classes of categorical ones, and notes. step(text) is
    called before each."""
    notes, classes = [], {}
    step("DEM")
    warp.to_grid(Path(inputs["DEM"]), "DEM", grid, folder / "DEM.tif")
    filled = warp.fill_holes(folder / "DEM.tif", grid, c.HOLES)
    if filled:
        notes.append(f"{filled} cells in holes of at most {c.HOLES} cells filled in the DEM")
    step("slope, aspect, curvature")
    terrain.slope_and_aspect(folder / "DEM.tif", grid, folder / "slope.tif", folder / "aspect.tif", c.SLOPE_FORMULA)
    terrain.write_curvature(folder / "DEM.tif", grid, folder / "curvature.tif")
    step("flow")
    factor_layers.flow_layers(folder, grid, c.FLOW_CELLS, c.CHANNEL)
    for name, key in _CATEGORIES.items():
        if key in inputs:
            step(name)
            given, field = codes.get(name, {}), getattr(c, f"{key}_FIELD")
            classes[name], without = factor_layers.category_layer(name, inputs[key], field, given, grid, folder)
            if without:
                notes.append(f"{without:.1%} of the DEM's cells have no class of {name}: code 0")
            new = sorted(set(classes[name]) - set(given or classes[name]))
            if new:
                notes.append(f"classes of {name} that {c.CODES_OF} does not have: {', '.join(new)}")
    if "NDVI" in inputs:
        step("NDVI")
        scale = factor_layers.ndvi_layer(inputs["NDVI"], c.NDVI_SCALE, grid, folder / "NDVI.tif")
        notes.append(f"NDVI multiplied by {scale:g}")
    for name, key in _DISTANCES.items():
        if key in inputs or name == "dis2drainage":
            step(name)
            factor_layers.distance_layer(name, inputs.get(key), grid, folder, c.CHANNEL)
    return classes, notes


def check(paths: Paths, c) -> None:
    """Checks a region's inputs: prints and writes the findings."""
    findings, correlation = checks.check_region(paths, c.factors)
    table = pd.DataFrame(findings)
    inputs = [p for p in (paths.samples, paths.composite) if p.is_file()]
    write_csv(paths.checks, table, _STAGE, c, inputs)
    if len(correlation):
        write_csv(paths.correlation, correlation, _STAGE, c, inputs)
    for f in findings:
        print(f"{f.level:8}{f.topic:13}{f.file}: {f.found}{'; ' + f.remedy if f.remedy else ''}")
    print(checks.summary(table))
    for path in (paths.checks, *([paths.correlation] if len(correlation) else [])):
        print(f"wrote {shown(path)}")


def refuse_to_replace(paths: Paths, overwrite: bool) -> None:
    """Raises InputError where the region has tables that this maker did not write."""
    outputs = (paths.samples, paths.samples_without_insar, paths.insar_points, paths.insar_table, paths.grid,
               paths.composite)
    foreign = [p for p in outputs if p.is_file() and not own(p)]
    if foreign and not overwrite:
        raise InputError(f"{shown(foreign[0])}: expected no file of another maker in the way, found one; choose "
                         "another REGION, or OVERWRITE=True")


def write_region(paths, c, files, folder, grid, factors, classes, samples, weak, points, scores, as_csv) -> list[Path]:
    """Writes the files of a region, each whole, and removes what an earlier run wrote in another form."""
    made, written, names = (_STAGE, c, files), [], [f.name for f in factors]
    stack = gdal.Open(str(folder / "stack.tif"))

    def write(path: Path, content) -> None:
        with whole(path) as temporary:
            content(temporary)
        write_record(path, *made)
        written.append(path)

    def write_table(path: Path, table: pd.DataFrame) -> None:
        write_csv(path, table, *made)
        written.append(path)

    bands, units = {name: folder / f"{name}.tif" for name in _TERRAIN}, {f.name: f.unit for f in factors}
    write(paths.composite, lambda path: stack_layers(bands, units, grid, folder / "DEM.tif", path))
    write(paths.factors, lambda path: write_factors(path, factors, classes))
    write_table(paths.samples_without_insar, samples)
    if len(points) and c.INSAR_FORM == "Ts":
        write_table(paths.insar_points, published_form(weak))
        samples = pd.concat([samples, weak]).sample(frac=1, random_state=c.SEED)
    if len(points) and c.INSAR_FORM == "insar":
        write_table(paths.insar_table, points)  # and no samples: those without weak labels are not what to train on
    else:
        write_table(paths.samples, samples)
    if as_csv:
        write(paths.grid, lambda path: write_grid(stack, gdal.Open(str(folder / "valid.tif")), names, grid, path))
    if not as_csv or c.GRID_FORM == "both":
        write(paths.factor_stack, lambda path: shutil.copyfile(folder / "stack.tif", path))
    write_table(paths.strategies, scores)
    for path in (paths.grid, paths.factor_stack, paths.insar_points, paths.insar_table, paths.samples,
                 paths.samples_origin):
        if path not in written and own(path):  # of other constants: would be read as this run's
            path.unlink()
            record_path(path).unlink()
    return written


def main(c):
    """Prepares or checks a region; c holds the constants. No file is written before all has been read and checked."""
    paths = Paths(c.REGION)
    check_constants(c)
    if c.CHECK:
        return check(paths, c)
    refuse_to_replace(paths, c.OVERWRITE)
    inputs = find_inputs(root() / c.RAW if c.RAW else paths.raw, c)
    given = Paths(c.CODES_OF).factors
    if c.CODES_OF and not given.is_file():
        raise InputError(f"CODES_OF={c.CODES_OF}: {shown(given)}: missing; prepare that region first, or name another")
    codes = read_factors(given)[1] if c.CODES_OF else {}
    gdal.SetCacheMax(_CACHE)
    grid, aligned = warp.grid_of(Path(inputs["DEM"].partition("|")[0]), c.EPSG, c.CELL)
    print(f"{grid.rows} x {grid.cols} cells of {grid.cell:g} m, {crs_name(grid.crs)}: "
          f"{'those of the DEM' if aligned else 'the DEM is warped to them'}")
    rng, points = np.random.default_rng(c.SEED), pd.DataFrame()
    steps = 6 + len(set(inputs) - {"DEM", "INVENTORY", "STABLE", "RIVERS", "INSAR"})
    with (work_folder(root() / "tmp" / f".{c.REGION}_layers") as folder,
          tqdm(total=steps, unit="step", disable=None, delay=1) as bar):
        def step(text: str) -> None:
            bar.set_description(text)
            bar.update()

        classes, notes = make_layers(inputs, grid, folder, c, codes, step)
        moving = np.zeros((2, 0), int)
        if "INSAR" in inputs:
            points, more = inventory.insar_points(inputs["INSAR"], grid, c.POINTS_EPSG, c.INSAR_UNIT,
                                                  c.INSAR_POSITIVE)
            moving, notes = weak_landslides(points, folder, grid, c), notes + more
        factors = tuple(f for f in study_area.FACTORS if (folder / f"{f.name}.tif").is_file())
        names, units = [f.name for f in factors], {f.name: f.unit for f in factors}
        of_factors = {name: folder / f"{name}.tif" for name in names}
        complete, of_each = factor_layers.write_valid(["DEM", *(n for n in names if n != "DEM")], grid, folder)
        ground = of_each["DEM"]
        if complete < c.COVER * ground:
            least = min(of_each, key=of_each.get)
            raise InputError(f"{least}: expected every factor on {c.COVER:.0%} of the DEM's cells, found it on "
                             f"{of_each[least] / ground:.1%} and all together on {complete / ground:.1%}; take a layer "
                             "that covers the DEM, leave it out (NAME=none), or lower COVER")
        step("points")
        landslides, stable, moving, more = place_points(inputs, moving, grid, folder, c)
        step("tables")
        stack_layers(of_factors, units, grid, folder / "DEM.tif", folder / "stack.tif")
        samples, weak, scores = sample_tables(rng, landslides, stable, moving, names, grid, folder, c)

        as_csv = c.GRID_FORM in ("table", "both") or (c.GRID_FORM == "auto" and complete <= c.TABLE_CELLS)
        files = [Path(p.partition("|")[0]) for p in inputs.values()]
        written = write_region(paths, c, files, folder, grid, factors, classes, samples, weak, points, scores, as_csv)
        step("done")
    report(samples, weak, scores, notes + more, names, complete, ground, as_csv,
           c.INSAR_FORM == "insar" and len(points) > 0)
    for path in written:
        print(f"wrote {shown(path)}")


def report(samples, weak, scores, notes, names, complete, ground, as_csv, stage_0) -> None:
    """Prints what a person should know of the area made."""
    left_out = [f.name for f in study_area.FACTORS if f.name not in names]
    print(f"{len(names)} factors: {', '.join(names)}" + (f"; without {', '.join(left_out)}" if left_out else ""))
    print(f"{complete:,} of {ground:,} cells of the DEM have every factor")
    for note in notes:
        print(note)
    print(f"{len(samples):,} samples without InSAR, {samples['label'].mean():.1%} landslides; InSAR sees {len(weak):,} "
          "cells move")
    print("AUROC of a quick model on whole squares left out, by how non-landslides are drawn:")
    for s in scores.itertuples():
        auroc = "too few points" if np.isnan(s.auroc) else f"{s.auroc:.3f}"
        print(f"  {s.strategy:8}{auroc}  {s.non_landslides:,} non-landslides{'  (chosen)' if s.chosen else ''}")
    if not as_csv:
        print("the grid is factors.tif, no table (GRID_FORM, TABLE_CELLS)")
    if stage_0:
        print("no samples table yet: augment_inventory.py makes it out of the InSAR points; make run does so by itself")


if __name__ == "__main__":
    run(main, Constants)
