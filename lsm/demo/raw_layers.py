"""The area in the form in which people have theirs: a DEM, and layers behind the factors."""

from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from osgeo import gdal, ogr

from lsm.inputs import vectors
from lsm.inputs.bands import NODATA
from lsm.inputs.crs import crs_of
from lsm.inputs.rasters import Grid, centres, write_band
from lsm.run.artifacts import write_csv

_DATE = "2000-01-01T00:00:00.000Z"
_ROCKS = ("alluvium", "granite", "tuff")  # lithology 1 to 3, in alphabetical order


class RawConstants(Protocol):
    """The grid, and how InSAR measured, as make_demo.py explains them."""

    CELL: float
    EPSG: int
    HEADING: float
    INCIDENCE: float
    NOISE: float


def write_raw(folder: Path, factors: dict, land: np.ndarray, lines: dict, inventory: pd.DataFrame, table: pd.DataFrame,
              rng: np.random.Generator, grid: Grid, c: RawConstants, made: tuple) -> list[Path]:
    """Writes the files that prepare_region.py takes; returns their paths.

    factors, land, lines  as `island.make_factors` returns them
    inventory, table      points with X, Y, label; one row a land cell with X, Y, DV
    made                  stage, constants and inputs for the records
    """
    def path(name: str) -> Path:
        paths.append(folder / name)
        return paths[-1]

    paths = []
    for name, values, nodata, kind in (("dem", factors["DEM"], NODATA, np.float32),
                                       ("land_use", factors["land use"], 0, np.uint8),
                                       ("ndvi", factors["NDVI"] / 10_000, NODATA, np.float32)):
        write_band(path(f"{name}.tif"), np.where(land, values, nodata).astype(kind), grid, nodata, "", *made,
                   ("COMPRESS=DEFLATE",))
    layers = {
        "lithology": ("rock", *areas_of(np.where(land, factors["lithology"], 0), lambda n: _ROCKS[n - 1], grid)),
        "catchments": ("number", *areas_of(lines["catchments"], str, grid)),
        "inventory": ("kind", vectors.points(inventory.loc[inventory["label"] == 1, ["X", "Y"]].to_numpy()),
                      "landslide")}
    layers |= {name: ("name", lines_through(lines[name], grid.geotransform), "")
               for name in ("roads", "rivers", "faults")}
    for name, (field, shapes, texts) in layers.items():
        of_shapes = pd.DataFrame({field: texts}, index=range(len(shapes)))
        vectors.write_layers(path(f"{name}.gpkg"), crs_of(c.EPSG), {name: (shapes, of_shapes, "")}, made, _DATE)
    measured = table.loc[table["DV"] != 0, ["X", "Y", "DV"]].rename(columns={"DV": "velocity"})
    measured[["X", "Y"]] += (c.CELL * rng.uniform(-0.49, 0.49, (len(measured), 2))).round(2)
    write_csv(path("stable.csv"), inventory.loc[inventory["label"] == 0, ["X", "Y"]], *made)
    write_csv(path("insar.csv"), measured.assign(heading=c.HEADING, incidence=c.INCIDENCE, velocity_error=c.NOISE),
              *made)
    return paths


def areas_of(numbers: np.ndarray, name_of, grid: Grid) -> tuple[list[ogr.Geometry], list[str]]:
    """Areas of equal number (rows, cols) above 0 as polygons, and the name of each: name_of(number)."""
    memory = gdal.GetDriverByName("MEM").Create("", grid.cols, grid.rows, 1, gdal.GDT_Int32)
    memory.SetGeoTransform(grid.geotransform)
    memory.GetRasterBand(1).WriteArray(numbers.astype(np.int32))
    found = vectors.polygons(memory.GetRasterBand(1), memory.GetRasterBand(1))
    return [shape for _, shape in found], [name_of(number) for number, _ in found]


def lines_through(mask: np.ndarray, geotransform) -> list[ogr.Geometry]:
    """The cells of a mask (rows, cols) as lines from centre to centre of neighbours; a cell alone is a short line."""
    padded, parts = np.pad(mask, 1), []
    joined = np.zeros(mask.shape, bool)
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        other = padded[1 + down:1 + down + mask.shape[0], 1 + right:1 + right + mask.shape[1]]
        row, col = np.nonzero(mask & other)
        joined[row, col] = joined[row + down, col + right] = True
        parts.append(np.column_stack([*centres(geotransform, row, col),
                                      *centres(geotransform, row + down, col + right)]))
    row, col = np.nonzero(mask & ~joined)
    parts.append(np.column_stack([*centres(geotransform, row, col - 0.1), *centres(geotransform, row, col + 0.1)]))
    return [ogr.CreateGeometryFromWkt(f"LINESTRING ({a:.1f} {b:.1f}, {x:.1f} {y:.1f})")
            for a, b, x, y in np.concatenate(parts)]
