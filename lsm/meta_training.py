"""Meta-training an intermediate model over blocks and adapting it to others: what meta_learner.py and the comparison
share. `c` is the namespace of meta_learner.py's constants throughout."""

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from lsm import maml
from lsm.network import initial_weights, probability
from lsm.settings import InputError


def rows_by_block(block: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The blocks that have chosen samples, and the rows of those samples in each. block, chosen (samples,)."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(block[rows], kind="stable")]
    blocks, start = np.unique(block[rows], return_index=True)
    return blocks, np.split(rows, start[1:])


def start_state(inputs: int, hidden: tuple[int, ...], saved_model: dict | None, c, rng: np.random.Generator) -> dict:
    """The state before the first outer step, from the pretrained layers or, where saved_model is None, at random."""
    weights = initial_weights([inputs, *hidden], saved_model, rng)
    return maml.initial_state(weights, c.INNER_LR, c.RATE_PER_WEIGHT)


def meta_train(state: dict, done: int, history: np.ndarray, x: np.ndarray, y: np.ndarray, xy: np.ndarray,
               tasks: maml.Tasks, c, save=None) -> tuple[dict, np.ndarray]:
    """Meta-training from outer step `done` to c.ITERATIONS; returns the state and the history (rows, 4).

    x (samples, inputs), y (samples,), xy (samples, 2): of all samples, of which `tasks` names the meta-training ones.
    save(step, state, history) is called every c.SAVE_EVERY outer steps and at the end; None saves nothing and shows
    no progress. Raises InputError when the query loss diverges.
    """
    outer_loop = maml.outer_loop(c.INNER_STEPS, c.META_LR, c.NORMALISE, c.FIRST_ORDER)
    bar = tqdm(total=c.ITERATIONS, initial=done, desc="meta-training", unit="step", disable=None if save else True)
    while done < c.ITERATIONS:
        # A generator a call: training that goes on from a checkpoint draws what it would have drawn without a stop.
        drawn = maml.draw(tasks, np.random.default_rng([c.SEED, done]), c.LOG_EVERY, c.META_BATCH, c.SUPPORT, c.QUERY,
                          xy, c.LINE_SHARE)
        batches = [a for rows, mask in (drawn[:2], drawn[2:]) for a in (x[rows], y[rows], mask)]
        steps = min(c.LOG_EVERY, c.ITERATIONS - done)
        state, pre_loss, post_loss = outer_loop(state, tf.constant(done), tf.constant(steps), batches)
        done += steps
        if not np.isfinite(post_loss):
            raise InputError(f"outer step {done}: expected a finite query loss, found {post_loss}; lower META_LR or "
                             "INNER_LR")
        inner_lr = np.mean([np.mean(rate) for rate in state["inner_lr"]])
        history = np.vstack([history, [done, pre_loss, post_loss, inner_lr]])
        if save and (done % c.SAVE_EVERY < steps or done == c.ITERATIONS):
            save(done, state, history)
        bar.set_postfix_str(f"query loss {pre_loss:.3f} -> {post_loss:.3f}", refresh=False)
        bar.update(steps)
    bar.close()
    return state, history


def adapted_scores(state: dict, pooled: list, x: np.ndarray, label: np.ndarray, block: np.ndarray, known: np.ndarray,
                   asked: np.ndarray, c, one_class: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Landslide probability of the asked points under their block's adapted model, and the blocks that have none.

    known, asked  (samples,) bool: points a block adapts on, points to score; label of the asked ones is not read
    one_class     whether a block whose known points hold one class only adapts too
    A block that does not adapt keeps the intermediate model `pooled`. Returns (samples,) with nan where not asked, and
    the numbers of these blocks.
    """
    out = np.full(len(block), np.nan)
    blocks, rows = rows_by_block(block, asked)
    supports = [np.flatnonzero((block == b) & known) for b in blocks]
    mixed = np.array([len(r) > 0 and (one_class or 0 < label[r].mean() < 1) for r in supports])
    networks = maml.adapt_blocks(state, x, label, maml.Tasks.of([r for r, m in zip(supports, mixed, strict=True) if m]),
                                 c.ADAPT_STEPS, c.ADAPT_BATCH, c.NORMALISE, np.random.default_rng([c.SEED, 1]))
    place = np.cumsum(mixed) - 1
    for i, r in enumerate(rows):
        out[r] = probability([w[place[i]] for w in networks] if mixed[i] else pooled, x[r])
    return out, blocks[~mixed]
