"""Classes that tables write in words, as codes."""

import numpy as np
import pandas as pd


def class_word(text) -> str:
    """A class as tables write it in words, without what people write in different ways: upper case and blanks."""
    return " ".join(str(text).split()).casefold()


def codes_of(column: pd.Series, words: tuple[str, ...]) -> np.ndarray:
    """The codes (rows,) float64 of classes in words, by `Factor.words`; nan where a value is empty, and where the
    column holds numbers that are none of the words: these are codes of somebody else."""
    codes = {class_word(word): code for code, word in enumerate(words, 1)}
    given = column.dropna().unique()
    other = np.nan if column.dtype.kind in "iuf" else 0
    found = {text: codes.get(class_word(f"{text:g}" if column.dtype.kind in "iuf" else text), other) for text in given}
    return column.map({text: code if class_word(text) else np.nan for text, code in found.items()}).to_numpy(float)
