"""InSAR points out of the files that products come in: tables, layers of points, rasters of velocities.

Each reader gives a table of X, Y (m, in the CRS of the grid) and the columns named as in the file.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal, ogr, osr

from lsm.inputs.bands import ENDLESS, gaps_of, heaped
from lsm.inputs.bands import known as has_value
from lsm.inputs.crs import crs_of, moved
from lsm.inputs.rasters import Grid, open_raster
from lsm.inputs.vectors import fields_of, geometry_type
from lsm.region.points.placed_points import dropped
from lsm.run.paths import edit, shown
from lsm.run.settings import InputError
from lsm.sources.files import File, path_of
from lsm.sources.vector_files import open_vector

WHAT = "InSAR points"
RASTERS = (".tif", ".tiff", ".img", ".vrt", ".asc", ".h5", ".he5")  # damaged or of several data sets, rasters still
MOST_CELLS = 50_000_000  # of a raster within the area, each of which takes some 80 bytes on the way
_HDF5 = {"velocity": "velocity", "velocityStd": "velocity_std"}  # data sets of MintPy, and their columns here


def layer_table(name: str | Path, grid: Grid, wanted) -> tuple[pd.DataFrame, list[str], list[str]]:
    """The points of a layer with its fields, the names of all fields, and notes.

    wanted  (name of a field) -> whether it is read
    Coordinates are read from the geometry, whatever fields say. Points without geometry are dropped and counted. Raises
    InputError.
    """
    dataset, path = open_vector(name, WHAT, grid), path_of(name)
    layer = dataset.GetLayer(0)
    kinds, n = fields_of(layer), layer.GetFeatureCount()
    header = list(kinds)
    used = {i: np.full(n, np.nan) if kinds[field] == ogr.OFTReal else [None] * n for i, field in enumerate(header)
            if wanted(field)}  # a list of Python's numbers would take five times as much
    xy = np.full((n, 2), np.nan)
    for number, feature in enumerate(layer):
        shape, kind = feature.GetGeometryRef(), geometry_type(feature)
        if kind not in (None, ogr.wkbPoint):
            raise InputError(f"{shown(path)}: {WHAT}: feature {number + 1}: expected a point, found "
                             f"{shape.GetGeometryName().lower()}; turn each into a point, or remove it")
        if kind is not None:
            xy[number] = shape.GetX(), shape.GetY()
        for i, values in used.items():
            if (value := feature.GetField(i)) is not None:
                values[number] = value
    kept, notes = dropped(np.isnan(xy).all(axis=1), f"{shown(path)}: {WHAT}", "have no geometry")
    table = pd.DataFrame({header[i]: values for i, values in used.items()} | {"X": xy[:, 0], "Y": xy[:, 1]})
    return table[kept], header, notes


def raster_table(name: str | Path, grid: Grid, key_of) -> tuple[pd.DataFrame, tuple[tuple, str], str, list[str]]:
    """The cells of a raster of velocities as points, its geotransform and CRS (WKT), the unit that it states ("" for
    none), and notes.

    key_of  (name of a band) -> what it holds, "velocity" or another, None where it does not count
    The velocity along the line of sight is the band of that name, or of |band=<number>, or the first; further
    bands count by their names. An HDF5 file is read as MintPy writes it. Only cells around the grid are read. Raises
    InputError.
    """
    file, notes = File.of(name, WHAT), []
    path = file.path
    bands, place, crs, told = _opened(file, key_of, notes)
    velocity = bands["velocity"][0].GetRasterBand(bands["velocity"][1])
    first, col, rows, cols = _window(velocity, place, crs, grid, file)
    values, known, without, where = {}, np.ones((rows, cols), bool), {}, f"{shown(path)}: {WHAT}"

    def leave_out(why: str, cells: np.ndarray) -> None:
        without[why] = without.get(why, 0) + int((known & cells).sum())
        known[cells] = False

    for column, (dataset, number) in bands.items():  # the velocity first
        band = dataset.GetRasterBand(number)
        raw = band.ReadAsArray(col, first, cols, rows)
        v = raw.astype(np.float64)
        leave_out("nodata", (band.GetMaskBand().ReadAsArray(col, first, cols, rows) == 0) | np.isnan(v))
        if column == "velocity" and file.nodata is not None:
            leave_out(f"{file.nodata:g}", ~has_value(raw, file.nodata))
        leave_out("too large for values", ~(np.abs(v) < ENDLESS))
        if column == "velocity" and raw.dtype.kind == "f":
            leave_out("exactly 0, as no measurement is", v == 0)
        elif column == "velocity" and heaped(v[known]):
            notes.append(f"{where}: exactly 0 in {int((v[known] == 0).sum()):,} cells is kept as a velocity; if it "
                         f"marks gaps, declare it ({file.remedy('nodata=0')})")
        marks, more = gaps_of(v[known], f"{where}: {column}", vary=column == "velocity", what="cell",
                              remedy=f"declare it ({file.remedy('nodata=<number>')})")
        notes += more
        known[known] = ~marks
        values[column] = v * (band.GetScale() or 1.0) + (band.GetOffset() or 0.0)
    lost = "".join(f", {n:,} {why}" for why, n in without.items() if n)
    if not known.any():
        raise InputError(f"{shown(path)}: {WHAT}: expected cells with a velocity on the DEM ({grid.extent}), found "
                         "none; check its CRS and nodata")
    table = pd.DataFrame({column: v[known] for column, v in values.items()})
    del values, v, raw
    north, east = (i + first_one + 0.5 for i, first_one in zip(np.nonzero(known), (first, col), strict=True))
    xy = np.empty((len(table), 2))
    for axis in (0, 1):
        xy[:, axis] = place[3 * axis] + east * place[3 * axis + 1] + north * place[3 * axis + 2]
    del east, north
    xy = moved(xy, crs, grid.crs)
    table = table.assign(X=xy[:, 0], Y=xy[:, 1])
    if key_of(velocity.GetDescription()) == "velocity":  # it may name the unit
        table = table.rename(columns={"velocity": velocity.GetDescription()})
    if {"HEADING", "INCIDENCE_ANGLE"} <= set(told):
        angles = pd.to_numeric(pd.Series([told["HEADING"], told["INCIDENCE_ANGLE"]]), errors="coerce")
        table = table.assign(heading=angles[0], incidence=angles[1])
    unit = velocity.GetUnitType() or next((told[k] for k in ("UNIT", "unit", "units") if k in told), "")
    notes.append(f"{shown(path)}: {len(table):,} of {rows * cols:,} cells on and around the grid have a velocity and "
                 f"are the points{lost}")
    return table, (place, crs.ExportToWkt()), unit, notes


def _opened(file: File, key_of, notes: list[str]
            ) -> tuple[dict[str, tuple[gdal.Dataset, int]], tuple, osr.SpatialReference, dict]:
    """The bands of a raster by column, each as dataset and number, its geotransform, its CRS and its metadata. Raises
    InputError."""
    path = file.path
    dataset = open_raster(path, "export it again as GeoTIFF", WHAT, file.opened)
    file.only("a raster", "band", "nodata")
    told, place, crs = dataset.GetMetadata(), dataset.GetGeoTransform(can_return_null=True), dataset.GetSpatialRef()
    if dataset.GetDriver().ShortName.startswith("HDF5"):
        sets = [name for name, _ in dataset.GetSubDatasets()] or [dataset.GetDescription()]  # GDAL opens a single one
        names = {name.rpartition("/")[2]: name for name in sets}
        sets = {column: gdal.Open(names[n]) for n, column in _HDF5.items() if n in names}
        if "velocity" not in sets or not {"X_FIRST", "Y_FIRST", "X_STEP", "Y_STEP"} <= set(told):
            raise InputError(f"{shown(path)}: {WHAT}: expected a geocoded velocity of MintPy (velocity, X_FIRST, "
                             f"...), found {', '.join(names)}; export it as GeoTIFF (save_gdal.py)")
        place = (float(told["X_FIRST"]), float(told["X_STEP"]), 0.0, float(told["Y_FIRST"]), 0.0, float(told["Y_STEP"]))
        crs = file.crs or _crs_of_mintpy(told, file, notes)
        bands = {column: (of, 1) for column, of in sets.items()}
    else:
        names = [dataset.GetRasterBand(i).GetDescription() for i in range(1, dataset.RasterCount + 1)]
        named = [i for i, n in enumerate(names, start=1) if key_of(n) == "velocity"]
        first = file.number("band") or (named[0] if len(named) == 1 else 1)
        if not 1 <= first <= len(names) or (not file.number("band") and key_of(names[0]) and len(named) != 1):
            raise InputError(f"{shown(path)}: {WHAT}: expected a band of velocities, found {', '.join(names)}; say "
                             f"which it is: {file.remedy('band=<number>')}")
        if len(names) > 1 and not names[first - 1]:
            notes.append(f"{shown(path)}: {WHAT}: band {first} of {len(names)} is the velocity")
        bands = {"velocity": (dataset, first)} | {n: (dataset, i) for i, n in enumerate(names, start=1)
                                                  if key_of(n) not in (None, "velocity") and i != first}
    crs = file.crs or crs
    if crs is None or crs.IsLocal() or place is None:
        raise InputError(f"{shown(path)}: {WHAT}: expected a CRS and a geotransform, found none; set both: "
                         + edit(path, "-a_srs EPSG:<code> -a_ullr <west> <north> <east> <south>"))
    return bands, place, crs, told


def _crs_of_mintpy(told: dict, file: File, notes: list[str]) -> osr.SpatialReference:
    """The CRS of the attributes EPSG or UTM_ZONE, WGS 84 without both; notes  gets a line on a zone. Raises
    InputError."""
    code, zone = str(told.get("EPSG", "")).strip(), str(told.get("UTM_ZONE", "")).strip().upper()
    if not code and (parts := re.fullmatch(r"(\d{1,2})([NS])", zone)):  # north or south, no bands
        code = f"{326 if parts[2] == 'N' else 327}{int(parts[1]):02}"
        notes.append(f"{file.where}: read in EPSG:{code}, as its UTM_ZONE {zone} says")
    if (code or zone) and not re.fullmatch(r"\d{1,9}", code, re.ASCII):
        raise InputError(f"{file.where}: expected an EPSG code or a UTM zone like 33N in its attributes, found "
                         f"{(code or zone)[:60]!r}; say its CRS: {file.remedy('epsg=<code>')}")
    return crs_of(int(code or 4326), f"{file.where}: EPSG")


def _window(band: gdal.Band, place: tuple, crs: osr.SpatialReference, grid: Grid, file: File) -> tuple[int, ...]:
    """First row, first column, rows and columns of the cells around the grid. Raises InputError."""
    west, south, east, north = grid.bounds
    along = np.linspace(0, 1, 21)
    x, y = west + along * (east - west), south + along * (north - south)
    border = np.concatenate([np.column_stack([x, np.full(21, v)]) for v in (south, north)]
                            + [np.column_stack([np.full(21, v), y]) for v in (west, east)])
    border = moved(border, grid.crs, crs)
    back = gdal.InvGeoTransform(place)
    cols, rows = (back[i] + back[i + 1] * border[:, 0] + back[i + 2] * border[:, 1] for i in (0, 3))
    if not (np.isfinite(cols).all() and np.isfinite(rows).all()):
        raise InputError(f"{file.where}: expected a raster that covers the DEM ({grid.extent}), found one in "
                         "a CRS that does not reach it; check its CRS")
    c0, c1 = (int(np.clip(v, 0, band.XSize)) for v in (np.floor(cols.min()) - 1, np.ceil(cols.max()) + 1))
    r0, r1 = (int(np.clip(v, 0, band.YSize)) for v in (np.floor(rows.min()) - 1, np.ceil(rows.max()) + 1))
    if c1 <= c0 or r1 <= r0 or (c1 - c0) * (r1 - r0) > MOST_CELLS:
        n = max(c1 - c0, 0) * max(r1 - r0, 0)
        raise InputError(f"{file.where}: expected 1 to {MOST_CELLS:,} cells on the DEM ({grid.extent}), found {n:,}; "
                         + ("give coarser cells" if n else f"check its CRS, or say it: {file.remedy('epsg=<code>')}"))
    return r0, c0, r1 - r0, c1 - c0
