"""What figure.py draws, from saved numbers alone: a module for each kind of figure."""
