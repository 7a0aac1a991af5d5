"""Stage 3: meta-trains the intermediate model over the blocks (MAML), then adapts it to held-out blocks and scores it.

A task is a block with more than MIN_SAMPLES samples. Tasks are split once into meta-training and held-out ones. Every
outer step draws a meta-batch of tasks and, in each, support and query samples; the inner loop takes a few gradient
steps on the support, the outer loop lowers the query loss after them, through these steps (second order) or not.
Then every held-out block adapts on one half of its samples and is scored on the other half.

Reads   metatask_sampling/<REGION>_tasks.npz              samples by block
        unsupervised_pretraining/model_init/encoder.npz   from factors to network inputs
        unsupervised_pretraining/model_init/savedmodel.npz
Writes  checkpoint_dir/<REGION>_split.csv                 block, row (of the samples table), role: meta-train, support,
                                                          query, unused (blocks too thin for a task, and rows with
                                                          the factors of an earlier row)
        checkpoint_dir/<REGION>_checkpoint_<step>.npz     the state of training; a stopped run goes on from the newest
        checkpoint_dir/<REGION>_history.csv               iteration, pre_loss, post_loss (of the query), inner_lr
        checkpoint_dir/<REGION>_model.npz                 the intermediate model, its inner rates and its encoder
        checkpoint_dir/<REGION>_heldout.csv               sample, block, x, y, label, score_before, score_after
        checkpoint_dir/<REGION>_metrics.csv               block ("all" or its number), adapted, measures
Run     python meta_learner.py [RECIPE=published ITERATIONS=1000 ...]
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lsm.comparison import measures
from lsm.comparison.splits import repeats
from lsm.learner.adaptation import Adaptation, adapted_scores, pooled_members
from lsm.learner.boosting import Boosting, mixed
from lsm.learner.encoder import Encoder
from lsm.learner.meta_training import flat, meta_train, start_states, unflat
from lsm.learner.network import use_one_thread
from lsm.learner.prediction import mean_probability
from lsm.learner.tasks import EncodedSamples, Tasks, rows_by_block
from lsm.run.artifacts import differences, read_npz, read_record, record_path, write_csv, write_npz
from lsm.run.paths import Paths, shown
from lsm.run.settings import ByRecipe, InputError, run
from study_area import StudyArea


# ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Constants(StudyArea):
    """What a person may set, here or for one run as NAME=value."""

    # tasks
    MIN_SAMPLES: int = 16           # a block with more is a task; published 16
    META_TRAIN_SHARE: float = 0.75  # of the tasks; the others are held out; published 0.75
    # whether the support halves of held-out blocks are tasks of meta-training too; their query halves never are
    SUPPORT_TASKS: bool = ByRecipe(published=False, recommended=True)
    # start
    BASE_MODEL: str = "DAS"  # "DAS": the pretrained hidden layers; "MLP": all layers at random; published "DAS"
    NORMALISE: bool = ByRecipe(published=True, recommended=False)  # batch normalisation of the hidden layers
    # inner loop
    SUPPORT: int = ByRecipe(published=8, recommended=16)  # samples of a task that the inner loop learns from
    QUERY: int = ByRecipe(published=8, recommended=16)  # samples of a task whose loss the outer loop lowers
    INNER_STEPS: int = 5       # in meta-training; published 5
    INNER_LR: float = ByRecipe(published=0.01, recommended=0.1)  # where the trainable inner rate starts
    RATE_PER_WEIGHT: bool = ByRecipe(published=False, recommended=True)  # one inner rate, or one a weight (Meta-SGD)
    # share of the drawn tasks whose support and query lie on opposite sides of a line; in the others they interleave
    LINE_SHARE: float = ByRecipe(published=0.0, recommended=0.5)
    FIRST_ORDER: bool = False  # True drops the second derivatives; published False
    # outer loop
    META_BATCH: int = 16   # tasks an outer step; published 16
    META_LR: float = 1e-3  # of Adam; published 1e-3
    ITERATIONS: int = ByRecipe(published=5000, recommended=1500)  # outer steps; the paper has one more, for its log
    MEMBERS: int = ByRecipe(published=1, recommended=3)  # models trained separately; their probabilities are averaged
    # blocks that adapt: the held-out ones here, all of them in predict_LSM.py
    ADAPT_STEPS: int = ByRecipe(published=5, recommended=20)
    ADAPT_BATCH: int = ByRecipe(published=8, recommended=0)  # samples a step, drawn anew; 0: the whole support
    BORROW: int = ByRecipe(published=0, recommended=100)  # labelled samples of other blocks, the nearest to the block,
                                                          #   that it adapts on besides its own
    # whether the map is the mean, in log-odds, of the adapted networks and of gradient boosting on factors, X and Y,
    # fitted to all samples that may be learned from
    BOOSTING: bool = ByRecipe(published=False, recommended=True)
    # files
    LOG_EVERY: int = 100    # outer steps in one compiled call, and the interval of history.csv; published 100
    SAVE_EVERY: int = 1000  # outer steps between checkpoints; published 1,000
# ----------------------------------------------------------------------------------------------------------------

_STAGE = "meta_learner.py"


def split_tasks(block: np.ndarray, label: np.ndarray, min_samples: int, share: float,
                rng: np.random.Generator) -> np.ndarray:
    """The role of every sample (samples,): meta-train, support, query or unused. block (samples,) ascending."""
    blocks, counts = np.unique(block, return_counts=True)
    eligible = rng.permutation(blocks[counts > min_samples])
    trained = eligible[:round(share * len(eligible))]
    role = np.full(len(block), "unused", dtype="<U10")
    role[np.isin(block, trained)] = "meta-train"
    for held_out in np.sort(eligible[len(trained):]):
        rows = rng.permutation(np.flatnonzero(block == held_out))
        role[rows[:len(rows) // 2]] = "support"
        role[rows[len(rows) // 2:]] = "query"
    return role


def newest_state(paths: Paths, c: Constants, inputs: list) -> tuple[int, list[dict], np.ndarray] | None:
    """Step, states and history of the newest checkpoint that these constants and inputs made; None without one.

    Raises InputError for a checkpoint of another region under this one's name.
    """
    # training up to a step does not depend on these
    free = {"ITERATIONS", "SAVE_EVERY", "ADAPT_STEPS", "ADAPT_BATCH", "BORROW", "BOOSTING"}
    afresh = ""
    for path in reversed(paths.checkpoints()):
        step = int(path.stem.rsplit("_", 1)[1])
        if step > c.ITERATIONS or not record_path(path).is_file():  # no record: killed while writing
            continue
        record = read_record(path, f"{_STAGE}, after removing it,")
        if record["region"] != c.REGION:
            raise InputError(f"{shown(path)}: expected region {c.REGION}, found {record['region']}; remove the file")
        differ = differences(record, c, inputs, free)
        if not differ:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            print(f"going on from {shown(path)}")
            return step, unflat(arrays), arrays["history"]
        afresh = afresh or f"{shown(path)} is of another run ({'; '.join(differ)}): training starts afresh"
    if afresh:
        print(afresh)
    return None


def metrics_table(held_out: pd.DataFrame) -> pd.DataFrame:
    """Measures before and after adaptation, over all held-out query points and of every block."""
    rows = []
    for name, part in [("all", held_out), *held_out.groupby("block")]:
        for adapted in ("before", "after"):
            rows.append({"block": name, "adapted": adapted, "samples": len(part), "landslides": part.label.sum()}
                        | measures.scores(part.label, part[f"score_{adapted}"]))
    return pd.DataFrame(rows)


def check_constants(c: Constants) -> None:
    """Raises InputError for values that training cannot use."""
    if c.BASE_MODEL not in ("DAS", "MLP"):
        raise InputError(f"BASE_MODEL={c.BASE_MODEL}: expected DAS or MLP")
    if not 0 <= c.LINE_SHARE <= 1:
        raise InputError(f"LINE_SHARE={c.LINE_SHARE}: expected 0 to 1")
    if not 0 < c.META_TRAIN_SHARE < 1:
        raise InputError(f"META_TRAIN_SHARE={c.META_TRAIN_SHARE}: expected more than 0 and less than 1")
    lowest = dict.fromkeys(("MIN_SAMPLES", "SUPPORT", "QUERY", "INNER_STEPS", "META_BATCH", "ITERATIONS", "LOG_EVERY",
                            "SAVE_EVERY", "MEMBERS"), 1) | {"ADAPT_STEPS": 0, "ADAPT_BATCH": 0, "BORROW": 0}
    for name, least in lowest.items():
        if getattr(c, name) < least:
            raise InputError(f"{name}={getattr(c, name)}: expected {least} or more")


def main(c: Constants) -> None:
    """Runs the stage."""
    check_constants(c)
    paths = Paths(c.REGION)
    inputs = [paths.tasks, paths.encoder, paths.saved_model]
    table = read_npz(paths.tasks, "scene_sampling.py", c)
    pretraining = "unsupervised_pretraining/DAS_pretraining.py"
    encoder = Encoder.from_json(str(read_npz(paths.encoder, pretraining, c)["encoder"]))
    saved_model = read_npz(paths.saved_model, pretraining, c)
    use_one_thread()

    samples = EncodedSamples.of_file(table, encoder)
    block, label, xy = samples.block, samples.label, samples.xy
    rng = np.random.default_rng(c.SEED)
    role = split_tasks(block, label, c.MIN_SAMPLES, c.META_TRAIN_SHARE, rng)
    same = repeats(table["factors"], np.flatnonzero(role != "unused"))
    role[same] = "unused"  # a model that saw the factors of the other row knows this one
    trained = np.unique(block[role == "meta-train"])
    _, tasks = rows_by_block(block, np.isin(role, ["meta-train"] + ["support"] * c.SUPPORT_TASKS))
    held_out_blocks = len(np.unique(block[role == "query"]))
    if len(trained) < c.META_BATCH or not held_out_blocks:
        raise InputError(f"{shown(paths.tasks)}: expected {c.META_BATCH} meta-training tasks (META_BATCH) or more and "
                         f"a held-out one, found {len(trained)} and {held_out_blocks}; lower META_BATCH here or raise "
                         "K in scene_sampling.py")
    print(f"{len(trained)} blocks for meta-training, {held_out_blocks} held out; {(role == 'unused').sum()} samples in "
          f"blocks of {c.MIN_SAMPLES} or fewer, or with the factors of another")

    hidden = tuple(len(saved_model[f"arr_{i}"]) for i in (1, 3, 5))
    states = start_states(samples.x.shape[1], hidden, saved_model if c.BASE_MODEL == "DAS" else None, c, rng)
    done, states, history = newest_state(paths, c, inputs) or (0, states, np.empty((0, 4)))

    def save(step, states, history):
        write_npz(paths.checkpoint(step), flat(states) | {"history": history}, _STAGE, c, inputs)

    states, history = meta_train(states, done, history, samples, Tasks.of(tasks), c, save)

    pooled = pooled_members(states, samples.x[role == "meta-train"], c.NORMALISE)
    query, known = role == "query", np.isin(role, ("meta-train", "support"))
    before = mean_probability(pooled, samples.x)
    after, unadapted = adapted_scores(states, pooled, samples, known, query, Adaptation.of(vars(c)),
                                      np.random.default_rng([c.SEED, 1]))
    if c.BOOSTING:
        places = table["factors"], xy, block
        boosting = Boosting(*places, label, known, block.max() + 1, c.SEED, samples.weight)
        after[query] = mixed(after[query], boosting.probabilities(*(a[query] for a in places)))
    held_out = pd.DataFrame({"sample": table["row"], "block": block, "x": xy[:, 0], "y": xy[:, 1], "label": label,
                             "score_before": before, "score_after": after})[query]
    metrics = metrics_table(held_out)

    model = flat([{k: state[k] for k in ("weights", "inner_lr")} for state in states]) | {
        "normalise": np.array(c.NORMALISE), "encoder": np.array(encoder.to_json()),
        **{f"pooled_{i}": w for i, w in enumerate(pooled)}}
    made = (_STAGE, c, inputs)
    write_csv(paths.split, pd.DataFrame({"block": block, "row": table["row"], "role": role}), *made)
    write_csv(paths.history, pd.DataFrame(history, columns=["iteration", "pre_loss", "post_loss", "inner_lr"]), *made)
    write_csv(paths.held_out, held_out, *made)
    write_csv(paths.metrics, metrics, *made)
    write_npz(paths.model, model, *made)

    own = "its half" + (f" and {c.BORROW} samples of its neighbours" if c.BORROW else "")
    overall = metrics[metrics.block == "all"].set_index("adapted")[["samples", "landslides", *measures.MEASURES]]
    print(f"held-out blocks, each adapted by {c.ADAPT_STEPS} steps on {own}, scored on the other half; "
          f"{len(unadapted)} blocks have one class to learn from and do not adapt")
    print(overall.to_string(float_format="%.4f"))
    print("The encoder and the pretraining saw the factors of all samples, held-out ones too, never a label.")
    for path in (paths.split, paths.history, paths.held_out, paths.metrics, paths.model):
        print(f"wrote {shown(path)}")


if __name__ == "__main__":
    run(main, Constants)
