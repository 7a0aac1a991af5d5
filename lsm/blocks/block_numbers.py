"""The blocks in numbers, and whether they are enough for a recipe whose tasks are blocks."""

from typing import Protocol

import pandas as pd


class TaskConstants(Protocol):
    """The constants of meta_learner.py that say how many blocks it needs."""

    MIN_SAMPLES: int
    META_TRAIN_SHARE: float
    META_BATCH: int
    LOCAL_NEIGHBOURHOOD: int


def too_few_tasks(blocks: int, c: TaskConstants) -> str:
    """Why meta-training and its report need more than so many blocks with more than MIN_SAMPLES samples, in words; ""
    where they are enough, or where tasks are neighbourhoods of samples."""
    taught = round(c.META_TRAIN_SHARE * blocks)
    if c.LOCAL_NEIGHBOURHOOD or (taught >= c.META_BATCH and blocks > taught):
        return ""
    return (f"{blocks} blocks with more than {c.MIN_SAMPLES} samples: expected {c.META_BATCH} to learn from "
            f"(META_BATCH) and others to hold out, found {taught} and {blocks - taught}, since a task of this recipe "
            "is a block; use RECIPE=recommended")


def blocks_in_words(table: pd.DataFrame, task_samples: int) -> str:
    """The blocks in numbers, for the terminal."""
    shares = (0, 0.25, 0.5, 0.75, 1)
    lines = [f"{'':20}{'min':>8}{'25 %':>8}{'median':>8}{'75 %':>8}{'max':>8}{'all':>10}"]
    for name in ("cells", "samples"):
        quantiles = "".join(f"{q:8.0f}" for q in table[name].quantile(shares))
        lines.append(f"{name + ' per block':20}{quantiles}{table[name].sum():10d}")
    one_class = (table.samples > 0) & ((table.landslides == 0) | (table.landslides == table.samples))
    counts = ((len(table), "blocks"), ((table.samples == 0).sum(), "without samples"),
              (one_class.sum(), "with one class only"),
              ((table.samples > task_samples).sum(), f"with more than {task_samples} samples"))
    return "\n".join(lines + [f"{n:6d} {what}" for n, what in counts])
