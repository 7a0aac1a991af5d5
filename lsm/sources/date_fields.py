"""Dates of landslides: the field that holds them, and the year in a date as people write it."""

import contextlib
import re
import unicodedata
from datetime import datetime

import numpy as np
import pandas as pd

from lsm.inputs.tables.text_tables import plain
from lsm.run.settings import InputError, counted

# Names of a field of dates, in any case and without accents; and words in such a name that leave no doubt that the date
# is the landslide's, not of a person's birth, a survey or an edit.
DATES = ("year", "date", "year obs", "obs year", "date obs", "obs date", "event date", "event year", "yr", "fecha",
         "jahr", "datum", "ano", "anno", "annee", "data", "dato", "rok", "tahun", "tanggal", "yil", "tarih", "год",
         "дата", "年", "年份", "年代", "日期", "发生年份", "发生时间", "发生日期")
_OF_DATES = {"year", "yr", "date", "time", "datetime", "timestamp", "fecha", "datum", "jahr", "ano", "anno", "annee",
             "data", "год", "дата"}
_OF_SLIDES = {"event", "landslide", "slide", "ls", "occurrence", "occurence", "occurred", "occured", "occur", "occ",
              "failure", "failed", "trigger",
              "triggering", "obs", "observed", "initiation", "onset", "movement", "activation", "of", "the", "de",
              "del", "della", "du", "des", "evento", "evenement", "ereignis", "rutschung", "frana", "glissement",
              "deslizamiento", "deslizamento", "ocurrencia", "utc", "local"}
_OF_WORK = {"edit", "edited", "created", "creation", "update", "updated", "upload", "map", "mapped", "mapping", "image",
            "imagery", "photo", "survey", "report", "reported", "entry"}  # of these it need not be said
LATEST = 2026  # the last year that a date may have, or its file's year if later: a copied file may bear an old time
# What programs write for a date that is not known, in any order and with any signs between its parts.
_PLACEHOLDER = re.compile(r"(?<!\d)(1899\D?12\D?3[01]|1900\D?0?1\D?0?1|1970\D?0?1\D?0?1|0?1\D0?1\D(1900|1970)|"
                          r"3[01]\D12\D1899|12\D3[01]\D1899)(?!\d)")
YEAR = re.compile(r"(?<!\d)(1[89]\d\d|20\d\d)(?!\d{1,2}(?!\d))")  # 2014, 2014-07-16, 16.07.2014, 20140716
# A whole date: beside it four digits are a time, 1930. 2008-05-12, 12.5.2008, 12 May 2008, May 12th, 2008.
_WHOLE = re.compile(r"(?<!\d)(?P<first>1[89]\d\d|20\d\d)(?P<sign>[-/. ])\d{1,2}(?P=sign)\d{1,2}(?!\d)|"
                    r"(?<!\d)\d{1,2}[-/. ]+(?:\d{1,2}|[^\W\d]{3,})[-/., ]+(?P<last>1[89]\d\d|20\d\d)(?!\d)|"
                    r"(?<!\w)[^\W\d]{3,}[. ]+\d{1,2}(?:st|nd|rd|th)?[, ]+(?P<end>1[89]\d\d|20\d\d)(?!\d)", re.I)
# A year that bounds a date or begins a decade: before May 2008, pre-2008, <2008, 2008 or earlier, 2008 (before), 1990s
_MONTHS = "jan|feb|mar|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz]"
_BOUND = re.compile(
    r"(?:[<>≤≥]=?|(?<![^\W_])(?:before|pre|prior(?: to)?|until|till|up to|by|(?:earlier|later|older|younger) than|"
    r"after|post|since|vor|nach|bis|seit|avant|apr[eè]s|depuis|antes(?: de)?|despu[eé]s(?: de)?|depois(?: de)?|ap[oó]s|"
    rf"desde|hasta|prima del|dopo il|до|после))[\W_]*(?:(?:the|year|early|mid|late|end of|{_MONTHS})[^\W\d_]*[\W_]+|"
    r"\d{1,2}[\W_]+)*(?:1[89]\d\d|20\d\d)(?!\d)|"
    r"(?<!\d)(?:1[89]\d\d|20\d\d)(?:[-/.]\d{1,2})*(?:\W*(?:or|and|oder|und|ou|et) (?:earlier|before|later|after|older|"
    r"younger|früher|später|avant|après)|\W{0,3}(?:before|pre|prior|earlier|after|post|later|older|younger)\W*$|"
    r"\s?[<>≤≥]=?(?!\s*[\w/])|\s?\+(?!\d)|'?(?:s|er)(?![^\W_])|年?(?:以前|之前|前|以后|之后|后|後))", re.I)
_ROUND = re.compile(r"(1[89]00)(?:\.0+)?(?:\D0?0\D0?0(?:\D.*)?)?")  # alone, as some fill in for a year not known
FILLER, MODERN = 0.01, 1950  # share of the dates from which on such a year, alone before MODERN, is taken for a filler
_EIGHT = re.compile(r"(?<!\d)\d{8}(?!\d)")
_JANUARY = re.compile(r"(?<!\d)0?1\W?jan\w*\W?(1900|1970)(?!\d)|jan\w*\W{1,2}0?1\W{1,2}(1900|1970)(?!\d)", re.I)


def date_field(table: pd.DataFrame, given: str, where: str) -> tuple[str | None, list[str]]:
    """The field of dates of an inventory, None without one, and notes: the field `given`, else the first of DATES, else
    the only field whose name means the date of a landslide. A field not given must hold years in half of its values.

    where  the start of a message. Raises InputError where the field given is not there.
    """
    by_name = {plain(_bare(name)): name for name in reversed(list(table))}
    if given:
        if plain(_bare(given)) not in by_name:
            found = f"{', '.join(table)}; name one of these" if len(table.columns) else "no field; leave DATE_FIELD out"
            raise InputError(f"{where}: expected the field {given!r} (DATE_FIELD), found {found}")
        return by_name[plain(_bare(given))], []
    words = {name: _words_of(name) for name in table}
    plainly = [by_name[key] for key in map(plain, DATES) if key in by_name]
    able = [name for name in table if (words[name] & _OF_DATES or name in plainly) and (
        _dated(table[name]) >= 0.5 or (name in plainly and _bare(name) not in ("data", "dato")))]  # "data" says little
    named = [name for name in plainly if name in able]
    sure = [name for name in able if words[name] <= _OF_DATES | _OF_SLIDES]
    found = named[0] if named else sure[0] if len(sure) == 1 else None
    rest = [name for name in able if name != found and not words[name] & _OF_WORK]
    also = f", not of {', '.join(map(repr, rest))}" * bool(rest)
    notes = [f"{where}: years are read from the field {found!r}{also} (DATE_FIELD)"] if found else []
    empty = [name for name in table if words[name] & _OF_DATES and words[name] & _OF_SLIDES and name not in able
             and words[name] <= _OF_DATES | _OF_SLIDES and table[name].astype(str).str.strip().ne("").any()
             and table[name].notna().any()]
    if empty and not found:
        value = next((str(v) for v in table[empty[0]] if str(v).strip() and not pd.isna(v)), "")
        notes.append(f"{where}: field {empty[0]!r}: fewer than half of its values hold one year of four digits, like "
                     f"{value:.20}; the landslides have no years")
    if rest and not found:
        notes.append(f"{where}: no date is read from {', '.join(map(repr, rest))}; if it is the date of the "
                     f"landslides: DATE_FIELD={rest[0]}")
    return found, notes


def _words_of(name) -> set[str]:
    """The words in a field's name: LandslideDate, DATEOFEVENT and Date_of_ev (a Shapefile keeps ten characters)."""
    known = sorted(_OF_DATES | _OF_SLIDES | _OF_WORK, key=lambda word: (-len(word), word))
    cut, out = len(str(name)) == 10, []
    parts = re.findall(r"[^\W\d_]+", _bare(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(name))))
    for i, part in enumerate(parts, start=1):
        out += _parted(part, known, cut and i == len(parts)) or [part]
    return set(out)


def _parted(text: str, known: list[str], cut: bool) -> list[str]:
    """The words that a text without blanks consists of, [] where it has others; cut  whether its last word may be a
    beginning."""
    for word in known:
        if text == word:
            return [word]
        if text.startswith(word) and (rest := _parted(text[len(word):], known, cut)):
            return [word, *rest]
    begun = [word for word in (*sorted(_OF_DATES), *known) if cut and word.startswith(text)]
    return begun[:1]


def _bare(name) -> str:
    """A name in lower case and without accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", str(name).lower()) if not unicodedata.combining(c))


def _dated(column: pd.Series) -> float:
    """The share of a column's values, empty ones aside, that hold a year."""
    values = [value for value in column if str(value).strip() and not pd.isna(value)]
    dated = [bool(YEAR.search(str(value))) or np.isfinite(year_of(value)) for value in values]
    return float(np.mean(dated)) if values else 0.0


def years_of(column: pd.Series, where: str, latest: int) -> tuple[np.ndarray, list[str]]:
    """The year (rows,) of each date in a column, nan where it is not known, and notes.

    latest  the last year that a landslide can have happened in; later ones, and what programs write for a date that is
            not known, count as unknown
    """
    texts = [_date_text(value) for value in column]
    years = np.array([year_of(text) for text in texts], float)
    unknown = np.array([bool(_PLACEHOLDER.search(text) or _JANUARY.search(text)) for text in texts], bool)
    late = years > latest
    spans = np.array([bool(_BOUND.search(text)) or len(set(YEAR.findall(text))) > 1 for text in texts], bool)
    found = [(unknown, "taken for unknown"), (late & ~unknown, "taken for unknown"),
             (spans & np.isnan(years) & ~unknown, "no single year, taken for unknown")]
    odd = np.isnan(years) & ~unknown & ~spans & np.array([bool(re.search(r"\d", text)) for text in texts], bool)
    found.append((odd & bool(np.isfinite(years).any()), "no year of four digits, taken for unknown"))
    years[unknown | late] = np.nan
    for year in np.unique(years[years < MODERN]):
        alone = np.array([bool(_ROUND.fullmatch(text)) for text in texts], bool) & (years == year)
        others = years[np.isfinite(years) & ~alone]
        if alone.sum() >= max(3, FILLER * np.isfinite(years).sum()) and (others >= MODERN).all():
            found.append((alone, f"of {len(years):,}; no other is before {MODERN}, so taken for unknown"))
            years[alone] = np.nan
    return years, [f"{where}: field {column.name!r}: {counted(int(rows.sum()), 'date')} like "
                   f"{texts[int(np.argmax(rows))].removesuffix('.0'):.20}{'' if why.startswith('of') else ':'} {why}"
                   for rows, why in found if rows.any()]


def year_of(value) -> float:
    """The year in a date as people write it, with a time or without; nan where there is none, or several: "2010-2014",
    or one that only bounds the date: "before 2008". Eight digits are read as year, month, day or else as day, month,
    year, or month, day, year."""
    text = _date_text(value)
    if _BOUND.search(text) and len(YEAR.findall(text)) < 2:  # 1.5.2008 until 3.6.2008 is of 2008
        return np.nan
    if whole := {next(filter(None, found.group("first", "last", "end"))) for found in _WHOLE.finditer(text)}:
        return float(whole.pop()) if len(whole) == 1 else np.nan
    if eights := _EIGHT.findall(text):
        years = {_year_of_eight(digits) for digits in eights}
        return years.pop() if len(years) == 1 else np.nan
    found = set(YEAR.findall(text))
    return float(found.pop()) if len(found) == 1 else np.nan


def _date_text(value) -> str:
    """A date as text, "" for None; digits as wide as Chinese characters become usual ones."""
    return "" if value is None else unicodedata.normalize("NFKC", str(value)).strip()


def _year_of_eight(digits: str) -> float:
    for form in ("%Y%m%d", "%d%m%Y", "%m%d%Y"):
        with contextlib.suppress(ValueError):
            date = datetime.strptime(digits, form)
            if date.year >= 1800:
                return np.nan if date in (datetime(1900, 1, 1), datetime(1970, 1, 1)) else float(date.year)
    return np.nan
