import numpy as np
import pytest
from test_gis import raster

from lsm.maps import counts


def test_seams_are_those_of_every_pair_of_neighbours(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    p, block = rng.random((23, 31)).astype(np.float32), rng.integers(-1, 3, (23, 31)).astype(np.int32)
    p[rng.random(p.shape) < 0.1] = -9999
    jumps = {"inside": [], "across": []}
    for r, c in np.ndindex(p.shape):
        for r2, c2 in ((r + 1, c), (r, c + 1)):
            if r2 < 23 and c2 < 31 and min(p[r, c], p[r2, c2], block[r, c], block[r2, c2]) >= 0:
                jumps["inside" if block[r, c] == block[r2, c2] else "across"].append(abs(p[r, c] - p[r2, c2]))
    monkeypatch.setattr("lsm.inputs.rasters.WINDOW", 5 * 31)
    found = counts.seams(raster(tmp_path / "p.tif", p), raster(tmp_path / "b.tif", block, -1))
    for where, expected in jumps.items():
        assert found.loc[where, "pairs"] == len(expected)
        assert found.loc[where, "mean"] == pytest.approx(np.mean(expected), rel=1e-5)
        assert found.loc[where, "p90"] == pytest.approx(np.quantile(expected, 0.9), abs=0.02)
