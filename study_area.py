"""The study area: which region, which recipe, and what its inputs mean. Every stage reads it.

REGION names the input files (`src_data/samples_<REGION>.csv` and so on, see lsm/run/paths.py). All coordinates are in
the CRS of `src_data/<REGION>/composite.tif`, a projected one in metres; the sample tables carry none of their own.
"""

from dataclasses import dataclass

from lsm.inputs.samples import Factor, read_factors
from lsm.run.paths import Paths


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Area:
    """The constants of every stage. A stage's own constants come after these."""

    REGION: str = "demo"  # the synthetic area of src_data/make_demo.py; "HK" is the published study
    SEED: int = 1         # of every random draw; not published

    @property
    def factors(self) -> tuple[Factor, ...]:
        """The factors of the region's tables."""
        return factors(self.REGION)


@dataclass(frozen=True)
class StudyArea(Area):
    """With the recipe, for the stages whose settings depend on it."""

    RECIPE: str = "recommended"  # "published": the paper's settings; "recommended": what measured better
                                 #   (docs/decisions.md)


@dataclass(frozen=True)
class MappedArea(StudyArea):
    """With the classes of every map, in figures, rasters and the report."""

    BREAKS: str = "fixed"  # between the classes: fixed, quantile, equal or natural; the paper names five classes, no
                           #   breaks
    CLASS_BREAKS: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8)  # probabilities, of BREAKS=fixed
    CLASS_NAMES: tuple[str, ...] = ("very low", "low", "moderate", "high", "very high")  # as published
    CLASS_COLOURS: tuple[str, ...] = ("#ffffd4", "#fed976", "#fd8d3c", "#d0301f", "#6b0010")  # lightness orders them
    BREAKS_FROM: int = 10_000  # cells that natural and quantile breaks are drawn from, at most; not published
# ----------------------------------------------------------------------------------------------------------------


# In the order of the published tables. A column is found under its name or any alias, whatever its place.
FACTORS = (
    Factor("land use", "categorical", "class", aliases=("landuse", "land_use")),
    Factor("lithology", "categorical", "class"),
    Factor("DEM", "continuous", "m", aliases=("elevation",)),
    Factor("slope", "continuous", "degree"),
    Factor("curvature", "continuous", "-"),
    Factor("aspect", "circular", "degree"),
    Factor("NDVI", "continuous", "1e-4"),
    Factor("SPI", "continuous", "-"),
    Factor("TWI", "continuous", "-"),
    Factor("dis2road", "distance", "m", aliases=("D2road",)),
    Factor("dis2drainage", "distance", "m", aliases=("D2drainage",)),
    Factor("dis2catchment", "distance", "m", aliases=("D2catchment",)),
    Factor("dis2faults", "distance", "m", aliases=("D2faults",)),
    Factor("DV", "continuous", "mm/yr", aliases=("DV_InSAR",), zero_is_missing=True),
)


def factors(region: str) -> tuple[Factor, ...]:
    """The factors of a region's tables: those of its factors.json where prepare_region.py wrote one, else FACTORS."""
    path = Paths(region).factors
    return read_factors(path)[0] if path.is_file() else FACTORS
