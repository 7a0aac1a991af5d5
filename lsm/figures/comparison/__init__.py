"""Figures of compare_methods.py: methods beside each other on the same points."""
