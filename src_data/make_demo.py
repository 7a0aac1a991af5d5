"""Makes the demo area: a synthetic island whose landslide probability is known in every cell.

The island has fractal terrain and four landslide-inducing environments, quarters with winding borders. In each one
the log-odds of a landslide are another weighted sum of standardised factors; some weights change sign from one
environment to the next, so no model without X,Y is right everywhere. Inventory, absence and InSAR points are drawn
from that probability. Landslides on slopes that InSAR sees move are missing from the inventory and enter as InSAR
points only. The tables have the habits of published ones: zeros stored as 0.000001, a BOM, repeated places.

Reads   nothing
Writes  src_data/samples_demo.csv         inventory, absence and InSAR points: factors, X, Y, label
        src_data/samples_demo_noTS.csv    the same without InSAR points
        src_data/Ts_demo.csv              InSAR points; velocity with the opposite sign, repeated as last column
        src_data/grid_samples_demo.csv    one row a land cell: factors, X, Y of its centre
        src_data/demo/composite.tif       DEM, aspect, curvature, slope
        src_data/demo/raw/                the same area as prepare_region.py takes it: DEM, inventory, InSAR points and
                                          the layers behind the factors
        src_data/demo/truth/              probability.tif, environment.tif, leading_factor.csv; no stage reads them
Run     python src_data/make_demo.py
"""

import heapq
from dataclasses import dataclass

import numpy as np
import pandas as pd
from osgeo import gdal, ogr, osr
from scipy.ndimage import binary_erosion, distance_transform_edt, laplace
from scipy.optimize import brentq
from scipy.special import expit

from lsm.inputs.rasters import NODATA, centres, read_composite, write_band
from lsm.inputs.rasters import TERRAIN as _TERRAIN
from lsm.inputs.samples import STORED_ZERO as _STORED_ZERO
from lsm.run.artifacts import whole, write_csv, write_record
from lsm.run.paths import Paths, shown
from lsm.run.settings import InputError, run


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants:
    """What a person may set, here or for one run as NAME=value."""

    REGION: str = "demo"  # names the files
    SEED: int = 1         # of every random draw

    # the grid
    ROWS: int = 300           # cells
    COLS: int = 400
    CELL: float = 50.0        # m
    EPSG: int = 32650         # WGS 84 / UTM zone 50N
    WEST: float = 780000.0    # m, the upper left corner
    NORTH: float = 2500000.0
    LAND: float = 0.65        # share of cells above the sea

    # the terrain and what lies on it; lengths in cells
    PEAK: float = 800.0          # m, the highest cell
    PLAIN: float = 4.0           # m, lower land is levelled to this: flat ground, slope 0 and aspect -1
    CHANNEL: int = 40            # cells that drain through a cell before it is a stream
    CATCHMENT: int = 200         # cells; smaller basins along the coast count as one catchment
    ROAD_LENGTH: float = 30.0    # wave length of the field whose contour lines are the roads
    FAULT_SPACING: float = 45.0  # between faults
    DECIMALS: int = 3            # of every factor value

    # InSAR
    HEADING: float = -13.0   # degrees: ascending orbit, looking to the right
    INCIDENCE: float = 39.0
    GAPS: float = 0.40       # share of land without a measurement
    MOVING: float = 0.60     # probability above which a slope can be a slow-moving one
    VELOCITY: float = 9.0    # mm/yr down the slope, the mean of moving slopes
    NOISE: float = 0.7       # mm/yr, sd of a measurement
    THRESHOLD: float = 2.0   # mm/yr, |DV| from which a landslide counts as slow-moving

    # the points
    INVENTORY: int = 5000    # landslides of the inventory
    ABSENCE: int = 5500      # non-landslides
    INSAR: int = 1500        # InSAR points
    REPEATED: float = 0.02   # share of inventory and absence points in the cell of another, every second at its very
                             #   place
    CONFLICTS: float = 0.05  # share of these that give a landslide's place as a non-landslide

    # of each environment: what standardised terms weigh in the log-odds of a landslide; the first one leads
    WEIGHTS: tuple[tuple, ...] = (
        (("slope", 4.4), ("NDVI", -1.4), ("log dis2road", 1.4), ("cos aspect", 1.0)),
        (("log dis2drainage", -4.4), ("NDVI", 1.6), ("slope", 1.2), ("curvature", -1.0)),
        (("log dis2road", -4.4), ("slope", -1.4), ("log dis2drainage", -1.2), ("land use = 1", 0.8)),
        (("NDVI", -4.4), ("log dis2drainage", 1.4), ("slope", 1.2), ("cos aspect", -1.0), ("lithology = 3", 0.8)),
    )
# ----------------------------------------------------------------------------------------------------------------

_ROCKS = ("alluvium", "granite", "tuff")  # lithology 1 to 3 in the raw form, in the order of the alphabet


def noise(rng, shape: tuple[int, int], length: float, beta: float) -> np.ndarray:
    """A random field (rows, cols), mean 0, sd 1. Its power falls as wave length ** beta below `length` cells."""
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    amplitude = (length**-2.0 + frequency**2) ** (-beta / 4)
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * amplitude, s=shape)
    return (field - field.mean()) / field.std()


def island(rng, c) -> tuple[np.ndarray, np.ndarray]:
    """Elevation (rows, cols) in m, negative under the sea, and where there is land."""
    y, x = np.linspace(-1, 1, c.ROWS)[:, None], np.linspace(-1, 1, c.COLS)
    height = noise(rng, (c.ROWS, c.COLS), 0.5 * c.COLS, 3.6) + 3.0 * (1 - x**4) * (1 - y**4)
    height -= np.quantile(height, 1 - c.LAND)
    height /= height.max()
    # The power makes low ground gentle and the heights steep.
    return c.PEAK * np.sign(height) * np.abs(height) ** 1.5, height > 0


def terrain(ground: np.ndarray, cell: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slope (degrees), aspect (degrees clockwise from north, -1 where flat) and curvature (1/100 m, convex > 0)."""
    south, east = np.gradient(ground, cell)  # rise to the south, to the east
    slope = np.degrees(np.arctan(np.hypot(south, east)))
    aspect = np.degrees(np.arctan2(-east, south)) % 360  # the way down
    return slope, np.where(slope < 0.01, -1.0, aspect), -100 * laplace(ground) / cell**2


def drain(elevation: np.ndarray, land: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells that drain through each cell, itself included, and the catchment (number of its outlet) of each cell.

    Priority flood (Barnes et al. 2014, Computers & Geosciences 62): cells are reached from the coast inland, the
    lowest first; each drains to the one it was reached from, so pits need no filling.
    """
    width = land.shape[1] + 2
    inland = binary_erosion(land, np.ones((3, 3)))
    unseen, height = np.pad(inland, 1).ravel().tolist(), np.pad(elevation, 1).ravel().tolist()
    receiver = {i: i for i in np.flatnonzero(np.pad(land & ~inland, 1)).tolist()}  # outlets drain to themselves
    flood, order = [(height[i], i) for i in receiver], []
    heapq.heapify(flood)
    while flood:
        level, i = heapq.heappop(flood)
        order.append(i)
        for n in (i - width - 1, i - width, i - width + 1, i - 1, i + 1, i + width - 1, i + width, i + width + 1):
            if unseen[n]:
                unseen[n], receiver[n] = False, i
                heapq.heappush(flood, (max(level, height[n]), n))
    area, catchment = np.ones(len(height), int), np.arange(len(height))
    for i in order:
        catchment[i] = catchment[receiver[i]]
    for i in reversed(order):
        if receiver[i] != i:
            area[receiver[i]] += area[i]
    return tuple(v.reshape(-1, width)[1:-1, 1:-1] for v in (area, catchment))


def borders(field: np.ndarray) -> np.ndarray:
    """The cells whose whole number differs from their right or lower neighbour's."""
    number, out = np.floor(field), np.zeros(field.shape, bool)
    out[:-1] |= number[:-1] != number[1:]
    out[:, :-1] |= number[:, :-1] != number[:, 1:]
    return out


def classes(field: np.ndarray, land: np.ndarray) -> np.ndarray:
    """Classes 1 to 3 of about equal area."""
    return 1 + np.digitize(field, np.quantile(field[land], (1 / 3, 2 / 3)))


def make_factors(rng, c) -> tuple[dict, np.ndarray, dict]:
    """Every factor but DV as (rows, cols), in the order of the tables; where there is land; and what distances are
    measured from: cells of roads, streams and faults, and the numbers of catchments (0 without one)."""
    elevation, land = island(rng, c)
    shape = land.shape
    ground = np.maximum(elevation, c.PLAIN)
    slope, aspect, curvature = terrain(ground, c.CELL)
    area, catchment = drain(elevation, land)
    size = np.bincount(catchment.ravel())
    divide = borders(np.where(size[catchment] < c.CATCHMENT, 0, catchment)) & binary_erosion(land)
    row, col = np.indices(shape)
    roads = borders(0.7 * noise(rng, shape, c.ROAD_LENGTH, 6.0))
    faults = borders((0.8 * row + 0.6 * col) / c.FAULT_SPACING + 0.3 * noise(rng, shape, 40.0, 5.0))
    land_use = classes(noise(rng, shape, 40.0, 4.0) + elevation / c.PEAK, land)  # built-up, farmed, wooded
    ndvi = 5500 + 400 * land_use + 1300 * noise(rng, shape, 8.0, 3.0)
    tangent = np.tan(np.radians(slope))

    def distance(lines):
        return c.CELL * distance_transform_edt(~(lines & land))

    factors = {
        "land use": land_use,
        "lithology": classes(noise(rng, shape, 60.0, 4.0), land),
        "DEM": ground,
        "slope": slope,
        "curvature": curvature,
        "aspect": aspect,
        "NDVI": np.clip(ndvi, 0, 9500).round(),
        "SPI": np.log1p(area * tangent),
        "TWI": np.log(c.CELL * area / np.maximum(tangent, 0.01)),
        "dis2road": distance(roads),
        "dis2drainage": distance(area >= c.CHANNEL),
        "dis2catchment": distance(divide),
        "dis2faults": distance(faults),
    }
    # Rounded here once, so that tables, composite and truth agree to the last digit.
    lines = {"roads": roads & land, "rivers": (area >= c.CHANNEL) & land, "faults": faults & land,
             "catchments": np.where(land, 1 + np.where(size[catchment] < c.CATCHMENT, 0, catchment), 0)}
    return {name: np.round(v, c.DECIMALS) for name, v in factors.items()}, land, lines


def make_environments(rng, shape: tuple[int, int]) -> np.ndarray:
    """Environments 1 to 4 (rows, cols): the quarters of the raster, borders warped."""
    row, col = np.indices(shape)
    south = (row / shape[0] + 0.07 * noise(rng, shape, 60.0, 4.0)) > 0.5
    east = (col / shape[1] + 0.07 * noise(rng, shape, 60.0, 4.0)) > 0.5
    return 1 + 2 * south + east


def factor_of(term: str) -> str:
    """The factor a term of WEIGHTS is made of."""
    return term.removeprefix("log ").removeprefix("cos ").split(" = ")[0]


def term_values(term: str, factors: pd.DataFrame) -> np.ndarray:
    """A term of WEIGHTS over the land cells: "cos aspect" and "lithology = 3" as they are, else standardised."""
    v = factors[factor_of(term)].to_numpy(float)
    if " = " in term:
        return (v == int(term[-1])).astype(float)
    if term.startswith("cos "):
        return np.where(v < 0, 0, np.cos(np.radians(v)))
    v = np.log1p(v) if term.startswith("log ") else v
    return (v - v.mean()) / v.std()


def make_probability(factors: pd.DataFrame, environment: np.ndarray, weights, share: float):
    """Landslide probability of every land cell, and the planted truth as a table, one row an environment.

    The offsets make the mean probability of each environment the share of landslides among the points, so that the
    probability is that of a point drawn. They also keep X,Y alone from telling anything.
    """
    probability, rows = np.empty(len(factors)), []
    for number, terms in enumerate(weights, start=1):
        here = environment == number
        if not here.any():
            raise InputError(f"ROWS, COLS: environment {number} has no land; take more cells")
        score = sum(weight * term_values(term, factors)[here] for term, weight in terms)
        offset = brentq(lambda b, s=score: expit(s + b).mean() - share, -100, 100)
        probability[here] = expit(score + offset)
        rows.append({"environment": number, "factor": factor_of(terms[0][0]), "offset": offset, **dict(terms)})
    return probability, pd.DataFrame(rows).fillna(0.0)


def make_velocity(rng, c, factors: pd.DataFrame, probability: np.ndarray, patches: np.ndarray) -> np.ndarray:
    """DV (land cells,) in mm/yr along the line of sight, negative = away from the satellite; 0 = not measured.

    Slopes move where they are likely to fail and lie in a patch (patches > 0). They move straight down the slope.
    """
    slope, aspect = np.radians(factors["slope"].to_numpy()), np.radians(factors["aspect"].to_numpy())
    heading, incidence = np.radians((c.HEADING, c.INCIDENCE))
    # The cosine between the way down and the way to the satellite: east, north and up parts of both.
    cosine = (np.cos(slope) * np.sin(incidence) * np.cos(aspect) * np.sin(heading)
              - np.cos(slope) * np.sin(incidence) * np.sin(aspect) * np.cos(heading)
              - np.sin(slope) * np.cos(incidence))
    moves = (probability > c.MOVING) & (factors["slope"].to_numpy() >= 5) & (patches > 0)
    down = np.where(moves, rng.gamma(4.0, c.VELOCITY / 4.0, len(moves)), 0)
    measured = np.round(down * cosine + c.NOISE * rng.standard_normal(len(moves)), c.DECIMALS)
    # Vegetation loses the signal: gaps are where NDVI is high, give or take.
    loss = factors["NDVI"].rank(pct=True).to_numpy() + 0.5 * rng.standard_normal(len(moves))
    return np.where(loss > np.quantile(loss, 1 - c.GAPS), 0.0, measured)


def draw_points(rng, c, grid: pd.DataFrame, probability: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The points without InSAR, and the InSAR points: factors of their cells, X, Y, label."""
    fails = rng.random(len(grid)) < probability
    slow = fails & (grid["DV"].abs() >= c.THRESHOLD).to_numpy()
    drawn = []
    for name, pool in (("INVENTORY", fails & ~slow), ("ABSENCE", ~fails), ("INSAR", slow)):
        number = getattr(c, name)
        if number > pool.sum():
            raise InputError(f"{name}={number}: expected at most {pool.sum()}, the cells there are; take fewer")
        drawn.append(rng.choice(np.flatnonzero(pool), number, replace=False))
    cell = np.concatenate(drawn)
    label = np.repeat((1, 0, 1), (c.INVENTORY, c.ABSENCE, c.INSAR))

    # Repeated points stand last in their kind and copy the first ones; the last absences copy landslides instead.
    end = c.INVENTORY + c.ABSENCE
    landslides, absences = round(c.REPEATED * c.INVENTORY), round(c.REPEATED * c.ABSENCE)
    conflicts = max(1, round(c.CONFLICTS * (landslides + absences)))
    copy = np.r_[c.INVENTORY - landslides:c.INVENTORY, end - absences:end]
    first = np.r_[:landslides, c.INVENTORY:c.INVENTORY + absences - conflicts, landslides:landslides + conflicts]
    cell[copy] = cell[first]
    xy = grid[["X", "Y"]].to_numpy()[cell] + c.CELL * rng.uniform(-0.49, 0.49, (len(cell), 2))  # (points, 2)
    there = (np.arange(len(copy)) % 2 == 0) | (np.arange(len(copy)) >= len(copy) - conflicts)
    xy[copy[there]] = xy[first[there]]

    table = grid.iloc[cell].assign(X=xy[:, 0].round(2), Y=xy[:, 1].round(2), label=label)
    return table[:end].sample(frac=1, random_state=rng), table[end:]


def as_insar_table(points: pd.DataFrame) -> pd.DataFrame:
    """InSAR points the way they are published: other names, velocity with the opposite sign, and once more as label."""
    names = {name: name.replace("dis2", "D2") for name in points} | {"land use": "landuse", "DV": "DV_InSAR"}
    return points.assign(DV=-points["DV"], label=-points["DV"]).rename(columns=names)


def write_table(path, table: pd.DataFrame, made_from: tuple) -> None:
    """Writes an input table the way published ones are: zeros of factors as 0.000001, and a BOM."""
    factors = table.loc[:, :"X"].columns[:-1]
    table = table.assign(**{name: table[name].mask(table[name] == 0, _STORED_ZERO) for name in factors})
    with whole(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g", encoding="utf-8-sig")
    write_record(path, *made_from)


def write_raster(path, band: np.ndarray, kind: int, nodata: float, geotransform, c, made_from: tuple) -> None:
    """Writes one band (rows, cols) of the raw form."""
    with whole(path) as temporary:
        dataset = gdal.GetDriverByName("GTiff").Create(str(temporary), c.COLS, c.ROWS, 1, kind, ["COMPRESS=DEFLATE"])
        dataset.SetGeoTransform(geotransform)
        dataset.SetSpatialRef(crs_of(c))
        dataset.GetRasterBand(1).SetNoDataValue(nodata)
        dataset.GetRasterBand(1).WriteArray(band)
        dataset.FlushCache()
        del dataset
    write_record(path, *made_from)


def write_vector(path, features: list[tuple[str, str]], field: str, c, made_from: tuple) -> None:
    """Writes geometries (WKT) with one text each as a GeoPackage of one layer, named like the file."""
    gdal.SetConfigOption("OGR_CURRENT_DATE", "2000-01-01T00:00:00.000Z")  # same seed, same bytes
    with whole(path) as temporary:
        dataset = gdal.GetDriverByName("GPKG").Create(str(temporary), 0, 0, 0, gdal.GDT_Unknown)
        layer = dataset.CreateLayer(path.stem, crs_of(c), ogr.CreateGeometryFromWkt(features[0][0]).GetGeometryType())
        layer.CreateField(ogr.FieldDefn(field, ogr.OFTString))
        layer.StartTransaction()
        for wkt, text in features:
            feature = ogr.Feature(layer.GetLayerDefn())
            feature.SetGeometry(ogr.CreateGeometryFromWkt(wkt))
            feature.SetField(field, text)
            layer.CreateFeature(feature)
        layer.CommitTransaction()
        del feature, layer, dataset
    gdal.SetConfigOption("OGR_CURRENT_DATE", None)
    write_record(path, *made_from)


def lines_through(mask: np.ndarray, geotransform) -> list[tuple[str, str]]:
    """Cells (rows, cols) as lines from centre to centre of neighbours; a cell alone is a short line."""
    padded, parts = np.pad(mask, 1), []
    joined = np.zeros(mask.shape, bool)
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        other = padded[1 + down:1 + down + mask.shape[0], 1 + right:1 + right + mask.shape[1]]
        row, col = np.nonzero(mask & other)
        joined[row, col] = joined[row + down, col + right] = True
        parts.append(np.column_stack([*centres(geotransform, row, col),
                                      *centres(geotransform, row + down, col + right)]))
    row, col = np.nonzero(mask & ~joined)
    parts.append(np.column_stack([*centres(geotransform, row, col - 0.1), *centres(geotransform, row, col + 0.1)]))
    return [(f"LINESTRING ({a:.1f} {b:.1f}, {x:.1f} {y:.1f})", "") for a, b, x, y in np.concatenate(parts)]


def polygons_of(numbers: np.ndarray, names, geotransform, c) -> list[tuple[str, str]]:
    """Areas of equal number (rows, cols) above 0 as polygons, each with its name: names(number)."""
    memory = gdal.GetDriverByName("MEM").Create("", c.COLS, c.ROWS, 1, gdal.GDT_Int32)
    memory.SetGeoTransform(geotransform)
    memory.GetRasterBand(1).WriteArray(numbers.astype(np.int32))
    dataset = gdal.GetDriverByName("Memory").Create("", 0, 0, 0, gdal.GDT_Unknown)
    layer = dataset.CreateLayer("areas", None, ogr.wkbPolygon)
    layer.CreateField(ogr.FieldDefn("number", ogr.OFTInteger))
    gdal.Polygonize(memory.GetRasterBand(1), memory.GetRasterBand(1), layer, 0)
    return [(f.GetGeometryRef().ExportToWkt(), names(f.GetField("number"))) for f in layer]


def write_raw(folder, factors, land, lines, inventory, grid, rng, geotransform, c, made_from) -> list:
    """Writes the area the way a person has it; returns the files."""
    rasters = {"dem": (np.where(land, factors["DEM"], NODATA), gdal.GDT_Float32, NODATA),
               "land_use": (np.where(land, factors["land use"], 0), gdal.GDT_Byte, 0),
               "ndvi": (np.where(land, factors["NDVI"] / 10_000, NODATA), gdal.GDT_Float32, NODATA)}
    paths = []
    for name, (band, kind, nodata) in rasters.items():
        paths.append(folder / f"{name}.tif")
        write_raster(paths[-1], band, kind, nodata, geotransform, c, made_from)
    lithology = np.where(land, factors["lithology"], 0)
    landslides = inventory.loc[inventory["label"] == 1, ["X", "Y"]]
    vectors = {
        "lithology": (polygons_of(lithology, lambda n: _ROCKS[n - 1], geotransform, c), "rock"),
        "catchments": (polygons_of(lines["catchments"], str, geotransform, c), "number"),
        "inventory": ([(f"POINT ({x:.2f} {y:.2f})", "landslide") for x, y in landslides.to_numpy()], "kind"),
        **{name: (lines_through(lines[name], geotransform), "name") for name in ("roads", "rivers", "faults")}}
    for name, (features, field) in vectors.items():
        paths.append(folder / f"{name}.gpkg")
        write_vector(paths[-1], features, field, c, made_from)
    measured = grid.loc[grid["DV"] != 0, ["X", "Y", "DV"]].rename(columns={"DV": "velocity"})
    measured[["X", "Y"]] += (c.CELL * rng.uniform(-0.49, 0.49, (len(measured), 2))).round(2)
    paths.append(folder / "stable.csv")
    write_csv(paths[-1], inventory.loc[inventory["label"] == 0, ["X", "Y"]], *made_from)
    paths.append(folder / "insar.csv")
    write_csv(paths[-1], measured.assign(heading=c.HEADING, incidence=c.INCIDENCE, velocity_error=c.NOISE),
              *made_from)
    return paths


def crs_of(c) -> osr.SpatialReference:
    """The CRS of the area."""
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(c.EPSG)
    return crs


def write_composite(path, bands: list[np.ndarray], geotransform: tuple[float, ...], c, made_from: tuple) -> None:
    """Writes the terrain raster: bands (rows, cols) float32 in the order of lsm.inputs.rasters.TERRAIN."""
    with whole(path) as temporary:
        dataset = gdal.GetDriverByName("GTiff").Create(
            str(temporary), c.COLS, c.ROWS, len(bands), gdal.GDT_Float32, ["COMPRESS=DEFLATE", "PREDICTOR=3"])
        dataset.SetGeoTransform(geotransform)
        dataset.SetSpatialRef(crs_of(c))
        for i, (name, band) in enumerate(zip(_TERRAIN, bands, strict=True), start=1):
            target = dataset.GetRasterBand(i)
            target.SetNoDataValue(NODATA)
            target.SetDescription(name)
            target.WriteArray(band)
        dataset.FlushCache()
        del target, dataset
    write_record(path, *made_from)


def main(c):
    """Makes the area; c holds the constants."""
    rng, paths, made_from = np.random.default_rng(c.SEED), Paths(c.REGION), ("src_data/make_demo.py", c, [])
    geotransform = (c.WEST, c.CELL, 0.0, c.NORTH, 0.0, -c.CELL)
    factors, land, lines = make_factors(rng, c)
    environment = make_environments(rng, land.shape)[land]
    patches = noise(rng, land.shape, 25.0, 5.0)[land]
    grid = pd.DataFrame({name: v[land] for name, v in factors.items()})  # one row a land cell
    share = (c.INVENTORY + c.INSAR) / (c.INVENTORY + c.INSAR + c.ABSENCE)
    probability, planted = make_probability(grid, environment, c.WEIGHTS, share)
    x, y = centres(geotransform, *np.nonzero(land))
    grid = grid.assign(DV=make_velocity(rng, c, grid, probability, patches), X=x, Y=y)
    inventory, insar = draw_points(rng, c, grid, probability)
    samples = pd.concat([inventory, insar]).sample(frac=1, random_state=rng)

    def on_map(values, dtype=np.float32):
        raster = np.full(land.shape, NODATA, dtype)  # (rows, cols)
        raster[land] = values
        return raster

    tables = {paths.samples: samples, paths.samples_without_insar: inventory,
              paths.insar_points: as_insar_table(insar), paths.grid: grid}
    for path, table in tables.items():
        write_table(path, table, made_from)
    write_composite(paths.composite, [on_map(grid[name]) for name in _TERRAIN], geotransform, c, made_from)
    like = read_composite(paths.composite)
    truth = {paths.truth / "probability.tif": on_map(probability),
             paths.truth / "environment.tif": on_map(environment, np.int32)}
    for path, band in truth.items():
        write_band(path, band, like, NODATA, path.stem, *made_from)
    leaders = paths.truth / "leading_factor.csv"
    write_csv(leaders, planted, *made_from)
    raw = write_raw(paths.raw, factors, land, lines, inventory, grid, rng, geotransform, c, made_from)
    print(f"{c.ROWS} x {c.COLS} cells, {land.mean():.1%} land, {(grid['DV'] == 0).mean():.1%} of it without InSAR; "
          f"{c.INVENTORY} inventory landslides, {c.INSAR} InSAR points, {c.ABSENCE} non-landslides; mean probability "
          f"{probability.mean():.2f}")
    for path in (*tables, paths.composite, *truth, leaders, *raw):
        print(f"wrote {shown(path)}")


if __name__ == "__main__":
    run(main, Constants)
