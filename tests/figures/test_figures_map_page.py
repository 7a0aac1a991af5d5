"""The page of a map: its legend, north arrow, scale bar and words lie apart, whatever the shape of the area."""

from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from small_region import crs_of

import figure
from lsm.figures import area_maps, map_page, styles
from lsm.inputs import rasters
from lsm.run import artifacts
from lsm.run.paths import Paths
from lsm.run.settings import constants

MADE_BY = SimpleNamespace(REGION="small", RECIPE="recommended", SEED=1)
WIDE, SQUARE, HIGH = (50, 120), (100, 100), (120, 50)  # rows and columns


def draw_map(monkeypatch, folder, shape: tuple[int, int]):
    """The figure lsm_map of an area of so many rows and columns, with random probabilities."""
    monkeypatch.setenv("LSM_ROOT", str(folder))
    paths, rng = Paths("small"), np.random.default_rng(0)
    like = rasters.Raster(np.zeros((1, *shape)), np.ones(shape, bool), (800_000.0, 200.0, 0, 840_000.0, 0, -200.0),
                          crs_of(2326).ExportToWkt())
    height = np.add.outer(np.arange(shape[0]), np.arange(shape[1])).astype(np.float32)
    rasters.write_band(paths.composite, height, like, -9999, "DEM", "maker", MADE_BY, [])
    artifacts.record_path(paths.composite).unlink()
    rasters.write_band(paths.map_raster, rng.random(shape).astype(np.float32), like, -9999, "probability",
                       "predict_LSM.py", MADE_BY, [paths.composite])
    with matplotlib.rc_context(styles.STYLE):
        return area_maps.lsm_map(constants(figure.Constants, ["REGION=small"]))[0]


def boxes_of(fig) -> tuple:
    """Boxes of the map with its labels, of the panel's legend, and of all else on the panel (arrow, bar, words)."""
    renderer = FigureCanvasAgg(fig).get_renderer()
    fig.draw(renderer)
    on_map, panel = fig.axes
    others = [artist.get_window_extent(renderer) for artist in (*panel.texts, *panel.patches)]
    return on_map.get_tightbbox(renderer), panel.get_legend().get_window_extent(renderer), others


@pytest.mark.parametrize("shape", [WIDE, SQUARE, HIGH])
def test_legend_arrow_and_map_lie_apart_on_the_page(tmp_path, monkeypatch, shape):
    fig = draw_map(monkeypatch, tmp_path, shape)
    on_map, legend, others = boxes_of(fig)
    assert len(others) == 8  # words, two numbers and two halves of the bar, N and two halves of the arrow
    assert not any(legend.overlaps(other) for other in others)
    for box in (legend, *others):
        assert not on_map.overlaps(box)
        assert fig.bbox.x0 <= box.x0 <= box.x1 <= fig.bbox.x1
        assert fig.bbox.y0 <= box.y0 <= box.y1 <= fig.bbox.y1
        assert not fig.texts[-1].get_window_extent().overlaps(box)  # the line under the figure


def test_a_wide_map_has_its_legend_below_and_takes_the_page(tmp_path, monkeypatch):
    fig = draw_map(monkeypatch, tmp_path, WIDE)
    on_map, legend, _ = boxes_of(fig)
    assert legend.y1 < on_map.y0
    assert on_map.width > 0.9 * fig.bbox.width


def test_a_long_legend_makes_the_page_higher():
    ground = map_page.MapTerrain(np.zeros((2, 2, 3)), np.ones((2, 2)), (0, 9000, 0, 9000), ("CRS", "cells"))
    fig, _ = map_page.map_with_legend(ground, [map_page.patch("black", f"class {i}\nof many") for i in range(30)])
    _, legend, others = boxes_of(fig)
    assert not any(legend.overlaps(other) for other in others)
    assert legend.y0 > fig.bbox.y0
