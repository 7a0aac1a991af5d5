"""A start from elsewhere: an intermediate model of other areas becomes the first weights of this area's members.

Every area standardises its factors by its own points, so a column means the same everywhere: "steeper than is usual
here". Columns are matched by the name or an alias of their factor, its kind, and what they hold of it (sine, cosine, a
flag). Categories have codes of their own in every area, and places (X, Y) of another area mean nothing: neither is
carried over. A column that the source does not have starts with weights of zero; a factor that the area does not have
is read as its mean, or as nowhere measured. So before the first outer step a member is the source's function of the
columns that both have.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from lsm.inputs.factor.definition import Factor
from lsm.inputs.tables.text_tables import plain
from lsm.learner.additive.direct_path import BENDS, inputs_of_path
from lsm.learner.encoder import NOT_MEASURED, Encoder
from lsm.learner.members import HISTORY, PLACE, Kind, Training, initial_state, kinds_of_members, pooled_of
from lsm.learner.meta_training import TrainingConstants
from lsm.learner.transfer.start_file import PROJECT_MODEL, source_path
from lsm.run.artifacts import read_record
from lsm.run.paths import START_MODEL, shown
from lsm.run.settings import InputError


class StartConstants(TrainingConstants, Protocol):
    """The constants of meta_learner.py that a start from elsewhere needs, and what meta-training needs."""

    REGION: str
    START_FROM: str
    START_BELOW: int


@dataclass(frozen=True)
class Source:
    """An intermediate model of other areas: where it lies, its encoder, its members and these folded, by kind."""

    path: Path
    encoder: Encoder
    training: Training
    pooled: dict[str, list[np.ndarray]]


def begun(source: Source | None, encoder: Encoder, hidden: tuple[int, ...], saved_model: dict | None,
          c: TrainingConstants, labelled: int, rng: np.random.Generator) -> Training:
    """Members before the first outer step: from `source` (of `source_for`), or as `Training.start` has them."""
    if source:
        return started(source, encoder, c, labelled)
    return Training.start(len(encoder.columns), hidden, saved_model, c, labelled, rng)


def source_for(c: StartConstants, encoder: Encoder, labelled: int) -> Source | None:
    """The model that an area with so many labelled points and this encoder starts from; None: it starts from nothing.

    Areas of START_BELOW points or more need no start. Nor can an area use the project's model that has no factor of it.
    Raises InputError for a model that was asked for and cannot be used, or may know the samples that are scored.
    """
    path = source_path(c.START_FROM, c.REGION)
    if path is None or labelled >= c.START_BELOW:
        if path and c.START_BELOW:
            print(f"START_FROM={c.START_FROM} is not used: {labelled:,} samples to learn from are enough (START_BELOW="
                  f"{c.START_BELOW:,})")
        return None
    source = read_source(path)
    if same_ground(source.encoder.place, encoder.place):
        x, y = source.encoder.place[:2]
        raise InputError(f"START_FROM={c.START_FROM}: expected a model of other areas, found one of points around X "
                         f"{x:.0f}, Y {y:.0f}, where this area's points lie too: it may have learned from the "
                         "samples that are scored; START_FROM= starts from nothing")
    if encoder.form != source.encoder.form or encoder.form == "published":
        raise InputError(f"START_FROM={c.START_FROM}: expected a model and a run of RECIPE=recommended, found "
                         f"{source.encoder.form} and {encoder.form}; START_FROM= starts from nothing")
    if not shared_columns(source.encoder, encoder):
        if c.START_FROM == PROJECT_MODEL:
            return None
        names = ", ".join(f.name for f in source.encoder.factors if f.kind != "categorical")
        raise InputError(f"START_FROM={c.START_FROM}: expected a factor that both areas have, found none of {names}; "
                         "START_FROM= starts from nothing")
    return source


def read_source(path: Path) -> Source:
    """The model that meta_learner.py or tools/start_model.py wrote to `path`. Raises InputError."""
    read_record(path, "make start_model" if path == START_MODEL else "meta_learner.py")
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    if not {"encoder", "kinds"} <= set(arrays):
        raise InputError(f"{shown(path)}: expected a model of meta_learner.py, found {', '.join(list(arrays)[:5])}; "
                         "name another file")
    training = Training.of_file(arrays)
    return Source(path, Encoder.from_json(str(arrays["encoder"])), training, pooled_of(training, arrays))


def same_ground(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether the middle of either area lies among the points of the other, each as Encoder.place has it: within two
    standard deviations in X and in Y, about half the width of an area of even points. The CRS is not looked at."""
    return bool(one and other) and all(abs(a - b) < 2 * max(spread) for a, b, *spread in zip(
        one[:2], other[:2], one[2:], other[2:], strict=True))


def shared_columns(source: Encoder, target: Encoder) -> list[tuple[int, int]]:
    """The pairs (column of the target, column of the source) that mean the same, without categories."""
    there = {}
    for i, (j, name) in enumerate(source.columns):
        own, *others = _meanings(source.factors[j], name) or [None]
        there = dict.fromkeys(others, i) | there | {own: i}  # a name counts more than an alias
    found = [(i, next((there[key] for key in _meanings(target.factors[j], name) if key in there), None))
             for i, (j, name) in enumerate(target.columns)]
    return [pair for pair in found if pair[1] is not None]


def _meanings(factor: Factor, column: str) -> list[tuple[str, str, str]]:
    """What a column may be known by: kind and a name of its factor, and what it holds of it ("sin", "not measured")."""
    if factor.kind == "categorical":
        return []
    part = column.replace(factor.name, "", 1).strip()
    return [(factor.kind, plain(name), part) for name in (factor.name, *factor.aliases)]


def started(source: Source, encoder: Encoder, c: TrainingConstants, labelled: int) -> Training:
    """Members that start from the source's members of the same kind, or of its first kind; see the module.

    encoder, labelled  of this area: its columns, and how many labelled points it learns from
    They are not normalised. A normalised source enters as its folded networks, the same function on its own points.
    Inner rates are the source's too if it was not normalised; rates of columns that it lacks start at INNER_LR.
    """
    pairs, kinds, states = shared_columns(source.encoder, encoder), [], []
    for kind in kinds_of_members(c, labelled):
        of = _kind_of(source.training.kinds, kind.name)
        there = source.training.kinds[of]
        kind = replace(kind, normalise=False, direct=there.direct, bends=there.direct and kind.bends)
        members = [_carried(source, of, m % there.members, pairs, len(encoder.columns), kind, c)
                   for m in range(kind.members)]
        kinds.append(kind)
        states.append(members)
    return Training(kinds, states, 0, np.empty((0, len(HISTORY))))


def _kind_of(kinds: list[Kind], name: str) -> int:
    return next((k for k, kind in enumerate(kinds) if kind.name == name), 0)


def _carried(source: Source, k: int, member: int, pairs: list[tuple[int, int]], columns: int, here: Kind,
             c: TrainingConstants) -> dict:
    """The first state of a member of the kind `here`: weights and rates of the source's `member` of kind k, on this
    area's columns and, where `here` has it, the place."""
    kind, state = source.training.kinds[k], source.training.states[k][member]
    weights = [np.array(w[member]) for w in source.pooled[kind.name]] if kind.normalise else state["weights"]
    lacking = set(range(len(source.encoder.columns))) - {there for _, there in pairs}
    nowhere = [i for i in lacking if source.encoder.columns[i][1].endswith(NOT_MEASURED)]

    def onto(arrays: list[np.ndarray], fill: float) -> list[np.ndarray]:
        out = [np.array(a, np.float32) for a in arrays]
        inputs = columns + PLACE * here.place
        out[0] = _on_columns(arrays[0], pairs, inputs, fill)
        if kind.direct:
            straight, bends = np.split(arrays[-1], [len(arrays[0])])
            out[-1] = np.concatenate([_on_columns(straight, pairs, inputs, fill)] + [
                _on_columns(bend, pairs, columns, fill) for bend in np.split(bends, BENDS) if here.bends])
        return out

    rates, start = state["inner_lr"], initial_state(onto(weights, 0.0), c.INNER_LR, c.RATE_PER_WEIGHT)
    absent = np.zeros((1, len(weights[0])), np.float32)  # what the source reads of columns that are not here
    absent[0, nowhere] = 1
    start["weights"][1] += (absent @ weights[0])[0]
    if kind.direct:
        start["weights"][-2] += (inputs_of_path(absent, len(weights[-1])) @ weights[-1])[0]
    if not kind.normalise and len(rates) == len(start["inner_lr"]):
        start["inner_lr"] = onto(rates, c.INNER_LR) if len(rates) > 1 else [np.float32(rates[0])]
    return start


def _on_columns(part: np.ndarray, pairs: list[tuple[int, int]], rows: int, fill: float) -> np.ndarray:
    """The rows of `part` where this area has their columns, `fill` elsewhere; of a part without rows nothing else."""
    out = np.full((rows, part.shape[1]), fill, np.float32)
    if len(part):
        for here, there in pairs:
            out[here] = part[there]
    return out
