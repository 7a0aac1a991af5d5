"""The published recipe under the published protocol, then made honest step by step: what each step is worth.

Published: a block with more than MIN_SAMPLES samples is a task; three quarters of them train, the others are held out.
A held-out block adapts on one half of its samples, in batches of 8 that are drawn anew for each step, and is scored on
the other half. Places that stand twice in the table are kept, so a place may be learned from and scored. The encoder
and the pretraining see the factors of all samples. The scored half is normalised by its own statistics, so a score
depends on which other points are scored with it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from tabulate import tabulate

from lsm.comparison import measures, splits
from lsm.comparison.fit_jobs import Job
from lsm.comparison.ours.networks import Stages, ours, samples_of, trained
from lsm.comparison.splits import QUERY, SUPPORT, TRAIN, UNUSED, Split
from lsm.inputs.factor.definition import Factor
from lsm.inputs.layers import take
from lsm.inputs.rasters import locate, open_raster
from lsm.inputs.samples import read_samples, unique_places
from lsm.learner.adaptation import adapted_scores
from lsm.learner.maml import inner_step
from lsm.learner.members import Training
from lsm.learner.network import batch_statistics, logits, tf
from lsm.learner.prediction import probability
from lsm.learner.tasks import Tasks, rows_by_block
from lsm.run.artifacts import artifact, write_csv
from lsm.run.paths import Paths

PUBLISHED_AUROC = 0.971  # mean of 5 runs
WHAT = {  # of each step: what changes against the step before it
    "published": "as published",
    "no repeats": "each place and each row of factors once",
    "query unseen": "encoder and pretraining see no query point",
    "support statistics": "normalised by the support, not by the tested half: RECIPE=published",
    "whole support": "every step on the whole support, the best step kept",
    "support tasks": "the supports of held-out blocks are tasks of meta-training too",
    "recommended": "RECIPE=recommended, the adapted networks",
}
MEASURES = ("accuracy", "precision", "recall", "f1", "kappa", "auroc", "brier")


@dataclass(frozen=True)
class PublishedTable:
    """Every row of the samples table that lies in a block: factors (rows, factors) described by `described`, xy
    (rows, 2), label, block (rows,); repeated (rows,) bool: rows that repeat the place or the factors of another."""

    factors: np.ndarray
    described: tuple[Factor, ...]
    xy: np.ndarray
    label: np.ndarray
    block: np.ndarray
    repeated: np.ndarray


class AllSeen(Split):
    """A split whose encoder and pretraining see the factors of the query too."""

    @cached_property
    def seen(self) -> np.ndarray:
        """(points,) bool."""
        return self.role != UNUSED


def read_published(paths: Paths, described: tuple[Factor, ...]) -> PublishedTable:
    """From the samples table and the raster of blocks. Raises InputError."""
    samples, labels = read_samples(paths.samples, described), open_raster(paths.blocks, "run scene_sampling.py again")
    row, col, inside = locate(labels.GetGeoTransform(), (labels.RasterYSize, labels.RasterXSize), samples.xy)
    block = np.full(len(inside), -1)
    block[inside] = take(labels, row[inside], col[inside])
    keep, *_ = unique_places(samples)
    once = np.zeros(len(block), bool)
    once[np.setdiff1d(keep, splits.repeated_rows(samples.factors, keep))] = True
    kept = block >= 0
    return PublishedTable(samples.factors[kept], described, samples.xy[kept], samples.label[kept].astype(np.int32),
                     block[kept], ~once[kept])


def roles_of(inventory: PublishedTable, min_samples: int, share: float, seed: int) -> np.ndarray:
    """The role (rows,) of every row in one run: `share` of the eligible blocks train, the others are held out."""
    rng = np.random.default_rng([seed, 8])
    eligible = splits.eligible_blocks(inventory.block, min_samples)
    return splits.few_shot_roles(inventory.block, inventory.xy, min_samples, eligible,
                                 len(eligible) - round(share * len(eligible)), "random", rng)


def steps_scores(inventory: PublishedTable, stages: Stages, seed: int) -> dict[str, np.ndarray]:
    """{step: landslide probability (rows,)} of the query of one run, nan elsewhere, and "role" (rows,)."""
    one, three = stages.constants("published", seed)
    role = roles_of(inventory, three.MIN_SAMPLES, three.META_TRAIN_SHARE, seed)

    def split(role: np.ndarray, of: Callable = Split) -> Split:
        return of(inventory.factors, inventory.described, inventory.xy, inventory.label, inventory.block, role,
                  "published")

    def fitted(split: Split, supports: bool = False) -> tuple:
        known = split.labelled if supports else split.role == TRAIN
        return trained(split, one, three, stages.pretrained, seed, known)

    once = np.where(inventory.repeated, UNUSED, role).astype(np.int8)
    every, honest = split(once, AllSeen), split(once)
    out = {"published": by_tested_half(fitted(split(role, AllSeen))[0], split(role, AllSeen), three, seed),
           "no repeats": by_tested_half(fitted(every)[0], every, three, seed)}
    training, pooled = fitted(honest)
    out["query unseen"] = by_tested_half(training, honest, three, seed)
    for name, models, batch in (("support statistics", (training, pooled), three.ADAPT_BATCH),
                                ("whole support", (training, pooled), 0), ("support tasks", fitted(honest, True), 0)):
        kinds = [replace(kind, batch=batch) for kind in models[0].kinds]
        out[name], _ = adapted_scores(replace(models[0], kinds=kinds), models[1], samples_of(honest), honest.labelled,
                                      once == QUERY, np.random.default_rng([seed, 1]))
    out["recommended"] = np.full(len(role), np.nan)
    predict, *_ = ours("recommended")(honest, None, stages, seed)
    out["recommended"][once == QUERY] = predict(honest.rows(honest.asked))[once[honest.asked] == QUERY]
    return {name: p.astype(np.float32) for name, p in out.items()} | {"role": role}


def by_tested_half(training: Training, split: Split, three, seed: int) -> np.ndarray:
    """The probability (points,) of the query, nan elsewhere, as the published code adapts and predicts.

    A block adapts by ADAPT_STEPS steps on ADAPT_BATCH samples of its support, drawn anew for each step. Its query is
    normalised by its own statistics.
    """
    rng = np.random.default_rng([seed, 9])
    both = np.intersect1d(split.block[split.role == SUPPORT], split.block[split.role == QUERY])
    support, query = (rows_by_block(split.block, (split.role == role) & np.isin(split.block, both))[1]
                      for role in (SUPPORT, QUERY))
    state = training.states[0][0]
    weights = [tf.tile(tf.constant(w)[None], [len(both)] + [1] * np.ndim(w)) for w in state["weights"]]
    rates = [tf.constant(rate) for rate in state["inner_lr"]]
    for _ in range(three.ADAPT_STEPS):
        batch = Tasks.of([rng.permutation(rows)[:three.ADAPT_BATCH] for rows in support])
        weights, _ = inner_step(weights, rates, split.x[batch.members], split.label[batch.members], batch.mask(), True,
                                True)
    asked = Tasks.of(query)
    x, mask = split.x[asked.members], asked.mask()
    z = logits(weights, x, batch_statistics(weights, x, mask)).numpy()
    out = np.full(len(split.role), np.nan)
    out[asked.members[mask > 0]] = probability(z[..., 1] - z[..., 0])[mask > 0]
    return out


def table(inventory: PublishedTable, runs: dict[int, dict[str, np.ndarray]]) -> pd.DataFrame:
    """A row for each step and run: step, run, n, MEASURES."""
    rows = []
    for run, found in runs.items():
        for step in WHAT:
            asked = np.isfinite(found[step])
            if 0 < inventory.label[asked].mean() < 1:
                values = measures.all_measures(inventory.label[asked], found[step][asked])
                rows.append({"step": step, "run": run, "n": int(asked.sum())} | {m: values[m] for m in MEASURES})
    return pd.DataFrame(rows, columns=["step", "run", "n", *MEASURES])


def steps_page(table: pd.DataFrame) -> str:
    """The table as Markdown: mean (sd) over the runs, the published number first."""
    groups = table.groupby("step", sort=False)[list(MEASURES)]
    text = groups.mean().map("{:.3f}".format) + groups.std().map(lambda v: "" if np.isnan(v) else f" ({v:.3f})")
    text.insert(0, "what", [WHAT[step] for step in text.index])
    first = pd.DataFrame([{"what": "Engineering Geology 327, 107342", "auroc": f"{PUBLISHED_AUROC:.3f}"}],
                         index=["in the paper"], columns=text.columns)
    runs = table["run"].nunique()
    rows = pd.concat([first, text]).fillna("")
    return (f"The published recipe step by step, {runs} runs: mean (sd). Each step keeps the steps above it. For the "
            "other measures the paper gives gains, no numbers.\n\n"
            + tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True) + "\n")


def write_steps(paths: Paths, inventory: PublishedTable, jobs: list[Job], made: tuple) -> list:
    """Writes the table and the page of finished jobs; returns the files. made: stage, constants and inputs."""
    runs = {}
    for job in jobs:
        with np.load(job.path, allow_pickle=False) as file:
            runs[job.seed] = {name: file[name].astype(float) for name in WHAT}
    found = table(inventory, runs)
    write_csv(paths.published_steps, found, *made)
    with artifact(paths.published_steps_page, *made) as temporary:
        temporary.write_text(steps_page(found))
    print(steps_page(found))
    return [paths.published_steps, paths.published_steps_page]
