"""Times lsm/blocks/slic.py against the same algorithm cell by cell in plain Python and against scikit-image's slic.

All in one run, in turn, medians of several turns; only ratios carry over to another machine. The plain form runs all
loops, once in Python's own floats, its fastest, and once in float32, when it must agree with ours exactly; ours is
timed before and after. It visits valid cells only, so the ratio grows with their share. Bar: 200 times.
The first call, which compiles or loads what an earlier run compiled, is timed apart.
scikit-image's slic is another algorithm in detail (no weights, no aspect that wraps): called with as many segments and
loops, the bands standardised, connectivity not enforced. Ours on the valid cells stands beside its masked call, ours
on all cells beside its call without a mask. Part of its masked time is k-means for its seeds. Bar: never slower.
The small raster is Hong Kong's composite.tif where the folder LSM_HK_DATA has it, else synthetic, as the large one is.

Run     python benchmarks/slic.py [large]
"""

import os
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.segmentation import slic as skimage_slic

sys.path.insert(0, str(Path(__file__).resolve().parent))
import reference_slic

from lsm.blocks import slic
from lsm.inputs.rasters import read_composite
from lsm.run.paths import PROJECT

K, M, LOOPS, WEIGHTS = 512, 500, 5, (0.3, 0.1, 0.2, 0.4)
SMALL, LARGE = (594, 788), (3000, 4000)
HONG_KONG = Path(os.environ.get("LSM_HK_DATA", PROJECT.parent / "shared" / "hk"))


def synthetic(rows: int, cols: int) -> tuple[np.ndarray, np.ndarray]:
    """Smoothed noise as a DEM of 75 m cells, its slope, aspect and curvature; what lies low is sea (a third)."""
    rng = np.random.default_rng(1)
    dem = gaussian_filter(rng.standard_normal((rows, cols), dtype=np.float32), 12)
    dem *= 150 / dem.std()
    north, east = np.gradient(dem, 75)
    slope = np.rad2deg(np.arctan(np.hypot(north, east)))
    aspect = np.rad2deg(np.arctan2(-east, north)) % 360
    curvature = np.gradient(north, axis=0) + np.gradient(east, axis=1)
    return np.stack([dem, aspect, curvature, slope]).astype(np.float32), dem > np.quantile(dem, 1 / 3)


def timed(function) -> tuple[float, object]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def compare(name: str, bands: np.ndarray, valid: np.ndarray, turns: int) -> None:
    """Prints the seconds of ours and of scikit-image's, and their ratios turn by turn."""
    filled = np.where(valid, bands, bands[:, valid].mean(axis=1)[:, None, None])
    image = np.moveaxis(filled, 0, -1)
    image = np.ascontiguousarray((image - image.mean(axis=(0, 1))) / image.std(axis=(0, 1)))
    options = {"n_segments": K, "max_num_iter": LOOPS, "compactness": 1, "sigma": 0, "convert2lab": False,
               "enforce_connectivity": False, "channel_axis": -1}
    everywhere = np.ones_like(valid)
    pairs = {"valid cells": (lambda: slic.slic(bands, valid, WEIGHTS, M, K, LOOPS),
                             lambda: skimage_slic(image, mask=valid, **options)),
             "all cells": (lambda: slic.slic(filled, everywhere, WEIGHTS, M, K, LOOPS),
                           lambda: skimage_slic(image, **options))}
    print(f"\n{name}: {valid.shape[1]} x {valid.shape[0]} cells, {valid.sum()} valid; K={K}, M={M}, {LOOPS} loops; "
          f"{turns} turns")
    for what, (ours, theirs) in pairs.items():
        seconds = np.array([(timed(ours)[0], timed(theirs)[0]) for _ in range(turns)])  # (turns, 2)
        ratio = seconds[:, 1] / seconds[:, 0]
        (mine, other), (low, high) = np.median(seconds, axis=0), (ratio.min(), ratio.max())
        print(f"  {what:12} ours {mine:.3f} s, scikit-image {other:.3f} s = {np.median(ratio):.2f} times ours "
              f"({low:.2f} .. {high:.2f})")


def against_plain_python(name: str, bands: np.ndarray, valid: np.ndarray, turns: int) -> None:
    """Prints the ratio of plain Python, all loops, to ours, and the share of cells on which the two agree."""
    print(f"\n{name}: {valid.shape[1]} x {valid.shape[0]} cells, {valid.sum()} valid; plain Python, {LOOPS} loops")

    def ours():
        return [timed(lambda: slic.slic(bands, valid, WEIGHTS, M, K, LOOPS)) for _ in range(turns)]

    for number, what in ((float, "Python's floats"), (np.float32, "float32")):
        before = ours()
        plain, (expected, _) = timed(lambda n=number: reference_slic.slic(bands, valid, WEIGHTS, M, K, LOOPS, n))
        seconds = [s for s, _ in before + ours()]
        same = (before[0][1][0] == expected)[valid].mean()
        print(f"  {what:16}{plain:6.2f} s, ours {statistics.median(seconds):.3f} s: "
              f"{plain / statistics.median(seconds):.0f} "
              f"times ours ({plain / max(seconds):.0f} .. {plain / min(seconds):.0f}); "
              f"{same:.4%} of the cells in the same block")


def main():
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; ours and plain Python use one core")
    tiny = np.ones((4, 20, 20), np.float32)
    first, _ = timed(lambda: slic.slic(tiny, tiny[0] > 0, WEIGHTS, M, 4, LOOPS))
    print(f"first call, on 20 x 20 cells: {first:.2f} s")
    path = HONG_KONG / "composite.tif"
    name = "Hong Kong" if path.is_file() else "synthetic"
    if path.is_file():
        raster = read_composite(path)
        bands, valid = raster.bands, raster.valid
    else:
        bands, valid = synthetic(*SMALL)
    against_plain_python(name, bands, valid, 7)
    compare(name, bands, valid, 7)
    if name != "synthetic":
        bands, valid = synthetic(*SMALL)
        against_plain_python("synthetic", bands, valid, 7)
        compare("synthetic", bands, valid, 7)
    if "large" in sys.argv[1:]:
        bands, valid = synthetic(*LARGE)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds, _ = timed(lambda: slic.slic(bands, valid, WEIGHTS, M, K, LOOPS))
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"\nlarge: {seconds:.2f} s; peak memory {after / 2**20:.2f} GiB ({before / 2**20:.2f} before the call)")
        compare("synthetic", bands, valid, 3)


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    main()
