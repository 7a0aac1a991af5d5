import sys

import duckdb
import numpy as np

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


def test_the_map_of_a_grid_in_parquet_is_the_map_of_the_same_grid_in_csv(copy_of_demo):
    paths = Paths("demo")
    made = (paths.map_raster, paths.map_table)
    expected = [path.read_bytes() for path in made]
    duckdb.sql(f"COPY (FROM read_csv('{paths.grid}')) TO '{paths.grid_parquet}' (ROW_GROUP_SIZE 2048)")
    for path in (paths.grid, *made):
        path.unlink()
    predict_LSM.main(constants(predict_LSM.Constants, ["REGION=demo"]))
    assert [path.read_bytes() for path in made] == expected
