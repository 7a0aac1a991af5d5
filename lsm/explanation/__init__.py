"""Which factors the model of a block uses."""
