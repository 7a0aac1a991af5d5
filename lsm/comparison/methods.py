"""Every method of the comparison in one table: its name, how it is fitted, under which protocols, and what it costs."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from sklearn.preprocessing import MinMaxScaler

from lsm.comparison.ours.networks import MethodConstants, Stages, block_alone, one_network, ours, plain_networks
from lsm.comparison.rivals import baselines, dbn
from lsm.comparison.rivals.tuned import logistic, penalised, tuned_boosting, tuned_forest
from lsm.comparison.splits import Split


def deep_belief_network(split: Split, c: MethodConstants, stages: Stages, seed: int) -> tuple[Callable]:
    """Two RBMs and a head, fine-tuned; factors scaled to 0 .. 1."""
    scaler = MinMaxScaler(clip=True).fit(split.x[split.labelled])

    def scaled(rows) -> np.ndarray:
        return scaler.transform(split.encoded(rows)).astype(np.float32)

    weights = dbn.fit(scaled(split)[split.labelled], split.label[split.labelled], c, stages.rbm,
                      np.random.default_rng(seed))
    return (lambda rows: dbn.landslide_probability(weights, scaled(rows)),)


def rival(method: Callable, form: str = "published") -> Callable:
    """A method of lsm/comparison/rivals/ as `Family.fit`."""
    return lambda split, c, stages, seed: (method(replace(split, form=form), np.random.default_rng(seed)),)


def rivals(method: Callable) -> Callable:
    """A method that gives a predictor for each of a family's names, as `Family.fit`."""
    return lambda split, c, stages, seed: method(replace(split, form="published"), np.random.default_rng(seed))


class Family(NamedTuple):
    """Methods that are fitted together.

    names      as the tables name them
    fit        (split, constants, stages, seed) -> a fitted method for each name, None where the constants leave it out
    protocols  under which they are compared: some need a support, and some are too slow for every protocol
    cost       processor seconds of one fit on 10,000 labelled points of 14 factors, scores included; the mean of a
               whole comparison of Hong Kong, two fits side by side
    left_out   whether they are also compared without the factor WITHOUT, under LEFT_OUT
    recipe     of the meta-training, "" where there is none
    """

    names: tuple[str, ...]
    fit: Callable
    protocols: tuple[str, ...]
    cost: float
    left_out: bool = True
    recipe: str = ""


LEFT_OUT = ("published", "spatial", "augmentation")  # more would take the whole comparison beyond an hour
_FEW_SHOT = ("published", "spatial")
_WHERE_NONE = ("blocked", "partitions", "temporal")
_MOST = (*_FEW_SHOT, *_WHERE_NONE)
_ALL = (*_MOST, "augmentation")
FAMILIES = {
    "ours": Family(("ours", "ours, local members", "ours, regional members", "ours, not adapted"), ours("recommended"),
                   _ALL, 19, recipe="recommended"),
    "published_recipe": Family(("ours, published recipe", "ours, published recipe, not adapted"), ours("published"),
                               (*_FEW_SHOT, "partitions"), 4, False, "published"),
    "logistic": Family(("logistic regression",), rival(logistic()), _ALL, 0.1),
    "logistic_xy": Family(("logistic regression + XY",), rival(logistic("xy")), _MOST, 0.1),
    "logistic_tuned": Family(("logistic regression, tuned",), rival(penalised(), "recommended"), _ALL, 0.3),
    "additive": Family(("additive model, tuned",), rival(penalised(splines=True), "recommended"), _ALL, 1),
    "svm": Family(("SVM",), rival(baselines.svm), _MOST, 7.5, False),
    "mlp": Family(("MLP",), rival(baselines.mlp), _MOST, 5.5, False),
    "dbn": Family(("DBN",), deep_belief_network, _MOST, 4, False),
    "rf": Family(("RF",), rival(baselines.random_forest), _ALL, 4.5),
    "rf_tuned": Family(("RF, tuned",), rival(lambda *given: tuned_forest()(*given)[1]), _MOST, 11, False),
    "rf_xy": Family(("RF + XY", "RF, tuned + XY"), rivals(tuned_forest("xy")), _MOST, 13.5, False),
    "rf_tuned_block_xy": Family(("RF, tuned + within block + XY",),
                                rival(lambda *given: tuned_forest("block", "xy")(*given)[1]), _MOST, 18.5, False),
    "boosting": Family(("boosting",), rival(baselines.boosting()), _MOST, 1),
    "boosting_xy": Family(("boosting + XY",), rival(baselines.boosting("xy")), _ALL, 1),
    "boosting_block": Family(("boosting + within block",), rival(baselines.boosting("block")), _FEW_SHOT, 1.5, False),
    "boosting_block_xy": Family(("boosting + within block + XY",), rival(baselines.boosting("block", "xy")), _ALL, 1.5),
    "boosting_tuned": Family(("boosting, tuned",), rival(lambda *given: tuned_boosting(members=1)(*given)[0]), _MOST,
                             6.5, False),
    "boosting_tuned_xy": Family(("boosting, tuned + XY", "boosting, mean of 6, tuned + XY"),
                                rivals(tuned_boosting("xy")), _MOST, 13, False),
    "boosting_tuned_block_xy": Family(("boosting, tuned + within block + XY",
                                       "boosting, mean of 6, tuned + within block + XY"),
                                      rivals(tuned_boosting("block", "xy")), _MOST, 14, False),
    "networks": Family(("networks + XY, mean of 6",), plain_networks, _MOST, 10, False),
    "rf_block": Family(("RF per block",), rival(baselines.random_forest_of_block), _FEW_SHOT, 7, False),
    "block_alone": Family(("block alone",), block_alone, _FEW_SHOT, 1, False),
    "fine_tuned": Family(("one network", "one network, fine-tuned"), one_network, _FEW_SHOT, 2, False),
    "knn": Family(("nearest neighbours in XY",), rival(baselines.nearest_neighbours), _MOST, 0.5),
    "block_rate": Family(("block landslide rate",), rival(baselines.block_rate), _FEW_SHOT, 0.1),
    "slope": Family(("slope alone",), rival(baselines.slope_alone), _MOST, 0.1),
}
