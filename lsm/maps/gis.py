"""Files for a GIS: cloud-optimised GeoTIFFs, and the layers of a GeoPackage."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from osgeo import gdal, ogr

from lsm.inputs import vectors
from lsm.inputs.rasters import Grid, create_raster, fill_raster, known_strips
from lsm.run.artifacts import artifact, discard, wrote
from lsm.run.paths import Paths, names_of_classes, shown
from lsm.run.settings import InputError
from lsm.run.writing import whole

# What FORECAST=True of meta_learner.py made of a map (lsm/learner/support/dates.py)
LEFT_OUT, AS_WITHOUT = "X, Y and adaptation left out", "made as without it"


def create_like(path: Path, like: gdal.Dataset, kind: int, nodata: float) -> gdal.Dataset:
    """A raster of one band on the grid of `like`, nodata in every cell; kind as GDAL numbers types."""
    dataset = create_raster(path, Grid.of(like), kind, nodata, ("TILED=YES",))
    dataset.GetRasterBand(1).Fill(nodata)
    return dataset


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

    names, colours  of a raster of classes, as `name_classes` takes them. An overview's cell is the most
                    frequent of the classes it covers; of numbers it is the mean
    metadata        of the band, beside its description
    made            stage, constants, inputs and, where there are some, optional files for the record
    """
    copy = gdal.GetDriverByName("VRT").CreateCopy("", source)  # describes the source without touching it
    copy.SetMetadata({})
    band = copy.GetRasterBand(1)
    band.SetDescription(description)
    band.SetMetadata(metadata or {})
    if names:
        name_classes(band, names, colours)
    found = statistics(source)
    if found:
        band.SetStatistics(*found)
    options = ["COMPRESS=DEFLATE", f"PREDICTOR={'NO' if names else 'YES'}", "BIGTIFF=IF_SAFER",
               f"OVERVIEW_RESAMPLING={'MODE' if names else 'AVERAGE'}"]
    with (artifact_with_names if names else artifact)(path, *made) as temporary:
        gdal.GetDriverByName("COG").CreateCopy(str(temporary), copy, options=options).FlushCache()


def forecast(places: bool) -> dict[str, str]:
    """The metadata of a map made with FORECAST=True of meta_learner.py; places: whether places count for it."""
    return {"FORECAST": AS_WITHOUT if places else LEFT_OUT}


def forecast_of(dataset: gdal.Dataset) -> str:
    """What FORECAST=True made of a map: LEFT_OUT or AS_WITHOUT; "" of a map made without."""
    return dataset.GetRasterBand(1).GetMetadataItem("FORECAST") or ""


def remove_product(paths: Paths, product: str, stage: str) -> None:
    """Removes a raster of an earlier run of `stage`, with all that lies beside it, and says so; a file that somebody
    changed since stays. product: one of paths.PRODUCTS."""
    path = paths.gis_raster(product)
    there = path.is_file()
    if there and not wrote(path, (stage,)):
        print(f"{shown(path)}: of an earlier run, not of this map; remove it")
        return
    discard(path)
    for file in paths.beside_gis_raster(product):
        file.unlink(missing_ok=True)
    if there:
        print(f"{shown(path)}: of an earlier run, not of this map; removed")


# classes with names ----------------------------------------------------------------------------------------------


def write_classes(path: Path, windows: Iterable[tuple[int, int, np.ndarray]], grid: Grid, description: str,
                  names: list[str], colours: list[str], made: tuple) -> None:
    """Writes classes uint8, 0 = nodata, as a compressed GeoTIFF with names and colours, and its record.

    windows         as `rasters.write_windows` takes them
    names, colours  as `name_classes` takes them; made  stage, constants and inputs for the record
    """
    with artifact_with_names(path, *made) as temporary:
        options = ("COMPRESS=DEFLATE", "TILED=YES")
        dataset = create_raster(temporary, grid, gdal.GDT_Byte, 0, options, [description])
        name_classes(dataset.GetRasterBand(1), names, colours)
        fill_raster(dataset, windows)
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
    """`artifact` for a raster whose classes have names: GDAL keeps these beside the raster."""
    with whole(names_of_classes(path)), artifact(path, *made) as temporary:
        yield temporary


# outlines --------------------------------------------------------------------------------------------------------


def block_polygons(path: Path, count: int) -> list[ogr.Geometry]:
    """One multipolygon a block, from the block raster; empty for a block without a cell.

    Raises InputError where the raster holds more than `count` blocks.
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
