"""The points and sample tables of a prepared region.

c holds the constants of prepare_region.py; folder holds the layers made on the way, <name>.tif.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from osgeo import gdal

from lsm.inputs.bands import known
from lsm.inputs.layers import read_rows, take, values_at, write_cells, write_layer
from lsm.inputs.rasters import TERRAIN, Grid, cell_of, centres
from lsm.region import absences
from lsm.region.factor_layers import CATEGORIES, DISTANCES, write_distance
from lsm.region.points import inventory
from lsm.run.paths import shown
from lsm.run.settings import InputError, counted

ROUNDED = {*TERRAIN, *CATEGORIES, *DISTANCES, "NDVI", "SPI", "TWI", "DV"}  # to four decimals in tables


class SampleConstants(Protocol):
    """How non-landslides are drawn, as prepare_region.py explains it."""

    STRATEGY: str
    RATIO: float
    BUFFER: float
    SLOPE_CLASSES: int
    FOLD: int
    SEED: int


@dataclass(frozen=True)
class Places:
    """Labelled places, one a cell: xy (places, 2), m; the row, the column and the number of the cell (places,); year
    (places,), nan where it is not known."""

    xy: np.ndarray
    row: np.ndarray
    col: np.ndarray
    cell: np.ndarray
    year: np.ndarray

    @classmethod
    def of(cls, xy: np.ndarray, year: np.ndarray, grid: Grid) -> "Places":
        """Of places on a grid, perhaps several in a cell."""
        row, col = cell_of(grid.geotransform, xy)
        return cls(xy, row, col, row * grid.cols + col, year)

    def __getitem__(self, chosen: np.ndarray) -> "Places":
        """The chosen places, by number or as a mask."""
        return Places(*(values[chosen] for values in vars(self).values()))

    def __len__(self) -> int:
        return len(self.cell)


def table_of_dates(landslides: Places) -> pd.DataFrame:
    """X, Y, year of the landslides whose year is known."""
    dated = landslides[np.isfinite(landslides.year)]
    return pd.DataFrame({"X": dated.xy[:, 0].round(3), "Y": dated.xy[:, 1].round(3), "year": dated.year.astype(int)})


def one_a_cell(points: inventory.Inventory, chosen: np.ndarray, file: str, what: str, grid: Grid, folder: Path
               ) -> tuple[Places, list[str]]:
    """The chosen points of a file, the first of each cell, and notes. Raises InputError."""
    xy, years = points.xy[chosen], points.year[chosen]
    inside = inventory.on_grid(xy, gdal.Open(str(folder / "DEM.tif")), grid, f"{shown(Path(file))}: {what}",
                               points.placed, points.source)
    places = Places.of(xy[inside], years[inside], grid)
    complete = values_at(gdal.Open(str(folder / "valid.tif")), places.row, places.col)[:, 0] == 1
    places = places[complete]
    _, first = np.unique(places.cell, return_index=True)
    notes = [f"{counted(n, 'point')} of the {what} dropped {why}" for n, why in (
        (int((~inside).sum()), "off the DEM"),
        (int((~complete).sum()), "where a factor is missing, on water or under MASK"),
        (len(places) - len(first), "in the cell of another")) if n]
    if not len(first):
        raise InputError(f"{shown(Path(file))}: {what}: expected points where every factor is known, found none; take "
                         "layers that cover them")
    return places[np.sort(first)], notes


def place_points(read: dict[str, inventory.Inventory], inputs: dict, grid: Grid, folder: Path, c: SampleConstants
                 ) -> tuple[Places, Places | None, gdal.Dataset | None, list[str]]:
    """The landslides; the stable places, None where none are given; the inventory's polygons of landslides as burned,
    else None; notes. Raises InputError.

    read  as `inventory.read_inventories` gives them. Stable places are the places of the file STABLE, and places of the
    inventory that did not slide by its labels.
    """
    usable, dem, notes, stable = *(gdal.Open(str(folder / f"{name}.tif")) for name in ("valid", "DEM")), [], []
    for constant in read:
        moved, more = inventory.on_usable_cells(read[constant], usable, dem, grid, shown(Path(inputs[constant])))
        read = read | {constant: moved}
        notes += [*moved.notes, *more]
    given = read["INVENTORY"]
    landslides, more = one_a_cell(given, given.slid, inputs["INVENTORY"], "inventory", grid, folder)
    notes += more
    if not given.slid.all():
        stable.append((given, ~given.slid, "INVENTORY", "places of the inventory that did not slide"))
    if "STABLE" in inputs:
        known = read["STABLE"]
        stable.append((known, known.slid if known.slid.all() else ~known.slid, "STABLE", "stable places"))
    parts, where, polygons = [], None, any(points.burned is not None for points, *_ in stable)
    for points, chosen, constant, what in stable:
        places, more = one_a_cell(points, chosen, inputs[constant], what, grid, folder)
        parts.append(places)
        notes += more
        where = f"{shown(Path(inputs[constant]))}: {what}"
    if not parts:
        return landslides, None, given.burned, notes + [
            "STRATEGY=buffer: no non-landslide lies near any landslide, so X and Y alone tell something of labels: "
            "scores of random halves and folds are too high"] * (c.STRATEGY == "buffer")
    stable = Places(*map(np.concatenate, zip(*(vars(part).values() for part in parts), strict=True)))
    _, first = np.unique(stable.cell, return_index=True)  # both files may name a place
    apart = np.isin(np.arange(len(stable)), first) & ~np.isin(stable.cell, landslides.cell)
    inside = np.zeros_like(apart)
    if given.burned is not None:
        inside = apart & (take(given.burned, stable.row, stable.col) != 0)
    if not (apart & ~inside).any():
        raise InputError(f"{where}: expected places apart from landslides, found each in the cell or the polygon of "
                         "a landslide; is it the inventory again? Leave it out, or take other places")
    notes += [f"{counted(n, 'stable place')} dropped {why}" for n, why in (
        (int((~apart).sum()), "in the cell of a landslide"), (int(inside.sum()), "inside polygons of landslides")) if n]
    apart &= ~inside
    kept, most = np.flatnonzero(apart), max(1, round(c.RATIO * len(landslides)))
    if polygons and len(kept) > most:
        notes.append(f"{most:,} of the {len(kept):,} stable cells are taken, RATIO for each landslide")
        kept = kept[np.linspace(0, len(kept) - 1, most).astype(int)]
    return landslides, stable[kept], given.burned, notes


def mark_occupied(landslides: Places, stable: Places | None, weak_xy: np.ndarray, burned: gdal.Dataset | None,
                  grid: Grid, folder: Path) -> tuple[Places | None, list[str]]:
    """Writes the layers occupied (cells with a landslide, a weak one or an inventory polygon) and away, the distance
    (m) to occupied cells. Returns the stable places outside the cells of weak landslides, and notes.

    weak_xy  (points, 2); burned  the inventory's polygons as burned, or None
    """
    weak = Places.of(weak_xy, np.full(len(weak_xy), np.nan), grid)
    row, col = np.r_[landslides.row, weak.row], np.r_[landslides.col, weak.col]
    occupied = write_cells(folder / "occupied.tif", grid, row, col, 1, burned, kind=gdal.GDT_Byte, nodata=None)
    write_distance(occupied, grid, folder / "away.tif", "inventory: expected landslides on the grid, found none")
    if stable is None:
        return stable, []
    moves = np.isin(stable.cell, weak.cell)
    return stable[~moves], [f"{counted(int(moves.sum()), 'stable place')} dropped in the cell of a weak landslide"
                            ] * bool(moves.any())


def as_table(names: list[str], values: np.ndarray, xy: np.ndarray) -> pd.DataFrame:
    """Factors (points, factors) and X, Y (points, 2) as a table; -0 is 0. The factors whose size is known have four
    decimals, a factor that a person adds keeps its digits: it may be 1e-6 everywhere."""
    table = pd.DataFrame(values.astype(np.float64) + 0.0, columns=names)
    table = table.round({name: 4 for name in names if name in ROUNDED})
    return table.assign(X=xy[:, 0].round(3), Y=xy[:, 1].round(3))


def published_form(points: pd.DataFrame) -> pd.DataFrame:
    """Weak landslides as published: other names, DV positive away from the satellite, and DV once more as label."""
    names = {name: name.replace("dis2", "D2") for name in DISTANCES} | {"land use": "landuse", "DV": "DV_InSAR"}
    return points.assign(DV=-points["DV"], label=-points["DV"]).rename(columns=names)


def draw_samples(rng: np.random.Generator, landslides: Places, stable: Places | None, rest_xy: np.ndarray,
                 names: list[str], grid: Grid, folder: Path, c: SampleConstants) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table of landslides and non-landslides, and the table of scores by strategy.

    rest_xy  (n, 2), places where InSAR sees no motion: further non-landslides, which no strategy is scored on
    Raises InputError where no cell is left to draw non-landslides from.
    """
    stack, chosen = gdal.Open(str(folder / "stack.tif")), c.STRATEGY if stable is None else "given"

    def table(row, col, label: int, xy=None) -> pd.DataFrame:
        xy = np.column_stack(centres(grid.geotransform, row, col)) if xy is None else xy
        return as_table(names, values_at(stack, row, col), xy).assign(label=label)

    slides = table(landslides.row, landslides.col, 1, landslides.xy)
    by_strategy = {} if stable is None else {"given": table(stable.row, stable.col, 0, stable.xy)}
    for strategy, own_rng in zip(absences.STRATEGIES, rng.spawn(len(absences.STRATEGIES)), strict=True):
        by_strategy[strategy] = table(*absences.draw_non_landslides(
            own_rng, strategy, slides["slope"].to_numpy(), folder, grid, c.RATIO, c.SLOPE_CLASSES, c.BUFFER), 0)
    if not len(by_strategy[chosen]):
        raise InputError(f"STRATEGY={chosen}: expected free cells to draw non-landslides from, found none; if a "
                         "polygon of the inventory covers all, remove it, else take another strategy or less BUFFER")
    scores, (west, south, east, north) = [], grid.bounds
    for strategy, others in by_strategy.items():
        both = pd.concat([slides, others], ignore_index=True)
        place = (both[["X", "Y"]].to_numpy() - (west, south)) / (east - west, north - south)
        auroc = absences.quick_score(both[names].to_numpy(), both["label"].to_numpy(), place, c.FOLD, c.SEED)
        scores.append({"strategy": strategy, "landslides": len(slides), "non_landslides": len(others), "auroc": auroc,
                       "chosen": strategy == chosen})
    row, col = cell_of(grid.geotransform, rest_xy)
    drawn_row, drawn_col = cell_of(grid.geotransform, by_strategy[chosen][["X", "Y"]].to_numpy())
    alone = ~np.isin(row * grid.cols + col, drawn_row * grid.cols + drawn_col)
    rest = table(row[alone], col[alone], 0, rest_xy[alone])
    samples = pd.concat([slides, by_strategy[chosen], rest], ignore_index=True)
    samples = samples.sample(frac=1, random_state=rng).reset_index(drop=True)
    return samples, pd.DataFrame(scores)


def write_valid(names: list[str], grid: Grid, folder: Path) -> tuple[int, dict[str, int], dict[str, float]]:
    """Writes the layer valid (uint8), 1 where every named layer holds a value. Returns the number of these cells; by
    name, how many of the first layer's cells each layer has; and the value of each layer that has one alone in them."""
    datasets = {name: gdal.Open(str(folder / f"{name}.tif")) for name in names}
    complete, of_each, held = 0, dict.fromkeys(names, 0), {name: set() for name in names}

    def window(row: int, rows: int) -> np.ndarray:
        nonlocal complete
        ground = known(read_rows(datasets[names[0]], row, rows))
        valid = ground.copy()
        for name, dataset in datasets.items():
            values = read_rows(dataset, row, rows)
            here = ground & known(values)
            if here.any() and len(held[name]) < 2:
                held[name] |= {float(values[here].min()), float(values[here].max())}
            valid, of_each[name] = valid & here, of_each[name] + int(here.sum())
        complete += int(valid.sum())
        return valid

    write_layer(folder / "valid.tif", grid, window, gdal.GDT_Byte, None)
    return complete, of_each, {name: values.pop() for name, values in held.items() if len(values) == 1}


def valid_cells(names: list[str], cover: float, grid: Grid, folder: Path) -> tuple[int, int, list[str]]:
    """How many cells have every named factor, how many are ground, and a line on each factor that is the same in all.
    Raises InputError where that is a smaller share than `cover`."""
    complete, of_each, alone = write_valid(["ground", *names], grid, folder)
    ground = of_each["ground"]
    if complete < cover * ground:
        least = min(of_each, key=of_each.get)
        raise InputError(f"{least}: expected every factor on {cover:.0%} of the DEM's cells, found it on "
                         f"{of_each[least] / ground:.1%} and all together on {complete / ground:.1%}; take a layer "
                         "that covers the DEM, leave it out (NAME=none), or lower COVER")
    return complete, ground, [f"{name} is {alone[name] + 0.0:g} everywhere: it tells no place from another; leave it "
                              "out" for name in names if name in alone]  # + 0.0: no -0
