"""Times prepare_region.py on a large area, and measures its peak memory. Bar: 10,000 x 10,000 cells under 4 GiB.

The area is fractal terrain with a sea, a land-use raster, lithology polygons, an NDVI raster of coarser cells in
degrees, roads, faults, an inventory of 20,000 points and 200,000 InSAR points. The stage runs as a process of its own;
the operating system gives its peak (ru_maxrss), all libraries and GDAL's cache included.

Run     python benchmarks/prepare_region.py [cells a side, 10000] [NAME=value for prepare_region.py ...]
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal, ogr, osr

from lsm.run.paths import PROJECT

gdal.UseExceptions()
CELL, WEST, NORTH, EPSG = 30.0, 300000.0, 5000000.0, 32633


def surface(side: int, rng):
    """Rows of fractal terrain in m: (first row, (rows, cols) float32), a strip at a time."""
    octaves = [(k, rng.standard_normal((k + 2, k + 2)).astype(np.float32)) for k in (4, 16, 64, 256, 1024)]
    for first in range(0, side, 250):
        rows = np.arange(first, min(first + 250, side))
        strip = np.full((len(rows), side), 150, np.float32)
        for k, field in octaves:
            y, x = rows * k / side, np.arange(side) * k / side
            i, j = y.astype(int), x.astype(int)
            across = field[:, j] * (1 - (x - j)) + field[:, j + 1] * (x - j)
            strip += 1500 / k * (across[i] * (1 - (y - i))[:, None] + across[i + 1] * (y - i)[:, None])
        yield first, strip + 0.3 * rng.random(strip.shape, dtype=np.float32)


def crs_of(epsg: int) -> osr.SpatialReference:
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(epsg)
    crs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return crs


def raster(path: Path, side: int, cell: float, kind: int, nodata: float):
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), side, side, 1, kind, ["TILED=YES", "COMPRESS=DEFLATE"])
    dataset.SetGeoTransform((WEST, cell, 0, NORTH, 0, -cell))
    dataset.SetSpatialRef(crs_of(EPSG))
    dataset.GetRasterBand(1).SetNoDataValue(nodata)
    return dataset


def vector(path: Path, shapes: list[str], texts: list[str]) -> None:
    dataset = gdal.GetDriverByName("GPKG").Create(str(path), 0, 0, 0, gdal.GDT_Unknown)
    layer = dataset.CreateLayer(path.stem, crs_of(EPSG), ogr.wkbUnknown)
    layer.CreateField(ogr.FieldDefn("class", ogr.OFTString))
    layer.StartTransaction()
    for wkt, text in zip(shapes, texts, strict=True):
        feature = ogr.Feature(layer.GetLayerDefn())
        feature.SetGeometry(ogr.CreateGeometryFromWkt(wkt))
        feature.SetField("class", text)
        layer.CreateFeature(feature)
    layer.CommitTransaction()


def make_area(folder: Path, side: int) -> None:
    rng, extent = np.random.default_rng(1), side * CELL
    dem = raster(folder / "dem.tif", side, CELL, gdal.GDT_Float32, -9999)
    use = raster(folder / "land_use.tif", side, CELL, gdal.GDT_Byte, 0)
    dry = []
    for first, strip in surface(side, rng):
        dem.GetRasterBand(1).WriteArray(np.where(strip > 0, strip, -9999), 0, first)
        use.GetRasterBand(1).WriteArray((1 + (strip > 300) + (strip > 900)).astype(np.uint8), 0, first)
        row, col = np.nonzero(strip[::10, ::10] > 0)
        dry.append(np.column_stack([row * 10 + first, col * 10]))
    dry = np.concatenate(dry)
    dem = use = None
    small = side // 4
    ndvi = raster(folder / "fine.tif", small, 4 * CELL, gdal.GDT_Float32, -9999)
    ndvi.GetRasterBand(1).WriteArray(rng.uniform(0, 0.9, (small, small)).astype(np.float32))
    ndvi.FlushCache()
    gdal.Warp(str(folder / "ndvi.tif"), ndvi, dstSRS="EPSG:4326", dstNodata=-9999)
    (folder / "fine.tif").unlink()

    def lines(n: int) -> list[str]:
        paths = rng.uniform(0, extent, (n, 1, 2)) + rng.uniform(-extent / 20, extent / 20, (n, 20, 2)).cumsum(1)
        return [f"LINESTRING ({', '.join(f'{WEST + x:.1f} {NORTH - y:.1f}' for x, y in p)})" for p in paths]

    vector(folder / "roads.gpkg", lines(2000), ["road"] * 2000)
    vector(folder / "faults.gpkg", lines(200), ["fault"] * 200)
    edge, squares, rocks = extent / 20, [], []
    for i in range(400):
        w, n = WEST + i % 20 * edge, NORTH - i // 20 * edge
        squares.append(f"POLYGON (({w} {n}, {w + edge} {n}, {w + edge} {n - edge}, {w} {n - edge}, {w} {n}))")
        rocks.append(f"rock {i % 7}")
    vector(folder / "lithology.gpkg", squares, rocks)

    def points(n: int) -> pd.DataFrame:
        row, col = (dry[rng.choice(len(dry), n)] + rng.integers(0, 10, (n, 2))).clip(0, side - 1).T
        return pd.DataFrame({"X": WEST + (col + 0.5) * CELL, "Y": NORTH - (row + 0.5) * CELL})

    points(min(20_000, side * 2)).to_csv(folder / "inventory.csv", index=False)
    n = min(200_000, side * 20)
    points(n).assign(velocity=rng.normal(0, 3, n).round(2)).to_csv(folder / "insar.csv", index=False)


def main():
    given = sys.argv[1:]
    side = int(given.pop(0)) if given and given[0].isdigit() else 10_000
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "src_data" / "large" / "raw"
        raw.mkdir(parents=True)
        make_area(raw, side)
        start = time.perf_counter()
        subprocess.run([sys.executable, str(PROJECT / "prepare_region.py"), "REGION=large", *given], check=True,
                       cwd=PROJECT, env={**os.environ, "LSM_ROOT": folder})
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        size = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file() and raw not in p.parents) / 2**30
        print(f"{side} x {side} cells, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}: {seconds:.0f} s, peak "
              f"memory {peak:.2f} GiB, {size:.2f} GiB written")


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    main()
