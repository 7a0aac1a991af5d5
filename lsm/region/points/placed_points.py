"""Points of tables: where they lie, on the grid of an area."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import osr

from lsm.inputs.crs import crs_name, crs_of, moved, utm_zone
from lsm.inputs.rasters import Grid, locate
from lsm.inputs.tables.text_tables import Table, find_columns, frame_of, plain
from lsm.inputs.tables.unpacking import SHEETS
from lsm.region.points.coordinate_columns import CODES, ZONES, columns_of_places, coordinate_of, in_degrees
from lsm.region.warp import transform
from lsm.run.paths import shown
from lsm.run.settings import InputError
from lsm.sources.files import SHAPES, File

_CODE = re.compile(r"(?:EPSG:+)?(\d{4,6})")
_ZONE = re.compile(r"([1-9]|[1-5]\d|60)[C-X]")  # 50N, 49 S; a number alone may be any zone
LARGEST = 1e9                      # of a coordinate or any other number of a point
DROPPED = 0.2                      # share of points without place or value above which a file is damaged
_MISSING = ("", "-", "--", "nan", "na", "n/a", "null", "none", "nodata", "no data")


def points_of(name: str | Path, what: str, grid: Grid, epsg: int,
              wanted: Callable[[str], object] = bool) -> tuple[pd.DataFrame, list[str]]:
    """A table of points with X and Y (m) in the CRS of the grid instead of its coordinates, and notes.

    name    a file, with options as lsm/sources/files.py has them; |epsg=3035 counts before epsg
    epsg    of the coordinates; 0: the grid's, or WGS 84 where the columns are longitude and latitude
    wanted  (name of a column) -> whether to read it besides the coordinates
    Points without coordinates are dropped and counted. Raises InputError.
    """
    file = File.of(name, what)
    file.only("a table", *["layername"] * (file.path.suffix.lower() in SHEETS))
    path, said, table = file.path, file.number("epsg"), Table(file.path, what, file.member)
    names = [plain(name) for name in table.header]
    used = [(name, key) for name, key in zip(table.header, names, strict=True)
            if coordinate_of(key) or wanted(name) or key in (*ZONES, *CODES)]
    twice = next((name for name, key in used if names.count(key) > 1), None)
    if twice is not None:
        raise InputError(f"{shown(path)}: header: expected different names, found {twice!r} twice; rename one")
    pairs = columns_of_places(table.header)
    if not pairs:
        found = ", ".join(table.header[:6]) + ", ..." * (len(table.header) > 6)
        shapes = next((name for name in table.header if plain(name) in SHAPES), None)
        remedy = "rename them"
        if any(re.search(r"(?<![^\W_])km(?![^\W_])", name, re.I) for name in table.header):
            remedy = "write kilometres as metres and rename them"
        if shapes:
            remedy = f"save the layer as GeoPackage: shapes in a column ({shapes}) are not read"
        elif len(table.header) == 1:
            remedy = "separate columns by commas, semicolons or tabs, with their names in the first line"
        elif table.notes:
            remedy = "its text is not UTF-8: save it as CSV in UTF-8"
        raise InputError(f"{shown(path)}: header: expected columns X and Y (or easting and northing, longitude and "
                         f"latitude), found {found}; {remedy}")
    paired = {i for pair in pairs for i in pair}
    zones = [i for i, name in enumerate(table.header) if plain(name) in (*ZONES, *CODES) and i not in paired]
    columns = [i for i, name in enumerate(table.header) if i in paired or wanted(name) or i in zones]
    frame = frame_of(table, columns)
    by_column = []
    with contextlib.suppress(InputError):  # of several zones; they are no matter beside degrees
        by_column = [code for i in zones for code in _stated(frame[table.header[i]], path, grid)]
    (x, y), notes = _pair_of(frame, [[table.header[i] for i in pair] for pair in pairs], path, grid,
                             said or epsg or next(iter(by_column), 0))
    degrees = in_degrees(x)
    stated = [3035] if is_egms(table.header) and not degrees else []
    for name in (table.header[i] for i in zones):
        stated += [] if degrees else _stated(frame[name], path, grid)
        frame = frame if wanted(name) else frame.drop(columns=name)
    if not len(frame):
        raise InputError(f"{shown(path)}: {what}: expected points, found a header only; export it again")
    xy = np.column_stack([numbers_of(frame[name], path) for name in (x, y)])  # (points, 2)
    asked = said or epsg or (4326 if degrees else 0)
    nowhere = _off_the_earth(xy, {*stated, asked} - {0}, grid)
    like = "".join(f" (or none on the earth, like {lon:g}, {lat:g})" for lon, lat in xy[nowhere][:1])
    kept, lost = dropped(np.isnan(xy).any(axis=1) | nowhere, f"{shown(path)}: {what}", f"have no coordinates{like}")
    xy, more, by_column = _on_the_grid(xy[kept], path, (x, y), grid, asked, stated)
    others = {name: f"{name} (column)" for name in frame if name in ("X", "Y")}  # beside coordinates of other names
    unused = [table.header[i] for i in paired if not wanted(table.header[i])]
    frame = frame.drop(columns={x, y, *unused})[kept].rename(columns=others).assign(X=xy[:, 0], Y=xy[:, 1])
    frame.attrs["placed"] = degrees or by_column
    return frame, [*table.notes, *notes, *lost, *more]


def _stated(column: pd.Series, path: Path, grid: Grid) -> list[int]:
    """The EPSG codes that a column of UTM zones or of codes may mean, 0 for the grid's own zone; [] where it says
    nothing. Raises InputError for a column of several."""
    found = sorted(set(column.dropna().astype(str).str.replace(" ", "").str.upper().str.removesuffix(".0")))
    of_codes = plain(column.name) not in ZONES
    if not found or not all(map((_CODE if of_codes else _ZONE).fullmatch, found)):
        return []
    if len(found) > 1:
        raise InputError(f"{shown(path)}: column {column.name!r}: expected points of one "
                         f"{'CRS' if of_codes else 'UTM zone'}, found {', '.join(found[:4])}; transform them to one "
                         "CRS, or to longitude and latitude")
    if of_codes:
        code = int(_CODE.fullmatch(found[0])[1])
        crs_of(code, f"{shown(path)}: column {column.name}")
        return [code]
    zone, letter = int(found[0][:-1]), found[0][-1]
    codes = [32600 + zone] * (letter >= "N") + [32700 + zone] * (letter < "N" or letter == "S")  # S: band, or south
    return [0] if abs(osr.SpatialReference(wkt=grid.crs).GetUTMZone()) == zone else codes


def _off_the_earth(xy: np.ndarray, codes: set[int], grid: Grid) -> np.ndarray:
    """(points,) bool: which longitudes and latitudes (points, 2) no place has, like -999, among others that are places.
    None where half of them are no places: these are other coordinates; and none where they are places if swapped.

    codes  the CRS that the points may be in. Raises InputError for a code of none
    """
    odd = (np.abs(xy) > (360, 90)).any(axis=1) & ~np.isnan(xy).any(axis=1)
    able = odd.any() and odd.mean() < 0.5 and any(crs_of(code, "POINTS_EPSG").IsGeographic() for code in codes)
    return odd if able and not swapped_degrees(xy[odd], grid) else np.zeros(len(xy), bool)


def _pair_of(frame: pd.DataFrame, pairs: list[list[str]], path: Path, grid: Grid, epsg: int
             ) -> tuple[list[str], list[str]]:
    """The pair of columns whose points lie on the grid: the first pair that puts half of them there and is not rounded
    to less than half as many places as another, else the pair that puts most of them there; and a note where there are
    several pairs. epsg  as `_on_the_grid` takes it"""
    if len(pairs) == 1:
        return pairs[0], []
    share, many, places = [0.0] * len(pairs), [0] * len(pairs), {}
    for i, pair in enumerate(pairs):
        xy = np.column_stack([pd.to_numeric(frame[name], errors="coerce") for name in pair]).astype(float)
        code = 3035 if is_egms(list(frame)) and pair[0].lower().startswith("east") else (
            4326 if in_degrees(pair[0]) else epsg)
        xy = xy[(np.abs(xy) < ((361, 91) if code == 4326 else LARGEST)).all(axis=1)]
        with contextlib.suppress(RuntimeError):  # no place of that CRS
            there = transform(xy, code, grid, "POINTS_EPSG") if code and len(xy) else xy
            *_, inside = locate(grid.geotransform, (grid.rows, grid.cols),
                                np.where(np.isfinite(there), there, -1e15))
            if inside.any():
                share[i], places[i] = min(float(inside.mean()), 0.5), np.median(there, axis=0)
                many[i] = len(np.unique(there, axis=0))
    best = max(range(len(pairs)), key=lambda i: (share[i], many[i] > max(many) / 2))
    chosen = pairs[best]
    apart = max((float(np.hypot(*(place - places[best]))) for place in places.values()), default=0.0)
    others = " and ".join(", ".join(pair) for pair in pairs if pair != chosen)
    return chosen, [f"{shown(path)}: coordinates are {', '.join(chosen)}, not {others}"
                    + f", {apart:,.0f} m away (median)" * (apart > grid.cell)]


def holds_shapes(file: File) -> bool:
    """Whether a table has its shapes as text in a column, and no coordinates. Raises InputError as `Table` does."""
    header = Table(file.path, file.what, file.member).header
    return not columns_of_places(header) and any(plain(name) in SHAPES for name in header)


def numbers_of(column: pd.Series, path: Path) -> np.ndarray:
    """A column of a table of points as numbers (points,), nan where it has none. Raises InputError for text that is no
    number."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(float)
    values = np.where(np.abs(values) < LARGEST, values, np.nan)
    empty = column.isna().to_numpy()
    if column.dtype.kind not in "iuf":
        empty = empty | column.astype(str).str.strip().str.lower().isin(_MISSING).to_numpy()
    bad = ~np.isfinite(values) & ~empty
    if bad.any():
        row = int(np.argmax(bad))
        remedy = "correct or remove the row" if bad.mean() < 0.5 else (
            "write the column as plain numbers: no units, no separators of thousands, decimal degrees")
        raise InputError(f"{shown(path)}: point {column.index[row] + 1}, column {column.name!r}: expected a number, "
                         f"found {str(column.iloc[row])[:60]!r}; {remedy}")
    return np.where(empty, np.nan, values)


def dropped(bad: np.ndarray, where: str, why: str) -> tuple[np.ndarray, list[str]]:
    """Which points (points,) stay, and a note on the dropped ones; `why` follows "12 of 300 points" in it. Raises
    InputError where so many are bad that the file must be damaged."""
    n = int(bad.sum())
    if n > max(1, DROPPED * len(bad)) or n == len(bad):
        raise InputError(f"{where}: expected points with place and value, found {n} of {len(bad)} that {why}; export "
                         "it again, or remove these rows")
    return ~bad, [f"{where}: {n} of {len(bad):,} points {why} and are dropped"] * bool(n)


def is_egms(header: list[str]) -> bool:
    """Whether a table has the columns of the European Ground Motion Service, whose easting and northing are of
    EPSG:3035."""
    return all(find_columns(header, (name,)) for name in ("easting", "northing", "mean_velocity", "mean_velocity_std"))


def _on_the_grid(xy: np.ndarray, path: Path, names: tuple[str, str], grid: Grid, asked: int, stated: list[int]
                 ) -> tuple[np.ndarray, list[str], bool]:
    """Points (points, 2) in the CRS of the grid, a note where their CRS had to be guessed or a column says it, and
    whether a column does. Raises InputError.

    The CRS is the first of these in which half of the points lie on the grid: what the columns say (`stated`), `asked`,
    the CRS of the grid; else, of the first two, the CRS that puts most points there. 0 stands for the CRS of the grid.
    """
    west, south, east, north = grid.bounds
    where = f"{shown(path)}: columns {', '.join(names)}"
    swapped = swapped_degrees(xy, grid) if (np.abs(xy) <= 180).all() else ""
    degrees = swapped or (np.abs(xy) <= (180, 90)).all()
    metres = not (west <= 180 and east >= -180 and south <= 90 and north >= -90)
    if metres and degrees and not asked and not any(stated):
        order = "latitude and longitude, in this order" if swapped else "longitude and latitude"
        raise InputError(f"{where}: expected metres in the CRS of the DEM, found what looks like degrees "
                         f"({xy[0, 0]:g}, {xy[0, 1]:g}); name them {order}, or give POINTS_EPSG")
    choices = list(dict.fromkeys(code for code in (*stated, asked) if code))
    if not choices:
        return *_without_crs(xy, path, where, grid), bool(stated)
    share, there, code = -1.0, None, 0
    for each in [*choices, 0]:
        with contextlib.suppress(RuntimeError):  # no place of that CRS
            moved_there = transform(xy, each, grid, "POINTS_EPSG") if each else xy
            if (on := share_on(moved_there, grid)) >= 0.5 or (on > share and (each or 0 in stated)):
                share, there, code = on, moved_there, each
        if share >= 0.5:
            break
    if there is None:
        (west, south), (east, north) = xy.min(axis=0), xy.max(axis=0)
        raise InputError(f"{where}: expected coordinates of EPSG:{choices[0]}, found {west:g} to {east:g} and "
                         f"{south:g} to {north:g}; "
                         + (swapped or "swap X and Y if they are swapped, else correct POINTS_EPSG"))
    named = {each: f"EPSG:{each}" if each else crs_name(grid.crs) for each in (*stated, code)}
    others = f", not in {' or '.join(named[each] for each in stated)} as its columns say" * bool(stated)
    notes = [f"{shown(path)}: read in {named[code]}, "
             + ("as its columns say" if code in stated else f"where its points lie on the DEM{others}")]
    return there, notes if code != asked or (stated and code not in stated) else [], code in stated


def _without_crs(xy: np.ndarray, path: Path, where: str, grid: Grid) -> tuple[np.ndarray, list[str]]:
    """Points whose CRS nothing states: they are in the grid's. Beside a DEM that was warped they may also be in
    the DEM's own; then a note says which of the two puts half of them on the grid. Raises InputError where both do, at
    different places."""
    if not grid.warped_from:
        return xy, []
    own, of_dem = crs_name(grid.crs), crs_name(grid.warped_from)
    try:
        moved = transform(xy, grid.warped_from, grid, "")
    except RuntimeError:  # no place of that CRS
        moved = np.full_like(xy, np.nan)
    apart = float(np.median(np.hypot(*(moved - xy).T)))
    here, there = share_on(xy, grid) >= 0.5, share_on(moved, grid) >= 0.5
    if here and there and apart > grid.cell:
        raise InputError(f"{where}: expected the CRS of X and Y, found none: {own} and {of_dem}, the DEM's, both put "
                         f"them on the DEM, {apart:.0f} m apart; say which: |epsg=<code> behind the file")
    name, place = (of_dem, moved) if there and not here else (own, xy)
    return place, [f"{shown(path)}: names no CRS, taken for {name} (POINTS_EPSG)"]


def share_on(xy: np.ndarray, grid: Grid) -> float:
    """The share of points (points, 2) that lie on the grid."""
    *_, inside = locate(grid.geotransform, (grid.rows, grid.cols), np.where(np.isfinite(xy), xy, -1e15))
    return float(inside.mean())


def swapped_metres(xy: np.ndarray, grid: Grid) -> str:
    """What to do about X and Y (points, 2) that lie on the grid only if they are swapped; "" for others."""
    on, swapped = share_on(xy, grid), share_on(xy[:, ::-1], grid)
    return "X and Y seem to be swapped: exchange the names of both columns" * (swapped > (0.5 if on else 0))


def swapped_degrees(xy: np.ndarray, grid: Grid) -> str:
    """What to do about longitudes and latitudes (points, 2), none of them on the grid, of which some lie there if they
    are swapped; "" where none do."""
    with contextlib.suppress(RuntimeError):  # no place on the earth
        if share_on(transform(xy[:, ::-1], 4326, grid, ""), grid):
            return (f"longitude and latitude seem to be swapped ({xy[:, 0].min():.5g} to {xy[:, 0].max():.5g} is the "
                    "latitude): exchange the names of both columns, or export longitude first")
    return ""


def remedy_off_grid(xy: np.ndarray, grid: Grid, source: str = "") -> str:
    """What to do about points (points, 2) most of which lie off the grid, by what would put most of them there; ""
    where nothing is found that would. The CRS tried: degrees, the CRS of Europe and of web maps, and UTM zones around.

    source  the CRS (WKT) that their file states, from which they were transformed; "": they are as in the file
    """
    xy, (west, south, east, north) = xy[::max(1, len(xy) // 1000)], grid.bounds
    if swapped := swapped_metres(xy, grid):
        return swapped
    if share_on(xy * 1000, grid) > 0.5:
        return "they look like kilometres: write metres"
    with contextlib.suppress(RuntimeError):  # no place of that CRS
        if not share_on(xy, grid) and (swapped := swapped_degrees(moved(xy, grid.crs, crs_of(4326)), grid)):
            return swapped
    own = osr.SpatialReference(wkt=grid.crs).GetAuthorityCode(None)
    xy = moved(xy, grid.crs, source) if source else xy
    zone = utm_zone((west + east) / 2, (south + north) / 2, grid.crs)
    first = zone // 100 * 100 + 1
    for code in (*[int(own)] * bool(source and own), 4326, 3035, 3857, zone,
                 *((zone + step - first) % 60 + first for step in (-1, 1))):
        with contextlib.suppress(RuntimeError):
            if share_on(transform(xy, code, grid, ""), grid) > 0.5:
                return f"in EPSG:{code} they lie on it: if it is right, |epsg={code} behind the file, or a column epsg"
    return ""
