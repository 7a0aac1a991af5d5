"""The files of a region: which raw files there are, and the tables and rasters made of them."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from osgeo import gdal
from tqdm import tqdm

from lsm.inputs.layers import read_rows
from lsm.inputs.rasters import Grid, centres
from lsm.inputs.samples import Factor, write_factors
from lsm.region.sample_tables import as_table
from lsm.run.artifacts import artifact, record_path, write_csv, wrote
from lsm.run.paths import Paths, root, shown
from lsm.run.settings import InputError

INPUTS = ("DEM", "INVENTORY", "STABLE", "LAND_USE", "LITHOLOGY", "NDVI", "ROADS", "RIVERS", "FAULTS", "CATCHMENTS",
          "INSAR")  # constants of prepare_region.py that name a file; dem.tif, inventory.gpkg, ... without them
SUFFIXES = (".tif", ".tiff", ".gpkg", ".shp", ".geojson", ".csv")
MAKER = "prepare_region.py"
MAKERS = (MAKER, "augment_inventory.py")  # stage 0 works on the maker's tables: what it wrote is replaced too


def find_inputs(folder: Path, c) -> dict[str, str]:
    """The raw files there are, by the name of their constant.

    folder  where files lie that the constants c do not name
    Raises InputError where a file that is named or needed is missing.
    """
    found = {}
    for name in INPUTS:
        given = getattr(c, name)
        if given and given != "none":
            found[name] = str(root() / given)
        elif not given:
            there = [p for p in (folder / f"{name.lower()}{s}" for s in SUFFIXES) if p.is_file()]
            if len(there) > 1:
                raise InputError(f"{shown(folder)}: expected one file for {name}, found "
                                 f"{', '.join(p.name for p in there)}; name one: {name}=<file>")
            found.update((name, str(p)) for p in there)
    for name in ("DEM", "INVENTORY"):
        if name not in found:
            raise InputError(f"{shown(folder)}: expected {name.lower()}.*, found none; put it there, or give "
                             f"{name}=<file> or RAW=<folder>")
    missing = next((n for n, p in found.items() if not Path(p.partition("|")[0]).is_file()), None)
    if missing:
        raise InputError(f"{missing}: {shown(Path(found[missing]))}: missing; put it there, or name another file")
    return found


@contextlib.contextmanager
def work_folder(path: Path) -> Iterator[Path]:
    """An empty folder for layers on the way, removed at the end."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def refuse_to_replace(paths: Paths) -> None:
    """Raises InputError where the region has files that another maker wrote."""
    outputs = (paths.samples, paths.samples_without_insar, paths.insar_points, paths.insar_table, paths.grid,
               paths.composite)
    foreign = [path for path in outputs if path.is_file() and not wrote(path, MAKERS)]
    if foreign:
        raise InputError(f"{shown(foreign[0])}: expected no file of another maker in the way, found one; choose "
                         "another REGION, or OVERWRITE=True")


def write_region(paths: Paths, c, inputs: list[Path], folder: Path, grid: Grid, factors: tuple[Factor, ...],
                 classes: dict, tables: dict[Path, pd.DataFrame], as_csv: bool, as_stack: bool) -> list[Path]:
    """Writes the files of a region, each whole with its record; removes files of an earlier run in another form.

    c        the constants of the run, for the records; inputs  the files it read
    folder   with the layers composite, stack and valid
    tables   those to write, by path
    as_csv   writes the grid as a table; as_stack  as factors.tif
    Returns the files written, in order.
    """
    made, written = (MAKER, c, inputs), []

    def write(path: Path, content) -> None:
        with artifact(path, *made) as temporary:
            content(temporary)
        written.append(path)

    write(paths.composite, lambda path: shutil.copyfile(folder / "composite.tif", path))
    write(paths.factors, lambda path: write_factors(path, factors, classes))
    for path, table in tables.items():
        write_csv(path, table, *made)
        written.append(path)
    if as_csv:
        write(paths.grid, lambda path: write_grid(folder, [f.name for f in factors], grid, path))
    if as_stack:
        write(paths.factor_stack, lambda path: shutil.copyfile(folder / "stack.tif", path))
    for path in (paths.grid, paths.factor_stack, paths.insar_points, paths.insar_table, paths.samples,
                 paths.samples_origin, paths.samples_dates):
        if path not in written and wrote(path, MAKERS):  # of other constants: a stage would take it for this run's
            path.unlink(missing_ok=True)
            record_path(path).unlink(missing_ok=True)
    return written


def write_grid(folder: Path, names: list[str], grid: Grid, path: Path) -> None:
    """Writes the grid table window by window, a row for each cell of the layer valid; names of the bands of stack."""
    stack, valid = (gdal.Open(str(folder / f"{name}.tif")) for name in ("stack", "valid"))
    with open(path, "w", encoding="utf-8", newline="") as file:
        for row, rows in tqdm(list(grid.windows()), desc="grid table", unit="window", disable=None, delay=2):
            r, c = np.nonzero(read_rows(valid, row, rows))
            values = np.stack([read_rows(stack, row, rows, i)[r, c] for i in range(1, len(names) + 1)], axis=1)
            x, y = centres(grid.geotransform, r + row, c)
            as_table(names, values, np.column_stack([x, y])).to_csv(file, header=row == 0, index=False,
                                                                     float_format="%.9g")
