"""What a region costs by its blocks and samples: processor time and peak memory of adapting all members to all blocks,
on a made region; and of reading the networks of the blocks of one window from the file of all models.

Blocks are squares of 1 km side by side, samples lie in them at random, their factors are random numbers, and the
networks are not trained: none of this changes what adapting costs. Constants are as in meta_learner.py. Each row of
the table is a process of its own; its peak (ru_maxrss) holds libraries and samples. What the kernel keeps of files, it
can take back. A row with other steps of adaptation than the stage's (1000:100:1) tells the memory, which steps do not
change, of sizes that take too long; the figure's times leave it out.

Reads   <folder>/scale.csv, where benchmarks/scale.py wrote it, for the figure
Writes  <folder>/scale_blocks.csv and scale_blocks.png
Run     python benchmarks/scale_blocks.py [folder, default tmp/scale] [blocks:samples a block, or
        blocks:samples a block:steps; default 1000:100 10000:100 100000:100 1000:1000 1000:10000]
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from lsm.learner.members import Training
from lsm.learner.prediction import arrays_of_networks, networks_of_arrays
from lsm.learner.tasks import EncodedSamples
from lsm.run import settings
from lsm.run.artifacts import mapped, write_npz
from lsm.run.paths import PROJECT

SIDE = 1000.0      # m, of a block
INPUTS = 26        # encoded factors
PLACES = 20        # of a block, looked at for the nearest samples
OF_A_WINDOW = 500  # blocks
ASKED = ("1000:100", "10000:100", "100000:100", "1000:1000", "1000:10000")


def made(blocks: int, of_each: int) -> tuple[EncodedSamples, list[np.ndarray]]:
    """Samples of square blocks, and places in each block."""
    rng, side = np.random.default_rng(0), int(np.ceil(np.sqrt(blocks)))
    corner = np.column_stack(np.divmod(np.arange(blocks), side)) * SIDE
    block = np.repeat(np.arange(blocks, dtype=np.int32), of_each)
    xy = corner[block] + rng.uniform(0, SIDE, (len(block), 2))
    x = rng.standard_normal((len(block), INPUTS + 2), np.float32)
    label = (x[:, 0] + rng.standard_normal(len(block), np.float32) > 0).astype(np.int32)
    places = list(corner[:, None] + rng.uniform(0, SIDE, (blocks, PLACES, 2)))
    return EncodedSamples(x, label, xy, block, np.ones(len(block), np.float32)), places


def one(folder: Path, blocks: int, of_each: int, *steps: int) -> dict:
    """Adapts one made region in this process, in so many steps or in as many as the stage takes: a row of the table."""
    from lsm.learner.adaptation import models_of_blocks, pooled_members

    c = settings.of_stage("meta_learner.py", REGION="demo", **dict(zip(["ADAPT_STEPS"], steps, strict=False)))
    hidden = settings.of_stage("unsupervised_pretraining/DAS_pretraining.py", REGION="demo").HIDDEN
    samples, places = made(blocks, of_each)
    training = Training.start(INPUTS, hidden, None, c, len(samples.label), np.random.default_rng(1))
    pooled, known = pooled_members(training, samples.x[:10_000]), np.ones(len(samples.label), bool)
    start, wall = time.process_time(), time.perf_counter()
    networks, state, *_ = models_of_blocks(training, pooled, samples, known, places, np.random.default_rng(2),
                                          folder=folder, threads=0)
    adapting, wall = time.process_time() - start, time.perf_counter() - wall
    start = time.process_time()
    files = {name: Path(array.filename) for name, array in arrays_of_networks(networks).items()}
    write_npz(folder / "models.npz", files | {"state": state}, "scale_blocks.py", c, [])
    writing, start = time.process_time() - start, time.process_time()
    found = networks_of_arrays(mapped(folder / "models.npz"))
    window = [w[:, :OF_A_WINDOW].copy() for weights in found.values() for w in weights]
    return {"blocks": blocks, "samples": len(known), "steps": c.ADAPT_STEPS, "adapting s": adapting, "wall s": wall,
            "writing s": writing, "ms of a window": 1e3 * (time.process_time() - start),
            "window MB": sum(w.nbytes for w in window) / 1e6, "models GB": (folder / "models.npz").stat().st_size / 1e9,
            "samples GB": sum(a.nbytes for a in vars(samples).values()) / 1e9,
            "peak GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def draw(table: pd.DataFrame, cells: pd.DataFrame | None, path: Path) -> None:
    """Time and memory against cells, where these were measured; against blocks at equal samples a block; and against
    samples at equal blocks. Each line has the first row of the table."""
    blocks, each = table["blocks"], table["samples"] // table["blocks"]
    lines = [("blocks", f"adaptation, {each[0]:,} samples a block", table[each == each[0]]),
             ("samples", f"adaptation, {blocks[0]:,} blocks", table[blocks == blocks[0]])]
    if cells is not None:
        lines.insert(0, ("cells", "the map", cells.assign(steps=table["steps"][0])))
    fig, axes = plt.subplots(2, len(lines), figsize=(3.2 * len(lines), 5), layout="constrained", sharex="col",
                             sharey="row")
    for (x, title, rows), (time_axis, memory_axis) in zip(lines, axes.T, strict=True):
        rows = rows.sort_values(x)
        timed, seconds = rows[rows["steps"] == table["steps"][0]], "processor s" if x == "cells" else "adapting s"
        time_axis.plot(timed[x], timed[seconds], "o-", color="#d55e00")
        time_axis.set(xscale="log", yscale="log", title=title)
        memory_axis.plot(rows[x], rows["peak GiB"], "o-", color="#009e73")
        memory_axis.set(xlabel=x)
    axes[0, 0].set_ylabel("processor time, s")
    axes[1, 0].set(ylim=(0, None), ylabel="peak memory, GiB")
    fig.savefig(path, dpi=100)


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT / "tmp" / "scale"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["LSM_ROOT"] = str(folder.resolve())
    if os.environ.get("SCALE_BLOCKS"):  # in a process of its own
        with tempfile.TemporaryDirectory(dir=folder) as work:
            row = one(Path(work), *map(int, os.environ["SCALE_BLOCKS"].split(":")))
        pd.DataFrame([row]).to_csv(folder / "row.csv", index=False)
        return
    rows = []
    for asked in sys.argv[2:] or ASKED:
        subprocess.run([sys.executable, __file__, str(folder)], env={**os.environ, "SCALE_BLOCKS": asked}, check=True)
        rows.append(pd.read_csv(folder / "row.csv"))
        print(rows[-1].round(3).to_string(index=False), flush=True)
        table = pd.concat(rows, ignore_index=True)
        table.round(3).to_csv(folder / "scale_blocks.csv", index=False)
    (folder / "row.csv").unlink()
    of_cells = folder / "scale.csv"
    draw(table, pd.read_csv(of_cells) if of_cells.is_file() else None, folder / "scale_blocks.png")


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    main()
