"""The level of the intermediate models: their mean probability is set to the share of landslides.

The outer loop makes a network good after it has adapted; before, its level is arbitrary. Where a twentieth of the
points are landslides it was found to call every third one a landslide. A block that does not adapt, or whose samples
lie far, is predicted by the intermediate model, so a constant is added to the log-odds of each kind of member until the
mean probability of the labelled points is the share of landslides among them: calibration in the large (Steyerberg
2019, Clinical Prediction Models, 2nd edition, chapter 15). No rank of cells changes.
"""

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from lsm.learner.members import Training
from lsm.learner.prediction import Networks, mean_log_odds
from lsm.learner.tasks import EncodedSamples

WIDEST = 50.0  # log-odds


def levelled(pooled: Networks, training: Training, samples: EncodedSamples, known: np.ndarray) -> Networks:
    """The intermediate models at the level of the labels. Those that were fitted (lsm/learner/additive) have it.

    pooled  of `pooled_members`; known (samples,) bool: the samples of both classes that give the level
    """
    x, label, weight = samples.x[known], samples.label[known], samples.weight[known].astype(np.float64)
    out = {}
    for kind, states in zip(training.kinds, training.states, strict=True):
        weights = pooled[kind.name]
        if "fitted" not in states[0]:
            shift = _shift(mean_log_odds({kind.name: weights}, x).astype(np.float64), label, weight)
            logits = 2 * (len(weights) // 2) - 1  # its biases; w5 follows where there is a direct path
            weights = [w + np.float32([-shift / 2, shift / 2]) if i == logits else w for i, w in enumerate(weights)]
        out[kind.name] = weights
    return out


def _shift(log_odds: np.ndarray, label: np.ndarray, weight: np.ndarray) -> float:
    """What to add to log-odds (n,) so that their mean probability is the mean label (n,), each by its weight (n,)."""
    return brentq(lambda shift: (weight * (expit(log_odds + shift) - label)).sum(), -WIDEST, WIDEST)
