"""Which blocks adjoin a cell, and the mean of their models."""

import numpy as np
import pytest
from osgeo import gdal

from lsm.blocks.borders import Borders, around_cells, around_in, blocks_around

LABELS = np.array([[0, 0, 1, 1, 1],
                   [0, 0, 1, 2, 2],
                   [3, -1, 1, 2, 2],
                   [3, 3, 3, -1, 2]], np.int32)


def raster(labels: np.ndarray) -> gdal.Dataset:
    dataset = gdal.GetDriverByName("MEM").Create("", labels.shape[1], labels.shape[0], 1, gdal.GDT_Int32)
    dataset.WriteArray(labels)
    return dataset


def shares(labels: np.ndarray, row: int, col: int) -> dict:
    """What each block but the cell's own has of the nine cells, cell by cell."""
    nine = labels[max(row - 1, 0):row + 2, max(col - 1, 0):col + 2].ravel().tolist()
    known = [b for b in nine if b >= 0]
    own = labels[row, col]
    return {b: known.count(b) / len(known) for b in set(known) - {own}} if own >= 0 else {}


@pytest.mark.parametrize("labels", [LABELS, np.random.default_rng(1).integers(-1, 4, (30, 23), np.int32),
                                    np.zeros((3, 3), np.int32), np.full((2, 2), -1, np.int32)],
                         ids=["few", "many", "one block", "no block"])
def test_shares_are_those_of_the_nine_cells(labels):
    row, col = (places.ravel() for places in np.indices(labels.shape))
    borders = Borders.of(labels[row, col], around_cells(raster(labels), row, col))
    found = [{} for _ in row]
    for cell, block, share in zip(borders.cell, borders.block, borders.share, strict=True):
        found[cell][int(block)] = share
    assert found == [shares(labels, r, c) for r, c in zip(row, col, strict=True)]
    assert (np.diff(borders.cell) >= 0).all()


@pytest.mark.parametrize("window", [(0, 0, 4, 5), (1, 2, 2, 2), (2, 0, 2, 3), (0, 4, 1, 1), (3, 0, 1, 5)])
def test_a_window_knows_the_cells_around_it(window):
    top, left, rows, cols = window
    row, col = (places.ravel() for places in np.indices((rows, cols)))
    around = around_in(blocks_around(raster(LABELS), window), row, col)
    np.testing.assert_array_equal(around, around_cells(raster(LABELS), row + top, col + left))
    padded = np.pad(LABELS, 1, constant_values=-1)
    np.testing.assert_array_equal(np.sort(around, axis=0)[:, 0], np.sort(np.delete(
        padded[top:top + 3, left:left + 3].ravel(), 4)))


def test_cells_beyond_the_raster_have_no_neighbours():
    around = around_cells(raster(LABELS), np.array([-1, 0, 4, 9]), np.array([0, 5, 1, 9]))
    np.testing.assert_array_equal(around, -1)


def test_the_mean_counts_each_model_by_its_share():
    labels = np.array([[0, 0, 1], [0, 2, 1], [0, 2, 2]], np.int32)
    row, col = (places.ravel() for places in np.indices(labels.shape))
    borders = Borders.of(labels.ravel(), around_cells(raster(labels), row, col))
    of_block = np.array([[.1, .4, .9], [1, 2, 3]])  # what each block's model says, everywhere; two outputs
    values = of_block[:, labels.ravel()].astype(np.float32)
    borders.blend(values, of_block[:, borders.block].astype(np.float32))
    np.testing.assert_allclose(values[:, 4], [(4 * .1 + 2 * .4 + 3 * .9) / 9, (4 + 4 + 9) / 9], rtol=1e-6)
    np.testing.assert_allclose(values[0, 0], (3 * .1 + .9) / 4, rtol=1e-6)


def test_without_pairs_nothing_changes():
    values = np.float32([[.3, .7]])
    Borders.none().blend(values, np.empty((1, 0), np.float32))
    assert values.tolist() == np.float32([[.3, .7]]).tolist()
