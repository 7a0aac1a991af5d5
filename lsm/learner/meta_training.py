"""Meta-training an intermediate model over blocks and adapting it to others: what meta_learner.py and the comparison
share. `c` is the namespace of meta_learner.py's constants throughout."""

import numpy as np
import tensorflow as tf
from scipy.spatial import cKDTree
from tqdm import tqdm

from lsm.learner import maml
from lsm.learner.folded_network import probability
from lsm.learner.network import initial_weights
from lsm.run.settings import InputError


def rows_by_block(block: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The blocks that have chosen samples, and the rows of those samples in each. block, chosen (samples,)."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(block[rows], kind="stable")]
    blocks, start = np.unique(block[rows], return_index=True)
    return blocks, np.split(rows, start[1:])


def start_states(inputs: int, hidden: tuple[int, ...], saved_model: dict | None, c, rng: np.random.Generator) -> list:
    """The states of c.MEMBERS members before the first outer step, from the pretrained layers (members then differ in
    the head and in what they draw) or, where saved_model is None, at random."""
    return [maml.initial_state(initial_weights([inputs, *hidden], saved_model, rng), c.INNER_LR, c.RATE_PER_WEIGHT)
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


def meta_train(states: list[dict], done: int, history: np.ndarray, x: np.ndarray, y: np.ndarray, xy: np.ndarray,
               tasks: maml.Tasks, c, save=None,
               weight: np.ndarray | None = None) -> tuple[list[dict], np.ndarray]:
    """Meta-training of all members from outer step `done` to c.ITERATIONS; returns the states and history (rows, 4).

    Losses and rate in the history are means over the members.

    x (samples, inputs), y (samples,), xy (samples, 2): of all samples, of which `tasks` names the meta-training ones.
    save(step, states, history) is called every c.SAVE_EVERY outer steps and at the end; None saves nothing and shows
    no progress. weight (samples,): of each sample in the losses, None: all alike.
    Raises InputError when the query loss diverges.
    """
    outer_loop = maml.outer_loop(c.INNER_STEPS, c.META_LR, c.NORMALISE, c.FIRST_ORDER)
    bar = tqdm(total=c.ITERATIONS, initial=done, desc="meta-training", unit="step", disable=None if save else True)
    while done < c.ITERATIONS:
        steps, losses = min(c.LOG_EVERY, c.ITERATIONS - done), []
        for member, state in enumerate(states):
            # A generator a call: training that goes on from a checkpoint draws what it would have drawn unstopped.
            drawn = maml.draw(tasks, np.random.default_rng([c.SEED, member, done]), c.LOG_EVERY, c.META_BATCH,
                              c.SUPPORT, c.QUERY, xy, c.LINE_SHARE)
            batches = [a for rows, mask in (drawn[:2], drawn[2:])
                       for a in (x[rows], y[rows], mask if weight is None else mask * weight[rows])]
            states[member], *loss = outer_loop(state, tf.constant(done), tf.constant(steps), batches)
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


def adapt_members(states: list[dict], x: np.ndarray, label: np.ndarray, supports: list[np.ndarray], c,
                  rng: np.random.Generator, weight: np.ndarray | None = None) -> list[np.ndarray]:
    """The adapted networks of all members and blocks: weights with (members, blocks) as first axes.

    supports  of each block, the rows of x (samples, inputs), label and weight (samples,) it adapts on; none empty
    """
    tasks = maml.Tasks.of(supports)
    each = [maml.adapt_blocks(state, x, label, tasks, c.ADAPT_STEPS, c.ADAPT_BATCH, c.NORMALISE, rng, weight)
            for state in states]
    return [np.stack(weights) for weights in zip(*each, strict=True)]


def pooled_members(states: list[dict], x: np.ndarray, c) -> list[np.ndarray]:
    """The intermediate models, weights with the members as first axis; x (samples, inputs) gives any normalisation's
    statistics."""
    each = [maml.pooled_network(state, x, c.NORMALISE) for state in states]
    return [np.stack(weights) for weights in zip(*each, strict=True)]


class Supports:
    """The points blocks adapt on: their own labelled ones, and the nearest ones of other blocks.

    known  (points,) bool: labelled points to learn from; xy (points, 2), block (points,), label (points,) of all.
    """

    def __init__(self, xy: np.ndarray, block: np.ndarray, label: np.ndarray, known: np.ndarray):
        self.rows = np.flatnonzero(known)
        self.xy, self.block, self.label = xy[self.rows], block[self.rows], label
        self.tree = cKDTree(self.xy)

    def of(self, block: int, places: np.ndarray, borrow: int) -> np.ndarray:
        """Rows of the block's own points, then of the `borrow` points of other blocks nearest to any of its places.

        places (n, 2): where the block is to be predicted
        """
        own = self.rows[self.block == block]
        borrow = min(borrow, len(self.rows) - len(own))
        if not borrow:
            return own
        centre, among = places.mean(axis=0), 4 * borrow + len(own)
        radius, tree = np.hypot(*(places - centre).T).max(), cKDTree(places)
        while True:  # those nearest to the centre, until none left out can be nearer to the block than those found
            from_centre, near = self.tree.query(centre, k=np.arange(1, min(among, len(self.rows)) + 1))
            near = near[self.block[near] != block]
            distance, _ = tree.query(self.xy[near])
            order = np.argsort(distance, kind="stable")[:borrow]
            if among >= len(self.rows) or (len(order) == borrow and distance[order[-1]] <= from_centre[-1] - radius):
                return np.concatenate([own, self.rows[near[order]]])
            among *= 2

    def mixed(self, rows: np.ndarray) -> bool:
        """Whether these rows hold both classes."""
        return len(rows) > 0 and 0 < self.label[rows].mean() < 1


def adapted_blocks(states: list[dict], x: np.ndarray, label: np.ndarray, xy: np.ndarray, block: np.ndarray,
                   known: np.ndarray, asked: np.ndarray, c, one_class: bool = False,
                   weight: np.ndarray | None = None) -> dict[int, list[np.ndarray] | None]:
    """The networks of every block that has asked points, members as first axis; None of one that does not adapt.

    known, asked  (samples,) bool: points to adapt on, points to score; label of the asked ones is not read
    one_class     whether a block whose points hold one class only adapts too
    A block adapts on its own known points and on the c.BORROW of other blocks nearest to its asked ones.
    """
    supports = Supports(xy, block, label, known)
    blocks, rows = rows_by_block(block, asked)
    own = [supports.of(b, xy[r], c.BORROW) for b, r in zip(blocks, rows, strict=True)]
    adapts = np.array([len(r) > 0 and (one_class or supports.mixed(r)) for r in own], bool)
    out = dict.fromkeys(blocks.tolist())
    if adapts.any():
        networks = adapt_members(states, x, label, [r for r, a in zip(own, adapts, strict=True) if a], c,
                                 np.random.default_rng([c.SEED, 1]), weight)
        out |= {b: [w[:, i] for w in networks] for i, b in enumerate(blocks[adapts].tolist())}
    return out


def scores_of_blocks(networks: dict, pooled: list, x: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Landslide probability (rows,) of encoded rows x (rows, inputs) under the networks of their block (rows,), or the
    intermediate models `pooled` where it has none; networks as of `adapted_blocks`."""
    out = np.empty(len(x))
    for b, rows in zip(*rows_by_block(block, np.ones(len(x), bool)), strict=True):
        out[rows] = mean_probability(networks.get(int(b)) or pooled, x[rows])
    return out


def adapted_scores(states: list[dict], pooled: list, x: np.ndarray, label: np.ndarray, xy: np.ndarray,
                   block: np.ndarray, known: np.ndarray, asked: np.ndarray, c, one_class: bool = False,
                   weight: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Landslide probability of the asked points, the mean of the members, (samples,) with nan where not asked; and the
    blocks that keep the intermediate models. Arguments as of `adapted_blocks`, `pooled` as of `pooled_members`."""
    networks = adapted_blocks(states, x, label, xy, block, known, asked, c, one_class, weight)
    out = np.full(len(block), np.nan)
    out[asked] = scores_of_blocks(networks, pooled, x[asked], block[asked])
    return out, np.array([b for b, own in networks.items() if own is None], block.dtype)


def mean_probability(weights: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """Landslide probability (n,) of encoded rows x (n, inputs): the mean of the members, the weights' first axis."""
    members = len(weights[0])
    return sum(probability([w[m] for w in weights], x) for m in range(members)) / np.float32(members)
