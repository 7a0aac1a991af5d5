import sys

import duckdb
import numpy as np

from lsm.inputs.rasters import open_raster, read_band
from lsm.run.paths import PROJECT, Paths
from lsm.run.settings import constants

sys.path.insert(0, str(PROJECT))
import predict_LSM

BLOCK = np.repeat([0, 1, 3], [17, 16, 40])  # block 2 and 4 have no samples


def test_all_samples_are_known():
    assert predict_LSM.known_samples(BLOCK, False, 16, np.random.default_rng(0)).all()


def test_half_of_the_samples_of_large_blocks_are_known():
    known = predict_LSM.known_samples(BLOCK, True, 16, np.random.default_rng(0))
    assert np.bincount(BLOCK, known, 5).tolist() == [8, 16, 0, 20, 0]
    again, other = (predict_LSM.known_samples(BLOCK, True, 16, np.random.default_rng(s)) for s in (0, 1))
    np.testing.assert_array_equal(known, again)
    assert (other != known).any()
    rng = np.random.default_rng(2)
    counts = sum(predict_LSM.known_samples(BLOCK, True, 16, rng).astype(int) for _ in range(400))
    assert np.abs(counts[33:] - 200).max() < 4.5 * 10  # any sample as likely as another


def test_the_map_blends_the_models_of_blocks_at_their_borders_alone(copy_of_demo):
    paths = Paths("demo")
    blended, table = read_band(paths.map_raster), paths.map_table.read_bytes()
    predict_LSM.main(constants(predict_LSM.Constants, ["REGION=demo", "BLEND=False"]))
    own, block = read_band(paths.map_raster), open_raster(paths.blocks, "").ReadAsArray()
    padded = np.pad(block, 1, constant_values=-1)
    near = np.stack([padded[i:i + block.shape[0], j:j + block.shape[1]] for i in range(3) for j in range(3)])
    border = (block >= 0) & ((near >= 0) & (near != block)).any(axis=0)
    assert (blended != own)[border & (own >= 0)].mean() > 0.9
    np.testing.assert_array_equal(blended[~border], own[~border])
    assert paths.map_table.read_bytes() != table


def test_the_map_of_a_grid_in_parquet_is_the_map_of_the_same_grid_in_csv(copy_of_demo):
    paths = Paths("demo")
    made = (paths.map_raster, paths.map_table)
    expected = [path.read_bytes() for path in made]
    duckdb.sql(f"COPY (FROM read_csv('{paths.grid}')) TO '{paths.grid_parquet}' (ROW_GROUP_SIZE 2048)")
    for path in (paths.grid, *made):
        path.unlink()
    predict_LSM.main(constants(predict_LSM.Constants, ["REGION=demo"]))
    assert [path.read_bytes() for path in made] == expected
