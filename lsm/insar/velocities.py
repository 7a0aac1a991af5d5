"""InSAR points as people have them: one reader for tables and layers, one unit, one sign.

Everywhere in this project a velocity is in mm/yr along the line of sight, positive towards the satellite and negative
away from it. The factor DV is this number. A source that counts the other way is turned here and nowhere else.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal, ogr

from lsm.inputs.crs import crs_name
from lsm.inputs.layers import values_at
from lsm.inputs.rasters import Grid, known, locate
from lsm.inputs.samples import STORED_ZERO
from lsm.region.inventory import TABLES, mean_by_cell, placed, write_cells
from lsm.run.paths import shown
from lsm.run.settings import InputError
from lsm.sources.vector_files import open_vector

gdal.UseExceptions()

DIRECTIONS = ("towards", "away")  # what a source may count as positive: towards the satellite, away from it
TO_MM = {"mm/yr": 1.0, "cm/yr": 10.0, "m/yr": 1000.0}
SLOWEST = 0.5    # mm/yr: 99 % of real points are not all slower; noise alone is faster
FASTEST = 500.0  # mm/yr: half of real points are not faster; a satellite cannot follow such an area
CHUNK = 100_000  # rows of a table read at once

# Names of a column, in any case; temporal_coherence, track_angle, incidence_angle, mean_velocity and mean_velocity_std
# are the names of the European Ground Motion Service.
COLUMNS = {
    "velocity": ("velocity", "v_los", "los_velocity", "mean_velocity", "vel", "dv"),
    "coherence": ("coherence", "temporal_coherence"),
    "heading": ("heading", "track_angle"),
    "incidence": ("incidence", "incidence_angle"),
    "error": ("velocity_error", "velocity_std", "mean_velocity_std"),
}
LIMITS = {  # least value, largest value, both in words
    "velocity": (-np.inf, np.inf, "a number"),
    "coherence": (0, 1, "a coherence from 0 to 1"),
    "heading": (-360, 360, "a heading from -360 to 360 degrees, clockwise from north"),
    "incidence": (0, 90, "an incidence from 0 to 90 degrees off the vertical"),
    "error": (0, np.inf, "a velocity error of 0 mm/yr or more"),
}
_PLACES = ("x", "y", "easting", "northing", "east", "north", "longitude", "latitude", "lon", "lat")
_USED = {*_PLACES, *(name for names in COLUMNS.values() for name in names)}


@dataclass(frozen=True)
class InsarPoints:
    """InSAR points: xy (points, 2) m in the CRS of the area; velocity (points,) mm/yr, positive towards the satellite.

    Where the source gives them, else None, (points,) each: coherence; heading (degrees clockwise from north, of the
    flight); incidence (degrees off the vertical); error (mm/yr, one standard deviation of the velocity).
    """

    xy: np.ndarray
    velocity: np.ndarray
    coherence: np.ndarray | None = None
    heading: np.ndarray | None = None
    incidence: np.ndarray | None = None
    error: np.ndarray | None = None

    def table(self) -> pd.DataFrame:
        """The points under the names that `read_insar` finds again."""
        columns = {"X": self.xy[:, 0], "Y": self.xy[:, 1]}
        columns |= {names[0]: getattr(self, key) for key, names in COLUMNS.items()}
        return pd.DataFrame({name: values for name, values in columns.items() if values is not None})


def read_insar(name: str | Path, grid: Grid, epsg: int = 0, unit: str = "mm/yr", positive: str = "towards",
               ) -> tuple[InsarPoints, list[str]]:
    """InSAR points of a table (.csv, .txt) or a point layer, in the CRS of the grid, and notes.

    name      a file, or "file|layername=points" where the file has several layers
    epsg      of the coordinates of a table; 0: the grid's, or WGS 84 where the columns are longitude and latitude
    unit      of the source's velocities, one of TO_MM
    positive  one of DIRECTIONS: what the source counts as positive
    Raises InputError.
    """
    path, notes = Path(str(name).partition("|")[0]), []
    if path.suffix.lower() in TABLES:
        table, header, notes = _used_columns(path)
        table = placed(table, path, grid, epsg)
    else:
        table, header = _used_fields(name, grid)
    values = {}
    for key, names in COLUMNS.items():
        column = column_of(table.columns, names)
        if column is not None:
            values[key] = _within_limits(table[column], key, path)
        elif key == "velocity":
            found = ", ".join(header[:6]) + ", ..." * (len(header) > 6)
            raise InputError(f"{shown(path)}: header: expected a column named one of {', '.join(names)}, found "
                             f"{found}; rename the column that holds it")
    factor = TO_MM[unit]
    velocity = values.pop("velocity") * factor
    check_unit(velocity, path, unit)
    if "error" in values:
        values["error"] = values["error"] * factor
    xy = table[["X", "Y"]].to_numpy()
    *_, inside = locate(grid.geotransform, (grid.rows, grid.cols), xy)
    if inside.sum() * 2 < len(xy):
        (west, south), (east, north) = xy.min(axis=0), xy.max(axis=0)
        raise InputError(f"{shown(path)}: expected points within {grid.extent}, found {(~inside).sum()} of {len(xy)} "
                         f"outside (X {west:.0f} to {east:.0f}, Y {south:.0f} to {north:.0f}); are they in "
                         f"{crs_name(grid.crs)}? If so, crop them to the area")
    return InsarPoints(xy, towards_satellite(velocity, positive), **values), notes


def _used_columns(path: Path) -> tuple[pd.DataFrame, list[str], list[str]]:
    """The columns of a table that are used, its whole header, and notes.

    UTF-8 with or without BOM, else Latin-1; separated by commas, semicolons or tabs; decimal points, or decimal commas
    within a value. Products have a column for every date: only one chunk is in memory with all of them. Raises
    InputError.
    """
    with open(path, "rb") as file:
        first = next((line for line in file if line.strip()), b"").decode("utf-8-sig", "replace")
    if "\0" in first:
        raise InputError(f"{shown(path)}: expected a text table, found zero bytes (UTF-16 or binary); save it as CSV "
                         "in UTF-8")
    separator, notes = max(",;\t", key=first.count), []
    header = [name.strip() for name in next(csv.reader([first], delimiter=separator), [])]
    twice = next((name for name in header if name.lower() in _USED and header.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{shown(path)}: header: expected different names, found {twice!r} twice; rename one")
    for encoding in ("utf-8-sig", "latin-1"):
        try:
            chunks = [chunk[[column for column in chunk if str(column).strip().lower() in _USED]] for chunk in
                      pd.read_csv(path, sep=separator, encoding=encoding, chunksize=CHUNK)]
            break
        except UnicodeDecodeError:
            notes = [f"{shown(path)} is not UTF-8; read as Latin-1"]
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise InputError(f"{shown(path)}: expected a table with one separator, found: "
                             f"{str(error).splitlines()[0]}; correct the row, or export it again") from None
    table = pd.concat(chunks, ignore_index=True).rename(columns=lambda name: name.strip())
    if not isinstance(chunks[0].index, pd.RangeIndex):  # pandas takes values that the header does not name for an index
        raise InputError(f"{shown(path)}: point 1: expected {len(header)} columns as in the header, found more; "
                         "decimal commas? Write points, or separate columns by semicolons")
    if not len(table):
        raise InputError(f"{shown(path)}: expected one row an InSAR point, found none; fill it or remove it")
    for column in table:
        if not pd.api.types.is_numeric_dtype(table[column]):  # a comma within a value is a decimal comma
            table[column] = table[column].astype(str).str.replace(",", ".", regex=False)
    return table, header, notes


def _used_fields(name: str | Path, grid: Grid) -> tuple[pd.DataFrame, list[str]]:
    """The fields of a point layer that are used with X, Y in the CRS of the grid, and the names of all fields. Raises
    InputError."""
    dataset = open_vector(name, "InSAR points", grid)
    layer, rows = dataset.GetLayer(0), []
    definition = layer.GetLayerDefn()
    header = [definition.GetFieldDefn(i).GetName() for i in range(definition.GetFieldCount())]
    used = [i for i, field in enumerate(header) if field.lower() in _USED - {*_PLACES}]
    for number, feature in enumerate(layer, start=1):
        shape = feature.GetGeometryRef()
        if shape is None or shape.IsEmpty() or ogr.GT_Flatten(shape.GetGeometryType()) != ogr.wkbPoint:
            found = "none" if shape is None else shape.GetGeometryName().lower()
            raise InputError(f"{shown(Path(str(name).partition('|')[0]))}: InSAR points: feature {number}: expected a "
                             f"point, found {found}; turn each into a point, or remove it")
        rows.append([*(feature.GetField(i) for i in used), shape.GetX(), shape.GetY()])
    return pd.DataFrame(rows, columns=[*(header[i] for i in used), "X", "Y"]), header


def column_of(columns, names: tuple[str, ...]):
    """The first of `names` among `columns`, blanks and case aside; None where there is none."""
    known = {}
    for column in columns:
        known.setdefault(str(column).strip().lower(), column)
    return next((known[name.lower()] for name in names if name.lower() in known), None)


def _within_limits(column: pd.Series, key: str, path: Path) -> np.ndarray:
    """A column as numbers (points,). Raises InputError where one is no number or beyond LIMITS."""
    values, (low, high, expected) = pd.to_numeric(column, errors="coerce").to_numpy(float), LIMITS[key]
    bad = ~np.isfinite(values) | (values < low) | (values > high)
    if bad.any():
        row = int(np.argmax(bad))
        more = f" ({bad.sum()} such points)" if bad.sum() > 1 else ""
        raise InputError(f"{shown(path)}: point {row + 1}, column {column.name!r}: expected {expected}, found "
                         f"{str(column.iloc[row])!r}{more}; correct or remove it")
    return values


def check_unit(velocity: np.ndarray, path: Path, unit: str = "mm/yr") -> None:
    """Refuses velocities (points,), mm/yr out of `unit`, that are nearly all too slow or half too fast to be real.

    Raises InputError.
    """
    middle, most = np.quantile(np.abs(velocity), (0.5, 0.99))
    if most < SLOWEST or middle > FASTEST:
        found = f"99 % below {most:.3g}" if most < SLOWEST else f"half of them above {middle:.3g}"
        raise InputError(f"{shown(path)}: velocities: expected {unit}, found {found} mm/yr; give INSAR_UNIT to "
                         "prepare_region.py, or convert them to mm/yr")


def towards_satellite(velocity: np.ndarray, positive: str) -> np.ndarray:
    """Velocities in this project's sign, of a source that counts `positive` (one of DIRECTIONS) as positive."""
    return velocity if positive == "towards" else -velocity


def negated(number: str) -> str:
    """A number in writing with its sign turned and every digit kept; a stored zero (not measured) stays."""
    number = number.strip()
    if float(number) in (0, STORED_ZERO):
        return number
    return number[1:] if number.startswith("-") else "-" + number.removeprefix("+")


def write_velocity_layer(points: InsarPoints, grid: Grid, folder: Path) -> None:
    """Writes the layer DV into the folder: the mean velocity of each cell's points, 0 in cells without a point.

    Points where the layer slope holds no value are left out.
    """
    row, col, inside = locate(grid.geotransform, (grid.rows, grid.cols), points.xy)
    ground = gdal.Open(str(folder / "slope.tif"))
    inside[inside] = known(values_at(ground, row[inside], col[inside])[:, 0])
    row, col, velocity = mean_by_cell(row[inside], col[inside], points.velocity[inside], grid.cols)
    velocity = np.where(velocity == 0, 0.001, velocity)  # 0 would say that nothing was measured
    write_cells(folder / "DV.tif", grid, row, col, velocity)
