"""A disk that takes no more: one line, exit code 2, and what was there before stays."""

import errno
import os
import subprocess
import sys

import pandas as pd
import pytest

from lsm.run import writing
from lsm.run.paths import PROJECT
from lsm.run.writing import told, whole, work_folder, write_table

STAGE = """
import resource
from dataclasses import dataclass
import numpy as np
import pandas as pd
from osgeo import osr
from lsm.inputs.layers import write_layer
from lsm.inputs.rasters import Grid, write_band
from lsm.run.artifacts import write_csv
from lsm.run.paths import root
from lsm.run.settings import run
from lsm.run.writing import work_folder

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # a larger file is refused as on a full disk
VALUES = np.random.default_rng(1).random((200, 300), np.float32)
GRID = Grid(200, 300, (500000.0, 30.0, 0.0, 2500000.0, 0.0, -30.0), osr.GetUserInputAsWKT("EPSG:32650"))


@dataclass(frozen=True)
class Constants:
    REGION: str = "isle"
    SEED: int = 1


def main(c):
    write_csv(root() / "out" / "small.csv", pd.DataFrame({"a": [1, 2]}), "stage.py", c, [])
    {more}


run(main, Constants)
"""
MORE = {
    "table": "write_csv(root() / 'out' / 'large', pd.DataFrame({'a': VALUES.ravel()}), 'stage.py', c, [])",
    "raster": "write_band(root() / 'out' / 'large', VALUES, GRID, -9999, '', 'stage.py', c, [])",
    "layers": "with work_folder(root() / 'large') as folder:\n"
              "        write_layer(folder / 'a.tif', GRID, lambda row, rows: VALUES[row:row + rows])"}


@pytest.mark.parametrize("what", MORE)
def test_a_disk_that_takes_no_more(tmp_path, what):
    (tmp_path / "stage.py").write_text(STAGE.replace("{more}", MORE[what]))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "large").write_text("of before")
    done = subprocess.run([sys.executable, tmp_path / "stage.py"], text=True, capture_output=True, env={
        **os.environ, "LSM_ROOT": str(tmp_path), "PYTHONPATH": str(PROJECT)})
    assert done.returncode == 2, done.stderr
    place = "large" if what == "layers" else "out/large"
    lines = done.stderr.partition("Exception ignored in atexit callback: <bound method Coverage")[0]  # make coverage
    assert lines == (
        f"{tmp_path}/stage.py: {place}: File too large; files may not grow so large here (ulimit -f, or the file "
        "system): raise that, or set LSM_ROOT to a folder on another disk\n")
    assert (tmp_path / "out" / "large").read_text() == "of before"
    assert sorted(os.listdir(tmp_path / "out")) == ["large", "small.csv", "small.csv.json"]


@pytest.mark.parametrize(("raised", "code"), [
    (OSError(errno.ENOSPC, "No space left on device"), errno.ENOSPC),
    (OSError(errno.EROFS, "Read-only file system", "/a/.partial.7.b.csv"), errno.EROFS),
    (RuntimeError("_tiffWriteProc:No space left on device"), errno.ENOSPC)])
def test_errors_of_the_disk_get_the_name_of_the_file(tmp_path, raised, code):
    with pytest.raises(OSError, match=r"b\.csv") as caught, told(tmp_path / "b.csv"):
        raise raised
    assert caught.value.errno == code
    assert caught.value.filename == str(tmp_path / "b.csv")


def test_an_error_that_says_nothing_is_the_disk_s_where_the_disk_takes_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_refuses", lambda path: errno.ENOSPC)
    with pytest.raises(OSError, match="No space left") as caught, work_folder(tmp_path / "work"):
        raise RuntimeError
    assert caught.value.filename == str(tmp_path / "work")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("raised", [RuntimeError("not a disk's"), OSError("without a number"), ValueError("x"),
                                    FileNotFoundError(errno.ENOENT, "No such file", "/a/input.csv")])
def test_other_errors_stay_what_they_are(tmp_path, raised):
    with pytest.raises(type(raised)) as caught, whole(tmp_path / "b.csv"):
        raise raised
    assert caught.value is raised
    assert os.listdir(tmp_path) == []


def test_bytes_that_are_refused_while_an_object_is_freed_are_not_forgotten(tmp_path, capsys):
    class Dataset:
        def __del__(self):
            raise RuntimeError("TIFFAppendToStrip:No space left on device")

    def write():
        with whole(tmp_path / "b.tif") as temporary:
            temporary.write_text("half")
            Dataset()

    (tmp_path / "b.tif").write_text("of before")
    with pytest.raises(OSError, match="No space left") as caught:
        write()
    assert caught.value.filename == str(tmp_path / "b.tif")
    assert (tmp_path / "b.tif").read_text() == "of before"
    assert os.listdir(tmp_path) == ["b.tif"]
    assert capsys.readouterr().err == ""


def test_coordinates_of_eight_digits_keep_their_millimetres(tmp_path):
    far = pd.DataFrame({"a": [1 / 3, None], "X": [39_500_123.451, None], "Y": [2_494_862.945, 1.5], "label": [1, 0]})
    write_table(far, tmp_path / "far.csv")
    assert (tmp_path / "far.csv").read_text() == (
        "a,X,Y,label\n0.333333333,39500123.451,2494862.94,1\n,,1.5,0\n")  # fewer digits are as they were
