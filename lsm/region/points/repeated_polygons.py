"""Polygons that an inventory holds twice, exactly or but for the digits of another export."""

from hashlib import sha256

import numpy as np
from osgeo import ogr
from scipy.spatial import cKDTree

CLOSE = 0.01  # of a cell, between the sides of the envelopes of two drawings of one polygon
ALIKE = 0.99  # least share of their common ground that both cover


def same_polygons(shapes: list[ogr.Geometry], labels: np.ndarray, cell: float) -> np.ndarray:
    """A number (polygons,) that polygons share which have one label and one shape: their envelopes lie within CLOSE of
    a cell, and both cover ALIKE of what either covers.

    shapes  of the polygons, in m; labels  (polygons,); cell  its side, m
    """
    first, exact = {}, np.empty(len(shapes), int)  # many exact copies of one polygon must not be compared pair by pair
    for i, (shape, label) in enumerate(zip(shapes, labels, strict=True)):
        outline = sha256(shape.Normalize().ExportToWkb()).digest()  # the same wherever its ring begins
        exact[i] = first.setdefault((label, outline), len(first))
    if not shapes:
        return exact
    one = np.unique(exact, return_index=True)[1]
    tree = cKDTree([shapes[i].GetEnvelope() for i in one])
    number = np.arange(len(one))
    for i in range(len(one)):
        if number[i] == i:  # else it is another drawing of one before it
            near = tree.query_ball_point(tree.data[i], CLOSE * cell, p=np.inf)
            number[[j for j in near if j > i and number[j] == j and labels[one[i]] == labels[one[j]]
                    and _same_ground(shapes[one[i]], shapes[one[j]])]] = i
    return number[exact]


def _same_ground(a: ogr.Geometry, b: ogr.Geometry) -> bool:
    """Whether two shapes cover the same ground, nearly."""
    if not (a.IsValid() and b.IsValid()):
        a, b = a.MakeValid(), b.MakeValid()
    common = a.Intersection(b).Area()
    return common >= ALIKE * (a.Area() + b.Area() - common)
