"""The protocols: which points methods learn from and which are scored, for each question of the comparison.

A split is named by its protocol and a number from 1: the seed, or the fold of all repeats.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from lsm.blocks.round_numbers import round_numbers
from lsm.comparison import splits
from lsm.comparison.points import Points
from lsm.comparison.splits import QUERY, SUPPORT, TRAIN, UNUSED
from lsm.learner.support import dates
from lsm.run.artifacts import write_csv
from lsm.run.settings import InputError, counted

OF_BLOCKS = ("published", "spatial", "augmentation", "k-shot")  # some blocks are held out
KINDS = ("published", "spatial", "blocked", "partitions", "temporal", "k-shot", "augmentation", "development")
RANDOM_FOLDS = "random folds"  # beside the partitions
FEWEST_BLOCKS = 20  # blocks with enough samples for a task, below which too few would be held out to say anything
ENOUGH = 5000       # labelled points above which one repeat of the folds is enough
MOST_REPEATS = 10


class SplitConstants(Protocol):
    """The constants of compare_methods.py that `all_splits` reads."""

    SEED: int
    SEEDS: int
    MIN_SAMPLES: int
    HELD_OUT_SHARE: float
    DEVELOPMENT_SHARE: float
    SQUARES: tuple
    FOLDS: int
    REPEATS: int
    NEWER: float
    BUFFER: float


def kind_of(protocol: str) -> str:
    """The member of KINDS that a split belongs to: "blocked" of "blocked 5 km"."""
    return "partitions" if protocol == RANDOM_FOLDS else protocol.replace("_", " ").split(" ")[0]


def holds_out_blocks(protocol: str) -> bool:
    """Whether blocks are held out, and not places or years."""
    return kind_of(protocol) in (*OF_BLOCKS, "development")


def without_random_folds(roles: dict, asked: Sequence[str]) -> str:
    """Why partitions come without random folds, in words; "" where they come with them. Random halves of blocks say the
    same: how good a method is between its labelled points.

    asked  members of KINDS
    """
    halves = "published" in asked and any(protocol == "published" for protocol, _ in roles)
    return (f"{RANDOM_FOLDS}: not scored, since published scores random halves of blocks (PROTOCOLS=partitions scores "
            "them)") * ("partitions" in asked and halves)


def number_of(protocol: str) -> str:
    """What the numbers of a protocol's splits count, in words: folds, or repeats."""
    return "fold" if kind_of(protocol) in ("blocked", "partitions") else "repeat"


def cut_of(protocol: str) -> str:
    """How the query is cut off, as `splits.Split.cut` has it."""
    name = protocol.removeprefix("development_")
    return {"published": "random", "augmentation": "random", "k-shot": "random", RANDOM_FOLDS: "random",
            "spatial": "line", "temporal": "years"}.get(name, "squares" if kind_of(name) == "blocked" else "places")


def side_of(protocol: str) -> float:
    """The side in m of the squares that a protocol holds out; 0 where it holds out none."""
    return 1000 * float(protocol.split(" ")[1]) if kind_of(protocol) == "blocked" else 0.0


def square_sizes(xy: np.ndarray, given: tuple) -> tuple[float, ...]:
    """The sides of squares in m; xy (points, 2).

    The given sides, else a tenth and a fifth of the longer side of the points' extent, rounded to 1, 2 or 5 times a
    power of ten.
    """
    if given:
        return tuple(given)
    side = np.ptp(xy, axis=0).max()
    tried = np.array(round_numbers(1, 5e7))
    sizes = (tried[np.abs(np.log(tried / (side * share))).argmin()] for share in (0.1, 0.2))
    return tuple(dict.fromkeys(float(size) for size in sizes))


def all_splits(points: Points, c: SplitConstants) -> tuple[dict[tuple[str, int], np.ndarray], list[tuple]]:
    """The role (points,) int8 of every point under each (protocol, number); and what cannot be scored, each as (members
    of KINDS, in words).

    A cell is query where its block, square or partition is held out. Raises InputError.
    """
    sample = points.label >= 0
    every = {**_few_shot(points, sample, c), **_blocked(points, sample, c), **_folds(points, sample, c)}
    cannot = [] if any(holds_out_blocks(protocol) for protocol, _ in every) else [(
        (*OF_BLOCKS, "development"), f"{', '.join(OF_BLOCKS)}: fewer than {FEWEST_BLOCKS} blocks have more than "
                                     f"{c.MIN_SAMPLES} samples")]
    first = dates.newest(points.year[sample], c.NEWER)
    if np.isfinite(first):
        every |= _temporal(points, sample, first, c)
    else:
        cannot.append((("temporal",), "temporal: the landslides have no dates"))
    out = {}
    for (protocol, number), role in every.items():
        if cut_of(protocol) in ("line", "places", "squares"):  # random halves and folds lie among their query
            role = splits.without_strip(role, points.xy, c.BUFFER, sample)
        taught, asked = (points.label[sample & np.isin(role, roles)] for roles in ((TRAIN, SUPPORT), (QUERY,)))
        for label, what in ((taught, "training"), (asked, "query")):
            if len(np.unique(label)) < 2:
                cannot.append(((kind_of(protocol),), f"{protocol} {number}: the {what} points hold {one_class(label)}"))
                break
        if len(asked) and len(np.unique(taught)) == 2:
            out[protocol, number] = role
    return out, cannot


def unused_points(points: Points, roles: dict, asked: list[str], c: SplitConstants) -> str:
    """How many labelled points no method is given under the protocols asked for (members of KINDS) that hold out
    blocks, in words; "" where there are none, or no such protocol."""
    sample, named = points.label >= 0, [name for name in asked if holds_out_blocks(name)]
    thin = sample & ~np.isin(points.block, splits.eligible_blocks(points.block[sample], c.MIN_SAMPLES))
    if not thin.any() or not named or not any(holds_out_blocks(protocol) for protocol, _ in roles):
        return ""
    return (f"{', '.join(named)}: {thin.sum():,} of {counted(int(sample.sum()), 'point')} are not used: their blocks "
            f"have no more than {c.MIN_SAMPLES} (MIN_SAMPLES)")


def one_class(label: np.ndarray) -> str:
    """What points of fewer than two classes hold, in words."""
    return "nothing" if not len(label) else f"{len(label)} {'landslides' if label[0] else 'non-landslides'} only"


def _few_shot(points: Points, sample: np.ndarray, c: SplitConstants) -> dict:
    block, xy = points.block[sample], points.xy[sample]
    eligible = splits.eligible_blocks(block, c.MIN_SAMPLES)
    if len(eligible) < FEWEST_BLOCKS:
        return {}
    shuffled = np.random.default_rng([c.SEED, 0]).permutation(eligible)
    development = shuffled[:round(c.DEVELOPMENT_SHARE * len(eligible))]
    held_out = round(c.HELD_OUT_SHARE * len(eligible))
    pools = {"": np.setdiff1d(eligible, development), "development_": development}
    if min(map(len, pools.values())) < held_out or not held_out:
        raise InputError(f"HELD_OUT_SHARE={c.HELD_OUT_SHARE} of {len(eligible)} blocks: expected 1 or more, and at "
                         f"most {min(map(len, pools.values()))}: as many are drawn from the {len(development)} blocks "
                         f"of DEVELOPMENT_SHARE and from the {len(pools[''])} others; change either share")
    out = {}
    for prefix, pool in pools.items():
        for name, cut in (("published", "random"), ("spatial", "line")):
            for seed in range(1, c.SEEDS + 1):  # the same blocks under both cuts
                role = splits.few_shot_roles(block, xy, c.MIN_SAMPLES, np.sort(pool), held_out, cut,
                                             np.random.default_rng([c.SEED, 1, seed]))
                held = np.unique(block[role == QUERY])
                cell_role = np.where(np.isin(points.block[~sample], held), QUERY, UNUSED)
                out[prefix + name, seed] = np.append(role, cell_role).astype(np.int8)
    for seed in range(1, c.SEEDS + 1):
        role = out["published", seed]
        taught = np.isin(role, (TRAIN, SUPPORT))
        out["augmentation", seed] = np.where(taught & (points.origin == "insar"), UNUSED, role).astype(np.int8)
    return out


def _of_folds(fold: np.ndarray, sample: np.ndarray, name: str, first: int = 1) -> dict:
    """Every fold (points,) held out once, without any support; the folds are numbered from `first`."""
    outside = np.where(sample, TRAIN, UNUSED)
    return {(name, first + k): np.where(fold == k, QUERY, outside).astype(np.int8) for k in range(fold.max() + 1)}


def _blocked(points: Points, sample: np.ndarray, c: SplitConstants) -> dict:
    out = {}
    for size in square_sizes(points.xy[sample], c.SQUARES):
        fold = splits.squares(points.xy, sample, size, c.FOLDS, np.random.default_rng([c.SEED, 2, round(size)]))
        out |= _of_folds(fold, sample, f"blocked {size / 1000:g} km")
    return out


def _folds(points: Points, sample: np.ndarray, c: SplitConstants) -> dict:
    """Partitions by place, and random folds beside them, c.REPEATS times."""
    repeats, out = c.REPEATS or int(np.clip(ENOUGH // sample.sum(), 1, MOST_REPEATS)), {}
    for name in ("partitions", RANDOM_FOLDS):
        for repeat in range(repeats):
            rng = np.random.default_rng([c.SEED, 5 if name == "partitions" else 6, repeat])
            if name == "partitions":
                fold = splits.partition(points.xy, c.FOLDS, rng, sample)
            else:
                fold = np.empty(len(sample), int)
                for group in (sample, ~sample):
                    fold[group] = rng.permutation(group.sum()) % c.FOLDS
            out |= _of_folds(fold, sample, name, 1 + repeat * c.FOLDS)
    return out


def _temporal(points: Points, sample: np.ndarray, first: float, c: SplitConstants) -> dict:
    """Landslides before the year `first` train, the others are the query, and absences are split at random in the same
    proportion. Landslides without a date are in no set. Every cell is in the query."""
    landslide = sample & (points.label == 1)
    dated = landslide & np.isfinite(points.year)
    role = np.full(len(sample), UNUSED, np.int8)
    role[dated] = np.where(points.year[dated] >= first, QUERY, TRAIN)
    role[~sample] = QUERY
    absent, share = np.flatnonzero(sample & (points.label == 0)), (role[dated] == QUERY).mean()
    out = {}
    for seed in range(1, c.SEEDS + 1):
        own = role.copy()
        asked = np.random.default_rng([c.SEED, 7, seed]).permutation(len(absent)) < share * len(absent)
        own[absent] = np.where(asked, QUERY, TRAIN)
        out["temporal", seed] = own
    return out


def units_of(points: Points, roles: dict, c: SplitConstants) -> dict[str, np.ndarray]:
    """{protocol: (points,)} what the bootstrap draws: blocks where blocks are held out, whole squares elsewhere.

    Neighbouring points are not independent. Of squares held out, these squares; under the other protocols, whose folds
    are too few to draw from, the smaller squares.
    """
    sizes = square_sizes(points.xy[points.label >= 0], c.SQUARES)

    def squares(size: float) -> np.ndarray:
        return np.unique(np.floor(points.xy / size).astype(np.int64), axis=0, return_inverse=True)[1].ravel()

    by_name = {f"blocked {size / 1000:g} km": size for size in sizes}
    return {protocol: points.block if holds_out_blocks(protocol) else squares(by_name.get(protocol, min(sizes)))
            for protocol in dict.fromkeys(protocol for protocol, _ in roles)}


def write_splits(path: Path, points: Points, roles: dict, made: tuple) -> None:
    """Writes the table of roles, a column for each protocol and number; made: stage, constants, inputs."""
    sample = points.label >= 0
    table = pd.DataFrame({"sample": points.sample, "block": points.block, "x": points.xy[:, 0], "y": points.xy[:, 1],
                          "label": points.label, "origin": points.origin}
                         | {f"{name} {seed}": np.array(splits.ROLES)[role] for (name, seed), role in roles.items()})
    write_csv(path, table[sample], *made)
