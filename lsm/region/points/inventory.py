"""Inventories: points or polygons of landslides, and of places that did not slide where the file tells them apart."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from osgeo import gdal, ogr

from lsm.inputs.bands import known
from lsm.inputs.layers import change_layer, flush, read_rows, take, values_at
from lsm.inputs.rasters import Grid, centres, locate
from lsm.inputs.vectors import POLYGONS, add_numbers, burn, fields_of, geometry_type, points
from lsm.region import surface
from lsm.region.points.labels_of_slides import is_empty, slid_of
from lsm.region.points.placed_points import dropped, holds_shapes, points_of, remedy_off_grid
from lsm.region.points.repeated_polygons import same_polygons
from lsm.run.settings import InputError, counted
from lsm.sources.date_fields import LATEST, date_field, years_of
from lsm.sources.files import File
from lsm.sources.raster_files import is_raster
from lsm.sources.raster_outlines import WIDE, outlines_of, share_of
from lsm.sources.vector_files import open_vector

POLYGON_CELLS = ("highest", "scarp", "every", "centroid")


class InventoryConstants(Protocol):
    """How landslides become points, as prepare_region.py explains it."""

    DATE_FIELD: str
    POINTS_EPSG: int
    POLYGON_CELLS: str
    EVERY: int


@dataclass(frozen=True)
class Inventory:
    """xy (points, 2), m, in the CRS of the grid; slid (points,) bool, False for places that did not slide; year
    (points,), nan where it is not known; burned, a layer that is not 0 inside the polygons of landslides (None without
    polygons); notes for a person; placed, whether the CRS of the points is stated, not guessed; source, the CRS (WKT)
    that their file states, "" where they were not transformed; polygon (points,), the number in `burned` of the polygon
    that a point stands for, 0 for a point of the file; how, as `read_inventory` takes it."""

    xy: np.ndarray
    slid: np.ndarray
    year: np.ndarray
    burned: gdal.Dataset | None
    notes: tuple[str, ...]
    placed: bool
    source: str
    polygon: np.ndarray
    how: str


def on_grid(xy: np.ndarray, ground: gdal.Dataset, grid: Grid, name: str, placed: bool = False,
            source: str = "") -> np.ndarray:
    """(points,) bool: which points xy (points, 2) lie on cells where the layer `ground` holds a value.

    name    of the points, for the message; placed, source  as in `Inventory`
    Raises InputError where all points lie elsewhere, or most of them and their CRS is guessed.
    """
    row, col, valid = locate(grid.geotransform, (grid.rows, grid.cols), xy)
    valid[valid] = known(values_at(ground, row[valid], col[valid])[:, 0])
    if not valid.any() or (valid.mean() < 0.5 and not placed):
        remedy = remedy_off_grid(xy, grid, source) or (
            "check the CRS of both" + "; if it is right" * bool(valid.any()) + ": |epsg=<code> behind the file")
        raise InputError(
            f"{name}: expected points on the DEM ({grid.extent}), found {(~valid).sum()} of {len(xy)} outside or on "
            f"nodata (X {xy[:, 0].min():.0f} to {xy[:, 0].max():.0f}, Y {xy[:, 1].min():.0f} to "
            f"{xy[:, 1].max():.0f}); {remedy}")
    return valid


def read_inventories(inputs: dict, grid: Grid, folder: Path, c: InventoryConstants) -> dict[str, Inventory]:
    """The files INVENTORY and STABLE, those there are, by constant; inputs, folder  as `make_layers` takes them. Raises
    InputError."""
    how = {} if c.POLYGON_CELLS == "centroid" else {"STABLE": "every"}  # stable ground has no scarp
    dem = gdal.Open(str(folder / "DEM.tif"))
    return {constant: read_inventory(inputs[constant], what, grid, dem, c.POINTS_EPSG,
                                     how.get(constant, c.POLYGON_CELLS), c.EVERY, folder,
                                     c.DATE_FIELD if constant == "INVENTORY" else "")
            for constant, what in (("INVENTORY", "inventory"), ("STABLE", "stable places")) if constant in inputs}


def read_inventory(name: str | Path, what: str, grid: Grid, dem: gdal.Dataset, epsg: int, how: str, every: int,
                   folder: Path, date: str = "") -> Inventory:
    """Reads an inventory of points, polygons or both.

    what    it is, for the messages
    how     the points that stand for a polygon: "highest", its highest cell; "scarp", the highest by heights averaged
            over 5 x 5 cells; by both, of a place that did not slide as by "every", every `every`-th cell from the
            highest down; "centroid", a point inside near the middle
    folder  for temporary layers; date  the field of dates, "": recognised by its name. Raises InputError.
    """
    file = File.of(name, what)
    where = file.where
    if file.is_table and not holds_shapes(file):
        table, notes = points_of(name, what, grid, epsg)
        labels, years, more = _labels_and_years(table.drop(columns=["X", "Y"]), file, date)
        kept, unlabelled = dropped(np.isnan(labels), where, "have no label")
        xy = table[["X", "Y"]].to_numpy()[kept]
        places = len(np.unique(xy, axis=0))
        if places < 0.5 * len(xy):
            notes = [*notes, f"{where}: only {places:,} different places among {len(xy):,} points: are the coordinates "
                     "rounded?"]
        placed = bool(file.number("epsg") or epsg or table.attrs["placed"])
        return Inventory(xy, labels[kept] == 1, years[kept], None, (*notes, *more, *unlabelled), placed, "",
                         np.zeros(len(xy), int), how)
    outlined = []
    dataset = (outlines_of(name, what, grid, dem, folder, outlined) if is_raster(name, what) else
               open_vector(name, what, grid))
    layer = dataset.GetLayer(0)
    features = [(f.GetFID(), geometry_type(f), f.GetGeometryRef().Clone() if geometry_type(f) else None) for f in layer]
    fields = list(fields_of(layer))
    table = pd.DataFrame([[f.GetField(i) for i in range(len(fields))] for f in layer], columns=fields)
    labels, years, notes = _labels_and_years(table, file, date)
    if (whole := int(dataset.GetMetadataItem("FEATURES") or len(features))) < len(features):
        notes.append(f"{where}: {counted(whole, 'feature')} of {len(features):,} parts; each part counts as one")
    shapes = np.array([kind in (ogr.wkbPoint, *POLYGONS) for _, kind, _ in features], bool)
    kept, unlabelled = dropped(np.isnan(labels) & shapes, where, "have no label")
    places, polygons, areas = [], {}, []  # places: x, y, label, year; polygons: of a point inside, by feature id
    for (fid, kind, shape), label, year, keep in zip(features, labels, years, kept, strict=True):
        if keep and kind == ogr.wkbPoint:
            places.append((shape.GetX(), shape.GetY(), label, year))
        elif keep and kind in POLYGONS:
            inside = shape.PointOnSurface()
            polygons[fid] = (inside.GetX(), inside.GetY(), label, year)
            areas += [shape] * bool(label == 1)
    polygons = dict(sorted(polygons.items(), key=lambda polygon: polygon[1][2]))  # landslides last
    outlines = {fid: shape for fid, _, shape in features}
    same = same_polygons([outlines[fid] for fid in polygons], [polygon[2] for polygon in polygons.values()], grid.cell)
    if twice := len(same) - len(set(same)):
        notes.append(f"{where}: {counted(twice, 'polygon')} left out: another has the same shape and label"
                     + "; of their years the first counts" * (not np.isnan(years).all()))
        kept = {}
        for number, (fid, polygon) in zip(same, polygons.items(), strict=True):
            known_before = kept[number][1][3] if number in kept else np.nan
            kept[number] = fid, (*polygon[:3], np.fmin(polygon[3], known_before))
        polygons = dict(kept.values())
    notes += [f"{where}: left out: {counted(int((~shapes).sum()), 'feature')} without points and areas (empty, lines)"
              ] * (not shapes.all())
    if not places and not polygons:
        raise InputError(f"{where}: expected points or polygons, found {(~shapes).sum()} features that are neither; "
                         "turn closed lines into polygons and buffer open ones, or export points")
    of_points, burned, numbers = np.array(places, np.float64).reshape(-1, 4), None, np.zeros(len(places), int)
    if areas and what == "inventory" and not file.numbers("value"):
        slid = np.array([place for place in (*places, *polygons.values()) if place[2] == 1])
        _refuse_study_area(areas, slid[:, :2], dem, grid, where, notes)
    if polygons:
        path = folder / f"{what}.polygons.tif"  # INVENTORY and STABLE are in use together
        of_polygons, number, burned, rough = _polygon_points(dataset, polygons, grid, dem, how, every, path)
        notes += [f"{where}: {rough}"] * bool(rough)
        covered = share_of(burned, dem, grid) if what == "inventory" else 0
        if covered > WIDE:
            notes.append(f"{where}: landslides cover {covered:.0%} of the DEM; if these are units of a partition, mark "
                         "units without landslides by 0 in a column label")
        of_points, numbers = np.concatenate([of_points, of_polygons]), np.r_[numbers, number]
        notes.append(f"{where}: {counted(len(of_polygons), 'point')} of {counted(len(polygons), 'polygon')} "
                     f"(POLYGON_CELLS = {how})")
        if several := int((np.bincount(number) > 1).sum()):
            notes.append(f"{where}: polygons with several points: {several:,}; in random halves and folds such a "
                         "polygon both teaches and is scored, and these scores are too high")
    return Inventory(of_points[:, :2], of_points[:, 2] == 1, of_points[:, 3], burned,
                     (*outlined, *notes, *unlabelled), True, dataset.GetMetadataItem("CRS") or "", numbers, how)


def on_usable_cells(given: Inventory, usable: gdal.Dataset, dem: gdal.Dataset, grid: Grid, name: str
                    ) -> tuple[Inventory, list[str]]:
    """An inventory in which each polygon that has a usable cell stands in one: where none of its points does, its first
    point goes to its highest usable cell (of "scarp" by averaged heights; of "centroid" to the nearest one). And a line
    on how many did.

    usable  a layer that is 1 where every factor is known and points may lie; name  of the inventory, for the line
    """
    row, col, good = locate(grid.geotransform, (grid.rows, grid.cols), given.xy)
    good[good] = take(usable, row[good], col[good]) == 1
    lost = np.setdiff1d(given.polygon, np.r_[0, given.polygon[good]])
    if not len(lost):
        return given, []
    number, row, col, height, smooth, _ = _cells(given.burned, dem, grid, lambda n, first: np.isin(n, lost) & (
        read_rows(usable, first, len(n)) == 1))
    polygon, first = np.unique(given.polygon, return_index=True)
    point = first[np.searchsorted(polygon, number)]  # the first one of each cell's polygon
    xy, places = given.xy.copy(), np.column_stack(centres(grid.geotransform, row, col))
    which, last = {"scarp": ("highest cell by averaged heights", -smooth),
                   "centroid": ("nearest cell", np.hypot(*(places - xy[point]).T))}.get(given.how, (
                       "highest cell", -height))
    order = np.lexsort((col, row, last, number))
    best = order[np.unique(number[order], return_index=True)[1]]
    xy[point[best]] = places[best]
    return replace(given, xy=xy), [
        f"{name}: of {counted(len(best), 'polygon')} the {which} with every factor is taken: POLYGON_CELLS = "
        f"{given.how} gives a place without some factor, on water or under MASK"] * bool(len(best))


def _refuse_study_area(shapes: list[ogr.Geometry], xy: np.ndarray, dem: gdal.Dataset, grid: Grid, where: str,
                       notes: list[str]) -> None:
    """Raises InputError where the largest polygon of landslides must be the study area; notes  gets a line where it may
    be.

    shapes  the polygons; xy (landslides, 2)  a point inside each of them and of the other landslides
    """
    largest = max(shapes, key=lambda shape: shape.Area())
    cells = sum(int(known(read_rows(dem, *window)).sum()) for window in grid.windows())
    share = largest.Area() / (max(1, cells) * grid.cell**2)
    if share <= WIDE / 5:
        return
    around = largest.GetEnvelope()
    near = xy[(xy[:, 0] >= around[0]) & (xy[:, 0] <= around[1]) & (xy[:, 1] >= around[2]) & (xy[:, 1] <= around[3])]
    prepared = largest.CreatePreparedGeometry()
    held = sum(prepared.Contains(point) for point in points(near)) - 1
    others = len(xy) - 1
    found = (f"a polygon as large as {share:.0%} of the DEM (X {around[0]:.0f} to {around[1]:.0f}, Y {around[2]:.0f} "
             f"to {around[3]:.0f}) with {held} of {others} other landslides in it")
    if share > WIDE or held > 0.9 * max(10, others):
        raise InputError(f"{where}: expected landslides, found {found}; if it is the study area, remove it from the "
                         "inventory (MASK with MASK_KEEPS=True takes one)")
    if held > WIDE * max(10, others):
        notes.append(f"{where}: found {found}; if it is the study area, remove it")


def _labels_and_years(table: pd.DataFrame, file: File, date: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Labels (rows,) of an inventory as `slid_of` gives them, the year of each row (rows,), nan without one, and notes.
    """
    where = file.where
    labels, notes = slid_of(table, where, file.what == "stable places")
    field, more = (None, []) if file.what == "stable places" else date_field(table, date, where)
    years = np.full(len(table), np.nan)
    if field:
        changed = datetime.fromtimestamp(file.path.stat().st_mtime, UTC).year
        years, unknown = years_of(table[field], where, max(LATEST, changed))
        more = [*more, *unknown]
    notes = [*notes, *more]
    if field and np.isnan(years).all() and not is_empty(table[field]).all():
        notes.append(f"{where}: field {field!r}: no value holds one year of four digits, like "
                     f"{str(table[field].iloc[0]).removesuffix('.0'):.20}; the landslides have no years")
    return labels, years, notes


def _polygon_points(dataset, polygons: dict, grid: Grid, dem, how: str, every: int, path: Path):
    """X, Y, label and year (points, 4) of polygons, the number of the polygon of each (points,), the layer of the
    numbers of polygons of landslides, and what `surface.humps` says. Where polygons lie over each other, landslides
    count, and of these the last in the file.

    polygons  x, y of a point inside, label and year, by feature id, landslides last; path  of the layer
    """
    inside = np.array(list(polygons.values()))  # (polygons, 4)
    slid = np.r_[False, inside[:, 2] == 1]
    field = add_numbers(dataset, {fid: number for number, fid in enumerate(polygons, start=1)})
    layer = dataset.GetLayer(0)
    layer.SetAttributeFilter(f"{field} > 0")  # points and polygons without a label would burn 0 over the others
    numbers = burn(dataset, grid, path, field)
    if not slid[1:].all():
        layer.SetAttributeFilter(f"{field} > {np.count_nonzero(~slid[1:])}")
        gdal.RasterizeLayer(numbers, [1], layer, options=[f"ATTRIBUTE={field}"])
        flush(numbers)
    number, row, col, height, smooth, bent = _cells(numbers, dem, grid, lambda n, _: n > 0)
    if not slid[1:].all():
        change_layer(path, grid, lambda _, n: np.where(slid[n], n, 0))
        numbers = gdal.Open(str(path))
    if how == "centroid":
        return inside, np.arange(1, len(inside) + 1), numbers, ""
    by_height, by_smooth = (np.lexsort((col, row, -z, number)) for z in (height, smooth))
    order = by_smooth if how == "scarp" else by_height
    number = number[order]
    rank = np.arange(len(number)) - np.searchsorted(number, number)  # within its polygon, the highest first
    taken = rank % every == 0
    if how in ("highest", "scarp"):  # a place that did not slide has no scarp
        taken &= (rank == 0) | ~slid[number]
    judged, rough = slid[number] & (np.bincount(number)[number] > 1), ""
    if how == "highest":
        rough = surface.humps(rank[judged] == 0, *(bent[o][judged] for o in (by_height, by_smooth)))
    x, y = centres(grid.geotransform, row[order[taken]], col[order[taken]])
    # A polygon without a cell, because it is smaller than a cell or another lies over it, gives the point inside it.
    missing = np.setdiff1d(np.arange(len(inside)), number - 1)
    points_of = np.concatenate([np.column_stack([x, y, inside[number[taken] - 1, 2:]]), inside[missing]])
    return points_of, np.r_[number[taken], missing + 1], numbers, rough


def _cells(numbers: gdal.Dataset, dem: gdal.Dataset, grid: Grid, chosen: Callable[[np.ndarray, int], np.ndarray]
           ) -> list[np.ndarray]:
    """The cells of polygons, each value (cells,): the polygon's number, row, column, height (m), averaged height,
    curvature. chosen  (numbers of a window (rows, cols), its first row) -> which of its cells (rows, cols) bool"""
    found = []
    for row, rows in grid.windows():
        n = read_rows(numbers, row, rows)
        r, c = np.nonzero(chosen(n, row))
        first, last = max(0, row - surface.SMOOTH), min(grid.rows, row + rows + surface.SMOOTH)
        z = np.where(known(z := read_rows(dem, first, last - first)), z, np.nan)
        bent = np.pad(surface.curvature(z, grid.cell), 1, constant_values=np.nan)
        layers = (v[row - first:][r, c] for v in (z, surface.smoothed(z, surface.SMOOTH), bent))
        found.append([n[r, c], (r + row).astype(np.int32), c.astype(np.int32), *layers])
    return [np.concatenate(values) for values in zip(*found, strict=True)]

