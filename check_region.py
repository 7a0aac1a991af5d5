"""Checks the inputs of a region before any model is fitted: what is wrong, where, and what to do. Changes no input.

It serves regions of prepare_region.py and regions whose tables were made elsewhere. What it looks at:
docs/new_region.md.

Reads   src_data/samples_<REGION>.csv           factors, X, Y, label
        src_data/samples_<REGION>_noTS.csv      the same without InSAR landslides (optional)
        src_data/grid_samples_<REGION>.csv      factors, X, Y of every cell; or src_data/<REGION>/factors.tif
        src_data/<REGION>/composite.tif         DEM, aspect, curvature, slope
Writes  tmp/<REGION>_checks.csv                 topic, file, level (error, warning or ok), found, remedy
        tmp/<REGION>_correlation.csv            correlations of the factors, variance inflation
Run     python check_region.py [REGION=<name>]
"""

from dataclasses import dataclass

from lsm.checks.inspection import write_checks
from lsm.run.settings import at_least, run
from study_area import Area


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants(Area):
    """What a person may set, here or for one run as NAME=value."""

    SAMPLE_ROWS: int = 200_000   # first rows of the grid table that statistics are made of; not published
    STOP_AT_ERRORS: bool = True  # errors end this and `make run` with exit code 2; False: they are only said
# ----------------------------------------------------------------------------------------------------------------


def check_constants(c: Constants) -> None:
    """Raises InputError for constants that mean nothing."""
    at_least(c, SAMPLE_ROWS=1)


def main(c: Constants) -> None:
    """Runs the stage."""
    check_constants(c)
    write_checks(c, c.STOP_AT_ERRORS)


if __name__ == "__main__":
    run(main, Constants)
