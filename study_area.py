"""The study area: which region, which recipe, and what its inputs mean. Every stage reads it.

REGION names the input files (`src_data/samples_<REGION>.csv` and so on, see lsm/run/paths.py). All coordinates are in
the CRS of `src_data/<REGION>/composite.tif`, a projected one in metres; the sample tables carry none of their own.
"""

import multiprocessing
from dataclasses import dataclass
from functools import lru_cache

from lsm.checks.factor_list import factors_of
from lsm.inputs.factor.definition import Factor, read_factors
from lsm.inputs.grid_cells import grid_of
from lsm.run.artifacts import made_by
from lsm.run.paths import Paths
from lsm.run.progress import say_once


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Area:
    """The constants of every stage. A stage's own constants come after these."""

    REGION: str = "demo"  # the synthetic area of src_data/make_demo.py; "HK" is the published study
    SEED: int = 1         # of every random draw; not published
    FURTHER: str = "none"  # columns of samples and grid that FACTORS does not name, to take as factors too: "none",
                           #   "all" columns of numbers, or names, like "rain,soil:categorical"

    @property
    def factors(self) -> tuple[Factor, ...]:
        """The factors of the region's tables."""
        return factors(self.REGION, self.FURTHER)


@dataclass(frozen=True)
class StudyArea(Area):
    """With the recipe, for the stages whose settings depend on it."""

    RECIPE: str = "recommended"  # "published": the paper's settings; "recommended": what measured better
                                 #   (docs/decisions.md)


@dataclass(frozen=True)
class Spread:
    """Of the stages whose work a Dask cluster can do."""

    DASK_SCHEDULER: str = ""  # the address of its scheduler, like tcp://host:8786, or the path of the scheduler's file;
                              #   "": here


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
    Factor("curvature", "continuous", "1/100 m"),
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

# What people call the columns of a factor. Such a name, with or without the factor's unit behind it, counts where a
# table has no column of the factor's own name.
_DISTANCES = {"dis2road": ("road", "roads"), "dis2faults": ("fault", "faults", "fault line", "fault lines"),
              "dis2catchment": ("catchment", "catchments", "watershed"),
              "dis2drainage": ("river", "rivers", "stream", "streams", "drainage", "drainages")}
COMMON_NAMES = {
    "land use": ("land use land cover", "land use/land cover", "lulc", "lu lc", "lu/lc", "land cover", "lc"),
    "lithology": ("geology", "litho", "lithologic unit", "lithological unit", "geological unit", "rock type"),
    "DEM": ("altitude", "elev", "height", "dtm"),
    "slope": ("slope angle",),
    "curvature": ("general curvature", "total curvature"),
    "aspect": ("slope aspect",),
    "SPI": ("stream power index",),
    "TWI": ("topographic wetness index", "wetness index"),
    "DV": ("insar", "insar velocity", "deformation velocity", "v los"),
    **{factor: tuple(form.format(thing) for thing in things for form in (
        "distance to {}", "distance to the {}", "distance from {}", "distance from the {}", "dist to {}", "dist {}",
        "dis {}", "distance {}", "{} distance", "{} dist", "dist2{}", "dis2{}", "d2{}", "d {}", "proximity to {}"))
       for factor, things in _DISTANCES.items()},
}


def factors(region: str, further: str = "none") -> tuple[Factor, ...]:
    """The factors of a region: those of its factors.json where prepare_region.py wrote one, else the FACTORS that its
    tables hold; and `further` columns, see Area.FURTHER.

    Says what is left out and what could be taken: once, also in several stages that make runs. Raises InputError.
    """
    paths = Paths(region)
    by_stage_0 = not paths.samples.is_file() or made_by(paths.samples) == "augment_inventory.py"
    samples = paths.samples_without_insar if by_stage_0 and paths.samples_without_insar.is_file() else paths.samples
    tables = [path for path in (samples, grid_of(paths)) if path.is_file()]
    stamps = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in (paths.factors, *tables)
                   if path.is_file())
    return _factors(stamps, paths.factors.is_file(), further)


@lru_cache(maxsize=8)
def _factors(stamps: tuple, has_list: bool, further: str) -> tuple[Factor, ...]:
    """`factors` out of files (path, time of the last change, size); the list of factors first, where there is one."""
    files = [path for path, *_ in stamps]
    known = read_factors(files.pop(0))[0] if has_list else FACTORS
    found, notes = factors_of(known, COMMON_NAMES, files, further)
    if multiprocessing.parent_process() is None:  # what the stage has said its workers need not repeat
        say_once(notes)
    return found
