"""Maps of the methods of the comparison: every cell of the grid, by the same fitted models as the scores."""

from collections.abc import Callable, Iterator

import numpy as np

from lsm.comparison.points import grid_rows
from lsm.comparison.tables.score_tables import OURS, PARTS
from lsm.inputs.rasters import NODATA, inside, read_composite, write_bands
from lsm.inputs.samples import Factor
from lsm.learner.boosting import mixed
from lsm.run.jobs import Job
from lsm.run.paths import Paths


def parts_of(mapped: tuple[str, ...]) -> list[str]:
    """The methods that must be fitted to map the methods `mapped`: ours consists of three."""
    return [part for name in mapped for part in (PARTS if name == OURS else (name,))]


def of_grid(paths: Paths, described: tuple[Factor, ...], methods: dict[str, Callable]) -> dict[str, np.ndarray]:
    """{name: landslide probability (rows, cols) float32, NODATA where the grid has no cell} of fitted methods."""
    shape = read_composite(paths.composite).valid.shape
    out = {name: np.full(shape, NODATA, np.float32) for name in methods}
    for rows, (row, col), _ in grid_rows(paths, described):
        on_map = inside(shape, row, col)
        for name, predict in methods.items():
            out[name][row[on_map], col[on_map]] = predict(rows)[on_map]
    return out


def write(paths: Paths, jobs: list[Job], mapped: tuple[str, ...], made: tuple) -> list:
    """Writes the maps that jobs left as one raster: a band for each method of `mapped`, in this order, whose parts are
    all there. Prints which methods are missing. Returns the file in a list, or [] where there is nothing to write."""
    where = {}
    for job in jobs:
        if job.maps:
            with np.load(job.maps, allow_pickle=False) as file:
                where |= dict.fromkeys(file.files, job.maps)
    there = [name for name in mapped if set(parts_of((name,))) <= set(where)]
    if missing := [name for name in mapped if name not in there]:
        print(f"no map of {'; '.join(missing)}: METHODS or PROTOCOLS leave them out")
    if not there:
        return []
    write_bands(paths.method_maps, _bands(there, where), read_composite(paths.composite), NODATA, there, *made)
    return [paths.method_maps]


def _bands(names: list[str], where: dict) -> Iterator[np.ndarray]:
    """The map (rows, cols) float32 of each method in turn."""
    def read(name: str) -> np.ndarray:
        with np.load(where[name], allow_pickle=False) as file:
            return file[name]

    for name in names:
        if name == OURS:
            networks, *boosting = map(read, PARTS)
            known = networks != NODATA
            out = np.full(known.shape, NODATA, np.float32)
            out[known] = mixed(networks[known], [p[known] for p in boosting])
            yield out
        else:
            yield read(name)
