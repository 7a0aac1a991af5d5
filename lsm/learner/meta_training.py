"""Meta-training of the intermediate models: the outer loop over all steps, for all members of all kinds."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from lsm.learner.additive.additive_start import start_paths
from lsm.learner.lanes.outer_steps import outer_steps
from lsm.learner.maml import outer_loop, stacked, unstacked
from lsm.learner.members import Kind, MemberConstants, Training
from lsm.learner.network import on_gpu, tf
from lsm.learner.tasks import EncodedSamples, Tasks, draw, neighbourhoods, rows_by_block
from lsm.run.jobs import cores
from lsm.run.progress import Progress
from lsm.run.settings import InputError

MOST_AT_ONCE = 5_000  # outer steps whose batches are drawn at once, about 0.25 GB a member
ROWS_OF_FEW = 20  # rows of history for LOG_EVERY outer steps where points, and with them steps, are few


class TrainingConstants(MemberConstants, Protocol):
    """The constants that meta-training needs. meta_learner.py has and explains them."""

    SEED: int
    MIN_SAMPLES: int
    LINE_SHARE: float
    INNER_STEPS: int
    FIRST_ORDER: bool
    META_BATCH: int
    META_LR: float
    LOG_EVERY: int
    SAVE_EVERY: int


def tasks_of(kind: Kind, samples: EncodedSamples, known: np.ndarray, c: TrainingConstants) -> Tasks:
    """The tasks that a kind of member learns from: neighbourhoods, or blocks with more than MIN_SAMPLES samples.

    known  (samples,) bool: the samples to learn from
    Raises InputError where there are none.
    """
    if kind.neighbourhood:
        rows = neighbourhoods(samples, np.flatnonzero(known), kind.neighbourhood, np.random.default_rng([c.SEED, 5]))
    else:
        rows = [r for r in rows_by_block(samples.block, known)[1] if len(r) > c.MIN_SAMPLES]
    if not rows:
        raise InputError(f"{known.sum()} samples to learn from: expected tasks of both classes for {kind.name} "
                         "members, found none; add landslides and non-landslides near each other")
    return Tasks.of(rows)


def meta_train(training: Training, samples: EncodedSamples, known: np.ndarray, c: TrainingConstants,
               save: Callable | None = None, threads: int = 0) -> Training:
    """Trains all members to the end; returns `training`, changed.

    known    (samples,) bool: the samples to learn from; no other sample is read
    save     save(training) is called every c.SAVE_EVERY outer steps and at the end; None saves nothing and shows no
             progress
    threads  members trained side by side; 0: as many as cores. The numbers do not depend on it
    Raises InputError, with the outer step and the member, when anything is no finite number any more.
    """
    if c.LOG_EVERY > MOST_AT_ONCE:
        raise InputError(f"LOG_EVERY={c.LOG_EVERY}: expected {MOST_AT_ONCE:,} or fewer, since the batches of so many "
                         "outer steps are in memory at once")
    if not np.isfinite(samples.x[known]).all():
        raise InputError(f"network inputs: expected finite numbers, found others in row "
                         f"{np.flatnonzero(known & ~np.isfinite(samples.x).all(axis=1))[0]} of the samples by block; "
                         "correct the sample's factors and run the stages from the first one again")
    tasks = [tasks_of(kind, samples, known, c) for kind in training.kinds]
    if not training.done:
        training.fitted_share = start_paths(training.kinds, training.states, samples, known,
                                            np.random.default_rng([c.SEED, 9]))
    end = max(kind.iterations for kind in training.kinds)
    # It follows from the number of points alone: a run that goes on farther has the same rows up to here
    every = max(1, c.LOG_EVERY // ROWS_OF_FEW) if any(kind.bends for kind in training.kinds) else c.LOG_EVERY
    # once the kind with fewer steps is done, steps of the others take less time: the bar counts steps of members
    bar = Progress(total=sum(kind.members * kind.iterations for kind in training.kinds), disable=not save,
                   initial=training.steps_of_members, desc="meta-training, all members", unit="step")
    with ThreadPoolExecutor(threads or cores()) as pool:
        while training.done < end:
            shares = [(k, members) for k, kind in enumerate(training.kinds) if training.done < kind.iterations
                      for members in ([range(kind.members)] if on_gpu() else [[m] for m in range(kind.members)])]
            found = list(pool.map(lambda share: _some_steps(training, *share, samples, tasks[share[0]], c, every),
                                  shares))
            for (k, _), (states, rows) in zip(shares, found, strict=True):
                pre, post = np.sum([row[1:3] for row in rows], axis=0)
                if any(not_finite(*member) for member in zip(states, pre, post, strict=True)):
                    raise InputError(_first_fault(training, k, samples, tasks[k], c))
            for (k, members), (states, _) in zip(shares, found, strict=True):
                for m, state in zip(members, states, strict=True):
                    training.states[k][m] |= state
            training.done = min(training.done + c.LOG_EVERY, end)
            _log(training, shares, [rows for _, rows in found])
            if save and (training.done % c.SAVE_EVERY < c.LOG_EVERY or training.done == end):
                save(training)
            _, k, pre, post, _ = training.history[-1]  # of the kind that is left, once the others are done
            bar.set_postfix_str(f"query loss of {training.kinds[int(k)].name} members {pre:.3f} -> {post:.3f}",
                                refresh=False)
            bar.update(training.steps_of_members - bar.n)
    bar.close()
    return training


def _some_steps(training: Training, k: int, members: Sequence[int], samples: EncodedSamples, tasks: Tasks,
                c: TrainingConstants, every: int) -> tuple[list[dict], list[tuple]]:
    """LOG_EVERY outer steps of some members of a kind, or as many as are left: their states; and after `every` steps
    the number of steps done, the query losses before and after the inner loop (members,) and the mean inner rates
    (members, arrays)."""
    kind, batches = training.kinds[k], batches_of(training, k, samples, tasks, c, members)
    states, rows = [training.states[k][m] for m in members], []
    end = min(training.done + c.LOG_EVERY, kind.iterations)
    for done in range(training.done, end, every):
        steps = min(every, end - done)
        states, pre, post = _take_steps(states, done, steps, batches, done - training.done, kind, c)
        rates = [[np.mean(rate) for rate in state["inner_lr"]] for state in states]
        rows.append((done + steps, pre, post, rates))
    return states, rows


def _take_steps(states: list[dict], done: int, steps: int, batches: list[np.ndarray], first: int, kind: Kind,
                c: TrainingConstants) -> tuple[list[dict], np.ndarray, np.ndarray]:
    """The states of members after some outer steps, number `done` on, by the batches from the `first` on; and the query
    losses before and after the inner loop (members,)."""
    if on_gpu():
        run = outer_loop(c.INNER_STEPS, c.META_LR, kind.normalise, c.FIRST_ORDER, True)
        state, pre, post = run(stacked(states), tf.constant(done), tf.constant(steps),
                               [np.roll(batch, -first, axis=0) for batch in batches],  # of the shape that is compiled
                               tf.constant(kind.decay))
        return unstacked(state, len(states)), pre.numpy(), post.numpy()
    some = [np.split(batch[first:first + steps], len(states), axis=1) for batch in batches]
    new, pre, post = zip(*(outer_steps(state, done, of_member, c.INNER_STEPS, c.META_LR, kind.normalise, c.FIRST_ORDER,
                                       kind.decay) for state, *of_member in zip(states, *some, strict=True)),
                         strict=True)
    return list(new), np.array(pre), np.array(post)


def batches_of(training: Training, k: int, samples: EncodedSamples, tasks: Tasks, c: TrainingConstants,
               members: Sequence[int]) -> list[np.ndarray]:
    """What the next LOG_EVERY outer steps of some members of a kind learn from, as maml.outer_loop reads it."""
    kind, done, states, drawn = training.kinds[k], training.done, training.states[k], []
    for member in members:
        # A new generator for each call: training that goes on from a checkpoint draws what it would have drawn.
        seed = [c.SEED, member, done] if kind.name == "blocks" else [c.SEED, member, done, k]
        drawn.append(draw(tasks, np.random.default_rng(seed), c.LOG_EVERY, min(c.META_BATCH, len(tasks.sizes)),
                          kind.support, kind.query, samples.xy, c.LINE_SHARE))
    support, support_mask, query, query_mask = (np.concatenate(parts, axis=1) for parts in zip(*drawn, strict=True))
    inputs = len(states[0]["weights"][0])
    return [a for rows, mask in ((support, support_mask), (query, query_mask))
            for a in (samples.x[rows, :inputs], samples.label[rows], mask * samples.weight[rows])]


def not_finite(state: dict, pre: float, post: float) -> str:
    """What of a member is no finite number after some outer steps, the first cause first; "" where all is well."""
    for when, loss in (("before", pre), ("after", post)):
        if not np.isfinite(loss):
            return f"a query loss {when} the inner loop of {loss}"
    names = {"inner_lr": "inner rates", "weights": "weights", "m": "moments of Adam", "v": "moments of Adam"}
    return next((f"{name} that are none" for key, name in names.items()
                 if not all(np.isfinite(part).all() for part in state[key])), "")


def _first_fault(training: Training, k: int, samples: EncodedSamples, tasks: Tasks, c: TrainingConstants) -> str:
    """The message on a kind of which a member diverged in the next steps: they are taken one at a time."""
    kind, states = training.kinds[k], training.states[k]
    steps_too_long = "META_LR, INNER_LR or DECAY" if kind.decay else "META_LR or INNER_LR"
    batches = batches_of(training, k, samples, tasks, c, range(kind.members))
    for i in range(c.LOG_EVERY):
        states, pre, post = _take_steps(states, training.done + i, 1, batches, i, kind, c)
        for member, fault in enumerate(map(not_finite, states, pre, post), start=1):
            if fault:
                return (f"outer step {training.done + i + 1}, {kind.name} member {member}: expected finite numbers, "
                        f"found {fault}; lower {steps_too_long}")
    return (f"outer steps {training.done + 1} to {training.done + c.LOG_EVERY}, {kind.name} members: expected finite "
            f"numbers, found others; lower {steps_too_long}")


def _log(training: Training, shares: list[tuple], found: list[list[tuple]]) -> None:
    """Adds to history what `_some_steps` found of each share (kind, members): means over the members of a kind."""
    lines = []
    for k in dict.fromkeys(k for k, _ in shares):
        of_kind = (rows for (kind, _), rows in zip(shares, found, strict=True) if kind == k)
        for i, rows in enumerate(zip(*of_kind, strict=True)):
            steps, *losses, rates = zip(*rows, strict=True)
            pre, post = (np.mean(np.concatenate(loss).astype(float)) for loss in losses)
            lines.append((i, [steps[0], k, pre, post, np.mean([rate for part in rates for of in part for rate in of])]))
    training.history = np.vstack([training.history, *(line for _, line in sorted(lines, key=lambda line: line[0]))])
