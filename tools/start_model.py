"""Makes the small intermediate model that comes with the project, for small inventories (START_FROM=project).

It is meta-trained on windows of two kinds of areas: the published tables of Hong Kong (MIT licence, without InSAR
points), and synthetic islands of src_data/make_demo.py of other seeds, with other terrain and other causes than the
demo. Each window is standardised by its own points, and some of its factors are taken away, so that the model is used
to areas that lack any. Factors: the published ones without categories and without DV, which few areas have.

Reads   <HK_DATA>/samples_HK_noTS.csv
Writes  unsupervised_pretraining/model_init/start.npz     encoder (of Hong Kong: its columns are used, and its
                                                          places say where not to start from this model), kinds,
                                                          members and their inner rates
Run     make start_model [HK_DATA=<folder>]
        python tools/start_model.py HK_DATA=<folder> [NAME=value ...]
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lsm.demo.island import make_factors
from lsm.demo.landslides import make_probability
from lsm.inputs.samples import Samples, read_samples, unique_places
from lsm.learner.adaptation import pooled_members
from lsm.learner.encoder import Encoder
from lsm.learner.members import HISTORY, Kind, Training, initial_state, initial_weights
from lsm.learner.meta_training import meta_train
from lsm.learner.network import use_one_thread
from lsm.learner.transfer.windows import together, windows
from lsm.run.artifacts import write_npz
from lsm.run.paths import START_MODEL, shown
from lsm.run.settings import of_stage, run
from study_area import FACTORS


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants:
    """What a person may set for one run as NAME=value."""

    HK_DATA: str = "../shared/hk"  # folder of the Hong Kong tables
    REGION: str = "start"          # what its record calls it
    RECIPE: str = "recommended"    # of the encoder; the published one divides by maxima, which differ between areas
    SEED: int = 1
    # the windows
    HK_WINDOWS: int = 150
    ISLANDS: int = 8                           # synthetic areas
    ISLAND_WINDOWS: int = 6                    # of each
    POINTS: tuple[int, ...] = (200, 1500)      # of a window: fewest and most
    MISSING: float = 0.6                       # the largest share of factors that a window lacks
    # a synthetic area: cells, and what is drawn anew for each
    FIRST_SEED: int = 101                      # of its terrain; the demo has seed 1
    ROWS: int = 160
    COLS: int = 200
    LANDSLIDES: int = 1500                     # and as many non-landslides
    PEAKS: tuple[float, ...] = (300.0, 2500.0)  # m, of the highest cell, from and to
    CAUSES: int = 4                            # factors in the log-odds of a landslide, slope among them
    LEADING: tuple[float, ...] = (1.0, 2.5)    # weight of slope, from and to; of others up to as much, of either sign
    # meta-training
    MEMBERS: int = 3
    NEIGHBOURHOOD: int = 80
    ITERATIONS: int = 1000
# ----------------------------------------------------------------------------------------------------------------

_USED = tuple(factor for factor in FACTORS if factor.kind != "categorical" and not factor.zero_is_missing)
_OF_STAGE_3 = ("SUPPORT", "QUERY", "INNER_STEPS", "INNER_LR", "LINE_SHARE", "META_BATCH", "META_LR", "FIRST_ORDER")
_TERMS = {"continuous": "{}", "distance": "log {}", "circular": "cos {}"}  # of make_demo.py's log-odds


def without_categories(samples: Samples) -> Samples:
    """The samples of a table of all FACTORS, each place once, with the factors of _USED alone."""
    keep, *_ = unique_places(samples)
    columns = [j for j, factor in enumerate(FACTORS) if factor in _USED]
    return Samples(samples.factors[keep][:, columns], samples.xy[keep], samples.label[keep])


def synthetic(c: Constants, seed: int) -> Samples:
    """An island of make_demo.py with one environment: its height, its causes and its points drawn from `seed`."""
    rng = np.random.default_rng(seed)
    peak = float(rng.uniform(*c.PEAKS))
    demo = replace(of_stage("src_data/make_demo.py"), SEED=seed, ROWS=c.ROWS, COLS=c.COLS, PEAK=peak)
    factors, land, _ = make_factors(rng, demo)
    cells = pd.DataFrame({name: v[land] for name, v in factors.items()})
    lead = rng.uniform(*c.LEADING)
    others = rng.permutation([f for f in range(len(_USED)) if _USED[f].name != "slope"])[:c.CAUSES - 1]
    terms = [("slope", lead)] + [(_TERMS[_USED[f].kind].format(_USED[f].name), rng.uniform(-lead, lead))
                                 for f in others]
    probability, _ = make_probability(cells, np.ones(len(cells), int), (terms,), 0.5)
    fails = rng.random(len(cells)) < probability
    drawn = np.concatenate([rng.permutation(np.flatnonzero(pool))[:c.LANDSLIDES] for pool in (fails, ~fails)])
    place = np.column_stack(np.nonzero(land))[drawn][:, ::-1] * demo.CELL
    return Samples(cells[[f.name for f in _USED]].to_numpy(np.float32)[drawn], place + rng.uniform(0, 1, place.shape),
                   fails[drawn].astype(np.int8))


def main(c: Constants) -> None:
    """Makes the model."""
    use_one_thread()
    table, rng = Path(c.HK_DATA) / "samples_HK_noTS.csv", np.random.default_rng(c.SEED)
    hong_kong = without_categories(read_samples(table, FACTORS))
    parts = windows(hong_kong, _USED, c.HK_WINDOWS, c.POINTS, c.MISSING, rng)
    for i in range(c.ISLANDS):
        parts += windows(synthetic(c, c.FIRST_SEED + i), _USED, c.ISLAND_WINDOWS, c.POINTS, c.MISSING, rng)
    samples = together(parts)
    print(f"{len(parts)} windows, {len(samples.label):,} points, {samples.label.mean():.2f} of them landslides")

    one = of_stage("unsupervised_pretraining/DAS_pretraining.py", RECIPE=c.RECIPE)
    three = of_stage("meta_learner.py", RECIPE=c.RECIPE, SEED=c.SEED)
    kind = Kind("local", c.MEMBERS, c.NEIGHBOURHOOD, three.SUPPORT, three.QUERY, c.ITERATIONS, False, False, True,
                three.LOCAL_BORROW, three.ADAPT_STEPS, 0, 0.0)
    states = [initial_state(initial_weights([samples.x.shape[1], *one.HIDDEN], None, rng, True), three.INNER_LR, True)
              for _ in range(kind.members)]
    training = Training([kind], [states], 0, np.empty((0, len(HISTORY))))
    meta_train(training, samples, np.ones(len(samples.label), bool), three, lambda training: None)
    step, _, before, after, rate = training.history[-1]
    print(f"outer step {step:.0f}: query loss {before:.3f}, after adaptation {after:.3f}; mean inner rate {rate:.3f}")

    encoder = Encoder.fit(hong_kong.factors, _USED, c.RECIPE, hong_kong.xy)
    pooled = pooled_members(training, samples.x)
    made_with = SimpleNamespace(**vars(c), HIDDEN=one.HIDDEN, **{name: getattr(three, name) for name in _OF_STAGE_3})
    write_npz(START_MODEL, training.for_file(pooled, encoder), "tools/start_model.py", made_with, [table])
    print(f"wrote {shown(START_MODEL)}, {START_MODEL.stat().st_size:,} bytes")


if __name__ == "__main__":
    run(main, Constants, makes_region=True)
