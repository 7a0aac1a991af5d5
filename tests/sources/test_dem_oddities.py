from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lsm.sources import dem_oddities


@pytest.mark.parametrize(("level", "said"), [(0.0, True), (195.0, False)])
def test_a_flat_area_below_cliffs_may_be_a_gap(level, said):
    z = np.full((20, 20), 200.0) + np.arange(20)
    z[5:15, 5:15] = level
    notes = dem_oddities.cliffs(z, z == level, 30.0)
    assert len(notes) == said
    assert all("exactly 0 m ends at steps of 210 m (median); if it is a gap, declare it" in note for note in notes)


def test_spikes_pits_and_seams_are_said():
    row, col = np.mgrid[:40, :50]
    z = (300 + 20.0 * col + 9 * np.sin(row)).astype(np.float32)
    z[:, :3] = -9999  # a rim of the area is no seam
    assert dem_oddities.oddities(z, 30.0) == []
    z[20, 20], z[30, 30], z[:, 40:42] = 5000, -100, -9999
    spike, pit, seam = dem_oddities.oddities(z, 30.0)
    assert spike.startswith("DEM: 1 cell of more than 50 m above all around, like row 21, column 21 (5000 m)")
    assert pit.startswith("DEM: 1 cell of more than 50 m below all around, like row 31, column 31 (-100 m)")
    assert "without height in gaps of a few cells' width" in seam


@pytest.fixture(scope="module")
def mountains():
    """Steep, rough ground, m (200, 240)."""
    rng = np.random.default_rng(3)
    fine, coarse = (gaussian_filter(rng.normal(size=(200, 240)), width) for width in (2, 15))
    return (800 + 250 * coarse / coarse.std() + 12 * fine / fine.std() + rng.normal(size=fine.shape)).astype(np.float32)


@pytest.mark.parametrize(("part", "size", "place"), [
    (np.s_[:, 90:], 30.0, "from column 90 to 91, rows 1 to 200"),
    (np.s_[:, 90:], -8.0, "from column 90 to 91, rows 1 to"),
    (np.s_[120:, 100:], 30.0, "from row 120 to 121, columns 161 to 240, and along 1 other line")])
def test_a_tile_of_another_level_is_said(mountains, part, size, place):
    z = mountains.copy()
    z[part] += size
    z[50:70, 60:130] = -9999
    said, = dem_oddities.tile_borders(z)
    step, _, rest = said.removeprefix("DEM: heights step by ").partition(" m (median) ")
    assert abs(float(step) - size) < 0.2 * abs(size)
    assert rest.startswith(place)
    assert rest.endswith("bring them to one: slopes along it are wrong")


def test_a_tile_in_feet_is_said(mountains):
    z = mountains.copy()
    z[:, 90:] /= 0.3048
    assert "from column 90 to 91, rows 1 to 200" in dem_oddities.tile_borders(z)[0]


def test_ground_of_its_own_steps_is_no_border(mountains):
    row, col = np.mgrid[:200, :240]
    winding = 120 + (10 * np.sin(row / 9)).astype(int)
    for ground in (mountains, np.full_like(mountains, -9999), mountains + 200 * (col > winding),  # a cliff that winds
                   mountains + 15 * np.abs(col - 120), mountains + 40 * (col == 120),  # a straight valley, a wall
                   np.round(col / 9), np.where(col < 120, mountains, 0)):  # a plain in whole metres, a sea
        assert dem_oddities.tile_borders(ground.astype(np.float32)) == []


@pytest.mark.parametrize(("scale", "metres", "kind", "stepped"), [
    (1, 1, "i2", True), (1, 0.3048, "i2", True), (1, 1, "f4", False), (0.1, 1, "i2", False), (1, 0.01, "i2", False),
    (5, 1, "i2", True)])
def test_heights_are_rounded_as_the_numbers_of_the_file_are(mountains, scale, metres, kind, stepped):
    numbers = (np.round(mountains) if kind == "i2" else mountains).astype(float)
    raster = SimpleNamespace(band=SimpleNamespace(scale=scale, offset=10.0), metres=metres)
    z = (numbers * scale + 10) * metres
    z[:20] = -9999
    assert dem_oddities.is_stepped(z, raster) == stepped
