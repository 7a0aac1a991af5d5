"""Own units as blocks: slope units, catchments or any other partition of the area, in place of SLIC.

Blocks are numbered from 0 in ascending order of the units' own numbers, or alphabetically where these are no whole
numbers. A cell belongs to the unit that its centre lies in; nodata, and places without a polygon, lie outside every
block.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal, ogr

from lsm.inputs.bands import known
from lsm.inputs.layers import RasterRows, flush, read_rows
from lsm.inputs.rasters import Grid, create_raster
from lsm.inputs.vectors import add_numbers, fields_of
from lsm.region.warp import to_grid
from lsm.run.artifacts import made_with
from lsm.run.paths import Paths
from lsm.run.settings import InputError
from lsm.sources.class_codes import NO_FIELD, names_of_raster, text_of
from lsm.sources.files import File
from lsm.sources.raster_files import is_raster
from lsm.sources.vector_files import only_areas, open_vector, vector_source

FEWEST_CELLS = 4  # of a unit on average; with fewer, a unit is a cell or hardly more
OVERLAP = 0.01    # largest share of the units' cells that may lie in two of them
_NAMING = (ogr.OFTInteger, ogr.OFTInteger64, ogr.OFTString)  # types of fields that may name units
FEW = 12          # units; with fewer, all models are nearly one
FEW_SAMPLES = 5   # of a unit on average; with fewer, most models come from the samples of other units


def check_units(name: str) -> None:
    """Raises InputError for a file of units that is missing, or that GDAL opens neither as a raster nor as a vector."""
    if not is_raster(name, "units"):
        vector_source(File.of(name, "units"))


def read_units(name: str, grid: Grid, valid_of: Callable[[int, int], np.ndarray], labels: RasterRows, folder: Path,
               notes: list[str]) -> tuple[np.ndarray, list[str]]:
    """The units of a file, on the grid of the terrain.

    name      a file of polygons or a raster of whole numbers, with options as lsm/sources/files.py has them;
              polygons with the same value of |field=<name> are one unit
    valid_of  (row, rows) -> where these rows of the terrain have a value (rows, cols) bool
    labels    int32 on the grid, to be filled: 0 .. units - 1, -1 outside every unit and where the terrain has no value
    folder    an empty one, for layers on the way; notes  gets lines on what was guessed or left out
    Returns the mean row and column of each unit's cells (units, 2) float32, and the units' own numbers or names.
    Raises InputError.
    """
    read = _of_raster if is_raster(name, "units") else _of_polygons
    names = read(name, grid, labels, folder, notes)
    where = File.of(name, "units").where
    sums, whole = np.zeros((len(names), 3)), 0  # 1, row, column of each unit's cells
    for row, rows in grid.windows():
        valid = valid_of(row, rows)
        here = np.where(valid, labels[row:row + rows], -1)
        labels[row:row + rows] = here
        whole += int(valid.sum())
        _add_places(sums, here, row)
    kept, count = np.flatnonzero(sums[:, 0]), int(sums[:, 0].sum())
    if not count:
        raise InputError(f"{where}: expected units on the terrain ({grid.extent}), found none there; check the CRS and "
                         "extent of the file")
    if len(kept) == 1:
        raise InputError(f"{where}: expected two units or more, found one ({names[kept[0]]}); name a field or file "
                         "that tells units apart, or leave out BLOCKS")
    if len(kept) * FEWEST_CELLS > count:
        raise InputError(f"{where}: expected units of {FEWEST_CELLS} cells or more on average, found {len(kept):,} "
                         f"units in {count:,} cells; take larger units")
    if len(kept) < len(names):
        notes.append(f"{where}: {len(names) - len(kept):,} units have no cell of the terrain (they lie elsewhere, or "
                     "are smaller than a cell); left out")
    if count < whole:
        notes.append(f"{where}: {whole - count:,} of {whole:,} cells lie outside every unit; the map takes the model "
                     "of the nearest unit there")
    number = np.full(len(names) + 1, -1, np.int32)  # the last entry is what label -1 becomes
    number[kept] = np.arange(len(kept))
    for row, rows in grid.windows():
        labels[row:row + rows] = number[labels[row:row + rows]]
    return (sums[kept, 1:] / sums[kept, :1]).astype(np.float32), [names[i] for i in kept]


def units_before(paths: Paths) -> list[str]:
    """A line where the blocks of a region, which SLIC is about to cut, were own units until now; [] elsewhere."""
    name = made_with(paths.blocks).get("BLOCKS")
    return [f"SLIC cuts the blocks; the blocks before were the units of {name}; BLOCKS={name} takes them again"
            ] * bool(name)


def doubts(table: pd.DataFrame) -> list[str]:
    """Lines on units with which adapting a model to each hardly means anything; table  of the blocks."""
    mean, largest, out = table["samples"].mean(), table["cells"].max() / table["cells"].sum(), []
    if len(table) < FEW:
        out.append(f"{len(table)} units are few: a model for each is nearly one model for all; take {FEW} or more")
    if mean < FEW_SAMPLES:
        out.append(f"{len(table):,} units have {mean:.1f} samples on average, {(table['samples'] == 0).sum():,} have "
                   "none: most models adapt on samples of others, or keep the intermediate model; take larger units")
    if largest > 0.5:
        out.append(f"one unit holds {largest:.0%} of the cells: most of the map comes from one model; cut it up")
    return out


def _of_raster(name: str, grid: Grid, labels: RasterRows, folder: Path, notes: list[str]) -> list[str]:
    """Fills the labels of the units of a raster; returns their names."""
    raster = to_grid(name, "units", grid, folder / "units.tif", notes, categorical=True)
    where, dataset, values = raster.file.where, gdal.Open(str(folder / "units.tif")), np.empty(0)
    limit, zeros = grid.rows * grid.cols // FEWEST_CELLS, 0
    for window in grid.windows():
        v = read_rows(dataset, *window)
        values, zeros = np.union1d(values, v[known(v)].astype(np.float64)), zeros + int((v == 0).sum())
        parts = values[values != np.round(values)]
        if len(parts):
            raise InputError(f"{where}: expected whole numbers, one a unit, found {parts[0]:.8g}; export the numbers "
                             "of the units, not a measure")
        if len(values) > limit:
            raise InputError(f"{where}: expected at most {limit:,} units, one for {FEWEST_CELLS} cells, found more; "
                             "export the numbers of the units, not a measure")
    if zeros and not raster.band.marks_gaps:
        notes.append(f"{where}: declares no nodata; its {zeros:,} cells of 0 lie outside every unit. If 0 is a unit, "
                     f"name another number: {raster.file.remedy('nodata=-1')}")
        values = values[values != 0]
    elif zeros:
        notes.append(f"{where}: 0 is a unit of {zeros:,} cells, as its gaps are marked otherwise. If 0 lies outside "
                     f"every unit: {raster.file.remedy('nodata=0')}")
    for row, rows in grid.windows():
        v = read_rows(dataset, row, rows)
        at = np.searchsorted(values, v)
        there = known(v) & (at < len(values))
        there[there] = values[at[there]] == v[there]
        labels[row:row + rows] = np.where(there, at, -1)
    own, _ = names_of_raster(raster, set(values.tolist()))
    return [own.get(int(v), str(int(v))) for v in values]


def _of_polygons(name: str, grid: Grid, labels: RasterRows, folder: Path, notes: list[str]) -> list[str]:
    """Fills the labels of the units of polygons; returns their names."""
    file = File.of(name, "units")
    vector = open_vector(name, "units", grid, notes, parts=False)
    layer = vector.GetLayer(0)
    only_areas(vector, file.where, notes)
    units = _names(layer, file, notes)
    names = sorted(set(units.values()) - {""}, key=_order(units.values()))
    if not names:
        raise InputError(f"{file.where}: field {file.options['field']}: expected values, found none; name another")
    number = {text: i for i, text in enumerate(names, start=1)}
    attribute = add_numbers(vector, {fid: number.get(text, 0) for fid, text in units.items()})
    # The lowest number is burned last and wins, or first and loses: cells that differ lie in two units.
    burned = [_burn(vector, grid, folder / f"{order}.tif", attribute, order) for order in ("DESC", "ASC")]
    twice, covered, pair = 0, 0, None
    for row, rows in grid.windows():
        first, last = (read_rows(dataset, row, rows) for dataset in burned)
        labels[row:row + rows] = first - 1
        differ = first != last
        twice += int(differ.sum())
        covered += int((first > 0).sum())
        if pair is None and differ.any():
            pair = [names[v[differ][0] - 1] for v in (first, last)]
    share = twice / max(covered, 1)
    if share > OVERLAP:
        raise InputError(f"{file.where}: expected units that do not overlap, found {twice:,} cells ({share:.1%}) in "
                         f"two, like {pair[0]} and {pair[1]}; cut them, or take units of one level")
    if twice:
        notes.append(f"{file.where}: {twice:,} cells ({share:.2%}) lie in two units, like {pair[0]} and {pair[1]}; "
                     "they belong to the unit that comes first")
    return names


def _names(layer, file: File, notes: list[str]) -> dict[int, str]:
    """The unit of every polygon by feature id: the value of the given field ("" for none); else of the first field that
    tells all of them apart; else its number in the file."""
    texts = {name: {f.GetFID(): text_of(f.GetField(name)) for f in layer} for name in fields_of(layer)}
    given, total = file.options.get("field"), layer.GetFeatureCount()
    field = next((name for name in texts if given and name.lower() == given.lower()), given)
    if field:
        if field not in texts:
            raise InputError(f"{file.where}: expected a field {field!r}, found {', '.join(texts) or 'none'}; name the "
                             f"field that numbers the units: {file.remedy('field=<name>')}")
        without = list(texts[field].values()).count("")
        if without:
            notes.append(f"{file.where}: {without:,} polygons without {field} lie outside every unit")
        return texts[field]
    naming = [name for name, kind in fields_of(layer).items() if kind in _NAMING]
    different = {name: len(set(texts[name].values())) for name in naming}
    # Fields in which programs number features come last.
    able = sorted((name for name in naming if different[name] == total and "" not in texts[name].values()),
                  key=lambda name: NO_FIELD.fullmatch(name) is not None)
    joins = [name for name in naming if 1 < different[name] < total]
    named = bool(able) and not NO_FIELD.fullmatch(able[0])
    by = f"its field {able[0]}" if able else "its place in the file"
    notes.append(f"{file.where}: each polygon is a unit, named by {by}" + (
        f"; to join those with the same value: {file.remedy(f'field={joins[0]}')}" if joins and not named else ""))
    return texts[able[0]] if able else {f.GetFID(): str(i) for i, f in enumerate(layer, start=1)}


def _order(names):
    """The key by which units are sorted: whole numbers by value, else text by alphabet."""
    def whole(text: str) -> bool:
        return text.removeprefix("-").isascii() and text.removeprefix("-").isdigit()

    return (lambda text: (int(text), text)) if all(whole(text) for text in names if text) else str


def _burn(vector: gdal.Dataset, grid: Grid, path: Path, attribute: str, order: str) -> gdal.Dataset:
    """Burns the polygons with a number above 0 onto the grid (int32), in ascending (ASC) or descending (DESC) order of
    the number."""
    target = create_raster(path, grid, gdal.GDT_Int32, None)
    layer = vector.ExecuteSQL(f"SELECT * FROM layer WHERE {attribute} > 0 ORDER BY {attribute} {order}")
    gdal.RasterizeLayer(target, [1], layer, options=[f"ATTRIBUTE={attribute}"])
    vector.ReleaseResultSet(layer)
    flush(target)
    return target


def _add_places(sums: np.ndarray, labels: np.ndarray, first: int) -> None:
    """Adds 1, row and column of each unit's cells to its sums (units, 3); labels (rows, cols) from row `first` on."""
    for top in range(0, len(labels), 256):
        row, col = np.nonzero(labels[top:top + 256] >= 0)
        unit = labels[row + top, col]
        for total, along in zip(sums.T, (None, row + top + first, col), strict=True):
            total += np.bincount(unit, along, len(sums))
