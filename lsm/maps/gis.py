"""Files for a GIS: cloud-optimised GeoTIFFs, and the layers of a GeoPackage."""

import contextlib
from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal, ogr, osr

from lsm.inputs.rasters import known_strips
from lsm.run.artifacts import whole, write_record
from lsm.run.paths import shown
from lsm.run.settings import InputError

gdal.UseExceptions()
ogr.UseExceptions()
osr.UseExceptions()


# rasters ---------------------------------------------------------------------------------------------------------

def create(path: Path, like: gdal.Dataset, kind: int, nodata: float) -> gdal.Dataset:
    """Creates a raster of one band on the grid of `like`, every cell nodata. kind  GDAL's number of the data type."""
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), like.RasterXSize, like.RasterYSize, 1, kind,
                                                   ["TILED=YES", "BIGTIFF=IF_SAFER"])
    dataset.SetGeoTransform(like.GetGeoTransform())
    dataset.SetSpatialRef(like.GetSpatialRef())
    band = dataset.GetRasterBand(1)
    band.SetNoDataValue(nodata)
    band.Fill(nodata)
    return dataset


def put(dataset: gdal.Dataset, row: np.ndarray, col: np.ndarray, values: np.ndarray) -> None:
    """Writes values (cells,) into the first band; only rows from the first to the last of the cells are in memory."""
    if len(row):
        first, band = int(row.min()), dataset.GetRasterBand(1)
        window = band.ReadAsArray(0, first, dataset.RasterXSize, int(row.max()) - first + 1)
        window[row - first, col] = values
        band.WriteArray(window, 0, first)


def take(dataset: gdal.Dataset, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """The values of cells (cells,) of the first band."""
    first = int(row.min())
    window = dataset.GetRasterBand(1).ReadAsArray(0, first, dataset.RasterXSize, int(row.max()) - first + 1)
    return window[row - first, col]


def statistics(dataset: gdal.Dataset) -> tuple[float, float, float, float] | None:
    """Least, largest, mean and standard deviation of the first band's known values; None where there are none.

    GDAL's own function would write them to a file beside the raster, and another stage owns that raster.
    """
    moments, low, high = np.zeros(3), np.inf, -np.inf
    for values in known_strips(dataset):
        v = values.astype(np.float64)
        moments += [len(v), v.sum(), (v * v).sum()]
        low, high = min(low, v.min(initial=np.inf)), max(high, v.max(initial=-np.inf))
    if not moments[0]:
        return None
    mean = moments[1] / moments[0]
    return float(low), float(high), float(mean), float(np.sqrt(max(moments[2] / moments[0] - mean**2, 0)))


def write_cog(path: Path, source: gdal.Dataset, description: str, made: tuple, names: list[str] | None = None,
              colours: list[str] | None = None, metadata: dict[str, str] | None = None) -> None:
    """Writes the first band of a raster as a cloud-optimised GeoTIFF with its statistics, overviews and record.

    names, colours  for a raster of classes: the names of classes 0 (nodata), 1, ...; the colours "#rrggbb" of classes
                    1, 2, ... GDAL keeps the names in <path>.aux.xml. Its overviews take the most frequent class,
                    overviews of numbers take the mean
    metadata        what the band says beside its description
    made            stage, constants and inputs for the record
    """
    copy = gdal.GetDriverByName("VRT").CreateCopy("", source)  # describes the source without touching it
    copy.SetMetadata({})
    band = copy.GetRasterBand(1)
    band.SetDescription(description)
    band.SetMetadata(metadata or {})
    if names:
        palette = gdal.ColorTable()
        for i, colour in enumerate(colours, start=1):
            palette.SetColorEntry(i, (*bytes.fromhex(colour[1:]), 255))
        band.SetColorTable(palette)
        band.SetCategoryNames(names)
    found = statistics(source)
    if found:
        band.SetStatistics(*found)
    options = ["COMPRESS=DEFLATE", f"PREDICTOR={'NO' if names else 'YES'}", "BIGTIFF=IF_SAFER",
               f"OVERVIEW_RESAMPLING={'MODE' if names else 'AVERAGE'}"]
    with contextlib.ExitStack() as stack:
        if names:  # GDAL writes them to this file's temporary name
            stack.enter_context(whole(path.with_name(f"{path.name}.aux.xml")))
        temporary = stack.enter_context(whole(path))
        gdal.GetDriverByName("COG").CreateCopy(str(temporary), copy, options=options).FlushCache()
    write_record(path, *made)


# layers ----------------------------------------------------------------------------------------------------------

def block_polygons(path: Path, count: int) -> list[ogr.Geometry]:
    """One multipolygon a block, from the block raster; empty for a block without a cell.

    Raises InputError where the raster holds more than `count` blocks.
    """
    dataset = gdal.Open(str(path))
    band = dataset.GetRasterBand(1)
    pieces = gdal.GetDriverByName("Memory").Create("", 0, 0, 0, gdal.GDT_Unknown)
    layer = pieces.CreateLayer("pieces", dataset.GetSpatialRef(), ogr.wkbPolygon)
    layer.CreateField(ogr.FieldDefn("block", ogr.OFTInteger))
    gdal.Polygonize(band, band.GetMaskBand(), layer, 0)
    blocks = [ogr.Geometry(ogr.wkbMultiPolygon) for _ in range(count)]
    for feature in layer:
        block = feature.GetField(0)
        if block >= count:
            raise InputError(f"{shown(path)}: expected blocks 0 to {count - 1}, found {block}; run scene_sampling.py "
                             "again")
        if block >= 0:
            blocks[block].AddGeometry(feature.GetGeometryRef())
    return [ogr.ForceToMultiPolygon(block.UnionCascaded()) if block.GetGeometryCount() else block for block in blocks]


def points(xy: np.ndarray) -> list[ogr.Geometry]:
    """Points of coordinates (points, 2)."""
    out = []
    for x, y in xy.tolist():
        point = ogr.Geometry(ogr.wkbPoint)
        point.AddPoint_2D(x, y)
        out.append(point)
    return out


def write_layers(path: Path, crs: osr.SpatialReference, layers: dict[str, tuple[list, pd.DataFrame, str]],
                 made: tuple) -> None:
    """Writes a GeoPackage and its record; the same layers give the same bytes.

    layers  by name: geometries of one type, a table with a row a geometry (missing values become NULL), and the QGIS
            style of the layer
    """
    before = gdal.GetConfigOption("OGR_CURRENT_DATE")
    gdal.SetConfigOption("OGR_CURRENT_DATE", "1970-01-01T00:00:00.000Z")  # else every run writes another file
    try:
        with whole(path) as temporary:
            dataset = gdal.GetDriverByName("GPKG").Create(str(temporary), 0, 0, 0, gdal.GDT_Unknown)
            for name, (geometries, table, _) in layers.items():
                _add_layer(dataset, name, crs, geometries, table)
            # QGIS looks for styles in a table of this name.
            styles = pd.DataFrame([{"f_table_catalog": "", "f_table_schema": "", "f_table_name": name,
                                    "f_geometry_column": "geom", "styleName": name, "styleQML": style, "styleSLD": "",
                                    "useAsDefault": True, "description": "", "owner": "", "ui": "",
                                    "update_time": pd.Timestamp(0)}  # QGIS sorts by it
                                   for name, (_, _, style) in layers.items()])
            _add_layer(dataset, "layer_styles", None, None, styles)
            del dataset
    finally:
        gdal.SetConfigOption("OGR_CURRENT_DATE", before)
    write_record(path, *made)


def _add_layer(dataset, name: str, crs, geometries: list[ogr.Geometry] | None, table: pd.DataFrame) -> None:
    shape = geometries[0].GetGeometryType() if geometries else ogr.wkbNone
    layer = dataset.CreateLayer(name, crs, shape, ["GEOMETRY_NAME=geom"] if geometries else ["FID=id"])
    columns = []
    for field, column in table.items():
        kind = column.dtype.kind
        definition = ogr.FieldDefn(str(field), {"i": ogr.OFTInteger, "b": ogr.OFTInteger, "f": ogr.OFTReal,
                                                 "M": ogr.OFTDateTime}.get(kind, ogr.OFTString))
        if kind == "b":
            definition.SetSubType(ogr.OFSTBoolean)
        layer.CreateField(definition)
        missing = column.isna()
        plain = {"i": int, "b": int, "f": float}.get(kind, str)
        columns.append([None if gone else plain(v) for v, gone in zip(column, missing, strict=True)])
    layer.StartTransaction()
    for i, values in enumerate(zip(*columns, strict=True)):
        feature = ogr.Feature(layer.GetLayerDefn())
        for j, value in enumerate(values):
            if value is not None:
                feature.SetField(j, value)
        if geometries:
            feature.SetGeometry(geometries[i])
        layer.CreateFeature(feature)
    layer.CommitTransaction()
