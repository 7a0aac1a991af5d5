"""Vector layers: opened and checked, numbered and burned onto a grid; polygons out of rasters; GeoPackages written."""

from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal, ogr, osr

from lsm.inputs.layers import flush
from lsm.inputs.rasters import Grid, create, reason
from lsm.run.artifacts import artifact
from lsm.run.paths import shown
from lsm.run.settings import InputError

gdal.UseExceptions()
ogr.UseExceptions()

MAX_CLASSES = 100  # a layer with more different values holds no classes
POLYGONS = (ogr.wkbPolygon, ogr.wkbMultiPolygon)


# reading ---------------------------------------------------------------------------------------------------------

def check_file(path: Path, what: str) -> None:
    """Raises InputError where a file that a person gives is missing or empty. `what` it is, for the message."""
    if not path.is_file():
        raise InputError(f"{shown(path)}: {what}: missing; put it there, or name another file")
    if not path.stat().st_size:
        raise InputError(f"{shown(path)}: {what}: expected a file with content, found 0 bytes; copy or export it again")


def open_vector(name: str | Path, what: str, grid: Grid) -> gdal.Dataset:
    """Reads one layer of a vector file into memory, in the CRS of the grid: heights dropped, features of several parts
    taken apart, invalid ones repaired.

    name  a file, or "file|layername=roads" where the file has several layers
    what  it is, for the message. Raises InputError.
    """
    text, _, layer_name = str(name).partition("|layername=")
    path = Path(text)
    check_file(path, what)
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
    if crs is None or crs.GetName().startswith("Undefined"):  # the name of a GeoPackage's missing CRS
        raise InputError(f"{shown(path)}: {what}: CRS: expected one, found none; set it (ogr2ogr -a_srs EPSG:<code>; a "
                         "Shapefile needs its .prj file)")
    try:
        return gdal.VectorTranslate("", source, layers=[layer.GetName()], options=[
            "-f", "Memory", "-nln", "layer", "-t_srs", grid.crs, "-dim", "XY", "-makevalid", "-explodecollections"])
    except RuntimeError as error:
        raise InputError(f"{shown(path)}: {what}: expected features that transform to the CRS of the grid, found: "
                         f"{reason(error, path)}; check its CRS") from None


def kind_of(feature: ogr.Feature) -> int | None:
    """A feature's type of geometry as ogr numbers types; None for an empty feature."""
    shape = feature.GetGeometryRef()
    return None if shape is None or shape.IsEmpty() else ogr.GT_Flatten(shape.GetGeometryType())


def is_areal(dataset: gdal.Dataset) -> bool:
    """Whether a vector's first feature is a polygon."""
    layer = dataset.GetLayer(0)
    layer.ResetReading()
    return kind_of(layer.GetNextFeature()) in POLYGONS


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


def number_classes(dataset: gdal.Dataset, field: str, constant: str, given: dict[str, int],
                   where: str) -> tuple[dict[str, int], str]:
    """Codes the text or number in `field` of a polygon layer into a new field, 0 for none.

    field     "": the only text field, or the only field
    constant  that names the field, for the message
    given     codes by class; these classes keep their codes, new ones follow in alphabetical order
    where     the start of a message. Returns code by class, and the name of the new field. Raises InputError.
    """
    layer = dataset.GetLayer(0)
    fields = fields_of(layer)
    names, texts = list(fields), [name for name, kind in fields.items() if kind == ogr.OFTString]
    expected = f"a field {field!r}" if field else "one field of classes"
    field = field or (texts[0] if len(texts) == 1 else names[0] if len(names) == 1 else "")
    if field not in names:
        raise InputError(f"{where}: expected {expected}, found {', '.join(names) or 'none'}; name the one that holds "
                         f"them: {constant}=<field>")
    class_of = {f.GetFID(): f.GetField(field) for f in layer}
    values = sorted({str(value) for value in class_of.values() if value is not None})
    codes = {name: code for name, code in given.items() if name in values}
    new = [value for value in values if value not in codes]
    codes |= {value: code for code, value in enumerate(new, start=1 + max(given.values(), default=0))}
    if not codes or len(codes) > MAX_CLASSES:
        raise InputError(f"{where}: field {field}: expected 1 to {MAX_CLASSES} classes, found {len(codes)}; name "
                         "another field")
    return codes, add_numbers(dataset, {fid: codes.get(str(value), 0) if value is not None else 0
                                        for fid, value in class_of.items()})


def burn(dataset: gdal.Dataset, grid: Grid, path: Path, attribute: str | None = None) -> gdal.Dataset:
    """Burns a vector onto the grid: 1 (uint8), or its whole-number attribute (int32), where a feature is; else 0."""
    target = create(path, grid, gdal.GDT_Int32 if attribute else gdal.GDT_Byte, None)
    options = [f"ATTRIBUTE={attribute}"] if attribute else []
    gdal.RasterizeLayer(target, [1], dataset.GetLayer(0), burn_values=[1], options=options)
    flush(target)
    return target


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
