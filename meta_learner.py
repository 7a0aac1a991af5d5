"""Stage 3: meta-trains the intermediate models (MAML), then adapts them to held-out blocks and scores them.

A task is a neighbourhood: the labelled samples nearest to a place, wherever block borders run (RECIPE=published: a
block). Every outer step draws a meta-batch of tasks and, in each, support and query samples. The inner loop takes a few
gradient steps on the support; the outer loop lowers the query loss after these steps, through them (second order).
Members of two kinds are trained: local ones learn from small neighbourhoods, regional ones from wide neighbourhoods and
know X and Y. Their log-odds are averaged.

Then held-out samples are scored. Every held-out block adapts on one half of its samples and is scored on the other
half; where most blocks are too thin for that, a whole fold of places is held out. Below TRAIN_ON_ALL samples the models
of the map are then trained once more, on all samples.

Reads   metatask_sampling/<REGION>_tasks.npz              samples by block
        unsupervised_pretraining/model_init/encoder.npz   from factors to network inputs
        unsupervised_pretraining/model_init/savedmodel.npz
        unsupervised_pretraining/model_init/start.npz     or another model that START_FROM names
        src_data/<REGION>_samples_dates.csv               years of landslides, for FORECAST
Writes  checkpoint_dir/<REGION>_split.csv                 block, row (of the samples table), role: meta-train, support,
                                                          query, unused (too thin a block; repeated factors)
        checkpoint_dir/<REGION>_checkpoint_<step>.npz     the state of training; a stopped run goes on from the newest
        checkpoint_dir/<REGION>_history.csv               iteration, kind, pre_loss, post_loss (of the query), inner_lr
        checkpoint_dir/<REGION>_model.npz                 the intermediate models, their inner rates and encoder
        checkpoint_dir/<REGION>_heldout.csv               sample, block, x, y, label, score_before, score_after
        checkpoint_dir/<REGION>_metrics.csv               block ("all" or its number), adapted, measures
Run     python meta_learner.py [RECIPE=published LOCAL_MEMBERS=5 ...]
"""

from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lsm.comparison import measures, splits
from lsm.learner.adaptation import adapted_scores
from lsm.learner.encoder import Encoder
from lsm.learner.members import HISTORY, Training
from lsm.learner.meta_training import meta_train
from lsm.learner.network import use_one_thread
from lsm.learner.prediction import mean_log_odds, probability
from lsm.learner.support import dates
from lsm.learner.support.reach import intermediate_models
from lsm.learner.tasks import OTHERS, EncodedSamples, held_out_roles
from lsm.learner.transfer.source_model import begun, source_for
from lsm.run.artifacts import changes_since, read_npz, read_record, record_path, stopped, write_csv, write_npz
from lsm.run.code import code_of
from lsm.run.paths import Paths, shown
from lsm.run.pipeline import CUT, PRETRAIN
from lsm.run.settings import ByRecipe, InputError, at_least, in_short, run
from lsm.run.writing import stage_1_files
from study_area import StudyArea


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants(StudyArea):
    """What a person may set, here or for one run as NAME=value."""

    # what is held out and scored: blocks, or, where most blocks are thin, a fold of places
    MIN_SAMPLES: int = 16           # a block with more may be held out; a task of the published recipe; published 16
    META_TRAIN_SHARE: float = 0.75  # share of these blocks that meta-training learns from; published 0.75
    FOLDS: int = 5                  # folds of places, of which one is held out
    # members of two kinds. Sizes are for large inventories; lsm/learner/members.py says what smaller ones get
    LOCAL_MEMBERS: int = ByRecipe(published=1, recommended=3)          # networks trained separately
    LOCAL_NEIGHBOURHOOD: int = ByRecipe(published=0, recommended=80)   # labelled points of a task; 0: tasks are blocks
    LOCAL_ITERATIONS: int = ByRecipe(published=5000, recommended=3000)  # outer steps; the paper has one more
    LOCAL_BORROW: int = ByRecipe(published=0, recommended=100)         # labelled samples of other blocks, the nearest
                                                                       #   ones, that a block adapts on besides its own
    REGIONAL_MEMBERS: int = ByRecipe(published=0, recommended=3)       # networks trained separately
    REGIONAL_NEIGHBOURHOOD: int = 400                                  # labelled points of a task
    REGIONAL_ITERATIONS: int = 1500                                    # outer steps
    REGIONAL_SUPPORT: int = 32                                         # support samples of a task, and query samples
    REGIONAL_BORROW: int = 300                                         # as LOCAL_BORROW
    PLACE: bool = True       # True: X and Y are inputs of regional members; False: factors alone
    PLACE_FROM: int = 2000   # with fewer labelled points, factors alone
    FORECAST: bool = False   # True: for landslides to come; places count only if older ones predict the newer
    # start
    # what small inventories start from: "project" (the model it comes with), a region, the path of a model, "": nothing
    START_FROM: str = ""
    START_BELOW: int = ByRecipe(published=0, recommended=1000)  # labelled points; with so many or more, from nothing
    BASE_MODEL: str = "DAS"  # "DAS": the pretrained hidden layers; "MLP": all layers at random; published "DAS"
    NORMALISE: bool = True   # batch normalisation of the hidden layers of local members, by the support; published True
    NORMALISE_FROM: int = ByRecipe(published=0, recommended=2000)  # labelled points; with fewer, no normalisation
    DIRECT: bool = ByRecipe(published=False, recommended=True)  # a linear path from the inputs beside the hidden layers
    CURVES_BELOW: int = ByRecipe(published=0, recommended=2000)  # labelled points; with fewer, it is a sum of curves
    # inner loop
    SUPPORT: int = ByRecipe(published=8, recommended=16)  # samples of a task that the inner loop learns from
    QUERY: int = ByRecipe(published=8, recommended=16)    # samples of a task that the outer loop is judged on
    INNER_STEPS: int = 5     # gradient steps of a task in meta-training (blocks: ADAPT_STEPS); published 5
    INNER_LR: float = ByRecipe(published=0.01, recommended=0.1)          # where the trainable inner rate starts
    RATE_PER_WEIGHT: bool = ByRecipe(published=False, recommended=True)  # one inner rate, or one a weight (Meta-SGD)
    # share of the tasks whose support and query lie on opposite sides of a line; in the other tasks they are mixed
    LINE_SHARE: float = ByRecipe(published=0.0, recommended=0.5)
    FIRST_ORDER: bool = False  # True drops the second derivatives; published False
    # outer loop
    META_BATCH: int = 16   # tasks an outer step, or all there are; published 16
    META_LR: float = 1e-3  # learning rate of Adam; published 1e-3
    DECAY: float = ByRecipe(published=0.0, recommended=500.0)  # weight decay times the number of labelled points
    # blocks that adapt: the held-out ones here, all of them in predict_LSM.py
    ADAPT_STEPS: int = ByRecipe(published=5, recommended=20)  # gradient steps
    ADAPT_BATCH: int = ByRecipe(published=8, recommended=0)  # samples a step, drawn anew; 0: the whole support
    REACH: bool = ByRecipe(published=False, recommended=True)  # True: adapted networks count less far from samples
    # where the rarer class has a lower share, the mean probability is set to the share of landslides (support/level.py)
    LEVEL_BELOW: float = ByRecipe(published=0.0, recommended=0.25)
    # with fewer samples the intermediate models of the map are trained once more, on all of them
    TRAIN_ON_ALL: int = ByRecipe(published=0, recommended=5000)
    # files
    LOG_EVERY: int = 100    # outer steps in one compiled call, and the interval of history.csv; published 100
    SAVE_EVERY: int = 1000  # outer steps between checkpoints; published 1,000
# ----------------------------------------------------------------------------------------------------------------

_STAGE = "meta_learner.py"
_FEWEST = 20  # samples of a class


def go_on(training: Training, paths: Paths, c: Constants, inputs: list) -> None:
    """Takes states, step and history from the newest checkpoint that these constants and inputs made, if there is one.

    Raises InputError for a checkpoint of another region under this one's name.
    """
    # training up to a step does not depend on these
    free = {"LOCAL_ITERATIONS", "REGIONAL_ITERATIONS", "SAVE_EVERY", "ADAPT_STEPS", "ADAPT_BATCH", "LOCAL_BORROW",
            "REGIONAL_BORROW", "TRAIN_ON_ALL", "REACH", "LEVEL_BELOW"}
    afresh, end = "", max(kind.iterations for kind in training.kinds)
    for path in reversed(paths.checkpoints()):
        step = int(path.stem.rsplit("_", 1)[1])
        if step > end or (step < end and step % c.LOG_EVERY) or not record_path(path).is_file() or stopped(path):
            continue  # longer runs do not stop where a shorter one ended between two calls: they draw other tasks
        record = read_record(path, f"{_STAGE}, after removing it,")
        if record["region"] != c.REGION:
            raise InputError(f"{shown(path)}: expected region {c.REGION}, found {record['region']}; remove the file")
        differ = ["other code"] * (record.get("code") != code_of(_STAGE)) + changes_since(record, c, inputs, free)
        if not differ:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            if not np.array_equal(arrays["steps"], np.minimum(step, [kind.iterations for kind in training.kinds])):
                continue  # a kind had come to its end then, and has farther to go now
            print(f"going on from {shown(path)}")
            training.history, training.done = arrays["history"], step
            training.fill(arrays)
            return
        afresh = afresh or f"{shown(path)} is of another run ({in_short(differ)}): training starts afresh"
    if afresh:
        print(afresh)


def check_constants(c: Constants) -> None:
    """Raises InputError for values that training cannot use."""
    if c.BASE_MODEL not in ("DAS", "MLP"):
        raise InputError(f"BASE_MODEL={c.BASE_MODEL}: expected DAS or MLP")
    if not 0 <= c.LINE_SHARE <= 1:
        raise InputError(f"LINE_SHARE={c.LINE_SHARE}: expected 0 to 1")
    if not 0 < c.META_TRAIN_SHARE < 1:
        raise InputError(f"META_TRAIN_SHARE={c.META_TRAIN_SHARE}: expected more than 0 and less than 1")
    at_least(c, REGIONAL_NEIGHBOURHOOD=2, FOLDS=2, MIN_SAMPLES=1, SUPPORT=1, QUERY=1, REGIONAL_SUPPORT=1, INNER_STEPS=1,
             META_BATCH=1, LOCAL_ITERATIONS=1, REGIONAL_ITERATIONS=1, LOG_EVERY=1, SAVE_EVERY=1, LOCAL_MEMBERS=1)
    at_least(c, ADAPT_STEPS=0, ADAPT_BATCH=0, LOCAL_BORROW=0, REGIONAL_BORROW=0, REGIONAL_MEMBERS=0, TRAIN_ON_ALL=0,
             LOCAL_NEIGHBOURHOOD=0, START_BELOW=0, CURVES_BELOW=0, LEVEL_BELOW=0)


def check_number(label: np.ndarray, paths: Paths) -> None:
    """Refuses so few samples that nothing can be learned and scored. Raises InputError."""
    counts = np.bincount(label, minlength=2)
    if counts.min() < _FEWEST:
        raise InputError(f"{shown(paths.tasks)}: expected {_FEWEST} landslides and {_FEWEST} non-landslides or more, "
                         f"found {counts[1]} and {counts[0]}; scores mean something from about 100 of each on")


@stage_1_files()
def main(c: Constants) -> None:
    """Runs the stage."""
    check_constants(c)
    paths = Paths(c.REGION)
    inputs = [paths.tasks, paths.encoder, paths.saved_model] + [paths.samples_dates] * c.FORECAST
    table = read_npz(paths.tasks, CUT, c)
    encoder = Encoder.from_json(str(read_npz(paths.encoder, PRETRAIN, c)["encoder"]))
    saved_model = read_npz(paths.saved_model, PRETRAIN, c)
    use_one_thread()
    samples = EncodedSamples.of_file(table, encoder)
    check_number(samples.label, paths)
    rng = np.random.default_rng(c.SEED)
    role = held_out_roles(samples, c, rng)
    role[twins := splits.repeated_rows(table["factors"], np.flatnonzero(role != "unused"))] = "unused"
    known, query = np.isin(role, ("meta-train", "support")), role == "query"
    taught = known if c.LOCAL_NEIGHBOURHOOD else role == "meta-train"
    print("samples: " + ", ".join(f"{name} {(role == name).sum():,}" for name in sorted(set(role))) + (
        f" (same factors as another sample {len(twins):,}, too thin a block {(role == 'unused').sum() - len(twins):,})"
        if "unused" in role else ""))
    place = dates.place_counts(paths, table, samples, taught, c)
    by = replace(c, PLACE=c.PLACE and place)
    if source := source_for(c, encoder, int(taught.sum())):
        inputs.append(source.path)
        print(f"members start from {shown(source.path)}: {taught.sum():,} samples to learn from are few (START_BELOW)")
    hidden = tuple(len(saved_model[f"arr_{i}"]) for i in (1, 3, 5))
    start = saved_model if c.BASE_MODEL == "DAS" else None

    def untrained() -> Training:  # of the same kinds for the report and, trained on all samples, for the map
        return begun(source, encoder, hidden, start, by, int(taught.sum()), deepcopy(rng))

    def save(training: Training) -> None:
        write_npz(paths.checkpoint(training.done), training.arrays() | {
            "history": training.history, "steps": training.steps}, _STAGE, c, inputs)

    def pooled_after(training: Training, labelled: np.ndarray, normal: np.ndarray, goal: str) -> dict:
        pooled = intermediate_models(training, samples, normal, labelled, c, place)
        if 0 < training.reach < np.inf:
            print(f"reach of adaptation {goal}: {training.reach:,.0f} m; blocks adapt less, the farther samples are")
        return pooled

    print(*(training := untrained()).kinds, sep="\n")
    go_on(training, paths, c, inputs)
    meta_train(training, samples, taught, c, save)
    if training.fitted_share:
        print(f"curves were fitted to {taught.sum():,} samples; they count as {training.fitted_share:.0%} of their "
              "number, since neighbours tell much the same")
    pooled = pooled_after(training, known, role == "meta-train", "for the held-out scores")
    before = probability(mean_log_odds(pooled, samples.x))
    after, unadapted = adapted_scores(training, pooled, samples, known, query, np.random.default_rng([c.SEED, 1]))
    held_out = pd.DataFrame({"sample": table["row"], "block": samples.block, "x": samples.xy[:, 0],
                             "y": samples.xy[:, 1], "label": samples.label, "score_before": before,
                             "score_after": after})[query]
    metrics = measures.before_and_after(held_out)
    history = pd.DataFrame(training.history, columns=HISTORY)
    history["kind"] = history["kind"].map(dict(enumerate(kind.name for kind in training.kinds)))
    if len(samples.label) < c.TRAIN_ON_ALL:
        print(f"fewer than {c.TRAIN_ON_ALL:,} samples (TRAIN_ON_ALL): the models of the map learn from all of them")
        everything = np.ones(len(samples.label), bool)
        training = meta_train(untrained(), samples, everything, c, lambda training: None)
        pooled = pooled_after(training, everything, everything, "for the map")
    made = (_STAGE, c, inputs)
    write_csv(paths.split, pd.DataFrame({"block": samples.block, "row": table["row"], "role": role}), *made)
    write_csv(paths.history, history, *made)
    write_csv(paths.held_out, held_out, *made)
    write_csv(paths.metrics, metrics, *made)
    write_npz(paths.model, training.for_file(pooled, encoder), *made)

    overall = metrics[metrics.block == "all"].set_index("adapted")[["samples", "landslides", *measures.MEASURES]]
    how = ("held-out blocks, each adapted on one half of its samples and on neighbours, scored on the other half"
           if (role == "support").any() else "a held-out fold of places, adapted on the nearest samples outside it")
    how += f"; blocks with one class to learn from, which do not adapt: {len(unadapted)}" * bool(len(unadapted))
    how += f"; all of one class: no AUROC ({OTHERS}, holds out others)" * (held_out["label"].nunique() < 2)
    print(how if place else "held-out samples of all years, no test of landslides to come; no block adapts")
    print(overall.rename_axis(None).to_string(float_format="%.4f"))
    print("The encoder and the pretraining saw the factors of all samples, held-out ones too, never a label.")
    for path in (paths.split, paths.history, paths.held_out, paths.metrics, paths.model):
        print(f"wrote {shown(path)}")


if __name__ == "__main__":
    run(main, Constants)
