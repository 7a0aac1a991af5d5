"""Round numbers, as sides of squares, scale bars and ticks have them."""

import numpy as np


def round_numbers(least: float, most: float) -> list[float]:
    """1, 2 and 5 times all powers of ten from `least` to `most`, rising; none where `least` is not above 0."""
    if not least > 0:
        return []
    powers = range(int(np.floor(np.log10(least))), int(np.floor(np.log10(most))) + 1)
    return [v for v in (m * 10.0**e for e in powers for m in (1, 2, 5)) if least <= v <= most]
