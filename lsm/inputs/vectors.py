"""Vector layers in memory: numbered and burned onto a grid; polygons out of rasters; GeoPackages written.

Files that people bring are opened by lsm/sources/vector_files.py.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal, ogr, osr

from lsm.inputs.bands import NODATA, gaps_of
from lsm.inputs.layers import flush
from lsm.inputs.rasters import Grid, create_raster
from lsm.run.artifacts import artifact
from lsm.run.settings import counted

POLYGONS = (ogr.wkbPolygon, ogr.wkbMultiPolygon)
POINTS = (ogr.wkbPoint, ogr.wkbMultiPoint)


# using ---------------------------------------------------------------------------------------------------------

def geometry_type(feature: ogr.Feature) -> int | None:
    """A feature's type of geometry as ogr numbers types; None for an empty feature."""
    shape = feature.GetGeometryRef()
    return None if shape is None or shape.IsEmpty() else ogr.GT_Flatten(shape.GetGeometryType())


def is_areal(dataset: gdal.Dataset) -> bool:
    """Whether a vector has polygons."""
    layer = dataset.GetLayer(0)
    layer.ResetReading()
    return any(geometry_type(feature) in POLYGONS for feature in layer)


def fields_of(layer: ogr.Layer) -> dict[str, int]:
    """The fields of a layer: name and type, as ogr numbers types."""
    definition = layer.GetLayerDefn()
    return {f.GetName(): f.GetType() for f in map(definition.GetFieldDefn, range(definition.GetFieldCount()))}


def add_numbers(dataset: gdal.Dataset, number_of: dict[int, int]) -> str:
    """Gives a vector a new field of whole numbers; returns its name. number_of: the number by feature id."""
    layer = dataset.GetLayer(0)
    layer.CreateField(ogr.FieldDefn("number_", ogr.OFTInteger))
    for fid, number in number_of.items():
        feature = layer.GetFeature(fid)
        feature.SetField("number_", number)
        layer.SetFeature(feature)
    return "number_"


def number_features(dataset: gdal.Dataset) -> str:
    """Numbers a vector's features from 1 up in a new field; returns its name."""
    fids = [feature.GetFID() for feature in dataset.GetLayer(0)]
    return add_numbers(dataset, {fid: number for number, fid in enumerate(fids, start=1)})


def burn(dataset: gdal.Dataset, grid: Grid, path: Path, attribute: str | None = None,
         touched: bool = False) -> gdal.Dataset:
    """Burns a vector onto the grid: 1 (uint8), or its whole-number attribute (int32), where a feature is; else 0.

    touched  whether a polygon takes every cell that it touches, so that narrow ones have no gaps; else those whose
             centre lies inside
    """
    target = create_raster(path, grid, gdal.GDT_Int32 if attribute else gdal.GDT_Byte, None)
    options = [f"ATTRIBUTE={attribute}"] * bool(attribute) + ["ALL_TOUCHED=TRUE"] * touched
    gdal.RasterizeLayer(target, [1], dataset.GetLayer(0), burn_values=[1], options=options)
    flush(target)
    return target


def burn_numbers(dataset: gdal.Dataset, field: str, grid: Grid, path: Path, where: str, nodata: float | None
                 ) -> list[str]:
    """Burns the numbers of a vector's field onto the grid as a layer; features without a number, or with a number that
    marks a gap, make no cells. Returns lines on such numbers and on overlaps.

    nodata  a number that marks gaps, None: only the numbers that always do; where  the start of a line
    """
    layer = dataset.GetLayer(0)
    quoted = '"' + field.replace('"', r'\"') + '"'
    layer.SetAttributeFilter(f"{quoted} IS NOT NULL")
    values = np.array([feature.GetField(field) for feature in layer], np.float64)
    declared = np.isclose(values, np.nan if nodata is None else nodata, rtol=1e-6, atol=0)
    gaps, notes = gaps_of(np.where(declared, np.nan, values), where, what="feature")
    layer.SetAttributeFilter(" AND ".join([f"{quoted} IS NOT NULL", *(f"{quoted} <> {number!r}" for number in
                                                                      np.unique(values[gaps | declared]).tolist())]))
    target = create_raster(path, grid)
    target.GetRasterBand(1).Fill(NODATA)
    gdal.RasterizeLayer(target, [1], layer, options=[f"ATTRIBUTE={field}"])
    flush(target)
    return notes + overlaps(dataset, target, field, grid, path, where)


def overlaps(dataset: gdal.Dataset, burned: gdal.Dataset, attribute: str, grid: Grid, path: Path,
             where: str) -> list[str]:
    """A line on cells that lie in several polygons whose attribute differs, [] without such cells.

    burned  the layer of the attribute, of which the last polygon counts; path  of that layer, beside which others are
            made; where  the start of the line
    """
    added = []
    for name, options in (("number", []), ("sum", [f"ATTRIBUTE={attribute}"])):
        added.append(create_raster(path.with_suffix(f".{name}.tif"), grid, gdal.GDT_Float64, None))
        gdal.RasterizeLayer(added[-1], [1], dataset.GetLayer(0), burn_values=[1],
                            options=[*options, "MERGE_ALG=ADD"])
        added[-1].FlushCache()
    cells = 0
    for row, rows in grid.windows():
        number, total, value = (d.ReadAsArray(0, row, grid.cols, rows) for d in (*added, burned))
        cells += int(((number > 1) & (np.abs(total - number * value) > 1e-4 * np.abs(total))).sum())
    return [f"{where}: polygons overlap and differ in {counted(cells, 'cell')}; the last one in the file counts"
            ] * bool(cells)


# making ----------------------------------------------------------------------------------------------------------

def points(xy: np.ndarray) -> list[ogr.Geometry]:
    """Points of coordinates (points, 2)."""
    out = []
    for x, y in xy.tolist():
        point = ogr.Geometry(ogr.wkbPoint)
        point.AddPoint_2D(x, y)
        out.append(point)
    return out


def polygons(band: gdal.Band, mask: gdal.Band) -> list[tuple[int, ogr.Geometry]]:
    """The areas of equal numbers in a band where `mask` is not 0, each as (number, polygon)."""
    pieces = gdal.GetDriverByName("Memory").Create("", 0, 0, 0, gdal.GDT_Unknown)
    layer = pieces.CreateLayer("pieces", band.GetDataset().GetSpatialRef(), ogr.wkbPolygon)
    layer.CreateField(ogr.FieldDefn("number", ogr.OFTInteger))
    gdal.Polygonize(band, mask, layer, 0)
    return [(feature.GetField(0), feature.GetGeometryRef().Clone()) for feature in layer]


def write_layers(path: Path, crs: osr.SpatialReference, layers: dict[str, tuple[list, pd.DataFrame, str]],
                 made: tuple, date: str = "1970-01-01T00:00:00.000Z") -> None:
    """Writes a GeoPackage and its record; the same layers give the same bytes.

    layers  by name: geometries of one type, a table with as many rows (missing values become NULL), and the QGIS style
            that opens with the layer, "" for none
    made    stage, constants and inputs for the record
    date    of the last change that the file states; the clock's date would give another file at every run
    """
    before = gdal.GetConfigOption("OGR_CURRENT_DATE")
    gdal.SetConfigOption("OGR_CURRENT_DATE", date)
    try:
        with artifact(path, *made) as temporary:
            dataset = gdal.GetDriverByName("GPKG").Create(str(temporary), 0, 0, 0, gdal.GDT_Unknown)
            for name, (geometries, table, _) in layers.items():
                _add_layer(dataset, name, crs, geometries, table)
            # QGIS looks for styles in a table of this name.
            styles = pd.DataFrame([{"f_table_catalog": "", "f_table_schema": "", "f_table_name": name,
                                    "f_geometry_column": "geom", "styleName": name, "styleQML": style, "styleSLD": "",
                                    "useAsDefault": True, "description": "", "owner": "", "ui": "",
                                    "update_time": pd.Timestamp(0)}  # QGIS sorts by it
                                   for name, (_, _, style) in layers.items() if style])
            if len(styles):
                _add_layer(dataset, "layer_styles", None, None, styles)
            del dataset
    finally:
        gdal.SetConfigOption("OGR_CURRENT_DATE", before)


def _add_layer(dataset, name: str, crs, geometries: list[ogr.Geometry] | None, table: pd.DataFrame) -> None:
    shape = geometries[0].GetGeometryType() if geometries else ogr.wkbNone
    layer = dataset.CreateLayer(name, crs, shape, ["GEOMETRY_NAME=geom"] if geometries else ["FID=id"])
    for field, column in table.items():
        kind = column.dtype.kind
        definition = ogr.FieldDefn(str(field), {"i": ogr.OFTInteger, "b": ogr.OFTInteger, "f": ogr.OFTReal,
                                                 "M": ogr.OFTDateTime}.get(kind, ogr.OFTString))
        if kind == "b":
            definition.SetSubType(ogr.OFSTBoolean)
        layer.CreateField(definition)
    layer.StartTransaction()
    for i, values in enumerate(table.astype(object).itertuples(index=False)):
        feature = ogr.Feature(layer.GetLayerDefn())
        for j, value in enumerate(values):
            if not pd.isna(value):
                feature.SetField(j, value if isinstance(value, int | float) else str(value))
        if geometries:
            feature.SetGeometry(geometries[i])
        layer.CreateFeature(feature)
    layer.CommitTransaction()
