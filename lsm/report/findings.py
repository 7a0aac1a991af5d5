"""What a reader must know before trusting the map; each finding with its remedy."""

import numpy as np
import pandas as pd

from lsm.blocks.units import doubts
from lsm.checks.finding import Finding
from lsm.checks.table_checks import of_labels
from lsm.inputs.factor.definition import Factor
from lsm.inputs.samples import Samples, read_samples
from lsm.insar.origins import origins
from lsm.insar.weak_samples import separations
from lsm.learner.support.supports import MOVED, NO_SAMPLES, ONE_CLASS, PARTLY
from lsm.learner.tasks import OTHERS
from lsm.maps.classes import dominant_class
from lsm.maps.layer_tables import LITTLE
from lsm.report.sources import Collector, ReportConstants
from lsm.run.artifacts import read_csv
from lsm.run.paths import Paths, shown
from lsm.run.pipeline import CHECK, CUT
from lsm.run.settings import counted

UNCOVERED = 0.05  # share of the map outside own units that is worth a warning
LISTED = 12  # blocks named in a finding, at most
COLUMNS = ("topic", "file", "level", "found", "remedy")  # of the table of check_region.py


def all_of(paths: Paths, got: Collector, found: dict, held: dict | None, forecast: str, in_classes: np.ndarray,
           uncovered: float, c: ReportConstants) -> list[Finding]:
    """The findings on inputs, blocks, models and map, each once, errors first.

    got         collects what cannot be looked at
    found       tables and arrays of SOURCES by name, None where there is none
    held        the held-out scores, as `tables.held_out` gives them
    forecast    what FORECAST made of the map, as `gis.forecast_of` tells it
    in_classes  (classes,) cells of the map in each class
    uncovered   share of the map's cells that lie outside every block
    """
    out, samples, blocks, models, gis = [], *(found[name] for name in ("tasks", "blocks_table", "models", "gis_table"))
    if samples is not None:
        origin = got.get("leaky factors", paths.tasks, CUT, lambda: origins(paths, samples, c))
        if origin is not None:
            out += leaky(samples, origin[0], c.factors, c.LEAKY, shown(paths.tasks))
    table = got.get("repeated places", paths.samples, "", lambda: read_samples(paths.samples, c.factors))
    if table is not None:
        out += doubtful_labels(table, shown(paths.samples))
    if blocks is not None:
        out += thin_blocks(blocks, c.THIN, shown(paths.blocks_table))
        if "unit" in blocks:
            out += [Finding("own units", shown(paths.blocks_table), "warning", *text.rsplit("; ", 1))
                    for text in doubts(blocks)]
            if uncovered >= UNCOVERED:
                out.append(Finding("own units", shown(paths.blocks), "warning",
                                   f"{uncovered:.0%} of the map's cells lie outside every unit: they take the nearest "
                                   "unit's model, and no sample there is used", "bring units that cover the area"))
        if models is not None:
            cells, file = blocks["cells"].to_numpy(), shown(paths.models)
            out += fallen_back(models["state"], cells, file) + in_part(models["state"], cells, file)
            out += little_adapted(models["state"], models["adapted_share"], cells, file)
    if held and held["one_class"]:
        out += of_one_class(held, shown(paths.metrics))
    elif held and held["few"]:
        out += few_held_out(held, c.REGION, shown(paths.metrics))
    if held and held["chance"]:
        out += no_better_than_chance(held, shown(paths.metrics))
    if same := dominant_class(in_classes, c):
        out.append(Finding("classes", shown(paths.map_raster), "warning", f"{same}, so the map in classes shows no "
                           "differences; landslides may be rare among the samples, or the factors tell little",
                           "BREAKS=quantile makes classes of equal area; the layer of probabilities shows differences"))
    if forecast:
        out.append(Finding("landslides to come", shown(paths.map_raster), "warning",
                           f"FORECAST=True: {forecast}; held-out scores are of landslides of all years, not of newer "
                           "ones",
                           "compare_methods.py PROTOCOLS=temporal scores newer ones; FORECAST=False goes back"))
    if gis is not None:
        out += outside(dict(zip(gis["measure"], gis["value"], strict=True)), shown(paths.gis_table))
    checks = got.get("checks of the inputs", paths.checks, CHECK, lambda: read_csv(paths.checks, CHECK, c, COLUMNS))
    out += of_checks(checks) if checks is not None else []
    return sorted(dict.fromkeys(out), key=lambda finding: finding.level != "error")


def leaky(samples: dict, origin: np.ndarray, factors: tuple[Factor, ...], limit: float, file: str) -> list[Finding]:
    """Factors that alone separate landslides of one origin from non-landslides at an AUROC above `limit`.

    samples, origin  of the tasks: factors (samples, factors); "inventory", "insar" or "absence" (samples,)
    """
    out = []
    for kind, what in (("insar", "weak (InSAR) landslides"), ("inventory", "inventory landslides")):
        landslides, absent = (samples["factors"][origin == name] for name in (kind, "absence"))
        if not len(landslides) or not len(absent):
            continue
        for name, auroc in separations(landslides, absent, factors):
            found = max(auroc, 1 - auroc)
            if found > limit:
                out.append(Finding(
                    "leaky factor", file, "warning",
                    f"{name} alone separates {what} from non-landslides at AUROC {found:.3f}",
                    f"scores on these points are partly circular; look at the scores without {name} "
                    "(WITHOUT of compare_methods.py)"))
    return out


def doubtful_labels(samples: Samples, file: str) -> list[Finding]:
    """What check_region.py would find in places and labels; of the demo area it may never have been run."""
    table = pd.DataFrame(samples.xy, columns=["X", "Y"]).assign(label=samples.label)
    return [f for f in of_labels(table, pd.DataFrame(samples.factors), file) if f.level != "ok"]


def thin_blocks(blocks: pd.DataFrame, limit: int, file: str) -> list[Finding]:
    """Blocks with no more than `limit` samples, and blocks with one class."""
    out = []
    few = blocks["samples"] <= limit
    one = (blocks["samples"] > 0) & ((blocks["landslides"] == 0) | (blocks["landslides"] == blocks["samples"]))
    both = f" ({(one & few).sum()} of them also {limit} samples or fewer)" * bool((one & few).any())
    for what, chosen in ((f"{limit} samples or fewer", few), (f"samples of one class only{both}", one)):
        if chosen.any():
            share = blocks.loc[chosen, "cells"].sum() / max(blocks["cells"].sum(), 1)
            out.append(Finding("thin blocks", file, "warning",
                               f"{chosen.sum()} of {len(blocks)} blocks, {100 * share:.1f} % of the area, have {what}: "
                               + block_list(blocks.loc[chosen, "block"]),
                               "the map there depends on samples of other blocks; map more landslides and "
                               "non-landslides there"))
    return out


def fallen_back(state: np.ndarray, cells: np.ndarray, file: str) -> list[Finding]:
    """Blocks that keep the intermediate model for want of samples; state and cells (blocks,)."""
    kept = np.flatnonzero(np.isin(state, (NO_SAMPLES, ONE_CLASS)))
    if not len(kept):
        return []
    share = cells[kept].sum() / max(cells.sum(), 1)
    return [Finding("intermediate model", file, "warning",
                    f"{len(kept)} of {len(state)} blocks, {100 * share:.1f} % of the area, "
                    f"keep the intermediate model, not adapted: {block_list(kept)}",
                    "no samples, or one class only; add samples, or let blocks borrow (LOCAL_BORROW of "
                    "meta_learner.py)")]


def in_part(state: np.ndarray, cells: np.ndarray, file: str) -> list[Finding]:
    """Blocks of which some members adapted and others did not; state and cells (blocks,)."""
    some = np.flatnonzero(state == PARTLY)
    if not len(some):
        return []
    share = cells[some].sum() / max(cells.sum(), 1)
    return [Finding("intermediate model", file, "warning",
                    f"{len(some)} of {len(state)} blocks, {100 * share:.1f} % of the area, adapted in part: "
                    f"{block_list(some)}; some members keep the intermediate model, since the samples nearest to these "
                    "blocks are of one class, or there are none",
                    "the map may step at their borders; add samples of both classes there")]


def little_adapted(state: np.ndarray, share: np.ndarray, cells: np.ndarray, file: str) -> list[Finding]:
    """Blocks that adapted, but little on the whole; state, share of adaptation and cells (blocks,)."""
    adapted = np.isin(state, MOVED)
    mean = (share * cells)[adapted].sum() / max(cells[adapted].sum(), 1)
    if not adapted.any() or mean >= LITTLE:
        return []
    return [Finding("adaptation", file, "warning",
                    f"{counted(adapted.sum(), 'block')} adapted, but by a share of {mean:.2f} only, the mean over "
                    "their area (0: intermediate model, 1: fully adapted): most cells lie far from every sample",
                    "the map is mostly the intermediate model's, which is one for all blocks; samples spread over the "
                    "blocks let them adapt")]


def of_one_class(held: dict, file: str) -> list[Finding]:
    """Held-out points of one class; held as `tables.held_out` gives it."""
    return [Finding("held-out scores", file, "warning",
                    f"the {counted(held['samples'], 'held-out point')} in {counted(held['blocks'], 'block')} are all "
                    f"{held['one_class']}: no score tells whether the map knows landslides from other places",
                    f"{OTHERS}, holds out others; if that does not help, the other class lies in few blocks: add "
                    "samples of it elsewhere")]


def few_held_out(held: dict, region: str, file: str) -> list[Finding]:
    """Held-out scores of few blocks or points; held as `tables.held_out` gives it."""
    where = f", 95 % interval {held['interval']}," * bool(held["interval"])
    return [Finding("held-out scores", file, "warning",
                    f"AUROC {held['auroc']}{where} from {counted(held['blocks'], 'held-out block')} with "
                    f"{counted(held['landslides'], 'landslide')} and "
                    f"{counted(held['samples'] - held['landslides'], 'non-landslide')}: too few for more than a rough "
                    "figure",
                    f"make compare REGION={region} PROTOCOLS=partitions scores every sample in turn")]


def no_better_than_chance(held: dict, file: str) -> list[Finding]:
    """Held-out scores that chance may give as well; held as `tables.held_out` gives it."""
    return [Finding("held-out scores", file, "warning",
                    f"AUROC {held['auroc']}, 95 % interval {held['interval']}: guessing has 0.5",
                    "the map may hold no information; see whether points and labels are in their places, and bring "
                    "factors that have to do with landslides")]


def outside(values: dict[str, float], file: str) -> list[Finding]:
    """Cells outside the area of applicability; values by measure, from the table of export_gis.py."""
    share = values.get("share of cells outside")
    if not share:
        return []
    return [Finding("applicability", file, "warning",
                    f"{100 * share:.1f} % of cells lie outside the area of applicability: their factors are farther "
                    "from every sample than samples are from each other",
                    "see the layer Applicability; sample such places, or leave them off the map")]


def of_checks(table: pd.DataFrame) -> list[Finding]:
    """What check_region.py found, errors first."""
    rows = table.loc[table["level"].isin(("error", "warning")), list(COLUMNS)].fillna("")
    return [Finding(*map(str, row)) for row in rows.sort_values("level", kind="stable").itertuples(index=False)]


def block_list(blocks) -> str:
    """The numbers of blocks as text, at most LISTED of them."""
    some = ", ".join(str(b) for b in list(blocks)[:LISTED])
    return some + (f" and {len(blocks) - LISTED} more" if len(blocks) > LISTED else "")
