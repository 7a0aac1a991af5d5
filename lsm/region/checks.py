"""What can be wrong with a region's tables and rasters, each finding with its remedy. Nothing here changes a file.

A finding has a topic, the file, a level ("error": a stage stops or the map is wrong; "warning": look at it; "ok"),
what was found, and what to do.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal

from lsm.inputs.rasters import NODATA, TERRAIN, Grid, Raster, centres, known, locate, read_composite, reason
from lsm.inputs.samples import STORED_ZERO, Factor, grid_chunks, read_samples
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError

SAMPLE_ROWS = 200_000    # of a grid table, for statistics
VIF = 10.0               # variance inflation above which the others tell a factor (O'Brien 2007, Quality & Quantity 41)
CORRELATION = 0.8        # |r| above which two factors say much the same
FEW = 100                # landslides, or non-landslides, below which no block learns and no score means much
BALANCE = (0.2, 0.8)     # share of landslides outside which scores and thresholds mislead
MISSING = 0.6            # share of samples without InSAR above which DV tells more about gaps than about motion


@dataclass(frozen=True)
class Finding:
    """One line of the table of checks."""

    topic: str
    file: str
    level: str
    found: str
    remedy: str = ""


def check_region(paths: Paths, factors: tuple[Factor, ...]) -> tuple[list[Finding], pd.DataFrame]:
    """All findings about a region's inputs, and its table of correlations (empty where samples cannot be read)."""
    findings, correlation, raster = [], pd.DataFrame(), None
    try:
        raster = read_composite(paths.composite)
        findings += of_composite(raster, shown(paths.composite))
    except InputError as error:
        findings.append(_of_error("raster", paths.composite, error))
    maker = "augment_inventory.py" if paths.insar_table.is_file() else "prepare_region.py"
    for path, is_grid in ((paths.samples, False), (paths.samples_without_insar, False), (paths.grid, True)):
        if path != paths.samples and not path.is_file():
            if is_grid and not paths.factor_stack.is_file():
                findings.append(Finding("table", shown(path), "error", "missing, and no factors.tif either",
                                        "run prepare_region.py, or put the grid table there"))
            continue
        try:
            if is_grid:
                for _ in grid_chunks(path, factors, SAMPLE_ROWS):
                    pass
            else:
                read_samples(path, factors, maker)
        except InputError as error:
            findings.append(_of_error("table", path, error))
        try:
            table = pd.read_csv(path, encoding="utf-8-sig", nrows=SAMPLE_ROWS if is_grid else None)
        except (ValueError, OSError):
            continue  # its reader has said so
        values = columns_of(table, factors)
        if not len(values):
            continue
        findings += of_units(values, factors, shown(path))
        findings += of_nodata(values, shown(path))
        if {"X", "Y"} <= set(table) and raster is not None:
            findings += of_places(table[["X", "Y"]], raster, shown(path), is_grid)
            findings += of_terrain(values, table[["X", "Y"]], raster, shown(path))
        if not is_grid and {"X", "Y", "label"} <= set(table):
            findings += of_labels(table, values, shown(path))
            findings += of_missing(values, factors, shown(path))
            if path == paths.samples:
                correlation, lines = of_collinearity(values, factors, shown(path))
                findings += lines
    if paths.factor_stack.is_file() and raster is not None:
        findings += of_stack(paths.factor_stack, raster, factors)
    return findings, correlation


def summary(findings: pd.DataFrame) -> str:
    """How many findings there are of each level, in words."""
    n = {level: int((findings["level"] == level).sum()) for level in ("error", "warning", "ok")}
    return (f"{n['error']} error{'s' * (n['error'] != 1)}, {n['warning']} warning{'s' * (n['warning'] != 1)}, "
            f"{n['ok']} in order")


def _counted(n: int, what: str, verb: str) -> str:
    return f"{n} {what} {verb}s" if n == 1 else f"{n} {what}s {verb}"


def columns_of(table: pd.DataFrame, factors: tuple[Factor, ...]) -> pd.DataFrame:
    """The factors a table has, under their own names, as numbers; stored zeros as zeros."""
    names = {str(name).strip().lower(): name for name in table}
    found = {}
    for factor in factors:
        column = next((names[n.lower()] for n in (factor.name, *factor.aliases) if n.lower() in names), None)
        if column is not None:
            found[factor.name] = pd.to_numeric(table[column], errors="coerce").replace(STORED_ZERO, 0.0)
    return pd.DataFrame(found)


def of_composite(raster: Raster, file: str) -> list[Finding]:
    """CRS and grid of composite.tif, and whether its slope band is in degrees: compared with the slope of its DEM."""
    findings = [Finding("CRS", file, "ok", "a projected one in metres, north up")]
    _, width, _, _, _, height = raster.geotransform
    if abs(width + height) > 1e-6 * width:
        findings.append(Finding("grid", file, "warning", f"cells of {width:.2f} x {-height:.2f} m are not square",
                                "distances in cells differ by direction; warp it (gdalwarp -tr)"))
    share = raster.valid.mean()
    findings.append(Finding("nodata", file, "ok" if share > 0.05 else "warning", f"{share:.1%} of the cells are valid",
                            "" if share > 0.05 else "check the declared nodata value, or crop the raster"))
    dem, _, _, slope = (raster.bands[TERRAIN.index(name)] for name in ("DEM", "aspect", "curvature", "slope"))
    south, east = np.gradient(np.where(raster.valid, dem, np.nan), -height, width)
    tangent = np.hypot(south, east)
    inland = np.isfinite(tangent) & (tangent > 0.05)
    if inland.any():
        ratio = float(np.median(slope[inland] / np.degrees(np.arctan(tangent[inland]))))
        findings.append(_unit_of_slope(ratio, float(np.quantile(slope[raster.valid], 0.999)), file, "its band slope"))
    return findings


def _unit_of_slope(ratio: float, largest: float, file: str, what: str) -> Finding:
    if 0.5 < ratio < 1.5:
        return Finding("units", file, "ok", f"{what} agrees with the slope of the DEM in degrees (ratio {ratio:.2f})")
    found = f"{what} is {ratio:.3f} times the slope of the DEM in degrees, largest {largest:.4g}: "
    if ratio < 0.05:
        return Finding("units", file, "error", found + "radians, or rise over run",
                       "write degrees: multiply radians by 57.2958; of rise over run take the arc tangent")
    if largest > 90:
        return Finding("units", file, "error", found + "percent", "write degrees: degrees(atan(slope / 100))")
    # A slope averaged from finer cells is as much steeper than that of the averaged heights as percent are.
    return Finding("units", file, "warning", found + "percent, or not of this DEM",
                   "if percent, write degrees(atan(slope / 100)); if it comes from a finer or coarser DEM, leave it")


def of_units(values: pd.DataFrame, factors: tuple[Factor, ...], file: str) -> list[Finding]:
    """Units that a table's ranges give away: slope, aspect, NDVI, DV. values (rows, factors)."""
    findings = []
    kinds = {f.name: f for f in factors}
    for name in values:
        v = values[name].dropna()
        if not len(v):
            continue
        high, low = float(v.max()), float(v.min())
        if name == "slope":
            top = float(v.quantile(0.99))
            if high <= np.pi / 2:
                findings.append(Finding("units", file, "error", f"slope goes to {high:.3g}: radians, or rise over run",
                                        "write degrees: multiply radians by 57.2958"))
            elif high > 90 or low < 0:
                findings.append(Finding("units", file, "error", f"slope goes from {low:.4g} to {high:.4g}: percent",
                                        "write degrees: degrees(atan(percent / 100))"))
            else:
                findings.append(Finding("units", file, "ok", f"slope to {high:.3g} (99 % below {top:.3g}): degrees"))
        elif kinds[name].kind == "circular" and high > 0 and high <= 2 * np.pi:
            findings.append(Finding("units", file, "error", f"{name} goes to {high:.3g}: radians",
                                    "write degrees: multiply by 57.2958, -1 for flat ground"))
        elif name == "NDVI":
            if max(abs(low), abs(high)) <= 1.5:
                findings.append(Finding("units", file, "warning", f"NDVI from {low:.3g} to {high:.3g}: scale -1 to 1",
                                        "multiply by 10,000 in all tables alike; a model fitted on one scale misreads "
                                        "the other"))
            elif max(abs(low), abs(high)) < 300:
                findings.append(Finding("units", file, "warning", f"NDVI from {low:.3g} to {high:.3g}: no known scale",
                                        "NDVI x 10,000 lies within -10,000 and 10,000; grey values are no NDVI"))
            elif max(abs(low), abs(high)) > 10_500:
                findings.append(Finding("units", file, "error", f"NDVI from {low:.5g} to {high:.5g}",
                                        "NDVI x 10,000 lies within -10,000 and 10,000; check scale and nodata"))
            else:
                findings.append(Finding("units", file, "ok", f"NDVI from {low:.5g} to {high:.5g}: scale 10,000"))
        elif kinds[name].zero_is_missing and (v != 0).any():
            middle = float(v[v != 0].abs().median())
            small = middle < 0.05
            findings.append(Finding("units", file, "error" if small else "ok", f"median |{name}| where measured "
                                    f"{middle:.3g}: {'m/yr' if small else 'mm/yr'}",
                                    "multiply by 1,000 to mm/yr" if small else ""))
    return findings


def of_nodata(values: pd.DataFrame, file: str) -> list[Finding]:
    """Nodata values that slipped into a table: -9999 and the like, and cells that are no numbers."""
    findings = []
    for name in values:
        v = values[name].to_numpy(float)
        wild = np.isin(v, (-9999, -32768, -99999, 9999, 32767, 65535)) | (np.abs(v) > 1e30)
        if wild.any():
            findings.append(Finding("nodata", file, "error", f"{name}: {_counted(wild.sum(), 'row', 'hold')} "
                                    f"{v[wild][0]:g}",
                                    "remove these rows, or fill them from the raster"))
        if np.isnan(v).any():
            findings.append(Finding("nodata", file, "error",
                                    f"{name}: {_counted(np.isnan(v).sum(), 'row', 'hold')} no number",
                                    "remove these rows, or fill them from the raster"))
    return findings or [Finding("nodata", file, "ok", "no nodata value among the factors")]


def of_places(xy: pd.DataFrame, raster: Raster, file: str, is_grid: bool) -> list[Finding]:
    """Whether points lie on valid cells of composite.tif and, for a grid table, at the centres of its cells."""
    place = xy.apply(pd.to_numeric, errors="coerce").dropna().to_numpy(float)
    row, col, inside = locate(raster.geotransform, raster.valid.shape, place)
    on_data = inside.copy()
    on_data[inside] = raster.valid[row[inside], col[inside]]
    off = 1 - on_data.mean() if len(place) else 1.0
    level = "error" if off > 0.5 else "warning" if off > 0.01 else "ok"
    findings = [Finding("alignment", file, level, f"{(~inside).sum()} points outside composite.tif, "
                        f"{(inside & ~on_data).sum()} on its nodata, of {len(place)}",
                        "" if level == "ok" else "bring both into one CRS; drop points without terrain")]
    if is_grid and len(place):
        x, y = centres(raster.geotransform, row, col)
        cell = raster.geotransform[1]
        shift = np.abs(place - np.column_stack([x, y])).max(axis=1)
        share = float((shift > 0.01 * cell).mean())
        findings.append(Finding("alignment", file, "warning" if share > 0.01 else "ok",
                                f"{share:.1%} of the rows lie off the centre of their cell (median "
                                f"{np.median(shift):.3g} m)",
                                "the grid table and composite.tif have different grids: make both again from one"
                                if share > 0.01 else ""))
    return findings


def of_terrain(values: pd.DataFrame, xy: pd.DataFrame, raster: Raster, file: str) -> list[Finding]:
    """Whether a table's heights and slopes are those of composite.tif at the same places: another unit shows as their
    ratio."""
    place = xy.apply(pd.to_numeric, errors="coerce").fillna(np.inf).to_numpy(float).clip(-1e12, 1e12)
    row, col, there = locate(raster.geotransform, raster.valid.shape, place)
    there[there] = raster.valid[row[there], col[there]]
    findings = []
    for name, least in (("DEM", 10), ("slope", 3)):
        if name not in values:
            continue
        of_raster = raster.bands[TERRAIN.index(name), row[there], col[there]]
        steep = of_raster >= least
        ratio = values[name].to_numpy(float)[there][steep] / of_raster[steep]
        if not np.isfinite(ratio).any():
            continue
        middle = float(np.nanmedian(ratio))
        fits = 0.8 < middle < 1.25
        remedy = ("write degrees and metres: 1.75 is percent, 0.0175 radians, 3.28 feet; or the two are of different "
                  "DEMs")
        findings.append(Finding("units", file, "ok" if fits else "warning", f"{name} is {middle:.3g} times that of "
                                "composite.tif at the same places (median)", "" if fits else remedy))
    return findings


def of_labels(table: pd.DataFrame, values: pd.DataFrame, file: str) -> list[Finding]:
    """Repeated places, places with both labels, repeated factor rows, and the balance of classes."""
    places = table.dropna(subset=["X", "Y"]).groupby(["X", "Y"])["label"].nunique()
    repeated, both = int(table.dropna(subset=["X", "Y"]).duplicated(["X", "Y"]).sum()), int((places > 1).sum())
    same = int(values.duplicated().sum())
    label = pd.to_numeric(table["label"], errors="coerce")
    slides, others = int((label == 1).sum()), int((label == 0).sum())
    few, share = min(slides, others) < FEW, slides / max(1, slides + others)
    uneven = not BALANCE[0] <= share <= BALANCE[1]
    remedy = ("draw about as many non-landslides as there are landslides (RATIO)" if uneven else
              "collect more points: blocks learn from more than 16 samples each" if few else "")
    return [
        Finding("duplicates", file, "warning" if repeated else "ok",
                f"{_counted(repeated, 'row', 'repeat')} a place",
                "the stages keep one row a place; remove the others" if repeated else ""),
        Finding("labels", file, "warning" if both else "ok",
                f"{_counted(both, 'place', 'hold')} both labels",
                "the stages keep the landslide; decide which label is right" if both else ""),
        Finding("duplicates", file, "warning" if same else "ok",
                f"{_counted(same, 'row', 'repeat')} another row's factors",
                "points in one cell: keep one a cell, or they are in training and test both" if same else ""),
        Finding("balance", file, "warning" if uneven or few else "ok",
                f"{share:.1%} landslides: {slides:,}, and {others:,} non-landslides", remedy)]


def of_missing(values: pd.DataFrame, factors: tuple[Factor, ...], file: str) -> list[Finding]:
    """Share of rows without a measurement, of factors whose zero says so."""
    findings = []
    for factor in factors:
        if factor.zero_is_missing and factor.name in values:
            share = float((values[factor.name] == 0).mean())
            findings.append(Finding("InSAR", file, "warning" if share > MISSING else "ok",
                                    f"{share:.1%} of the rows have no {factor.name}",
                                    f"leave {factor.name} out (INSAR=none), or take denser points" if share > MISSING
                                    else ""))
    return findings


def of_collinearity(values: pd.DataFrame, factors: tuple[Factor, ...], file: str):
    """The correlations (Pearson) of factors that are numbers, with the variance inflation of each as last column, and
    findings. The inflation of a factor is the diagonal of the inverse correlation matrix (Marquardt 1970,
    Technometrics 12)."""
    names = [f.name for f in factors if f.kind != "categorical" and f.name in values and values[f.name].notna().any()]
    numbers = values[names].dropna()
    numbers = numbers.loc[:, numbers.std() > 0]
    constant = sorted(set(names) - set(numbers))
    findings = [Finding("collinearity", file, "warning", f"{name} is the same in every row", f"leave {name} out")
                for name in constant]
    if numbers.shape[1] < 2 or len(numbers) <= numbers.shape[1]:
        return pd.DataFrame(), findings
    r = numbers.corr()
    inflation = np.diag(np.linalg.pinv(r.to_numpy()))
    for i, a in enumerate(r):
        for b in r.columns[i + 1:]:
            if abs(r.loc[a, b]) > CORRELATION:
                findings.append(Finding("collinearity", file, "warning", f"{a} and {b} correlate at {r.loc[a, b]:.2f}",
                                        "importances of the two are shared; leave one out to read them"))
    for name, vif in zip(r, inflation, strict=True):
        if vif > VIF:
            findings.append(Finding("collinearity", file, "warning", f"variance inflation of {name} {vif:.1f}",
                                    "the other factors tell it; leave it or one of its kin out"))
    if not findings:
        findings.append(Finding("collinearity", file, "ok", f"|r| to {np.abs(r.to_numpy() - np.eye(len(r))).max():.2f},"
                                f" variance inflation to {inflation.max():.1f}"))
    return r.assign(VIF=inflation).rename_axis("factor").reset_index(), findings


def of_stack(path: Path, raster: Raster, factors: tuple[Factor, ...]) -> list[Finding]:
    """Whether factors.tif lies on the grid of composite.tif, has the factors as bands, and how much is nodata."""
    try:
        dataset = gdal.Open(str(path))
    except RuntimeError:
        return [Finding("raster", shown(path), "error", "GDAL does not open it", "run prepare_region.py again")]
    names = [dataset.GetRasterBand(i).GetDescription() for i in range(1, dataset.RasterCount + 1)]
    same = (np.allclose(dataset.GetGeoTransform(), raster.geotransform)
            and (dataset.RasterYSize, dataset.RasterXSize) == raster.valid.shape)
    findings = [Finding("alignment", shown(path), "ok" if same else "error", "on the grid of composite.tif" if same else
                        "on another grid than composite.tif", "" if same else "run prepare_region.py again")]
    if names != [f.name for f in factors]:
        findings.append(Finding("raster", shown(path), "error", f"bands {', '.join(names)}",
                                f"expected {', '.join(f.name for f in factors)}: run prepare_region.py again"))
        return findings
    if same:
        grid, lost, land = Grid(*raster.valid.shape, raster.geotransform, raster.crs), 0, int(raster.valid.sum())
        try:
            for row, rows in grid.windows():
                gaps = ~known(dataset.ReadAsArray(0, row, grid.cols, rows)).all(axis=0)
                lost += int((gaps & raster.valid[row:row + rows]).sum())
        except RuntimeError as error:
            return [*findings, Finding("raster", shown(path), "error", reason(error, path),
                                       "copy it again, or run prepare_region.py again")]
        findings.append(Finding("nodata", shown(path), "warning" if lost > 0.05 * land else "ok",
                                f"{lost / land:.1%} of the cells with terrain lack another factor (nodata {NODATA:g})",
                                "these cells get no prediction; take layers that cover the DEM" if lost else ""))
    return findings


def _of_error(topic: str, path: Path, error: InputError) -> Finding:
    """The readers' own refusal as a finding: what before the last semicolon, the remedy behind it."""
    message = str(error).removeprefix(f"{shown(path)}: ")
    found, _, remedy = message.rpartition("; ")
    return Finding(topic, shown(path), "error", found or message, remedy if found else "")
