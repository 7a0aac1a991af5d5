"""Several InSAR files are as one table of all their points; each keeps its own geometry."""

from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from osgeo import gdal
from small_region import CELL, COLS, NORTH, PLACE, ROWS, WEST, crs_of, write_raster

from lsm.inputs.rasters import Grid
from lsm.insar.cell_velocities import write_velocity_layer
from lsm.insar.tracks import joined, read_tracks, typical_heading
from lsm.run.settings import InputError, of_stage

GRID = Grid(ROWS, COLS, PLACE, crs_of(32650).ExportToWkt())
HOW = {"POINTS_EPSG": 0, "INSAR_UNIT": "mm/yr", "INSAR_POSITIVE": "towards", "INSAR_FORM": "Ts"}
ASCENDING = pd.Series(np.arange(400) < 200)
BOTH = pd.DataFrame({
    "X": WEST + np.random.default_rng(0).uniform(0, 20 * CELL, 400).round(2),
    "Y": NORTH - np.random.default_rng(1).uniform(0, 10 * CELL, 400).round(2),
    "velocity": np.random.default_rng(2).normal(0, 9, 400).round(3),
    "heading": np.where(ASCENDING, -11.0, 191.0), "incidence": np.where(ASCENDING, 33.0, 41.0)})  # two points a cell


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    return tmp_path


def write(folder, without=(), **more) -> list[str]:
    """The two tracks, a file each; more  columns of the first."""
    files = [str(folder / name) for name in ("insar_asc.csv", "insar_desc.csv")]
    for path, rows, columns in zip(files, (ASCENDING, ~ASCENDING), (more, {}), strict=True):
        BOTH[rows].drop(columns=list(without)).assign(**columns).to_csv(path, index=False)
    return files


def read(names, geometry=(), **how):
    return read_tracks(names, GRID, SimpleNamespace(**HOW | how), geometry)


def layer(folder, files, aspect=100.0):
    for name, value in (("slope", 30.0), ("aspect", aspect)):
        write_raster(folder / f"{name}.tif", np.full((ROWS, COLS), value, np.float32))
    write_velocity_layer(files, GRID, folder, of_stage("augment_inventory.py"))
    return gdal.Open(str(folder / "DV.tif")).ReadAsArray()


@pytest.mark.parametrize("behind", [False, True])
def test_two_files_are_as_one_table_of_both(folder, behind):
    BOTH.to_csv(folder / "both.csv", index=False)
    one, _ = read([str(folder / "both.csv")])
    names = write(folder, without=("heading", "incidence") if behind else ())
    names = [f"{name}|heading={h}|incidence={i}" for name, h, i in zip(names, (-11, 191), (33, 41), strict=True)
             ] if behind else names
    two, notes = read(names)
    np.testing.assert_array_equal(joined(two).file, np.repeat([0, 1], 200))
    for field in (field for field in fields(one[0]) if field.name != "file"):
        np.testing.assert_array_equal(getattr(joined(two), field.name), getattr(one[0], field.name))
    np.testing.assert_array_equal(layer(folder, two), layer(folder, one))
    assert notes[-1] == ("InSAR points: 2 files: insar_asc.csv, 200 points, ascending, heading -11, incidence 33 "
                         "degrees; insar_desc.csv, 200 points, descending, heading 191, incidence 41 degrees")


def test_without_geometry_the_files_are_kept_apart(folder):
    """Points of one sign of both tracks are not averaged; the faster along the line of sight counts."""
    place = pd.DataFrame({"X": [WEST + 45.0], "Y": [NORTH - 45.0]})
    for name, velocity in (("a.csv", 4.0), ("b.csv", 10.0)):
        place.assign(velocity=velocity).to_csv(folder / name, index=False)
    files, notes = read([str(folder / "a.csv"), str(folder / "b.csv")])
    assert layer(folder, files)[1, 1] == 10
    assert any('say them: INSAR="a.csv|heading=<degrees>|incidence=<degrees>,b.csv|heading=<degrees>|incidence=<degrees'
               '>"' in note for note in notes)


def test_motion_upwards_and_eastwards_are_kept_apart(folder):
    for letter, velocity in (("U", -4.0), ("E", -10.0)):
        pd.DataFrame({"X": [WEST + 45.0] * 2, "Y": [NORTH - 45.0] * 2, "mean_velocity": velocity}).to_csv(
            folder / f"EGMS_L3_E1N1_100km_{letter}_2018_2022_1.csv", index=False)
    files, _ = read(sorted(map(str, folder.glob("*.csv"))))
    assert layer(folder, files)[1, 1] in (-4, -10)
    assert "off_vertical" in joined(files).table()  # the median of 0 and 90 is that of a radar


def test_tracks_that_differ_in_size_as_units_do_are_named(folder):
    names = write(folder)
    assert not any("units" in note for note in read(names)[1])
    table = pd.read_csv(names[1])
    table.assign(velocity=table["velocity"] / 10).to_csv(names[1], index=False)
    assert any(note.startswith("insar_desc.csv: InSAR points: velocities of 0.") and "in insar_asc.csv; if the units "
               "differ, name each" in note for note in read(names)[1])
    table.assign(velocity=table["velocity"] / 10).rename(columns={"velocity": "velocity (cm/yr)"}).to_csv(
        names[1], index=False)
    assert not any("units" in note for note in read(names)[1])  # the remedy


def test_a_coarse_raster_covers_its_cells_though_points_of_the_other_track_lie_there(folder):
    write_raster(folder / "v.tif", np.full((ROWS // 2, COLS // 2), 9.0, np.float32),
                 place=(WEST, 2 * CELL, 0, NORTH, 0, -2 * CELL))
    BOTH[~ASCENDING].assign(velocity=0.7).to_csv(folder / "p.csv", index=False)
    files, _ = read([f"{folder}/v.tif|heading=-11|incidence=33", str(folder / "p.csv")])
    np.testing.assert_array_equal(layer(folder, files), 9)


def test_coherence_and_error_of_one_file_alone(folder):
    """The others pass the rules of both, and the table for stage 0 has no gaps, which would drop them."""
    files, notes = read(write(folder, coherence=0.9, velocity_error=0.5))
    points = joined(files)
    for values, value, passes in ((points.coherence, 0.9, 1), (points.error, 0.5, 0)):
        np.testing.assert_array_equal(values, np.where(ASCENDING, value, passes))
    assert "insar_desc.csv: InSAR points: no coherence, as other files have: no point is dropped for it" in notes
    points.table().to_csv(folder / "all.csv", index=False)
    assert len(read([str(folder / "all.csv")])[0][0].velocity) == 400


GEOMETRY = ("heading", "incidence")


@pytest.mark.parametrize(("how", "words"), [
    ({"without": GEOMETRY, "geometry": (-13.0, 39.0)},
     r"insar_asc.csv, insar_desc.csv: .*, since GEOMETRY=\(-13.0, 39.0\) is of one track; found neither"),
    ({"without": GEOMETRY, "INSAR_FORM": "insar"},
     r"insar_asc.csv, insar_desc.csv: .* for INSAR_FORM=insar, .*; found neither; .* behind each name: <file>\|head"),
    ({"without": GEOMETRY, "heading": -11.0, "incidence": 33.0},
     r"^insar_desc.csv: .*, as other files have them; found neither; .* behind its name: <file>\|heading=<"),
    ({"without": ("heading",)}, r"insar_asc.csv: header: .*, found no heading; .* the name: insar_asc.csv\|heading=<")])
def test_refused(folder, how, words):
    of_files = {name: how.pop(name) for name in ("without", "heading", "incidence") if name in how}
    names = write(folder, **of_files)
    with pytest.raises(InputError, match=words):
        read(names, **how)
    behind = "|".join(f"{angle}={v}" for angle, v in (("heading", 191), ("incidence", 41))
                      if angle in of_files["without"])
    lacking = names[1:] if "heading" in of_files else names
    names = [f"{name}|{behind}" if name in lacking else name for name in names]
    assert len(read(names, **how)[0]) == 2  # the remedy


@pytest.mark.parametrize(("behind", "words"), [
    ("|heading=0.2", r"\|heading=0.2: expected degrees clockwise from north, about -13 and 193; correct it"),
    ("|heading=west", r"\|heading=west: expected degrees"), ("|heading=400", r"\|heading=400: expected degrees"),
    ("|incidence=5", r"\|incidence=5: expected degrees off the vertical, 15 to 60; correct it"),
    ("|heading=-11", r"expected one heading, found one of its own and \|heading=-11; leave out the latter")])
def test_angles_behind_the_name_that_cannot_be(folder, behind, words):
    names = write(folder, without=() if behind == "|heading=-11" else ("heading", "incidence"))
    with pytest.raises(InputError, match=f"insar_asc.csv: InSAR points: {words}"):
        read([names[0] + behind])


def test_one_file_keeps_its_geometry(folder):
    names = write(folder, without=("heading", "incidence"))
    assert read(names[:1], (-13.0, 39.0))[0][0].heading is None  # GEOMETRY stands for it later
    assert read([f"{names[0]}|heading=-13.5|incidence=39"])[0][0].heading[0] == -13.5


def test_a_name_that_its_heading_belies(folder):
    names = write(folder, without=("heading", "incidence"))
    swapped = [f"{names[0]}|heading=191|incidence=41", f"{names[1]}|heading=-11|incidence=33"]
    said = "\n".join(read(swapped)[1])
    assert "insar_asc.csv: InSAR points: named ascending, but its heading, 191 degrees, is descending" in said
    assert "insar_desc.csv: InSAR points: named descending, but its heading, -11 degrees, is ascending" in said


@pytest.mark.parametrize(("headings", "typical"), [
    ((350.0, 10.0), 0), ((350.0, 352.0, 10.0), 352 - 360), ((-13.0, 347.0), -13), ((193.0, -167.0), 193),
    ((191.0, 193.0, 194.0), 193)])
def test_the_typical_heading_knows_that_350_and_10_lie_side_by_side(headings, typical):
    assert typical_heading(np.array(headings)) == typical


def test_headings_on_both_sides_of_north_in_words(folder):
    """Of one file, whose name they fit; a table of both tracks names the heading of each."""
    about_north = np.where(np.arange(200) % 2, 350.0, 10.0)
    names = write(folder, heading=about_north)
    assert "insar_asc.csv, 200 points, ascending, heading 0, incidence 33 degrees" in read(names)[1][-1]
    BOTH.to_csv(folder / "both.csv", index=False)
    assert "both.csv, 400 points, 50% ascending, heading -11 and 191, incidence 37 degrees" in read(
        [names[0], str(folder / "both.csv")])[1][-1]
