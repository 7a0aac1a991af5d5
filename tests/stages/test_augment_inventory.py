"""Stage 0 on a small area whose points each run into one rule, on tables as published, and on what it must refuse."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import contents, run_stage
from osgeo import gdal, osr
from small_region import write_layer

import augment_inventory
from lsm.inputs.factor.definition import Factor
from lsm.inputs.rasters import read_composite
from lsm.inputs.samples import grid_chunks, read_samples
from lsm.insar.moving_slopes import slope_cosine
from lsm.insar.weak_samples import separations
from lsm.run import pipeline
from lsm.run.artifacts import check, read_record, record_path
from lsm.run.paths import PROJECT, Paths
from lsm.run.settings import InputError, constants
from study_area import FACTORS

PATHS, STAGE = Paths("isle"), "augment_inventory.py"
NAMES = [factor.name for factor in FACTORS]
HK = Path(os.environ.get("LSM_HK_DATA", PROJECT.parent / "shared" / "hk"))
ROWS, COLS, NODATA = 40, 50, -9999.0
WEST, NORTH, CELL = -1000.0, 1500.0, 100.0
SLOPE, ASPECT, HEADING, INCIDENCE = 30.0, 90.0, -13.0, 39.0
COSINE = float(slope_cosine(*np.array([SLOPE, ASPECT, HEADING, INCIDENCE])))  # about -0.93


def at(row: float, col: float) -> tuple[float, float]:
    """X, Y of a place in cells from the raster's upper left corner."""
    return WEST + col * CELL, NORTH - row * CELL


def write_composite(path) -> np.ndarray:
    """Even slopes down to the east; the first column is gentle, the second has no aspect, a corner is nodata."""
    bands = np.empty((4, ROWS, COLS), np.float32)  # DEM, aspect, curvature, slope
    bands[0] = np.arange(ROWS * COLS).reshape(ROWS, COLS) / 8
    bands[1], bands[2], bands[3] = ASPECT, 0, SLOPE
    bands[3, :, 0] = 4.5
    bands[1, :, 1] = -1
    bands[:, :3, :3] = NODATA
    path.parent.mkdir(parents=True)
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), COLS, ROWS, 4, gdal.GDT_Float32)
    dataset.SetGeoTransform((WEST, CELL, 0, NORTH, 0, -CELL))
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(32650)
    dataset.SetProjection(crs.ExportToWkt())
    for i, band in enumerate(bands, start=1):
        dataset.GetRasterBand(i).SetNoDataValue(NODATA)
        dataset.GetRasterBand(i).WriteArray(band)
    return bands


def factor_table(xy: np.ndarray, rng) -> pd.DataFrame:
    columns = {f.name: rng.integers(1, 4, len(xy)) if f.kind == "categorical" else
               rng.uniform(1, 90 if f.name == "slope" else 300, len(xy)).round(3) for f in FACTORS}
    return pd.DataFrame(columns | {"X": xy[:, 0], "Y": xy[:, 1]})


def point(row, col, velocity, coherence=0.9, error=0.5) -> dict:
    x, y = at(row, col)
    return {"x": x, "y": y, "velocity": round(velocity, 6), "coherence": coherence, "heading": HEADING,
            "incidence": INCIDENCE, "velocity_error": error}


WEAK, FAST = "weak label", "within 80 m of a faster point"
POINTS = [  # and the fate of each
    (point(10.5, 10.5, -8.0), WEAK), (point(10.5, 11.2, -7.0), FAST), (point(10.5, 11.4, -6.0), WEAK),
    (point(12.5, 20.5, -3.25), WEAK), (point(12.5, 25.5, 4.0), WEAK),  # the last one moves up its slope
    (point(-1, 5, -9.0), "outside the raster"), (point(20, COLS, -9.0), "outside the raster"),
    (point(1.5, 1.5, -9.0), "on nodata"),
    (point(15.5, 15.5, -9.0, coherence=0.69), "coherence below 0.7"), (point(15.5, 18.5, -9.0, coherence=0.7), WEAK),
    (point(20.5, 0.5, -9.0), "flat ground, slope below 5 degrees"),
    (point(20.5, 1.5, -9.0), "flat ground, slope below 5 degrees"),
    (point(22.5, 22.5, -5.0, error=2.6), "velocity below 2 of its errors"),
    (point(24.5, 24.5, 1.99 * COSINE), "below 2 mm/yr along the slope"), (point(24.5, 30.5, 2.01 * COSINE), WEAK),
    (point(30.5, 31.2, -9.0), "within 80 m of an inventory landslide"), (point(30.5, 31.4, -9.0), WEAK),
    (point(35.5, 35.5, -9.0), "not on the grid to predict")]
INSAR = pd.DataFrame([p for p, _ in POINTS])


@pytest.fixture
def area(tmp_path, monkeypatch):
    """The region "isle": a composite, a grid table without one row, an inventory and insar points."""
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    rng = np.random.default_rng(5)
    bands = write_composite(PATHS.composite)
    row, col = np.indices((ROWS, COLS)).reshape(2, -1)
    xy = np.column_stack([WEST + (col + 0.5) * CELL, NORTH - (row + 0.5) * CELL])
    there = ~((row < 3) & (col < 3)) & ~((row == 35) & (col == 35))
    grid = factor_table(xy, rng).assign(**{name: bands[i].ravel().astype(float) for i, name in
                                           enumerate(("DEM", "aspect", "curvature", "slope"))})
    grid.loc[5 * COLS + 7, "TWI"] = 0.000001
    grid[there].sample(frac=1, random_state=1).to_csv(PATHS.grid, index=False, encoding="utf-8-sig")
    places = np.array([at(30.5, 30.5), at(5.5, 40.5), at(10.5, 10.0), at(33.5, 5.5), at(8.25, 44.125)])
    inventory = factor_table(places, rng).assign(label=[1, 1, 0, 0, 0])
    inventory.loc[1, "DV"] = 0.000001
    inventory.to_csv(PATHS.samples_without_insar, index=False, encoding="utf-8-sig")
    INSAR.to_csv(PATHS.insar_table, index=False)
    return tmp_path


def run_here(*settings):
    c = constants(augment_inventory.Constants, ["REGION=isle", *settings])
    augment_inventory.main(c)
    return c


def text(path) -> pd.DataFrame:
    return pd.read_csv(path, encoding="utf-8-sig", dtype=str)


def as_published(area) -> pd.DataFrame:
    """Puts a Ts table in the place of the insar one."""
    PATHS.insar_table.unlink()
    table = factor_table(np.array([at(20.5, 20.5), at(3.5, 1.5), at(-9, 9)]), np.random.default_rng(6))
    names = {name: name.replace("dis2", "D2") for name in NAMES} | {"land use": "landuse", "DV": "DV_InSAR"}
    table = table.assign(DV=["6.614940166", "-3.50", "0.40"], slope=["0.000001", "31.10", "12"]).rename(columns=names)
    table.assign(label=table["DV_InSAR"]).to_csv(PATHS.insar_points, index=False, encoding="utf-8-sig")
    return text(PATHS.insar_points)


# rules and their outcome ----------------------------------------------------------------------------------------

def test_the_fate_of_every_point(area, capsys):
    c = run_here()
    fate = check(PATHS.augmentation_points, STAGE, c) and pd.read_csv(PATHS.augmentation_points)
    assert list(fate["fate"]) == [expected for _, expected in POINTS]
    np.testing.assert_allclose(fate[["X", "Y", "velocity"]], INSAR[["x", "y", "velocity"]])
    np.testing.assert_allclose(fate["cosine"][0], COSINE)
    np.testing.assert_allclose(fate["slope_velocity"][0], -8 / COSINE)
    report = pd.read_csv(PATHS.augmentation)
    assert list(report["kept"]) == [18, 16, 15, 14, 12, 11, 11, 10, 9, 8, 7]
    for rule, dropped in report[["rule", "dropped"]].to_numpy()[1:]:
        assert dropped == (fate["fate"] == rule).sum()
    said = capsys.readouterr().out
    assert re.search(r"^within 80 m of a faster point +1 +7$", said, re.MULTILINE)
    assert "12 samples: 2 landslides of the inventory, 7 weak labels of weight 1, 3 non-landslides" in said
    assert "weak labels within 80 m of a non-landslide: 1; both stay" in said
    assert "weak labels that move up their slope: 1;" in said


def test_what_is_written(area):
    c = run_here("WEIGHT=0.5")
    inventory, table = text(PATHS.samples_without_insar), text(PATHS.samples)
    assert list(table) == [*NAMES, "X", "Y", "label"]
    pd.testing.assert_frame_equal(table[:5], inventory)
    kept = INSAR[[expected == WEAK for _, expected in POINTS]].reset_index(drop=True)
    weak = table[5:].reset_index(drop=True)
    assert (weak["label"] == "1").all()
    np.testing.assert_array_equal(weak[["X", "Y"]].astype(float), kept[["x", "y"]])
    np.testing.assert_array_equal(weak["DV"].astype(float), kept["velocity"])

    # Every other factor is that of the grid's row in the point's cell, in as many digits; terrain is the raster's too.
    (values, xy), = grid_chunks(PATHS.grid, FACTORS, 10**6)
    samples = read_samples(PATHS.samples, FACTORS)
    bands = read_composite(PATHS.composite).bands
    for factors, place in zip(samples.factors[5:], samples.xy[5:], strict=True):
        row = np.flatnonzero((np.floor((xy - (WEST, NORTH)) / CELL) == np.floor((place - (WEST, NORTH)) / CELL)).all(1))
        others = [j for j, name in enumerate(NAMES) if name != "DV"]
        np.testing.assert_array_equal(factors[others], values[row[0]][others])
        r, col = int((NORTH - place[1]) // CELL), int((place[0] - WEST) // CELL)
        assert factors[NAMES.index("DEM")] == bands[0, r, col]
    assert weak["NDVI"].str.len().max() <= 7
    assert (weak["curvature"] == "0.000001").all()  # zeros as published tables store them
    assert set(weak["land use"]) <= {"1", "2", "3"}

    origin = pd.read_csv(PATHS.samples_origin)
    assert list(origin) == ["row", "origin", "weight", "velocity"]
    assert list(origin["row"]) == list(range(12))
    assert list(origin["origin"]) == ["inventory"] * 2 + ["absence"] * 3 + ["insar"] * 7
    assert list(origin["weight"]) == [1] * 5 + [0.5] * 7
    np.testing.assert_array_equal(origin["velocity"], [*[np.nan] * 5, *kept["velocity"]])
    for path in (PATHS.samples, PATHS.samples_origin, PATHS.augmentation, PATHS.augmentation_points):
        assert check(path, STAGE, c)["constants"]["WEIGHT"] == 0.5


def test_the_order_of_a_grid_and_its_chunks_mean_nothing(area):
    run_here()
    first = PATHS.samples.read_bytes(), PATHS.samples_origin.read_bytes()
    run_here("GRID_ROWS=7")
    assert (PATHS.samples.read_bytes(), PATHS.samples_origin.read_bytes()) == first
    text(PATHS.grid).sample(frac=1, random_state=9).to_csv(PATHS.grid, index=False)
    run_here("GRID_ROWS=300")
    assert PATHS.samples.read_bytes() == first[0]


@pytest.mark.parametrize("rows", [2, 10**6])
def test_of_several_grid_rows_in_a_cell_the_one_nearest_to_its_centre(area, rows):
    grid = text(PATHS.grid)
    x, y = at(10.5, 10.5)
    here = grid[(grid["X"].astype(float) == x) & (grid["Y"].astype(float) == y)]
    aside = [here.assign(X=str(x + dx), SPI="777") for dx in (-20, 30)]
    # West of the raster lies no cell, least of all the last one of the row above.
    beyond = here.assign(X=str(WEST - CELL / 2), Y=str(y - CELL), SPI="888")
    pd.DataFrame([*INSAR.to_dict("records"), point(10.5, COLS - 0.5, -9.0)]).to_csv(PATHS.insar_table, index=False)
    pd.concat([aside[0], beyond, grid, aside[1]]).to_csv(PATHS.grid, index=False)
    run_here(f"GRID_ROWS={rows}")
    table = text(PATHS.samples)
    assert len(table) == 13
    assert table["SPI"][5] == here["SPI"].iloc[0]
    assert not table["SPI"].isin(["777", "888"]).any()


def test_a_layer_gives_what_its_table_gives(area):
    run_here()
    table = PATHS.samples.read_bytes()
    PATHS.insar_table.unlink()
    write_layer(PATHS.insar_layer, INSAR)
    run_here()
    assert PATHS.samples.read_bytes() == table


def test_geometry_as_a_constant(area):
    run_here()
    table = PATHS.samples.read_bytes()
    INSAR.drop(columns=["heading", "incidence"]).to_csv(PATHS.insar_table, index=False)
    run_here(f"GEOMETRY=({HEADING}, {INCIDENCE})")
    assert PATHS.samples.read_bytes() == table


def test_no_geometry_at_all(area, capsys):
    INSAR.drop(columns=["heading", "incidence"]).to_csv(PATHS.insar_table, index=False)
    run_here()
    fate = pd.read_csv(PATHS.augmentation_points)
    expected = [f.replace("2 mm/yr along the slope", "2 mm/yr along the line of sight") for _, f in POINTS]
    expected[14] = expected[13]  # 2.01 mm/yr along the slope are 1.87 along the line of sight
    assert list(fate["fate"]) == expected
    assert fate[["cosine", "slope_velocity"]].isna().all(axis=None)
    said = capsys.readouterr().out
    assert "no heading and incidence: the velocity along the line of sight stands for the velocity along" in said
    assert "move up their slope" not in said


@pytest.mark.parametrize(("column", "rule"), [("coherence", "coherence below"), ("velocity_error", "of its errors")])
def test_rules_that_need_a_column_are_left_out_without_it(area, column, rule):
    INSAR.drop(columns=column).to_csv(PATHS.insar_table, index=False)
    run_here()
    report = pd.read_csv(PATHS.augmentation)
    assert not report["rule"].str.contains(rule).any()
    assert report["kept"].iloc[-1] == 8


def test_the_other_sign(area):
    run_here()
    table = PATHS.samples.read_bytes()
    INSAR.assign(velocity=-INSAR["velocity"]).to_csv(PATHS.insar_table, index=False)
    run_here("INSAR_POSITIVE=away")
    assert PATHS.samples.read_bytes() == table


def test_downhill_alone(area):
    run_here("DOWNHILL=True")
    fate = pd.read_csv(PATHS.augmentation_points)
    assert list(fate["fate"][fate["slope_velocity"].abs() > 2][4:5]) == ["moving up the slope"]
    assert (fate["slope_velocity"][fate["fate"] == WEAK] > 0).all()


def test_spacing_as_a_constant(area):
    run_here("SPACING=0")
    assert not pd.read_csv(PATHS.augmentation_points)["fate"].str.startswith("within").any()


# tables as published --------------------------------------------------------------------------------------------

def test_a_table_as_published_goes_through_whole(area, capsys):
    given = as_published(area)
    run_here()
    table = text(PATHS.samples)
    pd.testing.assert_frame_equal(table[:5], text(PATHS.samples_without_insar))
    weak = table[5:].reset_index(drop=True)
    assert list(weak["DV"]) == ["-6.614940166", "3.50", "-0.40"]  # none dropped: slow, flat, outside the raster
    assert (weak["label"] == "1").all()
    same = [j for j, name in enumerate([*NAMES, "X", "Y"]) if name != "DV"]
    assert (weak.iloc[:, same].to_numpy() == given.iloc[:, same].to_numpy()).all()
    np.testing.assert_allclose(pd.read_csv(PATHS.samples_origin)["velocity"][5:], [-6.614940166, 3.5, -0.4])
    assert re.search(r"^InSAR points +0 +3$", capsys.readouterr().out, re.MULTILINE)
    PATHS.composite.unlink()
    PATHS.grid.unlink()
    run_here("TS_POSITIVE=towards")
    assert list(text(PATHS.samples)["DV"][5:]) == ["6.614940166", "-3.50", "0.40"]


def test_columns_of_the_inventory_in_any_order_and_name(area):
    run_here()
    expected = text(PATHS.samples)
    inventory = text(PATHS.samples_without_insar)
    renamed = inventory[inventory.columns[::-1]].rename(columns={"dis2road": "D2road", "DEM": "Elevation", "X": "x"})
    renamed.assign(note="no factor").to_csv(PATHS.samples_without_insar, index=False)
    run_here()
    pd.testing.assert_frame_equal(text(PATHS.samples), expected)


@pytest.mark.skipif(not HK.is_dir(), reason="the Hong Kong tables are not there: HK_DATA=<folder of the tables>")
def test_hong_kong_gives_the_published_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    paths = Paths("HK")
    paths.samples.parent.mkdir()
    for path in (paths.samples_without_insar, paths.insar_points):
        path.symlink_to(HK / path.name)
    augment_inventory.main(constants(augment_inventory.Constants, ["REGION=HK"]))

    def rows(path):
        table = text(path)
        return table.sort_values(list(table.columns), ignore_index=True)

    made, published = rows(paths.samples), rows(HK / "samples_HK.csv")
    assert made.shape == (19_898, 17)
    pd.testing.assert_frame_equal(made, published)  # digit by digit
    origin = pd.read_csv(paths.samples_origin)["origin"].value_counts().to_dict()
    assert origin == {"inventory": 8_459, "absence": 8_634, "insar": 2_805}
    said = capsys.readouterr().out
    warned = re.findall(r"^warning: one factor alone separates .*: (.+) \(AUROC (.+?)\)\.", said, re.MULTILINE)
    assert [name for name, _ in warned] == ["DV"]
    assert float(warned[0][1]) == pytest.approx(0.02, abs=0.005)  # away from the satellite: the lower the likelier


# what the result is worth ---------------------------------------------------------------------------------------

def test_what_separates_alone():
    rng = np.random.default_rng(8)
    factors = (Factor("land use", "categorical", "class"), Factor("aspect", "circular", "degree"),
               Factor("slope", "continuous", "degree"), Factor("DV", "continuous", "mm/yr", zero_is_missing=True))
    weak = np.column_stack([np.full(300, 2), rng.uniform(-20, 20, 300) % 360, rng.uniform(0, 1, 300),
                            rng.choice((-1, 1), 300) * rng.uniform(2, 9, 300)])
    absent = np.column_stack([rng.choice((1, 3), 700), rng.uniform(160, 200, 700), rng.uniform(0, 1, 700),
                              rng.uniform(-1, 1, 700)])
    found = dict(separations(weak, absent, factors))
    assert found["land use"] == 1  # by its code 2, though codes 1 and 3 lie on both sides
    assert found["aspect"] == 1    # to the north, though 350 and 10 lie far apart as numbers
    assert found["DV"] == 1        # by speed, though velocities have both signs
    assert abs(found["slope"] - 0.5) < 0.1


def test_a_factor_that_separates_is_named(area, capsys):
    table = text(PATHS.samples_without_insar)
    table.assign(SPI=["5", "5", "301", "302", "303"], DV="0.000001").to_csv(PATHS.samples_without_insar, index=False)
    run_here()
    said = capsys.readouterr().out
    assert re.search(r"^warning: one factor alone .*: .*SPI \(AUROC 0\.000\), .*DV \(AUROC [01]\.000\)\.", said, re.M)
    run_here("SEPARATES=1.0")
    assert "warning" not in capsys.readouterr().out


# a person's own table -------------------------------------------------------------------------------------------

def refused(area, *settings) -> str:
    before = contents(area)
    with pytest.raises(InputError) as caught:
        run_here(*settings)
    assert contents(area) == before
    message = str(caught.value)
    assert "\n" not in message
    assert str(area) not in message
    return message


def test_another_table_is_not_overwritten(area):
    run_here()
    made = PATHS.samples.read_bytes()
    run_here()  # its own it writes again
    assert PATHS.samples.read_bytes() == made
    words = ("src_data/samples_isle.csv: expected none, or one that augment_inventory.py wrote, found another; move it "
             "away, or replace it with OVERWRITE=True")
    record = record_path(PATHS.samples).read_text()
    record_path(PATHS.samples).write_text(json.dumps(json.loads(record) | {"stage": "src_data/make_demo.py"}))
    assert refused(area) == words
    record_path(PATHS.samples).unlink()
    assert refused(area) == words
    record_path(PATHS.samples).write_text(record)
    PATHS.samples.write_bytes(made + made.splitlines(keepends=True)[-1])  # changed by hand
    assert refused(area) == words
    run_here("OVERWRITE=True")
    assert PATHS.samples.read_bytes() == made
    assert read_record(PATHS.samples, STAGE)["stage"] == STAGE


# bad input ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("change", "words"), [
    (lambda t: t.drop(columns="velocity"), "header: expected a column named one of velocity, v_los"),
    (lambda t: t.drop(columns="heading"), "header: expected columns heading and incidence .*, found no heading; add"),
    (lambda t: t.assign(velocity="fast"), "point 1, column 'velocity': expected a number, found 'fast'"),
    (lambda t: t.assign(coherence=85), "point 1, column 'coherence': expected a coherence from 0 to 1, found .*85"),
    (lambda t: t.assign(incidence=139), "point 1, column 'incidence': expected an incidence from 0 to 90"),
    (lambda t: t.assign(velocity=t["velocity"] / 1000), "expected mm/yr, found 99 % below 0.009 mm/yr; give"),
    (lambda t: t.assign(x=1e8 + t["x"]), r"within X -1000 to 4000, Y -2500 .*, found 18 of 18 outside \(X 99999050"),
    (lambda t: t.assign(x=t["x"] + 1e6), r"; crop them to the area, or, if not in WGS 84"),
    (lambda t: t.assign(velocity=-1.5), "expected points that pass the rules, found none of 18: 2 outside the raster; "
                                        ".* below 2 mm/yr along the slope; look at units and CRS"),
    (lambda t: t[:0], "expected points, found a header only")])
def test_an_insar_table_that_cannot_be(area, change, words):
    change(INSAR).to_csv(PATHS.insar_table, index=False)
    assert re.search(f"^src_data/insar_isle.csv: .*{words}", refused(area))


@pytest.mark.parametrize(("change", "words"), [
    (lambda t: t.drop(columns="DV_InSAR"), "header: expected a column 'DV'"),
    (lambda t: t.drop(columns="slope"), "header: expected a column 'slope'"),
    (lambda t: t.assign(DV_InSAR="fast"), "line 2, column 'DV_InSAR': expected a number, found 'fast'"),
    (lambda t: t.assign(DV_InSAR=0.006), "expected mm/yr, found 99 % below 0.006"),
    (lambda t: t[:0], "expected one row an InSAR point, found none")])
def test_a_published_table_that_cannot_be(area, change, words):
    change(as_published(area)).to_csv(PATHS.insar_points, index=False)
    assert re.search(f"^src_data/Ts_isle.csv: .*{words}", refused(area))


def test_one_source_of_points(area):
    PATHS.insar_points.write_text("DV\n")
    assert refused(area) == ("src_data/Ts_isle.csv and src_data/insar_isle.csv: expected one source of InSAR points, "
                             "found 2; move all but one away")
    PATHS.insar_points.unlink()
    PATHS.insar_table.unlink()
    assert refused(area).startswith("src_data/Ts_isle.csv: missing, as are src_data/insar_isle.csv, insar_isle.gpkg "
                                    "and insar_isle.tif; put")


@pytest.mark.parametrize("name", ["samples_without_insar", "grid", "composite"])
def test_a_missing_input(area, name):
    path = getattr(PATHS, name)
    path.unlink()
    assert refused(area).startswith(f"src_data/{path.relative_to(area / 'src_data')}: missing; put ")


@pytest.mark.parametrize("setting", [
    "TS_POSITIVE=up", "INSAR_POSITIVE=down", "LOOK=back", "GEOMETRY=(1,)", "GEOMETRY=(-13, 139)", "GEOMETRY=('a', 1)",
    "MIN_COSINE=0", "MIN_COHERENCE=70", "SPACING=-1", "WEIGHT=0", "WEIGHT=2", "SEPARATES=0.1", "GRID_ROWS=0"])
def test_a_constant_that_cannot_be(area, setting):
    assert refused(area, setting).startswith(f"{setting.split('=')[0]}=")


# as a user runs it ----------------------------------------------------------------------------------------------

def test_one_line_and_exit_code_2(area):
    done = run_stage(area, STAGE, "REGION=isle", "SPACING=100")
    assert done.returncode == 0, done.stderr
    assert "wrote src_data/samples_isle.csv" in done.stdout
    PATHS.insar_table.unlink()
    done = run_stage(area, STAGE, "REGION=isle")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "augment_inventory.py: src_data/Ts_isle.csv: missing" in done.stderr


def test_make_augments_where_there_is_no_table_of_a_persons_own(area):
    def state() -> str | None:
        return pipeline.states_of("isle", []).get(STAGE)

    assert state() == "missing"
    run_here()
    assert state() == "fresh"
    PATHS.insar_table.write_text(PATHS.insar_table.read_text() + "\n")
    assert state().startswith("stale: ")
    assert "insar_isle.csv" in state()
    record_path(PATHS.samples).unlink()
    assert state() is None  # the table is a person's own
    PATHS.samples.unlink()
    assert state() == "stale: src_data/samples_isle.csv: missing"
    PATHS.insar_table.unlink()
    assert state() is None
