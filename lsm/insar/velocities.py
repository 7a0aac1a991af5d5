"""InSAR points as people have them: one reader for tables and layers, one unit, one sign.

Everywhere in this project a velocity is in mm/yr along the line of sight, positive towards the satellite and negative
away from it. The factor DV is this number. A source that counts the other way is turned here and nowhere else.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lsm.inputs.bands import gaps_of
from lsm.inputs.crs import crs_name
from lsm.inputs.rasters import Grid, locate
from lsm.inputs.samples import is_stored_zero
from lsm.inputs.tables.text_tables import Table, plain
from lsm.insar.insar_files import RASTERS, WHAT, layer_table, raster_table
from lsm.region.points.placed_points import dropped, is_egms, numbers_of, points_of, remedy_off_grid
from lsm.run.paths import shown
from lsm.run.settings import InputError, counted
from lsm.sources.files import ANGLES, File
from lsm.sources.raster_files import is_raster

DIRECTIONS = ("towards", "away")  # what a source may count as positive: towards the satellite, away from it
TO_MM = {"mm/yr": 1.0, "cm/yr": 10.0, "m/yr": 1000.0}
SLOWEST = 0.5      # mm/yr: 99 % of real points are not all slower; noise alone is faster
FASTEST = 500.0    # mm/yr: half of real points are not faster; a satellite cannot follow such an area
MOST = 0.9         # share of angles that tell their unit
WIDEST = 100       # times the median: points faster than that tell nothing of the unit of the others
ASIDE = (15, 60)   # degrees: how far aside radars look
FASTEST_ONE = 10_000.0  # mm/yr: no single point of a landslide is faster, as far as a satellite can follow it
OFF_VERTICAL = "off_vertical"  # the column of the incidence in tables of this project where no radar looks: level 3

TRACK_COLUMNS = ("pass", "orbit", "orbitdirection", "direction", "flightdirection", "track", "geometry", "ascdesc")
# Names of a column as `plain` compares them, without a unit behind them; temporal_coherence, track_angle,
# incidence_angle, mean_velocity and mean_velocity_std are the names of the European Ground Motion Service.
COLUMNS = {
    "velocity": ("velocity", "v_los", "los_velocity", "mean_velocity", "velocity_los", "vel", "vel_los", "los_vel",
                 "los", "v_mean", "mean_vel", "v", "dv", "linear_velocity", "rate", "velocidad", "vitesse", "velocità",
                 "velocita", "geschwindigkeit"),
    "coherence": ("coherence", "temporal_coherence", "coh", "temp_coh", "gamma"),
    "heading": ("heading", "track_angle", "heading_angle", "head"),
    "incidence": ("incidence", "incidence_angle", "inc_angle", "inc", "incidence_deg", OFF_VERTICAL),
    "error": ("velocity_error", "velocity_std", "mean_velocity_std", "velocity_stdev", "velocity_sd", "velocity_sigma",
              "velocity_uncertainty", "vel_std", "vel_sd", "vel_stdev", "vel_err", "vel_error", "vel_sigma", "v_std",
              "v_stdev", "v_sd", "v_err", "v_error", "v_sigma", "std_vel", "std_velocity", "sigma_v", "sigma_vel",
              "std", "stdev", "stddev", "sd", "sigma", "error", "uncertainty"),
}
LIMITS = {  # least value, largest value, both in words
    "velocity": (-np.inf, np.inf, "a number"),
    "coherence": (0, 1, "a coherence from 0 to 1"),
    "heading": (-360, 360, "a heading from -360 to 360 degrees, clockwise from north"),
    "incidence": (0, 90, "an incidence from 0 to 90 degrees off the vertical"),
    "error": (0, np.inf, "a velocity error of 0 mm/yr or more"),
}
# Level 3 of the European Ground Motion Service: the letter in a file's name, EGMS_L3_E43N24_100km_U_2018_2022_1.csv,
# what its velocity is along, and the heading and incidence of a satellite that looks right and would see just this.
_LEVEL_3 = re.compile(r"egms_?l3.*_([eu])(?![a-z0-9])", re.I)
_ALONG = {"u": ("the vertical, positive upwards", 0.0, 0.0), "e": ("east, positive eastwards", 180.0, 90.0)}
# a name with its unit: "vel (mm/yr)", "velocity_cm_yr", "vitesse_mm_an"
_UNIT = re.compile(r"(.*?)[\s_\[(]+(mm|cm|m)[\s_]*(?:/|per|p(?=y))?[\s_]*"
                   r"(?:yr|years?|y|a|año|ano|an|anno|jahr)(?:\^?-1)?[\s\])]*")
_WITH_UNIT = f"velocity with its unit, like 'velocity (mm/yr)' ({', '.join(TO_MM)}; convert others)"


@dataclass(frozen=True)
class InsarPoints:
    """InSAR points: xy (points, 2) m in the CRS of the area; velocity (points,) mm/yr, positive towards the satellite.

    Where the source gives them, else None, (points,) each: coherence; heading (degrees clockwise from north, of the
    flight); incidence (degrees off the vertical); error (mm/yr, one standard deviation of the velocity); file, the
    number of the file, of several. raster: of points that stand for its cells, its geotransform and CRS (WKT).
    """

    xy: np.ndarray
    velocity: np.ndarray
    coherence: np.ndarray | None = None
    heading: np.ndarray | None = None
    incidence: np.ndarray | None = None
    error: np.ndarray | None = None
    file: np.ndarray | None = None
    raster: tuple[tuple, str] | None = None

    def table(self) -> pd.DataFrame:
        """The points under the names that `read_insar` finds again."""
        columns = {"X": self.xy[:, 0], "Y": self.xy[:, 1]} | {n[0]: getattr(self, key) for key, n in COLUMNS.items()}
        if self.incidence is not None and np.isin(self.incidence, (0, 90)).any():  # level 3; no radar looks there
            columns = {OFF_VERTICAL if name == "incidence" else name: values for name, values in columns.items()}
        slow = np.quantile(np.abs(self.velocity), 0.99) < SLOWEST  # then the unit must be read with it
        columns = {f"{name} (mm/yr)" if slow and name == COLUMNS["velocity"][0] else name: values
                   for name, values in columns.items()}
        return pd.DataFrame({name: values for name, values in columns.items() if values is not None})


def read_insar(name: str | Path, grid: Grid, epsg: int = 0, unit: str = "mm/yr", positive: str = "towards",
               ) -> tuple[InsarPoints, list[str]]:
    """InSAR points of a table, a point layer or a raster of velocities, in the CRS of the grid, and notes.

    name      a file; "file|layername=points" where it has several layers, "file|epsg=3035" for the CRS of a table
    epsg      of the coordinates of a table; 0: EPSG:3035 for tables of the European Ground Motion Service, WGS 84 where
              the columns are longitude and latitude, else the grid's
    unit      of the source's velocities and their errors, one of TO_MM, where the source does not state it
    positive  one of DIRECTIONS: what the source counts as positive
    Points without a value are dropped and counted. Raises InputError.
    """
    file, stated, raster = File.of(name, WHAT), "", None
    path = file.path
    if file.is_table:
        table, notes = points_of(name, WHAT, grid, epsg, key_of)
        header = Table(path, WHAT, file.member).header
    elif Path(file.opened).suffix.lower() in RASTERS or is_raster(name, WHAT):
        table, raster, stated, notes = raster_table(name, grid, key_of)
        header = list(table)
    else:
        table, header, notes = layer_table(name, grid, key_of)
    columns = {key: _first(table, key) for key in COLUMNS}
    if columns["velocity"] is None:
        found = ", ".join(header[:6]) + ", ..." * (len(header) > 6)
        raise InputError(f"{shown(path)}: header: expected a column named one of {', '.join(COLUMNS['velocity'][:4])}, "
                         f"found {found}; call the right one {_WITH_UNIT}")
    others = [name for name in table if key_of(name) == "velocity" and name != columns["velocity"]]
    if others:
        notes.append(f"{shown(path)}: column {columns['velocity']!r} is the velocity; {', '.join(others)} not read")
    passes = [name for name in header if plain(name) in TRACK_COLUMNS]
    if passes and columns["heading"] is None:
        notes.append(f"{shown(path)}: column {passes[0]!r} is not read; to keep ascending and descending tracks apart "
                     "add columns heading (about -13 and 193 degrees) and incidence")
    values, gaps, lacking = {}, np.zeros(len(table), bool), []
    for key, column in columns.items():
        v = None if column is None else numbers_of(table[column], path)
        if v is None or (np.isnan(v).all() and key != "velocity"):
            continue
        marks, more = gaps_of(v, f"{shown(path)}: column {str(column)!r}", vary=key == "velocity")
        zero = (v == 0) & (key in ANGLES) & (columns["incidence"] != OFF_VERTICAL) & bool((v != 0).any())
        if zero.any():
            why = "as no satellite flies" if key == "heading" else "where no radar looks"
            more.append(f"{shown(path)}: column {str(column)!r}: exactly 0 at {counted(int(zero.sum()), 'point')}, "
                        f"{why}, is taken for a gap")
        notes += more
        v = np.where(marks | zero, np.nan, v)
        v = np.nan_to_num(v) if key == "error" else v  # 0: not known
        gaps |= np.isnan(v)
        lacking += [column] * bool(np.isnan(v).any())
        values[key] = pd.Series(v, table.index, name=column)
    kept, more = dropped(gaps, f"{shown(path)}: {WHAT}", f"have no value of {', '.join(map(str, lacking))}")
    notes += more
    values = {key: column[kept] for key, column in values.items()}
    notes += _in_degrees(values, path)
    values = {key: _within_limits(column, key, path) for key, column in values.items()}
    told = bool(split_unit(columns["velocity"])[1] or stated)
    unit, more = _unit_of(columns["velocity"], stated, unit, path)
    notes += more
    own, _ = _unit_of(columns["error"] or "", "", unit, path)
    values |= {key: values[key] * TO_MM[of] for key, of in (("velocity", unit), ("error", own)) if key in values}
    velocity = values.pop("velocity")
    notes += _level_3(file, header, values, len(velocity))
    notes += check_unit(velocity, path, unit, told)
    xy = table[["X", "Y"]].to_numpy()[kept]
    *_, inside = locate(grid.geotransform, (grid.rows, grid.cols), xy)
    if inside.sum() * 2 < len(xy):
        (west, south), (east, north) = xy.min(axis=0), xy.max(axis=0)
        remedy = remedy_off_grid(xy, grid) or (f"crop them to the area, or, if not in {crs_name(grid.crs)}, say their "
                                               "CRS: |epsg=<code> behind the file, or a column epsg")
        raise InputError(f"{shown(path)}: expected points within {grid.extent}, found {(~inside).sum()} of {len(xy)} "
                         f"outside (X {west:.0f} to {east:.0f}, Y {south:.0f} to {north:.0f}); {remedy}")
    return InsarPoints(xy, towards_satellite(velocity, positive), **values, raster=raster), notes


def split_unit(name: str) -> tuple[str, str]:
    """The name of a column without its unit, as `plain` has it, and the unit, one of TO_MM, or ""."""
    text = str(name).strip().lower()
    found = _UNIT.fullmatch(text)
    return (plain(found[1]), f"{found[2]}/yr") if found and found[1] else (plain(text), "")


def key_of(name: str) -> str | None:
    """What a column of this name holds, one of COLUMNS; None for any other."""
    for text in (plain(name), split_unit(name)[0]):
        for key, names in COLUMNS.items():
            if text in map(plain, names):
                return key
    cut = str(name).lower()  # a Shapefile keeps ten characters of a name
    return next((key for key, names in COLUMNS.items()
                 if len(cut) == 10 and any(n.startswith(cut) for n in names)), None)


def _first(table: pd.DataFrame, key: str):
    """The name of the column that holds `key`, the first of COLUMNS where there are several; None without one."""
    names = [plain(name) for name in COLUMNS[key]]
    found = [name for name in table if key_of(name) == key]
    rank = {name: min((names.index(t) for t in (plain(name), split_unit(name)[0]) if t in names), default=len(names))
            for name in found}
    return min(found, key=rank.get) if found else None


def _unit_of(column: str, stated: str, unit: str, path: Path) -> tuple[str, list[str]]:
    """The unit of a column: what its name says, else what its file states, else `unit`; and a note where it is not
    `unit`. Raises InputError for a unit that is no velocity, and for two units."""
    named, (beside, of_file) = split_unit(column)[1], split_unit(f"v {stated}")
    of_file *= beside == "v"  # a number or a word beside a unit may change it
    if stated and (not of_file or named not in ("", of_file)):
        more = f" and, in a name, {named}; correct one" if of_file else "; export velocities along the line of sight"
        raise InputError(f"{shown(path)}: unit: expected one of {', '.join(TO_MM)}, found {stated[:40]!r}{more}")
    said = named or of_file or unit
    return said, [f"{shown(path)}: velocities are in {said}, as the file says"] * (said != unit)


def _in_degrees(values: dict[str, pd.Series], path: Path) -> list[str]:
    """Turns angles in radians to degrees, in place; notes. Raises InputError for an incidence or a heading that no
    radar has."""
    v, notes = values.get("incidence"), []
    if v is not None and v.name == OFF_VERTICAL:
        return []
    if v is not None and v.quantile(MOST) <= np.pi / 2 and v.median() > 0:
        found = f"{v.min():.3g} to {v.max():.3g}"
        for key in ("incidence", "heading"):
            if key in values and values[key].abs().quantile(MOST) <= 2 * np.pi:
                values[key] = np.degrees(values[key]).rename(values[key].name)
                notes.append(f"{shown(path)}: column {values[key].name!r} is in radians; read as degrees")
        v = values["incidence"]
    elif v is not None:
        found = f"{v.min():.3g} to {v.max():.3g} degrees"
    way = values.get("heading")
    if way is not None and way.abs().quantile(MOST) <= 2 * np.pi:  # satellites fly 8 degrees and more off the north
        raise InputError(f"{shown(path)}: column {way.name!r}: expected degrees clockwise from north, about -13 and "
                         f"193, found {way.min():.3g} to {way.max():.3g}; if radians, multiply them by 57.2958, else "
                         "leave the column out")
    if v is None:
        return notes
    if not ASIDE[0] <= v.median() <= ASIDE[1] and v.between(0, 90).all():  # else each value is looked at
        raise InputError(f"{shown(path)}: column {v.name!r}: expected the angle off the vertical, {ASIDE[0]} to "
                         f"{ASIDE[1]} degrees for radars, found {found}; convert it, or leave it out and give GEOMETRY")
    return notes


def _level_3(file: File, header: list[str], values: dict[str, np.ndarray], points: int) -> list[str]:
    """Gives points of level 3 of the European Ground Motion Service the geometry of their motion, by the file's name,
    in place; a note on what it is."""
    path = file.path
    named = _LEVEL_3.search(path.name) or _LEVEL_3.search(Path(file.opened).name)
    if {"heading", "incidence"} & set(values) or not (named or is_egms(header)):
        return []
    if not named:
        return [f"{shown(path)}: no heading and incidence, so it may be of level 3 (vertical or eastward motion); its "
                "name as delivered, EGMS_L3_..._U_... or _E_..., would say which"]
    along, heading, incidence = _ALONG[named[1].lower()]
    values |= {"heading": np.full(points, heading), "incidence": np.full(points, incidence)}
    return [f"{shown(path)}: of level 3 by its name; DV is the velocity along {along}"]


def _within_limits(column: pd.Series, key: str, path: Path) -> np.ndarray:
    """A column as an array (points,). Raises InputError where a value is beyond LIMITS."""
    values, (low, high, expected) = column.to_numpy(), LIMITS[key]
    bad = (values < low) | (values > high)
    if bad.any():
        row = int(np.argmax(bad))
        more = f" ({bad.sum()} such points)" if bad.sum() > 1 else ""
        remedy = "correct or remove it" if bad.mean() < 0.5 else (
            f"convert the column{' (percent: divide by 100)' * (key == 'coherence')}, or drop it")
        raise InputError(f"{shown(path)}: point {column.index[row] + 1}, column {column.name!r}: expected {expected}, "
                         f"found {values[row]:g}{more}; {remedy}")
    return values


def check_unit(velocity: np.ndarray, path: Path, unit: str = "mm/yr", told: bool = False) -> list[str]:
    """Refuses velocities (points,), mm/yr out of `unit`, that are nearly all too slow or half too fast to be real.

    told  whether the file itself names the unit: then slow ones are slow, which the line returned says. Raises
          InputError.
    """
    speed, notes = np.abs(velocity), []
    middle = np.quantile(speed, 0.5)
    usual = speed[speed <= WIDEST * np.median(speed[speed > 0])] if speed.any() else speed
    most = np.quantile(usual, 0.99)
    if most < SLOWEST and told:
        notes.append(f"{shown(path)}: 99 % of the velocities are below {most:.3g} mm/yr, in {unit} as the file says")
    elif most < SLOWEST or middle > FASTEST:
        found = f"99 % below {most:.3g}" if most < SLOWEST else f"half of them above {middle:.3g}"
        named = f"; if they are so slow, name the unit: column 'velocity ({unit})', or the band's" * int(most < SLOWEST)
        raise InputError(f"{shown(path)}: velocities: expected {unit}, found {found} mm/yr; give INSAR_UNIT, "
                         f"or convert them to mm/yr{named}")
    if (wild := np.abs(velocity) > FASTEST_ONE).any():
        raise InputError(f"{shown(path)}: velocities: expected {FASTEST_ONE:,.0f} mm/yr at most, found "
                         f"{velocity[wild][0]:g} at {counted(int(wild.sum()), 'point')}; correct or remove them")
    return notes


def towards_satellite(velocity: np.ndarray, positive: str) -> np.ndarray:
    """Velocities in this project's sign, of a source that counts `positive` (one of DIRECTIONS) as positive."""
    return velocity if positive == "towards" else -velocity


def negated(number: str) -> str:
    """A number in writing with its sign turned and every digit kept; a stored zero (not measured) stays."""
    number = number.strip()
    if not float(number) or is_stored_zero(float(number)):
        return number
    return number[1:] if number.startswith("-") else "-" + number.removeprefix("+")
