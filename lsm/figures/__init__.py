"""The figures, a module a family; each function takes the constants and style of figure.py."""
