"""Tables, rasters and vector layers: read with every value checked, and written."""
