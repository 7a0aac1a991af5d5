"""GeoTIFFs in and out, and the way from coordinates to cells. Rasters are (bands, rows, cols)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from osgeo import gdal, osr

from lsm.run.artifacts import whole, write_record
from lsm.run.paths import shown
from lsm.run.settings import InputError

gdal.UseExceptions()

TERRAIN = ("DEM", "aspect", "curvature", "slope")  # the bands of composite.tif: m, degrees, -, degrees
NODATA = -9999.0  # of every raster of numbers that the stages write
STRIP = 512  # rows of a raster in memory at once, where it is read strip by strip


@dataclass(frozen=True)
class Raster:
    """bands (bands, rows, cols) float32; valid (rows, cols): every band holds a number there; geotransform as GDAL
    has it; crs as WKT."""

    bands: np.ndarray
    valid: np.ndarray
    geotransform: tuple[float, ...]
    crs: str


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
    if not crs.IsProjected() or abs(crs.GetLinearUnits() - 1) > 1e-9:
        unit = crs.GetLinearUnitsName() if crs.IsProjected() else crs.GetAngularUnitsName()
        raise InputError(f"{shown(path)}: CRS: expected a projected one in metres, found {crs.GetName()} in {unit}; "
                         "reproject it (gdalwarp -t_srs EPSG:<code>) and the tables with it")
    geotransform = dataset.GetGeoTransform()
    if geotransform[2] or geotransform[4] or geotransform[1] <= 0 or geotransform[5] >= 0:
        raise InputError(f"{shown(path)}: geotransform: expected north up, found {geotransform}; warp it (gdalwarp)")
    try:
        values = dataset.ReadAsArray().astype(np.float32, copy=False)
    except RuntimeError:
        raise InputError(f"{shown(path)}: expected a whole raster, found one that breaks off; copy it again") from None
    valid = np.isfinite(values).all(axis=0)
    for i in range(bands):
        nodata = dataset.GetRasterBand(i + 1).GetNoDataValue()
        if nodata is None:
            raise InputError(f"{shown(path)}: band {i + 1} ({TERRAIN[i]}): nodata: expected a declared value, found "
                             "none; declare it (gdal_edit.py -a_nodata <value>)")
        if np.isfinite(nodata):
            valid &= values[i] != np.float32(nodata)
    if not valid.any():
        raise InputError(f"{shown(path)}: expected cells with a value in every band, found all nodata; check the "
                         "bands and the declared nodata value")
    return Raster(values, valid, geotransform, crs.ExportToWkt())


def read_band(path: Path) -> np.ndarray:
    """The first band of a raster, (rows, cols)."""
    dataset = open_raster(path, "make it again")  # kept: GDAL frees a dataset nobody holds, its bands with it
    return dataset.GetRasterBand(1).ReadAsArray()


def write_band(path: Path, band: np.ndarray, like: Raster, nodata: float, description: str,
               stage: str, constants, inputs: list[Path]) -> None:
    """Writes one band (rows, cols) as a compressed GeoTIFF on the grid of `like`, with its record."""
    write_bands(path, [band], like, nodata, [description], stage, constants, inputs)


def write_bands(path: Path, bands: Iterable[np.ndarray], like: Raster, nodata: float, descriptions: list[str],
                stage: str, constants, inputs: list[Path]) -> None:
    """Writes bands (rows, cols) of one type, each taken from `bands` when its turn has come, as `write_band` does."""
    with whole(path) as temporary:
        dataset = None
        for i, (band, description) in enumerate(zip(bands, descriptions, strict=True), start=1):
            if dataset is None:
                kind = {"float32": gdal.GDT_Float32, "int32": gdal.GDT_Int32}[band.dtype.name]
                options = ["COMPRESS=DEFLATE", f"PREDICTOR={3 if band.dtype.kind == 'f' else 2}", "TILED=YES",
                           "BIGTIFF=IF_SAFER", *["INTERLEAVE=BAND"] * (len(descriptions) > 1)]
                dataset = gdal.GetDriverByName("GTiff").Create(str(temporary), band.shape[1], band.shape[0],
                                                               len(descriptions), kind, options)
                dataset.SetGeoTransform(like.geotransform)
                dataset.SetProjection(like.crs)
            target = dataset.GetRasterBand(i)
            target.SetNoDataValue(nodata)
            target.SetDescription(description)
            target.WriteArray(band)
        dataset.FlushCache()
        del target, dataset
    write_record(path, stage, constants, inputs)


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


def crs_name(wkt: str) -> str:
    """A CRS as people say it: "WGS 84 / UTM zone 50N (EPSG:32650)"."""
    crs = osr.SpatialReference(wkt=wkt)
    code = crs.GetAuthorityCode(None)
    return crs.GetName() + (f" ({crs.GetAuthorityName(None)}:{code})" if code else "")


def open_raster(path: Path, remedy: str) -> gdal.Dataset:
    """Opens a raster; `remedy` ends the line of the InputError where there is none.

    Hold the dataset while its bands are read: GDAL frees one that nobody holds.
    """
    if not path.is_file():
        raise InputError(f"{shown(path)}: missing; put it there ({remedy})")
    try:
        return gdal.Open(str(path))
    except RuntimeError:
        raise InputError(f"{shown(path)}: expected a raster that GDAL opens, found none; {remedy}") from None


def strips(dataset: gdal.Dataset) -> Iterator[tuple[int, int]]:
    """First row and number of rows of strips that cover a raster."""
    for row in range(0, dataset.RasterYSize, STRIP):
        yield row, min(STRIP, dataset.RasterYSize - row)


def known_strips(dataset: gdal.Dataset) -> Iterator[np.ndarray]:
    """The values of the first band that are no nodata, (values,), strip by strip."""
    band = dataset.GetRasterBand(1)
    for row, rows in strips(dataset):
        values = band.ReadAsArray(0, row, dataset.RasterXSize, rows)
        yield values[known(values, band)]


def known(values: np.ndarray, band: gdal.Band) -> np.ndarray:
    """Where values of a band are finite and no nodata."""
    nodata = band.GetNoDataValue()
    return np.isfinite(values) if nodata is None else np.isfinite(values) & (values != values.dtype.type(nodata))
