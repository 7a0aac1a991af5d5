"""Rasters: the grid they lie on, one way to open, create and write them, and the way from coordinates to cells.

Arrays are (bands, rows, cols). Layers too large for memory: lsm/inputs/layers.py.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from osgeo import gdal, gdal_array

from lsm.inputs.bands import NODATA, UNREADABLE, Band, known, refuse_damaged, refuse_impossible
from lsm.inputs.crs import refuse_unmetric
from lsm.run.artifacts import artifact
from lsm.run.paths import edit, shown
from lsm.run.settings import InputError

gdal.SetCacheMax(256 << 20)  # bytes, a row of tiles of many bands; GDAL's own limit grows with the machine

TERRAIN = ("DEM", "aspect", "curvature", "slope")  # the bands of composite.tif: m, degrees, 1/100 m, degrees
TERRAIN_KINDS = ("continuous", "circular", "continuous", "continuous")
MAX_CELLS = 2_000_000_000  # cells of a raster that is read whole; more are refused before any is read
WINDOW = 1 << 22  # cells of a band in memory at once, where a raster is read window by window
TILE = 256        # rows and columns of a tile, GDAL's own size: what is read or written of a GeoTIFF at once


# grids -----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Grid:
    """The cells of a raster; geotransform as GDAL has it, crs as WKT; warped_from: the CRS of a DEM that was warped."""

    rows: int
    cols: int
    geotransform: tuple[float, ...]
    crs: str
    warped_from: str = ""

    @classmethod
    def of(cls, dataset: gdal.Dataset) -> "Grid":
        """The grid of an open raster."""
        return cls(dataset.RasterYSize, dataset.RasterXSize, dataset.GetGeoTransform(), dataset.GetProjection())

    @property
    def cell(self) -> float:
        """Width of a cell, m."""
        return self.geotransform[1]

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north, m."""
        west, width, _, north, _, height = self.geotransform
        return west, north + self.rows * height, west + self.cols * width, north

    @property
    def extent(self) -> str:
        """The bounds, for messages."""
        west, south, east, north = self.bounds
        return f"X {west:.0f} to {east:.0f}, Y {south:.0f} to {north:.0f}"

    def windows(self) -> Iterator[tuple[int, int]]:
        """First row and number of rows of windows that cover the grid, each of at most WINDOW cells (or one row)."""
        step = max(1, min(self.rows, WINDOW // self.cols))
        for row in range(0, self.rows, step):
            yield row, min(step, self.rows - row)

    def tiles(self, cells: int) -> Iterator[tuple[int, int, int, int]]:
        """First row and column, rows and columns of windows that cover the grid, each of at most `cells` cells (or one
        row). They end where tiles end, unless a tile has more cells: each tile is read once and written whole."""
        rows, cols = min(max(1, cells // self.cols), self.rows), self.cols
        if rows < self.rows and cells >= TILE * TILE:
            rows, cols = max(rows // TILE, 1) * TILE, cols if rows >= TILE else cells // TILE // TILE * TILE
        for row in range(0, self.rows, rows):
            for col in range(0, self.cols, cols):
                yield row, col, min(rows, self.rows - row), min(cols, self.cols - col)


@dataclass(frozen=True)
class Raster:
    """A whole raster in memory: bands (bands, rows, cols) float32; valid (rows, cols), True where every band holds a
    number; geotransform as GDAL has it; crs as WKT."""

    bands: np.ndarray
    valid: np.ndarray
    geotransform: tuple[float, ...]
    crs: str


def cell_of(geotransform: tuple[float, ...], xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column (points,) int64 of the cell that each point of xy (points, 2), m, lies in.

    Floor, not truncation towards zero: a point just west or north of the raster gets -1, not the first cell.
    """
    col = np.floor((xy[:, 0] - geotransform[0]) / geotransform[1]).astype(np.int64)
    row = np.floor((xy[:, 1] - geotransform[3]) / geotransform[5]).astype(np.int64)
    return row, col


def inside(shape: tuple[int, int], row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """(cells,) bool: which rows and columns lie on a raster of `shape` (rows, cols)."""
    return (row >= 0) & (row < shape[0]) & (col >= 0) & (col < shape[1])


def locate(geotransform: tuple[float, ...], shape: tuple[int, int],
           xy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`cell_of` each point of xy (points, 2), and which points lie `inside` a raster of `shape` (rows, cols)."""
    row, col = cell_of(geotransform, xy)
    return row, col, inside(shape, row, col)


def centres(geotransform: tuple[float, ...], row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Easting and northing (m) of cell centres; rows and columns may be fractions."""
    return geotransform[0] + (col + 0.5) * geotransform[1], geotransform[3] + (row + 0.5) * geotransform[5]


# reading ---------------------------------------------------------------------------------------------------------

def open_raster(path: Path, remedy: str, what: str = "", opened: str = "") -> gdal.Dataset:
    """Opens a raster. `what` it is and the `remedy` are for the message; opened: what GDAL opens, where `path` is an
    archive. Raises InputError.

    Keep the dataset in a variable while its bands are read: GDAL frees a dataset that no variable holds.
    """
    where = f"{shown(path)}: {what}" if what else shown(path)
    if not path.is_file():
        raise InputError(f"{where}: missing; put it there ({remedy})")
    try:
        dataset = gdal.Open(opened or str(path))
    except UNREADABLE:
        raise InputError(f"{where}: expected a raster that GDAL opens, found none; {remedy}") from None
    refuse_damaged(dataset, where)
    if dataset.RasterYSize * dataset.RasterXSize > MAX_CELLS:
        raise InputError(f"{where}: expected at most {MAX_CELLS:,} cells, found {dataset.RasterYSize} x "
                         f"{dataset.RasterXSize}; cut it to the area, or take larger cells (QGIS: Warp)")
    return dataset


def reason(error: Exception, path: Path) -> str:
    """GDAL's message on one line, with `path` as people type it."""
    return " ".join(str(error).replace(str(path), shown(path)).split()).rstrip(".")


@dataclass(frozen=True)
class Composite:
    """The open terrain raster of a region (DEM, aspect, curvature, slope): its path, its grid and its bands."""

    path: Path
    grid: Grid
    bands: list[Band]

    @classmethod
    def of(cls, path: Path) -> "Composite":
        """Opens it and checks bands, CRS, geotransform and nodata. Raises InputError."""
        remedy = f"write it with {len(TERRAIN)} float bands: {', '.join(TERRAIN)}"
        dataset = open_raster(path, remedy)
        if dataset.RasterCount != len(TERRAIN):
            raise InputError(f"{shown(path)}: expected {len(TERRAIN)} bands, found {dataset.RasterCount}; {remedy}")
        crs = dataset.GetSpatialRef()
        refuse_unmetric(crs, path)
        place = dataset.GetGeoTransform()
        if place[2] or place[4] or place[1] <= 0 or place[5] >= 0:
            raise InputError(f"{shown(path)}: geotransform: expected north up, found {place}; warp it "
                             "(QGIS: Warp)")
        bands = [Band.of(dataset, number) for number in range(1, len(TERRAIN) + 1)]
        for band, name in zip(bands, TERRAIN, strict=True):
            if band.nodata is None and band.mask is None:
                raise InputError(f"{shown(path)}: band {band.number} ({name}): nodata: expected a declared value, "
                                 f"found none; declare it: {edit(path, '-a_nodata <value>')}")
        return cls(path, Grid(dataset.RasterYSize, dataset.RasterXSize, place, crs.ExportToWkt()), bands)

    def read(self, row: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Bands (4, rows, cols) float32 of rows row .. row + rows - 1, and where every band holds a number (rows,
        cols). Raises InputError for values that no terrain has, and for a damaged file."""
        values = np.empty((len(TERRAIN), rows, self.grid.cols), np.float32)
        valid = np.ones(values.shape[1:], bool)
        for v, band in zip(values, self.bands, strict=True):
            try:
                numbers, good = band.read(0, row, self.grid.cols, rows)
            except RuntimeError:
                raise InputError(f"{shown(self.path)}: expected a whole raster, found one that breaks off; copy it "
                                 "again") from None
            v[:] = band.values(numbers)
            valid &= good
        for v, band, name, kind in zip(values, self.bands, TERRAIN, TERRAIN_KINDS, strict=True):
            refuse_impossible(v[valid], name, kind, f"{shown(self.path)}: band {band.number} ({name})",
                              edit(self.path, "-a_nodata <number>"), lambda band=band: band.gaps)
        return values, valid

    def refuse_empty(self, valid: int) -> None:
        """Raises InputError where `valid`, the number of cells with a value in every band, is 0."""
        if not valid:
            raise InputError(f"{shown(self.path)}: expected cells with a value in every band, found all nodata; check "
                             "the bands and the declared nodata value")


def read_composite(path: Path) -> Raster:
    """The whole terrain raster. Raises InputError where it cannot be used."""
    composite = Composite.of(path)
    grid, bands = composite.grid, len(composite.bands)
    if bands * grid.rows * grid.cols > MAX_CELLS:
        raise InputError(f"{shown(path)}: expected at most {MAX_CELLS // bands:,} cells of {bands} bands, found "
                         f"{grid.rows} x {grid.cols}; cut it to the area, or take larger cells (QGIS: Warp)")
    values, valid = composite.read(0, grid.rows)
    composite.refuse_empty(valid.any())
    return Raster(values, valid, grid.geotransform, grid.crs)


def read_band(path: Path) -> np.ndarray:
    """The first band of a raster, (rows, cols)."""
    dataset = open_raster(path, "make it again")
    return dataset.GetRasterBand(1).ReadAsArray()


def known_strips(dataset: gdal.Dataset) -> Iterator[np.ndarray]:
    """The known values of the first band, (values,), window by window."""
    band = dataset.GetRasterBand(1)
    for row, rows in Grid.of(dataset).windows():
        values = band.ReadAsArray(0, row, dataset.RasterXSize, rows)
        yield values[known(values, band.GetNoDataValue())]


# writing ---------------------------------------------------------------------------------------------------------

def create_raster(path: Path, grid: Grid, kind: int = gdal.GDT_Float32, nodata: float | None = NODATA,
                  options: tuple[str, ...] = (), names: Iterable[str] = ("",)) -> gdal.Dataset:
    """An empty GeoTIFF on the grid with a band a name; kind as GDAL numbers types, options its creation options."""
    names = tuple(names)
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), grid.cols, grid.rows, len(names), kind,
                                                   [*options, "BIGTIFF=IF_SAFER"])
    dataset.SetGeoTransform(grid.geotransform)
    dataset.SetProjection(grid.crs)
    for i, name in enumerate(names, start=1):
        band = dataset.GetRasterBand(i)
        band.SetDescription(name)
        if nodata is not None:
            band.SetNoDataValue(nodata)
    return dataset


def write_windows(path: Path, windows: Iterable[tuple[int, int, np.ndarray]], grid: Grid, description: str,
                  nodata: float = NODATA, kind: int = gdal.GDT_Float32, metadata: dict[str, str] | None = None) -> None:
    """Writes one band as a compressed GeoTIFF, window by window: first row, first column, values (rows, cols). Nothing
    else of it is in memory. The file's bytes depend on the order of the windows. kind as GDAL numbers types; metadata
    of the band."""
    of_numbers = "f" if kind == gdal.GDT_Float32 else "i"
    dataset = create_raster(path, grid, kind, nodata, _compressed(of_numbers), [description])
    for name, value in (metadata or {}).items():
        dataset.GetRasterBand(1).SetMetadataItem(name, value)
    fill_raster(dataset, windows)


def fill_raster(dataset: gdal.Dataset, windows: Iterable[tuple[int, int, np.ndarray]]) -> None:
    """Writes windows, as `write_windows` takes them, into the first band of a new GeoTIFF, to its last byte."""
    band = dataset.GetRasterBand(1)
    for row, col, values in windows:
        band.WriteArray(values, col, row)
        band.FlushCache()  # tiles reach the file in this order, whatever else GDAL's cache holds
    dataset.FlushCache()


def _compressed(kind: str, bands: int = 1) -> tuple[str, ...]:
    """Creation options of a compressed GeoTIFF; kind of its numbers as NumPy has it, "f" for floats."""
    return ("COMPRESS=DEFLATE", f"PREDICTOR={3 if kind == 'f' else 2}", "TILED=YES", *["INTERLEAVE=BAND"] * (bands > 1))


def write_band(path: Path, band: np.ndarray, like: Grid | Raster, nodata: float, description: str,
               stage: str, constants, inputs: list[Path], options: tuple[str, ...] | None = None) -> None:
    """Writes one band (rows, cols) as a compressed GeoTIFF on the grid of `like`, with its record; options as in
    `write_bands`."""
    write_bands(path, [band], like, nodata, [description], stage, constants, inputs, options)


def write_bands(path: Path, bands: Iterable[np.ndarray], like: Grid | Raster, nodata: float, descriptions: list[str],
                stage: str, constants, inputs: list[Path], options: tuple[str, ...] | None = None) -> None:
    """Writes bands (rows, cols) of one type as a compressed GeoTIFF on the grid of `like`, with its record.

    bands    may be a generator: only one band is in memory at a time
    options  of GDAL's GeoTIFF driver in place of the usual ones
    """
    with artifact(path, stage, constants, inputs) as temporary:
        dataset = None
        for i, (band, _) in enumerate(zip(bands, descriptions, strict=True), start=1):
            if dataset is None:
                if options is None:
                    options = _compressed(band.dtype.kind, len(descriptions))
                grid = Grid(*band.shape, like.geotransform, like.crs)
                kind = gdal_array.NumericTypeCodeToGDALTypeCode(band.dtype)
                dataset = create_raster(temporary, grid, kind, nodata, options, descriptions)
            dataset.GetRasterBand(i).WriteArray(band)
        dataset.FlushCache()
        del dataset
