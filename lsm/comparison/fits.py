"""The fits of a comparison: which are asked for, what each depends on, and how long those not there yet will take."""

import hashlib
import json
import platform
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np

from lsm.comparison.fit_jobs import Job
from lsm.comparison.methods import FAMILIES, LEFT_OUT, Family
from lsm.comparison.points import Points
from lsm.comparison.protocols import KINDS, RANDOM_FOLDS, kind_of, without_random_folds
from lsm.comparison.splits import SUPPORT, TRAIN, eligible_blocks
from lsm.inputs.factor.definition import Factor
from lsm.run.artifacts import LIBRARIES
from lsm.run.code import code_of, sha256
from lsm.run.jobs import cores
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError, counted

PUBLISHED_STEPS = "published-steps"    # a protocol of its own: the published recipe step by step
PUBLISHED_STEPS_COST = 60.0            # processor seconds of one run of it
SHOTS_COST = 2.0             # of k-shot, in fits of our networks
LEAST = 0.15                 # of the cost of 10,000 points: what a fit costs however few points there are
# constants that change no fit
FREE = {"PROTOCOLS", "METHODS", "SEEDS", "MAPPED", "RESAMPLES", "WORKERS", "DASK_SCHEDULER"}
METHODS_PAGE = "docs/tables/methods.md"  # every family with its methods


class FitConstants(Protocol):
    """The constants of compare_methods.py that `jobs_of` reads; the others go into what a fit depends on."""

    REGION: str
    PROTOCOLS: str
    METHODS: str
    MAPPED: tuple
    WITHOUT: str
    SEEDS: int
    factors: tuple[Factor, ...]


def asked_protocols(c: FitConstants) -> list[str]:
    """The members of KINDS that are asked for, and PUBLISHED_STEPS. Raises InputError."""
    asked = [name.strip() for name in c.PROTOCOLS.split(",")]
    _refuse_unknown("PROTOCOLS", asked, (*KINDS, PUBLISHED_STEPS), f"any of {', '.join((*KINDS, PUBLISHED_STEPS))}")
    return asked


def families(c: FitConstants) -> list[str]:
    """The families of methods to run; slope alone only where WITHOUT does not leave the slope out.

    Raises InputError.
    """
    asked = [name.strip() for name in c.METHODS.split(",")] if c.METHODS else list(FAMILIES)
    _refuse_unknown("METHODS", asked, FAMILIES, f"families of {METHODS_PAGE}")
    names = {factor.name for factor in c.factors} - {c.WITHOUT}
    return [name for name in asked if name != "slope" or "slope" in names]


def _refuse_unknown(name: str, wanted: Sequence[str], known: Iterable[str], expected: str) -> None:
    if unknown := sorted(set(wanted) - set(known)):
        near = dict.fromkeys(near for one in unknown for near in get_close_matches(one, known, n=3, cutoff=0.65))
        found = ", ".join(one or "an empty name" for one in unknown)
        raise InputError(f"{name}: expected {expected}, found {found}{'; the nearest: ' * bool(near)}{', '.join(near)}")


def jobs_of(folder: Path, points: Points, roles: dict, c: FitConstants, inputs: list[Path], learner: Callable,
            cannot: Sequence[str] = ()) -> tuple[list[Job], list[str]]:
    """Every fit the constants ask for, the fits of one family next to each other, and in words what cannot be fitted.

    learner  (recipe, seed) -> the constants that stages 1 and 3 would run with
    cannot   why some protocols have no split, in words
    A fit depends on the code, the versions of the libraries, the factors, the inputs, the points, the constants of this
    stage without FREE and of stages 1 and 3, and its split. Raises InputError.
    """
    asked, named = asked_protocols(c), families(c)
    methods = tuple(name for family in FAMILIES.values() for name in family.names)
    _refuse_unknown("MAPPED", c.MAPPED, methods, f"methods of {METHODS_PAGE}")
    learner = cache(learner)
    factor_left_out = [True, False] if any(f.name == c.WITHOUT for f in c.factors) else [True]
    # k-shot, the longest, first: no core waits for it at the end
    parts = [(protocol, seed, True, "k-shot") for protocol, seed in roles if protocol == "published"
             and "k-shot" in asked]
    left_out = [RANDOM_FOLDS] if without_random_folds(roles, asked) else []
    scored = [key for key in roles if kind_of(key[0]) in asked and key[0] not in left_out]
    parts += [(protocol, seed, with_dv, name) for name in named for with_dv in factor_left_out
              for protocol, seed in scored if _compared(protocol, FAMILIES[name], with_dv)]
    if PUBLISHED_STEPS in asked:
        parts += [(PUBLISHED_STEPS, seed, True, PUBLISHED_STEPS) for seed in range(1, c.SEEDS + 1)]
    if not parts:
        why = "; ".join(cannot) or "together they ask for none"
        raise InputError(f"PROTOCOLS, METHODS and SEEDS: expected fits to do, found none: {why}; PROTOCOLS=partitions "
                         "scores small areas")
    mapped = [name for name, family in FAMILIES.items() if set(family.names) & set(c.MAPPED)]
    base = {k: v for k, v in vars(c).items() if k not in FREE} | {shown(p): sha256(p) for p in inputs} | {
        "code": code_of("compare_methods.py"), "factors": [vars(f) for f in c.factors],
        "points": _digest(points.factors, points.xy, points.label, points.block),
        "versions": [platform.python_version(), *(version(name) for name in LIBRARIES)]}
    out, lacking = [], {}
    for protocol, seed, with_dv, family in parts:
        if missing := _missing(points, roles, protocol, seed, family, learner):
            lacking.setdefault((family, missing), []).append(protocol)
            continue
        own = [vars(s) for recipe in ("published", "recommended") for s in learner(recipe, seed)]
        # the published steps take samples that repeat a place, too
        role = sha256(Paths(c.REGION).samples) if protocol == PUBLISHED_STEPS else _digest(roles[protocol, seed])
        text = json.dumps([base, protocol, seed, with_dv, family, own, role], default=list)
        name = f"{protocol}-{seed}-{'with' if with_dv else 'without'}-{family}".replace(" ", "_")
        maps = (protocol, seed, with_dv) == ("published", 1, True) and family in mapped
        out.append(Job(protocol, seed, with_dv, family, folder / f"{name}.npz",
                       hashlib.sha256(text.encode()).hexdigest(), folder / f"{name}-map.npz" if maps else None))
    return out, [f"{', '.join(FAMILIES[family].names) if family in FAMILIES else family} under "
                 f"{', '.join(dict.fromkeys(protocols))}: {why}" for (family, why), protocols in lacking.items()]


def _digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


def _compared(protocol: str, family: Family, with_dv: bool) -> bool:
    kind = "published" if kind_of(protocol) == "development" else kind_of(protocol)
    return kind in family.protocols and (with_dv or (family.left_out and kind in LEFT_OUT))


def _missing(points: Points, roles: dict, protocol: str, seed: int, family: str, learner: Callable) -> str:
    """What a family lacks on a split, in words; "" where it can be fitted."""
    recipe = "recommended" if family == "k-shot" else FAMILIES[family].recipe if family in FAMILIES else ""
    if not recipe:
        return ""
    _, three = learner(recipe, seed)
    if three.LOCAL_NEIGHBOURHOOD:  # any samples make neighbourhoods
        return ""
    found = len(eligible_blocks(points.block[roles[protocol, seed] == TRAIN], three.MIN_SAMPLES))
    return "" if found >= three.META_BATCH else (
        f"meta-training needs {three.META_BATCH} blocks with more than {three.MIN_SAMPLES} samples (META_BATCH, "
        "MIN_SAMPLES of meta_learner.py)")


def estimate(jobs: list[Job], points: Points, roles: dict, workers: int) -> str:
    """How long the fits not there yet will take, in words, by the costs of the families."""
    todo = [job for job in jobs if not job.done]
    seconds = 0.0
    for job in todo:
        if job.family == PUBLISHED_STEPS:
            seconds += PUBLISHED_STEPS_COST
            continue
        taught = np.isin(roles[job.protocol, job.seed], (TRAIN, SUPPORT))
        cost = SHOTS_COST * FAMILIES["ours"].cost if job.family == "k-shot" else FAMILIES[job.family].cost
        seconds += cost * max(LEAST, taught.sum() / 10_000)
    used = min(workers or cores(), max(1, len(todo)))
    minutes = max(1, int(np.ceil(seconds / used / 60)))
    return f"{counted(len(todo), 'fit')}: about {counted(minutes, 'minute')} on {counted(used, 'idle core')}"
