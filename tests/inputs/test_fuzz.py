"""Every reader of tables against damaged and foreign inputs: what it accepts is right, a refusal is one line, and
nothing takes long. `make fuzz` tries 10,000 inputs of each reader; FUZZ=<number> another number.
"""

import codecs
import csv
import json
import math
import os
import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from reader_outcome import outcome
from small_region import PLACE, ROWS, crs_of

from lsm.checks.factor_list import factors_of
from lsm.inputs.factor.definition import Factor, read_factors
from lsm.inputs.rasters import Grid
from lsm.inputs.samples import grid_chunks, read_samples
from lsm.insar.velocities import COLUMNS, key_of, read_insar
from lsm.region.points.inventory import read_inventory
from lsm.run.artifacts import artifact, read_csv, read_record, record_path
from scene_sampling import weights

CASES = int(os.environ.get("FUZZ", "40"))  # of each reader
FACTORS = (Factor("land use", "categorical", "class", aliases=("landuse",)), Factor("slope", "continuous", "degree"),
           Factor("aspect", "circular", "degree"), Factor("dis2road", "distance", "m"),
           Factor("DV", "continuous", "mm/yr", zero_is_missing=True))
GRID = Grid(ROWS, 80, PLACE, crs_of(32650).ExportToWkt())
NASTY = ("", " ", "nan", "NA", "-", "inf", "-Infinity", "1e400", "1e39", "9" * 400, "0." + "3" * 400, "-9999", "1,5",
         "1,234", "1.234,5", "TRUE", "no", "stable", "0x1F", "1_0", "１２", "12:30", "#", '"', '""', '"1', "a\tb",
         ";", ",", "1e-400", "9.99999997e-07", "--1", "1 2", "½", "\x00", "\x0b", "\u2028", "=1+1", "1d3", "1.",
         ".5", "-0", "0")
run = settings(max_examples=CASES, derandomize=True, deadline=None, database=None,
               suppress_health_check=list(HealthCheck))


@st.composite
def tables(draw, columns: dict[str, str]):
    """The bytes of a table that was right before it was damaged. columns: by name, right values separated by blanks."""
    names, rows = list(columns), draw(st.integers(0, 12))
    cells = [[draw(st.sampled_from(columns[name].split())) for name in names] for _ in range(rows)]
    for _ in range(draw(st.integers(0, 3))):  # cells
        if rows:
            at = draw(st.integers(0, rows - 1)), draw(st.integers(0, len(names) - 1))
            cells[at[0]][at[1]] = draw(st.sampled_from(NASTY) | st.text(max_size=6) | st.floats().map(repr))
    if draw(st.integers(0, 5)) == 0:
        names[draw(st.integers(0, len(names) - 1))] = draw(st.sampled_from([*names, *NASTY]) | st.text(max_size=8))
    separator = draw(st.sampled_from(",,,;\t|"))
    lines = [separator.join(line) for line in [names, *cells]]
    for _ in range(draw(st.integers(0, 2))):  # lines
        line = draw(st.sampled_from(["", "# a note", "sep=;", ",,,", '"', "1,2", lines[0], "\ufeff", lines[-1] + ",7"]))
        lines.insert(draw(st.integers(0, len(lines))), line)
    end, encoding = draw(st.sampled_from(["\n", "\r\n", "\r"])), draw(st.sampled_from(["utf-8", "utf-8-sig", "latin-1",
                                                                                   "utf-16", "cp037"]))
    data = end.join([*lines, ""]).encode(encoding, "replace")
    for _ in range(draw(st.integers(0, 1))):  # bytes
        cut = sorted(draw(st.tuples(*[st.integers(0, len(data))] * 2)))
        data = data[:cut[0]] + draw(st.binary(max_size=3)) + data[cut[1]:] * draw(st.integers(0, 1))
    return data


def plain_rows(data: bytes) -> list[dict[str, str]]:
    """The rows of a table by a plain reading of its bytes, to compare with."""
    wide = data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig", "ignore" if wide else "strict").removeprefix("\ufeff")
    except UnicodeDecodeError:
        text = data.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    lines = [line.lstrip("\ufeff") for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    separator = next((line.strip()[4] for line in lines if line.startswith("sep=") and len(line.strip()) == 5), "")
    lines = [line for line in lines if line.strip(",;\t| ") and not line.startswith(("# a note", "sep=", "#\n"))]
    if lines and lines[0].startswith("#"):
        lines = [line for line in lines if not line.startswith("#")]
    if len(lines) > 2 and not set(lines[0]) & set(",;\t|") and set(lines[1]) & set(",;\t|"):
        lines = lines[1:]  # a title
    separator = separator or max(",;\t|", key=lines[0].count)
    lines = [line for line in lines  # remarks below the header, counted and told
             if not line.startswith("#") or line.count(separator) == lines[0].count(separator)]
    rows = list(csv.reader(lines, delimiter=separator))
    header = [re.sub(r"[^\w ]", "", name).strip().lower() for name in rows[0]]  # the program reads names so
    return [dict(zip(header, row, strict=False)) for row in rows[1:]]


def right(cell: str, value: float) -> bool:
    """Whether a number is what a cell says: the same, or a stored zero for 0; a comma may be a decimal one."""
    said = float(cell.strip().replace(",", "."))
    return math.isclose(said, value, rel_tol=1e-6, abs_tol=1e-37) or (abs(said - 1e-6) < 1e-12 and value == 0)


SAMPLES = {"land use": "1 2 3", "slope": "0.5 12 44.25 0.000001", "aspect": "-1 0 359.5", "dis2road": "0 15 1e3",
           "DV": "0.000001 -3.5 2", "X": "500045 500075.5", "Y": "2499900 2499800.25", "label": "0 1"}


@pytest.fixture(scope="module", autouse=True)
def root(tmp_path_factory):
    folder, before = tmp_path_factory.mktemp("fuzz"), os.environ.get("LSM_ROOT")
    os.environ["LSM_ROOT"] = str(folder)
    yield folder
    os.environ.pop("LSM_ROOT")
    os.environ |= {"LSM_ROOT": before} if before else {}


@run
@given(tables(SAMPLES))
@example(b"land use,slope,aspect,dis2road,DV,X,Y,label\n1,1,5,2,2,3,3,500045,2499900,1\n")
@example(b"land use,slope,aspect,dis2road,DV,X,Y,label\n1,2" + b"," * 1_000_000)
@example(b'land use,slope,aspect,dis2road,DV,X,Y,label\n1,"' + b"2,3\n" * 100_000)
def test_samples(root, data):
    path = root / "samples_a.csv"
    path.write_bytes(data)
    found = outcome(lambda: read_samples(path, FACTORS))
    if found is not None:
        rows = plain_rows(data)
        assert len(rows) == len(found.label)
        for row, values, xy in zip(rows, found.factors, found.xy, strict=True):
            for factor, value in zip(FACTORS, values, strict=True):
                assert right(row.get(factor.name.lower(), row.get("landuse")), value), (factor.name, row)
            assert all(right(row[name], v) for name, v in zip("xy", xy, strict=True))
        assert np.isin(found.label, (0, 1)).all()


@run
@given(tables({name: values for name, values in SAMPLES.items() if name != "label"}))
@example(b"\nland use,slope,aspect,dis2road,DV,X,Y\n1,0.5,-1,0,0.000001,500045,2499900\n#")
def test_grid(root, data):
    path = root / "grid_a.csv"
    path.write_bytes(data)
    found = outcome(lambda: list(grid_chunks(path, FACTORS, 5)))
    if found is not None:
        values, xy = (np.concatenate(part) for part in zip(*found, strict=True))
        rows = plain_rows(data)
        assert len(rows) == len(values)
        assert all(right(row["slope"], v) for row, v in zip(rows, values[:, 1], strict=True))
        assert np.isfinite(values).all()
        assert np.isfinite(xy).all()


@run
@given(tables({"X": "500045 500075 500200.5", "Y": "2499900 2499800.25", "mean_velocity": "-7.5 3 12.25 -0.75",
               "mean_velocity_std": "0.5 1", "temporal_coherence": "0.9 1", "track_angle": "349.2 190.8",
               "incidence_angle": "39.1 43"}))
@example(b"\xef\xbb\xbf\r\xef\xbb\xbf\rX,Y,mean_velocity\r500075,2499800.25,3\r500045,2499900,-7.5\r")
def test_insar_points(root, data):
    path = root / "insar_a.csv"
    path.write_bytes(data)
    found = outcome(lambda: read_insar(path, GRID)[0])
    if found is not None:
        for key in ("velocity", "coherence", "heading", "incidence", "error"):
            values = getattr(found, key)
            assert values is None or np.isfinite(values).all()
        assert np.abs(found.velocity).max() > 0.4
        assert found.coherence is None or (found.coherence >= 0).all()
        rows = plain_rows(data)
        assert max(1, 0.2 * len(rows)) * 2 >= len(rows) - len(found.velocity)
        column = next((name for name in rows[0] if key_of(name) == "velocity"), None)
        said = {c.strip() for row in rows for c in [row.get(column) or ""]}
        assert all(any(c and _number(c) is not None and right(c, v) for c in said) for v in found.velocity)


def _number(text: str):
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None


@run
@given(tables({"X": "500045 500075 500200.5", "Y": "2499900 2499800.25", "label": "0 1 stable yes", "name": "a b"}))
@example(b"\xbb\xbfX,Y,label,name\n500045,2499900,1,a\n")  # a byte order mark that lost its first byte
def test_inventory(root, data):
    path = root / "inventory.csv"
    path.write_bytes(data)
    found = outcome(lambda: read_inventory(path, "inventory", GRID, None, 0, "highest", 5, root))
    if found is not None:
        assert len(found.xy) == len(found.slid)
        assert found.slid.any()
        assert np.isfinite(found.xy).all()
        said = {_number(row.get("x") or "") for row in plain_rows(data)}
        assert all(any(x is not None and math.isclose(x, v) for x in said) for v in found.xy[:, 0])


@run
@given(tables(SAMPLES), tables(SAMPLES), st.sampled_from(["none", "all", "slope", "rain,soil", "a:b", ""]))
def test_lists_of_factors(root, samples, grid, further):
    for name, data in (("s.csv", samples), ("g.csv", grid)):
        (root / name).write_bytes(data)
    found = outcome(lambda: factors_of(FACTORS, {}, [root / "s.csv", root / "g.csv"], further))
    if found is not None:
        names = [factor.name for factor in found[0]]
        assert names
        assert len(set(names)) == len(names)


JSON = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
                    max_leaves=6)


@st.composite
def damaged_json(draw, value: dict):
    """The bytes of a JSON value, some of whose parts are others, some of whose bytes are missing."""
    copy = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(0, 2))):
        place = copy
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], (dict, list)) and place[key] and draw(st.booleans()):
                place = place[key]
                continue
            if draw(st.booleans()) and isinstance(place, dict):
                del place[key]
            else:
                place[key] = draw(JSON)
            break
    data = json.dumps(copy).encode()
    if draw(st.integers(0, 3)) == 0:
        data = data[:draw(st.integers(0, len(data)))] + draw(st.binary(max_size=2))
    return data


@run
@given(damaged_json({"factors": [{"name": "slope", "kind": "continuous", "unit": "degree", "aliases": ["s"],
                                  "zero_is_missing": False},
                                 {"name": "lithology", "kind": "categorical", "unit": "class"}],
                     "classes": {"lithology": {"granite": 1, "tuff": 2}}}))
@example(b"[" * 100_000)
def test_factors_json(root, data):
    path = root / "factors.json"
    path.write_bytes(data)
    found = outcome(lambda: read_factors(path))
    if found is not None:
        assert all(isinstance(f.name, str) and f.name.strip() and all(isinstance(a, str) for a in f.aliases)
                   for f in found[0])
        assert all(type(code) is int for codes in found[1].values() for code in codes.values())


@run
@given(st.data())
def test_records(root, data):
    path, constants = root / "a.csv", SimpleNamespace(REGION="a", RECIPE="recommended", SEED=1)
    for file in (path, record_path(path)):  # else the next record would hold parts of the damaged one
        file.unlink(missing_ok=True)
    with artifact(path, "maker.py", constants, []) as temporary:
        temporary.write_text("a\n1\n")
    record_path(path).write_bytes(data.draw(damaged_json(json.loads(record_path(path).read_text()))))
    found = outcome(lambda: read_record(path, "maker.py"))
    assert found is None or isinstance(found["inputs"], dict)
    outcome(lambda: read_csv(path, "maker.py", constants, ("a",)))


@run
@given(tables({"row": "0 1", "origin": "inventory insar absence", "weight": "1 0.5 0.001", "velocity": "1 -3"}))
@example(b"row,origin,weight,velocity\n0,inventory,9.2e-304,1\n")
def test_origins(root, data):
    paths = SimpleNamespace(samples_origin=root / "origin.csv", samples=root / "samples_a.csv")
    constants = SimpleNamespace(REGION="a", SEED=1)
    with artifact(paths.samples_origin, "augment_inventory.py", constants, []) as temporary:
        temporary.write_bytes(data)
    for rows in (1, 2, 5):
        found = outcome(lambda n=rows: weights(paths, np.array([1] * n), constants))
        assert found is None or ((found > 0) & (found <= 1)).all()


def test_columns_have_one_meaning():
    assert all(key_of(name) == key for key, names in COLUMNS.items() for name in names)
