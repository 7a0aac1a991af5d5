"""Checks of the columns of a region's tables: units, nodata, labels, repeats, correlation."""

from itertools import combinations

import numpy as np
import pandas as pd

from lsm.checks.finding import Finding, directions_apart, graded, with_verb
from lsm.inputs.bands import ENDLESS, MARKS, OFTEN, digits, fillers, in_radians, marks_gap, ndvi_scale
from lsm.inputs.factor.class_words import codes_of_words
from lsm.inputs.factor.definition import Factor
from lsm.inputs.samples import is_stored_zero
from lsm.inputs.tables.text_tables import find_columns

VIF = 10.0               # variance inflation above which the other factors predict a factor (O'Brien 2007, Quality &
                         #   Quantity 41)
CORRELATION = 0.8        # |r| above which two factors hold much the same information
LISTED = 12              # pairs of factors, or factors, named in a finding, at most
FEW = 100                # landslides, or non-landslides, below which no block learns and no score means much
PART = 0.3  # of the extent of all points: landslides within less were mapped in a part of the area
BALANCE = (0.2, 0.8)     # share of landslides outside which scores and thresholds mislead
TELLS = 0.4              # difference of these shares between the labels above which gaps tell the label
MISSING = 0.6            # share of samples without InSAR above which DV says more about gaps than about motion


def factor_columns(table: pd.DataFrame, factors: tuple[Factor, ...]) -> pd.DataFrame:
    """The factors a table has, under their own names, as numbers; stored zeros as zeros. Without classes that are words
    where codes are expected, or codes where words are: the reader refuses them, and they are no gaps."""
    found = {}
    for factor in factors:
        columns = find_columns(list(table), (factor.name, *factor.aliases))
        if len(columns) == 1:  # the reader refuses two
            column = table.iloc[:, columns[0]]
            values = pd.to_numeric(column, errors="coerce")
            values = pd.Series(codes_of_words(column, factor.words)) if factor.words else values.mask(
                is_stored_zero(values), 0.0)
            if factor.kind != "categorical" or values.notna().any() or column.isna().all():
                found[factor.name] = values.to_numpy()
    return pd.DataFrame(found)


def of_units(values: pd.DataFrame, factors: tuple[Factor, ...], file: str, terrain: pd.DataFrame | None = None
             ) -> list[Finding]:
    """Units of slope, aspect, NDVI and DV, as far as the ranges of a table show them. values (rows, factors).

    terrain  of composite.tif at the same places, None where unknown: slopes and aspects like its own are degrees,
             however small, since its bands are compared with its heights
    """
    known = {f.name: f for f in factors}
    alike = set() if terrain is None else {name for name in values if _is_like(values, terrain, name)}
    found = [_unit(known[name], values[name].dropna(), name in alike) for name in values if values[name].notna().any()]
    return [graded("units", file, *unit) for unit in found if unit]


def _is_like(values: pd.DataFrame, terrain: pd.DataFrame, name: str) -> bool:
    """Whether the slope or the aspect of a table agrees with composite.tif at the same places."""
    if name == "aspect":
        return directions_apart(values[name].to_numpy(float), terrain[name].to_numpy(float)) < 45
    ratio = (values[name] / terrain[name])[terrain[name] > 0] if name == "slope" else pd.Series(dtype=float)
    return 0.8 < ratio.median() < 1.25


def _unit(factor: Factor, v: pd.Series, alike: bool) -> tuple[str, str, str] | None:
    """Level, what was found and remedy for the unit of one factor; None where its range shows no unit. alike  whether
    it agrees with composite.tif"""
    name, low, high = factor.name, float(v.min()), float(v.max())
    if name == "slope":
        return _unit_of_slopes(v, alike)
    if factor.kind == "circular" and not alike and in_radians(v.to_numpy()):
        return "error", f"{name} goes to {high:.3g}: radians", "write degrees: multiply by 57.2958, -1 for flat ground"
    if name == "NDVI":
        largest, found = max(abs(low), abs(high)), f"NDVI from {low:.3g} to {high:.3g}"
        if ndvi_scale(v.to_numpy()) != 1:
            if largest > 1.5:
                rows = int((v.abs() > 1.5).sum())
                return ("error", f"{found}: scale -1 to 1, but {with_verb(rows, 'row', 'lie')} beyond",
                        "remove these rows, or fill them from the raster; then multiply by 10,000 in all tables")
            return ("warning", f"{found}: scale -1 to 1",
                    "multiply by 10,000 in all tables; a model fitted on one scale misreads the other")
        if largest < 300:
            return ("warning", f"{found}: no known scale",
                    "NDVI x 10,000 lies within -10,000 and 10,000; grey values are no NDVI")
        found = f"NDVI from {low:.5g} to {high:.5g}"
        if largest > 10_500:
            return "error", found, "NDVI x 10,000 lies within -10,000 and 10,000; check scale and nodata"
        return "ok", f"{found}: scale 10,000", ""
    if factor.zero_is_missing and (v != 0).any():
        middle = float(v[v != 0].abs().median())
        found = f"median |{name}| where measured {middle:.3g}: "
        return ("ok", found + "mm/yr", "") if middle >= 0.05 else (
            "warning", found + "m/yr, or hardly any motion", "if m/yr, multiply by 1,000 to mm/yr in all tables")
    return None


def _unit_of_slopes(v: pd.Series, alike: bool) -> tuple[str, str, str]:
    """The same for slopes: one number out of range, however often, is no unit but a gap or an error."""
    most, found = float(v.quantile(0.95)), f"slope goes from {v.min():.4g} to {v.max():.4g}"
    odd = v[(v < 0) | (v > 90)]
    if odd[(odd > 90) & ~odd.isin(MARKS)].nunique() > 1:
        return "error", f"{found}: percent", "write degrees: degrees(atan(percent / 100))"
    if len(odd):
        return ("error", f"{found}: {with_verb(len(odd), 'row', 'hold')} {odd.iloc[0]:g}, no slope in degrees",
                "if it marks gaps, remove these rows, or fill them from the raster; if slopes are percent, write "
                "degrees(atan(percent / 100))")
    if alike:
        return "ok", f"slope to {v.max():.3g} (99 % below {v.quantile(0.99):.3g}), as in composite.tif: degrees", ""
    if v.max() <= np.pi / 2:
        return "error", f"{found}: radians, or rise over run", "write degrees: multiply radians by 57.2958"
    if most <= np.pi / 2:
        return ("warning", f"{found}, 95 % below {most:.3g}: radians, or a plain",
                "if radians, multiply by 57.2958, and look at the few larger values")
    return "ok", f"slope to {v.max():.3g} (99 % below {v.quantile(0.99):.3g}): degrees", ""


def of_nodata(values: pd.DataFrame, factors: tuple[Factor, ...], file: str) -> list[Finding]:
    """Nodata values left in a table (-9999 and the like), values that are no numbers, and numbers that may mark gaps
    (99.99, 999) by how often they stand and where."""
    findings, kinds = [], {f.name: f.kind for f in factors}
    for name in values:
        v = values[name].to_numpy(float)
        wild = marks_gap(v) | (np.abs(v) >= ENDLESS)
        for rows, what in ((wild, f"{v[wild][0]:g}" if wild.any() else ""), (np.isnan(v), "no number")):
            if rows.any():
                found = f"{name}: {with_verb(rows.sum(), 'row', 'hold')} {what}"
                findings.append(Finding("nodata", file, "error", found,
                                        "remove these rows, or fill them from the raster"))
        v = v[np.isfinite(v) & ~wild & (v != 0)]
        for number, share, why in fillers(v) if len(v) and kinds[name] in ("continuous", "distance") else ():
            if (rows := round(share * len(v))) >= OFTEN:
                findings.append(Finding("nodata", file, "warning", f"{name}: {digits(number)} in {rows:,} rows {why}",
                                        "if it marks gaps, remove these rows or fill them; of a raw layer declare it, "
                                        f"|nodata={digits(number)} behind the file, and run prepare_region.py again"))
    return findings or [Finding("nodata", file, "ok", "no nodata value among the factors")]


def of_labels(table: pd.DataFrame, values: pd.DataFrame, file: str) -> list[Finding]:
    """Repeated places, places with both labels, repeated factor rows, and the balance of classes."""
    places = table.dropna(subset=["X", "Y"]).groupby(["X", "Y"])["label"].nunique()
    repeated, both = int(table.dropna(subset=["X", "Y"]).duplicated(["X", "Y"]).sum()), int((places > 1).sum())
    same = int(values.duplicated().sum())
    slides, others = int((table["label"] == 1).sum()), int((table["label"] == 0).sum())
    few, share = min(slides, others) < FEW, slides / max(1, slides + others)
    whole = _box(table)
    alone = _box(table[table["label"] == 1]) / whole if slides and whole > 0 else 1.0
    uneven = not BALANCE[0] <= share <= BALANCE[1]
    remedy = ("take about as many non-landslides as landslides (RATIO of prepare_region.py), or classes of the map by "
              "BREAKS=quantile: probabilities stay near this share" if uneven else
              "collect more points: blocks learn from more than 16 samples each" if few else "")
    lines = [
        ("duplicates", repeated, f"{with_verb(repeated, 'row', 'repeat')} a place",
         "the stages keep one row a place; remove the others"),
        ("labels", both, f"{with_verb(both, 'place', 'hold')} both labels",
         "the stages keep the landslide; decide which label is right"),
        ("duplicates", same, f"{with_verb(same, 'row', 'repeat')} another row's factors",
         "points in one cell: keep one of them, or training and test share them"),
        ("places", alone < PART, f"landslides lie within {alone:.0%} of the extent of all points", "elsewhere "
         "landslides may not have been mapped; map them there, or limit the map to their area (MASK, MASK_KEEPS=True)"),
        ("balance", uneven or few, f"{share:.1%} landslides: {slides:,}, and {others:,} non-landslides", remedy)]
    return [graded(topic, file, "warning" if wrong else "ok", found, remedy) for topic, wrong, found, remedy in lines]


def _box(points: pd.DataFrame) -> float:
    """The area of the box around 98 % of the points in X and in Y, m2."""
    return float(np.prod([np.subtract(*points[axis].dropna().quantile([0.99, 0.01])) for axis in ("X", "Y")]))


def of_missing(values: pd.DataFrame, label: pd.Series, factors: tuple[Factor, ...], file: str) -> list[Finding]:
    """Of factors whose zero says that nothing was measured: the share of such rows, and whether most of them have one
    label."""
    findings = []
    for name in (f.name for f in factors if f.zero_is_missing and f.name in values):
        lacks = values[name] == 0
        findings.append(graded("InSAR", file, "warning" if lacks.mean() > MISSING else "ok",
                               f"{lacks.mean():.1%} of the rows have no {name}",
                               f"leave {name} out (INSAR=none), or take denser points"))
        of_slides, of_others = (float(lacks[label == one].mean()) for one in (1, 0))
        if abs(of_slides - of_others) > TELLS:
            findings.append(Finding("InSAR", file, "warning", f"{name} is missing at {of_slides:.0%} of the landslides "
                                    f"and {of_others:.0%} of the others: whether it was measured tells the label",
                                    "the map may show where InSAR has points; take non-landslides where InSAR measured "
                                    "(STABLE), or leave it out (INSAR=none)"))
    return findings


def variance_inflation(r: np.ndarray) -> np.ndarray:
    """1 / (1 - R²) of each factor, R² of its regression on all others (Marquardt 1970, Technometrics 12), inf where
    they predict it exactly; r: correlations (factors, factors)."""
    unexplained = np.empty(len(r))
    for i in range(len(r)):
        others = np.arange(len(r)) != i
        weights = np.linalg.lstsq(r[np.ix_(others, others)], r[others, i], rcond=1e-9)[0]
        unexplained[i] = 1 - weights @ r[others, i]
    return np.where(unexplained > 1e-9, 1 / np.maximum(unexplained, 1e-9), np.inf)


def of_collinearity(values: pd.DataFrame, factors: tuple[Factor, ...], file: str
                    ) -> tuple[pd.DataFrame, list[Finding]]:
    """The correlations (Pearson) of the numeric factors, with their variance inflation as last column, and findings.

    Circular factors are left out: 359 and 1 degree lie side by side.
    """
    names = [f.name for f in factors if f.kind not in ("categorical", "circular") and f.name in values
             and values[f.name].notna().any()]
    numbers = values[names].replace([np.inf, -np.inf], np.nan).dropna()
    numbers = numbers.loc[:, numbers.std() > 0]
    constant = sorted(set(names) - set(numbers))
    findings = [Finding("collinearity", file, "warning", f"{name} is the same in every row",
                        "it holds no information here: is it of this area?")
                for name in constant]
    if numbers.shape[1] < 2 or len(numbers) <= numbers.shape[1]:
        return pd.DataFrame(), findings
    r = numbers.corr()
    inflation = variance_inflation(r.to_numpy())
    pairs = [f"{a} and {b} {r.loc[a, b]:.2f}" for a, b in combinations(r, 2) if abs(r.loc[a, b]) > CORRELATION]
    inflated = [f"{name} {vif:.1f}" for name, vif in zip(r, inflation, strict=True) if vif > VIF]
    told = [f"{what}: {', '.join(which[:LISTED])}" + f" and {len(which) - LISTED} more" * (len(which) > LISTED)
            for what, which in ((f"correlation beyond {CORRELATION:g}", pairs),
                                (f"variance inflation above {VIF:g}", inflated)) if which]
    if told:
        findings.append(Finding("collinearity", file, "warning", "; ".join(told), "the other factors predict these: "
                                "they share their importance in explanations; the map does not suffer"))
    if not findings:
        findings.append(Finding("collinearity", file, "ok", f"|r| to {np.abs(r.to_numpy() - np.eye(len(r))).max():.2f},"
                                f" variance inflation to {inflation.max():.1f}"))
    return r.assign(VIF=inflation).rename_axis("factor").reset_index(), findings
