"""What a reader of the map must know before trusting it; each finding with its remedy."""

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from lsm.checks.finding import Finding
from lsm.inputs.samples import Factor, Samples, unique_places
from lsm.run.artifacts import check, record_path
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError

LISTED = 12  # blocks named in a finding, at most


def origins(paths: Paths, samples: dict, c) -> np.ndarray:
    """inventory, insar or absence (samples,): by the table of origins, else by the places of InSAR points where there
    are such. Raises InputError."""
    out = np.where(samples["label"] == 1, "inventory", "absence").astype("<U9")
    try:
        if paths.samples_origin.is_file():
            check(paths.samples_origin, "augment_inventory.py", c)
            return pd.read_csv(paths.samples_origin)["origin"].to_numpy("<U9")[samples["row"]]
        if paths.insar_points.is_file():
            if record_path(paths.insar_points).is_file():
                check(paths.insar_points, "src_data/make_demo.py", c)
            table = pd.read_csv(paths.insar_points, encoding="utf-8-sig")
            seen = set(table[["X", "Y"]].itertuples(index=False, name=None))
            weak = [tuple(p) in seen and y == 1 for p, y in zip(samples["xy"], samples["label"], strict=True)]
            out[weak] = "insar"
    except (KeyError, IndexError, ValueError) as error:
        raise InputError(f"origins of samples of {paths.region}: expected the rows of {shown(paths.samples)} and X, Y, "
                         f"found {error}; run augment_inventory.py again") from None
    return out


def separation(values: np.ndarray, kind: str, label: np.ndarray) -> float:
    """The AUROC at which one factor alone sorts labels (n,) of 0 and 1: by its values, by their distance from the
    median of the 0s, or by the share of landslides in its class, whichever is best; either direction counts."""
    values = values.astype(np.float64)
    if kind == "categorical":
        _, code = np.unique(values, return_inverse=True)
        forms = [(np.bincount(code, label) / np.bincount(code))[code]]
    elif kind == "circular":
        forms = [np.sin(np.radians(values)), np.cos(np.radians(values))]
    else:
        forms = [values, np.abs(values - np.median(values[label == 0]))]
    return max(max(a, 1 - a) for a in (roc_auc_score(label, form) for form in forms))


def leaky(samples: dict, origin: np.ndarray, factors: tuple[Factor, ...], limit: float, file: str) -> list[Finding]:
    """Factors that alone tell landslides of an origin from non-landslides at an AUROC above `limit`."""
    out = []
    for kind, what in (("insar", "weak (InSAR) landslides"), ("inventory", "inventory landslides")):
        rows = np.isin(origin, (kind, "absence"))
        label = (origin[rows] == kind).astype(int)
        if len(np.unique(label)) < 2:
            continue
        for j, factor in enumerate(factors):
            found = separation(samples["factors"][rows, j], factor.kind, label)
            if found > limit:
                out.append(Finding(
                    "leaky factor", file, "warning",
                    f"{factor.name} alone tells {what} from non-landslides at AUROC {found:.3f}",
                    f"scores on these points are partly circular; look at the scores without {factor.name} "
                    "(WITHOUT of compare_methods.py)"))
    return out


def repeated(samples: Samples, file: str) -> list[Finding]:
    """Rows that repeat a place or another row's factors, and places with both labels."""
    _, dropped, conflicts = unique_places(samples)
    same = len(samples.factors) - len(np.unique(samples.factors, axis=0))
    out = []
    if dropped:
        out.append(Finding("repeated places", file, "warning", f"{dropped:,} rows repeat an earlier row's X, Y",
                           "each place is used once; remove the repeats"))
    if conflicts:
        out.append(Finding("conflicting labels", file, "warning", f"{conflicts:,} places carry both labels",
                           "they count as landslides; look which label is right"))
    if same:
        out.append(Finding("repeated factors", file, "warning", f"{same:,} rows repeat another row's factors exactly",
                           "copies on both sides of a split flatter scores; look where they come from"))
    return out


def thin(blocks: pd.DataFrame, limit: int, file: str) -> list[Finding]:
    """Blocks with no more than `limit` samples, and blocks with one class."""
    out = []
    one = (blocks["landslides"] == 0) | (blocks["landslides"] == blocks["samples"])
    for what, chosen in ((f"{limit} samples or fewer", blocks["samples"] <= limit),
                         ("samples of one class only", one & (blocks["samples"] > limit))):
        if chosen.any():
            share = blocks.loc[chosen, "cells"].sum() / max(blocks["cells"].sum(), 1)
            out.append(Finding("thin blocks", file, "warning",
                               f"{chosen.sum()} of {len(blocks)} blocks, {100 * share:.1f} % of the area, have {what}: "
                               + numbers(blocks.loc[chosen, "block"]),
                               "the map there leans on samples of other blocks; map more landslides and "
                               "non-landslides there"))
    return out


def fallen_back(state: np.ndarray, cells: np.ndarray, file: str) -> list[Finding]:
    """Blocks that keep the intermediate model; state and cells (blocks,)."""
    kept = np.flatnonzero(state)
    if not len(kept):
        return []
    share = cells[kept].sum() / max(cells.sum(), 1)
    return [Finding("intermediate model", file, "warning",
                    f"{len(kept)} of {len(state)} blocks, {100 * share:.1f} % of the area, "
                    f"keep the intermediate model, not adapted: {numbers(kept)}",
                    "no samples, or one class only; add samples, or let blocks borrow (BORROW of meta_learner.py)")]


def outside(values: dict[str, float], file: str) -> list[Finding]:
    """Cells outside the area of applicability; values are of the table of export_gis.py."""
    share = values.get("share of cells outside")
    if not share:
        return []
    return [Finding("applicability", file, "warning",
                    f"{100 * share:.1f} % of cells lie outside the area of applicability: their factors are farther "
                    "from every sample than samples are from each other",
                    "see the layer Applicability; sample such places, or leave them off the map")]


def of_checks(table: pd.DataFrame) -> list[Finding]:
    """What prepare_region.py found with CHECK=True, errors first."""
    rows = table[table["level"].isin(("error", "warning"))].fillna("")
    rows = rows.sort_values("level", kind="stable")  # error before warning
    return [Finding(*(str(row[name]) for name in ("topic", "file", "level", "found", "remedy")))
            for _, row in rows.iterrows()]


def numbers(blocks) -> str:
    """Numbers of blocks, the first of them where there are many."""
    some = ", ".join(str(b) for b in list(blocks)[:LISTED])
    return some + (f" and {len(blocks) - LISTED} more" if len(blocks) > LISTED else "")
