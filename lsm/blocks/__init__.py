"""How the area is cut into terrain blocks, and the cells of a grid with their blocks."""
