"""Tables, rasters and vector layers: read with every value checked, and written."""

from osgeo import gdal, ogr, osr

for library in (gdal, ogr, osr):  # for all rooms: each imports from this one before it calls GDAL
    library.UseExceptions()
