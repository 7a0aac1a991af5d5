"""Which files of a folder are taken for which input."""

from types import SimpleNamespace

import numpy as np
import pytest
from osgeo import gdal, ogr
from small_region import write_raster, write_vector

from lsm.region.region_files import INPUTS, find_inputs, unused
from lsm.run.settings import InputError

NOTHING = SimpleNamespace(**dict.fromkeys(INPUTS, ""))


@pytest.mark.parametrize(("name", "driver"), [("inventory.tab", "MapInfo File"), ("inventory.json", "GeoJSON"),
                                              ("Inventory.shp", "ESRI Shapefile")])
def test_files_of_one_data_set_are_one_input(tmp_path, name, driver):
    write_raster(tmp_path / "tile.tif", np.ones((3, 3)))
    gdal.BuildVRT(str(tmp_path / "dem.vrt"), [str(tmp_path / "tile.tif")]).FlushCache()
    write_vector(tmp_path / name, ["POINT (117 22)"], {"name": ["a"]}, epsg=4326, driver=driver,
                 shape_type=ogr.wkbPoint)
    found = find_inputs(tmp_path, NOTHING)
    assert found == {"DEM": str(tmp_path / "dem.vrt"), "INVENTORY": str(tmp_path / name)}
    assert unused(tmp_path, list(found.values())) == []


def test_two_files_for_one_input(tmp_path):
    for name in ("dem.tif", "inventory.csv", "inventory.gpkg"):
        (tmp_path / name).write_text("a")
    with pytest.raises(InputError, match=r"expected one file for INVENTORY, found inventory.csv, inventory.gpkg; name"):
        find_inputs(tmp_path, NOTHING)
