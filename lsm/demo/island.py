"""The island: its terrain, and what lies on it, as rasters (rows, cols)."""

from typing import Protocol

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt, laplace

from lsm.inputs.bands import NODATA
from lsm.region.drainage import flow_of


class IslandConstants(Protocol):
    """The grid, the terrain and what lies on it, as make_demo.py explains them."""

    ROWS: int
    COLS: int
    CELL: float
    LAND: float
    PEAK: float
    PLAIN: float
    CHANNEL: int
    CATCHMENT: int
    ROAD_LENGTH: float
    FAULT_SPACING: float
    DECIMALS: int


def noise(rng: np.random.Generator, shape: tuple[int, int], length: float, beta: float) -> np.ndarray:
    """A random field (rows, cols), mean 0, sd 1. Waves shorter than `length` cells have a power that falls with their
    length ** beta."""
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    amplitude = (length**-2.0 + frequency**2) ** (-beta / 4)
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * amplitude, s=shape)
    return (field - field.mean()) / field.std()


def island(rng: np.random.Generator, c: IslandConstants) -> tuple[np.ndarray, np.ndarray]:
    """Elevation (rows, cols) in m, negative under the sea, and the mask of land."""
    y, x = np.linspace(-1, 1, c.ROWS)[:, None], np.linspace(-1, 1, c.COLS)
    height = noise(rng, (c.ROWS, c.COLS), 0.5 * c.COLS, 3.6) + 3.0 * (1 - x**4) * (1 - y**4)
    height -= np.quantile(height, 1 - c.LAND)
    height /= height.max()
    # The power makes low ground gentle and the heights steep.
    return c.PEAK * np.sign(height) * np.abs(height) ** 1.5, height > 0


def surface(ground: np.ndarray, cell: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slope (degrees), aspect (degrees clockwise from north, -1 where flat) and curvature (1/100 m, convex > 0)."""
    south, east = np.gradient(ground, cell)  # rise to the south, to the east
    slope = np.degrees(np.arctan(np.hypot(south, east)))
    aspect = np.degrees(np.arctan2(-east, south)) % 360  # the way down
    return slope, np.where(slope < 0.01, -1.0, aspect), -100 * laplace(ground) / cell**2


def drain(elevation: np.ndarray, land: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells that drain through each land cell, itself included, and the catchment of each land cell (the number of its
    outlet); 1 and 0 under the sea. The outlets are the land cells along the coast."""
    coast = land & ~binary_erosion(land, np.ones((3, 3)))
    outlets = np.flatnonzero(coast)
    flow = flow_of(np.where(land, elevation, NODATA), outlets)
    numbers = np.flatnonzero(np.pad(coast, 1))  # counted on the raster with a rim of one cell: 0 is no outlet
    catchment = flow.basins(idxs=outlets, ids=numbers.astype(np.uint32)).astype(int)
    return np.where(land, flow.upstream_area("cell"), 1), catchment


def contours(field: np.ndarray) -> np.ndarray:
    """(rows, cols) bool: cells whose whole part differs from the whole part of their right or lower neighbour."""
    number, out = np.floor(field), np.zeros(field.shape, bool)
    out[:-1] |= number[:-1] != number[1:]
    out[:, :-1] |= number[:, :-1] != number[:, 1:]
    return out


def classes(field: np.ndarray, land: np.ndarray) -> np.ndarray:
    """Classes 1 to 3 of about equal area."""
    return 1 + np.digitize(field, np.quantile(field[land], (1 / 3, 2 / 3)))


def make_factors(rng: np.random.Generator, c: IslandConstants) -> tuple[dict, np.ndarray, dict]:
    """Every factor but DV as (rows, cols), in the order of the tables; the mask of land; and what distances are
    measured from: masks of roads, rivers and faults, and the numbers of catchments. The small catchments along the
    coast share the number 1, and the sea has 0."""
    elevation, land = island(rng, c)
    shape = land.shape
    ground = np.maximum(elevation, c.PLAIN)
    slope, aspect, curvature = surface(ground, c.CELL)
    area, catchment = drain(elevation, land)
    catchment = np.where(np.bincount(catchment.ravel())[catchment] < c.CATCHMENT, 0, catchment)
    divide = contours(catchment) & binary_erosion(land)
    row, col = np.indices(shape)
    roads = contours(0.7 * noise(rng, shape, c.ROAD_LENGTH, 6.0))
    faults = contours((0.8 * row + 0.6 * col) / c.FAULT_SPACING + 0.3 * noise(rng, shape, 40.0, 5.0))
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
    lines = {"roads": roads & land, "rivers": (area >= c.CHANNEL) & land, "faults": faults & land,
             "catchments": np.where(land, 1 + catchment, 0)}
    # Rounded here once, so that tables, composite and truth agree to the last digit.
    return {name: np.round(v, c.DECIMALS) for name, v in factors.items()}, land, lines
