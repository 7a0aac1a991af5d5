import numpy as np
import pytest
from osgeo import ogr

from lsm.region.points.repeated_polygons import same_polygons

CELL = 30
RING = [(0, 0), (95.123456, 3.3), (120.7, 80.2), (40.4, 110.9), (0, 0)]


def polygon(ring):
    return ogr.CreateGeometryFromWkt(f"POLYGON (({', '.join(f'{x:.12f} {y:.12f}' for x, y in ring)}))")


@pytest.mark.parametrize("copy", [
    RING, RING[::-1], [*RING[2:-1], *RING[:3]], [(round(x, 1), round(y, 1)) for x, y in RING],
    [(x + 1e-9, y) for x, y in RING], [*RING[:1], (95.123456 / 2, 3.3 / 2), *RING[1:]]])
def test_a_polygon_drawn_twice_is_one(copy):
    shapes = [polygon(RING), polygon([(x + 200, y) for x, y in RING]), polygon(copy)]
    numbers = same_polygons(shapes, [1, 1, 1], CELL)
    assert numbers[0] == numbers[2] != numbers[1]
    assert len(set(same_polygons(shapes, [1, 1, 0], CELL))) == 3  # of another label


@pytest.mark.parametrize("other", [
    [(x + 2, y) for x, y in RING], [(0, 0), (120.7, 0), (120.7, 110.9), (0, 110.9), (0, 0)],
    [(0, 0), (95.123456, 3.3), (120.7, 80.2), (60, 110.9), (0, 0)]])
def test_other_polygons_are_not(other):
    assert len(set(same_polygons([polygon(RING), polygon(other)], [1, 1], CELL))) == 2


def test_many_copies_and_none():
    assert len(set(same_polygons([polygon(RING)] * 3000, [1] * 3000, CELL))) == 1
    assert same_polygons([], [], CELL).tolist() == []
    assert np.issubdtype(same_polygons([polygon(RING)], [1], CELL).dtype, np.integer)
