"""The blocks of lsm/blocks/slic.py, cell by cell in plain Python: slow, and short enough to check by reading.

With number=np.float32 every operation rounds as in lsm/blocks/slic.py, so the two agree exactly; with number=float it
is what a script of loops would be, and faster.
"""

from math import ceil, floor, sqrt

import numpy as np

REACH = 5  # cells a seed may move


def slic(bands, valid, weights, compactness, clusters, loops, number=np.float32):
    """Labels (rows, cols) int32, -1 where not valid, and the mean row and column of each block, [(row, col), ...]."""
    rows, cols = valid.shape
    step = floor(sqrt(rows * cols / clusters))
    scales = [number(np.float32(sqrt(w) / compactness)) for w in (weights[0], weights[2], weights[3])]
    aspect_weight = number(np.float32(weights[1] / compactness**2))
    angle = np.deg2rad(bands[1], where=valid, out=np.zeros_like(bands[1]))
    sine, cosine = np.sin(angle), np.cos(angle)
    cells = {(r, c) for r in range(rows) for c in range(cols) if valid[r, c]}
    # Of every valid cell: scaled DEM, curvature, slope, then aspect in degrees.
    feature = {(r, c): (number(bands[0, r, c]) * scales[0], number(bands[2, r, c]) * scales[1],
                        number(bands[3, r, c]) * scales[2], number(bands[1, r, c])) for r, c in cells}

    def terrain2(a, b, start):
        total = start
        for i in range(3):
            total = total + (a[i] - b[i]) * (a[i] - b[i])
        if a[3] >= 0 and b[3] >= 0:  # not flat
            turn = abs(a[3] - b[3])
            turn = min(turn, 360 - turn)
            total = total + turn * turn * aspect_weight
        return total

    def gradient(r, c):
        cross = [(r, c), (r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)]
        if not all(cell in cells for cell in cross):
            return np.inf
        _, up, down, left, right = (feature[cell] for cell in cross)
        return terrain2(up, down, number(0)) + terrain2(left, right, number(0))

    def window(centre, end):
        return max(ceil(float(centre) - step), 0), min(floor(float(centre) + step), end - 1) + 1

    reach = min(REACH, (step - 1) // 2)
    moves = [(r, c) for r in range(-reach, reach + 1) for c in range(-reach, reach + 1)]
    moves.sort(key=lambda m: m[0] ** 2 + m[1] ** 2)
    centres = []
    for r in range(step // 2 if step // 2 < rows else rows // 2, rows, step):
        for c in range(step // 2 if step // 2 < cols else cols // 2, cols, step):
            if (r, c) in cells:
                best = min(((r + dr, c + dc) for dr, dc in moves), key=lambda cell: gradient(*cell))
                centres.append((number(best[0]), number(best[1]), *feature[best]))

    for _ in range(loops):
        nearest, label = {}, {}
        for k, (row, col, *centre) in enumerate(centres):
            (top, bottom), (left, right) = window(row, rows), window(col, cols)
            for r in range(top, bottom):
                for c in range(left, right):
                    if valid[r, c]:
                        down, across = (number(r) - row) / step, (number(c) - col) / step
                        d2 = terrain2(feature[r, c], centre, down * down + across * across)
                        if d2 < nearest.get((r, c), np.inf):
                            nearest[r, c], label[r, c] = d2, k
        members = [[] for _ in centres]
        for cell in sorted(label):
            members[label[cell]].append(cell)
        centres = [mean(m, feature, sine, cosine, number) if m else centre
                   for m, centre in zip(members, centres, strict=True)]

    kept = [k for k, m in enumerate(members) if m]
    labels = np.full((rows, cols), -1, np.int32)
    for r, c in cells:
        if (r, c) in label:
            labels[r, c] = kept.index(label[r, c])
        else:  # Python's min keeps the first of equals
            labels[r, c] = min(range(len(kept)), key=lambda i, r=r, c=c: (
                (r - float(centres[kept[i]][0])) ** 2 + (c - float(centres[kept[i]][1])) ** 2))
    places = [np.argwhere(labels == block).mean(axis=0) for block in range(len(kept))]
    return labels, [tuple(number(x) for x in place) for place in places]


def mean(cells, feature, sine, cosine, number):
    """A cluster's mean row, column, features and, averaged as directions of the cells that are not flat, aspect."""
    n, sums, s, c = len(cells), [0.0] * 5, 0.0, 0.0
    for cell in cells:
        for i, value in enumerate((*cell, *feature[cell][:3])):
            sums[i] += float(value)
        if feature[cell][3] >= 0:
            s, c = s + float(sine[cell]), c + float(cosine[cell])
    s, c = s / n, c / n
    aspect = np.rad2deg(np.arctan2(s, c)) % 360 if np.hypot(s, c) > 1e-6 else -1
    return *(number(x / n) for x in sums), number(aspect)
