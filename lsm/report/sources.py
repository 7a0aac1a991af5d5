"""The files that the report is made from. All are optional except the map; missing ones are named."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from lsm.inputs.factor.definition import Factor
from lsm.maps.classes import ClassConstants
from lsm.report.left_out import LeftOut
from lsm.report.tables import MEASURES
from lsm.run.artifacts import map_npz, need, read_csv
from lsm.run.paths import Paths
from lsm.run.settings import InputError

SOURCES = {  # by property of Paths: what the page shows of it, the stage that writes it, columns or arrays
    "blocks_table": ("blocks", "scene_sampling.py", ("block", "cells", "samples", "landslides")),
    "tasks": ("samples", "scene_sampling.py", ("factors", "xy", "label")),
    "models": ("models of blocks", "predict_LSM.py", ("state", "support", "adapted_share")),
    "metrics": ("held-out scores", "meta_learner.py", ("block", "adapted", "samples", "landslides", *MEASURES)),
    "held_out": ("interval of the held-out scores", "meta_learner.py", ("block", "label", "score_after")),
    "method_metrics": ("other methods", "compare_methods.py",
                       ("protocol", "subset", "with_dv", "k", "method", "measure", "mean", "n")),
    "method_differences": ("how ours stands among other methods", "compare_methods.py",
                           ("protocol", "with_dv", "rival", "measure", "low", "high")),
    "importance": ("leading factors of a place", "feature_permutation.py",
                   ("block", "factor", "mean_abs_shap", "sign", "rank", "state")),
    "gis_table": ("applicability in numbers", "export_gis.py", ("product", "measure", "value")),
    "model": ("members", "meta_learner.py", ("kinds",)),
    "split": ("how points were held out", "meta_learner.py", ("role",))}


class ReportConstants(ClassConstants, Protocol):
    """The constants of the report, as report.py explains them."""

    LARGEST: int
    POINTS: int
    LEADERS: int
    THIN: int
    LEAKY: float
    FIGURE_WIDTH: int
    FIGURE_QUALITY: int
    factors: tuple[Factor, ...]


class Collector:
    """Reads files, remembers which it was asked for and which were used, and notes files that are missing or of another
    run."""

    def __init__(self, region: str, takes: str = "report"):
        self.asked, self.used, self.left_out = [], [], LeftOut(region, takes)

    def get(self, what: str, path: Path, stage: str, read: Callable):
        """What read() returns for the file `path` of `stage`; None, and a note on `what`, where the file cannot be
        used."""
        self.asked.append(path)
        try:
            value = read()
        except InputError as error:
            self.left_out.note(what, path, stage, str(error))
            return None
        self.used.append(path)
        return value

    def sources(self, paths: Paths, c: ReportConstants) -> dict:
        """Every table and every set of arrays of SOURCES by its name, None where it cannot be used."""
        out = {}
        for name, (what, stage, columns) in SOURCES.items():
            path = getattr(paths, name)
            read = (lambda p=path, s=stage, n=columns: need(map_npz(p, s, c), p, n, s)) if path.suffix == ".npz" else (
                partial(read_csv, path, stage, c, columns))
            out[name] = self.get(what, path, stage, read)
        return out
