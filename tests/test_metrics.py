import math

import numpy as np
import pytest

from lsm.metrics import MEASURES, scores

LABEL = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
SCORE = np.array([0.9, 0.8, 0.5, 0.4, 0.6, 0.5, 0.3, 0.2, 0.1, 0.7])  # 0.5 counts as landslide


def test_equals_hand_computed_measures():
    # 3 true and 3 false positives, 1 false and 3 true negatives; chance agreement .4 * .6 + .6 * .4 = .48;
    # of the 24 pairs of a landslide and another, 18 are in order and one is tied
    expected = {"accuracy": 0.6, "precision": 0.5, "recall": 0.75, "f1": 0.6, "kappa": 0.12 / 0.52, "auroc": 18.5 / 24}
    found = scores(LABEL, SCORE)
    assert tuple(found) == MEASURES
    assert found == pytest.approx(expected, abs=1e-12)


def test_flipped_labels_give_the_complement_of_auroc():
    rng = np.random.default_rng(0)
    label, score = rng.integers(0, 2, 200), rng.random(200).round(1)  # with ties
    assert scores(1 - label, score)["auroc"] == pytest.approx(1 - scores(label, score)["auroc"], abs=1e-12)


@pytest.mark.parametrize("only", [0, 1])
def test_one_class_has_no_auroc_nor_kappa(only):
    label = np.full(5, only)
    agreeing = scores(label, np.full(5, 0.9 * only))
    assert agreeing["accuracy"] == 1
    assert math.isnan(agreeing["auroc"])
    assert math.isnan(agreeing["kappa"])
    mixed = scores(label, np.array([0.1, 0.9, 0.9, 0.1, 0.1]))
    assert math.isnan(mixed["auroc"])
    assert mixed["kappa"] == pytest.approx(0)  # no better than chance
    assert mixed["accuracy"] == pytest.approx(0.4 if only else 0.6)


def test_no_predicted_landslide_has_precision_0():
    found = scores(LABEL, np.full(10, 0.1))
    assert (found["precision"], found["recall"], found["f1"]) == (0, 0, 0)
    assert found["kappa"] == pytest.approx(0)
    assert found["auroc"] == pytest.approx(0.5)


def test_kinds_of_input_give_the_same():
    as_lists = scores(LABEL.tolist(), SCORE.tolist())
    assert scores(LABEL.astype(np.int32), SCORE.astype(np.float32)) == pytest.approx(as_lists)
    assert scores(LABEL.astype(float), SCORE) == pytest.approx(as_lists)
