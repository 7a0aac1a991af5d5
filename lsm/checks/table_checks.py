"""Checks of the columns of a region's tables: units, nodata, labels, repeats, correlation."""

import numpy as np
import pandas as pd

from lsm.checks.finding import Finding, counted
from lsm.inputs.samples import STORED_ZERO, Factor

VIF = 10.0               # variance inflation above which the others tell a factor (O'Brien 2007, Quality & Quantity 41)
CORRELATION = 0.8        # |r| above which two factors say much the same
FEW = 100                # landslides, or non-landslides, below which no block learns and no score means much
BALANCE = (0.2, 0.8)     # share of landslides outside which scores and thresholds mislead
MISSING = 0.6            # share of samples without InSAR above which DV tells more about gaps than about motion


def columns_of(table: pd.DataFrame, factors: tuple[Factor, ...]) -> pd.DataFrame:
    """The factors a table has, under their own names, as numbers; stored zeros as zeros."""
    names = {str(name).strip().lower(): name for name in table}
    found = {}
    for factor in factors:
        column = next((names[n.lower()] for n in (factor.name, *factor.aliases) if n.lower() in names), None)
        if column is not None:
            found[factor.name] = pd.to_numeric(table[column], errors="coerce").replace(STORED_ZERO, 0.0)
    return pd.DataFrame(found)


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
            findings.append(Finding("nodata", file, "error", f"{name}: {counted(wild.sum(), 'row', 'hold')} "
                                    f"{v[wild][0]:g}",
                                    "remove these rows, or fill them from the raster"))
        if np.isnan(v).any():
            findings.append(Finding("nodata", file, "error",
                                    f"{name}: {counted(np.isnan(v).sum(), 'row', 'hold')} no number",
                                    "remove these rows, or fill them from the raster"))
    return findings or [Finding("nodata", file, "ok", "no nodata value among the factors")]


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
                f"{counted(repeated, 'row', 'repeat')} a place",
                "the stages keep one row a place; remove the others" if repeated else ""),
        Finding("labels", file, "warning" if both else "ok",
                f"{counted(both, 'place', 'hold')} both labels",
                "the stages keep the landslide; decide which label is right" if both else ""),
        Finding("duplicates", file, "warning" if same else "ok",
                f"{counted(same, 'row', 'repeat')} another row's factors",
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
