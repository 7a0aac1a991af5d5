"""Stage 1: learns the network's first weights from the factors alone: two RBMs, then a denoising autoencoder.

Each layer learns to reconstruct the activation of the layer below it and hands on its own activation. The reader checks
the whole samples table, so labels are read, but they are not used.

Reads   src_data/samples_<REGION>.csv                            factors, X, Y, label
Writes  unsupervised_pretraining/model_init/savedmodel.npz       arr_0.. = w1, b1, w2, b2, w3, b3; w as (out, in)
        unsupervised_pretraining/model_init/encoder.npz          from factors to network inputs (lsm/learner/encoder.py)
        unsupervised_pretraining/model_init/<REGION>_history.csv layer, epoch (0 = before training), error (mean squared
                                                                 reconstruction error per input of that layer)
Run     python unsupervised_pretraining/DAS_pretraining.py [REGION=HK RECIPE=published ...]
"""

from dataclasses import dataclass

import numpy as np

from lsm.inputs.samples import read_samples
from lsm.learner.encoder import Encoder
from lsm.learner.network import use_one_thread
from lsm.run.artifacts import write_csv, write_npz
from lsm.run.paths import Paths, shown
from lsm.run.progress import Progress
from lsm.run.settings import InputError, at_least, run
from lsm.run.writing import stage_1_files
from study_area import StudyArea
from unsupervised_pretraining.stack import machines, pretrain


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants(StudyArea):
    """What a person may set, here or for one run as NAME=value."""

    HIDDEN: tuple[int, ...] = (32, 32, 16)  # units of RBM, RBM, autoencoder; published (32, 32, 16)
    RBM_LEARNING_RATE: float = 1e-3         # of a batch's mean gradient; published 1e-3
    RBM_EPOCHS: int = 10                    # published 10
    RBM_BATCH: int = 64                     # samples; published 64
    RBM_INITIAL_SD: float = 0.1             # of the weights' start; not published; from 0.01, 8-12 of the second RBM's
                                            #   32 units end silent, from 0.1, 1-5 (Hong Kong, published recipe, 3
                                            #   seeds)
    DAE_LEARNING_RATE: float = 5e-5         # of Adam; published 5e-5
    DAE_EPOCHS: int = 20                    # published 20
    DAE_BATCH: int = 64                     # samples; published 64
    DAE_NOISE: float = 0.01                 # sd of the noise added to the second RBM's activation; published 0.01
# ----------------------------------------------------------------------------------------------------------------


def check_constants(c: Constants) -> None:
    """Raises InputError for constants that make no network."""
    if len(c.HIDDEN) != 3 or not all(type(n) is int and n > 0 for n in c.HIDDEN):
        raise InputError(f"HIDDEN={c.HIDDEN}: expected three numbers of units, like (32, 32, 16)")
    at_least(c, RBM_EPOCHS=1, RBM_BATCH=1, DAE_EPOCHS=1, DAE_BATCH=1)


@stage_1_files()
def main(c: Constants) -> None:
    """Reads the samples, pretrains, writes weights, encoder and history."""
    check_constants(c)
    paths, rng = Paths(c.REGION), np.random.default_rng(c.SEED)
    samples = read_samples(paths.samples, c.factors)
    use_one_thread()

    rows = np.sort(np.unique(samples.xy, axis=0, return_index=True)[1])  # the first of each place, whatever its label
    repeated = len(samples.xy) - len(rows)
    print(f"{len(samples.xy):,} rows; left out since they repeat a place: {repeated:,}")
    factors = samples.factors[rows]
    encoder = Encoder.fit(factors, c.factors, c.RECIPE, samples.xy[rows])
    inputs = encoder.transform(factors)  # (samples, inputs)

    sizes = (inputs.shape[1], *c.HIDDEN)
    layers = machines(inputs.shape[1], c, rng)
    epochs = sum(layer[1] for layer in layers)
    with Progress(total=epochs, desc="pretraining", unit="epoch", delay=2) as bar:
        weights, history, silent = pretrain(inputs, layers, bar)

    made = ("unsupervised_pretraining/DAS_pretraining.py", c, [paths.samples])
    write_npz(paths.encoder, {"encoder": np.array(encoder.to_json())}, *made)
    write_npz(paths.saved_model, {f"arr_{i}": w for i, w in enumerate(weights)}, *made)
    write_csv(paths.pretraining_history, history, *made)

    print("layer              inputs  units  error before  error after  units that are 0 for all samples")
    for i, name in enumerate(("1 RBM", "2 RBM", "3 autoencoder")):
        error = history.error[history.layer == i + 1].to_numpy()
        print(f"{name:17} {sizes[i]:7} {sizes[i + 1]:6} {error[0]:13.4f} {error[-1]:12.4f} {silent[i]:31}")
    for path in (paths.saved_model, paths.encoder, paths.pretraining_history):
        print(f"wrote {shown(path)}")


if __name__ == "__main__":
    run(main, Constants)
