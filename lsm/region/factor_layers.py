"""Factor layers: categories, NDVI, indices of flow and distances, each a file of one band on the grid."""

from pathlib import Path

import numpy as np
from osgeo import gdal

from lsm.inputs.rasters import NODATA
from lsm.region import terrain, warp
from lsm.region.warp import (
    MAX_CLASSES,
    Grid,
    borders,
    burn,
    create,
    distance_to,
    extent,
    flush,
    is_areal,
    known,
    number_classes,
    number_features,
    open_vector,
    read,
    to_grid,
)
from lsm.run.paths import shown
from lsm.run.settings import InputError

gdal.UseExceptions()

# The constant of prepare_region.py that names a factor's file.
DISTANCES = {"dis2road": "ROADS", "dis2drainage": "RIVERS", "dis2catchment": "CATCHMENTS", "dis2faults": "FAULTS"}
CATEGORIES = {"land use": "LAND_USE", "lithology": "LITHOLOGY"}


def category_layer(name: str, file: str, field: str, given: dict, grid: Grid, folder: Path):
    """Writes class codes, 0 without a class; returns code by class, and the share of the DEM's cells that have none.
    A raster's classes are their own codes; field and given, of polygons, are those of `number_classes`. Raises
    InputError."""
    what, path = f"{shown(Path(file))}: {name}", folder / f"{name}.tif"
    if Path(file.partition("|")[0]).suffix.lower() not in (".tif", ".tiff"):
        vector = open_vector(file, name, grid)
        if not is_areal(vector):
            raise InputError(f"{what}: expected polygons, found lines or points; export the areas")
        codes = number_classes(vector, field, f"{name.upper().replace(' ', '_')}_FIELD", given, what)
        burned = burn(vector, grid, path.with_suffix(".codes.tif"), "code_")
    else:
        to_grid(Path(file), name, grid, path.with_suffix(".codes.tif"), categorical=True)
        burned, values = gdal.Open(str(path.with_suffix(".codes.tif"))), set()
        for window in grid.windows():
            v = read(burned, *window)
            values |= set(np.unique(v[known(v)]).tolist())
            parts = [v for v in values if v != round(v)]
            if len(values) > MAX_CLASSES or parts:
                raise InputError(f"{what}: expected at most {MAX_CLASSES} whole-number classes, found "
                                 f"{f'{min(parts):.8g} among them' if parts else f'{len(values)} or more'}; export the "
                                 "classes, not a measure")
        codes = {f"{v:g}": int(v) for v in sorted(values)}
    target, heights, ground, without = create(path, grid), gdal.Open(str(folder / "DEM.tif")), 0, 0
    for row, rows in grid.windows():
        v, here = read(burned, row, rows).astype(np.float32), known(read(heights, row, rows))
        v = np.where(known(v), v, 0).astype(np.float32)
        ground, without = ground + int(here.sum()), without + int((here & (v == 0)).sum())
        target.GetRasterBand(1).WriteArray(v, 0, row)
    flush(target)
    if without == ground:
        raise InputError(f"{what}: expected classes on the DEM ({extent(grid)}), found none there; check the CRS and "
                         "extent of the file, or leave it out")
    return codes, without / ground


def ndvi_layer(file: str, scale: float, grid: Grid, path: Path) -> float:
    """Writes NDVI x 10,000; returns what it was multiplied by."""
    to_grid(Path(file), "NDVI", grid, path)
    dataset = gdal.Open(str(path), gdal.GA_Update)
    largest = max(float(np.abs(v[known(v)]).max(initial=0)) for v in (read(dataset, *w) for w in grid.windows()))
    scale = scale or (10_000.0 if largest <= 1.5 else 1.0)
    if not 300 <= largest * scale <= 15_000:
        raise InputError(f"{shown(Path(file))}: NDVI: expected values from -1 to 1 or -10,000 to 10,000, found up to "
                         f"{largest:g}; give NDVI_SCALE, what makes 10,000 of an NDVI of 1")
    for row, rows in grid.windows():
        v = read(dataset, row, rows)
        dataset.GetRasterBand(1).WriteArray(np.where(known(v), np.clip(v * scale, -10_000, 10_000), v), 0, row)
    flush(dataset)
    return scale


def flow_layers(folder: Path, grid: Grid, coarser: int, channel: int) -> None:
    """Writes SPI, TWI and streams (uint8) out of the layers DEM and slope in the folder.

    coarser  cells a side of one of the flow computation; channel  cells that drain through a stream's
    """
    terrain.write_upstream_area(folder / "DEM.tif", grid, folder / "area.tif", coarser)
    areas, slopes = gdal.Open(str(folder / "area.tif")), gdal.Open(str(folder / "slope.tif"))
    spi, twi = create(folder / "SPI.tif", grid), create(folder / "TWI.tif", grid)
    streams = create(folder / "streams.tif", grid, gdal.GDT_Byte, None)
    for row, rows in grid.windows():
        area, slope = read(areas, row, rows), read(slopes, row, rows)
        ground = known(area) & known(slope)
        area, slope = np.where(ground, area, 1), np.where(ground, slope, 0)
        for target, index in ((spi, terrain.stream_power), (twi, terrain.wetness)):
            values = np.where(ground, index(area, slope, grid.cell), NODATA)
            target.GetRasterBand(1).WriteArray(values.astype(np.float32), 0, row)
        streams.GetRasterBand(1).WriteArray((area >= channel * grid.cell**2).astype(np.uint8), 0, row)
    for written in (spi, twi, streams):
        flush(written)


def distance_layer(name: str, file: str | None, grid: Grid, folder: Path, channel: int) -> None:
    """Writes the distance to a vector's lines, to the borders between its polygons for catchments, or, without a file,
    to streams, into which `channel` cells drain. Raises InputError where there are none."""
    marks = gdal.Open(str(folder / "streams.tif"))
    missing = (f"CHANNEL={channel}: {name}: expected streams, found no cell that so many cells drain through; lower "
               "it, or give RIVERS")
    if file:
        vector, what = open_vector(file, name, grid), "features"
        if name == "dis2catchment" and is_areal(vector):
            numbers = burn(vector, grid, folder / "numbers.tif", number_features(vector))
            marks, what = borders(numbers, grid, folder / "marks.tif"), "borders between polygons"
        else:
            marks = burn(vector, grid, folder / "marks.tif")
        missing = (f"{shown(Path(file))}: {name}: expected {what} on the grid ({extent(grid)}), found none there; "
                   "check the CRS and extent of the file, or leave it out")
    distance_to(marks, grid, folder / f"{name}.tif", missing)


def write_valid(names: list[str], grid: Grid, folder: Path) -> tuple[int, dict[str, int]]:
    """Writes the layer valid (uint8), 1 where every named layer holds a value; returns these cells, and by name how
    many of the first layer's cells each layer has."""
    datasets = {name: gdal.Open(str(folder / f"{name}.tif")) for name in names}
    target, complete, of_each = create(folder / "valid.tif", grid, gdal.GDT_Byte, None), 0, dict.fromkeys(names, 0)
    for row, rows in grid.windows():
        ground = known(read(datasets[names[0]], row, rows))
        valid = ground.copy()
        for name, dataset in datasets.items():
            here = ground & known(read(dataset, row, rows))
            valid, of_each[name] = valid & here, of_each[name] + int(here.sum())
        target.GetRasterBand(1).WriteArray(valid.astype(np.uint8), 0, row)
        complete += int(valid.sum())
    flush(target)
    return complete, of_each


def make_layers(inputs: dict, grid: Grid, folder: Path, c, codes: dict, step) -> tuple[dict, list[str]]:
    """Writes one layer for each factor but DV into the folder; returns the classes of categorical factors, and notes.

    inputs  the files there are, by the name of their constant; c  the constants of prepare_region.py
    codes   of classes that keep them, by factor; step  is called with what comes next
    """
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
    flow_layers(folder, grid, c.FLOW_CELLS, c.CHANNEL)
    for name, key in CATEGORIES.items():
        if key in inputs:
            step(name)
            given, field = codes.get(name, {}), getattr(c, f"{key}_FIELD")
            classes[name], without = category_layer(name, inputs[key], field, given, grid, folder)
            if without:
                notes.append(f"{without:.1%} of the DEM's cells have no class of {name}: code 0")
            new = sorted(set(classes[name]) - set(given or classes[name]))
            if new:
                notes.append(f"classes of {name} that {c.CODES_OF} does not have: {', '.join(new)}")
    if "NDVI" in inputs:
        step("NDVI")
        scale = ndvi_layer(inputs["NDVI"], c.NDVI_SCALE, grid, folder / "NDVI.tif")
        notes.append(f"NDVI multiplied by {scale:g}")
    for name, key in DISTANCES.items():
        if key in inputs or name == "dis2drainage":
            step(name)
            distance_layer(name, inputs.get(key), grid, folder, c.CHANNEL)
    return classes, notes
