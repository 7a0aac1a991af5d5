from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from sklearn.metrics import roc_auc_score
from small_split import BARE, NO_LANDSLIDE, ONLY_LANDSLIDES, THIN, made_split

from lsm.comparison.ours.networks import Stages, block_alone, plain_networks
from lsm.comparison.rivals import baselines
from lsm.comparison.splits import QUERY, SUPPORT

STAGES = Stages(lambda recipe, seed: (SimpleNamespace(HIDDEN=(8, 4)),
                                      SimpleNamespace(LOCAL_MEMBERS=1, REGIONAL_MEMBERS=1)), None, None)


def scored(split, seed: int = 1) -> np.ndarray:
    predict, = plain_networks(split, None, STAGES, seed)
    return predict(split.rows(split.asked))


def test_networks_of_all_labelled_points(monkeypatch):
    monkeypatch.setattr(baselines, "EPOCHS", 30)
    split = made_split()
    p = scored(split)
    np.testing.assert_array_equal(scored(split), p)
    assert not np.array_equal(scored(split, 2), p)
    assert p.min() >= 0
    assert p.max() <= 1
    support = (split.role == SUPPORT)[split.asked]
    assert roc_auc_score(split.label[split.role == SUPPORT], p[support]) > 0.6
    blind = replace(split, label=np.where(split.role == QUERY, 1 - split.label, split.label))
    np.testing.assert_array_equal(scored(blind), p)  # labels of the query are not read
    moved = replace(split, xy=split.xy + np.where(split.role == QUERY, 500.0, 0.0)[:, None])
    there = (split.role == QUERY)[split.asked]
    assert not np.allclose(scored(moved)[there], p[there])  # they know the place
    np.testing.assert_array_equal(scored(moved)[~there], p[~there])


def test_a_block_alone_learns_the_one_class_that_its_points_hold():
    """A random start, kept where the points hold one class, would say anything there: a weaker rival than it is."""
    split = made_split()
    predict, = block_alone(split, SimpleNamespace(ALONE_STEPS=200, ALONE_LR=0.1), STAGES, 1)
    query = split.role == QUERY
    p, block = predict(split.rows(query)), split.block[query]
    assert p[block == NO_LANDSLIDE].max() < 0.1
    assert min(p[block == b].min() for b in (ONLY_LANDSLIDES, THIN)) > 0.8
    np.testing.assert_allclose(p[block == BARE], split.label[split.labelled].mean(), rtol=1e-5)
