"""Meta-training of the intermediate models over the tasks: the members, their states, the outer loop over all steps."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from lsm.learner.maml import initial_state, outer_loop
from lsm.learner.network import initial_weights
from lsm.learner.tasks import EncodedSamples, Tasks, draw
from lsm.run.settings import InputError


class TrainingConstants(Protocol):
    """The constants that meta-training needs. meta_learner.py has and explains them."""

    SEED: int
    MEMBERS: int
    NORMALISE: bool
    SUPPORT: int
    QUERY: int
    LINE_SHARE: float
    INNER_STEPS: int
    INNER_LR: float
    RATE_PER_WEIGHT: bool
    FIRST_ORDER: bool
    META_BATCH: int
    META_LR: float
    ITERATIONS: int
    LOG_EVERY: int
    SAVE_EVERY: int


def start_states(inputs: int, hidden: tuple[int, ...], saved_model: dict | None, c: TrainingConstants,
                 rng: np.random.Generator) -> list[dict]:
    """The states of c.MEMBERS members before the first outer step.

    saved_model  the pretrained hidden layers, which all members start from: they differ in the head and in the tasks
                 they draw; None: all layers start at random
    """
    return [initial_state(initial_weights([inputs, *hidden], saved_model, rng), c.INNER_LR, c.RATE_PER_WEIGHT)
            for _ in range(c.MEMBERS)]


def flat(states: list[dict]) -> dict:
    """The states as named arrays for a file, members as first axis: weights_0, weights_1, ..., inner_lr_0, ..."""
    return {f"{key}_{i}": np.stack([state[key][i] for state in states])
            for key, arrays in states[0].items() for i in range(len(arrays))}


def unflat(arrays: dict) -> list[dict]:
    """The states that `flat` named."""
    keys = [key for key in ("weights", "inner_lr", "m", "v") if f"{key}_0" in arrays]
    count = {key: sum(name.startswith(f"{key}_") for name in arrays) for key in keys}
    return [{key: [arrays[f"{key}_{i}"][member] for i in range(count[key])] for key in keys}
            for member in range(len(arrays["weights_0"]))]


def meta_train(states: list[dict], done: int, history: np.ndarray, samples: EncodedSamples, tasks: Tasks,
               c: TrainingConstants, save: Callable | None = None) -> tuple[list[dict], np.ndarray]:
    """Meta-training of all members from outer step `done` to c.ITERATIONS; returns the states and history (rows, 4).

    tasks  the samples of each block for meta-training; no other sample is read
    save   save(step, states, history) is called every c.SAVE_EVERY outer steps and at the end; None saves nothing and
           shows no progress
    Columns of history: outer step, query loss before and after the inner loop, inner rate, means over the members.
    Raises InputError when the query loss diverges.
    """
    run = outer_loop(c.INNER_STEPS, c.META_LR, c.NORMALISE, c.FIRST_ORDER)
    bar = tqdm(total=c.ITERATIONS, initial=done, desc="meta-training", unit="step", disable=None if save else True)
    while done < c.ITERATIONS:
        steps, losses = min(c.LOG_EVERY, c.ITERATIONS - done), []
        for member, state in enumerate(states):
            # A new generator for each call: training that goes on from a checkpoint draws what it would have drawn.
            drawn = draw(tasks, np.random.default_rng([c.SEED, member, done]), c.LOG_EVERY, c.META_BATCH, c.SUPPORT,
                         c.QUERY, samples.xy, c.LINE_SHARE)
            batches = [a for rows, mask in (drawn[:2], drawn[2:])
                       for a in (samples.x[rows], samples.label[rows], mask * samples.weight[rows])]
            states[member], *loss = run(state, tf.constant(done), tf.constant(steps), batches)
            losses.append(loss)
        pre_loss, post_loss = np.mean(losses, axis=0)
        done += steps
        if not np.isfinite(post_loss):
            raise InputError(f"outer step {done}: expected a finite query loss, found {post_loss}; lower META_LR or "
                             "INNER_LR")
        inner_lr = np.mean([np.mean(rate) for state in states for rate in state["inner_lr"]])
        history = np.vstack([history, [done, pre_loss, post_loss, inner_lr]])
        if save and (done % c.SAVE_EVERY < steps or done == c.ITERATIONS):
            save(done, states, history)
        bar.set_postfix_str(f"query loss {pre_loss:.3f} -> {post_loss:.3f}", refresh=False)
        bar.update(steps)
    bar.close()
    return states, history
