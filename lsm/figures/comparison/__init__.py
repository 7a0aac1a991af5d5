"""The figures of compare_methods.py, and of the weak labels: all methods on the same points."""
