"""The figures of the report: their captions, which of them belong to this run, and small copies to embed."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lsm.figures.styles import IN_CLASSES, PROTOCOLS
from lsm.maps import classes
from lsm.report.left_out import LeftOut
from lsm.report.map_layers import uri
from lsm.report.sources import ReportConstants
from lsm.run.artifacts import check, record_of, record_path
from lsm.run.code import sha256
from lsm.run.paths import Paths, shown
from lsm.run.pipeline import DRAW
from lsm.run.settings import InputError

_COMPARE, _EXPLAIN = "compare_methods.py", "feature_permutation.py"
FIGURES = {  # by name, in the order shown: the file whose numbers the figure draws, the stage that writes it, caption
    "lsm_map": ("map_raster", "predict_LSM.py", "The map in classes, over the terrain"),
    "inventory": ("tasks", "scene_sampling.py", "Landslides and non-landslides, by their source"),
    "deformation": ("tasks", "scene_sampling.py", "Velocities that InSAR measured"),
    "blocks": ("blocks", "scene_sampling.py", "Blocks and the samples in them"),
    "roc": ("held_out", "meta_learner.py", "ROC of held-out points"),
    "adaptation": ("metrics", "meta_learner.py", "Held-out blocks before and after adaptation"),
    "meta_training": ("history", "meta_learner.py", "Losses in meta-training, by kind of member"),
    "pretraining": ("pretraining_history", "unsupervised_pretraining/DAS_pretraining.py",
                    "Reconstruction errors in pretraining"),
    "leading_factor": ("importance", _EXPLAIN, "The leading factor of every block"),
    "shap_territory": ("shap_values", _EXPLAIN, "How each factor acts, over the territory (SHAP)"),
    "shap_blocks": ("shap_values", _EXPLAIN, "How each factor acts, in some blocks (SHAP)"),
    "factor_maps": ("map_raster", "predict_LSM.py", "A map of every factor"),
    "learned_factors": ("model", "meta_learner.py", "Samples in two dimensions, by factors as given and as learned"),
    "method_roc": ("scores", _COMPARE, "ROC of every method"),
    "method_precision_recall": ("scores", _COMPARE, "Precision and recall of every method"),
    "method_maps": ("method_maps", _COMPARE, "The maps of the methods side by side"),
    "method_rates": ("rates", _COMPARE, "Share of landslides against share of area"),
    "differences": ("method_differences", _COMPARE, "Ours minus each rival, with 95 % intervals"),
    "gap": ("method_metrics", _COMPARE, "What methods lose with spatial instead of random halves"),
    "distance": ("method_metrics", _COMPARE, "Scores by distance from the nearest labelled point"),
    "subsets": ("method_metrics", _COMPARE, "Scores on inventory and on InSAR landslides"),
    "weak_label_worth": ("method_metrics", _COMPARE, "What methods gain by learning from InSAR landslides"),
    "block_kinds": ("block_metrics", _COMPARE, "Scores by kind of block"),
    "few_shot": ("method_metrics", _COMPARE, "Scores by number of samples and of steps"),
    "few_shot_blocks": ("block_metrics", _COMPARE, "Scores of single blocks by number of samples"),
    "augmentation": ("augmentation_points", "augment_inventory.py", "InSAR points that became weak landslides"),
    "correlation": ("correlation", "check_region.py", "Correlation of factors"),
    "non_landslides": ("strategies", "prepare_region.py", "Ways to choose non-landslides"),
}
for _protocol in PROTOCOLS:
    FIGURES[f"measures_{_protocol}"] = ("method_metrics", _COMPARE, f"Measures by method, protocol {_protocol}")
    FIGURES[f"reliability_{_protocol}"] = ("scores", _COMPARE, f"Probability against frequency, protocol {_protocol}")


def gather(paths: Paths, breaks: list[float], c: ReportConstants, left_out: LeftOut) -> list[dict]:
    """The figures of this run; the others are noted in `left_out`.

    A figure belongs to this run if its numbers do, if it was drawn from them by its record, and if a map in classes has
    the classes of the page, with these breaks.
    """
    out, verdict = [], {}
    for name, (attribute, stage, caption) in FIGURES.items():
        path, source = paths.figure(name, "png"), getattr(paths, attribute)
        if source not in verdict:
            verdict[source] = reason_against(source, stage, c)
        if verdict[source]:
            left_out.note(f"figure {name}", source, stage, verdict[source])
        elif not path.is_file() or not record_path(path).is_file():  # figure.py removes records of an earlier run
            if name in ("lsm_map", "roc", "leading_factor", "method_roc"):  # figure.py may have skipped others
                left_out.note(f"figure {name}", path, DRAW, "missing, or of an earlier run; "
                              f"{left_out.command(DRAW, [f'ONLY={name}'])} draws it, or says why not")
        elif not drawn_from(path, source):
            left_out.note(f"figure {name}", path, DRAW,
                          f"not drawn from the numbers that are there now; run {DRAW} again")
        elif name in IN_CLASSES and in_other_classes(paths.figure(name, "csv"), breaks, c):
            left_out.note(f"figure {name}", path, DRAW, "drawn in other classes than this page; "
                          f"{left_out.command(DRAW, classes.chosen(c))} draws it again")
        else:
            picture, width, height = small(path, c.FIGURE_WIDTH, c.FIGURE_QUALITY)
            out.append({"name": name, "caption": caption, "picture": picture, "width": width, "height": height})
    return out


def drawn_from(path: Path, source: Path) -> bool:
    """Whether a figure is still as its record describes, drawn from the file `source` as it is now."""
    record = record_of(path)
    return record.get("sha256") == sha256(path) and record["inputs"].get(shown(source)) == sha256(source)


def in_other_classes(table: Path, breaks: list[float], c: ReportConstants) -> bool:
    """Whether the table of a map in classes does not have the classes with these breaks, or cannot be read."""
    expected = list(zip(c.CLASS_NAMES, (0, *breaks), (*breaks, 1), strict=True))
    try:
        drawn = pd.read_csv(table, dtype={"class": str}, keep_default_na=False)[["class", "from", "to"]]
        drawn = list(drawn.drop_duplicates().itertuples(index=False, name=None))
        return len(drawn) != len(expected) or not all(
            name == own and np.allclose(edges, of_page, rtol=1e-6)
            for (own, *edges), (name, *of_page) in zip(drawn, expected, strict=True))
    except (OSError, ValueError, KeyError, TypeError):
        return True


def reason_against(source: Path, stage: str, c: ReportConstants) -> str:
    """Why numbers are not of this run; "" where they are."""
    if not source.is_file():
        return f"need {stage}, then figure.py"
    try:
        check(source, stage, c)
    except InputError as error:
        return str(error)
    return ""


def small(path: Path, width: int, quality: int) -> tuple[str, int, int]:
    """A picture at most `width` pixels wide, on white, as data URI of a WebP; its width and height. Raises InputError.
    """
    try:
        with Image.open(path) as image:
            image = image.convert("RGBA")
    except (OSError, ValueError):
        raise InputError(f"{shown(path)}: expected a picture, found none; run figure.py again") from None
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.width > width:
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "WEBP", quality=quality, method=4)
    return uri("webp", out.getvalue()), *image.size
