"""One grid for everything: layers of any CRS and cell size are brought onto it by GDAL, window by window.

Layers on the way are single-band GeoTIFFs, float32 with nodata -9999 unless said otherwise. Nothing here holds more
than a window of rows.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from osgeo import gdal, ogr, osr

from lsm.inputs.rasters import NODATA
from lsm.run.paths import shown
from lsm.run.settings import InputError

gdal.UseExceptions()
ogr.UseExceptions()
osr.UseExceptions()

WINDOW = 1 << 22        # cells in memory at once, of each layer read
WARP_MEMORY = 128       # MB
MAX_CLASSES = 100       # a categorical raster with more is none
MAX_CELLS = 2_000_000_000
HEIGHTS = (-500, 9000)  # m: the Dead Sea's shore and the Himalayas lie between them


@dataclass(frozen=True)
class Grid:
    """Cells of one projected CRS in metres, square and north up; geotransform as GDAL has it, crs as WKT."""

    rows: int
    cols: int
    geotransform: tuple[float, ...]
    crs: str

    @property
    def cell(self) -> float:
        """Side of a cell, m."""
        return self.geotransform[1]

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north, m."""
        west, width, _, north, _, height = self.geotransform
        return west, north + self.rows * height, west + self.cols * width, north

    def windows(self) -> Iterator[tuple[int, int]]:
        """First row and number of rows of strips that cover the grid."""
        step = max(1, min(self.rows, WINDOW // self.cols))
        for row in range(0, self.rows, step):
            yield row, min(step, self.rows - row)


def open_raster(path: Path, what: str) -> gdal.Dataset:
    """A raster of one band that says where it lies. `what` it is, for the message. Raises InputError."""
    _present(path, what)
    try:
        dataset = gdal.Open(str(path))
    except RuntimeError:
        raise InputError(f"{shown(path)}: {what}: expected a raster that GDAL opens, found none; export it again as "
                         "GeoTIFF") from None
    if dataset.RasterCount != 1:
        raise InputError(f"{shown(path)}: {what}: expected one band, found {dataset.RasterCount}; pick one "
                         "(gdal_translate -b <band>)")
    if gdal.DataTypeIsComplex(dataset.GetRasterBand(1).DataType):
        raise InputError(f"{shown(path)}: {what}: expected real numbers, found complex ones; export their real part")
    if dataset.GetSpatialRef() is None:
        raise InputError(f"{shown(path)}: {what}: CRS: expected one, found none; set it (gdal_edit.py -a_srs "
                         "EPSG:<code>)")
    if dataset.GetGeoTransform(can_return_null=True) is None:
        raise InputError(f"{shown(path)}: {what}: expected a geotransform, found none; georeference it "
                         "(gdal_edit.py -a_ullr <west> <north> <east> <south>)")
    return dataset


def grid_of(path: Path, epsg: int, cell: float) -> tuple[Grid, bool]:
    """The grid that a DEM defines, and whether it is the DEM's own, so that no cell need be resampled.

    epsg  of the grid, 0: the DEM's; cell  its side in m, 0: about the DEM's. Raises InputError where that is no
    projected CRS in metres.
    """
    dataset = open_raster(path, "DEM")
    own, place = dataset.GetSpatialRef(), dataset.GetGeoTransform()
    crs = _crs_of(epsg, "EPSG") if epsg else own
    if not crs.IsProjected() or abs(crs.GetLinearUnits() - 1) > 1e-9:
        unit = crs.GetLinearUnitsName() if crs.IsProjected() else crs.GetAngularUnitsName()
        where, what = (f"EPSG={epsg}", "CRS") if epsg else (f"{shown(path)}: DEM: CRS", "one")
        raise InputError(f"{where}: expected a projected {what} in metres, found {crs.GetName()} in {unit}; name one "
                         f"to warp to, like EPSG={_utm(dataset)}")
    if not 0 <= cell < math.inf:
        raise InputError(f"CELL={cell:g}: expected metres, or 0 for the cells of the DEM")
    check_heights(dataset, path)
    aligned = (own.IsSame(crs) and place[1] > 0 > place[5] and not place[2] and not place[4]
               and abs(place[1] + place[5]) <= 1e-6 * place[1] and cell in (0, place[1]))
    if aligned:
        return _sized(Grid(dataset.RasterYSize, dataset.RasterXSize, place, crs.ExportToWkt()), path), True
    options = {"format": "VRT", "dstSRS": crs.ExportToWkt()}
    try:
        warped = gdal.Warp("", dataset, **options)
        _, width, _, _, _, height = warped.GetGeoTransform()
        side = cell or math.sqrt(abs(width * height))
        warped = gdal.Warp("", dataset, **options, xRes=side, yRes=side)
    except RuntimeError as error:
        raise InputError(f"{shown(path)}: DEM: expected a raster that warps to {crs.GetName()}, found: "
                         f"{reason(error, path)}; check EPSG, CELL and the CRS of the DEM") from None
    grid = Grid(warped.RasterYSize, warped.RasterXSize, warped.GetGeoTransform(), crs.ExportToWkt())
    return _sized(grid, path), False


def check_heights(dataset: gdal.Dataset, path: Path) -> None:
    """Refuses heights (m) that no ground has: gaps that a DEM does not declare, or another unit. Raises InputError."""
    try:
        low, high = dataset.GetRasterBand(1).ComputeRasterMinMax(False)
    except RuntimeError as error:
        raise InputError(f"{shown(path)}: DEM: expected heights in m, found: {reason(error, path)}; check its nodata "
                         "value, or copy or export it again") from None
    wild = low if low < HEIGHTS[0] else high
    if not HEIGHTS[0] <= wild <= HEIGHTS[1]:
        raise InputError(f"{shown(path)}: DEM: expected heights from {HEIGHTS[0]} to {HEIGHTS[1]} m, found {wild:.9g}; "
                         f"if it marks gaps, declare it (gdal_edit.py -a_nodata {wild:.9g}), if it is of another unit, "
                         "convert")


def reason(error: Exception, path: Path) -> str:
    """What GDAL says, on one line, `path` as people type it."""
    return " ".join(str(error).replace(str(path), shown(path)).split()).rstrip(".")


def create(path: Path, grid: Grid, kind: int = gdal.GDT_Float32, nodata: float | None = NODATA) -> gdal.Dataset:
    """An empty layer on the grid, uncompressed: GDAL goes over some of them up and down."""
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), grid.cols, grid.rows, 1, kind, ["BIGTIFF=IF_SAFER"])
    dataset.SetGeoTransform(grid.geotransform)
    dataset.SetProjection(grid.crs)
    if nodata is not None:
        dataset.GetRasterBand(1).SetNoDataValue(nodata)
    return dataset


def flush(dataset: gdal.Dataset) -> None:
    """Has all that was written on disk for whoever opens the file next, this dataset still open or not.

    Closing it would do as well, but nobody can tell when that is: an exception that a compiler keeps (numba's, in its
    first run) keeps every frame below it, and their datasets open.
    """
    for _ in range(2):  # GDAL 3.6 tells a new GeoTIFF where its strips lie with the second; before, all reads as nodata
        dataset.FlushCache()


def read(dataset: gdal.Dataset, row: int, rows: int, band: int = 1) -> np.ndarray:
    """Rows row .. row + rows - 1 of a band, (rows, cols)."""
    return dataset.GetRasterBand(band).ReadAsArray(0, row, dataset.RasterXSize, rows)


def known(values: np.ndarray) -> np.ndarray:
    """Where a float layer holds a number."""
    return np.isfinite(values) & (values != np.float32(NODATA))


def to_grid(source: Path, what: str, grid: Grid, path: Path, categorical: bool = False) -> None:
    """Writes a raster as a layer on the grid: nearest cell for categories, bilinear for the rest; gaps become nodata.

    Raises InputError where the raster cannot be warped or lies elsewhere.
    """
    dataset = open_raster(source, what)
    band = dataset.GetRasterBand(1)
    nodata, floats = band.GetNoDataValue(), band.DataType in (gdal.GDT_Float32, gdal.GDT_Float64)
    same = (dataset.GetGeoTransform() == grid.geotransform and (dataset.RasterYSize, dataset.RasterXSize) ==
            (grid.rows, grid.cols) and dataset.GetSpatialRef().IsSame(osr.SpatialReference(wkt=grid.crs)))
    if not same:
        try:
            dataset = gdal.Warp(
                str(path.with_suffix(".warped.tif")), dataset, format="GTiff", dstSRS=grid.crs,
                outputBounds=grid.bounds, width=grid.cols, height=grid.rows,
                resampleAlg="near" if categorical else "bilinear", outputType=gdal.GDT_Float32, dstNodata=NODATA,
                srcNodata="nan" if nodata is None and floats else None, warpMemoryLimit=WARP_MEMORY,
                creationOptions=["BIGTIFF=IF_SAFER"])
        except RuntimeError as error:
            raise InputError(f"{shown(source)}: {what}: expected a raster that warps to the grid of the DEM, found: "
                             f"{reason(error, source)}; check its CRS and extent, or export it again") from None
        nodata = NODATA
    target, found = create(path, grid), False
    for row, rows in grid.windows():
        try:
            values = read(dataset, row, rows)
        except RuntimeError as error:
            raise InputError(f"{shown(source)}: {what}: expected a whole raster, found: {reason(error, source)}; copy "
                             "or export it again") from None
        good = np.isfinite(values) if nodata is None else np.isfinite(values) & (values != values.dtype.type(nodata))
        found |= bool(good.any())
        target.GetRasterBand(1).WriteArray(np.where(good, values, NODATA).astype(np.float32), 0, row)
    flush(target)
    if not found:
        raise InputError(f"{shown(source)}: {what}: expected values on the grid ({extent(grid)}), found none; check "
                         "its CRS, extent and nodata value")


def fill_holes(path: Path, grid: Grid, largest: int) -> int:
    """Fills holes of at most `largest` cells in a layer, from their rims; larger ones stay. Returns cells filled."""
    dataset = gdal.Open(str(path), gdal.GA_Update)
    mask_path, copy_path = path.with_suffix(".mask.tif"), path.with_suffix(".copy.tif")
    mask, holes = create(mask_path, grid, gdal.GDT_Byte, None), 0
    for row, rows in grid.windows():
        good = known(read(dataset, row, rows))
        holes += int((~good).sum())
        mask.GetRasterBand(1).WriteArray(good.astype(np.uint8), 0, row)
    if not holes or largest < 1:
        return 0
    sieved = create(path.with_suffix(".sieved.tif"), grid, gdal.GDT_Byte, None)
    gdal.SieveFilter(mask.GetRasterBand(1), None, sieved.GetRasterBand(1), largest + 1, 4)
    small = sum(int((read(sieved, *w) > read(mask, *w)).sum()) for w in grid.windows())
    if not small:
        return 0
    copy = gdal.GetDriverByName("GTiff").CreateCopy(str(copy_path), dataset)
    gdal.FillNodata(copy.GetRasterBand(1), None, largest, 0)
    for row, rows in grid.windows():
        hole = read(sieved, row, rows) > read(mask, row, rows)
        dataset.GetRasterBand(1).WriteArray(np.where(hole, read(copy, row, rows), read(dataset, row, rows)), 0, row)
    flush(dataset)
    return small


def open_vector(name: str | Path, what: str, grid: Grid) -> gdal.Dataset:
    """A vector file's one layer in memory, in the CRS of the grid, without heights, multi-part features apart and
    invalid ones repaired.

    name  a file, or "file|layername=roads" where the file has several layers. Raises InputError.
    """
    text, _, layer_name = str(name).partition("|layername=")
    path = Path(text)
    _present(path, what)
    try:
        source = gdal.OpenEx(str(path), gdal.OF_VECTOR)
    except RuntimeError:
        raise InputError(f"{shown(path)}: {what}: expected a vector file that GDAL opens, found none; export it again "
                         "as GeoPackage") from None
    names = [source.GetLayer(i).GetName() for i in range(source.GetLayerCount())]
    if layer_name not in names and (layer_name or len(names) != 1):
        raise InputError(f"{shown(path)}: {what}: expected one layer, found {', '.join(names) or 'none'}; name it: "
                         f"{path.name}|layername=<layer>")
    layer = source.GetLayerByName(layer_name) if layer_name else source.GetLayer(0)
    if not layer.GetFeatureCount():
        raise InputError(f"{shown(path)}: {what}: expected features, found none; export it again, or leave it out")
    crs = layer.GetSpatialRef()
    if crs is None or crs.GetName().startswith("Undefined"):  # what a GeoPackage has for none
        raise InputError(f"{shown(path)}: {what}: CRS: expected one, found none; set it (ogr2ogr -a_srs EPSG:<code>; a "
                         "Shapefile needs its .prj file)")
    try:
        return gdal.VectorTranslate("", source, layers=[layer.GetName()], options=[
            "-f", "Memory", "-nln", "layer", "-t_srs", grid.crs, "-dim", "XY", "-makevalid", "-explodecollections"])
    except RuntimeError as error:
        raise InputError(f"{shown(path)}: {what}: expected features that transform to the CRS of the grid, found: "
                         f"{reason(error, path)}; check its CRS") from None


def burn(dataset: gdal.Dataset, grid: Grid, path: Path, attribute: str | None = None) -> gdal.Dataset:
    """Burns a vector onto the grid: 1 (uint8), or its whole-number attribute (int32), where a feature is; else 0."""
    target = create(path, grid, gdal.GDT_Int32 if attribute else gdal.GDT_Byte, None)
    options = [f"ATTRIBUTE={attribute}"] if attribute else []
    gdal.RasterizeLayer(target, [1], dataset.GetLayer(0), burn_values=[1], options=options)
    flush(target)
    return target


def borders(numbers: gdal.Dataset, grid: Grid, path: Path) -> gdal.Dataset:
    """Cells (uint8, 1) whose right or lower neighbour has another number, both numbers above 0."""
    target = create(path, grid, gdal.GDT_Byte, None)
    for row, rows in grid.windows():
        n = read(numbers, row, min(rows + 1, grid.rows - row))
        out = np.zeros((rows, grid.cols), np.uint8)
        down = (n[:-1] != n[1:]) & (n[:-1] > 0) & (n[1:] > 0)
        out[:len(down)] |= down[:rows]
        n = n[:rows]
        out[:, :-1] |= (n[:, :-1] != n[:, 1:]) & (n[:, :-1] > 0) & (n[:, 1:] > 0)
        target.GetRasterBand(1).WriteArray(out, 0, row)
    flush(target)
    return target


def distance_to(marks: gdal.Dataset, grid: Grid, path: Path, missing: str) -> None:
    """Distance (m) from every cell's centre to that of the nearest marked (1) cell. Raises InputError, with the line
    `missing`, where there is none."""
    if not any(read(marks, *window).any() for window in grid.windows()):
        raise InputError(missing)
    target = create(path, grid)
    gdal.ComputeProximity(marks.GetRasterBand(1), target.GetRasterBand(1), ["VALUES=1", "DISTUNITS=GEO"])
    flush(target)


def number_features(dataset: gdal.Dataset) -> str:
    """Numbers a vector's features from 1 up in a new field; its name."""
    layer = dataset.GetLayer(0)
    layer.CreateField(ogr.FieldDefn("number_", ogr.OFTInteger))
    layer.ResetReading()
    for number, feature in enumerate(layer, start=1):
        feature.SetField("number_", number)
        layer.SetFeature(feature)
    return "number_"


def is_areal(dataset: gdal.Dataset) -> bool:
    """Whether a vector's first feature is a polygon."""
    layer = dataset.GetLayer(0)
    layer.ResetReading()
    feature = layer.GetNextFeature()  # kept: GDAL frees a feature nobody holds, its geometry with it
    shape = feature.GetGeometryRef()
    return shape is not None and ogr.GT_Flatten(shape.GetGeometryType()) in (ogr.wkbPolygon, ogr.wkbMultiPolygon)


def number_classes(dataset: gdal.Dataset, field: str, constant: str, given: dict[str, int], where: str):
    """Codes the text or number in `field` of a polygon layer into a new field `code_`; returns code by class.

    field     "": the one text field, or the one field, that there is
    constant  that names the field, for the message
    given     codes of classes that keep them; new classes follow, in the order of the alphabet
    Raises InputError.
    """
    layer = dataset.GetLayer(0)
    fields = [layer.GetLayerDefn().GetFieldDefn(i) for i in range(layer.GetLayerDefn().GetFieldCount())]
    names = [f.GetName() for f in fields]
    texts = [f.GetName() for f in fields if f.GetType() == ogr.OFTString]
    expected = f"a field {field!r}" if field else "one field of classes"
    field = field or (texts[0] if len(texts) == 1 else names[0] if len(names) == 1 else "")
    if field not in names:
        raise InputError(f"{where}: expected {expected}, found {', '.join(names) or 'none'}; name the one that holds "
                         f"them: {constant}=<field>")
    values = sorted({str(f.GetField(field)) for f in layer if f.GetField(field) is not None})
    codes = {name: code for name, code in given.items() if name in values}
    following = max(given.values(), default=0)
    for value in values:
        if value not in codes:
            following += 1
            codes[value] = following
    if not codes or len(codes) > MAX_CLASSES:
        raise InputError(f"{where}: field {field}: expected 1 to {MAX_CLASSES} classes, found {len(codes)}; name "
                         "another field")
    layer.CreateField(ogr.FieldDefn("code_", ogr.OFTInteger))
    layer.ResetReading()
    for feature in layer:
        value = feature.GetField(field)
        feature.SetField("code_", codes[str(value)] if value is not None else 0)
        layer.SetFeature(feature)
    return codes


def stack_layers(layers: dict[str, Path], units: dict[str, str], grid: Grid, mask: Path, path: Path) -> None:
    """Writes float32 layers as the bands of one compressed, tiled GeoTIFF; nodata wherever the layer `mask` has it."""
    options = ["COMPRESS=DEFLATE", "PREDICTOR=3", "TILED=YES", "INTERLEAVE=BAND", "BIGTIFF=IF_SAFER", "ZLEVEL=1"]
    target = gdal.GetDriverByName("GTiff").Create(str(path), grid.cols, grid.rows, len(layers), gdal.GDT_Float32,
                                                  options)
    target.SetGeoTransform(grid.geotransform)
    target.SetProjection(grid.crs)
    for i, name in enumerate(layers, start=1):
        band = target.GetRasterBand(i)
        band.SetNoDataValue(NODATA)
        band.SetDescription(name)
        band.SetUnitType(units[name])
    masking = gdal.Open(str(mask))
    for i, layer in enumerate(layers.values(), start=1):  # band by band: the tiles of one fit the cache
        source = gdal.Open(str(layer))
        for row, rows in grid.windows():
            values = np.where(known(read(masking, row, rows)), read(source, row, rows), np.float32(NODATA))
            target.GetRasterBand(i).WriteArray(values, 0, row)
    del band, target  # closed before it gets its name


def values_at(dataset: gdal.Dataset, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Values (points, bands) float32 of a raster at cells, read in strips that hold any of them."""
    out = np.full((len(row), dataset.RasterCount), NODATA, np.float32)
    strip = max(1, WINDOW // dataset.RasterXSize // 256) * 256  # tiles are 256 high
    for number in np.unique(row // strip):
        here = row // strip == number
        first = int(number * strip)
        rows = min(strip, dataset.RasterYSize - first)
        for band in range(dataset.RasterCount):
            out[here, band] = read(dataset, first, rows, band + 1)[row[here] - first, col[here]]
    return out


def transform(xy: np.ndarray, epsg: int, grid: Grid, name: str) -> np.ndarray:
    """Points (points, 2) of another CRS in that of the grid; `name` of the constant that gave epsg, for the message."""
    source, target = _crs_of(epsg, name), osr.SpatialReference(wkt=grid.crs)
    for crs in (source, target):
        crs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    if source.IsSame(target):
        return xy
    done = osr.CoordinateTransformation(source, target).TransformPoints(xy.tolist())
    return np.array(done, np.float64).reshape(-1, 3)[:, :2]


def _crs_of(epsg: int, name: str) -> osr.SpatialReference:
    crs = osr.SpatialReference()
    try:
        crs.ImportFromEPSG(epsg)
    except RuntimeError:
        raise InputError(f"{name}={epsg}: expected the EPSG code of a CRS, found none of that number; look it up in "
                         "the file's metadata or at epsg.io") from None
    return crs


def _utm(dataset: gdal.Dataset) -> int:
    """The EPSG code of the UTM zone around a raster's centre."""
    a, b, c, d, e, f = dataset.GetGeoTransform()
    col, row = dataset.RasterXSize / 2, dataset.RasterYSize / 2
    source, target = dataset.GetSpatialRef().Clone(), _crs_of(4326, "EPSG")
    for crs in (source, target):
        crs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    x, y = a + col * b + row * c, d + col * e + row * f
    lon, lat, _ = osr.CoordinateTransformation(source, target).TransformPoint(x, y)
    return (32600 if lat >= 0 else 32700) + int((lon + 180) // 6) % 60 + 1


def _present(path: Path, what: str) -> None:
    if not path.is_file():
        raise InputError(f"{shown(path)}: {what}: missing; put it there, or name another file")
    if not path.stat().st_size:
        raise InputError(f"{shown(path)}: {what}: expected a file with content, found 0 bytes; copy or export it again")


def _sized(grid: Grid, path: Path) -> Grid:
    """The grid, where it has cells enough for a slope and no more than can be worked with. Raises InputError."""
    if min(grid.rows, grid.cols) < 3 or grid.rows * grid.cols > MAX_CELLS:
        raise InputError(f"{shown(path)}: DEM: expected a grid of 3 x 3 to {MAX_CELLS:,} cells, found {grid.rows} x "
                         f"{grid.cols} of {grid.cell:g} m; take another CELL, or another DEM")
    return grid


def extent(grid: Grid) -> str:
    """The corners of a grid, for messages."""
    west, south, east, north = grid.bounds
    return f"X {west:.0f} to {east:.0f}, Y {south:.0f} to {north:.0f}"
