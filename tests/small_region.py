"""A small area as a person has it, for the tests of prepare_region.py and what it is made of."""

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
from osgeo import gdal, ogr, osr

from lsm.run.settings import constants

gdal.UseExceptions()
ogr.UseExceptions()
osr.UseExceptions()

EPSG, ROWS, COLS, CELL, WEST, NORTH = 32650, 60, 80, 30.0, 500000.0, 2500000.0
PLACE = (WEST, CELL, 0.0, NORTH, 0.0, -CELL)
NODATA = -9999.0


def obeyed(command: str, folder: Path) -> None:
    """Runs a command that a message names, as a person does in the folder of the files."""
    python = shlex.quote(sys.executable)
    subprocess.run(command.replace("python", python, 1), shell=True, check=True, cwd=folder)


def heights() -> np.ndarray:
    """Hills over a slope to the east, m (rows, cols)."""
    row, col = np.mgrid[:ROWS, :COLS]
    return (200 + 2.0 * col + 40 * np.sin(row / 7) * np.cos(col / 9)).astype(np.float32)


def crs_of(epsg: int) -> osr.SpatialReference:
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(epsg)
    crs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return crs


def write_raster(path: Path, values: np.ndarray, nodata: float | None = NODATA, epsg: int | None = EPSG,
                 kind: int = gdal.GDT_Float32, place: tuple | None = PLACE, bands: int = 1) -> None:
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), values.shape[1], values.shape[0], bands, kind)
    if place:
        dataset.SetGeoTransform(place)
    if epsg:
        dataset.SetSpatialRef(crs_of(epsg))
    for i in range(1, bands + 1):
        if nodata is not None:
            dataset.GetRasterBand(i).SetNoDataValue(nodata)
        dataset.GetRasterBand(i).WriteArray(values)
    dataset.FlushCache()


def write_vector(path: Path, shapes: list[str], fields: dict[str, list] | None = None, epsg: int | None = EPSG,
                 driver: str = "GPKG", layers: tuple[str, ...] = ("features",), shape_type=ogr.wkbUnknown) -> None:
    """Geometries (WKT) with text fields, in each of the layers."""
    dataset = gdal.GetDriverByName(driver).Create(str(path), 0, 0, 0, gdal.GDT_Unknown)
    for name in layers:
        layer = dataset.CreateLayer(name, crs_of(epsg) if epsg else None, shape_type)
        for field in fields or {}:
            layer.CreateField(ogr.FieldDefn(field, ogr.OFTString))
        for i, wkt in enumerate(shapes):
            feature = ogr.Feature(layer.GetLayerDefn())
            feature.SetGeometry(ogr.CreateGeometryFromWkt(wkt))
            for field, values in (fields or {}).items():
                feature.SetField(field, values[i])
            layer.CreateFeature(feature)
    del feature, layer, dataset


def write_layer(path, table, epsg=EPSG, kind=ogr.wkbPoint, layers=("points",)):
    """A table of points as a GeoPackage: x, y as geometry in `epsg`, the other columns as fields."""
    dataset = gdal.GetDriverByName("GPKG").Create(str(path), 0, 0, 0, gdal.GDT_Unknown)
    crs = osr.SpatialReference() if epsg else None
    if epsg:
        crs.ImportFromEPSG(epsg)
    for name in layers:
        layer = dataset.CreateLayer(name, crs, kind)
        fields = [c for c in table.columns if c not in ("x", "y")]
        for field in fields:
            layer.CreateField(ogr.FieldDefn(field, ogr.OFTReal))
        for row in table.to_dict("records"):
            feature = ogr.Feature(layer.GetLayerDefn())
            for field in fields:
                feature.SetField(field, float(row[field]))
            if kind == ogr.wkbPoint:
                feature.SetGeometry(ogr.CreateGeometryFromWkt(f"POINT ({row['x']} {row['y']})"))
            layer.CreateFeature(feature)
        del layer
    dataset.FlushCache()
    return path


def square(row: int, col: int, rows: int, cols: int) -> str:
    """The polygon around cells, as WKT."""
    west, north = WEST + col * CELL, NORTH - row * CELL
    east, south = west + cols * CELL, north - rows * CELL
    return f"POLYGON (({west} {north}, {east} {north}, {east} {south}, {west} {south}, {west} {north}))"


def landslides() -> np.ndarray:
    """X, Y of 120 points on 120 cells, (points, 2)."""
    cell = np.random.default_rng(3).choice(ROWS * COLS, 120, replace=False)
    return np.column_stack([WEST + (cell % COLS + 0.4) * CELL, NORTH - (cell // COLS + 0.6) * CELL])


def write_points(path: Path, xy: np.ndarray, header: str = "X,Y", encoding: str = "utf-8") -> None:
    lines = [header, *(f"{x:.2f},{y:.2f}" for x, y in xy)]
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))


def write_area(folder: Path) -> None:
    """DEM, inventory, NDVI, lithology, roads."""
    folder.mkdir(parents=True)
    write_raster(folder / "dem.tif", heights())
    write_points(folder / "inventory.csv", landslides())
    write_raster(folder / "ndvi.tif", np.linspace(-0.1, 0.8, ROWS * COLS).reshape(ROWS, COLS))
    write_vector(folder / "lithology.gpkg", [square(0, 0, ROWS, 40), square(0, 40, ROWS, 40)],
                 {"rock": ["tuff", "granite"]})
    x = WEST + 20.5 * CELL
    write_vector(folder / "roads.gpkg", [f"LINESTRING ({x} {NORTH}, {x} {NORTH - ROWS * CELL})"])


def prepare(stage, *settings: str) -> None:
    """Runs prepare_region.py on the region "own" in this process."""
    stage.main(constants(stage.Constants, ["REGION=own", *settings]))
