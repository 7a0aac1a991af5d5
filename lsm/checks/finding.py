"""One finding of the checks, and how findings are put in words."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lsm.run.paths import shown
from lsm.run.settings import InputError, counted


@dataclass(frozen=True)
class Finding:
    """One line of the table of checks.

    level  "error": a stage stops or the map is wrong; "warning": look at it; "ok"
    """

    topic: str
    file: str
    level: str
    found: str
    remedy: str = ""


def graded(topic: str, file: str, level: str, found: str, remedy: str) -> Finding:
    """A finding whose remedy counts only where something is wrong."""
    return Finding(topic, file, level, found, "" if level == "ok" else remedy)


def of_refusal(topic: str, path: Path, error: InputError) -> Finding:
    """A reader's refusal as a finding: the remedy is what follows the last semicolon of its message."""
    message = str(error).removeprefix(f"{shown(path)}: ")
    found, _, remedy = message.rpartition("; ")
    return Finding(topic, shown(path), "error", found or message, remedy if found else "")


def counts_in_words(findings: pd.DataFrame) -> str:
    """How many findings there are of each level, in words."""
    n = {level: int((findings["level"] == level).sum()) for level in ("error", "warning", "ok")}
    return f"{counted(n['error'], 'error')}, {counted(n['warning'], 'warning')}, {n['ok']} in order"


def with_verb(n: int, what: str, verb: str) -> str:
    """A number, a noun and a verb that agree: "1 row holds", "2,000 rows hold"."""
    return f"{counted(n, what)} {verb}{'s' if n == 1 else ''}"


def relation(a: np.ndarray, b: np.ndarray) -> tuple[float | None, float]:
    """How numbers a relate to numbers b (n,), of which one at least is not 0: their ratio (median), None where a shift
    explains a far better; and the shift (median of a - b)."""
    ratio, shift = float(np.median(a[b != 0] / b[b != 0])), float(np.median(a - b))
    of_ratio, of_shift = np.median(np.abs(a - ratio * b)), np.median(np.abs(a - b - shift))
    return (None if of_shift < 0.5 * of_ratio else ratio), shift


def directions_apart(a: np.ndarray, b: np.ndarray) -> float:
    """Degrees between directions a and b (n,), the median where both have one (-1 is none); nan where none does."""
    both = (a >= 0) & (b >= 0)
    return float(np.median(np.abs((a[both] - b[both] + 180) % 360 - 180))) if both.any() else np.nan
