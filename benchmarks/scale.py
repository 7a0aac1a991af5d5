"""What a region costs by its size: wall time, processor time and peak memory of predict_LSM.py on 1, 10 and 100 million
cells, all factors, all members; the share of time of each step against its bound; and the same of scene_sampling.py.

The region is the demo's island on finer cells: values between the demo's cells are interpolated. Blocks grow with it,
their number stays. The sea, a third of the raster, is not counted. Stages run as processes of their own; the operating
system gives their peak (VmHWM), libraries and GDAL's cache included. Meta-training is cut short: what the
networks learned does not change what they cost. 100 million cells take 4 GB of disk. A second call keeps the demo's
models in the folder.

Steps are timed in this process, on parts of the grid and one core. Blocks as large as here have few cells at their
borders, whose further predictions are not among the steps. Bounds: a copy of the values in memory (reading,
encoding), the same multiply-adds in a product of large matrices (network), uncompressed values at the disk's bandwidth
(writing).

Writes  <folder>/scale.csv, scale_steps.csv, scale.png and scale_sampling.csv
Run     python benchmarks/scale.py [folder, default tmp/scale] [cells of the demo cut into n x n, default 4 11 36]
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from osgeo import gdal
from scipy.ndimage import distance_transform_edt
from threadpoolctl import threadpool_limits

from lsm.blocks.borders import Borders, around_in, blocks_around
from lsm.blocks.grid_parts import parts_of
from lsm.inputs import grid_cells
from lsm.inputs.bands import NODATA
from lsm.inputs.rasters import TERRAIN, Grid, create_raster, locate, read_composite, write_windows
from lsm.learner.encoder import Encoder
from lsm.learner.prediction import networks_of_arrays, probability_of_tile, rows_in_tiles, weights_of_members
from lsm.run import settings
from lsm.run.artifacts import artifact, read_npz
from lsm.run.paths import PROJECT, Paths

REGION = "demo"
MADE = ("COMPRESS=DEFLATE", "PREDICTOR=3", "TILED=YES", "INTERLEAVE=BAND", "ZLEVEL=1", "NUM_THREADS=ALL_CPUS")


def stage(script: str, *arguments: str) -> tuple[float, float, float, np.ndarray]:
    """Runs a stage on the region; wall seconds, processor seconds, peak memory (GiB), and memory ten times a second
    (samples, 2): all of it, and without what the kernel keeps of files.

    The peak is VmHWM, not ru_maxrss, which starts at the memory of this process.
    """
    start, held, peak, status = time.perf_counter(), [], 0, None
    process = subprocess.Popen([sys.executable, str(PROJECT / script), f"REGION={REGION}", *arguments], cwd=PROJECT,
                               stdout=subprocess.DEVNULL)
    while not status or not status[0]:
        found = dict(re.findall(r"(\w+):\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text()))
        if found:  # not of a process that has ended
            held.append((int(found["VmRSS"]), int(found["RssAnon"])))
            peak = int(found["VmHWM"])
        time.sleep(0.1)
        status = os.wait4(process.pid, os.WNOHANG)
    _, status, used = status
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{script}: exit code {process.returncode}")
    return time.perf_counter() - start, used.ru_utime + used.ru_stime, peak / 2**20, np.array(held) / 2**20


def measured(script: str, held: list[np.ndarray]) -> dict:
    """What a stage costs, for a table; adds its memory in the course of the run to `held`."""
    load = os.getloadavg()[0]
    wall, processor, peak, memory = stage(script)
    held.append(memory)
    tenth = len(memory) / 10
    return {"wall s": wall, "processor s": processor, "peak GiB": peak,
            **{f"{name} at {when}": value for when, part in (("half", slice(int(4 * tenth), int(6 * tenth) + 1)),
                                                             ("the end", slice(int(9 * tenth), None)))
               for name, value in zip(("GiB", "of them no file's"), np.median(memory[part], axis=0), strict=True)},
            "load before": load}


def size(path: Path) -> float:
    return path.stat().st_size / 1e9


class Island:
    """The demo's cells: factors (factors, rows, cols), filled under the sea, and blocks (rows, cols)."""

    def __init__(self, folder: Path, c):
        raster, self.factors = read_composite(folder / "composite.tif"), c.factors
        shape, self.crs, self.place = raster.valid.shape, raster.crs, raster.geotransform
        values, xy = (np.concatenate(part) for part in zip(*grid_cells.chunks(folder / "grid.csv", c.factors, 1 << 20),
                                                           strict=True))
        row, col, _ = locate(self.place, shape, xy)
        self.values = np.zeros((len(c.factors), *shape), np.float32)
        self.values[:, row, col] = values.T
        near = distance_transform_edt(~raster.valid, return_distances=False, return_indices=True)
        self.values = self.values[:, *near]
        self.blocks = gdal.Open(str(folder / "blocks.tif")).ReadAsArray()

    def band(self, j: int, row: np.ndarray, col: np.ndarray) -> np.ndarray:
        """Factor j (rows, cols) at places (rows,) and (cols,) in cells of the demo, NODATA under the sea."""
        v, whole = self.values[j], (np.floor(row).astype(int), np.floor(col).astype(int))
        if self.factors[j].kind in ("categorical", "circular"):
            out = v[np.ix_(*whole)]
        else:
            (i, k), rest = zip(*(between(at, n) for at, n in zip((row, col), v.shape, strict=True)), strict=True)
            across = v[:, k] * (1 - rest[1]) + v[:, k + 1] * rest[1]
            out = across[i] * (1 - rest[0][:, None]) + across[i + 1] * rest[0][:, None]
        return np.where(self.blocks[np.ix_(*whole)] >= 0, out, np.float32(NODATA))

    def grid(self, times: int) -> Grid:
        """The demo's grid on cells `times` times smaller."""
        rows, cols = (n * times for n in self.blocks.shape)
        west, width, _, north, _, height = self.place
        return Grid(rows, cols, (west, width / times, 0, north, 0, height / times), self.crs)

    def fill(self, dataset, grid: Grid, times: int, factors) -> None:
        """Fills the bands of a raster on the grid with factors by number."""
        for top, left, r, k in grid.tiles(1 << 20):
            place = (np.arange(top, top + r) + 0.5) / times, (np.arange(left, left + k) + 0.5) / times
            for number, j in enumerate(factors, start=1):
                dataset.GetRasterBand(number).WriteArray(self.band(j, *place), left, top)
            dataset.FlushCache()

    def write(self, paths: Paths, c, times: int) -> int:
        """Writes blocks and stack on cells `times` times smaller; returns the number of cells with values."""
        grid = self.grid(times)
        names = [factor.name for factor in self.factors]
        self.fill(create_raster(paths.factor_stack, grid, options=MADE, names=names), grid, times, range(len(names)))
        with artifact(paths.blocks, "scene_sampling.py", c, [paths.samples]) as temporary:
            options = ("COMPRESS=DEFLATE", "PREDICTOR=2", "TILED=YES")
            dataset = create_raster(temporary, grid, gdal.GDT_Int32, -1, options)
            for top, left, r, k in grid.tiles(1 << 20):
                where = np.ix_(np.arange(top, top + r) // times, np.arange(left, left + k) // times)
                dataset.GetRasterBand(1).WriteArray(self.blocks[where], left, top)
            dataset.FlushCache()
            del dataset
        return int((self.blocks >= 0).sum()) * times**2


    def write_terrain(self, paths: Paths, c, times: int) -> int:
        """Writes composite.tif on cells `times` times smaller; returns the number of cells with values."""
        number = {factor.name: j for j, factor in enumerate(self.factors)}
        grid = self.grid(times)
        with artifact(paths.composite, "src_data/make_demo.py", c, []) as temporary:
            dataset = create_raster(temporary, grid, options=MADE, names=TERRAIN)
            self.fill(dataset, grid, times, [number[n] for n in TERRAIN])
        return int((self.blocks >= 0).sum()) * times**2


def between(at: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The cell before each place `at`, counted from the middle of the first of n cells, and how far behind it."""
    at = np.clip(at - 0.5, 0, n - 1.001)
    return at.astype(int), (at % 1).astype(np.float32)


def steps(paths: Paths, c, folder: Path) -> pd.DataFrame:
    """Nanoseconds a cell of each step on one core, medians of seven parts, and its bound."""
    models, tasks = read_npz(paths.models, "predict_LSM.py", c), read_npz(paths.tasks, "scene_sampling.py", c)
    encoder, networks = Encoder.from_json(str(models["encoder"])), networks_of_arrays(models)
    labels, of_tile = gdal.Open(str(paths.blocks)), probability_of_tile(networks)
    read = parts_of(paths.factor_stack, c.factors, 500_000, labels,
                    np.column_stack([tasks["centre_row"], tasks["centre_col"]]))
    found, clock = [], time.thread_time
    with threadpool_limits(1, "blas"):
        at = [clock()]
        for part in read:
            at.append(clock())
            if len(part.block) < 0.9 * part.window[2] * part.window[3]:  # sea
                at = [clock()]
                continue
            inner = part.row - part.window[0], part.col - part.window[1]
            Borders.of(np.where(part.outside, -1, part.block), around_in(blocks_around(labels, part.window), *inner))
            at.append(clock())
            tiles = list(rows_in_tiles(part.block, len(models["state"])))
            at.append(clock())
            x = [encoder.transform(part.factors[rows], part.xy[rows]) for _, rows in tiles]
            at.append(clock())
            p = np.empty(len(part.block), np.float32)
            for (b, rows), some in zip(tiles, x, strict=True):
                p[rows] = of_tile(b, some)
            at.append(clock())
            values = part.on_window(p)[2]
            write_windows(folder / "part.tif", [(0, 0, values)], Grid(*values.shape, labels.GetGeoTransform(),
                                                                      labels.GetProjection()), "")
            at.append(clock())
            found.append(np.diff(at) / len(p) * 1e9)
            at = [clock()]
            if len(found) == 7:
                break
    a = np.random.default_rng(1).standard_normal((2000, 2000)).astype(np.float32)
    with threadpool_limits(1, "blas"):
        product = min(timed(lambda: a @ a, clock) for _ in range(5)) / 2000**3  # s of one multiply-add
    block = bytes(1 << 28)
    file = folder / "bytes"
    write = timed(lambda: (file.write_bytes(block), os.sync()), time.perf_counter) / len(block)
    copy = min(timed(lambda: a.copy(), clock) for _ in range(9)) / (2 * a.nbytes)
    adds = sum(w[0, 0].size for weights in networks.values() for w in weights if w.ndim == 4) * len(
        list(weights_of_members(networks))) / len(networks)
    for name in ("bytes", "part.tif"):
        (folder / name).unlink()
    inputs = 4 * len(c.factors)
    bound = [inputs * copy, np.nan, np.nan, (inputs + 4 * x[0].shape[1]) * copy, adds * product, 4 * write]
    table = pd.DataFrame({"ns": np.median(found, axis=0), "bound": np.array(bound) * 1e9},
                         index=["reading", "finding borders", "sorting by block", "encoding", "network", "writing"])
    table.insert(1, "share", table["ns"] / table["ns"].sum())
    return table.assign(of_bound=table["bound"] / table["ns"]).rename_axis("step")


def timed(function, clock) -> float:
    start = clock()
    function()
    return clock() - start


def draw(table: pd.DataFrame, held: list[np.ndarray], path: Path) -> None:
    """Time and memory against cells, and memory in the course of each run."""
    fig, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
    for name, colour in (("wall s", "#0072b2"), ("processor s", "#d55e00")):
        axes[0].plot(table["cells"], table[name], "o-", color=colour, label=name.replace(" s", " time"))
    axes[0].set(xscale="log", yscale="log", xlabel="cells", ylabel="seconds")
    axes[0].legend(frameon=False)
    axes[1].plot(table["cells"], table["peak GiB"], "o-", color="#009e73")
    axes[1].set(xscale="log", ylim=(0, None), xlabel="cells", ylabel="peak memory, GiB")
    for cells, memory, colour in zip(table["cells"], held, ("#56b4e9", "#e69f00", "#009e73"), strict=False):
        axes[2].plot(np.linspace(0, 1, len(memory)), memory[:, 0], color=colour,
                     label=f"{cells / 1e6:.1f} million cells")
    axes[2].set(ylim=(0, None), xlabel="share of the run", ylabel="memory, GiB")
    axes[2].legend(frameon=False)
    fig.savefig(path, dpi=200)


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT / "tmp" / "scale"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["LSM_ROOT"] = str(folder.resolve())
    paths, c = Paths(REGION), settings.of_stage("scene_sampling.py", REGION=REGION)
    coarse = folder / "coarse"
    if not coarse.is_dir():
        for script, *arguments in (("src_data/make_demo.py",), ("unsupervised_pretraining/DAS_pretraining.py",),
                                   ("scene_sampling.py",),
                                   ("meta_learner.py", "LOCAL_ITERATIONS=20", "REGIONAL_ITERATIONS=20")):
            stage(script, *arguments)
        coarse.mkdir()
        for path, name in ((paths.composite, "composite.tif"), (paths.grid, "grid.csv"), (paths.blocks, "blocks.tif")):
            path.rename(coarse / name)
    island, rows, held, several = Island(coarse, c), [], [], [int(n) for n in sys.argv[2:] or (4, 11, 36)]
    for times in several:
        cells = island.write(paths, c, times)
        rows.append({"cells": cells, **measured("predict_LSM.py", held), "stack GB": size(paths.factor_stack),
                     "map GB": size(paths.map_raster)})
        print(pd.DataFrame(rows[-1:]).to_string(index=False), flush=True)
    table, of_steps = pd.DataFrame(rows), steps(paths, c, folder)
    print(f"{os.cpu_count()} cores\n{table.round(2).to_string(index=False)}\n\n{of_steps.round(2).to_string()}")
    table.round(3).to_csv(folder / "scale.csv", index=False)
    of_steps.round(3).to_csv(folder / "scale_steps.csv")
    draw(table, held, folder / "scale.png")
    rows, samples = [], paths.samples
    os.environ["LSM_ROOT"] = str((folder / "sampling").resolve())  # its tasks no longer belong to the models
    paths.samples.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(samples, paths.samples)
    for times in several:
        rows.append({"cells": island.write_terrain(paths, c, times), **measured("scene_sampling.py", held),
                     "terrain GB": size(paths.composite)})
        print(pd.DataFrame(rows[-1:]).to_string(index=False), flush=True)
        pd.DataFrame(rows).round(3).to_csv(folder / "scale_sampling.csv", index=False)


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    main()
