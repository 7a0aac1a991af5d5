"""Kinds of members: what each kind of network learns from, and how sizes follow from the number of labelled points.

Local members learn from small neighbourhoods and are normalised by their support: they are good where a block has
samples of its own. Regional members learn from wide neighbourhoods and know the place, X and Y: they are good where
nobody has mapped. The map is the mean of all members in log-odds (docs/trials.md has what each kind is worth).

The published recipe has one kind, "blocks": a task is a terrain block.
"""

import json
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lsm.run.settings import counted


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
        return f"{counted(self.members, kind)}: {counted(self.iterations, 'outer step')} on {tasks}"


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
