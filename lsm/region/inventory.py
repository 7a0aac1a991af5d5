"""Points read from the files that people have: inventories of points or polygons, and InSAR points."""

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal, ogr

from lsm.inputs.layers import read_rows, values_at, write_layer
from lsm.inputs.rasters import Grid, centres, known, locate
from lsm.inputs.vectors import POLYGONS, add_numbers, burn, fields_of, kind_of, open_vector
from lsm.region.warp import transform
from lsm.run.paths import shown
from lsm.run.settings import InputError
from lsm.sources.vector_files import open_vector

COORDINATES = (("x", "y"), ("easting", "northing"), ("east", "north"), ("longitude", "latitude"), ("lon", "lat"))
POLYGON_CELLS = ("highest", "every", "centroid")
DATES = ("year", "date", "year_obs", "obs_year", "date_obs", "obs_date", "event_date", "event_year", "yr")  # any case
YEAR = re.compile(r"(?<!\d)(1[89]\d\d|20\d\d)(?!\d{1,2}(?!\d))")  # 2014, 2014-07-16, 16.07.2014, 20140716
TABLES = (".csv", ".txt")  # files that are read as tables of points; GDAL opens all others


def read_table(path: Path, what: str) -> tuple[pd.DataFrame, list[str]]:
    """A CSV of points as people export it, and notes on what had to be guessed.

    UTF-8 with or without BOM, else Latin-1; separated by commas, semicolons or tabs. Decimal commas are understood
    where the separator is another sign, or where quotes stand around the number. Columns of numbers become numbers.
    Raises InputError.
    """
    notes = []
    try:
        text = path.read_bytes()
    except OSError:
        raise InputError(f"{shown(path)}: {what}: missing; put it there, or name another file") from None
    if not text.strip():
        raise InputError(f"{shown(path)}: {what}: expected a table, found {len(text)} bytes; copy or export it again")
    if b"\0" in text:
        raise InputError(f"{shown(path)}: {what}: expected a text table, found zero bytes (UTF-16 or binary); save it "
                         "as CSV in UTF-8")
    try:
        text = text.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = text.decode("latin-1")
        notes.append(f"{shown(path)} is not UTF-8; read as Latin-1")
    lines = text.splitlines()
    separator = max(";\t,", key=next(line for line in lines if line.strip()).count)
    reader = csv.reader(lines, delimiter=separator, strict=True)  # strict: else an open quote takes in the rows below
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        odd = next((i for i, line in enumerate(lines, start=1) if line.count('"') % 2), reader.line_num)
        raise InputError(f"{shown(path)}: line {odd}: expected quotes in pairs around a value, found: {error}; correct "
                         "the row") from None
    (_, header), *rows = rows
    wrong = next(((line, row) for line, row in rows if len(row) != len(header)), None)
    if wrong:
        hint = "; decimal commas? Write points, or separate columns by semicolons" if separator == "," else ""
        raise InputError(f"{shown(path)}: line {wrong[0]}: expected {len(header)} columns as in the header, found "
                         f"{len(wrong[1])}{hint or '; correct the row'}")
    if not rows:
        raise InputError(f"{shown(path)}: {what}: expected points, found a header only; export it again")
    header = [name.strip() for name in header]
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{shown(path)}: header: expected different names, found {twice!r} twice; rename one")
    table = pd.DataFrame([row for _, row in rows], columns=header)
    for name in table:
        given = table[name].str.strip()
        numbers = pd.to_numeric(given, errors="coerce")
        if (numbers.isna().any() and separator != ",") or given.str.contains(",").any():
            numbers = numbers.fillna(pd.to_numeric(given.str.replace(",", ".", regex=False), errors="coerce"))
        if numbers.notna().any() and (numbers.notna() | (given == "")).all():
            table[name] = numbers
    return table, notes


def points_of(path: Path, what: str, grid: Grid, epsg: int) -> tuple[pd.DataFrame, list[str]]:
    """A CSV of points, `placed` on the grid, and notes. Raises InputError."""
    table, notes = read_table(path, what)
    return placed(table, path, grid, epsg), notes


def placed(table: pd.DataFrame, path: Path, grid: Grid, epsg: int) -> pd.DataFrame:
    """A table of points with X and Y (m) in the CRS of the grid instead of its coordinates, its other columns kept.

    epsg  of the coordinates; 0: the grid's, or WGS 84 where the columns are longitude and latitude. Raises InputError.
    """
    names = {name.lower(): name for name in table}
    pair = next((pair for pair in COORDINATES if set(pair) <= set(names)), None)
    if pair is None:
        raise InputError(f"{shown(path)}: header: expected columns X and Y (or easting and northing, longitude and "
                         f"latitude), found {', '.join(table)}; rename them")
    columns = [names[name] for name in pair]
    xy = np.column_stack([numbers_of(table, column, path) for column in columns])  # (points, 2)
    west, south, east, north = grid.bounds
    degrees = (np.abs(xy) <= (180, 90)).all() and not (west <= 180 and east >= -180 and south <= 90 and north >= -90)
    if not epsg and pair[0] in ("longitude", "lon"):
        epsg = 4326
    elif not epsg and degrees:
        raise InputError(f"{shown(path)}: columns {columns[0]}, {columns[1]}: expected metres in the CRS of the DEM, "
                         f"found what looks like degrees ({xy[0, 0]:g}, {xy[0, 1]:g}); name them longitude "
                         "and latitude, or give POINTS_EPSG")
    xy = _transformed(xy, epsg, grid, f"{shown(path)}: columns {columns[0]}, {columns[1]}") if epsg else xy
    return table.drop(columns=columns).assign(X=xy[:, 0], Y=xy[:, 1])


def numbers_of(table: pd.DataFrame, column: str, path: Path) -> np.ndarray:
    """A column of a table of points as numbers (points,). Raises InputError where a value is no number."""
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(float)
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(f"{shown(path)}: point {row + 1}, column {column!r}: expected a number, found "
                         f"{str(table[column].iloc[row])!r}; correct or remove the row")
    return values


def _transformed(xy: np.ndarray, epsg: int, grid: Grid, where: str) -> np.ndarray:
    try:
        return transform(xy, epsg, grid, "POINTS_EPSG")
    except RuntimeError:
        (west, south), (east, north) = xy.min(axis=0), xy.max(axis=0)
        raise InputError(f"{where}: expected coordinates of EPSG:{epsg}, found {west:g} to {east:g} and {south:g} to "
                         f"{north:g}; swap X and Y if they are swapped, else correct POINTS_EPSG") from None


def on_grid(xy: np.ndarray, ground: gdal.Dataset, grid: Grid, name: str) -> np.ndarray:
    """(points,) bool: which points xy (points, 2) lie on cells where the layer `ground` holds a value.

    name  of the points, for the message. Raises InputError where most points lie elsewhere.
    """
    row, col, valid = locate(grid.geotransform, (grid.rows, grid.cols), xy)
    valid[valid] = known(values_at(ground, row[valid], col[valid])[:, 0])
    if valid.mean() < 0.5:
        *_, there = locate(grid.geotransform, (grid.rows, grid.cols), xy[:, ::-1])
        remedy = "X and Y are swapped: rename them" if there.mean() > 0.5 else "check the CRS of both"
        raise InputError(
            f"{name}: expected points on the DEM ({grid.extent}), found {(~valid).sum()} of {len(xy)} outside or on "
            f"nodata (X {xy[:, 0].min():.0f} to {xy[:, 0].max():.0f}, Y {xy[:, 1].min():.0f} to "
            f"{xy[:, 1].max():.0f}); {remedy}")
    return valid


def date_field(names: list[str], given: str, path: Path) -> str | None:
    """The field of dates: the one `given`, else the first name of DATES that is there; None without one. Raises
    InputError where the field given is not there."""
    by_name = {name.lower(): name for name in names}
    if given and given.lower() not in by_name:
        raise InputError(f"{shown(path)}: header: expected the field {given!r} (DATE_FIELD), found "
                         f"{', '.join(names) or 'no field'}; name one of these")
    return next((by_name[name] for name in ([given.lower()] if given else DATES) if name in by_name), None)


def year_of(value) -> float:
    """The year in a date as people write it; nan where there is none."""
    found = YEAR.search("" if value is None else str(value))
    return float(found[1]) if found else np.nan


def read_inventory(name: str | Path, what: str, grid: Grid, dem: gdal.Dataset, epsg: int, how: str, every: int,
                   folder: Path, date: str = ""):
    """Reads an inventory of points, polygons or both.

    what    it is, for the messages
    how     the points that stand for a polygon: "highest", its highest cell (the scarp); "every", every `every`-th cell
            from the highest down; "centroid", a point inside near the middle
    folder  for temporary layers
    date    the field of dates; "": recognised by its name
    Returns xy (points, 2); year (points,), nan where it is not known; the layer of burned polygons, not 0 inside (None
    for points alone); notes. Raises InputError.
    """
    path = Path(str(name).partition("|")[0])
    if path.suffix.lower() in TABLES:
        table, notes = points_of(path, what, grid, epsg)
        field = date_field([column for column in table if column not in ("X", "Y")], date, path)
        years = np.array([year_of(value) for value in table[field]]) if field else np.full(len(table), np.nan)
        return table[["X", "Y"]].to_numpy(), years, None, notes
    dataset = open_vector(name, what, grid)
    field = date_field(list(fields_of(dataset.GetLayer(0))), date, path)
    points, polygons, others = [], {}, 0  # polygons: a point inside, by feature id
    of_points, of_polygons = [], []       # their years
    for feature in dataset.GetLayer(0):
        shape, kind = feature.GetGeometryRef(), kind_of(feature)
        year = year_of(feature.GetFieldAsString(field)) if field else np.nan
        if kind == ogr.wkbPoint:
            points.append((shape.GetX(), shape.GetY()))
            of_points.append(year)
        elif kind in POLYGONS:
            point = shape.PointOnSurface()
            polygons[feature.GetFID()] = (point.GetX(), point.GetY())
            of_polygons.append(year)
        else:
            others += 1
    notes = [f"{others} features of the {what} are empty or lines and are left out"] if others else []
    if not points and not polygons:
        raise InputError(f"{shown(Path(str(name)))}: {what}: expected points or polygons, found {others} features "
                         "that are neither; buffer lines to polygons, or export the points")
    xy, years, burned = np.array(points, np.float64).reshape(-1, 2), np.array(of_points, float), None
    if polygons:
        inside, number, burned = _polygon_points(dataset, polygons, grid, dem, how, every, folder)
        xy, years = np.concatenate([xy, inside]), np.append(years, np.array(of_polygons)[number - 1])
        notes.append(f"{len(polygons)} polygons give {len(inside)} points (POLYGON_CELLS = {how})")
    return xy, years, burned, notes


def _polygon_points(dataset, polygons: dict, grid: Grid, dem, how: str, every: int, folder: Path):
    """Points (points, 2) of polygons, the number (points,) of each one's polygon, from 1, and the layer of numbers.

    polygons  a point inside, by feature id
    """
    inside = list(polygons.values())
    field = add_numbers(dataset, {fid: number for number, fid in enumerate(polygons, start=1)})
    numbers = burn(dataset, grid, folder / "polygons.tif", field)
    if how == "centroid":
        return np.array(inside), np.arange(1, len(inside) + 1), numbers
    found = []
    for row, rows in grid.windows():
        n = read_rows(numbers, row, rows)
        r, c = np.nonzero(n)
        found.append(np.column_stack([n[r, c], r + row, c, read_rows(dem, row, rows)[r, c]]))
    number, row, col, height = np.concatenate(found).T
    order = np.lexsort((col, row, -height, number))
    number = number[order].astype(int)
    rank = np.arange(len(number)) - np.searchsorted(number, number)  # within its polygon, the highest first
    stands = (rank == 0) if how == "highest" else (rank % every == 0)
    taken = order[stands]
    xy = np.column_stack(centres(grid.geotransform, row[taken], col[taken]))
    # A polygon without a cell, because it is smaller than a cell or another lies over it, gives the point inside it.
    missing = np.setdiff1d(np.arange(1, len(inside) + 1), number)
    return np.concatenate([xy, np.array(inside)[missing - 1]]), np.append(number[stands], missing), numbers


def table_of_dates(landslides) -> pd.DataFrame:
    """X, Y, year of the landslides whose year is known; landslides  xy, rows, columns, years."""
    xy, _, _, years = landslides
    known = np.isfinite(years)
    return pd.DataFrame({"X": xy[known, 0].round(3), "Y": xy[known, 1].round(3), "year": years[known].astype(int)})


def mean_by_cell(row: np.ndarray, col: np.ndarray, values: np.ndarray, cols: int):
    """Rows, columns and mean values of the cells that hold points; points in the same cell are averaged."""
    cell, place = np.unique(row * cols + col, return_inverse=True)
    mean = np.bincount(place, values) / np.bincount(place)
    return cell // cols, cell % cols, mean


def write_cells(path: Path, grid: Grid, row: np.ndarray, col: np.ndarray, values, below=None,
                **options) -> gdal.Dataset:
    """Writes a layer with values (one for all cells, or one a cell) at the cells row, col; the other cells are 0, or 1
    where the layer `below` is not 0. options: kind and nodata of `write_layer`."""
    values = np.broadcast_to(values, row.shape)

    def window(first: int, rows: int) -> np.ndarray:
        out = np.zeros((rows, grid.cols), np.float32)
        if below is not None:
            out[read_rows(below, first, rows) != 0] = 1
        here = (row >= first) & (row < first + rows)
        out[row[here] - first, col[here]] = values[here]
        return out

    return write_layer(path, grid, window, **options)
