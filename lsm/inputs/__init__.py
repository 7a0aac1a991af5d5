"""Tables and rasters as stages read them, every value checked."""
