"""Rasters: the grid they lie on, one way to open, create and write them, and the way from coordinates to cells.

Arrays are (bands, rows, cols). Layers too large for memory: lsm/inputs/layers.py.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from osgeo import gdal, gdal_array, osr

from lsm.inputs.bands import NODATA, Band, known, refuse_damaged, refuse_impossible
from lsm.inputs.crs import other_unit
from lsm.run.artifacts import artifact
from lsm.run.paths import shown
from lsm.run.settings import InputError
from lsm.run.writing import whole

gdal.UseExceptions()
osr.UseExceptions()
gdal.SetCacheMax(256 << 20)  # bytes, a row of tiles of many bands; GDAL's own limit grows with the machine

TERRAIN = ("DEM", "aspect", "curvature", "slope")  # the bands of composite.tif: m, degrees, 1/100 m, degrees
KINDS = ("continuous", "circular", "continuous", "continuous")
MAX_CELLS = 2_000_000_000  # cells of a raster that is read whole; more are refused before any is read
WINDOW = 1 << 22  # cells of a band in memory at once, where a raster is read window by window
TILE = 256        # rows and columns of a tile, GDAL's own size: what is read or written of a GeoTIFF at once


# grids -----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Grid:
    """The cells of a raster; geotransform as GDAL has it, crs as WKT."""

    rows: int
    cols: int
    geotransform: tuple[float, ...]
    crs: str

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
    except RuntimeError:
        raise InputError(f"{where}: expected a raster that GDAL opens, found none; {remedy}") from None
    refuse_damaged(dataset, where)
    if dataset.RasterYSize * dataset.RasterXSize > MAX_CELLS:
        raise InputError(f"{where}: expected at most {MAX_CELLS:,} cells, found {dataset.RasterYSize} x "
                         f"{dataset.RasterXSize}; cut it to the area, or take larger cells (gdalwarp -te -tr)")
    return dataset


def reason(error: Exception, path: Path) -> str:
    """GDAL's message on one line, with `path` as people type it."""
    return " ".join(str(error).replace(str(path), shown(path)).split()).rstrip(".")


def read_composite(path: Path) -> Raster:
    """Reads the terrain raster (DEM, aspect, curvature, slope) and checks that it can be used. Raises InputError."""
    remedy = f"write it with {len(TERRAIN)} float bands: {', '.join(TERRAIN)}"
    dataset = open_raster(path, remedy)
    bands = dataset.RasterCount
    if bands != len(TERRAIN):
        raise InputError(f"{shown(path)}: expected {len(TERRAIN)} bands, found {bands}; {remedy}")
    crs = dataset.GetSpatialRef()
    if crs is None:
        raise InputError(f"{shown(path)}: CRS: expected a projected one in metres, found none; set it "
                         "(gdal_edit.py -a_srs EPSG:<code>)")
    if other_unit(crs):
        raise InputError(f"{shown(path)}: CRS: expected a projected one in metres, found {other_unit(crs)}; "
                         "reproject it (gdalwarp -t_srs EPSG:<code>) and the tables with it")
    geotransform = dataset.GetGeoTransform()
    if geotransform[2] or geotransform[4] or geotransform[1] <= 0 or geotransform[5] >= 0:
        raise InputError(f"{shown(path)}: geotransform: expected north up, found {geotransform}; warp it (gdalwarp)")
    shape = dataset.RasterYSize, dataset.RasterXSize
    if bands * shape[0] * shape[1] > MAX_CELLS:
        raise InputError(f"{shown(path)}: expected at most {MAX_CELLS // bands:,} cells of {bands} bands, found "
                         f"{shape[0]} x {shape[1]}; cut it to the area, or take larger cells (gdalwarp -te -tr)")
    values, valid = np.empty((bands, *shape), np.float32), np.ones(shape, bool)
    for i, name in enumerate(TERRAIN):
        band, where = Band.of(dataset, i + 1), f"{shown(path)}: band {i + 1} ({name})"
        if band.nodata is None and band.mask is None:
            raise InputError(f"{where}: nodata: expected a declared value, found none; declare it (gdal_edit.py "
                             "-a_nodata <value>)")
        try:
            numbers, good = band.read(0, 0, shape[1], shape[0])
        except RuntimeError:
            raise InputError(f"{shown(path)}: expected a whole raster, found one that breaks off; copy it again"
                             ) from None
        values[i] = band.values(numbers)
        valid &= good
    for i, (name, kind) in enumerate(zip(TERRAIN, KINDS, strict=True)):
        refuse_impossible(values[i][valid], name, kind, f"{shown(path)}: band {i + 1} ({name})")
    if not valid.any():
        raise InputError(f"{shown(path)}: expected cells with a value in every band, found all nodata; check the "
                         "bands and the declared nodata value")
    return Raster(values, valid, geotransform, crs.ExportToWkt())


def read_band(path: Path) -> np.ndarray:
    """The first band of a raster, (rows, cols)."""
    dataset = open_raster(path, "make it again")
    return dataset.GetRasterBand(1).ReadAsArray()


def strips(dataset: gdal.Dataset) -> Iterator[tuple[int, int]]:
    """First row and number of rows of windows that cover a raster."""
    return Grid.of(dataset).windows()


def known_strips(dataset: gdal.Dataset) -> Iterator[np.ndarray]:
    """The known values of the first band, (values,), window by window."""
    band = dataset.GetRasterBand(1)
    for row, rows in strips(dataset):
        values = band.ReadAsArray(0, row, dataset.RasterXSize, rows)
        yield values[known(values, band.GetNoDataValue())]


# writing ---------------------------------------------------------------------------------------------------------

def create(path: Path, grid: Grid, kind: int = gdal.GDT_Float32, nodata: float | None = NODATA,
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
                  nodata: float = NODATA) -> None:
    """Writes one float32 band as a compressed GeoTIFF, window by window: first row, first column, values (rows, cols).
    Nothing else of it is in memory. The file's bytes depend on the order of the windows."""
    dataset = create(path, grid, nodata=nodata, options=_compressed("f"), names=[description])
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
                dataset = create(temporary, Grid(*band.shape, like.geotransform, like.crs),
                                 gdal_array.NumericTypeCodeToGDALTypeCode(band.dtype), nodata, options, descriptions)
            dataset.GetRasterBand(i).WriteArray(band)
        dataset.FlushCache()
        del dataset


def write_classes(path: Path, classes: np.ndarray, like: Grid | Raster, description: str, names: list[str],
                  colours: list[str], stage: str, constants, inputs: list[Path]) -> None:
    """Writes classes (rows, cols) uint8, 0 = nodata, as a compressed GeoTIFF with names and colours, and its record.

    names, colours  as `name_classes` takes them
    """
    with artifact_with_names(path, stage, constants, inputs) as temporary:
        dataset = create(temporary, Grid(*classes.shape, like.geotransform, like.crs), gdal.GDT_Byte, 0,
                         ("COMPRESS=DEFLATE", "TILED=YES"), [description])
        name_classes(dataset.GetRasterBand(1), names, colours)
        dataset.GetRasterBand(1).WriteArray(classes)
        dataset.FlushCache()
        del dataset


def name_classes(band: gdal.Band, names: list[str], colours: list[str]) -> None:
    """Gives classes 0 (nodata), 1, 2, ... of a band their names, and classes 1, 2, ... their colours ("#rrggbb")."""
    palette = gdal.ColorTable()
    for i, colour in enumerate(colours, start=1):
        palette.SetColorEntry(i, (*bytes.fromhex(colour[1:]), 255))
    band.SetColorTable(palette)
    band.SetCategoryNames(names)


@contextlib.contextmanager
def artifact_with_names(path: Path, *made) -> Iterator[Path]:
    """`artifact` for a raster whose classes have names: GDAL keeps these beside the raster, in <its name>.aux.xml."""
    with whole(path.with_name(f"{path.name}.aux.xml")), artifact(path, *made) as temporary:
        yield temporary
