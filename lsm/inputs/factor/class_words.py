"""Classes that tables write in words, as codes."""

import re
import unicodedata

import numpy as np
import pandas as pd

NO_CLASS = ("", "unclassified", "nodata", "no data", "none", "background", "null", "<null>", "n/a")


def class_word(text) -> str:
    """A class as tables write it in words, without what people write in different ways: upper case, blanks, accents as
    one sign or two, 3.0 for 3."""
    word = unicodedata.normalize("NFC", " ".join(str(text).split()).casefold())
    return re.sub(r"^(\d+)\.0+$", r"\1", word)


def other_word(words: tuple[str, ...]) -> str:
    """A word that is none of these."""
    word, known = "other", set(map(class_word, words))
    while word in known:
        word += "?"
    return word


def codes_of_words(column: pd.Series, words: tuple[str, ...]) -> np.ndarray:
    """The codes (rows,) float64 of classes in words, by `Factor.words`; nan for words of NO_CLASS, and where the column
    holds numbers alone and none of the words: these are codes of somebody else."""
    texts = column.dropna() if column.dtype.kind not in "iuf" else column.dropna().map("{:g}".format)
    codes = {class_word(word): code for code, word in enumerate(words, 1)}
    found = {text: codes.get(word := class_word(text), np.nan if word in NO_CLASS else 0) for text in texts.unique()}
    numbers = pd.to_numeric(pd.Series([*found], dtype=str), errors="coerce").notna()
    if numbers.all() and not any(code > 0 for code in found.values()):
        found = {}
    return texts.map(found).reindex(column.index).to_numpy(float)
