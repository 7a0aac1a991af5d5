"""Accuracy by kind of block. Kinds are clusters of the blocks' mean factors, named by the factors that differ most."""

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from lsm.figures.common import Drawn, FigureConstants, arrays, caption, where
from lsm.figures.comparison import method_panels as panels
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError, counted

WORDS = {  # for low and high values of a factor; other factors are "low ..." and "high ..."
    "DEM": ("low", "high"), "elevation": ("low", "high"), "slope": ("gentle", "steep"), "NDVI": ("bare", "green"),
    "curvature": ("hollow", "convex"), "dis2road": ("near roads", "far from roads"),
    "dis2drainage": ("near streams", "far from streams"), "dis2faults": ("near faults", "far from faults"),
    "dis2catchment": ("near divides", "far from divides"), "TWI": ("dry", "wet"),
    "SPI": ("weak streams", "strong streams"), "DV": ("still", "moving")}
LEADING = 2   # factors in a name
ALIKE = 1e-9  # sd of block means; up to it a factor is the same in all blocks, except for rounding


def block_kinds(c: FigureConstants) -> Drawn:
    """Candles of accuracy over held-out blocks, a column a kind of block, a row a method, a band a protocol."""
    paths = Paths(c.REGION)
    names = ("protocol", "seed", "with_dv", "method", "block", "n", "accuracy")
    table, record = panels.compared(paths.block_metrics, c, names)
    tasks = arrays(paths.tasks, "scene_sampling.py", c, ("block", "factors", "factor_names"))
    protocols = panels.protocols_of(table, paths.block_metrics)
    table = where(table, protocol=protocols, with_dv=True)
    numbers, statistics = block_statistics(tasks, c.factors, c.THIN)
    if len(numbers) < c.KINDS:
        raise InputError(f"KINDS={c.KINDS}: expected no more than the {len(numbers)} blocks with more than {c.THIN} "
                         f"samples of {shown(paths.tasks)}; lower it")
    kind, names = kinds_of_blocks(statistics, c.KINDS, c.SEED)
    table = table.assign(kind=table["block"].map(pd.Series(kind, numbers))).dropna(subset="kind")
    order = [k for k in range(c.KINDS) if (table["kind"] == k).any()]
    methods = panels.ordered_methods(table["method"].unique())
    fig, axes = panels.rows_of_methods(panels.ROW * len(methods), len(order), len(protocols), top=0.5, gap=0.22,
                                       between=0.75, bottom=0.72)
    rows = []
    for band, protocol in zip(axes, protocols, strict=True):
        for ax, k in zip(band, order, strict=True):
            part = where(table, protocol=protocol, kind=k)
            for i, method in enumerate(methods):
                values = where(part, method=method)["accuracy"]
                if len(values):
                    numbers_drawn = candle(ax, i, values, panels.style_of(method)["color"], upright=False)
                    rows.append({"protocol": protocol, "kind": names[k], "method": method} | numbers_drawn)
            ax.set(xlim=(min(0.5, np.floor(10 * table["accuracy"].min()) / 10), 1.02))
            ax.xaxis.set_major_formatter("{x:g}")  # short: ticks of neighbouring panels do not touch
            ax.set_title(names[k].replace(", ", ",\n") + f"\n{counted(part['block'].nunique(), 'block')}, "
                         + counted(part.drop_duplicates(["block", "seed"])["n"].sum(), "point"), fontsize=6.5, pad=3)
        panels.name_rows(band, methods)
        panels.name_band(band, protocol)
    for ax in axes[-1]:
        ax.set_xlabel("accuracy of a block", fontsize=7)
    often = panels.repeats_in_words(table["seed"].nunique(), protocols)
    caption(fig, c, record, f"line: mean; box: sd; whisker: smallest to largest; held-out blocks of {often}; kinds: "
            f"KMeans of {len(numbers)} blocks, seed {c.SEED}",
            panels.seeds_of(table.groupby("protocol")["seed"].nunique()))
    return fig, pd.DataFrame(rows)


def candle(ax, place: float, values: pd.Series, colour, upright: bool, width: float = 0.6) -> dict:
    """Draws the mean, a box of one standard deviation on both sides (within the extremes), and a whisker from the
    smallest to the largest value. Returns these numbers."""
    mean, sd = values.mean(), values.std() if len(values) > 1 else 0.0
    low, high = max(mean - sd, values.min()), min(mean + sd, values.max())
    bar, start, line, mark = ((ax.bar, "bottom", ax.vlines, ax.hlines) if upright else
                              (ax.barh, "left", ax.hlines, ax.vlines))
    line(place, values.min(), values.max(), color=colour, linewidth=0.8)
    bar(place, high - low, width, color=colour, alpha=0.45, edgecolor=colour, linewidth=0.5, **{start: low})
    mark(mean, place - width / 2, place + width / 2, color="black", linewidth=1.2)
    return {"mean": mean, "sd": sd, "min": values.min(), "max": values.max(), "blocks": len(values)}


def block_statistics(tasks: dict, factors, thin: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Blocks with more than `thin` samples, and their mean factors (blocks, columns), standardised over the blocks.

    Factors of classes have no mean and are left out. A direction becomes its northern and its eastern part, both 0 on
    flat ground. A velocity becomes its size; a block without a measured velocity gets the mean of the other blocks.
    """
    numbers, counts = np.unique(tasks["block"], return_counts=True)
    numbers = numbers[counts > thin]
    described, columns = {f.name: f for f in factors}, {}
    for j, name in enumerate(str(n) for n in tasks["factor_names"]):
        v = tasks["factors"][:, j].astype(float)
        factor = described.get(name)
        if factor is None or factor.kind == "categorical":
            continue
        if factor.kind == "circular":
            columns["facing north"] = np.where(v < 0, 0, np.cos(np.radians(v)))
            columns["facing east"] = np.where(v < 0, 0, np.sin(np.radians(v)))
        else:
            columns[name] = np.where(v == 0, np.nan, np.abs(v)) if factor.zero_is_missing else v
    mean = pd.DataFrame(columns).groupby(tasks["block"]).mean().reindex(numbers)
    spread = mean.std(ddof=0)
    mean = mean.loc[:, spread > ALIKE]
    return numbers, ((mean - mean.mean()) / spread[mean.columns]).fillna(0)


def kinds_of_blocks(statistics: pd.DataFrame, kinds: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """The kind of every block (blocks,), and a name for each kind.

    A name has the LEADING factors in which the kind differs most from all blocks, and more factors where two kinds
    would have the same name. statistics (blocks, factors), standardised.
    """
    with threadpool_limits(1):  # the same sums in the same order, whatever the number of threads
        model = KMeans(kinds, n_init=10, random_state=seed).fit(statistics.to_numpy())
    words = []
    for centre in model.cluster_centers_:
        far = np.argsort(-np.abs(centre), kind="stable")
        words.append([end_of(statistics.columns[j], centre[j] > 0) for j in far])
    used = LEADING
    while used < statistics.shape[1] and len({tuple(w[:used]) for w in words}) < kinds:
        used += 1
    return model.labels_, [", ".join(w[:used]) for w in words]


def end_of(name: str, high: bool) -> str:
    """Words for low or high values of a factor."""
    if name.startswith("facing"):
        return name if high else {"facing north": "facing south", "facing east": "facing west"}[name]
    return WORDS.get(name, (f"low {name}", f"high {name}"))[int(high)]
