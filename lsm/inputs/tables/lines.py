"""Single lines of text tables: numbers as people write them, quotes, titles."""

import contextlib
import csv
import itertools
import re

import pandas as pd

SEPARATORS = ",;\t|"
DECIMAL = r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?"      # a number with a decimal comma
THOUSANDS = r"[+-]?[1-9]\d{0,2},\d{3}"          # or with a separator of thousands: nobody can tell
POINT = r"[+-]?(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?"


def is_title(line: str, below: list[str]) -> bool:
    """Whether a line is a title of a table: one text with letters, perhaps with others below it, above the names of
    several columns and a first row, which has numbers. below  the next lines"""
    for separator in SEPARATORS:
        found = list(itertools.dropwhile(lambda texts: len(texts) < 2, filter(None, (
            _texts(row, separator) for row in below))))
        alone = (len(_texts(line, separator)) == 1 and not is_open(line, separator)
                 and re.search(r"[^\W\d_]{2}", line))
        if alone and len(found) > 1 and not any(map(_is_number, found[0])) and sum(map(_is_number, found[1])) > 1:
            return True
    return False


def text_in_quotes(line: str, below: str) -> str:
    """A line between tabs, each text with quotes in quotes of its own, if its quotes do not pair: tables of databases
    have tabs and no quotes. A value that goes on in the line `below` stays as it is; that line has fewer tabs."""
    with contextlib.suppress(csv.Error):
        next(csv.reader([line], delimiter="\t", strict=True))
        return line
    if is_open(line, "\t") and below and below.count("\t") != line.count("\t"):
        return line
    return "\t".join('"' + text.replace('"', '""') + '"' if '"' in text else text for text in line.split("\t"))


def _texts(line: str, separator: str) -> list[str]:
    """The values of a line that are not empty."""
    with contextlib.suppress(csv.Error):
        return [text for text in next(csv.reader([line], delimiter=separator), []) if text.strip()]
    return []


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(rf"\s*(?:[+-]?\d+|{DECIMAL}|{POINT})\s*", text))


def with_commas(line: str) -> str:
    """A line separated by blanks as one separated by commas; comments stay."""
    return line if line[:1] == "#" else ",".join(line.split())


def is_open(line: str, separator: str) -> bool:
    """Whether a line ends within a value in quotes."""
    lines = csv.reader([line, ""], delimiter=separator)
    with contextlib.suppress(csv.Error):  # of a value that is too long
        next(lines)
    return lines.line_num == 2


def are_numbers(texts: list[str]) -> bool:
    """Whether all texts are numbers."""
    return bool(pd.to_numeric(pd.Series(texts), errors="coerce").notna().all())
