"""InSAR points: one sign convention, the velocity along the slope, spacing, and what becomes of each point.

Sign: everywhere in this project a velocity is in mm/yr along the line of sight and positive towards the satellite, so
negative = away from it. DV, the factor, is that number. A source that counts the other way is turned when it is read
(`towards_satellite`, `negated`) and nowhere else.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal, ogr
from scipy.spatial import cKDTree

from lsm.inputs.rasters import reason
from lsm.inputs.samples import STORED_ZERO
from lsm.run.paths import shown
from lsm.run.settings import InputError

gdal.UseExceptions()

DIRECTIONS = ("towards", "away")  # what a source may count as positive: towards the satellite, away from it
LOOKS = {"right": 1, "left": -1}  # the side of its track a satellite looks to; nearly all look right
SUSPICIOUS = 0.1                  # mm/yr: where no point reaches this, the unit is taken for m/yr
CHUNK = 100_000                   # rows of a table read at once

# Names of a column, blanks and case aside; the second group are those of the European Ground Motion Service.
COLUMNS = {
    "x": ("x", "easting"),
    "y": ("y", "northing"),
    "velocity": ("velocity", "v_los", "los_velocity", "mean_velocity"),
    "coherence": ("coherence", "temporal_coherence"),
    "heading": ("heading", "track_angle"),
    "incidence": ("incidence", "incidence_angle"),
    "error": ("velocity_error", "velocity_std", "mean_velocity_std"),
}
LIMITS = {  # what a value of these may be: least, most, in words
    "coherence": (0, 1, "a coherence from 0 to 1"),
    "heading": (-360, 360, "a heading from -360 to 360 degrees, clockwise from north"),
    "incidence": (0, 90, "an incidence from 0 to 90 degrees off the vertical"),
    "error": (0, np.inf, "a velocity error of 0 mm/yr or more"),
}
NEEDED = ("x", "y", "velocity")
WEAK = "weak label"  # the fate of a point that no rule has dropped


@dataclass(frozen=True)
class Points:
    """InSAR points: xy (points, 2) m; velocity (points,) mm/yr, positive towards the satellite; and where the source
    gives them coherence, heading (degrees clockwise from north, of the flight), incidence (degrees off the vertical)
    and error (mm/yr, one standard deviation of the velocity), each (points,), else None."""

    xy: np.ndarray
    velocity: np.ndarray
    coherence: np.ndarray | None = None
    heading: np.ndarray | None = None
    incidence: np.ndarray | None = None
    error: np.ndarray | None = None


def column_of(columns, names: tuple[str, ...]):
    """The first of `names` among `columns`, blanks and case aside; None where there is none."""
    known = {}
    for column in columns:
        known.setdefault(str(column).strip().lower(), column)
    return next((known[name.lower()] for name in names if name.lower() in known), None)


def read_points(path: Path, positive: str, crs: str) -> Points:
    """Reads a table (.csv) or a point layer (.gpkg) of InSAR velocities.

    positive  one of DIRECTIONS: what the source counts as positive
    crs       of the study area, as WKT; a layer in another one is reprojected, a table must be in it
    Raises InputError.
    """
    if path.suffix != ".gpkg":
        return _points_of(path, path, "line", 2, positive)
    with tempfile.TemporaryDirectory() as folder:
        return _points_of(_layer_as_csv(path, crs, Path(folder) / "points.csv"), path, "point", 1, positive)


def _points_of(source: Path, path: Path, unit: str, first: int, positive: str) -> Points:
    """The points of the csv file `source`; messages name `path`, whose first row is `unit` number `first`."""
    wanted = {name for names in COLUMNS.values() for name in names}
    try:
        # Products carry a column for every date: chunk by chunk, only what is used stays in memory.
        chunks = [chunk[[name for name in chunk if str(name).strip().lower() in wanted]]
                  for chunk in pd.read_csv(source, encoding="utf-8-sig", chunksize=CHUNK)]
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{shown(path)}: expected a comma-separated UTF-8 table, found: {str(error).splitlines()[0]}; "
                         "write it again") from None
    table = pd.concat(chunks, ignore_index=True)
    if not isinstance(chunks[0].index, pd.RangeIndex):  # pandas takes what its header does not name for an index
        raise InputError(f"{shown(path)}: {unit} {first}: expected a value a column, found more; if its decimals are "
                         "commas, write points")
    values = {}
    for key, names in COLUMNS.items():
        column = column_of(table.columns, names)
        if column is None:
            if key in NEEDED:
                raise InputError(f"{shown(path)}: header: expected a column named one of {', '.join(names)}, found "
                                 "none; rename the one that holds it")
            continue
        v = pd.to_numeric(table[column], errors="coerce").to_numpy(float)
        low, high, expected = LIMITS.get(key, (-np.inf, np.inf, "a number"))
        bad = ~np.isfinite(v) | (v < low) | (v > high)
        if bad.any():
            row = int(np.argmax(bad))
            more = f" ({bad.sum()} such points)" if bad.sum() > 1 else ""
            raise InputError(f"{shown(path)}: {unit} {first + row}, column {column!r}: expected {expected}, found "
                             f"{str(table[column].iloc[row])!r}{more}; correct or remove it")
        values[key] = v
    if not len(table):
        raise InputError(f"{shown(path)}: expected one row an InSAR point, found none; fill it or remove it")
    check_unit(values["velocity"], path)
    xy = np.column_stack([values.pop("x"), values.pop("y")])  # (points, 2)
    return Points(xy, towards_satellite(values.pop("velocity"), positive), **values)


def _layer_as_csv(path: Path, crs: str, target: Path) -> Path:
    """Writes the one point layer of a GeoPackage as csv, X and Y first, in `crs` where the layer names its own."""
    try:
        dataset = gdal.OpenEx(str(path), gdal.OF_VECTOR)
    except RuntimeError:
        raise InputError(f"{shown(path)}: expected a GeoPackage, found none; write it again") from None
    if dataset.GetLayerCount() != 1:
        raise InputError(f"{shown(path)}: expected one layer, found {dataset.GetLayerCount()}; keep that of the InSAR "
                         "points")
    layer = dataset.GetLayer(0)
    kind = layer.GetGeomType()
    if ogr.GT_Flatten(kind) != ogr.wkbPoint:
        raise InputError(f"{shown(path)}: expected a layer of points, found {ogr.GeometryTypeToName(kind)}; turn each "
                         "into a point")
    own = layer.GetSpatialRef()
    stated = own is not None and not own.GetName().startswith("Undefined")  # what a GeoPackage has for none
    projection = {"dstSRS": crs, "reproject": True} if stated else {}
    try:
        gdal.VectorTranslate(str(target), dataset, format="CSV", layerCreationOptions=["GEOMETRY=AS_XY"], **projection)
    except RuntimeError as error:
        raise InputError(f"{shown(path)}: expected points that transform to the CRS of composite.tif, found: "
                         f"{reason(error, path)}; check its CRS, or export it again") from None
    return target


def towards_satellite(velocity: np.ndarray, positive: str) -> np.ndarray:
    """Velocities in this project's sign, of a source that counts `positive` (one of DIRECTIONS) as positive."""
    return velocity if positive == "towards" else -velocity


def negated(number: str) -> str:
    """A number in writing with its sign turned, every digit as it was; a stored zero (not measured) stays."""
    number = number.strip()
    if float(number) in (0, STORED_ZERO):
        return number
    return number[1:] if number.startswith("-") else "-" + number.removeprefix("+")


def check_unit(velocity: np.ndarray, path: Path) -> None:
    """Refuses velocities that look like m/yr: none reaches SUSPICIOUS. Raises InputError."""
    fastest = np.abs(velocity).max()
    if fastest < SUSPICIOUS:
        raise InputError(f"{shown(path)}: velocities: expected mm/yr, found none above {fastest:.3g}; if they are in "
                         "m/yr, multiply them by 1000")


def slope_cosine(slope: np.ndarray, aspect: np.ndarray, heading: np.ndarray, incidence: np.ndarray,
                 look: str = "right") -> np.ndarray:
    """C, the cosine between steepest descent and the way to the satellite: V_LOS = C V_slope.

    slope, aspect       degrees; aspect clockwise from north, the way down
    heading, incidence  degrees: flight direction clockwise from north (about -13 ascending, 193 descending), and the
                        angle of the line of sight off the vertical at the point
    look                one of LOOKS

    With s, a, h, i for the four and components east, north, up, the unit vector down the slope is
        d = (cos s sin a, cos s cos a, -sin s).
    A satellite that looks right stands, seen from the ground, at azimuth h - 90, at angle i off the vertical:
        l = (sin i sin(h - 90), sin i cos(h - 90), cos i) = (-sin i cos h, sin i sin h, cos i),
    and C = d . l. A left-looking one stands at h + 90, which turns the sign of the first two components. A point moving
    at V down the slope comes nearer to the satellite at V C, so V_slope = V_LOS / C is positive downhill. Ciampalini
    et al. (2016), Remote Sensing of Environment 184, use this projection for landslide inventories.
    """
    s, a, h, i = (np.radians(v) for v in (slope, aspect, heading, incidence))
    sideways = LOOKS[look] * np.sin(i) * (np.cos(a) * np.sin(h) - np.sin(a) * np.cos(h))
    return np.cos(s) * sideways - np.sin(s) * np.cos(i)


def slope_velocity(velocity: np.ndarray, cosine: np.ndarray, floor: float) -> np.ndarray:
    """V_slope = V_LOS / C in mm/yr, positive down the slope; |C| counts as at least `floor`, its sign kept.

    Where the line of sight is nearly at right angles to the slope, dividing by C would turn noise into velocity, hence
    the bound (0.3 in Ciampalini et al. 2016).
    """
    return velocity / np.copysign(np.maximum(np.abs(cosine), floor), cosine)


def thin(xy: np.ndarray, strength: np.ndarray, spacing: float) -> np.ndarray:
    """Which points (points,) to keep so that no two kept ones are nearer than `spacing` m.

    The strongest first, of equals the first in the table; each drops the weaker ones nearer than `spacing`.
    """
    tree, keep, open_ = cKDTree(xy), np.zeros(len(xy), bool), np.ones(len(xy), bool)
    for point in np.argsort(-strength, kind="stable"):
        if open_[point]:
            keep[point] = True
            open_[tree.query_ball_point(xy[point], np.nextafter(spacing, 0))] = False
    return keep


def is_near(xy: np.ndarray, others: np.ndarray, distance: float) -> np.ndarray:
    """Which points (points,) lie nearer than `distance` m to any of `others` (others, 2)."""
    if not len(xy) or not len(others):
        return np.zeros(len(xy), bool)
    return cKDTree(others).query(xy, distance_upper_bound=distance)[0] < distance


class Sieve:
    """Points on their way through the rules: `fate` (points,) of each, WEAK or the rule that dropped it; `rows` (rule,
    dropped, kept of all points after it) of each rule so far."""

    def __init__(self, points: int):
        self.fate = np.full(points, WEAK, dtype=object)
        self.rows = [("InSAR points", 0, points)]

    @property
    def left(self) -> np.ndarray:
        """Numbers (left,) of the points that no rule has dropped yet, ascending."""
        return np.flatnonzero(self.fate == WEAK)

    def drop(self, rule: str, bad: np.ndarray) -> None:
        """Drops those of the points still left that are `bad`, (points,) bool of all points."""
        bad = bad & (self.fate == WEAK)
        self.fate[bad] = rule
        self.rows.append((rule, int(bad.sum()), len(self.left)))

    def table(self) -> pd.DataFrame:
        """The rows under their names: rule, dropped, kept."""
        return pd.DataFrame(self.rows, columns=["rule", "dropped", "kept"])
