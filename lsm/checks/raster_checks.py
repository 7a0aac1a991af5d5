"""Checks of a region's rasters, and of its tables against them."""

import contextlib
from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import osr

from lsm.checks.finding import Finding, directions_apart, graded, relation
from lsm.inputs.bands import NODATA
from lsm.inputs.crs import SIDEWAYS, crs_name, ground_scale, off_north
from lsm.inputs.factor.definition import Factor
from lsm.inputs.grid_cells import Stack
from lsm.inputs.rasters import TERRAIN, Grid, Raster, centres, locate
from lsm.region.points.placed_points import swapped_metres
from lsm.run.paths import edit, shown
from lsm.sources.dem_oddities import tile_borders

STEEP, FLAT = 55, 0.5  # degrees: no mountains of cells of metres are steeper on the median; no landslides where flatter


def of_composite(raster: Raster, file: str) -> list[Finding]:
    """CRS and grid of composite.tif, and whether its slope band is in degrees: compared with the slope of its DEM."""
    findings = [Finding("CRS", file, "ok", "a projected one in metres, north up")]
    _, width, _, _, _, height = raster.geotransform
    if abs(width + height) > 1e-6 * width:
        findings.append(Finding("grid", file, "warning", f"cells of {width:.2f} x {-height:.2f} m are not square",
                                "distances in cells differ by direction; warp it (QGIS: Warp)"))
    share = raster.valid.mean()
    findings.append(graded("nodata", file, "ok" if share > 0.05 else "warning", f"{share:.1%} of the cells are valid",
                           "check the declared nodata value, or crop the raster"))
    findings += _scale_and_north(raster, file)
    dem, aspect, _, slope = raster.bands
    south, east = np.gradient(np.where(raster.valid, dem, np.nan), -height, width)
    tangent = np.hypot(south, east)
    if np.isfinite(tangent).any():
        findings.append(_steepness(np.degrees(np.arctan(tangent[np.isfinite(tangent)])), file))
    findings += [Finding("terrain", file, "warning", *line.split("; ", 1))
                 for line in tile_borders(np.where(raster.valid, dem, NODATA))]
    inland = np.isfinite(tangent) & (tangent > 0)
    inland &= tangent > min(0.05, np.median(tangent[inland])) if inland.any() else False  # gentle ground too
    if inland.any():
        ratio = float(np.median(slope[inland] / np.degrees(np.arctan(tangent[inland]))))
        findings.append(_unit_of_slope(ratio, float(np.quantile(slope[raster.valid], 0.999)), file, "its band slope"))
        way = np.degrees(np.arctan2(-east, south)) % 360  # downhill, clockwise from north
        seen = inland & (aspect >= 0)
        if seen.any():
            findings.append(_way_of_aspect(aspect[seen], way[seen], file))
    return findings


def _steepness(slope: np.ndarray, file: str) -> Finding:
    """Whether the slopes (cells,), degrees, of a DEM's own heights can be slopes of ground in metres."""
    middle, most = np.quantile(slope, (0.5, 0.99))
    odd = ""
    if middle > STEEP or most < FLAT:
        odd = f": half is steeper than {STEEP}" if middle > STEEP else f": nearly all is flatter than {FLAT} degrees"
    found = f"the heights give slopes of {middle:.3g} degrees (median), 99 % below {most:.3g}{odd}"
    return graded("units", file, "warning" if odd else "ok", found, "are the heights in metres? Feet, decimetres: "
                  "prepare_region.py DEM_UNIT=<unit>; heights scaled to 0 to 1 cannot be used")


def _scale_and_north(raster: Raster, file: str) -> list[Finding]:
    """Whether the metres of the map are metres on the ground, and its way up is north, from which aspects count."""
    west, south, east, north = Grid(*raster.valid.shape, raster.geotransform, raster.crs).bounds
    middle = (west + east) / 2, (south + north) / 2
    try:
        scale = ground_scale(osr.SpatialReference(wkt=raster.crs), *middle)
    except RuntimeError:
        return [Finding("CRS", file, "error", f"{crs_name(raster.crs)} has no place at {west:.0f}, {south:.0f}",
                        f"set the right CRS: {edit(file, '-a_srs EPSG:<code>')}")]
    findings = [graded("CRS", file, "ok" if abs(scale - 1) <= 0.01 else "error",
                       f"{scale:.4f} m of the map stand for 1 m on the ground",
                       "slopes and distances are wrong: warp to a CRS true to scale there, like UTM, and make the "
                       "tables again")]
    with contextlib.suppress(RuntimeError):  # of another body than the Earth
        turned = off_north(raster.crs, *middle)
        off = f"{turned:.0f} degrees off " * bool(turned)
        found = f"the way up on the map, from which aspects count, is {off}north"
        findings.append(graded("CRS", file, "warning" if abs(turned) > SIDEWAYS else "ok", found,
                               "warp to a CRS whose Y runs north, like UTM, and make the tables again"))
    return findings


def _way_of_aspect(aspect: np.ndarray, way: np.ndarray, file: str) -> Finding:
    """Whether aspects are degrees clockwise from north, downhill, as the DEM says; another convention is named."""
    found = f"its band aspect lies {directions_apart(aspect, way):.0f} degrees (median) from the way down of the DEM"
    others = {"counter-clockwise from east": (450 - aspect, "write (450 - aspect) % 360"),
              "counter-clockwise from north": (360 - aspect, "write (360 - aspect) % 360"),
              "clockwise from east": (aspect + 90, "write (aspect + 90) % 360"),
              "the way up": (aspect + 180, "write (aspect + 180) % 360"),
              "the way up, counter-clockwise from east": (270 - aspect, "write (270 - aspect) % 360"),
              "radians": (np.degrees(aspect), "write degrees: multiply radians by 57.2958")}
    if directions_apart(aspect, way) < 30:
        return Finding("aspect", file, "ok", found)
    apart, name, remedy = min((directions_apart(values % 360, way), name, remedy)
                              for name, (values, remedy) in others.items())
    if apart < 30:
        return Finding("aspect", file, "error", f"{found}: it reads as {name}",
                       f"{remedy}, clockwise from north, downhill")
    return Finding("aspect", file, "warning", found, "if it is not of another DEM, write degrees clockwise from north, "
                   "downhill")


def _unit_of_slope(ratio: float, largest: float, file: str, what: str) -> Finding:
    if 0.5 < ratio < 1.5:
        return Finding("units", file, "ok", f"{what} agrees with the slope of the DEM in degrees (ratio {ratio:.2f})")
    found = f"{what} is {ratio:.3f} times the slope of the DEM in degrees, largest {largest:.4g}: "
    if ratio < 0.05:
        return Finding("units", file, "error", found + "radians, or rise over run",
                       "write degrees: multiply radians by 57.2958; of rise over run take the arc tangent")
    if largest > 90:
        return Finding("units", file, "error", found + "percent", "write degrees: degrees(atan(slope / 100))")
    # Percent look like a slope averaged from finer cells: both are steeper than the slope of averaged heights.
    return Finding("units", file, "warning", found + "percent, or not of this DEM",
                   "if percent, write degrees(atan(slope / 100)); if it comes from a finer or coarser DEM, leave it")


def of_places(xy: pd.DataFrame, raster: Raster, file: str, is_grid: bool) -> list[Finding]:
    """Whether points lie on valid cells of composite.tif and, for a grid table, at the centres of its cells."""
    place = xy.dropna().to_numpy(float)
    row, col, inside = locate(raster.geotransform, raster.valid.shape, place)
    on_data = inside.copy()
    on_data[inside] = raster.valid[row[inside], col[inside]]
    off = 1 - on_data.mean() if len(place) else 1.0
    level = "error" if off > 0.5 else "warning" if off > 0.01 else "ok"
    remedy, grid = "", Grid(*raster.valid.shape, raster.geotransform, raster.crs)
    if off > 0.5 and len(place):
        degrees = "they look like degrees: transform them to the CRS of composite.tif"
        remedy = degrees if (np.abs(place) <= (180, 90)).all() else swapped_metres(place, grid)
    findings = [graded("alignment", file, level, f"{(~inside).sum()} points outside composite.tif, "
                       f"{(inside & ~on_data).sum()} on its nodata, of {len(place)}",
                       remedy or "bring both into one CRS; drop points without terrain")]
    if is_grid and len(place):
        x, y = centres(raster.geotransform, row, col)
        cell = raster.geotransform[1]
        shift = np.abs(place - np.column_stack([x, y])).max(axis=1)
        share = float((shift > 0.01 * cell).mean())
        findings.append(graded("alignment", file, "warning" if share > 0.01 else "ok", f"{share:.1%} of the rows lie "
                               f"off the centre of their cell (median {np.median(shift):.3g} m)",
                               "the grid table and composite.tif have different grids: make both again from one"))
    return findings


def terrain_of_places(xy: pd.DataFrame, raster: Raster) -> pd.DataFrame:
    """The terrain of composite.tif at the places of a table (rows, DEM, aspect and slope), nan off its cells."""
    place = xy.fillna(np.inf).to_numpy(float).clip(-1e12, 1e12)
    row, col, there = locate(raster.geotransform, raster.valid.shape, place)
    there[there] = raster.valid[row[there], col[there]]
    out = np.full((len(place), len(TERRAIN)), np.nan)
    out[there] = raster.bands[:, row[there], col[there]].T
    return pd.DataFrame(out, columns=TERRAIN, index=xy.index)


def of_terrain(values: pd.DataFrame, terrain: pd.DataFrame, file: str) -> list[Finding]:
    """Whether a table has the heights and slopes of composite.tif at the same places; a ratio shows another unit, a
    shift another level of heights. terrain  as `terrain_of_places` gives it."""
    findings = []
    for name in ("DEM", "slope"):
        if name not in values:
            continue
        a, b = values[name].to_numpy(float), terrain[name].to_numpy(float)
        both = np.isfinite(a) & np.isfinite(b) & (b > 0)
        both &= b >= np.median(b[both]) / 2 if both.any() else False
        if not both.any():
            continue
        ratio, shift = relation(a[both], b[both])
        alike = 0.8 < np.median(a[both] / b[both]) < 1.25
        found = f"{name} is {ratio or 0:.3g} times as large as in composite.tif at the same places (median)"
        remedy = ("write degrees and metres: 1.75 is percent, 0.0175 radians, 3.28 feet; or the two are of different "
                  "DEMs")
        if ratio is None:
            found = f"{name} differs by {shift:+.4g} from composite.tif at the same places (median)"
            remedy = "heights above another level, or an offset: write both above one level, or take both of one DEM"
        findings.append(graded("units", file, "ok" if alike else "warning", found, remedy))
    if "aspect" in values:
        apart = directions_apart(values["aspect"].to_numpy(float), terrain["aspect"].to_numpy(float))
        if np.isfinite(apart):
            findings.append(graded("aspect", file, "ok" if apart < 45 else "warning", f"aspect differs by "
                                   f"{apart:.0f} degrees (median) from composite.tif at the same places",
                                   "write degrees clockwise from north, downhill, no classes; or the two are of "
                                   "different DEMs"))
    return findings


def of_stack(path: Path, raster: Raster, factors: tuple[Factor, ...]) -> list[Finding]:
    """How many cells with terrain factors.tif lacks. Raises InputError where the stages refuse it."""
    stack, there = Stack.of(path, factors), np.zeros(raster.valid.shape, bool)
    for row, rows in stack.grid.windows():
        _, *cells = stack.read(row, 0, rows, stack.grid.cols)
        there[tuple(cells)] = True
    lost = float((~there[raster.valid]).mean())
    return [Finding("alignment", shown(path), "ok", "on the grid of composite.tif"),
            graded("nodata", shown(path), "warning" if lost > 0.05 else "ok", f"{lost:.1%} of the cells with terrain "
                   "lack another factor", "these cells get no prediction; take layers that cover the DEM")]
