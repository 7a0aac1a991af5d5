"""Where every file of the pipeline lives: one property a file, so that no stage spells a path itself."""

import glob
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PRODUCTS = ("probability", "class", "leading", "applicability", "uncertainty")  # rasters of export_gis.py
OF_SOME = ("leading", "uncertainty")  # of these: with explained blocks only, with several members only
OF_CLASSES = ("class", "leading")     # of these: with names of classes
START_MODEL = PROJECT / "unsupervised_pretraining" / "model_init" / "start.npz"  # comes with the project


def root() -> Path:
    """The folder of `src_data/` and all output folders: the environment variable LSM_ROOT, or the project."""
    return Path(os.environ.get("LSM_ROOT", PROJECT)).resolve()


def shown(path: Path) -> str:
    """`path` as people type it: relative to the root where it lies below it."""
    path = Path(path)
    return str(path.relative_to(root())) if path.is_relative_to(root()) else str(path)


def python() -> str:
    """The Python of the commands in messages: the one that make runs stages with, else the one of the shell."""
    return os.environ.get("LSM_PYTHON", "python")


def other_project(script: str) -> Path | None:
    """The folder of the project that a script lies in, if that is another copy of the project than this module's."""
    own = next((folder for folder in Path(script).resolve().parents if (folder / "lsm" / "run").is_dir()), PROJECT)
    return None if own == PROJECT else own


def edit(path: Path, options: str) -> str:
    """The command that changes what a raster says of itself, like "-a_nodata 0"; GDAL's Python package brings it."""
    return f"python -m osgeo_utils.gdal_edit {options} {shlex.quote(shown(path))}"


def names_of_classes(path: Path) -> Path:
    """Where GDAL keeps the names of the classes of a raster."""
    return path.with_name(f"{path.name}.aux.xml")


def regions() -> list[str]:
    """The regions of which `root()` has inputs, raw ones or ready ones."""
    source = root() / "src_data"
    of_tables = [path.stem.removeprefix("samples_").removesuffix("_noTS") for path in source.glob("samples_*.csv")]
    folders = [path.parent.name for name in ("composite.tif", "raw") for path in source.glob(f"*/{name}")]
    return sorted({*of_tables, *folders})


@dataclass(frozen=True)
class Paths:
    """The files of one region below `root()`."""

    region: str

    def _at(self, folder: str, name: str) -> Path:
        return root() / folder / name

    # inputs
    samples = property(lambda self: self._at("src_data", f"samples_{self.region}.csv"))
    samples_without_insar = property(lambda self: self._at("src_data", f"samples_{self.region}_noTS.csv"))
    insar_points = property(lambda self: self._at("src_data", f"Ts_{self.region}.csv"))
    grid = property(lambda self: self._at("src_data", f"grid_samples_{self.region}.csv"))
    grid_parquet = property(lambda self: self._at("src_data", f"grid_samples_{self.region}.parquet"))
    composite = property(lambda self: self._at("src_data", f"{self.region}/composite.tif"))
    insar_table = property(lambda self: self._at("src_data", f"insar_{self.region}.csv"))
    insar_layer = property(lambda self: self._at("src_data", f"insar_{self.region}.gpkg"))
    insar_raster = property(lambda self: self._at("src_data", f"insar_{self.region}.tif"))
    truth = property(lambda self: self._at("src_data", f"{self.region}/truth"))

    def insar_sources(self) -> list[Path]:
        """The forms in which InSAR points are given to stage 0."""
        return [self.insar_points, self.insar_table, self.insar_layer, self.insar_raster]

    # the year of each landslide, where the inventory has dates; prepare_region.py writes it
    samples_dates = property(lambda self: self._at("src_data", f"{self.region}_samples_dates.csv"))

    # stage 0, beside `samples`
    samples_origin = property(lambda self: self._at("src_data", f"{self.region}_samples_origin.csv"))
    augmentation = property(lambda self: self._at("tmp", f"{self.region}_augmentation.csv"))
    augmentation_points = property(lambda self: self._at("tmp", f"{self.region}_augmentation_points.csv"))

    # of a new area: raw layers; what prepare_region.py makes beside the published inputs; what check_region.py found
    factors = property(lambda self: self._at("src_data", f"{self.region}/factors.json"))
    factor_stack = property(lambda self: self._at("src_data", f"{self.region}/factors.tif"))
    raw = property(lambda self: self._at("src_data", f"{self.region}/raw"))
    checks = property(lambda self: self._at("tmp", f"{self.region}_checks.csv"))
    correlation = property(lambda self: self._at("tmp", f"{self.region}_correlation.csv"))
    strategies = property(lambda self: self._at("tmp", f"{self.region}_non_landslides.csv"))

    # stage 1; of the first two the published code has fixed the names: no region in them, records say whose they are
    saved_model = property(lambda self: self._at("unsupervised_pretraining/model_init", "savedmodel.npz"))
    encoder = property(lambda self: self._at("unsupervised_pretraining/model_init", "encoder.npz"))
    pretraining_history = property(lambda self: self._at("unsupervised_pretraining/model_init",
                                                          f"{self.region}_history.csv"))

    # stage 2
    blocks = property(lambda self: self._at("metatask_sampling", f"{self.region}_blocks.tif"))
    tasks = property(lambda self: self._at("metatask_sampling", f"{self.region}_tasks.npz"))
    blocks_table = property(lambda self: self._at("metatask_sampling", f"{self.region}_blocks.csv"))

    # stage 3
    split = property(lambda self: self._at("checkpoint_dir", f"{self.region}_split.csv"))
    history = property(lambda self: self._at("checkpoint_dir", f"{self.region}_history.csv"))
    model = property(lambda self: self._at("checkpoint_dir", f"{self.region}_model.npz"))
    held_out = property(lambda self: self._at("checkpoint_dir", f"{self.region}_heldout.csv"))
    metrics = property(lambda self: self._at("checkpoint_dir", f"{self.region}_metrics.csv"))

    def checkpoint(self, iteration: int) -> Path:
        """Meta-training's state after `iteration` outer steps."""
        return self._at("checkpoint_dir", f"{self.region}_checkpoint_{iteration:06d}.npz")

    def checkpoints(self) -> list[Path]:
        """The checkpoints there are, oldest first."""
        return sorted(self._at("checkpoint_dir", "").glob(f"{glob.escape(self.region)}_checkpoint_[0-9]*.npz"))

    # stage 4
    models = property(lambda self: self._at("models_of_blocks", f"{self.region}_models.npz"))
    map_raster = property(lambda self: self._at("figs", f"LSM_{self.region}.tif"))
    map_table = property(lambda self: self._at("tmp", f"LSM_{self.region}.csv"))

    # stage 5
    splits = property(lambda self: self._at("tmp", f"{self.region}_splits.csv.gz"))
    scores = property(lambda self: self._at("tmp", f"{self.region}_scores.csv.gz"))
    method_metrics = property(lambda self: self._at("tmp", f"{self.region}_metrics.csv"))
    block_metrics = property(lambda self: self._at("tmp", f"{self.region}_block_metrics.csv"))
    method_differences = property(lambda self: self._at("tmp", f"{self.region}_differences.csv"))
    rates = property(lambda self: self._at("tmp", f"{self.region}_rates.csv"))
    results = property(lambda self: self._at("tmp", f"{self.region}_results.md"))
    intervals = property(lambda self: self._at("tmp", f"{self.region}_intervals.csv"))
    published_steps = property(lambda self: self._at("tmp", f"{self.region}_published_steps.csv"))
    published_steps_page = property(lambda self: self._at("tmp", f"{self.region}_published_steps.md"))
    method_maps = property(lambda self: self._at("tmp", f"{self.region}_method_maps.tif"))
    comparison = property(lambda self: self._at("tmp", f"{self.region}_comparison"))

    # stage 6
    importance = property(lambda self: self._at("tmp", f"{self.region}_importance.csv"))
    importance_territory = property(lambda self: self._at("tmp", f"{self.region}_importance_territory.csv"))
    shap_values = property(lambda self: self._at("tmp", f"{self.region}_shap.npz"))
    leading_factor = property(lambda self: self._at("figs", f"{self.region}_leading_factor.tif"))

    # stage 8
    breaks = property(lambda self: self._at("tmp", f"{self.region}_breaks.json"))
    gis_table = property(lambda self: self._at("tmp", f"{self.region}_gis.csv"))
    gis_work = property(lambda self: self._at("tmp", f"{self.region}_gis"))
    gis_layers = property(lambda self: self._at("figs", f"{self.region}_blocks.gpkg"))

    def gis_raster(self, product: str) -> Path:
        """A raster of export_gis.py; product: one of PRODUCTS."""
        return self._at("figs", f"{self.region}_{product}.tif")

    def beside_gis_raster(self, product: str) -> list[Path]:
        """What lies beside such a raster without a record: its style, and the names of classes where it has some."""
        path = self.gis_raster(product)
        return [path.with_suffix(".qml"), *[names_of_classes(path)] * (product in OF_CLASSES)]

    # stage 9
    report = property(lambda self: self._at("figs", f"report_{self.region}.html"))

    def all(self) -> list[Path]:
        """Every file that has a name of its own, without checkpoints and figures, in the order of the stages."""
        own = [getattr(self, name) for name, value in vars(Paths).items() if isinstance(value, property)]
        return own + [self.gis_raster(product) for product in PRODUCTS]

    def figure(self, name: str, suffix: str) -> Path:
        """A figure of `figure.py`, or the numbers it draws: suffix "png", "pdf" or "csv"; the png has a record."""
        return self._at("figs", f"{self.region}_{name}.{suffix}")

    def recorded_figures(self) -> list[Path]:
        """The png of each figure that has a record, also of regions whose names begin as this one's does."""
        return [path.with_suffix("") for path in sorted(self._at("figs", "").glob(
            f"{glob.escape(self.region)}_*.png.json"))]
