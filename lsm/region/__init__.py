"""From raw layers (DEM, inventory, InSAR) to the inputs of a region."""
