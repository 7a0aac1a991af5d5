"""Factor layers: categories, NDVI, indices of flow and distances, each a layer of its own in one folder."""

from pathlib import Path

import numpy as np
from osgeo import gdal

from lsm.inputs.layers import change_layer, flush, read_rows, write_layer
from lsm.inputs.rasters import Grid, create, known
from lsm.inputs.vectors import MAX_CLASSES, burn, is_areal, number_classes, number_features, open_vector
from lsm.region import terrain
from lsm.region.warp import fill_holes, to_grid
from lsm.run.paths import shown
from lsm.run.settings import InputError

gdal.UseExceptions()

# The constant of prepare_region.py that names a factor's file.
DISTANCES = {"dis2road": "ROADS", "dis2drainage": "RIVERS", "dis2catchment": "CATCHMENTS", "dis2faults": "FAULTS"}
CATEGORIES = {"land use": "LAND_USE", "lithology": "LITHOLOGY"}


def category_layer(name: str, file: str, field: str, given: dict, grid: Grid,
                   folder: Path) -> tuple[dict[str, int], float]:
    """Writes class codes, 0 without a class; returns code by class, and the share of the DEM's cells without a class.

    file          a raster, whose values are the codes, or polygons
    field, given  of polygons, as `number_classes` takes them. Raises InputError.
    """
    what, path = f"{shown(Path(file))}: {name}", folder / f"{name}.tif"
    if Path(file.partition("|")[0]).suffix.lower() not in (".tif", ".tiff"):
        vector = open_vector(file, name, grid)
        if not is_areal(vector):
            raise InputError(f"{what}: expected polygons, found lines or points; export the areas")
        codes, numbers = number_classes(vector, field, f"{name.upper().replace(' ', '_')}_FIELD", given, what)
        coded = burn(vector, grid, path.with_suffix(".codes.tif"), numbers)
    else:
        to_grid(Path(file), name, grid, path.with_suffix(".codes.tif"), categorical=True)
        coded, values = gdal.Open(str(path.with_suffix(".codes.tif"))), set()
        for window in grid.windows():
            v = read_rows(coded, *window)
            values |= set(np.unique(v[known(v)]).tolist())
            parts = [v for v in values if v != round(v)]
            if len(values) > MAX_CLASSES or parts:
                raise InputError(f"{what}: expected at most {MAX_CLASSES} whole-number classes, found "
                                 f"{f'{min(parts):.8g} among them' if parts else f'{len(values)} or more'}; export the "
                                 "classes, not a measure")
        codes = {f"{v:g}": int(v) for v in sorted(values)}
    heights, ground, without = gdal.Open(str(folder / "DEM.tif")), 0, 0

    def window(row: int, rows: int) -> np.ndarray:
        nonlocal ground, without
        v, here = read_rows(coded, row, rows).astype(np.float32), known(read_rows(heights, row, rows))
        v = np.where(known(v), v, 0)
        ground, without = ground + int(here.sum()), without + int((here & (v == 0)).sum())
        return v

    write_layer(path, grid, window)
    if without == ground:
        raise InputError(f"{what}: expected classes on the DEM ({grid.extent}), found none there; check the CRS and "
                         "extent of the file, or leave it out")
    return codes, without / ground


def ndvi_layer(file: str, scale: float, grid: Grid, path: Path) -> float:
    """Writes NDVI x 10,000; returns the factor that the file's values were multiplied by: `scale`, or, where that is 0,
    the one that their range tells. Raises InputError."""
    to_grid(Path(file), "NDVI", grid, path)
    dataset = gdal.Open(str(path))
    largest = max(float(np.abs(v[known(v)]).max(initial=0)) for v in (read_rows(dataset, *w) for w in grid.windows()))
    scale = scale or (10_000.0 if largest <= 1.5 else 1.0)
    if not 300 <= largest * scale <= 15_000:
        raise InputError(f"{shown(Path(file))}: NDVI: expected values from -1 to 1 or -10,000 to 10,000, found up to "
                         f"{largest:g}; set NDVI_SCALE to the number that turns an NDVI of 1 into 10,000")
    change_layer(path, grid, lambda _, v: np.where(known(v), np.clip(v * scale, -10_000, 10_000), v))
    return scale


def flow_layers(folder: Path, grid: Grid, coarser: int, channel: int) -> None:
    """Writes the layers SPI, TWI and streams (uint8) from the layers DEM and slope.

    coarser  as `terrain.write_upstream_area` takes it
    channel  cells that must drain through a cell before it is a stream
    """
    terrain.write_upstream_area(folder / "DEM.tif", grid, folder / "area.tif", coarser)
    areas, slopes = gdal.Open(str(folder / "area.tif")), gdal.Open(str(folder / "slope.tif"))
    for name, index in (("SPI", terrain.stream_power), ("TWI", terrain.wetness)):
        def window(row: int, rows: int, index=index) -> np.ndarray:
            area, slope = read_rows(areas, row, rows), read_rows(slopes, row, rows)
            ground = known(area) & known(slope)
            return np.where(ground, index(np.where(ground, area, 1), np.where(ground, slope, 0), grid.cell), np.nan)

        write_layer(folder / f"{name}.tif", grid, window)
    write_layer(folder / "streams.tif", grid,
                lambda *window: read_rows(areas, *window) >= channel * grid.cell**2, gdal.GDT_Byte, None)


def distance_layer(name: str, file: str | None, grid: Grid, folder: Path, channel: int) -> None:
    """Writes the distance to a vector's lines or, for catchments given as polygons, to the borders between these.

    file  None: the distance to the layer streams, where `channel` is what it was made with. Raises InputError where
    there is nothing to measure from.
    """
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
        missing = (f"{shown(Path(file))}: {name}: expected {what} on the grid ({grid.extent}), found none there; check "
                   "the CRS and extent of the file, or leave it out")
    distance_to(marks, grid, folder / f"{name}.tif", missing)


def borders(numbers: gdal.Dataset, grid: Grid, path: Path) -> gdal.Dataset:
    """Writes a layer (uint8): 1 in cells whose right or lower neighbour has another number, both numbers above 0."""
    def window(row: int, rows: int) -> np.ndarray:
        n = read_rows(numbers, row, min(rows + 1, grid.rows - row))  # one row more, where there is one
        out = np.zeros(n.shape, bool)
        out[:-1] |= (n[:-1] != n[1:]) & (n[:-1] > 0) & (n[1:] > 0)
        out[:, :-1] |= (n[:, :-1] != n[:, 1:]) & (n[:, :-1] > 0) & (n[:, 1:] > 0)
        return out[:rows]

    return write_layer(path, grid, window, gdal.GDT_Byte, None)


def distance_to(marks: gdal.Dataset, grid: Grid, path: Path, missing: str) -> None:
    """Writes the distance (m) from the centre of each cell to the centre of the nearest marked (1) cell. Raises
    InputError with the message `missing` where no cell is marked."""
    if not any(read_rows(marks, *window).any() for window in grid.windows()):
        raise InputError(missing)
    target = create(path, grid)
    gdal.ComputeProximity(marks.GetRasterBand(1), target.GetRasterBand(1), ["VALUES=1", "DISTUNITS=GEO"])
    flush(target)


def write_valid(names: list[str], grid: Grid, folder: Path) -> tuple[int, dict[str, int]]:
    """Writes the layer valid (uint8), 1 where every named layer holds a value. Returns the number of these cells and,
    by name, how many of the first layer's cells each layer has."""
    datasets = {name: gdal.Open(str(folder / f"{name}.tif")) for name in names}
    complete, of_each = 0, dict.fromkeys(names, 0)

    def window(row: int, rows: int) -> np.ndarray:
        nonlocal complete
        ground = known(read_rows(datasets[names[0]], row, rows))
        valid = ground.copy()
        for name, dataset in datasets.items():
            here = ground & known(read_rows(dataset, row, rows))
            valid, of_each[name] = valid & here, of_each[name] + int(here.sum())
        complete += int(valid.sum())
        return valid

    write_layer(folder / "valid.tif", grid, window, gdal.GDT_Byte, None)
    return complete, of_each


def make_layers(inputs: dict, grid: Grid, folder: Path, c, codes: dict, step) -> tuple[dict, list[str]]:
    """Writes one layer for each factor but DV into the folder; returns the classes of categorical factors, and notes.

    inputs  the files there are, by the name of their constant; c  the constants of prepare_region.py
    codes   of classes that keep them, by factor; step  is called with what comes next
    """
    notes, classes = [], {}
    step("DEM")
    to_grid(Path(inputs["DEM"]), "DEM", grid, folder / "DEM.tif")
    filled = fill_holes(folder / "DEM.tif", grid, c.HOLES)
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
