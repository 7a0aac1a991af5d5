import itertools
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from osgeo import gdal
from small_region import COLS, PLACE, ROWS, write_raster
from small_split import DESCRIBED, made_split

import compare_methods as stage
from lsm.comparison.ours import published_steps as steps
from lsm.comparison.ours.networks import Stages
from lsm.comparison.splits import QUERY, SUPPORT, TRAIN, UNUSED, Split
from lsm.inputs import layers, rasters
from lsm.inputs.factor.definition import Factor
from lsm.inputs.rasters import centres
from lsm.learner.members import Training, initial_state, initial_weights
from lsm.learner.network import EPSILON, use_one_thread
from lsm.run.paths import Paths
from lsm.run.settings import constants, of_stage
from unsupervised_pretraining.rbm import RBM

use_one_thread()  # before any test runs an operator
QUICK = {  # of each stage
    "unsupervised_pretraining/DAS_pretraining.py": {"RBM_EPOCHS": 1, "DAE_EPOCHS": 1},
    "meta_learner.py": {"LOCAL_ITERATIONS": 20, "REGIONAL_ITERATIONS": 20, "LOCAL_MEMBERS": 1, "LOG_EVERY": 20,
                        "INNER_STEPS": 1, "FIRST_ORDER": True, "META_BATCH": 4}}


@pytest.fixture(scope="module")
def stages():
    def quick(script, **values):
        return replace(of_stage(script, **values), **QUICK[script])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "of_stage", quick)
        c = constants(stage.Constants, ["REGION=demo"])
        yield Stages(partial(stage.constants_of_stages, c), stage.pretrained, RBM)


@pytest.fixture(scope="module")
def found(stages) -> dict:
    """The scores of the inventory under the first seed."""
    return steps.steps_scores(made_inventory(), stages, 1)


def made_inventory() -> steps.PublishedTable:
    """Samples of the small split; some stand twice."""
    split = made_split()
    rows = np.flatnonzero(split.label >= 0)
    rows = np.sort(np.append(rows, rows[::50]))  # the second of two equal rows follows the first
    return steps.PublishedTable(split.factors[rows], DESCRIBED, split.xy[rows], split.label[rows], split.block[rows],
                           np.append(False, rows[1:] == rows[:-1]))


def test_the_inventory_holds_every_row_in_a_block_and_reads_the_blocks_by_windows(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths, described = Paths("isle"), (Factor("DEM", "continuous", "m"), Factor("slope", "continuous", "degree"))
    paths.blocks.parent.mkdir()
    paths.samples.parent.mkdir()
    labels = np.arange(ROWS * COLS, dtype=np.int32).reshape(ROWS, COLS) // 500
    labels[:3] = -1
    write_raster(paths.blocks, labels, -1, kind=gdal.GDT_Int32)
    row, col = np.int64([40, 2, 10, 10, 59, 30]), np.int64([3, 5, 70, 70, 79, 0])
    x, y = centres(PLACE, row, col)
    pd.DataFrame({"X": np.append(x, 0), "Y": np.append(y, 0), "label": [1, 0, 1, 1, 0, 1, 0],
                  "DEM": [7, 6, 5, 5, 7, 3, 2], "slope": [1, 2, 3, 3, 1, 4, 5]}).to_csv(paths.samples, index=False)
    monkeypatch.setattr(rasters, "WINDOW", 16 * COLS)
    monkeypatch.setattr(layers, "TILE", 16)
    read, read_rows = [], layers.read_rows
    monkeypatch.setattr(layers, "read_rows", lambda *window: read.append(window[2]) or read_rows(*window))
    found = steps.read_published(paths, described)
    kept = [0, 2, 3, 4, 5]  # not the row outside every block, nor the last, which lies outside the raster
    np.testing.assert_array_equal(found.block, labels[row[kept], col[kept]])
    np.testing.assert_array_equal(found.xy, np.column_stack([x, y])[kept])
    np.testing.assert_array_equal(found.label, [1, 1, 1, 0, 1])
    np.testing.assert_array_equal(found.factors[:, 0], [7, 5, 5, 7, 3])
    np.testing.assert_array_equal(found.repeated, [False, False, True, True, False])  # its place; its factors alone
    assert max(read) == 16  # rows of the blocks in memory at once


def test_a_quarter_of_the_blocks_is_held_out_and_halved():
    inventory = made_inventory()
    role = steps.roles_of(inventory, 16, 0.75, seed=3)
    blocks = {r: set(inventory.block[role == r]) for r in (TRAIN, SUPPORT, QUERY)}
    assert (len(blocks[TRAIN]), len(blocks[QUERY])) == (18, 6)
    assert blocks[SUPPORT] == blocks[QUERY]
    assert not blocks[TRAIN] & blocks[QUERY]
    sizes = [np.bincount(inventory.block[role == r])[sorted(blocks[QUERY])] for r in (SUPPORT, QUERY)]
    assert set(sizes[1] - sizes[0]) <= {0, 1}
    assert (role != steps.roles_of(inventory, 16, 0.75, seed=4)).any()


def test_every_step_scores_the_query_and_what_changes_is_what_it_says(found):
    inventory = made_inventory()
    assert list(found) == [*steps.WHAT, "role"]
    query = found["role"] == QUERY
    for name in steps.WHAT:
        kept = query if name == "published" else query & ~inventory.repeated
        np.testing.assert_array_equal(np.isfinite(found[name]), kept, err_msg=name)
        assert found[name][kept].min() >= 0
        assert found[name][kept].max() <= 1
    assert inventory.repeated[query].any()
    names = [name for name in steps.WHAT if name != "published"]
    for one, other in itertools.pairwise(names):  # each step changes something
        kept = query & ~inventory.repeated
        assert np.abs(found[one][kept] - found[other][kept]).max() > 1e-4, other


def test_query_labels_are_not_read(stages, found):
    inventory = made_inventory()
    label = np.where(found["role"] == QUERY, 1 - inventory.label, inventory.label)
    again = steps.steps_scores(replace(inventory, label=label), stages, 1)
    for name in found:
        np.testing.assert_array_equal(again[name], found[name], err_msg=name)


def test_factors_of_other_query_points_count_only_where_the_tested_half_normalises(stages, found):
    inventory, rng = made_inventory(), np.random.default_rng(0)
    query = found["role"] == QUERY
    strange = query & (rng.random(len(query)) < 0.5)
    factors = inventory.factors.copy()
    factors[strange] = 3 * rng.permutation(factors[strange])
    again = steps.steps_scores(replace(inventory, factors=factors), stages, 1)
    same = {name for name in steps.WHAT if np.array_equal(again[name][~strange], found[name][~strange], equal_nan=True)}
    assert same == {"support statistics", "whole support", "support tasks", "recommended"}


def test_the_encoder_sees_the_query_only_in_the_published_steps():
    split = made_split(form="published")
    strange = split.factors.copy()
    strange[split.role == QUERY] *= 100
    other = replace(split, factors=strange)
    assert other.encoder == split.encoder
    published = steps.AllSeen(**vars_of(other))
    assert published.encoder != steps.AllSeen(**vars_of(split)).encoder
    np.testing.assert_array_equal(published.seen, split.role != UNUSED)


def vars_of(split: Split) -> dict:
    return {name: getattr(split, name) for name in Split.__dataclass_fields__}


def test_the_tested_half_is_normalised_by_itself():
    """Without a step the prediction is the network's, each layer normalised by the query of the block."""
    split = made_split(form="published")
    weights = initial_weights([split.x.shape[1], 8, 8, 4], None, np.random.default_rng(0))
    weights[-2] *= 100  # a start of .01 would give .5 everywhere
    training = Training([], [[initial_state(weights, 0.01, False)]], 0, np.empty((0, 5)))
    how = SimpleNamespace(ADAPT_STEPS=0, ADAPT_BATCH=8)
    found = steps.by_tested_half(training, split, how, 1)
    both = np.intersect1d(split.block[split.role == SUPPORT], split.block[split.role == QUERY])
    assert len(both) >= 4
    for b in both:
        asked = (split.block == b) & (split.role == QUERY)
        h = split.x[asked].astype(float)
        for w, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            z = h @ w
            h = np.maximum((z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + EPSILON) + bias, 0)
        z = h @ weights[-2] + weights[-1]
        np.testing.assert_allclose(found[asked], 1 / (1 + np.exp(z[:, 0] - z[:, 1])), atol=1e-4)
    fewer = replace(split, role=np.where((split.role == QUERY) & (np.arange(len(split.role)) % 2 == 0), UNUSED,
                                         split.role).astype(np.int8))
    left = steps.by_tested_half(training, fewer, how, 1)
    kept = np.isfinite(left) & np.isfinite(found)
    assert np.abs(left[kept] - found[kept]).max() > 1e-3  # the score depends on what else is asked


def test_table_and_page():
    inventory = made_inventory()
    rng, n = np.random.default_rng(0), len(inventory.label)
    runs = {run: {name: np.where(rng.random(n) < 0.3, rng.random(n), np.nan) for name in steps.WHAT} for run in (1, 2)}
    table = steps.table(inventory, runs)
    assert list(table) == ["step", "run", "n", *steps.MEASURES]
    assert len(table) == 2 * len(steps.WHAT)
    text = steps.steps_page(table)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["in the paper", *steps.WHAT]
    assert "0.971" in lines[2]
    mean = table[table.step == "no repeats"]["kappa"].mean()
    assert f"{mean:.3f} (" in lines[4]
    assert isinstance(table, pd.DataFrame)
