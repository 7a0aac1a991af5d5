"""Rasters and styles that a GIS opens as they are: cloud-optimised GeoTIFFs, QGIS styles, outlines of blocks."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from osgeo import gdal, ogr

from lsm.inputs import rasters, vectors
from lsm.inputs.rasters import Grid, known_strips
from lsm.run.artifacts import whole, write_record
from lsm.run.paths import shown
from lsm.run.settings import InputError

gdal.UseExceptions()
ogr.UseExceptions()

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_QGIS = {"version": "3.22", "styleCategories": "Symbology"}  # the oldest QGIS these styles were opened in


# rasters ---------------------------------------------------------------------------------------------------------

def create(path: Path, like: gdal.Dataset, kind: int, nodata: float) -> gdal.Dataset:
    """A raster of one band on the grid of `like`, nodata in every cell; kind as GDAL numbers types."""
    dataset = rasters.create(path, Grid.of(like), kind, nodata, ("TILED=YES",))
    dataset.GetRasterBand(1).Fill(nodata)
    return dataset


def put(dataset: gdal.Dataset, row: np.ndarray, col: np.ndarray, values: np.ndarray) -> None:
    """Sets cells (cells,) of the first band; only the rows between the first and the last of them are in memory."""
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

    GDAL's own function writes a file beside the raster, and the raster may be an artifact of another stage.
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

    names, colours  of a raster of classes, as `rasters.name_classes` takes them. An overview's cell is the most
                    frequent of the classes it covers; of numbers it is the mean
    metadata        of the band, beside its description
    made            stage, constants and inputs for the record
    """
    copy = gdal.GetDriverByName("VRT").CreateCopy("", source)  # describes the source without touching it
    copy.SetMetadata({})
    band = copy.GetRasterBand(1)
    band.SetDescription(description)
    band.SetMetadata(metadata or {})
    if names:
        rasters.name_classes(band, names, colours)
    found = statistics(source)
    if found:
        band.SetStatistics(*found)
    options = ["COMPRESS=DEFLATE", f"PREDICTOR={'NO' if names else 'YES'}", "BIGTIFF=IF_SAFER",
               f"OVERVIEW_RESAMPLING={'MODE' if names else 'AVERAGE'}"]
    with (rasters.whole_with_names if names else whole)(path) as temporary:
        gdal.GetDriverByName("COG").CreateCopy(str(temporary), copy, options=options).FlushCache()
    write_record(path, *made)


# styles ----------------------------------------------------------------------------------------------------------

def palette_style(classes: list[tuple[int, str, str]]) -> str:
    """The QGIS style of a raster of classes: value, colour, label of each."""
    root, renderer = _raster_style({"type": "paletted"})
    entries = ElementTree.SubElement(renderer, "colorPalette")
    for value, colour, label in classes:
        ElementTree.SubElement(entries, "paletteEntry", value=str(value), color=colour, alpha="255", label=label)
    return _text(root)


def ramp_style(stops: list[tuple[float, str, str]], smooth: bool) -> str:
    """The QGIS style of a raster of numbers: value, colour, label of each stop, ascending.

    smooth  colours run from stop to stop; otherwise a stop's colour holds up to its value, the last one's may be inf
    """
    finite = [value for value, _, _ in stops if np.isfinite(value)]
    low, high = (finite[0] if smooth else 0.0), finite[-1]
    root, renderer = _raster_style({"type": "singlebandpseudocolor", "classificationMin": f"{low:.9g}",
                                    "classificationMax": f"{high:.9g}"})
    shader = ElementTree.SubElement(
        ElementTree.SubElement(renderer, "rastershader"), "colorrampshader", clip="0", classificationMode="1",
        colorRampType="INTERPOLATED" if smooth else "DISCRETE", minimumValue=f"{low:.9g}", maximumValue=f"{high:.9g}")
    for value, colour, label in stops:
        ElementTree.SubElement(shader, "item", value=f"{value:.9g}", color=colour, alpha="255", label=label)
    return _text(root)


def category_style(kind: str, field: str, categories: list[tuple[int, str, tuple[str, dict]]]) -> str:
    """The QGIS style of a vector layer by the values of a field.

    kind        "fill" or "marker"
    categories  value, label, and the symbol: QGIS's class of symbol layer ("SimpleFill") and its properties
    """
    root = ElementTree.Element("qgis", _QGIS)
    renderer = ElementTree.SubElement(root, "renderer-v2", type="categorizedSymbol", attr=field, symbollevels="0",
                                      forceraster="0", enableorderby="0")
    listed, symbols = (ElementTree.SubElement(renderer, tag) for tag in ("categories", "symbols"))
    for i, (value, label, (layer, properties)) in enumerate(categories):
        ElementTree.SubElement(listed, "category", value=str(value), label=label, symbol=str(i), render="true",
                               type="long")
        symbol = ElementTree.SubElement(symbols, "symbol", type=kind, name=str(i), alpha="1", clip_to_extent="1",
                                        force_rhr="0")
        drawn = ElementTree.SubElement(symbol, "layer", {"class": layer, "enabled": "1", "locked": "0", "pass": "0"})
        options = ElementTree.SubElement(drawn, "Option", type="Map")
        for name, text in properties.items():
            ElementTree.SubElement(options, "Option", type="QString", name=name, value=text)
            ElementTree.SubElement(drawn, "prop", k=name, v=text)  # as QGIS before 3.20 reads it
    return _text(root)


def write_style(raster: Path, style: str) -> None:
    """Writes a style beside its raster, under the same name, where QGIS looks for it."""
    with whole(raster.with_suffix(".qml")) as temporary:
        temporary.write_text(style, encoding="utf-8")


def _raster_style(attributes: dict[str, str]) -> tuple[ElementTree.Element, ElementTree.Element]:
    root = ElementTree.Element("qgis", _QGIS)
    renderer = ElementTree.SubElement(ElementTree.SubElement(root, "pipe"), "rasterrenderer", attributes,
                                      band="1", opacity="1", alphaBand="-1", nodataColor="")
    return root, renderer


def _text(root: ElementTree.Element) -> str:
    ElementTree.indent(root, " ")
    return _DOCTYPE + ElementTree.tostring(root, encoding="unicode") + "\n"


# outlines --------------------------------------------------------------------------------------------------------

def block_polygons(path: Path, count: int) -> list[ogr.Geometry]:
    """The outline of every block, one multipolygon each (empty for a block without a cell), from the block raster.

    Raises InputError where the raster holds another number of blocks.
    """
    dataset = gdal.Open(str(path))
    band = dataset.GetRasterBand(1)
    blocks = [ogr.Geometry(ogr.wkbMultiPolygon) for _ in range(count)]
    for block, outline in vectors.polygons(band, band.GetMaskBand()):
        if block >= count:
            raise InputError(f"{shown(path)}: expected blocks 0 to {count - 1}, found {block}; run scene_sampling.py "
                             "again")
        if block >= 0:
            blocks[block].AddGeometry(outline)
    return [ogr.ForceToMultiPolygon(block.UnionCascaded()) if block.GetGeometryCount() else block for block in blocks]
