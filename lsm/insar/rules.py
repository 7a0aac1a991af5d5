"""The bounds that make an InSAR point a weak landslide label: constants of augment_inventory.py."""

from typing import Protocol

import numpy as np

from lsm.insar.velocities import ASIDE
from lsm.run.settings import InputError

LOOKS = {"right": 1, "left": -1}  # the side of its track a satellite looks to; nearly all look right


class RuleConstants(Protocol):
    """The constants that the rules of `moving_slopes.find_moving` depend on, as augment_inventory.py explains them."""

    GEOMETRY: tuple
    LOOK: str
    MIN_COSINE: float
    MIN_VELOCITY: float
    DOWNHILL: bool
    MIN_SLOPE: float
    MIN_COHERENCE: float
    ERRORS: float
    FALSE_SHARE: float
    FLAT_TELLS: bool
    SPACING: float


RULES = tuple(RuleConstants.__annotations__)


def check_rules(c: RuleConstants) -> None:
    """Raises InputError for constants that mean nothing."""
    if c.LOOK not in LOOKS:
        raise InputError(f"LOOK={c.LOOK}: expected {' or '.join(LOOKS)}")
    if c.GEOMETRY and not (len(c.GEOMETRY) == 2 and all(isinstance(v, (int, float)) for v in c.GEOMETRY)
                           and 2 * np.pi < abs(c.GEOMETRY[0]) <= 360 and ASIDE[0] <= c.GEOMETRY[1] <= ASIDE[1]):
        raise InputError(f"GEOMETRY={c.GEOMETRY}: expected (heading, incidence) in degrees, like (-13.0, 39.0): the "
                         f"heading up to 360 and not as near 0 as radians are, the incidence {ASIDE[0]} to {ASIDE[1]} "
                         "off the vertical")
    for name, low, high in (("MIN_COSINE", 0.01, 1), ("MIN_VELOCITY", 0, np.inf), ("MIN_SLOPE", 0, 90),
                            ("ERRORS", 0, np.inf), ("FALSE_SHARE", 0, 1), ("MIN_COHERENCE", 0, 1),
                            ("SPACING", 0, np.inf)):
        if not low <= getattr(c, name) <= high:
            raise InputError(f"{name}={getattr(c, name)}: expected {low} to {high}")
