"""From the networks of blocks to landslide probabilities, in compiled loops.

A folded network is a list of weights [w1, b1, ..., w4, b4] without normalisation, as adaptation.py leaves them, with
w5 where it has a direct path. The networks of all blocks are `Networks`: for each kind of member such a list, whose
arrays have (members, blocks) as first axes. The map's log-odds are the mean over all members of all kinds.
"""

import mmap
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit

from lsm.blocks.grid_parts import Part
from lsm.learner.additive.direct_path import add_curves
from lsm.learner.encoder import Encoder
from lsm.learner.support.supports import MOVED
from lsm.run.code import compiled
from lsm.run.jobs import cores
from lsm.run.paths import shown
from lsm.run.settings import InputError

Networks = dict[str, list[np.ndarray]]  # by kind of member
TILE = 2048      # rows of one block that go through its networks at once
TILES_A_JOB = 8  # of a thread
CELLS = 128      # that go through the layers side by side: all a layer holds of them fits a core's first cache


def log_odds(weights: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """Log-odds of landslide (n,) of encoded cells x (n, inputs) by one folded network, in its float type.

    A network that does not know the place reads the columns before X and Y. No digit of a cell's number depends on the
    other cells.
    """
    z = _by_hidden_layers([w[None] for w in weights], x)[0]
    if len(weights) % 2:
        add_curves(z, x[:, :len(weights[0])], weights[-1][:, 1] - weights[-1][:, 0])
    return z


def _by_hidden_layers(weights: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """The log-odds (members, n) by each member of a kind, without the direct path; weights (members, ...)."""
    *layers, w, b = weights[:len(weights) // 2 * 2]
    layers += w[..., 1:] - w[..., :1], b[:, 1:] - b[:, :1]  # one output: the landslide's logit less the other one
    units = np.array([layers[0].shape[1], *(bias.shape[1] for bias in layers[1::2])])
    return _through_layers(x, units, np.concatenate([array.reshape(len(w), -1) for array in layers], axis=1))


@compiled
def _through_layers(x, units, weights):
    """What the only unit of the last layer gives (members, n) for x (n, inputs); units (layers + 1,), the inputs first;
    weights (members, all of them): w1, b1, w2, b2, ... one after the other.

    Not by BLAS: how it rounds a row depends on how many there are, and which one it is, by the processor's kind. Here
    every cell has the same sums in the same order, CELLS of them in vector instructions.
    """
    z, zero = np.empty((len(weights), len(x)), weights.dtype), np.float32(0)
    given = np.empty((units[0], CELLS), weights.dtype)  # a column a cell, here and below
    h = np.empty((units[1:].max(), CELLS), weights.dtype)
    out = np.empty_like(h)
    for first in range(0, len(x), CELLS):
        cells = min(CELLS, len(x) - first)
        for i in range(cells):
            for j in range(units[0]):
                given[j, i] = x[first + i, j]
        for member in range(len(weights)):
            begin = 0
            for layer in range(1, len(units)):
                inputs, outputs = units[layer - 1], units[layer]
                end = begin + inputs * outputs
                _add_up(given if layer == 1 else h, weights[member, begin:end].reshape(inputs, outputs),
                        weights[member, end:end + outputs], out, cells)
                if layer + 1 < len(units):
                    for j in range(outputs):
                        for i in range(cells):
                            out[j, i] = zero if out[j, i] < zero else out[j, i]  # what is no number stays none
                h, out, begin = out, h, end + outputs
            for i in range(cells):
                z[member, first + i] = h[0, i]
    return z


@compiled
def _add_up(h, w, b, out, cells):
    """out (outputs, CELLS) = b + w1 h1 + w2 h2 + ... from left to right, for the first `cells` columns of h (inputs,
    CELLS). Two outputs and four inputs at a time: each number of h and out is then loaded less often."""
    inputs, outputs = w.shape
    fours, pairs = inputs // 4 * 4, outputs // 2 * 2
    for j in range(outputs):
        for i in range(cells):
            out[j, i] = b[j]
    for j in range(0, pairs, 2):
        for k in range(0, fours, 4):
            v0, v1, v2, v3 = w[k, j], w[k + 1, j], w[k + 2, j], w[k + 3, j]
            w0, w1, w2, w3 = w[k, j + 1], w[k + 1, j + 1], w[k + 2, j + 1], w[k + 3, j + 1]
            for i in range(cells):
                h0, h1, h2, h3 = h[k, i], h[k + 1, i], h[k + 2, i], h[k + 3, i]
                out[j, i] = out[j, i] + v0 * h0 + v1 * h1 + v2 * h2 + v3 * h3
                out[j + 1, i] = out[j + 1, i] + w0 * h0 + w1 * h1 + w2 * h2 + w3 * h3
    for j in range(outputs):
        for k in range(fours if j < pairs else 0, inputs):
            for i in range(cells):
                out[j, i] += w[k, j] * h[k, i]


def probability(log_odds: np.ndarray) -> np.ndarray:
    """Landslide probability of log-odds, in their float type."""
    return expit(log_odds)


def weights_of_members(networks: Networks) -> Iterator[list[np.ndarray]]:
    """Every member's weights, with (blocks) as first axis, kind by kind."""
    for weights in networks.values():
        for m in range(len(weights[0])):
            yield [w[m] for w in weights]


def mean_log_odds(networks: Networks, x: np.ndarray) -> np.ndarray:
    """Log-odds (n,) of encoded rows x (n, inputs) by the intermediate models: `networks` without the axis of blocks."""
    each = [log_odds(weights, x) for weights in weights_of_members(networks)]
    return sum(each) / np.float32(len(each))


def release_memory(networks: Networks) -> None:
    """Gives back the memory of networks that lie in files; what is used again is read again."""
    for array in (w for weights in networks.values() for w in weights):
        if isinstance(array.base, mmap.mmap):
            array.base.madvise(mmap.MADV_DONTNEED)


def rows_in_tiles(block: np.ndarray, blocks: int) -> Iterator[tuple[int, np.ndarray]]:
    """Block by block, the block and some of its rows (rows,) in rising order, TILE of them at most. block (rows,)"""
    order = np.argsort(block.astype(np.min_scalar_type(blocks)), kind="stable")  # small whole numbers: a radix sort
    ends = np.bincount(block, minlength=blocks).cumsum()
    for b in np.flatnonzero(np.diff(ends, prepend=0)):
        rows = order[ends[b - 1] if b else 0:ends[b]]
        for start in range(0, len(rows), TILE):
            yield b, rows[start:start + TILE]


def log_odds_of_block(members: list[list[np.ndarray]], b: int, x: np.ndarray) -> np.ndarray:
    """Log-odds (members, rows) of encoded rows x (rows, inputs) of block b; members: `weights_of_members`."""
    return np.stack([log_odds([w[b] for w in weights], x) for weights in members])


def predict(networks: Networks, block: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Landslide probability (rows,) float32 of encoded rows x (rows, inputs), each by the networks of its block
    (rows,): the probability of the mean log-odds of all members."""
    of_tile, out = probability_of_tile(networks), np.empty(len(x), np.float32)
    for b, rows in rows_in_tiles(block, len(next(weights_of_members(networks))[0])):
        out[rows] = of_tile(b, x[rows])
    return out


# a grid, by threads -----------------------------------------------------------------------------------------------

def over_tiles(parts: Iterable[Part], encoder: Encoder, blocks: int, of_tile: Callable, outputs: int = 1,
               threads: int = 0) -> Iterator[tuple[Part, np.ndarray]]:
    """Each part of a grid with its values (outputs, cells) float32, in order.

    of_tile  of_tile(block, x) -> values (outputs, rows) of encoded rows x (rows, inputs) of one block; a cell that
             other blocks adjoin (`Part.borders`) gets the mean of theirs
    threads  0: as many as cores. Each fills places of its own, so no value depends on their number
    While one part is computed, the next part is read and the part before is used: only these three are in memory.
    """
    def fill(part: Part, cell: np.ndarray, out: np.ndarray, tiles: list) -> None:
        for b, rows in tiles:
            out[:, rows] = of_tile(b, encoder.transform(part.factors[cell[rows]], part.xy[cell[rows]]))

    def finished(part: Part, out: np.ndarray, jobs: list) -> tuple[Part, np.ndarray]:
        for job in jobs:
            job.result()
        values, of_borders = np.split(out, [len(part.block)], axis=1)
        part.borders.blend(values, of_borders)
        return part, values

    begun = deque()
    with ThreadPoolExecutor(threads or cores()) as pool:
        for part in parts:
            cell = np.concatenate([np.arange(len(part.block)), part.borders.cell])
            block = np.concatenate([part.block, part.borders.block])
            out, tiles = np.empty((outputs, len(block)), np.float32), list(rows_in_tiles(block, blocks))
            begun.append((part, out, [pool.submit(fill, part, cell, out, tiles[i:i + TILES_A_JOB])
                                      for i in range(0, len(tiles), TILES_A_JOB)]))
            if len(begun) > 1:
                yield finished(*begun.popleft())
        while begun:
            yield finished(*begun.popleft())


def probability_of_tile(networks: Networks) -> Callable:
    """The `of_tile` of the map: landslide probability by the mean log-odds of all members of the block. The curves of a
    kind's members are added up first: their sum is a curve for each input too."""
    members = sum(len(w[0]) for w in networks.values())
    paths = [(w[0].shape[-2], w[-1]) for w in networks.values() if len(w) % 2]  # inputs, (members, blocks, rows, 2)

    def of_tile(b: int, x: np.ndarray) -> np.ndarray:
        z = sum(z for weights in networks.values() for z in _by_hidden_layers([w[:, b] for w in weights], x))
        for inputs, path in paths:
            both = path[:, b].sum(axis=0)
            add_curves(z, x[:, :inputs], both[:, 1] - both[:, 0])
        return probability(z / np.float32(members))

    return of_tile


def arrays_of_networks(networks: Networks) -> dict[str, np.ndarray]:
    """The networks as models_of_blocks/<REGION>_models.npz names them: local_w1, local_b1, ..., regional_w1, ..."""
    return {f"{kind}_{'wb'[i % 2]}{i // 2 + 1}": w for kind, weights in networks.items() for i, w in enumerate(weights)}


def networks_of_arrays(models: dict) -> Networks:
    """The networks among the arrays of that file."""
    out = {}
    for name, array in models.items():  # in the order written: w1, b1, w2, ... of each kind
        if found := re.fullmatch(r"(\w+)_[wb]\d", name):
            out.setdefault(found[1], []).append(array)
    return out


def flag_of(part: Part, states: np.ndarray) -> np.ndarray:
    """The flag (cells,) of every cell of a part, as the table of the map has it; states (blocks,)."""
    return ~np.isin(states[part.block], MOVED) + 2 * part.outside


@dataclass
class GridCounts:
    """What is counted of a grid while it is predicted: cells by flag (4,), cells on the map, cells of unseen classes by
    factor."""

    flags: np.ndarray
    on_map: int
    unseen: dict[str, int]

    @classmethod
    def of(cls, part: Part, states: np.ndarray, encoder: Encoder) -> "GridCounts":
        """The counts of a part of the grid; states (blocks,)."""
        return cls(np.bincount(flag_of(part, states), minlength=4), int(part.on_map.sum()),
                   encoder.unseen(part.factors))

    def add(self, other: "GridCounts") -> None:
        """Adds the counts of another part."""
        self.flags += other.flags
        self.on_map += other.on_map
        self.unseen = {name: self.unseen.get(name, 0) + other.unseen.get(name, 0)
                       for name in (*self.unseen, *other.unseen)}

    def refuse_other_area(self, source: Path, composite: Path) -> None:
        """Raises InputError where no cell lies on the map, or none has a class that samples have."""
        where, cells = shown(source), self.flags.sum()
        if not self.on_map:
            raise InputError(f"{where}: expected cells on {shown(composite)}, found all {cells:,} elsewhere; bring both"
                             " into one CRS")
        for name in (name for name, n in self.unseen.items() if n == cells):
            raise InputError(f"{where}: {name}: expected classes as in the samples, found others alone in {cells:,} "
                             "cells; write the classes alike in samples and grid")
