"""Inventories that are rasters: the outlines of their landslides."""

from collections import Counter
from pathlib import Path

import numpy as np
from osgeo import gdal, ogr

from lsm.inputs.bands import known
from lsm.inputs.layers import read_rows, write_layer
from lsm.inputs.rasters import Grid
from lsm.inputs.vectors import burn
from lsm.run.settings import InputError, counted
from lsm.sources.files import File
from lsm.sources.plain_rasters import write_plain
from lsm.sources.raster_files import open_raster_file

WIDE = 0.5  # share of an area that landslides do not cover


def outlines_of(name: str | Path, what: str, grid: Grid, dem: gdal.Dataset, folder: Path,
                notes: list[str]) -> gdal.Dataset:
    """The outlines of an inventory that is a raster, in the CRS of the grid: each connected area of one whole number
    other than 0, or of the numbers of |value=<number>, is a polygon. notes  gets their number. Raises InputError, also
    where a number covers so much that it is the background."""
    raster = open_raster_file(name, what, notes)
    plain_values = write_plain(raster, folder / "numbers.tif", notes, grid, categorical=True)
    own, odd, cells, chosen = Grid.of(plain_values), [], Counter(), raster.file.numbers("value")

    def window(row: int, rows: int) -> np.ndarray:
        v = read_rows(plain_values, row, rows)
        there = known(v)
        odd.extend(v[there & (v != np.round(v))][:1].tolist())
        if not odd:
            cells.update(dict(zip(*(a.tolist() for a in np.unique(v[there], return_counts=True)), strict=True)))
        return there & (np.isin(v, chosen) if chosen else v != 0)

    marks = write_layer(folder / "outlined.tif", own, window, gdal.GDT_Byte, None)
    if odd:
        raise InputError(f"{raster.file.where}: expected whole numbers, 0 or nodata beside landslides, found {odd[0]:g}"
                         "; export the landslides, not a measure")
    areas = gdal.GetDriverByName("Memory").Create("", 0, 0, 0, gdal.GDT_Unknown)
    layer = areas.CreateLayer("layer", raster.crs, ogr.wkbPolygon)
    layer.CreateField(ogr.FieldDefn("area number", ogr.OFTInteger64))
    gdal.Polygonize(plain_values.GetRasterBand(1), marks.GetRasterBand(1), layer, 0, ["8CONNECTED=8"])
    areas = gdal.VectorTranslate("", areas, options=["-f", "Memory", "-t_srs", grid.crs, "-nln", "layer", "-makevalid"])
    of = f"of the number {', '.join(f'{v}' for v in chosen)}" if chosen else "of one number other than 0"
    sizes = [feature.GetGeometryRef().Area() for feature in areas.GetLayer(0)]
    if not sizes:
        raise InputError(f"{raster.file.where}: expected cells {of}, found {_some(cells)}; take another file, or say "
                         f"which numbers mark landslides: {raster.file.remedy('value=<number>')}")
    if not chosen and what == "inventory":  # stable places may cover all
        covered = share_of(burn(areas, grid, folder / "areas.tif"), dem, grid)
        _refuse_background(raster.file, cells, covered, max(sizes) / sum(sizes), _surrounds(areas.GetLayer(0), grid))
    notes.append(f"{raster.file.where}: {'places' if what == 'stable places' else 'landslides'} are "
                 f"{counted(len(sizes), 'connected area')} {of}")
    return areas


def share_of(marks: gdal.Dataset, dem: gdal.Dataset, grid: Grid) -> float:
    """The share of the cells of the DEM where the layer marks is not 0."""
    ground = covered = 0
    for window in grid.windows():
        here = known(read_rows(dem, *window))
        ground, covered = ground + int(here.sum()), covered + int((here & (read_rows(marks, *window) != 0)).sum())
    return covered / max(1, ground)


def _some(cells: Counter) -> str:
    """The numbers of a raster, the least ones first."""
    return ", ".join(f"{v:g}" for v in sorted(cells)[:6]) + ", ..." * (len(cells) > 6)


def _surrounds(layer: ogr.Layer, grid: Grid) -> bool:
    """Whether most of the areas of other numbers touch the largest area."""
    largest = max(layer, key=lambda feature: feature.GetGeometryRef().Area())
    others = [f.GetGeometryRef().Clone() for f in layer if f.GetField(0) != largest.GetField(0)]
    others = others[::1 + len(others) // 100]
    near = sum(largest.GetGeometryRef().Distance(other) < grid.cell / 2 for other in others)
    return 2 * near > len(others)


def _refuse_background(file: File, cells: Counter, share: float, whole: float, surrounds: bool) -> None:
    """Raises InputError where a number other than 0 covers too much to be landslides.

    cells  by number of the raster; share  of the DEM that numbers other than 0 cover; whole  share of these cells in
           the largest connected area: a background is connected, landslides are not; surrounds  as above
    """
    most, n = max(((v, n) for v, n in cells.items() if v), key=lambda pair: pair[1])
    mostly = n > WIDE * cells.total() and len(cells) > 1  # of all cells with a value
    frame = n > 0.9 * (cells.total() - cells[0])  # of an area that may be smaller than the raster
    several = len(cells) - (0 in cells) > 1
    if share > WIDE or (whole > WIDE and ((mostly and 0 in cells and share > WIDE / 10)
                                          or (mostly and share > WIDE / 5) or (frame and several and surrounds))):
        raise InputError(f"{file.where}: expected landslides, found {most:g} in {n / cells.total():.0%} of the cells, "
                         f"like a background; say which of {_some(cells)} marks landslides: "
                         f"{file.remedy('value=<number>')}"
                         + f" (value={most:g} if they do cover so much)" * (not several))
