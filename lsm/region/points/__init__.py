"""Points and polygons that people bring: places, inventories, and which of them slid."""
