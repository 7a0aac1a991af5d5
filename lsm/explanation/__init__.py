"""Which factors a block's model uses."""
