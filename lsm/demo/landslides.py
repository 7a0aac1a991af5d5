"""The landslides of the island: their planted probability, what InSAR sees of them, and the points drawn."""

from typing import Protocol

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit

from lsm.demo.island import noise
from lsm.insar.moving_slopes import slope_cosine
from lsm.run.settings import InputError


class InsarConstants(Protocol):
    """What InSAR sees of the island, as make_demo.py explains it."""

    HEADING: float
    INCIDENCE: float
    GAPS: float
    MOVING: float
    VELOCITY: float
    NOISE: float
    DECIMALS: int


class DemoPointConstants(Protocol):
    """The points drawn, as make_demo.py explains them."""

    ROWS: int
    COLS: int
    CELL: float
    THRESHOLD: float
    INVENTORY: int
    ABSENCE: int
    INSAR: int
    REPEATED: float
    CONFLICTS: float


def make_environments(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Environments 1 to 4 (rows, cols): the quarters of the raster, borders warped."""
    row, col = np.indices(shape)
    south = (row / shape[0] + 0.07 * noise(rng, shape, 60.0, 4.0)) > 0.5
    east = (col / shape[1] + 0.07 * noise(rng, shape, 60.0, 4.0)) > 0.5
    return 1 + 2 * south + east


def factor_of(term: str) -> str:
    """The factor in a term of WEIGHTS: "dis2road" of "log dis2road"."""
    return term.removeprefix("log ").removeprefix("cos ").split(" = ")[0]


def term_values(term: str, factors: pd.DataFrame) -> np.ndarray:
    """The values of a term of WEIGHTS (land cells,), standardised unless it is like "cos aspect" or "lithology = 3"."""
    v = factors[factor_of(term)].to_numpy(float)
    if " = " in term:
        return (v == int(term[-1])).astype(float)
    if term.startswith("cos "):
        return np.where(v < 0, 0, np.cos(np.radians(v)))
    v = np.log1p(v) if term.startswith("log ") else v
    return (v - v.mean()) / v.std()


def make_probability(factors: pd.DataFrame, environment: np.ndarray, weights, share: float
                     ) -> tuple[np.ndarray, pd.DataFrame]:
    """Landslide probability of every land cell, and the planted truth as a table, one row an environment.

    factors      one row a land cell; environment (land cells,) numbers from 1 up
    weights      of each environment: (term, weight) pairs
    share        of landslides among the points. Offsets make the mean probability of each environment equal to it. So
                 a cell's probability is the chance that a point drawn there is a landslide, and X, Y alone do not tell
                 environments with many landslides from environments with few
    Raises InputError for an environment without land.
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


def make_velocity(rng: np.random.Generator, c: InsarConstants, factors: pd.DataFrame, probability: np.ndarray,
                  patches: np.ndarray) -> np.ndarray:
    """DV (land cells,) in mm/yr along the line of sight, negative = away from the satellite; 0 = not measured.

    Slopes move, straight down, where they are likely to fail and patches (land cells,) is above 0.
    """
    slope, aspect = factors["slope"].to_numpy(), factors["aspect"].to_numpy()
    cosine = slope_cosine(slope, aspect, c.HEADING, c.INCIDENCE)
    moves = (probability > c.MOVING) & (slope >= 5) & (patches > 0)
    down = np.where(moves, rng.gamma(4.0, c.VELOCITY / 4.0, len(moves)), 0)
    measured = np.round(down * cosine + c.NOISE * rng.standard_normal(len(moves)), c.DECIMALS)
    # Over vegetation the signal is lost: gaps are mostly where NDVI is high.
    loss = factors["NDVI"].rank(pct=True).to_numpy() + 0.5 * rng.standard_normal(len(moves))
    return np.where(loss > np.quantile(loss, 1 - c.GAPS), 0.0, measured)


def draw_points(rng: np.random.Generator, c: DemoPointConstants, grid: pd.DataFrame, probability: np.ndarray
                ) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The points without InSAR, and the InSAR points: factors of their cells, X, Y, label. Raises InputError where
    there are too few cells."""
    fails = rng.random(len(grid)) < probability
    slow = fails & (grid["DV"].abs() >= c.THRESHOLD).to_numpy()
    pools = {"INVENTORY": fails & ~slow, "ABSENCE": ~fails, "INSAR": slow}
    most, wanted = ({name: int(value(name)) for name in pools} for value in (lambda name: pools[name].sum(),
                                                                             lambda name: getattr(c, name)))
    if over := [name for name in pools if wanted[name] > most[name]]:
        # Fewer of all alike: their shares tell how likely landslides are, and so which cells fail.
        part = 0.9 * min(most[name] / wanted[name] for name in over)
        fewer = " ".join(f"{name}={int(part * number)}" for name, number in wanted.items())
        found = ", ".join(f"{name}={wanted[name]}" for name in over)
        remedy = f"take fewer: {fewer}" if part * min(wanted[name] for name in over) >= 1 else "take more ROWS and COLS"
        raise InputError(f"{found}: expected at most {', '.join(str(most[name]) for name in over)}, the cells there "
                         f"are in {c.ROWS} x {c.COLS}; {remedy}")
    drawn = [rng.choice(np.flatnonzero(pool), wanted[name], replace=False) for name, pool in pools.items()]
    cell = np.concatenate(drawn)
    label = np.repeat((1, 0, 1), (c.INVENTORY, c.ABSENCE, c.INSAR))

    # Repeated points are the last of their kind. They copy the first of their kind, but the last absences copy
    # landslides.
    end = c.INVENTORY + c.ABSENCE
    landslides, absences = round(c.REPEATED * c.INVENTORY), round(c.REPEATED * c.ABSENCE)
    conflicts = min(absences, max(1, round(c.CONFLICTS * (landslides + absences))))
    copy = np.r_[c.INVENTORY - landslides:c.INVENTORY, end - absences:end]
    first = np.r_[:landslides, c.INVENTORY:c.INVENTORY + absences - conflicts, landslides:landslides + conflicts]
    cell[copy] = cell[first]
    xy = grid[["X", "Y"]].to_numpy()[cell] + c.CELL * rng.uniform(-0.49, 0.49, (len(cell), 2))  # (points, 2)
    there = (np.arange(len(copy)) % 2 == 0) | (np.arange(len(copy)) >= len(copy) - conflicts)
    xy[copy[there]] = xy[first[there]]

    table = grid.iloc[cell].assign(X=xy[:, 0].round(2), Y=xy[:, 1].round(2), label=label)
    return table[:end].sample(frac=1, random_state=rng), table[end:]
