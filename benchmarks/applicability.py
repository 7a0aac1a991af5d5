"""The distance from cells to the nearest sample, as applicability needs it: lsm/maps/nearest.py against scipy's
cKDTree, one core, processor time, medians of five turns about. The region's samples and grid must be there (make map).

Run     python benchmarks/applicability.py [region, default demo] [cells, default 4000]
"""

import sys
import time

import numpy as np
from scipy.spatial import cKDTree
from threadpoolctl import threadpool_limits

from lsm.inputs import grid_cells
from lsm.learner.encoder import Encoder
from lsm.maps.nearest import Nearest
from lsm.maps.trust import scales
from lsm.run import settings
from lsm.run.artifacts import read_npz
from lsm.run.paths import Paths


def main():
    region = sys.argv[1] if len(sys.argv) > 1 else "demo"
    paths, c = Paths(region), settings.of_stage("export_gis.py", REGION=region)
    samples = read_npz(paths.tasks, "scene_sampling.py", c)
    encoder = Encoder.from_json(str(read_npz(paths.models, "predict_LSM.py", c)["encoder"]))
    x = encoder.transform(samples["factors"])
    scale = scales(encoder, x, np.ones(len(encoder.factors)))
    factors, _ = next(grid_cells.chunks(grid_cells.grid_of(paths), c.factors,
                                        int(sys.argv[2]) if len(sys.argv) > 2 else 4000))
    cells = encoder.transform(factors) * scale
    with threadpool_limits(1, "blas"):
        tree = cKDTree(x * scale)
        ways = {"nearest.py": Nearest(x * scale).distance, "cKDTree": lambda v: tree.query(v)[0]}
        found, spent = {name: way(cells) for name, way in ways.items()}, {name: [] for name in ways}
        for _ in range(5):
            for name, way in ways.items():
                start = time.process_time()
                way(cells)
                spent[name].append((time.process_time() - start) / len(cells) * 1e6)
    off = np.abs(found["nearest.py"] - found["cKDTree"]).max()
    print(f"{len(x):,} samples with {x.shape[1]} inputs, {len(cells):,} cells; largest difference {off:.1e}")
    for name, each in spent.items():
        print(f"{name:12}{np.median(each):8.1f} us a cell ({min(each):.1f} to {max(each):.1f})")
    ratio = np.array(spent["cKDTree"]) / spent["nearest.py"]
    print(f"{np.median(ratio):.1f} times as fast ({ratio.min():.1f} to {ratio.max():.1f})")


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    main()
