"""Labels of an inventory: which of its rows are landslides, and which are places that did not slide."""

import re

import numpy as np
import pandas as pd

from lsm.inputs.samples import DENIED, OTHER_NAMES, labels_of, words_of
from lsm.inputs.tables.text_tables import plain
from lsm.run.settings import InputError, counted

# words in the names of columns that may hold labels, beside the names in sample tables; with any other word beside
# them, as in landslide_active, a column is an attribute
_LIKE_LABELS = {"landslide", "landslides", "slide", "slides", "ls", "label", "labels", "class", "stability", "presence",
                "occurrence", "value", "failure", "is", "or", "not", "yes", "no", "y", "n", "binary"}
# of STABLE: in a column of another name they may mean anything, that water is absent, say
_PLAIN_WORDS = ("0", "-1", "false", "f", "no", "n", "absent", "absence", "negative", "não", "nao", "non", "nein",
                "falso", "faux", "falsch", "否")
# beside types of landslides they hardly do: "absent" in a column landslide_type, say
_OF_TYPES = re.compile(r"typ|tipo|kind|class|clase|categ|movement|process|failure|slide|label|类型", re.I)
# in such a column: what sounds like a place that did not slide, or was drawn as one; "no data" does not
_DOUBTFUL = re.compile(
    r"(none|nothing|unfailed|nls|safe|dummy|нет)$|(stable|(pseudo )?absence|random)\b|"
    r"(control|background)( (point|sample|site)s?)?$|"
    r"((no|not|non|without|kein\w*|nicht|pas|aucun\w*|sans|sin|ningun\w*|sem|nenhum\w*|senza|nessun\w*|не|нет|без)\b|"
    r"[无非未]).*(evidence|event|occur|\bsign|slid|slip|slump|fail|mov|mass|instab|rutsch|gliss|mouv|desliz|derrumb|frana|"
    r"оползн|оползен|[滑崩])")
_TYPES = {  # in names of columns that tell a type
    "fall", "falls", "rockfall", "rockfalls", "flow", "flows", "debrisflow", "mudflow", "earthflow", "topple",
    "topples", "toppling", "creep", "spread", "spreads", "slump", "slumps", "avalanche", "avalanches", "subsidence",
    "rockslide", "crollo", "colata", "desprendimiento", "flujo", "vuelco"}
_DENY = {"no", "non", "not", "without", "free", "absent", "absence", "stable", "negative", "random"}
MOST = 0.95  # of the rows; the rest may be slips of the pen
_OFTEN_CODES = ("0", "-1", "f", "n")  # of types, where others stand beside them


def slid_of(table: pd.DataFrame, where: str, stable: bool = False) -> tuple[np.ndarray, list[str]]:
    """Labels (rows,) of an inventory: 1 slid, 0 did not, nan where the column of labels is empty; and notes.

    table   the columns of the inventory; where  the start of a message
    stable  whether these are places known not to slide: a column of labels may say so of all of them
    Where no column has both kinds, all rows are landslides. Raises InputError where a column of labels cannot be
    understood.
    """
    used, named, notes = {}, {plain(name) for name in ("label", *OTHER_NAMES["label"])}, []
    for name in table:
        labels, empty = labels_of(table[name]), is_empty(table[name])
        both, others = (labels == 0).any() and (labels == 1).any(), np.isnan(labels) & ~empty
        values = pd.unique(table[name][~empty].astype(str).str.strip().str.removesuffix(".0"))
        pair = " and ".join(value[:30] for value in values) if len(values) == 2 else ""
        words = set(re.findall(r"[^\W\d_]+", str(name).lower()))
        alike = bool(words) and words <= _LIKE_LABELS
        if plain(name) in named:
            if stable and len(labels) and (labels == 0).all():
                return labels, notes
            if (labels == 0).any() and others.any():
                odd = table[name][others].iloc[0]
                raise InputError(f"{where}: column {name!r}: expected 0 and 1, or words such as landslide and stable, "
                                 f"found {str(odd)[:60]!r} too; correct it, or rename a column that is no label")
            if (labels == 0).any() and not both:
                raise InputError(f"{where}: column {name!r}: expected landslides, found only labels of places that did "
                                 "not slide; add landslides, or rename a column that is no label")
            if pair and not both:
                raise InputError(f"{where}: column {name!r}: expected 0 and 1, or words such as landslide and stable, "
                                 f"found {pair}; correct it, or rename a column that is no label")
            both |= (labels == 1).any() and (labels[~empty] == 1).all()  # rows without a label are no landslides
            notes += [] if both or stable else _in_doubt(table[name], where)
        elif table[name].dtype.kind not in "iuf" and (written := words_of(table[name])).isin(DENIED).any() and not (
                (sure := (labels == 0) & ~written.isin(_PLAIN_WORDS).to_numpy()) | empty).all():
            labels, both = np.where(sure, 0.0, 1.0), True  # sure: "stable" too, beside "no landslide"
            notes += [] if stable else _in_doubt(table[name].mask(sure), where)
        elif others.any() or not (alike or clear_words(table[name])):
            if pair and (both or alike or not re.search(r"\d", pair)):
                notes.append(f"{where}: column {name!r} ({pair}) is not read as labels; if it marks places that did "
                             "not slide, rename it label and write 0 for them")
            elif not stable:
                notes += _in_doubt(table[name], where)
            continue
        if both:
            used[name] = np.where(empty, np.nan, labels)
    if called := {name: labels for name, labels in used.items() if plain(name) in named}:
        notes += [f"{where}: column {name!r} is not read as labels beside {next(iter(called))!r}"
                  for name in used if name not in called]
        used = called
    used = {name: labels for name, labels in used.items() if (labels != 1).any()}
    if not used:
        return np.ones(len(table)), notes
    (name, labels), *others = used.items()
    other = next((n for n, others_labels in others if not np.array_equal(labels, others_labels, equal_nan=True)), None)
    if other:
        raise InputError(f"{where}: expected one column of labels, found {name!r} and {other!r}, which differ; remove "
                         "or rename one")
    if not (labels == 0).any():
        return labels, notes
    if plain(name) != "label" and (types := _types_beside(table, name, labels)):
        notes = [note for note in notes if not any(note.startswith(f"{where}: column {t!r} (") for t in types)]
        return np.ones(len(table)), [*notes, f"{where}: column {name!r} is not read as labels: with {', '.join(types)} "
                                     "it tells types of landslides, one a row; if it tells landslides from other "
                                     "places, rename it label"]
    return labels, [*notes, f"{where}: column {name!r} tells {(labels == 1).sum():,} landslides from "
                    f"{(labels == 0).sum():,} places that did not slide; these serve as non-landslides"]


def _types_beside(table: pd.DataFrame, name: str, labels: np.ndarray) -> list[str]:
    """The columns of yes and no that are called like types of landslides and, with the column `name` of labels (rows,),
    tell which type each row is; [] where there are none, or `name` says in clear words what did not slide."""
    yes = {}
    for other in table.columns.drop(name):
        found, words = labels_of(table[other]), set(re.findall(r"[^\W\d_]+", str(other).lower()))
        if words & _TYPES and not words & _DENY and not (np.isnan(found) & ~is_empty(table[other])).any():
            yes[str(other)] = found == 1
    known = ~np.isnan(labels)
    one_each = len(yes) and (np.sum([*yes.values()], axis=0)[known] + labels[known] == 1).mean() > MOST
    return [*yes] if one_each and not clear_words(table[name]) else []


def clear_words(column: pd.Series) -> bool:
    """Whether a column says "did not slide" in words that can mean nothing else."""
    words = column[labels_of(column) == 0].astype(str).str.strip().str.lower()
    return len(words) > 0 and not words.str.replace(r"\.0+$", "", regex=True).isin(_PLAIN_WORDS).any()


def _in_doubt(column: pd.Series, where: str) -> list[str]:
    """A line on the rows of a column that is not read as labels which may say "did not slide" beside other values; []
    without such rows."""
    if column.dtype.kind in "iuf":
        return []
    words, rows, of_types = words_of(column), labels_of(column) == 0, bool(_OF_TYPES.search(str(column.name)))
    if not clear_words(column):
        rows &= (~words.isin(_OFTEN_CODES) & of_types).to_numpy()
    rows |= (words.str.match(_DOUBTFUL) & of_types).to_numpy(bool)
    if not rows.any() or (rows | is_empty(column)).all():
        return []
    return [f"{where}: column {column.name!r} ({str(column[rows].iloc[0]).strip()[:30]} in "
            f"{counted(int(rows.sum()), 'row')}) is not read as labels: these rows are landslides like the others; if "
            "they did not slide, write 0 there and 1 elsewhere in a column label"]


def is_empty(column: pd.Series) -> np.ndarray:
    """(rows,) bool: which values are missing."""
    return (column.isna() | (column.astype(str).str.strip() == "")).to_numpy()
