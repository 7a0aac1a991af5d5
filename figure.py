"""Stage 7: every figure, drawn from the numbers that the stages saved. It computes nothing that another stage owns.

Reads   src_data/<REGION>/composite.tif (the terrain under the maps) and, for the figures on the left,
        inventory      src_data/samples_<REGION>_noTS.csv and Ts_<REGION>.csv, or samples_<REGION>.csv, with
                       <REGION>_samples_origin.csv where augment_inventory.py wrote it
        deformation    these, and the grid for its DV: src_data/grid_samples_<REGION>.csv, or <REGION>/factors.tif
        blocks         metatask_sampling/<REGION>_blocks.tif, _blocks.csv, _tasks.npz
        pretraining    unsupervised_pretraining/model_init/<REGION>_history.csv
        meta_training  checkpoint_dir/<REGION>_history.csv
        adaptation     checkpoint_dir/<REGION>_metrics.csv
        roc            checkpoint_dir/<REGION>_heldout.csv
        lsm_map        figs/LSM_<REGION>.tif, tmp/<REGION>_breaks.json
        augmentation   tmp/<REGION>_augmentation.csv, _augmentation_points.csv
        correlation    tmp/<REGION>_correlation.csv, _checks.csv
        non_landslides tmp/<REGION>_non_landslides.csv
        from compare_methods.py; * stands for a protocol:
        method_roc, method_precision_recall, reliability_*   tmp/<REGION>_scores.csv.gz
        method_rates                                         tmp/<REGION>_rates.csv
        measures_*, gap, distance, subsets, few_shot,
        weak_label_worth                                     tmp/<REGION>_metrics.csv
        differences                                          tmp/<REGION>_differences.csv
        block_kinds, few_shot_blocks                         tmp/<REGION>_block_metrics.csv; block_kinds: _tasks.npz
        method_maps                                          tmp/<REGION>_method_maps.tif, _scores.csv.gz, _blocks.tif,
                                                             and figs/LSM_<REGION>.tif for the breaks
        from feature_permutation.py:
        shap_territory, shap_blocks   tmp/<REGION>_shap.npz, _importance.csv, _importance_territory.csv, and _tasks.npz
        leading_factor                figs/<REGION>_leading_factor.tif, tmp/<REGION>_importance.csv
        and for
        factor_maps                   src_data/grid_samples_<REGION>.csv, or <REGION>/factors.tif
        learned_factors               checkpoint_dir/<REGION>_model.npz, _split.csv, and _tasks.npz
Writes  figs/<REGION>_<figure>.png with its record, .pdf, and .csv with the numbers drawn. A figure whose input is
        missing or of another run is left out, and a line says why, or which command adds it.
        tmp/<REGION>_breaks.json, where there is none for this BREAKS: breaks between the classes. Later runs use them
        again, so that maps can be compared; remove the file to draw new ones
Run     python figure.py   or one figure alone: python figure.py ONLY=lsm_map
"""

import os
from dataclasses import dataclass
from functools import partial

import matplotlib

from lsm.figures import area_maps, factors, importance, region_checks, styles, training
from lsm.figures.common import SUFFIXES, NotCompared, NothingToDraw, save
from lsm.figures.comparison import block_kinds, curves, few_shot, measure_bars, method_maps, weak_labels
from lsm.maps import classes
from lsm.report.left_out import FOLLOWS, LeftOut
from lsm.report.pictures import FIGURES
from lsm.run.artifacts import record_path
from lsm.run.paths import Paths, shown
from lsm.run.progress import UNEVEN, Progress
from lsm.run.settings import InputError, at_least, nearest_name, run
from study_area import MappedArea


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants(MappedArea):
    """What a person may set, here or for one run as NAME=value."""

    ONLY: str = ""            # the figure to draw, alone; "" draws all whose inputs are there
    DPI: int = 300            # of the png, and of what the pdf holds as pixels
    THIN: int = 16            # samples; a block with no more is shaded as thin; published 16, for tasks
    LARGEST: int = 2000       # cells a side; larger rasters are read decimated
    RASTERISE: int = 20_000   # points; where there are more, the pdf holds them as pixels
    TOP: int = 8              # methods in colour in figures of curves; the others are pale
    KINDS: int = 4            # kinds of blocks in block_kinds, found by clustering; not published
    SHOT_STEPS: int = 20      # adaptation steps of few_shot_blocks
    SHAP_BLOCKS: tuple = ()   # blocks in shap_blocks, like (12, 40); (): three that have most explained samples
    SHAP_ROWS: int = 10       # factors that shap_blocks draws for each block
    SWARM: int = 2000         # explained samples that shap_territory draws as points, at most
    METHOD_CELLS: int = 720   # cells a side of a method's small map
    FACTOR_CELLS: int = 450   # cells a side of a factor's small map
    EMBEDDED: int = 800       # samples in learned_factors, at most
    NEIGHBOURS: int = 15      # of a sample in learned_factors: in Isomap's graph, in the share alike; not published
    PERPLEXITY: float = 30.0  # of t-SNE in learned_factors; not published
    TSNE_STEPS: int = 500     # steps of its gradient descent; not published
    # a word on every map of a region, in short; report.py has it in full: (region, text)
    MAP_NOTES: tuple[tuple, ...] = (("HK", "stand-in rasters: no map of Hong Kong"),)
# ----------------------------------------------------------------------------------------------------------------


def figures() -> dict:
    """Every figure by its name, in the order drawn: a function of the constants that returns a figure and its numbers.
    """
    plain = (area_maps.inventory, area_maps.deformation, area_maps.blocks, training.pretraining, training.meta_training,
             training.adaptation, training.roc, area_maps.lsm_map, weak_labels.augmentation, region_checks.correlation,
             region_checks.non_landslides, curves.method_roc, curves.method_precision_recall, curves.method_rates,
             measure_bars.differences, measure_bars.gap, measure_bars.distance, measure_bars.subsets,
             weak_labels.weak_label_worth, block_kinds.block_kinds, few_shot.few_shot, few_shot.few_shot_blocks,
             method_maps.method_maps, importance.shap_territory, importance.shap_blocks, area_maps.leading_factor,
             factors.factor_maps, factors.learned_factors)
    out = {draw.__name__: draw for draw in plain}
    for protocol in styles.PROTOCOLS:
        out[f"measures_{protocol}"] = partial(measure_bars.bars, protocol=protocol)
        out[f"reliability_{protocol}"] = partial(curves.reliability, protocol=protocol)
    return out


def check_constants(c: Constants) -> None:
    """Raises InputError for constants that mean nothing."""
    classes.check_constants(c)
    at_least(c, DPI=1, THIN=0, LARGEST=16, RASTERISE=0, TOP=1, KINDS=1, SHOT_STEPS=0, SHAP_ROWS=1, SWARM=1,
             METHOD_CELLS=16, FACTOR_CELLS=16, EMBEDDED=2, NEIGHBOURS=1, TSNE_STEPS=250)
    if not all(len(note) == 2 for note in c.MAP_NOTES):
        raise InputError(f"MAP_NOTES={c.MAP_NOTES}: expected pairs of a region and a text")


def main(c: Constants) -> None:
    """Runs the stage."""
    check_constants(c)
    drawers = figures()
    if c.ONLY and c.ONLY not in drawers:
        near = nearest_name(c.ONLY, drawers)
        raise InputError(f"ONLY={c.ONLY}: expected the name of a figure; "
                         + (f"did you mean {near}?" if near else "--help lists them"))
    drawn, areas, left_out = [], None, LeftOut(c.REGION)
    with matplotlib.rc_context(styles.STYLE):
        for name in Progress([c.ONLY] if c.ONLY else list(drawers), "drawing", unit="figure", bar_format=UNEVEN):
            try:
                fig, table = drawers[name](c)
            except InputError as error:
                files = [Paths(c.REGION).figure(name, suffix) for suffix in SUFFIXES]
                if isinstance(error, NothingToDraw) or not c.ONLY:  # then what an earlier run drew is not of this one
                    record_path(files[0]).unlink(missing_ok=True)
                if isinstance(error, NothingToDraw):
                    for path in files:
                        path.unlink(missing_ok=True)
                if c.ONLY:
                    raise
                if isinstance(error, NothingToDraw):
                    continue
                needs, stage, _ = FIGURES[name]
                left_out.note(f"figure {name}", getattr(Paths(c.REGION), needs), stage, str(error),
                              asked=not isinstance(error, NotCompared))
                continue
            save(c, name, fig, table)
            drawn.append(name)
            areas = table if name == "lsm_map" else areas
    if lines := left_out.lines(commands_too=FOLLOWS not in os.environ):
        print("left out:", *lines, sep="\n  ")
    earlier = [name for name in FIGURES if name not in drawn and Paths(c.REGION).figure(name, SUFFIXES[0]).is_file()]
    if earlier and not c.ONLY:
        print(f"figures of an earlier run, still in the folder: {', '.join(earlier)}")
    if areas is not None:
        print(areas.to_string(index=False, float_format="{:.4g}".format, formatters={
            "area_km2": "{:.2f}".format, "share": "{:.1%}".format}))
    for name in drawn:
        print(f"wrote {shown(Paths(c.REGION).figure(name, SUFFIXES[0]))}", *SUFFIXES[1:], sep=", .")


if __name__ == "__main__":
    run(main, Constants)
