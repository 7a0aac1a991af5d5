"""tools/mutants.py changes what it says, one thing at a time."""

from tools.mutants import places

SOURCE = '''"""What it does in 3 words"""
import numpy as np


def halves(x: list[3], much=True) -> "2":
    """Its 4 uses."""
    if not x and much:
        raise ValueError(f"{len(x) + 1} too few")
    α = [a / 2 for a in np.sort(x, kind="stable")]
    return sum(zip(α, x, strict=True)) if len(x) >= 7 else x.copy(1)
'''.encode()


def test_every_place_but_texts_and_checks_is_found():
    found = [(SOURCE[p.start:p.end].decode(), p.new.decode()) for p in places(SOURCE)]
    assert found == [
        ("True", "False"), ("not x", "(x)"), ("not x and much", "(not (not x and much))"), (" and ", " or "),
        (" / ", " * "), ("2", "3"), (', kind="stable"', ""),
        ("sum(zip(α, x, strict=True))", "(zip(α, x, strict=True))"), ("len(x)", "(x)"),
        ("len(x) >= 7", "(not (len(x) >= 7))"), (" >= ", " > "), ("7", "8"), ("x.copy(1)", "x"), ("1", "2")]
