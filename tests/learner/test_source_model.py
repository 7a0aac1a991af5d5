"""A start from elsewhere: which columns match, what is carried over, and what is refused."""

import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lsm.inputs.factor.definition import Factor
from lsm.learner.adaptation import pooled_members
from lsm.learner.encoder import Encoder
from lsm.learner.members import Training
from lsm.learner.network import use_one_thread
from lsm.learner.prediction import log_odds
from lsm.learner.transfer.source_model import begun, read_source, same_ground, shared_columns, source_for, started
from lsm.learner.transfer.start_file import source_path
from lsm.run.artifacts import write_npz
from lsm.run.paths import START_MODEL, Paths, root
from lsm.run.settings import InputError, of_stage

use_one_thread()  # before any test runs an operator
SLOPE, ASPECT = Factor("slope", "continuous", "degree"), Factor("aspect", "circular", "degree")
DEM, ROAD = Factor("DEM", "continuous", "m", ("elevation",)), Factor("dis2road", "distance", "m")
USE, DV = Factor("land use", "categorical", "class"), Factor("DV", "continuous", "mm/yr", (), True)
THERE, HIDDEN, POINTS = (SLOPE, USE, DV, ASPECT, DEM, ROAD), (8, 8, 4), 60


def encoder_of(factors: tuple[Factor, ...], form: str = "recommended", west: float = 0.0) -> Encoder:
    xy = np.random.default_rng(1).uniform(0, 900, (POINTS, 2))
    return Encoder.fit(values_of(factors, 0), factors, form, xy + np.array([west, 0]))


def values_of(factors: tuple[Factor, ...], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.integers(1, 4, POINTS) if f.kind == "categorical" else rng.uniform(1, 90, POINTS)
                            for f in factors]).astype(np.float32)


def settings(**values) -> SimpleNamespace:
    c = vars(of_stage("meta_learner.py", REGION="here"))
    return SimpleNamespace(**c | {"LOCAL_MEMBERS": 3, "REGIONAL_MEMBERS": 2, "PLACE": True, "START_FROM": "there",
                                  "NORMALISE_FROM": 0, "NORMALISE": False} | values)


def write_model(region: str, factors=THERE, form: str = "recommended", west: float = 5000.0, inputs=(), **values
                ) -> None:
    """A model as stage 3 writes it, with weights, biases and rates that are all different."""
    c, encoder = settings(REGION=region, LOCAL_MEMBERS=2, **values), encoder_of(factors, form, west)
    rng = np.random.default_rng(2)
    training = Training.start(len(encoder.columns), HIDDEN, None, c, 500, rng)
    for state in (state for states in training.states for state in states):
        for key in ("weights", "inner_lr"):
            state[key] = [(w + 0.1 * rng.standard_normal(np.shape(w))).astype(np.float32) for w in state[key]]
    pooled = pooled_members(training, encoder.transform(values_of(factors, 3), np.zeros((POINTS, 2))))
    arrays = training.arrays() | {f"{kind}_pooled_{i}": w for kind, ws in pooled.items() for i, w in enumerate(ws)} | {
        "encoder": np.array(encoder.to_json()), "kinds": np.array(json.dumps([asdict(k) for k in training.kinds]))}
    write_npz(Paths(region).model, arrays, "meta_learner.py", SimpleNamespace(REGION=region, RECIPE=form, SEED=1),
              inputs)


@pytest.fixture(autouse=True)
def at_root(monkeypatch, tmp_path):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))


def names_of(source: tuple[Factor, ...], target: tuple[Factor, ...]) -> list[tuple[str, str]]:
    """The shared columns by name: (of the target, of the source)."""
    one, other = encoder_of(source), encoder_of(target)
    return [(other.columns[i][1], one.columns[j][1]) for i, j in shared_columns(one, other)]


# columns --------------------------------------------------------------------------------------------------------

def test_columns_match_by_what_they_hold_wherever_they_stand():
    assert names_of(THERE, (ROAD, ASPECT, DV, SLOPE)) == [(name, name) for name in (
        "log dis2road", "sin aspect", "cos aspect", "aspect flat", "DV", "DV not measured", "slope")]


def test_columns_match_by_alias_and_as_people_spell_them():
    assert names_of((DEM,), (Factor("Elevation", "continuous", "m"),)) == [("Elevation", "DEM")]
    assert names_of((ROAD,), (Factor("road", "distance", "m", ("Dis2Road",)),)) == [("log road", "log dis2road")]
    low, high = Factor("low", "continuous", "m", ("DEM",)), Factor("DEM", "continuous", "m")
    for source in ((low, high), (high, low)):
        assert names_of(source, (high,)) == [("DEM", "DEM")]  # a name counts more than an alias


def test_categories_and_other_kinds_do_not_match():
    assert names_of((USE, SLOPE), (USE, Factor("slope", "distance", "m"), Factor("aspect", "continuous", "-"))) == []


# what is carried over -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("normalised", [False, True])
def test_a_start_is_the_source_s_function_of_the_columns_that_both_have(normalised):
    """Columns here alone do not count; what is there alone is at its mean, and DV is nowhere measured."""
    write_model("there", NORMALISE=normalised)
    here, c = encoder_of((USE, ROAD, Factor("rain", "continuous", "mm"), SLOPE)), settings()
    source = source_for(c, here, 200)
    training = started(source, here, c, 200)
    assert [(len(states), kind.normalise) for states, kind in zip(training.states, training.kinds, strict=True)] == [
        (3, False), (2, False)]
    x = here.transform(values_of(here.factors, 5), np.random.default_rng(6).uniform(0, 900, (POINTS, 2)))
    names, of_source = [name for _, name in here.columns], [name for _, name in source.encoder.columns]
    there = np.zeros((POINTS, len(of_source) + 2), np.float32)
    for name in ("log dis2road", "slope"):
        there[:, of_source.index(name)] = x[:, names.index(name)]
    there[:, of_source.index("DV not measured")] = 1
    for kind, states in zip(training.kinds, training.states, strict=True):
        for m, state in enumerate(states):
            expected = log_odds([w[m % 2] for w in source.pooled[kind.name]], there)
            np.testing.assert_allclose(log_odds(state["weights"], x), expected, atol=1e-4)
            assert np.ptp(expected) > 0.01


def test_rates_come_along_where_the_source_has_them():
    write_model("there")
    here, c = encoder_of((ROAD, Factor("rain", "continuous", "mm"))), settings()
    source = source_for(c, here, 200)
    state, there = started(source, here, c, 200).states[0][0], source.training.states[0][0]
    road = [name for _, name in source.encoder.columns].index("log dis2road")
    for i in (0, 8):
        np.testing.assert_array_equal(state["inner_lr"][i][0], there["inner_lr"][i][road])
        np.testing.assert_array_equal(state["inner_lr"][i][1], np.float32(c.INNER_LR))
    np.testing.assert_array_equal(state["inner_lr"][2], there["inner_lr"][2])
    write_model("there", NORMALISE=True)
    for rate in started(source_for(c, here, 200), here, c, 200).states[0][0]["inner_lr"]:
        np.testing.assert_array_equal(rate, np.full(rate.shape, c.INNER_LR, np.float32))


def test_a_kind_that_the_source_lacks_starts_from_its_first_kind():
    write_model("there", REGIONAL_MEMBERS=0)
    here = encoder_of((SLOPE, ROAD))
    local, regional = started(source_for(settings(), here, 200), here, settings(), 200).states
    np.testing.assert_array_equal(local[0]["weights"][0], regional[0]["weights"][0][:2])
    assert not regional[0]["weights"][0][2:].any()  # X and Y


def test_a_start_changes_the_first_weights():
    write_model("there")
    here, c = encoder_of((SLOPE, ROAD)), settings()
    given = here, HIDDEN, None, c, 200, np.random.default_rng(1)
    nothing, elsewhere = begun(None, *given), begun(source_for(c, here, 200), *given)
    for one, other in zip(nothing.states, elsewhere.states, strict=True):
        assert not np.array_equal(one[0]["weights"][2], other[0]["weights"][2])


# which model ----------------------------------------------------------------------------------------------------

def test_large_inventories_start_from_nothing():
    write_model("there")
    c, here = settings(START_BELOW=300), encoder_of((SLOPE,))
    assert source_for(c, here, 299).path == Paths("there").model
    assert source_for(c, here, 300) is None
    assert source_for(settings(START_FROM=""), here, 10) is None
    assert of_stage("meta_learner.py", REGION="here", RECIPE="published").START_FROM == ""


def test_a_model_is_found_by_its_path():
    write_model("there")
    c = settings(START_FROM="checkpoint_dir/there_model.npz")
    assert source_for(c, encoder_of((SLOPE,)), 10).path == Paths("there").model


def test_a_name_that_is_none_is_told_also_where_no_start_is_needed():
    with pytest.raises(InputError, match=r"^START_FROM=projct: .* did you mean START_FROM=project\?"):
        source_for(settings(START_FROM="projct"), encoder_of((SLOPE,)), 10**6)


@pytest.mark.parametrize(("start_from", "factors", "form", "message"), [
    ("here", (SLOPE,), "recommended", "START_FROM=here: expected another region, found this one, whose model may have "
     "learned from the samples that are scored; START_FROM=project, or START_FROM="),
    ("nowhere", (SLOPE,), "recommended", "START_FROM=nowhere: expected a region with a model, checkpoint_dir/nowhere_"
     "model.npz, found none; did you mean START_FROM=there? If not, run meta_learner.py REGION=nowhere, or name there, "
     "project"),
    ("nowhere.npz", (SLOPE,), "recommended", "START_FROM=nowhere.npz: expected a model of meta_learner.py, found no "
     "such file; name another, a region, or project"),
    ("there", (SLOPE,), "published", "START_FROM=there: expected a model and a run of RECIPE=recommended, found "
     "recommended and published; START_FROM= starts from nothing"),
    ("there", (USE, Factor("rain", "continuous", "mm")), "recommended", "START_FROM=there: expected a factor that both "
     "areas have, found none of slope, DV, aspect, DEM, dis2road; START_FROM= starts from nothing")])
def test_what_cannot_be_used_is_told(start_from, factors, form, message):
    write_model("there")
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        source_for(settings(START_FROM=start_from), encoder_of(factors, form), 10)


def samples_of(region: str, text: str) -> Path:
    """A samples table, and what stage 2 makes of it."""
    paths = Paths(region)
    paths.samples.parent.mkdir(exist_ok=True)
    paths.samples.write_text(text)
    write_npz(paths.tasks, {"label": np.frombuffer(region.encode(), np.int8)}, "scene_sampling.py",
              SimpleNamespace(REGION=region, RECIPE=None, SEED=1), [paths.samples])
    return paths.tasks


def test_a_model_that_learned_from_the_region_s_samples_is_refused():
    tasks = {region: samples_of(region, text) for region, text in (("here", "a"), ("copy", "a"), ("there", "bc"))}
    for region, inputs in (("here", [tasks["here"]]), ("copy", [tasks["copy"]]), ("there", [tasks["there"]]),
                           ("after", [tasks["there"], Paths("here").model])):
        write_model(region, inputs=inputs)
    for suffix in ("", ".json"):
        shutil.copy(f"{Paths('here').model}{suffix}", root() / f"renamed.npz{suffix}")
    for named, found in (("checkpoint_dir/here_model.npz", "metatask_sampling/here_tasks.npz"),
                         ("renamed.npz", "metatask_sampling/here_tasks.npz"),
                         ("copy", "src_data/samples_copy.csv"), ("after", "checkpoint_dir/here_model.npz")):
        with pytest.raises(InputError, match=rf"^START_FROM={named}: .* made from {found}, a file of this region or a "
                                             "copy of one: it may have learned from the samples that are scored; "):
            source_path(named, "here")
    assert source_path("there", "here") == Paths("there").model
    assert source_path("here", "there") == Paths("here").model


def test_a_start_of_the_model_s_own_is_looked_at_too():
    write_model("here", inputs=[samples_of("copy", "a")])
    shutil.copy(Paths("copy").samples, Paths("mine").samples)
    write_model("there", inputs=[Paths("here").model])
    with pytest.raises(InputError, match=r"made from src_data/samples_copy\.csv"):
        source_path("there", "mine")
    write_model("here", inputs=[], NORMALISE=True)  # anew: what it is made of now says nothing of what it was then
    assert source_path("there", "mine") == Paths("there").model


@pytest.mark.parametrize(("west", "same"), [(0.0, True), (400.0, True), (900.0, False), (-900.0, False)])
def test_a_model_of_the_same_ground_is_refused(west, same):
    write_model("there", west=west)
    if same:
        with pytest.raises(InputError, match=r"^START_FROM=there: .* around X \d+, Y \d+, where this area's points"):
            source_for(settings(), encoder_of((SLOPE,)), 10)
    else:
        assert source_for(settings(), encoder_of((SLOPE,)), 10).path == Paths("there").model


def test_hong_kong_may_not_start_from_the_model_of_the_project():
    place = read_source(START_MODEL).encoder.place
    assert same_ground(place, (830_000.0, 820_000.0, 3000.0, 3000.0))  # a part of Hong Kong, in its CRS
    assert not same_ground(place, (790_244.0, 2_491_907.0, 4772.0, 3660.0))  # the demo
    assert not same_ground(place, (351_066.0, 3_831_153.0, 6105.0, 7423.0))  # Kaghan
    assert not same_ground(place, ())


def test_a_file_that_is_no_model_is_told():
    write_npz(Paths("there").model, {"x": np.zeros(1)}, "meta_learner.py", SimpleNamespace(), [])
    with pytest.raises(InputError, match=r"there_model.npz: expected a model of meta_learner.py, found x;"):
        read_source(Paths("there").model)


# the model that comes with the project --------------------------------------------------------------------------

def test_the_project_s_model_is_small_and_whole():
    source = read_source(START_MODEL)
    assert START_MODEL.stat().st_size < 200_000
    assert {"slope", "DEM", "NDVI", "dis2faults"} <= {factor.name for factor in source.encoder.factors}
    assert {factor.kind for factor in source.encoder.factors} == {"continuous", "circular", "distance"}
    x = np.zeros((1, len(source.encoder.columns)), np.float32)
    steep = x.copy()
    steep[0, [name for _, name in source.encoder.columns].index("slope")] = 2
    for member in range(source.training.kinds[0].members):
        weights = [w[member] for w in source.pooled["local"]]
        assert log_odds(weights, steep) > log_odds(weights, x)


def test_an_area_without_any_of_its_factors_starts_from_nothing():
    c = settings(START_FROM="project")
    assert source_for(c, encoder_of((Factor("rain", "continuous", "mm"),)), 10) is None
    assert source_for(c, encoder_of((SLOPE,)), 10).path == START_MODEL
    assert source_for(replace_published(c), encoder_of((SLOPE,), "published"), 10) is None


def replace_published(c: SimpleNamespace) -> SimpleNamespace:
    published = of_stage("meta_learner.py", REGION="here", RECIPE="published")
    return SimpleNamespace(**vars(c) | {name: getattr(published, name) for name in ("START_FROM", "START_BELOW")})
