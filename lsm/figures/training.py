"""The course of training: pretraining, meta-training, and held-out blocks before and after adaptation."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.metrics import roc_auc_score, roc_curve

from lsm.figures import styles
from lsm.figures.common import Drawn, FigureConstants, NothingToDraw, arrays, caption, saved, tidy
from lsm.learner.members import read_kinds
from lsm.learner.tasks import OTHERS
from lsm.run.artifacts import need
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError, counted

STAGE = "meta_learner.py"
DOTS = 60  # values of a line; more are drawn without dots
# At the minimum over all samples the gradients of any two parts of them point against each other: a step that lowers
# the loss of a task's support then raises, on the whole, the loss of its query.
FITTED = ("Members start from a fit to these samples, so there is little left to learn: the loss after adaptation may "
          "lie above the loss before. See the figure roc for samples that no fit saw.")
BEFORE_RISES = "The loss after adaptation should fall; the loss before it may rise."
# Each weight has a rate of its own, as in Meta-SGD (Li and others 2017, arXiv 1707.09835). Below 0 the weight moves up
# the gradient of the support loss, where this lowers the query loss.
RATES = "Inner rate: mean over all layers; rates of single weights may be below 0."


def pretraining(c: FigureConstants) -> Drawn:
    """Reconstruction error of every pretrained layer, epoch by epoch."""
    path, stage = Paths(c.REGION).pretraining_history, "unsupervised_pretraining/DAS_pretraining.py"
    table, record = saved(path, stage, c, ("layer", "epoch", "error"))
    layers = list(dict.fromkeys(table["layer"]))
    fig = Figure(figsize=(styles.WIDTH, 2.4))
    axes = fig.subplots(1, len(layers), squeeze=False)[0]
    for ax, layer in zip(axes, layers, strict=True):
        rows = table[table["layer"] == layer]
        ax.plot(rows["epoch"], rows["error"], marker="o", markersize=3, clip_on=False, zorder=3, **styles.AFTER)
        ax.set(title=layer if isinstance(layer, str) else f"layer {layer}", xlabel="epoch", ylim=(0, None))
        ax.xaxis.get_major_locator().set_params(integer=True)
        tidy(ax)
    axes[0].set_ylabel("reconstruction error\n(mean squared)")
    fig.subplots_adjust(left=0.1, right=0.985, top=0.89, bottom=0.28, wspace=0.28)
    caption(fig, c, record, f"{len(layers)} layers; each axis starts at 0")
    return fig, table[["layer", "epoch", "error"]]


def starts_fitted(c: FigureConstants) -> bool:
    """Whether the members start from a fit to the samples, as with small inventories."""
    return any(kind.bends for kind in read_kinds(arrays(Paths(c.REGION).model, STAGE, c, ("kinds",))["kinds"]))


def adapts(c: FigureConstants) -> bool:
    """Whether the blocks of the map adapt: with a reach of 0 (FORECAST) all keep the intermediate model."""
    return float(arrays(Paths(c.REGION).model, STAGE, c, ("reach",))["reach"]) > 0


def meta_training(c: FigureConstants) -> Drawn:
    """Query loss before and after the inner steps, and the learned inner rate, against outer steps; a column for each
    kind of member."""
    path = Paths(c.REGION).history
    table, record = saved(path, STAGE, c, ("iteration", "kind", "pre_loss", "post_loss", "inner_lr"))
    kinds = list(dict.fromkeys(table["kind"]))
    wide = styles.COLUMN if len(kinds) == 1 else styles.WIDTH
    said = textwrap.fill(words_of_training(c, table, record), int(18 * wide))
    foot = 0.64 + 0.12 * len(said.splitlines())  # inches of caption and labels
    fig = Figure(figsize=(wide, 2.9 + foot))
    axes = fig.subplots(2, len(kinds), sharex="col", sharey="row", squeeze=False,
                        gridspec_kw={"height_ratios": (3, 1), "hspace": 0.12, "wspace": 0.1})
    marker = "o" if table["kind"].value_counts().max() <= DOTS else None  # the same in all panels
    for kind, (ax, below) in zip(kinds, axes.T, strict=True):
        rows = table[table["kind"] == kind]
        for column, label, style in (("pre_loss", "before adaptation", styles.BEFORE),
                                     ("post_loss", "after adaptation", styles.AFTER)):
            ax.plot(rows["iteration"], rows[column], label=label, marker=marker, markersize=2.5, **style)
        ax.axhline(np.log(2), color=styles.INK, linewidth=0.7, linestyle=":",
                   label=f"probability ½ for every sample ({np.log(2):.3f})")
        below.plot(rows["iteration"], rows["inner_lr"], color=styles.INK, marker=marker, markersize=2.5)
        below.axhline(0, color=styles.INK, linewidth=0.6)
        below.set_xlabel("outer step")
        below.set_xlim(0, None)
        if len(kinds) > 1:
            ax.set_title(f"{kind} members")
        for each in (ax, below):
            tidy(each)
    ax, below = axes[:, 0]
    highest = max(np.log(2), table[["pre_loss", "post_loss"]].max(axis=None))
    ax.set(ylabel="query loss (cross-entropy)", ylim=(0, 1.08 * highest))
    ax.legend(loc="best", borderaxespad=0.2)
    low, high = min(0, table["inner_lr"].min()), max(0, table["inner_lr"].max())
    below.set(ylabel="inner rate", ylim=(low - 0.12 * (high - low) * (low < 0), high + 0.12 * (high - low)))
    fig.align_ylabels(axes[:, 0])
    fig.subplots_adjust(left=0.6 / wide, right=1 - 0.14 / wide, top=0.985 - 0.055 * (len(kinds) > 1),
                        bottom=foot / (2.9 + foot))
    caption(fig, c, record, said)
    return fig, table[["iteration", "kind", "pre_loss", "post_loss", "inner_lr"]]


def words_of_training(c: FigureConstants, table: pd.DataFrame, record: dict) -> str:
    """The caption of `meta_training`."""
    lengths = table.groupby("kind", sort=False)["iteration"].max()
    words = " and ".join(f"{int(n):,}" + f" ({kind})" * (len(lengths) > 1) for kind, n in lengths.items())
    said = f"{words} outer steps. Losses are of training tasks, not of held-out samples. "
    said += f"{FITTED if starts_fitted(c) else BEFORE_RISES} "
    said += "" if adapts(c) else "The map uses the model before adaptation (FORECAST). "
    return said + (RATES if record["constants"].get("RATE_PER_WEIGHT") else "Inner rate: one for all weights.")


def adaptation(c: FigureConstants) -> Drawn:
    """Accuracy of every held-out block, after adaptation against before."""
    path = Paths(c.REGION).metrics
    table, record = saved(path, STAGE, c, ("block", "adapted", "samples", "accuracy"), dtype={"block": str})
    if not adapts(c):
        raise NothingToDraw(f"{shown(path)}: expected blocks that adapt, found none (FORECAST)")
    wide = table.pivot(index=["block", "samples"], columns="adapted", values="accuracy")
    wide = need(wide.reset_index(), path, ("before", "after"), STAGE).rename_axis(columns=None)
    wide = wide[["block", "samples", "before", "after"]]
    each, overall = wide[wide["block"].str.isdigit()], wide[wide["block"] == "all"]
    each = each.sort_values(["samples", "block"], ascending=[False, True])
    if not len(each):
        raise InputError(f"{shown(path)}: column 'block': expected numbers of held-out blocks, found none; run "
                         "meta_learner.py again")

    def area(n):
        return 5 + 65 * n / each["samples"].max()

    fig = Figure(figsize=(styles.COLUMN, 3.75))
    ax = fig.subplots()
    low = np.floor(10 * (each[["before", "after"]].min().min() - 0.02)) / 10
    ax.plot((low, 1), (low, 1), color=styles.INK, linewidth=0.7, linestyle=":")
    ax.scatter(each["before"], each["after"], s=area(each["samples"]),
               facecolors=(*to_rgb(styles.AFTER["color"]), 0.35), edgecolors=styles.AFTER["color"], linewidths=0.6,
               clip_on=False, zorder=3)
    ax.scatter(overall["before"], overall["after"], s=60, marker="D", facecolors="#fec44f", edgecolors="black",
               linewidths=0.9, clip_on=False, zorder=4)
    ax.set(xlim=(low, 1), ylim=(low, 1), xlabel="accuracy before adaptation", ylabel="accuracy after adaptation",
           aspect="equal")
    tidy(ax)
    least, most = int(each["samples"].min()), int(each["samples"].max())
    sizes = {least: f"block, {counted(least, 'sample')}", most: f"block, {counted(most, 'sample')}"}
    if least < most < 1.25 * least:  # two circles that look the same
        sizes = {most: f"block, {least:,} to {counted(most, 'sample')}"}
    handles = [Line2D([], [], linestyle="", marker="o", markersize=np.sqrt(area(n)), markeredgewidth=0.6,
                      markerfacecolor=(*to_rgb(styles.AFTER["color"]), 0.35), markeredgecolor=styles.AFTER["color"],
                      label=words) for n, words in sizes.items()]
    handles += [Line2D([], [], linestyle="", marker="D", markersize=np.sqrt(60), markerfacecolor="#fec44f",
                       markeredgecolor="black", markeredgewidth=0.9, label="all samples"),
                Line2D([], [], color=styles.INK, linewidth=0.7, linestyle=":", label="no change")]
    ax.legend(handles=handles, loc="best")  # blocks that lose lie at the lower right
    fig.subplots_adjust(left=0.155, right=0.955, top=0.985, bottom=0.2)
    gain = each["after"] - each["before"]
    caption(fig, c, record, f"{counted(len(each), 'held-out block')}: better {(gain > 0).sum()}, equal "
            f"{(gain == 0).sum()}, worse {(gain < 0).sum()}")
    return fig, pd.concat([overall, each])


def roc(c: FigureConstants) -> Drawn:
    """ROC of the held-out points before and after adaptation; one curve where no block adapts."""
    path = Paths(c.REGION).held_out
    table, record = saved(path, STAGE, c, ("label", "score_before", "score_after"))
    if table["label"].nunique() != 2:
        raise InputError(f"{shown(path)}: column 'label': expected both 0 and 1, found one class; {OTHERS}, of "
                         "meta_learner.py holds out others")
    fig = Figure(figsize=(styles.COLUMN, 3.75))
    ax = fig.subplots()
    ax.plot((0, 1), (0, 1), color=styles.INK, linewidth=0.7, linestyle=":", label="chance (0.500)")
    curves = []
    lines = {"before": ("before adaptation", styles.BEFORE), "after": ("after adaptation", styles.AFTER)}
    if not adapts(c):
        lines = {"before": ("not adapted, as the map", styles.AFTER)}
    for when, (label, style) in lines.items():
        false, true, _ = roc_curve(table["label"], table[f"score_{when}"])
        area = roc_auc_score(table["label"], table[f"score_{when}"])
        ax.plot(false, true, label=f"{label} ({area:.3f})", clip_on=False, zorder=3, **style)
        curves.append(pd.DataFrame({"adapted": when, "false_positive_rate": false, "true_positive_rate": true}))
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    tidy(ax)
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(handles[::-1], labels[::-1], loc="lower right", title="AUROC", title_fontsize=7.5, alignment="left")
    fig.subplots_adjust(left=0.155, right=0.955, top=0.985, bottom=0.2)
    caption(fig, c, record, f"{counted(len(table), 'held-out point')}, {counted(table['label'].sum(), 'landslide')}"
            + " of all years (FORECAST=True)" * (len(lines) == 1))
    return fig, pd.concat(curves).round(6)
