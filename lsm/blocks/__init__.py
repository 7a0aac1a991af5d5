"""How the area is cut into terrain blocks, and how neighbouring blocks are blended."""
