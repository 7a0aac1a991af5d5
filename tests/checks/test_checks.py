"""What check_region.py finds in a region's tables and rasters: every planted fault, with a remedy."""

import numpy as np
import pandas as pd
import pytest
import small_region
from conftest import contents
from osgeo import gdal
from small_region import CELL, NORTH, WEST, crs_of

import check_region
import prepare_region
from lsm.checks import inspection, raster_checks, table_checks
from lsm.checks.finding import counts_in_words, with_verb
from lsm.inputs.factor.definition import Factor
from lsm.inputs.rasters import Raster
from lsm.run.paths import Paths
from lsm.run.settings import constants
from study_area import FACTORS, factors

PATHS, ROWS = Paths("own"), 10**6


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("checks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSM_ROOT", str(root))
        small_region.write_area(PATHS.raw)
        small_region.prepare(prepare_region, "GRID_FORM=both")
    return contents(root)


@pytest.fixture
def region(made, tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    for name, data in made.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path


def edit(path, change) -> None:
    table = pd.read_csv(path)
    change(table).to_csv(path, index=False)


def band(index: int, change) -> None:
    dataset = gdal.Open(str(PATHS.composite), gdal.GA_Update)
    values = dataset.GetRasterBand(index).ReadAsArray()
    dataset.GetRasterBand(index).WriteArray(change(values).astype(np.float32))
    dataset.FlushCache()


def set_epsg(code: int) -> None:
    dataset = gdal.Open(str(PATHS.composite), gdal.GA_Update)
    dataset.SetGeoTransform((2_000_000, 30, 0, 8_400_000, 0, -30))
    dataset.SetProjection(small_region.crs_of(code).ExportToWkt())
    dataset.FlushCache()


def shifted(table):
    return table.assign(X=table["X"] + 10)


FAULTS = {
    "slope in radians": (lambda: edit(PATHS.samples, lambda t: t.assign(slope=np.radians(t["slope"]))),
                         "units", "samples_own.csv", "slope goes from .*radians", "multiply"),
    "slope in percent": (lambda: edit(PATHS.grid, lambda t: t.assign(slope=t["slope"] * 40)),
                         "units", "grid_samples_own.csv", "percent", "atan"),
    "band in radians": (lambda: band(4, np.radians), "units", "composite.tif", "radians", "degrees"),
    "a tile of another level": (lambda: band(1, lambda v: np.where(np.arange(v.shape[1]) < 40, v, v + 30)), "terrain",
                                "composite.tif", r"heights step by \+.* from column 40 to 41, rows 1 to 60", "to one"),
    "band in percent": (lambda: band(4, lambda v: 100 * np.tan(np.radians(v))), "units", "composite.tif", "percent",
                        "degrees"),
    "band aspect from east": (lambda: band(2, lambda v: np.where(v < 0, 0, (450 - v) % 360)), "aspect", "composite.tif",
                              "aspect lies .* counter-clockwise from east", "450 - aspect"),
    "band aspect uphill": (lambda: band(2, lambda v: (v + 180) % 360), "aspect", "composite.tif", "the way up",
                           "aspect . 180"),
    "band aspect of another DEM": (lambda: band(2, lambda v: np.sin(np.arange(v.size)).reshape(v.shape) * 180 + 180),
                                   "aspect", "composite.tif", "aspect lies", "another DEM"),
    "a map that is not true to scale": (lambda: set_epsg(3857), "CRS", "composite.tif", "m of the map stand for 1 m",
                                        "warp to a CRS"),
    "aspect in radians": (lambda: edit(PATHS.samples, lambda t: t.assign(aspect=np.radians(t["aspect"].clip(0)))),
                          "units", "samples_own.csv", "aspect goes to .*radians", "degrees"),
    "aspect in classes": (lambda: edit(PATHS.samples, lambda t: t.assign(aspect=(t["aspect"] + 22.5) // 45 % 8 + 1)),
                          "aspect", "samples_own.csv", "aspect differs by .* from composite.tif", "no classes"),
    "NDVI from -1 to 1": (lambda: edit(PATHS.samples, lambda t: t.assign(NDVI=t["NDVI"] / 1e4)),
                          "units", "samples_own.csv", "scale -1 to 1", "10,000"),
    "nodata in a column": (lambda: edit(PATHS.samples, lambda t: t.assign(TWI=t["TWI"].mask(t.index < 3, -9999))),
                           "nodata", "samples_own.csv", "TWI: 3 rows hold -9999", "remove"),
    "a number of nines": (lambda: edit(PATHS.samples, lambda t: t.assign(SPI=t["SPI"].mask(t.index < 12, 99.99))),
                          "nodata", "samples_own.csv", "SPI: 99.99 in 12 rows lies apart from", "nodata=99.99"),
    "empty cells": (lambda: edit(PATHS.grid, lambda t: t.assign(SPI=t["SPI"].mask(t.index == 5))),
                    "nodata", "grid_samples_own.csv", "SPI: 1 row holds no number", "remove"),
    "a shifted grid": (lambda: edit(PATHS.grid, shifted), "alignment", "grid_samples_own.csv",
                       "100.0% of the rows lie off the centre", "different grids"),
    "samples in another CRS": (lambda: edit(PATHS.samples, lambda t: t.assign(X=t["X"] - 3e5)), "alignment",
                               "samples_own.csv", "240 points outside", "one CRS"),
    "samples with X for Y": (lambda: edit(PATHS.samples, lambda t: t.rename(columns={"X": "Y", "Y": "X"})), "alignment",
                             "samples_own.csv", "240 points outside", "X and Y seem to be swapped: exchange the names"),
    "samples in degrees": (lambda: edit(PATHS.samples, lambda t: t.assign(X=117.0, Y=22.6)), "alignment",
                           "samples_own.csv", "240 points outside", "look like degrees: transform them"),
    "repeated places": (lambda: edit(PATHS.samples, lambda t: pd.concat([t, t[:7]])), "duplicates", "samples_own.csv",
                        "7 rows repeat a place", "one row"),
    "conflicting labels": (lambda: edit(PATHS.samples, lambda t: pd.concat([t, t[:5].assign(label=1 - t["label"])])),
                           "labels", "samples_own.csv", "5 places hold both labels", "decide"),
    "few landslides": (lambda: edit(PATHS.samples, lambda t: t.sort_values("label")[:129]), "balance",
                       "samples_own.csv", "7.0% landslides", "RATIO"),
    "samples in kilometres": (lambda: edit(PATHS.samples, lambda t: t.assign(dis2road=t["dis2road"] / 1000)), "units",
                              "samples_own.csv", "dis2road of the samples is 0.001 times as large as in", "one unit"),
    "other class codes": (lambda: edit(PATHS.samples, lambda t: t.assign(lithology=t["lithology"] + 10)), "units",
                          "samples_own.csv", "lithology: 100% of the samples hold another class", "number the classes"),
    "a column of something else": (lambda: edit(PATHS.samples, lambda t: t.assign(TWI=t["TWI"].sort_values().values)),
                                   "alignment", "samples_own.csv", "TWI of the samples has little to do with", "layer"),
    "a factor twice": (lambda: edit(PATHS.samples, lambda t: t.assign(TWI=2 * t["SPI"] + 1)), "collinearity",
                       "samples_own.csv", "SPI and TWI 1.00.*; variance inflation above 10: .*SPI inf, TWI inf",
                       "share their importance"),
    "a constant factor": (lambda: edit(PATHS.samples, lambda t: t.assign(dis2road=5)), "collinearity",
                          "samples_own.csv", "dis2road is the same in every row", "of this area"),
    "slope in low percent": (lambda: edit(PATHS.samples, lambda t: t.assign(slope=1.77 * t["slope"])),
                             "units", "samples_own.csv", "slope is 1.7.* times as large as in comp", "percent"),
    "heights in feet": (lambda: edit(PATHS.grid, lambda t: t.assign(DEM=t["DEM"] * 3.28084)),
                        "units", "grid_samples_own.csv", "DEM is 3.28 times as large as in composite.tif", "feet"),
    "heights above another level": (lambda: edit(PATHS.samples, lambda t: t.assign(DEM=t["DEM"] + 400)), "units",
                                    "samples_own.csv", r"DEM .*differs by \+400 from", "one (?:level|layer)"),
    "NDVI in grey values": (lambda: edit(PATHS.samples, lambda t: t.assign(NDVI=100 + t["NDVI"] / 100)),
                            "units", "samples_own.csv", "NDVI from .*: no known scale", "10,000"),
    "a handful of points": (lambda: edit(PATHS.samples, lambda t: pd.concat([t.query("label == 1")[:3], t.query(
        "label == 0")[:3]])), "balance", "samples_own.csv", "50.0% landslides: 3, and 3 non-landslides", "more points"),
    "a grid without a factor": (lambda: edit(PATHS.grid, lambda t: t.drop(columns="TWI")), "table",
                                "grid_samples_own.csv", "column 'TWI'", "rename"),
    "a table of 0 bytes": (lambda: PATHS.samples.write_bytes(b""), "table", "samples_own.csv", "found 0 bytes", "copy"),
    "half a composite": (lambda: PATHS.composite.write_bytes(PATHS.composite.read_bytes()[:3000]), "raster",
                         "composite.tif", "breaks off", "copy"),
    "half a stack": (lambda: PATHS.factor_stack.write_bytes(PATHS.factor_stack.read_bytes()[:60_000]), "table",
                     "factors.tif", "src_data/own/factors.tif, band", "copy"),
    "no grid": (lambda: (PATHS.grid.unlink(), PATHS.factor_stack.unlink()), "table", "grid_samples_own.csv", "missing",
                "prepare_region.py"),
    "a word for a coordinate": (lambda: edit(PATHS.samples, lambda t: t.astype({"X": str}).replace(
        {"X": {str(t["X"][3]): "here"}})), "table", "samples_own.csv", "line 5, column 'X'.*'here'", "correct"),
    "an endless coordinate": (lambda: edit(PATHS.samples, lambda t: t.assign(X=t["X"].mask(t.index == 3, np.inf))),
                              "table", "samples_own.csv", "line 5, column 'X'", "correct"),
    "a table the readers refuse": (lambda: edit(PATHS.samples, lambda t: t.drop(columns="slope")), "table",
                                   "samples_own.csv", "column 'slope'", "rename"),
}


@pytest.mark.parametrize(("of_samples", "of_grid", "said"), [
    ("tuff ", "", "expected a class in words, like 'tuff 1', found '"),
    ("", "tuff ", "expected a whole-number class code, found 'tuff")])
def test_codes_in_one_table_and_words_in_the_other_are_one_error(region, of_samples, of_grid, said):
    for path in (PATHS.factors, PATHS.factor_stack, PATHS.samples_without_insar):
        path.unlink()

    def change(path, word: str) -> None:
        edit(path, lambda t: t.assign(lithology=word + t["lithology"].astype(int).astype(str)).rename(
            columns={"lithology": "Geology"}))

    change(PATHS.samples, of_samples)
    change(PATHS.grid, of_grid)
    found, _ = inspection.check_inputs(PATHS, factors("own"), ROWS)
    error, = (f for f in found if f.level == "error")
    assert error.file == "src_data/grid_samples_own.csv"
    assert "column 'Geology'" in error.found
    assert said in error.found
    assert error.remedy == ("write the classes alike in samples and grid: words in both, or whole numbers in both")


def test_classes_of_another_word_are_named_with_their_column(region):
    for path, words in ((PATHS.samples, {}), (PATHS.grid, {1: 2, 2: 1})):
        edit(path, lambda t, words=words: t.assign(Geology="rock " + t["lithology"].replace(words).astype(int).astype(
            str)).drop(columns="lithology"))
    for path in (PATHS.factors, PATHS.factor_stack, PATHS.samples_without_insar):
        path.unlink()
    found, _ = inspection.check_inputs(PATHS, factors("own"), ROWS)
    error, = (f for f in found if f.level == "error")
    assert error.found.startswith("lithology (column 'Geology'): ")
    assert "'rock 1' is 'rock 2' there" in error.found


@pytest.mark.parametrize(("fault", "topic", "file", "found", "remedy"), FAULTS.values(), ids=FAULTS)
def test_fault_is_found_with_its_remedy(region, fault, topic, file, found, remedy):
    fault()
    findings, _ = inspection.check_inputs(PATHS, factors("own"), ROWS)
    here = pd.DataFrame(findings).query("topic == @topic and level != 'ok'")
    here = here[here["file"].str.endswith(f"/{file}") & here["found"].str.contains(found)]
    assert len(here) >= 1, pd.DataFrame(findings).to_string()
    assert here["remedy"].str.contains(remedy).all()


def test_a_stack_with_bands_in_another_order_and_by_other_names_is_read(region):
    names = [f.name for f in factors("own")]
    turned = gdal.Translate(str(region / "turned.tif"), str(PATHS.factor_stack),
                            bandList=[*range(2, len(names) + 1), 1])
    for number, name in enumerate([*names[1:], names[0]], start=1):
        turned.GetRasterBand(number).SetDescription("Elevation" if name == "DEM" else name)
    del turned
    (region / "turned.tif").rename(PATHS.factor_stack)
    findings, _ = inspection.check_inputs(PATHS, factors("own"), ROWS)
    assert [f.level for f in findings if f.file.endswith("factors.tif")] == ["ok", "ok"]


def test_a_sound_region_has_no_error(region):
    findings, correlation = inspection.check_inputs(PATHS, factors("own"), ROWS)
    assert not [f for f in findings if f.level == "error"]
    assert all(f.remedy for f in findings if f.level != "ok")
    assert correlation["factor"].tolist() == [f.name for f in factors("own")
                                              if f.kind not in ("categorical", "circular")]


def test_two_tables_of_the_same_rows_are_told_once(region):
    def of_second() -> list[tuple]:
        findings, _ = inspection.check_inputs(PATHS, factors("own"), ROWS)
        return [(f.topic, f.level, f.found) for f in findings if f.file.endswith("_noTS.csv")]

    assert of_second() == [("table", "ok", "the same rows as src_data/samples_own.csv, see there")]
    edit(PATHS.samples_without_insar, lambda t: pd.concat([t[:-1], t[:3]]))
    assert ("table", "ok", "its places and labels stand in src_data/samples_own.csv, see there") in of_second()
    assert {"units", "nodata"} <= {topic for topic, _, _ in of_second()}  # to be mended here too
    assert not {"duplicates", "labels", "balance"} & {topic for topic, _, _ in of_second()}
    edit(PATHS.samples_without_insar, lambda t: t.assign(label=1 - t["label"]))
    assert ("duplicates", "warning", "3 rows repeat a place") in of_second()
    edit(PATHS.samples, lambda t: t[:0])
    edit(PATHS.samples_without_insar, lambda t: t[:0])
    assert [level for _, level, _ in of_second()] == ["error"]  # no row is no table to trust


def test_checking_changes_nothing_else_and_the_worst_stands_last(region, made, capsys):
    check_region.main(constants(check_region.Constants, ["REGION=own", "STOP_AT_ERRORS=False"]))
    levels = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    of_findings = [level for level in levels if level in ("ok", "warning", "error")]
    assert of_findings == sorted(of_findings, key=("ok", "warning", "error").index)
    assert levels[-1].isdigit()  # how many there are of each
    after = contents(region)
    assert {name: after[name] for name in made} == made
    assert set(after) - set(made) == {f"tmp/own_{n}.csv{s}" for n in ("checks", "correlation") for s in ("", ".json")}


@pytest.mark.parametrize(("name", "values", "level", "found"), [
    ("slope", [*np.linspace(0, 50, 99), -9999], "error", "1 row holds -9999, no slope in degrees"),
    ("slope", [*np.linspace(0, 120, 99), -9999], "error", "percent"),
    ("slope", [*np.linspace(0, 0.9, 99), 45], "warning", "95 % below 0.864: radians, or a plain"),
    ("slope", np.linspace(0, 50, 99), "ok", "degrees"),
    ("aspect", [*np.linspace(0, 6.28, 99), 300], "error", "radians"),
    ("NDVI", [*np.linspace(-0.1, 0.8, 97), *[10000] * 3], "error", "scale -1 to 1, but 3 rows lie beyond")])
def test_a_few_odd_values_do_not_change_the_unit(name, values, level, found):
    finding, = table_checks.of_units(pd.DataFrame({name: values}), FACTORS, "t.csv")
    assert finding.level == level
    assert found in finding.found


def test_velocity_in_metres_and_missing_insar():
    values = pd.DataFrame({"DV": np.where(np.arange(100) < 80, 0, 0.004)})
    findings = table_checks.of_units(values, FACTORS, "t.csv") + table_checks.of_missing(
        values, pd.Series(np.arange(len(values)) % 2), FACTORS, "t.csv")
    assert [(f.topic, f.level) for f in findings] == [("units", "warning"), ("InSAR", "warning")]
    assert "m/yr" in findings[0].found
    assert "80.0%" in findings[1].found


@pytest.mark.parametrize(("times", "found"), [
    (1.0, "99 % below 35.3"), (10.0, "half is steeper than 55"), (1e-4, "nearly all is flatter than 0.5 degrees")])
def test_heights_in_another_unit_make_slopes_that_no_ground_has(times, found):
    dem = np.add.outer(np.arange(30.0), np.arange(40.0)) * 15 * times
    bands = np.stack([dem, np.full_like(dem, 315), np.zeros_like(dem), np.ones_like(dem)]).astype(np.float32)
    raster = Raster(bands, np.ones(dem.shape, bool), (5e5, 30.0, 0.0, 2.5e6, 0.0, -30.0), crs_of(32650).ExportToWkt())
    levels = {f.level: f.found for f in raster_checks.of_composite(raster, "c.tif") if "the heights give" in f.found}
    assert list(levels) == ["ok" if times == 1 else "warning"]
    assert found in next(iter(levels.values()))


def test_a_crs_of_another_body_has_places_but_no_north_of_ours():
    mars = ('PROJCS["Mars",GEOGCS["Mars 2000",DATUM["D_Mars_2000",SPHEROID["Mars_2000",3396190,169.894]],'
            'PRIMEM["Greenwich",0],UNIT["Degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
            'PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",0],PARAMETER["scale_factor",1],'
            'PARAMETER["false_easting",500000],PARAMETER["false_northing",0],UNIT["metre",1]]')
    dem = np.add.outer(np.arange(30.0), np.arange(40.0)) * 15
    bands = np.stack([dem, np.full_like(dem, 315), np.zeros_like(dem), np.ones_like(dem)]).astype(np.float32)
    raster = Raster(bands, np.ones(dem.shape, bool), (5e5, 30.0, 0.0, 2.5e6, 0.0, -30.0), mars)
    found = [f for f in raster_checks.of_composite(raster, "c.tif") if f.topic == "CRS"]
    assert [f.level for f in found] == ["ok", "ok"]
    assert "1.0000 m of the map" in found[1].found


@pytest.mark.parametrize("rise", [0.01, 0.05])
def test_gentle_ground_is_in_degrees_where_the_heights_say_so(rise):
    row, col = np.mgrid[:30, :40]
    slope, way = np.full(row.shape, np.degrees(np.arctan(rise))), np.full(row.shape, 5.0)  # down to 5 degrees off north
    dem = 30 * rise * (row * np.cos(np.radians(way)) - col * np.sin(np.radians(way)))
    raster = Raster(np.stack([dem, way, np.zeros_like(dem), slope]).astype(np.float32), np.ones(dem.shape, bool),
                    (5e5, 30.0, 0.0, 2.5e6, 0.0, -30.0), crs_of(32650).ExportToWkt())
    assert not [f for f in raster_checks.of_composite(raster, "c.tif") if f.level == "error"]
    xy = pd.DataFrame({"X": 5e5 + 30 * col.ravel() + 15, "Y": 2.5e6 - 30 * row.ravel() - 15})
    values = pd.DataFrame({"slope": slope.ravel(), "aspect": way.ravel()})
    terrain = raster_checks.terrain_of_places(xy, raster)
    for change, level in ((1.0, "ok"), (np.pi / 180, "error")):
        found = table_checks.of_units(values * change, FACTORS, "t.csv", terrain)
        assert {f.level for f in found} == {level}, found
    bands = np.stack([dem, np.radians(way), np.zeros_like(dem), np.radians(slope)]).astype(np.float32)
    wrong = raster_checks.of_composite(Raster(bands, raster.valid, raster.geotransform, raster.crs), "c.tif")
    assert any("radians" in f.found for f in wrong if f.level == "error" and "slope" in f.found)


def test_one_of_a_kind_is_counted_as_one():
    findings = pd.DataFrame({"level": ["warning", "ok", "ok"]})
    assert counts_in_words(findings) == "0 errors, 1 warning, 2 in order"
    assert [with_verb(n, "row", "hold") for n in (0, 1, 2)] == ["0 rows hold", "1 row holds", "2 rows hold"]


def test_no_row_is_one_finding(region):
    edit(PATHS.samples, lambda t: t[:0])
    findings, correlation = inspection.check_inputs(PATHS, factors("own"), ROWS)
    assert [f.topic for f in findings if f.file.endswith("samples_own.csv") and "grid" not in f.file] == ["table"]
    assert correlation.empty


def test_variance_inflation_is_that_of_a_regression():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 500))
    values = pd.DataFrame({"DEM": a, "slope": b, "TWI": a + b + 0.5 * rng.standard_normal(500)})
    table, _ = table_checks.of_collinearity(values, FACTORS, "t.csv")
    x = np.column_stack([np.ones(500), a, b])
    y = values["TWI"].to_numpy()
    residual = y - x @ np.linalg.lstsq(x, y)[0]
    expected = y.var() / residual.var()
    assert table.set_index("factor")["VIF"]["TWI"] == pytest.approx(expected)
    table, found = table_checks.of_collinearity(values.assign(SPI=2 * a + 1), FACTORS, "t.csv")
    assert list(np.isinf(table.set_index("factor")["VIF"])) == [name in ("DEM", "SPI") for name in table["factor"]]
    only, = found  # one finding, however many factors
    assert only.found.startswith("correlation beyond 0.8: DEM and SPI 1.00; variance inflation above 10: DEM inf, ")


def test_of_many_factors_alike_some_are_named():
    a = np.random.default_rng(0).standard_normal(50)
    values = pd.DataFrame({f"f{i:02}": (i + 1) * a for i in range(14)})
    only, = table_checks.of_collinearity(values, tuple(Factor(name, "continuous", "-") for name in values), "t")[1]
    assert only.found.endswith("f10 inf, f11 inf and 2 more")
    assert "f00 and f12 1.00 and 79 more;" in only.found


def test_a_missing_region_is_a_table_of_errors(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    findings, correlation = inspection.check_inputs(Paths("nowhere"), FACTORS, ROWS)
    assert {f.level for f in findings} == {"error"}
    assert correlation.empty


def test_numbers_of_the_area_are_those_of_the_grid(region):
    table = pd.read_csv(PATHS.grid)
    assert table["X"].min() == WEST + CELL / 2
    assert table["Y"].max() == NORTH - CELL / 2


def test_gaps_that_tell_the_label_are_named():
    label = pd.Series(np.arange(100) % 2)
    values = pd.DataFrame({"DV": np.where((label == 0) & (np.arange(100) < 60), 0.0, 1.5)})
    found = table_checks.of_missing(values, label, FACTORS, "t.csv")
    assert [f.level for f in found] == ["ok", "warning"]
    assert found[1].found.startswith("DV is missing at 0% of the landslides and 60% of the others")
    assert len(table_checks.of_missing(values, 1 - label.sort_values(ignore_index=True), FACTORS, "t.csv")) == 1


def test_landslides_in_a_corner_are_named():
    x, y = (a.ravel() for a in np.meshgrid(np.arange(30) * 100.0, np.arange(30) * 100.0))
    table = pd.DataFrame({"X": x, "Y": y, "label": ((x < 1000) & (y < 1000)).astype(int)})
    values = table[["X", "Y"]].rename(columns={"X": "DEM", "Y": "slope"})
    found = {f.topic: f for f in table_checks.of_labels(table, values, "t.csv")}
    assert (found["places"].level, found["places"].found) == (
        "warning", "landslides lie within 10% of the extent of all points")
    for fine in (table.assign(label=np.arange(len(table)) % 2), table.assign(X=5.0), table.assign(label=0)):
        assert {f.topic: f for f in table_checks.of_labels(fine, values, "t.csv")}["places"].level == "ok"
