"""Members, the networks of the map: their kinds, how sizes follow from the number of labelled points, their weights at
the start, and their states as files hold them.

Local members learn from small neighbourhoods and are normalised by their support: they are good where a block has
samples of its own. Regional members learn from wide neighbourhoods and know the place, X and Y: they are good where
nobody has mapped. The map is the mean of all members in log-odds (docs/trials.md has what each kind is worth).

The published recipe has one kind, "blocks": a task is a terrain block.
"""

import itertools
import json
import re
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

from lsm.learner.additive.direct_path import rows_of_path
from lsm.learner.encoder import Encoder
from lsm.learner.prediction import Networks
from lsm.run.settings import counted

HEAD_SD = 0.01  # of the head's truncated normal start; published
PLACE = 2       # inputs that tell the place, X and Y; always the last ones
HISTORY = ("iteration", "kind", "pre_loss", "post_loss", "inner_lr")  # columns; kind as its number


class KindConstants(Protocol):
    """The constants of meta_learner.py that the kinds are made of. meta_learner.py explains them."""

    LOCAL_MEMBERS: int
    LOCAL_NEIGHBOURHOOD: int
    LOCAL_ITERATIONS: int
    LOCAL_BORROW: int
    REGIONAL_MEMBERS: int
    REGIONAL_NEIGHBOURHOOD: int
    REGIONAL_ITERATIONS: int
    REGIONAL_SUPPORT: int
    REGIONAL_BORROW: int
    PLACE: bool
    PLACE_FROM: int
    NORMALISE: bool
    NORMALISE_FROM: int
    DECAY: float
    DIRECT: bool
    CURVES_BELOW: int
    SUPPORT: int
    QUERY: int
    ADAPT_STEPS: int
    ADAPT_BATCH: int


class MemberConstants(KindConstants, Protocol):
    """The constants of meta_learner.py that members start with."""

    INNER_LR: float
    RATE_PER_WEIGHT: bool


@dataclass(frozen=True)
class Kind:
    """One kind of member.

    members        networks, trained apart from each other
    neighbourhood  labelled points of a task; 0: a task is a block
    support, query  samples of a task that the inner loop learns from, and that the outer loop is judged on
    iterations     outer steps
    normalise      batch normalisation of the hidden layers by the support
    place          whether X and Y are inputs
    direct         whether a path leads from the inputs to the logits beside the hidden layers
    borrow         labelled samples of other blocks, the nearest ones, that a block adapts on besides its own
    steps, batch   of adaptation; batch 0: every step takes the whole support
    decay          of the weights, in the outer loop
    bends          whether the direct path is a sum of curves, fitted before the first outer step; else it is linear
    """

    name: str
    members: int
    neighbourhood: int
    support: int
    query: int
    iterations: int
    normalise: bool
    place: bool
    direct: bool
    borrow: int
    steps: int
    batch: int
    decay: float
    bends: bool = False

    def __str__(self) -> str:
        kind, tasks = ((f"{self.name} member", f"neighbourhoods of {counted(self.neighbourhood, 'sample')}")
                       if self.neighbourhood else ("member", "blocks"))
        return (f"{counted(self.members, kind)}: {counted(self.iterations, 'outer step')} on {tasks}"
                + ", which know X and Y" * self.place)


def read_kinds(text: np.ndarray | str) -> list[Kind]:
    """The kinds of the array "kinds" of checkpoint_dir/<REGION>_model.npz."""
    return [Kind(**kind) for kind in json.loads(str(text))]


def kinds_of_members(c: KindConstants, labelled: int) -> list[Kind]:
    """The kinds of members for an inventory with so many labelled points to learn from.

    The constants are meant for many points. Fewer points get smaller neighbourhoods, at most a quarter of the points
    for local members, and fewer outer steps: one for every four points for local members and one for every eight for
    regional ones, so that a point is not seen more often than in a large inventory. From few points regional members
    do not learn the place: where nobody has mapped they would continue a trend of X and Y. Below CURVES_BELOW points
    the direct path bends and starts from a fit, and one step for ten points, or twenty, is enough. A kind without
    members is left out.
    """
    blocks, bends = not c.LOCAL_NEIGHBOURHOOD, c.DIRECT and labelled < c.CURVES_BELOW
    a_step = 10 if bends else 4  # points of an outer step of local members
    decay = round(c.DECAY / max(labelled, 1), 3)
    local = Kind("blocks" if blocks else "local", c.LOCAL_MEMBERS, min(c.LOCAL_NEIGHBOURHOOD, labelled // 4), c.SUPPORT,
                 c.QUERY, c.LOCAL_ITERATIONS if blocks else min(c.LOCAL_ITERATIONS, max(1, labelled // a_step)),
                 c.NORMALISE and labelled >= c.NORMALISE_FROM, False, c.DIRECT, c.LOCAL_BORROW, c.ADAPT_STEPS,
                 c.ADAPT_BATCH, decay, bends)
    regional = Kind("regional", c.REGIONAL_MEMBERS, min(c.REGIONAL_NEIGHBOURHOOD, labelled), c.REGIONAL_SUPPORT,
                    c.REGIONAL_SUPPORT, min(c.REGIONAL_ITERATIONS, max(1, labelled // (2 * a_step))), False,
                    c.PLACE and labelled >= c.PLACE_FROM, c.DIRECT,
                    c.REGIONAL_BORROW, c.ADAPT_STEPS, c.ADAPT_BATCH, decay, bends)
    return [kind for kind in (local, regional) if kind.members]


# ---------------------------------------------------------------------------------------------------- their states
def initial_weights(sizes: list[int], hidden_start: dict | None, rng: np.random.Generator,
                    direct: bool = False, bend: int = 0) -> list[np.ndarray]:
    """The weights meta-training starts from, float32.

    sizes         widths from the inputs to the last hidden layer: [14, 32, 32, 16]
    direct        adds the weights of a direct path from the inputs to the logits, all zero, whose first `bend` inputs
                  bend
    hidden_start  the arrays of savedmodel.npz (arr_0.. = w1, b1, ..., w as (out, in)), or None: hidden layers from
                  He's truncated normal, sd sqrt(2 / inputs) (He et al. 2015, arXiv 1502.01852), biases zero. Inputs
                  that the saved first layer does not have (X and Y, the last two) start from the same normal
    Raises ValueError when the saved arrays have other shapes.
    """
    weights = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        if hidden_start is None:
            w, b = truncated_normal(rng, (inputs, outputs), np.sqrt(2 / inputs)), np.zeros(outputs)
        else:
            w, b = hidden_start[f"arr_{2 * i}"].T, hidden_start[f"arr_{2 * i + 1}"]
            if i == 0 and len(w) == inputs - PLACE:
                w = np.concatenate([w, truncated_normal(rng, (PLACE, outputs), np.sqrt(2 / inputs))])
        if w.shape != (inputs, outputs) or b.shape != (outputs,):
            raise ValueError(f"layer {i + 1}: expected w {(outputs, inputs)}, found {w.T.shape}")
        weights += [w, b]
    weights += [truncated_normal(rng, (sizes[-1], 2), HEAD_SD), np.zeros(2)]
    weights += [np.zeros((rows_of_path(sizes[0], bend), 2))] * direct
    return [np.ascontiguousarray(w, np.float32) for w in weights]


def truncated_normal(rng: np.random.Generator, shape: tuple[int, ...], sd: float) -> np.ndarray:
    """Normal draws of standard deviation `sd`; draws beyond two standard deviations are drawn again."""
    draws = rng.standard_normal(shape)
    while (far := np.abs(draws) > 2).any():
        draws[far] = rng.standard_normal(far.sum())
    return sd * draws


def initial_state(weights: list[np.ndarray], inner_lr: float, per_weight: bool) -> dict:
    """The state before the first outer step: a dict of lists of float32 arrays.

    "weights" (see network.py), "inner_lr" (one scalar, or one array for each array of weights: Meta-SGD, Li et al.
    2017, arXiv 1707.09835), and Adam's "m" and "v" for both.
    """
    rates = [np.full(w.shape, inner_lr, np.float32) for w in weights] if per_weight else [np.float32(inner_lr)]
    zeros = [np.zeros_like(p) for p in weights + rates]
    return {"weights": weights, "inner_lr": rates, "m": zeros, "v": zeros}


@dataclass
class Training:
    """Members on their way: the kinds, the states of each kind's members, outer steps done, history (rows, 5); the
    reach in m of adapted networks (support/reach.py), inf where distance does not count; and, where curves were fitted
    before the first step, the share of the samples that counted (additive_start.py)."""

    kinds: list[Kind]
    states: list[list[dict]]
    done: int
    history: np.ndarray
    reach: float = np.inf
    fitted_share: float = 0.0

    @classmethod
    def start(cls, inputs: int, hidden: tuple[int, ...], saved_model: dict | None, c: MemberConstants, labelled: int,
              rng: np.random.Generator) -> "Training":
        """Before the first outer step.

        inputs       of the networks without X and Y; hidden  widths of the hidden layers
        saved_model  the pretrained hidden layers, which all members start from: they differ in the head and in the
                     tasks they draw; None: all layers start at random
        labelled     how many points there are to learn from
        """
        kinds = kinds_of_members(c, labelled)
        states = [[initial_state(initial_weights([inputs + PLACE * kind.place, *hidden], saved_model, rng, kind.direct,
                                                 inputs * kind.bends), c.INNER_LR, c.RATE_PER_WEIGHT)
                   for _ in range(kind.members)] for kind in kinds]
        return cls(kinds, states, 0, np.empty((0, len(HISTORY))))

    @classmethod
    def of_file(cls, model: dict[str, np.ndarray]) -> "Training":
        """From the arrays of checkpoint_dir/<REGION>_model.npz: trained members, ready to adapt."""
        training = cls(read_kinds(model["kinds"]), [], 0, np.empty((0, len(HISTORY))),
                       float(model.get("reach", np.inf)))
        training.fill(model)
        return training

    def for_file(self, pooled: Networks, encoder: Encoder) -> dict[str, np.ndarray]:
        """The arrays of checkpoint_dir/<REGION>_model.npz, as `of_file` and `pooled_of` read them.

        The moments of Adam are left out, which training alone needs, and what was fitted before it: `pooled` has it.
        """
        states = {name: w for name, w in self.arrays().items() if not re.search("_(m|v|fitted)_[0-9]+$", name)}
        return states | {f"{kind}_pooled_{i}": w for kind, ws in pooled.items() for i, w in enumerate(ws)} | {
            "reach": np.array(self.reach), "encoder": np.array(encoder.to_json()),
            "kinds": np.array(json.dumps([asdict(kind) for kind in self.kinds]))}

    def arrays(self) -> dict[str, np.ndarray]:
        """The states as named arrays for a file, members as first axis: local_weights_0, ..., local_inner_lr_0, ..."""
        return {f"{kind.name}_{key}_{i}": np.stack([state[key][i] for state in states])
                for kind, states in zip(self.kinds, self.states, strict=True)
                for key, parts in states[0].items() for i in range(len(parts))}

    @property
    def steps(self) -> np.ndarray:
        """Outer steps that each kind has taken, (kinds,)."""
        return np.array([min(self.done, kind.iterations) for kind in self.kinds])

    @property
    def steps_of_members(self) -> int:
        """Outer steps that all members together have taken."""
        return int(self.steps @ [kind.members for kind in self.kinds])

    def fill(self, arrays: dict[str, np.ndarray]) -> None:
        """Takes the states from the arrays that `arrays` named."""
        self.states = [member_states(kind, arrays) for kind in self.kinds]


def member_states(kind: Kind, arrays: dict[str, np.ndarray]) -> list[dict]:
    """The states of a kind's members among the arrays that `Training.arrays` named."""
    def parts(key: str) -> list[np.ndarray]:
        count = sum(name.rpartition("_")[0] == f"{kind.name}_{key}" for name in arrays)
        return [arrays[f"{kind.name}_{key}_{i}"] for i in range(count)]

    keys = {key: parts(key) for key in ("weights", "inner_lr", "m", "v", "fitted")}
    return [{key: [w[member] for w in ws] for key, ws in keys.items() if ws} for member in range(kind.members)]


def pooled_of(training: Training, model: dict[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
    """The folded intermediate models among the arrays of checkpoint_dir/<REGION>_model.npz, by kind of member."""
    return {kind.name: [model[f"{kind.name}_pooled_{i}"] for i in range(len(states[0]["weights"]))]
            for kind, states in zip(training.kinds, training.states, strict=True)}
