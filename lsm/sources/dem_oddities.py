"""What is odd about the heights of a DEM: steps between tiles, spikes, pits, narrow gaps, gaps that look like water."""

from pathlib import Path

import numpy as np
from osgeo import gdal
from scipy.ndimage import binary_closing, binary_dilation, maximum_filter, minimum_filter

from lsm.inputs.bands import known
from lsm.run.settings import counted
from lsm.sources.raster_files import RasterFile

CLIFF = (1.5, 50.0)  # half of the rim of a flat area steps by more (heights to cell, m): it may be no water
STEPPED = 0.25    # m
SAMPLE = 10**6    # heights that tell whether they are rounded
BORDER = 64       # cells along a straight line that are looked at together
STEP = (3.0, 8.0)  # the least step between tiles (m, times the median of other lines): none of natural ground
ALIKE = 0.9        # least share of the cells along it that step the same way


def cliffs(z: np.ndarray, flat: np.ndarray, cell: float) -> list[str]:
    """Lines on flat areas that end at cliffs all around: they may be gaps filled with a number, and slopes along them
    would be wrong. z (rows, cols) heights; flat (rows, cols) bool, the flat areas; cell in m."""
    steps, levels = [], []
    for a, b in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        edge = (flat[a] != flat[b]) & known(z[a]) & known(z[b])
        steps.append(np.abs(z[a][edge] - z[b][edge]))
        levels.append(np.where(flat[a][edge], z[a][edge], z[b][edge]))
    steps, levels = np.concatenate(steps), np.concatenate(levels)
    rims = {float(level): float(np.median(steps[levels == level])) for level in np.unique(levels)}
    return [f"DEM: the flat area at exactly {level:g} m ends at steps of {step:.0f} m (median); if it is a gap, "
            f'declare it (DEM="<file>|nodata={level:g}"): slopes along it are wrong'
            for level, step in rims.items() if step > max(CLIFF[0] * cell, CLIFF[1])]


def oddities(z: np.ndarray, cell: float) -> list[str]:
    """Lines on single cells far above or below all around them, and on narrow gaps, as between the tiles of a mosaic. z
    (rows, cols) heights; cell in m."""
    there, around, lines = known(z), np.ones((3, 3), bool), []
    around[1, 1] = False
    far = max(CLIFF[0] * cell, CLIFF[1])
    up = there & (z - maximum_filter(np.where(there, z, -np.inf), footprint=around, mode="nearest") > far)
    down = there & (minimum_filter(np.where(there, z, np.inf), footprint=around, mode="nearest") - z > far)
    alone = binary_dilation(there, around)  # cells with another beside them
    for odd, where in ((up & alone, "above"), (down & alone, "below")):
        if odd.any():
            row, col = (int(i[0]) for i in np.nonzero(odd))
            lines.append(f"DEM: {counted(int(odd.sum()), 'cell')} of more than {far:g} m {where} all around, like row "
                         f"{row + 1}, column {col + 1} ({z[row, col]:g} m); if they are errors, correct them: slopes "
                         "around are wrong")
    narrow = int((binary_closing(there, np.ones((5, 5), bool)) & ~there).sum())
    if narrow:
        lines.append(f"DEM: {counted(narrow, 'cell')} without height in gaps of a few cells' width: water ends there "
                     "and nothing is mapped; fill them (QGIS: Fill nodata), or raise HOLES")
    return lines


def of_file(path: Path, raster: RasterFile, notes: list[str]) -> tuple[bool, bool]:
    """Whether the heights of a DEM are rounded, as `is_stepped` says, and lie in bands, as `is_terraced` says; notes
    gets a line on borders of tiles. path  of its values in the cells of the file, as `write_plain` makes them."""
    z = gdal.Open(str(path)).ReadAsArray()
    notes += tile_borders(z)
    return is_stepped(z, raster), is_terraced(z)


def is_stepped(z: np.ndarray, raster: RasterFile) -> bool:
    """Whether most heights of a file are whole numbers of a step of STEPPED m or more, as rounded ones are; z (rows,
    cols) as `write_plain` makes them."""
    some = z[::1 + z.size // SAMPLE]
    numbers = (some[known(some)] / raster.metres - raster.band.offset) / raster.band.scale
    whole = np.abs(numbers - np.round(numbers)) < 1e-3
    return bool(abs(raster.band.scale) * raster.metres >= STEPPED and whole.mean() > 0.5)


def is_terraced(z: np.ndarray) -> bool:
    """Whether most heights (rows, cols), each counted once, have an equal one beside most of their cells, as in bands
    between contours; a lake or the sea is one height. Heights a metre or less apart are gentle ground in whole numbers.
    About SAMPLE cells are looked at."""
    z = z[::1 + z.size // SAMPLE]
    both = known(z[:, :-1]) & known(z[:, 1:])
    values, of = np.unique(z[:, :-1][both], return_inverse=True)
    alike = np.bincount(of, (z[:, :-1] == z[:, 1:])[both], len(values)) > np.bincount(of, minlength=len(values)) / 2
    return len(values) > 1 and bool(alike.mean() > 0.5 and np.median(np.diff(values)) > 1)


def tile_borders(z: np.ndarray) -> list[str]:
    """A line on steps along straight lines of cells, as between tiles whose heights have another level or unit; []
    where there are none. z (rows, cols) heights, in the cells of the file."""
    found = [(abs(size), f"{size:+.3g} m (median) from {across} {line} to {line + 1}, {along} {first} to {last}")
             for heights, across, along in ((z, "column", "rows"), (z.T, "row", "columns"))
             for line, first, last, size in _straight_steps(heights)]
    if not found:
        return []
    more = f", and along {counted(len(found) - 1, 'other line')}" * (len(found) > 1)
    return [f"DEM: heights step by {max(found)[1]}{more}; if tiles of another level or unit meet there, bring them to "
            "one: slopes along it are wrong"]


def _straight_steps(z: np.ndarray) -> list[tuple[int, int, int, float]]:
    """Steps between a column of z (rows, cols) and the next one: the column, first and last row, all from 1, and the
    size in m, + where the next column is higher."""
    found = {}
    for rows in np.array_split(np.arange(len(z)), max(1, len(z) // BORDER)):
        band = z[rows[0]:rows[-1] + 1].astype(float)
        rise = np.diff(np.where(known(band), band, np.nan), axis=1)
        more = rise[:, 1:-1] - (rise[:, :-2] + rise[:, 2:]) / 2  # than on both sides
        there = np.isfinite(more).sum(axis=0)
        enough = there >= BORDER // 3
        size = np.full(len(there), np.nan)
        size[enough] = np.nanmedian(more[:, enough], axis=0)
        if not enough.any():
            continue
        alike = (np.sign(more) == np.sign(size)).sum(axis=0) >= ALIKE * there
        level = (rise == 0).mean(axis=0) > ALIKE
        filled = level[:-2] != level[2:]  # flat on one side alone: water, or a gap filled with a number; see `cliffs`
        least = max(STEP[0], STEP[1] * np.nanmedian(np.abs(size)))
        with np.errstate(invalid="ignore", divide="ignore"):
            sides = -size[:-2] / size[1:-1], -size[2:] / size[1:-1]  # of a step, 1/2
            straight = np.all(np.abs(np.array(sides) - 0.5) < 0.25, axis=0)
        step = ((np.abs(size) > least) & alike & ~filled)[1:-1] & straight
        for column in (np.flatnonzero(step) + 3).tolist():  # from 1
            found.setdefault(column, []).append((int(rows[0]) + 1, int(rows[-1]) + 1, float(size[column - 2])))
    return [(column, parts[0][0], parts[-1][1], float(np.median([size for *_, size in parts])))
            for column, parts in found.items()]
