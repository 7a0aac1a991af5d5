"""Files as people bring them, of any format, CRS and unit, read into what the other rooms work with."""
