"""Maps of the methods of the comparison: every cell of the grid, by the same fitted models as the scores."""

from collections.abc import Callable, Iterator

import numpy as np

from lsm.comparison.fit_jobs import Job
from lsm.comparison.points import grid_rows
from lsm.inputs.bands import NODATA
from lsm.inputs.factor.definition import Factor
from lsm.inputs.rasters import Composite, inside, write_bands
from lsm.run.artifacts import discard, made_by
from lsm.run.paths import Paths, shown


def of_grid(paths: Paths, described: tuple[Factor, ...], methods: dict[str, Callable]) -> dict[str, np.ndarray]:
    """{name: landslide probability (rows, cols) float32, NODATA where the grid has no cell} of fitted methods."""
    grid = Composite.of(paths.composite).grid
    shape = grid.rows, grid.cols
    out = {name: np.full(shape, NODATA, np.float32) for name in methods}
    for rows, (row, col), _ in grid_rows(paths, described):
        on_map = inside(shape, row, col)
        for name, predict in methods.items():
            out[name][row[on_map], col[on_map]] = predict(rows)[on_map]
    return out


def write_method_maps(paths: Paths, jobs: list[Job], mapped: tuple[str, ...], made: tuple) -> list:
    """Writes the maps that jobs left as one raster: a band for each method of `mapped`, in this order that
    is there. Prints which methods are missing. Returns the file in a list, or [] where there is nothing to write:
    then the maps of an earlier comparison are removed."""
    where = {}
    for job in jobs:
        if job.maps:
            with np.load(job.maps, allow_pickle=False) as file:
                where |= dict.fromkeys(file.files, job.maps)
    there = [name for name in mapped if name in where]
    if missing := [name for name in mapped if name not in there]:
        print(f"no map of {'; '.join(missing) if there else 'any method'}: METHODS or PROTOCOLS leave them out")
    if not there:
        if made_by(paths.method_maps) == made[0]:
            print(f"{shown(paths.method_maps)}: of an earlier comparison; removed")
            discard(paths.method_maps)
        return []
    write_bands(paths.method_maps, _map_bands(there, where), Composite.of(paths.composite).grid, NODATA, there, *made)
    return [paths.method_maps]


def _map_bands(names: list[str], where: dict) -> Iterator[np.ndarray]:
    """The map (rows, cols) float32 of each method in turn."""
    for name in names:
        with np.load(where[name], allow_pickle=False) as file:
            yield file[name]
