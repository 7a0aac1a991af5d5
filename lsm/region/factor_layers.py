"""Factor layers: categories, NDVI, indices of flow and distances, each a layer of its own in one folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from osgeo import gdal, ogr

from lsm.inputs.bands import NODATA, bulk, gaps_among, in_radians, known, ndvi_scale, refuse_impossible
from lsm.inputs.factor.definition import Factor
from lsm.inputs.layers import change_layer, flush, read_rows, write_layer
from lsm.inputs.rasters import Grid, create_raster, known_strips
from lsm.inputs.vectors import burn, burn_numbers, fields_of, is_areal, number_features, overlaps
from lsm.region import drainage, surface, warp
from lsm.region.points.inventory import InventoryConstants, read_inventories
from lsm.region.warp import fill_holes, to_grid
from lsm.run.paths import edit
from lsm.run.settings import InputError, counted
from lsm.sources import dem_oddities
from lsm.sources.class_codes import codes_by_name, names_of_raster, number_classes, recoded, whole_numbers
from lsm.sources.files import File, path_of
from lsm.sources.raster_files import is_raster, turning
from lsm.sources.vector_files import only_areas, open_vector, points_among

# The constant of prepare_region.py that names a factor's file.
DISTANCES = {"dis2road": "ROADS", "dis2drainage": "RIVERS", "dis2catchment": "CATCHMENTS", "dis2faults": "FAULTS"}
CLASSES = 10  # whole numbers up to this one alone are no NDVI
CATEGORIES = {"land use": "LAND_USE", "lithology": "LITHOLOGY"}


def category_layer(name: str, file: str, field: str, given: dict[str, int], region: str, grid: Grid, folder: Path,
                   notes: list[str]) -> dict[str, int]:
    """Writes class codes, 0 without a class; returns code by class.

    file           a raster, whose values are the codes, or polygons
    field          of polygons, as `number_classes` takes it, or of a raster's attribute table
    given, region  codes to keep, as `class_codes.codes_by_name` takes them
    notes          gets lines on what was guessed, and on cells without a class. Raises InputError.
    """
    path, given_file = folder / f"{name}.tif", File.of(file, name)
    field = field or given_file.options.get("field", "")
    if is_raster(file, name):
        raster = to_grid(file, name, grid, path.with_suffix(".codes.tif"), notes, categorical=True)
        coded = gdal.Open(str(path.with_suffix(".codes.tif")))
        names, named = names_of_raster(raster, whole_numbers(coded, given_file), field, notes)
        codes = codes_by_name(names, given, given_file.where, region, own=True) if names else {}
        new_of = {old: codes[text] for old, text in names.items()}
        if new_of and not named and new_of != {old: old for old in new_of} and not given:
            notes.append(f"{given_file.where}: codes up to {max(names):,} are numbered anew; factors.json has both")
        if given and codes and not named:
            notes.append(f"{given_file.where}: classes without names are matched with {region}'s by their numbers")
    else:
        vector = open_vector(file, name, grid, notes)
        only_areas(vector, given_file.where, notes)
        codes, numbers = number_classes(vector, given_file, field, given, region, notes)
        coded, new_of = burn(vector, grid, path.with_suffix(".codes.tif"), numbers), None
        notes += overlaps(vector, coded, numbers, grid, path, given_file.where)
    heights, ground, without = gdal.Open(str(folder / "ground.tif")), 0, 0

    def window(row: int, rows: int) -> np.ndarray:
        nonlocal ground, without
        v, here = read_rows(coded, row, rows), known(read_rows(heights, row, rows))
        v = recoded(v, new_of) if new_of is not None else v.astype(np.float32)
        ground, without = ground + int(here.sum()), without + int((here & (v == 0)).sum())
        return v

    write_layer(path, grid, window)
    if without == ground:
        raise InputError(f"{given_file.where}: expected classes on the DEM ({grid.extent}), found none there; check "
                         "the CRS and extent of the file, or leave it out")
    notes += [f"{without:,} of the DEM's {ground:,} cells have no class of {name}: code 0"] * (without > 0)
    if new := sorted(text for text, code in codes.items() if given and code not in given.values()):
        notes.append(f"classes of {name} that {region} does not have: {', '.join(new)}")
    return codes


def ndvi_layer(file: str, scale: float, grid: Grid, path: Path, notes: list[str]) -> None:
    """Writes NDVI x 10,000: the file's values times `scale`; where `scale` is 0, the bulk of the values tells it.
    Values that no NDVI can have become gaps, and a note counts them. Raises InputError."""
    used, where = [], File.of(file, "NDVI").where

    def possible(values: np.ndarray) -> tuple[float, float]:
        used.append(scale or ndvi_scale(values))
        different = np.unique(values)
        if not scale and (np.abs(different) <= CLASSES).all() and (different == np.round(different)).all():
            raise InputError(f"{where}: expected an index from -1 to 1, found {', '.join(f'{v:g}' for v in different)} "
                             "alone, like a mask or classes; take the index, or NDVI=none")
        if not scale and bulk(values) * used[0] > 15_000:
            raise unknown(np.quantile(np.abs(values), 0.99), "")
        return -15_000 / used[0], 15_000 / used[0]  # what resampling makes of 1, and more

    def unknown(largest: float, remedy: str) -> InputError:
        return InputError(f"{where}: expected values from -1 to 1 or -10,000 to 10,000, found 99 % up to {largest:g}; "
                          + (remedy or "set NDVI_SCALE to the number that turns an NDVI of 1 into 10,000"))

    raster = to_grid(file, "NDVI", grid, path, notes, possible=possible)
    grey = raster.band.band.DataType == gdal.GDT_Byte and raster.band.is_plain
    dataset, step = gdal.Open(str(path)), max(1, grid.rows * grid.cols >> 20)
    largest = float(np.quantile(np.concatenate([np.abs(v[::step]) for v in known_strips(dataset)]), 0.99))
    if not scale and largest * used[0] < 1200:  # 1,000 may stand for 1
        scaling = edit(path_of(file), "-scale <s> -offset <o>")
        raise unknown(largest, f"grey values need scale and offset: {scaling}" * grey)
    ends, beside = (-10_000, 10_000), np.nextafter(np.float32(NODATA), np.float32(0))  # -0.9999 is a value, no gap
    change_layer(path, grid, lambda _, v: np.where(known(v), np.where(
        (scaled := np.clip(v * used[0], *ends)) == NODATA, beside, scaled), NODATA))
    notes.append(f"NDVI multiplied by {used[0]:g}")


def distance_layer(name: str, file: str | None, grid: Grid, folder: Path, channel: int, notes: list[str]) -> None:
    """Writes the distance to a vector's features or, for catchments given as polygons or as a raster
    of their numbers, to the borders between these.

    file  None: the distance to the layer streams, made with `channel`. Raises InputError where there is nothing to
    measure from.
    """
    numbers, what, zero = None, "features", False
    if file and name == "dis2catchment" and is_raster(file, name):
        raster = to_grid(file, name, grid, folder / "numbers.tif", notes, categorical=True)
        numbers, zero = gdal.Open(str(folder / "numbers.tif")), raster.band.marks_gaps
    elif file:
        vector, where = open_vector(file, name, grid, notes), File.of(file, name).where
        if name == "dis2catchment" and is_areal(vector):
            only_areas(vector, where, notes)
            numbers = burn(vector, grid, folder / "numbers.tif", field := number_features(vector))
            notes += overlaps(vector, numbers, field, grid, folder / f"{name}.tif", where)
        else:
            notes += points_among(vector, where) * (name in DISTANCES)
            marks = burn(vector, grid, folder / "marks.tif", touched=is_areal(vector))
    else:
        marks = gdal.Open(str(folder / "streams.tif"))
    if numbers is not None:
        marks, what = write_borders(numbers, grid, folder / "marks.tif", zero), "borders between polygons"
    missing = (f"{File.of(file, name).where}: expected {what} on the grid ({grid.extent}), found none there; check the "
               "CRS and extent of the file, or leave it out" if file else
               f"CHANNEL={channel}: {name}: expected streams, found no cell that so many cells drain through; lower "
               "it, or give RIVERS")
    write_distance(marks, grid, folder / f"{name}.tif", missing)
    if not file:
        area = channel * grid.cell**2 / 1e6
        notes.append(f"{name}: no rivers given: a stream is where {channel:,} cells ({area:.3g} km2) or more drain "
                     "through (CHANNEL)")


def write_borders(numbers: gdal.Dataset, grid: Grid, path: Path, zero: bool = False) -> gdal.Dataset:
    """Writes a layer (uint8): 1 in cells whose right or lower neighbour has another number; zero: 0 is a number too."""
    def window(row: int, rows: int) -> np.ndarray:
        n = read_rows(numbers, row, min(rows + 1, grid.rows - row))  # one row more, where there is one
        there, out = known(n) & ((n != 0) | zero), np.zeros(n.shape, bool)
        out[:-1] |= (n[:-1] != n[1:]) & there[:-1] & there[1:]
        out[:, :-1] |= (n[:, :-1] != n[:, 1:]) & there[:, :-1] & there[:, 1:]
        return out[:rows]

    return write_layer(path, grid, window, gdal.GDT_Byte, None)


def write_distance(marks: gdal.Dataset, grid: Grid, path: Path, missing: str) -> None:
    """Writes the distance (m) from the centre of each cell to the centre of the nearest marked (1) cell. Raises
    InputError with the message `missing` where no cell is marked."""
    if not any(read_rows(marks, *window).any() for window in grid.windows()):
        raise InputError(missing)
    target = create_raster(path, grid)
    gdal.ComputeProximity(marks.GetRasterBand(1), target.GetRasterBand(1), ["VALUES=1", "DISTUNITS=GEO"])
    flush(target)


def write_ground(mask: str | None, keeps: bool, water: int, steps: tuple[bool, bool], grid: Grid, folder: Path,
                 notes: list[str]) -> None:
    """Writes the layer ground: the heights of the layer DEM, without flat water and what the mask leaves out.

    mask   polygons, or a raster, whose cells other than 0 are the mask; None: no mask
    keeps  True: the mask's cells are kept and all others left out
    water, steps  least, stepped and terraced of `drainage.flat_water`; water 0: nothing is water
    notes  gets a line for each. Raises InputError where nothing is left.
    """
    z = gdal.Open(str(folder / "DEM.tif")).ReadAsArray()
    ground, total = known(z), int(known(z).sum())
    notes += dem_oddities.oddities(z, grid.cell)
    flat, wet = drainage.flat_water(z, water, *steps) if water else np.zeros((2, *z.shape), bool)
    if wet.any():
        levels = [f"{v:g}" for v in np.unique(z[wet])]
        notes.append(f"water: {wet.sum():,} of {total:,} cells of the DEM lie in large areas of exactly one height "
                     f"({', '.join(levels[:3])}{', ...' * (len(levels) > 3)} m); left out of map and points "
                     "(WATER_CELLS)")
    notes += dem_oddities.cliffs(z, flat, grid.cell) if flat.any() else []
    ground &= ~wet
    if mask:
        masked = warp.masked(mask, grid, folder, notes)
        if not masked[known(z)].any():
            raise InputError(f"{File.of(mask, 'MASK').where}: expected a mask on the DEM ({grid.extent}), found none "
                             "there; its cells hold numbers that are neither 0 nor nodata. Check its CRS and nodata "
                             "value, or leave it out")
        masked ^= keeps
        notes.append(f"MASK: {(masked & known(z)).sum():,} of {total:,} cells of the DEM left out of map and points")
        ground &= ~masked
    if not ground.any():
        raise InputError("MASK, WATER_CELLS: expected ground that neither leaves out, found none; check the mask, or "
                         "set WATER_CELLS=0")
    write_layer(folder / "ground.tif", grid,
                lambda row, rows: np.where(ground[row:row + rows], z[row:row + rows], np.nan))


def own_layer(factor: Factor, file: str, grid: Grid, folder: Path, given: dict[str, int], region: str,
              notes: list[str]) -> dict[str, int] | None:
    """Writes the layer of a factor that a person adds: a raster's values; polygons' classes or numbers (|field=<name>);
    of kind distance, the distance to features. Returns the classes of a categorical one. Raises InputError."""
    path, given_file = folder / f"{factor.name}.tif", File.of(file, factor.name)
    if factor.kind == "categorical":
        return category_layer(factor.name, file, "", given, region, grid, folder, notes)
    if is_raster(file, factor.name):
        given_file.only("a raster of numbers", "band", "nodata")
        to_grid(file, factor.name, grid, path, notes, nearest=factor.kind == "circular",
                unit="" if factor.kind == "distance" else None)
    elif factor.kind == "distance":
        distance_layer(factor.name, file, grid, folder, 0, notes)
    else:
        vector = open_vector(file, factor.name, grid, notes, able=("nodata",))
        of_numbers = [name for name, kind in fields_of(vector.GetLayer(0)).items()
                      if kind in (ogr.OFTInteger, ogr.OFTInteger64, ogr.OFTReal)] or ["none"]
        if not (named := [name for name in of_numbers if name.lower() == given_file.options.get("field", "").lower()]):
            raise InputError(f"{given_file.where}: expected a number field, found {', '.join(of_numbers)}; name one "
                             f"({given_file.path.name}|field=<name>), or give classes the kind 'categorical'")
        only_areas(vector, given_file.where, notes, "interpolate their numbers to a raster")
        notes += burn_numbers(vector, named[0], grid, path, given_file.where, given_file.nodata)
    made, small, found, turn = gdal.Open(str(path)), [], set(), turning(file, factor.name, factor.kind, path)
    for v in known_strips(made):
        refuse_impossible(v, factor.name, factor.kind, given_file.where, given_file.remedy("nodata=<number>"),
                          lambda: gaps_among(known_strips(made)), turn)
        small += [in_radians(v)] * bool((v >= 0).any())
        found |= set(np.unique(v)[:3].tolist()) if len(found) < 3 else set()
    if factor.kind == "distance" and 0 < len(found) < 3 and is_raster(file, factor.name):
        raise InputError(f"{given_file.where}: expected distances in m, found {', '.join(f'{v:g}' for v in found)} "
                         f"alone; gdal_proximity.py {given_file.path.name} <new file> -distunits GEO makes them")
    if factor.kind == "circular" and small and all(small):
        raise InputError(f"{given_file.where}: expected degrees from 0 to 360, found nearly all values up to 6.28; if "
                         "they are radians, multiply them by 57.2958, else give the kind 'continuous'")
    return None


class LayerConstants(InventoryConstants, Protocol):
    """How layers are made of raw files, as prepare_region.py explains it."""

    MASK_KEEPS: bool
    LAND_USE_FIELD: str
    LITHOLOGY_FIELD: str
    DEM_UNIT: str
    CODES_OF: str
    HOLES: int
    WATER_CELLS: int
    SLOPE_FORMULA: str
    FLOW_CELLS: int
    CHANNEL: int
    NDVI_SCALE: float
    TERRAIN_MORE: tuple
    RELIEF_CELLS: int


def make_layers(inputs: dict, own: dict[Factor, str], grid: Grid, folder: Path, c: LayerConstants, codes: dict,
                step: Callable[[str], None]) -> tuple[dict, dict, list[str]]:
    """Writes one layer for each factor but DV into the folder, first from files: what is wrong with them is known
    before the flow. Returns the classes of categorical factors, the points of `inventory.read_inventories`, and notes.

    inputs, own  the files there are, by the name of their constant, by factor
    codes  of classes that keep them, by factor; step  is called with what comes next
    """
    notes, classes, most = [], {}, max(1, min(grid.rows, grid.cols) // 3)
    if most < c.FLOW_CELLS:
        raise InputError(f"FLOW_CELLS={c.FLOW_CELLS}: expected {most} at most on {grid.rows} x {grid.cols} cells")
    step("DEM")
    source = to_grid(inputs["DEM"], "DEM", grid, folder / "DEM.tif", notes, unit=c.DEM_UNIT)
    steps = dem_oddities.of_file(folder / "DEM.plain.tif", source, notes)
    if filled := fill_holes(folder / "DEM.tif", grid, c.HOLES):
        notes.append(f"{counted(filled, 'cell')} in holes of at most {c.HOLES} cells filled in the DEM")
    write_ground(inputs.get("MASK"), c.MASK_KEEPS, c.WATER_CELLS, steps, grid, folder, notes)
    points = read_inventories(inputs, grid, folder, c)
    for name, key in CATEGORIES.items():
        if key in inputs:
            step(name)
            classes[name] = category_layer(name, inputs[key], getattr(c, f"{key}_FIELD"), codes.get(name, {}),
                                           c.CODES_OF, grid, folder, notes)
    if "NDVI" in inputs:
        step("NDVI")
        ndvi_layer(inputs["NDVI"], c.NDVI_SCALE, grid, folder / "NDVI.tif", notes)
    for name, key in DISTANCES.items():
        if key in inputs:
            step(name)
            distance_layer(name, inputs[key], grid, folder, c.CHANNEL, notes)
    for factor, file in own.items():
        step(factor.name)
        if found := own_layer(factor, file, grid, folder, codes.get(factor.name, {}), c.CODES_OF, notes):
            classes[factor.name] = found
    step("slope, aspect, curvature")
    surface.slope_and_aspect(folder / "DEM.tif", grid, folder / "slope.tif", folder / "aspect.tif", c.SLOPE_FORMULA)
    surface.write_curvature(folder / "DEM.tif", grid, folder / "curvature.tif")
    step("flow")
    drainage.flow_layers(folder, grid, c.FLOW_CELLS, c.CHANNEL, "HAND" in c.TERRAIN_MORE)
    surface.write_more(folder, grid, c.TERRAIN_MORE, c.RELIEF_CELLS)
    if "RIVERS" not in inputs:
        distance_layer("dis2drainage", None, grid, folder, c.CHANNEL, notes)
    return classes, points, notes
