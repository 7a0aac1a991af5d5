"""Which fits a comparison asks for, what it cannot fit, and how long the rest will take."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from lsm.comparison import fits
from lsm.comparison.methods import FAMILIES
from lsm.comparison.splits import QUERY, SUPPORT, TRAIN, UNUSED
from lsm.inputs.factor.definition import Factor
from lsm.run.paths import PROJECT, Paths
from lsm.run.settings import InputError

FACTORS = (Factor("slope", "continuous", "degree"), Factor("DV", "continuous", "mm/yr"))
N = 1000  # points, 100 a block


@dataclass
class Constants:
    """Of compare_methods.py, as far as `jobs_of` reads them."""

    REGION: str = "isle"
    PROTOCOLS: str = "published,blocked"
    METHODS: str = "slope,rf,svm"
    MAPPED: tuple = ("RF",)
    WITHOUT: str = "DV"
    SEEDS: int = 2
    factors: tuple = FACTORS


def made() -> tuple[SimpleNamespace, dict]:
    """Points, and the roles of four splits: 500 points teach, 250 of them as support."""
    rng = np.random.default_rng(0)
    points = SimpleNamespace(factors=rng.normal(size=(N, 2)), xy=rng.uniform(0, 1e4, (N, 2)),
                             label=rng.integers(0, 2, N), block=np.arange(N) // 100)
    role = np.repeat(np.int8([TRAIN, SUPPORT, QUERY, UNUSED]), N // 4)
    return points, {(protocol, seed): np.roll(role, i) for i, (protocol, seed) in enumerate(
        [("published", 1), ("published", 2), ("blocked 5 km", 1), ("development_published", 1)])}


def learner(recipe: str, seed: int) -> list:
    """Constants of stages 1 and 3: the published recipe learns from blocks of more than 16 samples, four at a time."""
    return [SimpleNamespace(SEED=seed), SimpleNamespace(
        LOCAL_NEIGHBOURHOOD=50 * (recipe == "recommended"), MIN_SAMPLES=16, META_BATCH=4)]


def asked(tmp_path, learner=learner, **values) -> tuple[list, list[str]]:
    points, roles = made()
    return fits.jobs_of(tmp_path, points, roles, Constants(**values), [], learner)


def named(jobs: list) -> list[tuple]:
    return [(job.family, job.with_dv, job.protocol, job.seed) for job in jobs]


def test_what_is_fitted(tmp_path):
    jobs, cannot = asked(tmp_path)
    assert cannot == []
    assert named(jobs) == [
        *[("slope", dv, "published", s) for dv in (True,) for s in (1, 2)], ("slope", True, "blocked 5 km", 1),
        ("slope", False, "published", 1), ("slope", False, "published", 2),  # blocked leaves no factor out
        ("rf", True, "published", 1), ("rf", True, "published", 2), ("rf", True, "blocked 5 km", 1),
        ("rf", False, "published", 1), ("rf", False, "published", 2),
        ("svm", True, "published", 1), ("svm", True, "published", 2), ("svm", True, "blocked 5 km", 1)]
    assert [job.path.name for job in jobs[2:4]] == ["blocked_5_km-1-with-slope.npz", "published-1-without-slope.npz"]
    assert {job.path.parent for job in jobs} == {tmp_path}
    assert [job.maps and job.maps.name for job in jobs if job.maps] == ["published-1-with-rf-map.npz"]
    assert len({job.made_of for job in jobs}) == len(jobs)


def test_random_folds_are_fitted_where_no_random_halves_are(tmp_path):
    points, roles = made()
    roles |= {("partitions", 1): roles["published", 1], ("random folds", 1): roles["published", 2]}
    for protocols, without in (("partitions", set()), ("partitions,published", {"random folds"})):
        jobs, _ = fits.jobs_of(tmp_path, points, roles, Constants(PROTOCOLS=protocols), [], learner)
        assert {job.protocol for job in jobs} == {"random folds", *protocols.split(",")} - without


def test_a_factor_that_is_not_there_is_not_left_out(tmp_path):
    jobs, _ = asked(tmp_path, WITHOUT="rain")
    assert all(job.with_dv for job in jobs)
    assert "slope" not in {job.family for job in asked(tmp_path, WITHOUT="slope")[0]}


def test_protocols_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    samples = Paths("isle").samples
    samples.parent.mkdir()
    samples.write_text("one table")
    jobs, cannot = asked(tmp_path, PROTOCOLS="k-shot, published-steps,development", METHODS="")
    assert {key for key in named(jobs) if key[0] == "k-shot"} == {("k-shot", True, "published", s) for s in (1, 2)}
    steps = fits.PUBLISHED_STEPS
    assert {key for key in named(jobs) if key[0] == steps} == {(steps, True, steps, s) for s in (1, 2)}
    assert {key[2] for key in named(jobs)} == {"published", steps, "development_published"}
    assert {key[0] for key in named(jobs)} - {"k-shot", steps} == {
        name for name, family in FAMILIES.items() if "published" in family.protocols} - {"published_recipe"}
    assert [text.partition(": meta-training needs 4")[0] for text in cannot] == [  # three blocks teach
        "ours, published recipe, ours, published recipe, not adapted under development_published"]
    samples.write_text("another, which repeats places: these steps read it, the others do not")
    again, _ = asked(tmp_path, PROTOCOLS="k-shot, published-steps,development", METHODS="")
    changed = {job.family for job, other in zip(jobs, again, strict=True) if job.made_of != other.made_of}
    assert changed == {steps}


@pytest.mark.parametrize(("blocks", "batch", "fitted"), [(5, 5, True), (5, 6, False)])
def test_a_recipe_of_blocks_needs_a_batch_of_them(tmp_path, blocks, batch, fitted):
    """500 training points would be five blocks; those with no more than MIN_SAMPLES do not count."""
    def of_blocks(recipe, seed):
        return [SimpleNamespace(SEED=seed),
                SimpleNamespace(LOCAL_NEIGHBOURHOOD=0, MIN_SAMPLES=99, META_BATCH=batch)]

    points, _ = made()
    role = np.full(N, QUERY, np.int8)
    role[:100 * blocks] = TRAIN
    role[900:999] = TRAIN  # 99 samples of a sixth
    jobs, cannot = fits.jobs_of(tmp_path, points, {("published", 1): role}, Constants(
        PROTOCOLS="published,k-shot", METHODS="published_recipe,rf", WITHOUT=""), [], of_blocks)
    assert {job.family for job in jobs} == {"rf", *({"published_recipe", "k-shot"} if fitted else ())}
    assert cannot == ([] if fitted else [
        f"k-shot under published: meta-training needs {batch} blocks with more than 99 samples (META_BATCH, "
        "MIN_SAMPLES of meta_learner.py)",
        f"ours, published recipe, ours, published recipe, not adapted under published: meta-training needs {batch} "
        "blocks with more than 99 samples (META_BATCH, MIN_SAMPLES of meta_learner.py)"])


def test_a_fit_depends_on_the_stages_constants_of_its_seed(tmp_path):
    before = {job.path: job.made_of for job in asked(tmp_path)[0]}

    def other(recipe, seed):
        more = recipe == "published" and seed == 2
        return [SimpleNamespace(SEED=seed, MORE=more), learner(recipe, seed)[1]]

    def plain(recipe, seed):
        return [SimpleNamespace(SEED=seed, MORE=False), learner(recipe, seed)[1]]

    after, same = ({job.path: job.made_of for job in asked(tmp_path, one)[0]} for one in (other, plain))
    assert not set(before.values()) & set(same.values())
    assert {path.name.split("-")[1] for path in after if after[path] != same[path]} == {"2"}


@pytest.mark.parametrize(("values", "message"), [
    ({"PROTOCOLS": "published,spatal"}, "PROTOCOLS: expected any of .*, found spatal"),
    ({"METHODS": "forest,rf"}, "METHODS: expected families of docs/tables/methods.md, found forest$"),
    ({"METHODS": "rf,"}, "METHODS: expected families of docs/tables/methods.md, found an empty name$"),
    ({"METHODS": "boosted_xy"}, "found boosted_xy; the nearest: boosting_xy, "),
    ({"MAPPED": ("RF, tuned + YX",)}, r"MAPPED: expected methods of docs/tables/methods.md, .*: RF, tuned \+ XY, "),
    ({"PROTOCOLS": "temporal"}, "together they ask for none")])
def test_nonsense_is_refused(tmp_path, values, message):
    with pytest.raises(InputError, match=message):
        asked(tmp_path, **values)


def test_the_list_of_methods_is_that_of_the_code():
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in (PROJECT / fits.METHODS_PAGE).read_text().splitlines() if line.startswith("| `")]
    assert rows == [[f"`{name}`", "; ".join(family.names), ", ".join(family.protocols), f"{family.cost:g}"]
                    for name, family in fits.FAMILIES.items()]


def test_the_estimate_counts_what_is_left_by_its_cost(monkeypatch):
    monkeypatch.setitem(FAMILIES, "ours", FAMILIES["ours"]._replace(cost=100.0))
    points, roles = made()

    def left(*families: str) -> list:
        return [SimpleNamespace(done=False, family=family, protocol="published", seed=1) for family in families]

    done = SimpleNamespace(done=True, family="ours", protocol="published", seed=1)
    assert fits.estimate([done], points, roles, 1) == "0 fits: about 1 minute on 1 idle core"
    steps = [fits.PUBLISHED_STEPS] * 3  # of 60 s
    assert fits.estimate(left(*steps), points, roles, 1) == "3 fits: about 3 minutes on 1 idle core"
    # 500 of the points teach, but no fit costs less than .15 of one on 10,000
    assert fits.estimate(left(*["ours"] * 12), points, roles, 1) == "12 fits: about 3 minutes on 1 idle core"
    assert fits.estimate(left(*["k-shot"] * 12), points, roles, 2) == "12 fits: about 3 minutes on 2 idle cores"
    assert fits.estimate(left("ours", "ours"), points, roles, 9) == "2 fits: about 1 minute on 2 idle cores"
    many = {("published", 1): np.repeat(np.int8([TRAIN, SUPPORT, QUERY, UNUSED]), 10_000)}
    assert fits.estimate([done, *left(*["ours"] * 3)], points, many, 1) == "3 fits: about 10 minutes on 1 idle core"
