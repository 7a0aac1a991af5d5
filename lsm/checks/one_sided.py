"""Values of a factor that samples of one class alone hold: often fill values, which make labels look easy."""

import numpy as np
import pandas as pd

from lsm.checks.finding import Finding
from lsm.inputs.factor.definition import Factor

SHARE = 0.01  # of the samples that hold the very same number
FEWEST = 50   # of them; so many of one class are no chance where both classes are common


def one_sided(values: np.ndarray, label: np.ndarray, factors: tuple[Factor, ...]
              ) -> dict[tuple[int, float], np.ndarray]:
    """{(column, number): rows (n,) bool} of each number that SHARE of the samples hold, all of one class.

    values (samples, factors), label (samples,). Classes of categorical factors do not count: a rock may well hold
    landslides only.
    """
    out = {}
    for j, factor in enumerate(factors):
        if factor.kind == "categorical":
            continue
        numbers, counts = np.unique(values[:, j], return_counts=True)
        for number in numbers[counts >= max(FEWEST, SHARE * len(label))]:
            rows = values[:, j] == number
            if label[rows].min() == label[rows].max() and label.min() != label.max():
                out[j, float(number)] = rows
    return out


def of_one_sided(values: pd.DataFrame, label: pd.Series, factors: tuple[Factor, ...], file: str) -> list[Finding]:
    """A warning for each such number; values (rows, factors) by name."""
    known = label.isin((0, 1)) & values.notna().all(axis=1)
    there = tuple(factor for factor in factors if factor.name in values)
    label = label[known].to_numpy()
    found = one_sided(values.loc[known, [f.name for f in there]].to_numpy(float), label, there) if known.any() else {}
    return [Finding("labels", file, "warning",
                    f"{there[j].name} is {number:g} in {rows.sum():,} rows, "
                    f"{'all' if label[rows][0] else 'none'} of them landslides",
                    "if it stands for no data, fill it from the raster or leave these rows out: they make scores look "
                    "better than they are") for (j, number), rows in found.items()]
