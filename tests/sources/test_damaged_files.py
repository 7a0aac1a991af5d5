"""Rasters and vectors with damaged bytes: refused in one line, or read as what they still are; no traceback, no hang.

`make fuzz` damages 10,000 copies of each file; FUZZ=<number> another number. A case is its number: the same every time.
"""

import os

import numpy as np
import pytest
from osgeo import gdal, ogr
from reader_outcome import outcome
from small_region import PLACE, crs_of, write_raster, write_vector

from lsm.inputs.bands import HEIGHTS
from lsm.inputs.rasters import Grid, read_composite
from lsm.sources.plain_rasters import write_plain
from lsm.sources.raster_files import open_raster_file
from lsm.sources.vector_files import open_vector

CASES = int(os.environ.get("FUZZ", "25"))  # of each file
ROWS, COLS = 12, 16
GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())
FOUND = {"dem.tif": (915, 947), "deflated.tif": (310, 619), "dem.asc": (261,), "rock.gpkg": (282,),
         "rock.geojson": (1007,)}  # cases that once ended in a traceback or were taken for whole
SQUARES = [f"POLYGON ((500030 2499970, 5000{90 + i} 2499970, 5000{90 + i} 2499850, 500030 2499850, 500030 2499970))"
           for i in range(4)]


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, lost, doubled or put in, mostly near the beginning, where the headers are."""
    for _ in range(rng.integers(1, 4)):
        end = len(data) if rng.random() < 0.5 else min(len(data), 600)
        at, long = int(rng.integers(0, max(end, 1))), int(rng.integers(1, 9))
        what = rng.integers(0, 6)
        if what == 0:
            data = data[:at]
        elif what == 1:
            data = data[:at] + data[at + long:]
        elif what == 2:
            data = data[:at] + data[at:at + 10 * long] + data[at:]
        elif what == 3:
            data = data[:at] + rng.bytes(long) + data[at:]
        elif what == 4:
            data = data[:at] + bytes([rng.choice([0, 255, 127, 128])] * long) + data[at + long:]
        else:
            data = data[:at] + rng.bytes(long) + data[at + long:]
    return data


def heights() -> np.ndarray:
    row, col = np.mgrid[:ROWS, :COLS]
    return (200 + 2.0 * col + 3.0 * row).astype(np.float32)


def write_file(path) -> None:
    if path.suffix in (".tif", ".asc"):
        plain = path.with_name("plain.tif")
        write_raster(plain, heights(), bands=4 if path.stem == "composite" else 1)
        if path.stem == "composite":
            dataset = gdal.Open(str(plain), gdal.GA_Update)
            for band, value in ((2, 90.0), (3, 0.5), (4, 20.0)):
                dataset.GetRasterBand(band).Fill(value)
            del dataset
        options = ["COMPRESS=DEFLATE", "TILED=YES", "BLOCKXSIZE=16", "BLOCKYSIZE=16"] * (path.stem == "deflated")
        gdal.Translate(str(path), str(plain), format="AAIGrid" if path.suffix == ".asc" else "GTiff",
                       creationOptions=options)
    else:
        driver = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".kml": "KML"}[path.suffix]
        shapes = SQUARES if driver != "KML" else [shape.replace("5000", "117.000").replace("2499", "22.6") for shape in
                                                  SQUARES]  # degrees
        write_vector(path, shapes, {"rock": ["a", "b", "ä", ""]}, driver=driver, shape_type=ogr.wkbPolygon,
                     epsg=4326 if driver == "KML" else 32650)


def read_as_raster(path) -> None:
    """Opens a raster as prepare_region.py does its DEM, and says what must hold of what it accepts."""
    raster = open_raster_file(str(path), "DEM", [], "")
    values = write_plain(raster, path.with_name("out.tif"), []).ReadAsArray()
    known = values[values != -9999]
    assert np.isfinite(known).all()
    assert known.min() >= HEIGHTS[0]
    assert known.max() <= HEIGHTS[1]
    assert np.isfinite(raster.grid.geotransform).all()
    assert np.linalg.det(np.reshape(raster.grid.geotransform, (2, 3))[:, 1:]) != 0


def read_as_composite(path) -> None:
    raster = read_composite(path)
    assert np.isfinite(raster.geotransform).all()
    assert np.isfinite(raster.bands[:, raster.valid]).all()
    assert (raster.bands[3][raster.valid] <= 90).all()


def read_as_vector(path) -> None:
    dataset = open_vector(str(path), "LITHOLOGY", GRID, [])
    for feature in dataset.GetLayer(0):
        shape = feature.GetGeometryRef()
        assert not shape.IsEmpty()
        assert np.isfinite(shape.GetEnvelope()).all()


READERS = {"dem.tif": read_as_raster, "deflated.tif": read_as_raster, "dem.asc": read_as_raster,
           "composite.tif": read_as_composite, "rock.gpkg": read_as_vector, "rock.geojson": read_as_vector,
           "rock.kml": read_as_vector}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numpy and GDAL, on numbers as large as damage makes them
@pytest.mark.parametrize("name", READERS)
def test_damaged(tmp_path, name):
    write_file(tmp_path / name)
    whole, found = (tmp_path / name).read_bytes(), []
    READERS[name](tmp_path / name)
    for case in sorted({*range(CASES), *FOUND.get(name, ())}):
        path = tmp_path / str(case) / name
        path.parent.mkdir()
        path.write_bytes(damaged(whole, np.random.default_rng(case)))
        if name == "dem.asc":
            (path.parent / "dem.prj").write_bytes((tmp_path / "dem.prj").read_bytes())
        try:
            outcome(lambda path=path: READERS[name](path))
        except Exception as error:
            found.append(f"case {case}: {type(error).__name__}: {error}")
        for file in path.parent.iterdir():
            file.unlink()
    assert found == []
