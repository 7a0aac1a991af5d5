"""Classes of rasters and polygons: their names, their codes, and codes that another region has given."""

import re
import unicodedata
from collections import Counter

import numpy as np
from osgeo import gdal, ogr

from lsm.inputs.factor.class_words import NO_CLASS
from lsm.inputs.rasters import known_strips
from lsm.inputs.vectors import add_numbers, fields_of
from lsm.run.settings import LONGEST, InputError
from lsm.sources.files import File
from lsm.sources.raster_files import RasterFile

MAX_CLASSES = 100  # a layer with more different values holds no classes, unless it says so:
MAX_NAMED = 1000   # by a table of colours, or a field that a person names
LARGEST = 1 << 24  # whole numbers up to this one survive float32
_COLOUR = re.compile(r"#?[0-9a-f]{6,8}", re.I)  # in an attribute table it is no name
_USES = (gdal.GFU_MinMax, gdal.GFU_Min)  # of columns of codes, as a table may tell
_OF_CODES = ("value", "code", "class", "grid_code", "gridcode", "id")  # what people call such columns
# Fields that number or measure the features of common programs.
NO_FIELD = re.compile(r"gml_id|(\w+_)?fid(_\w*)?|id(_\d+)?|gid|oid_?|objectid(_\d+)?|shape_?(area|leng|length|le_1)|"
                      r"area|perimeter|length|(\w+_)?seq|buff_dist|et_id|featureid|path", re.I)


def codes_by_name(names: dict, given: dict[str, int], where: str, region: str, own: bool) -> dict[str, int]:
    """The codes of classes, by name. A class that the other region has keeps its code there; new ones follow.

    names   of the classes by the number or text that the file stores, in order
    given   the codes of the other region, {} for none; region  its name; where  the start of a message
    own     whether classes keep the numbers that the file stores, where no codes are given
    Raises InputError where one of both regions has names and the other numbers alone.
    """
    texts = list(dict.fromkeys(names.values()))
    known_codes = {text.lower(): code for text, code in reversed(given.items())}  # upper case does not count
    numbered = [all(re.fullmatch(r"-?\d+", text) for text in group) for group in (texts, given)]
    if given and numbered[0] != numbered[1] and not {text.lower() for text in texts} & set(known_codes):
        have, has = ("numbers", "names") if numbered[0] else ("names", "numbers")
        raise InputError(f"{where}: expected class {has} as CODES_OF={region} has ({', '.join(list(given)[:3])}, ...), "
                         f"found {have} ({', '.join(texts[:3])}, ...); name the classes alike (an attribute table of "
                         "the raster), or leave out CODES_OF")
    codes = {text: known_codes[text.lower()] for text in texts if text.lower() in known_codes}
    if not given and own and 0 not in names and max(map(abs, names)) <= LARGEST:
        return {text: int(number) for number, text in names.items()}
    new = [text for text in texts if text not in codes]
    return codes | {text: code for code, text in enumerate(new, start=1 + max(given.values(), default=0))}


def whole_numbers(coded: gdal.Dataset, file: File) -> set[float]:
    """The values of a raster of classes. Raises InputError where they are not some whole numbers."""
    values, most = set(), MAX_NAMED if coded.GetRasterBand(1).GetColorTable() else MAX_CLASSES
    for found in known_strips(coded):
        values |= set(np.unique(found).tolist())
        parts = [v for v in values if v != round(v) or abs(v) > 2**53]
        if len(values) > most or parts:
            raise InputError(f"{file.where}: expected at most {most} whole-number classes, found "
                             f"{f'{min(parts):.8g} among them' if parts else f'{len(values)} or more'}; export the "
                             "classes, not a measure, or group them")
    return values


def names_of_raster(raster: RasterFile, values: set[float], field: str = "",
                    notes: list[str] | None = None) -> tuple[dict[int, str], bool]:
    """The name of each class of a raster: of its attribute table, its list of categories or its .vat.dbf; where there
    is none, the number. Also whether any has a name. Code 0 is a class where it has a name.

    values  the whole numbers that occur
    field   the column of names; "": found
    notes   gets a line where several columns could hold the names. Raises InputError.
    """
    file, said = raster.file, []
    found = _attribute_table(raster.band.band, values, file, field, said) or _vat(file, values, field, said)
    if field and not found:
        raise InputError(f"{file.where}: expected an attribute table with a column {field!r}, found no table; leave "
                         f"out {_field_constant(file)}")
    if notes is not None:
        notes += said
    found = {code: text_of(name) for code, name in found.items()}
    nothing = {code for code, name in found.items() if name and name.lower() in NO_CLASS}  # no data by its name
    found = {code: name for code, name in found.items() if name.lower() not in NO_CLASS}
    kept = [int(v) for v in sorted(values) if (v != 0 or 0 in found) and v not in nothing]
    bare = [f"{code}" for code in kept if not found.get(code)]
    if found and bare and notes is not None:
        notes.append(f"{file.where}: {len(bare)} of {len(kept)} codes have no name ({', '.join(bare[:4])}"
                     f"{', ...' * (len(bare) > 4)}); their numbers are used as names")
    times = Counter(name.lower() for name in found.values())
    names = {code: f"{found[code]} ({code})" if code in found and times[found[code].lower()] > 1 else
             found.get(code, str(code)) for code in kept}
    return names, any(code in found for code in kept)


def _column_of_names(columns: list[str], texts: list[str], told: str, file: File, field: str,
                     notes: list[str]) -> str:
    """The column of an attribute table that holds the names, "" for none.

    columns  of the table; texts  its columns of text; told  the column whose use the table tells, "" for none; field
    as `names_of_raster` takes it
    """
    if field:
        name = next((name for name in columns if name.lower() == field.lower()), "")
        if not name:
            raise InputError(f"{file.where}: attribute table: expected a column {field!r}, found {', '.join(columns)}; "
                             f"name one of these: {_field_constant(file)}=<column>")
        return name
    named = [name for name in texts if re.search("name|label|class|desc|type", name, re.I)]
    chosen = told or next(iter([*named, *texts]), "")
    if len(texts) > 1:
        others = ", ".join(name for name in texts if name != chosen)
        notes.append(f"{file.where}: names of classes are read from the column {chosen} of its attribute table; "
                     f"also there: {others} ({_field_constant(file)})")
    return chosen


def _column_of_codes(columns: dict[str, list[str]], name: str, values: set[float], told: str, file: File,
                     notes: list[str]) -> str:
    """The column of an attribute table that holds the codes: the column whose whole numbers hold most of `values`, the
    numbers that occur in the raster; of equal columns the one that is `told`, or has the name of codes. "" where no
    column holds numbers. Raises InputError where none holds the numbers that occur, or several do and none is named so.

    columns  texts of each row, by column; name  the column of names; told  the column whose use the table tells
    """
    able = {column: [int(text) for text in texts] for column, texts in columns.items() if column != name
            and all(re.fullmatch(r"[+-]?\d{1,15}", text) for text in texts)}
    shared = {column: len(values.intersection(codes)) for column, codes in able.items()
              if len(set(codes)) == len(codes)}
    called = {column.lower(): column for column in reversed(shared)}
    likely = [called[text] for text in _OF_CODES if text in called]
    best = [column for column, n in shared.items() if n and n == max(shared.values())]
    best = [column for column in best if 2 * shared[column] > len(values) or column in likely or column == told]
    plainly = [column for column in likely if column in best]
    if not name or not able:
        return ""
    if not best or (len(best) > 1 and not plainly and told not in best):
        some = ", ".join(f"{v:g}" for v in sorted(values)[:4]) + ", ..." * (len(values) > 4)
        raise InputError(f"{file.where}: attribute table: expected one column that holds the codes of the raster "
                         f"({some}), found {', '.join(best or able)}; call it Value")
    chosen = told if told in best else next(iter([*plainly, *best]))
    if len(able) > 1:
        notes.append(f"{file.where}: codes of classes are read from the column {chosen} of its attribute table")
    return chosen


def _attribute_table(band: gdal.Band, values: set[float], file: File, field: str, notes: list[str]) -> dict[int, str]:
    """Name by code of a band's list of categories or attribute table, {} without names; without columns of whole
    numbers the rows are the codes. Rows that are ranges of numbers name the `values` in them. Raises
    InputError."""
    names, table = band.GetCategoryNames(), band.GetDefaultRAT()
    if names and not (field and table):
        return dict(enumerate(names))
    if table is None:
        return {}
    rows, numbers = range(table.GetRowCount()), (gdal.GFU_Generic, gdal.GFU_Name, *_USES)
    places = {table.GetNameOfCol(i): i for i in range(table.GetColumnCount()) if table.GetUsageOfCol(i) in numbers}
    of_use = {table.GetUsageOfCol(i): column for column, i in places.items()}
    first, last = (table.GetColOfUsage(use) for use in (gdal.GFU_Min, gdal.GFU_Max))
    within = {v: row for v in sorted(values) if (row := table.GetRowOfValue(v)) >= 0} if min(first, last) >= 0 else {}
    rows = list(within.values()) or rows
    columns = {column: [text_of(table.GetValueAsString(row, i) if table.GetTypeOfCol(i) == gdal.GFT_String else
                                table.GetValueAsDouble(row, i)) for row in rows] for column, i in places.items()}
    of_text = [column for column, i in places.items() if table.GetTypeOfCol(i) == gdal.GFT_String]
    if within and of_text:
        low, high = table.GetNameOfCol(first), table.GetNameOfCol(last)
        columns[low] = [text_of(v) for v in within]
        notes.append(f"{file.where}: classes are named by the ranges of numbers ({low}, {high}) of its attribute table")
    return _code_names(columns, of_text, of_use.get(gdal.GFU_Name, ""), next(filter(None, map(of_use.get, _USES)), ""),
                       values, file, field, notes)


def _vat(file: File, values: set[float], field: str, notes: list[str]) -> dict[int, str]:
    """The same of an attribute table as ArcGIS writes it, beside the raster."""
    beside = file.path.with_name(f"{file.path.name}.vat.dbf")
    if not beside.is_file():
        return {}
    try:
        dataset = gdal.OpenEx(str(beside), gdal.OF_VECTOR)
    except RuntimeError:
        raise InputError(f"{file.where}: {beside.name}: expected an attribute table, found a damaged file; copy it "
                         "again, or remove it") from None
    layer = dataset.GetLayer(0)
    fields = fields_of(layer)
    columns = {name: [text_of(f.GetField(name)) for f in layer] for name in fields}
    of_text = [name for name, kind in fields.items() if kind == ogr.OFTString]
    return _code_names(columns, of_text, "", "", values, file, field, notes)


def _code_names(columns: dict[str, list[str]], of_text: list[str], told_name: str, told_code: str, values: set[float],
                file: File, field: str, notes: list[str]) -> dict[int, str]:
    """Name by code of an attribute table; columns  texts of each row, by column; the rest as the functions above.
    Columns of text that hold colours or numbers alone are no names."""
    texts = [name for name in of_text if not all(_COLOUR.fullmatch(text) or re.fullmatch(r"[+-]?\d*", text)
                                                 for text in columns[name])]
    name = _column_of_names(list(columns), texts, told_name if told_name in texts else "", file, field, notes)
    code = _column_of_codes(columns, name, values, told_code, file, notes)
    if not name:
        return {}
    return {int(columns[code][row]) if code else row: text for row, text in enumerate(columns[name])}


def number_classes(dataset: gdal.Dataset, file: File, field: str, given: dict[str, int], region: str,
                   notes: list[str]) -> tuple[dict[str, int], str]:
    """Codes the classes in a field of polygons into a new field, 0 for none. Blanks around a name and upper case do not
    count; empty text, null, no data and the like are no class.

    field          that holds the classes; "": found, where only one field can hold them
    given, region  as `codes_by_name` takes them
    notes          gets a line on the field taken. Returns code by class, and the name of the new field. Raises
                   InputError.
    """
    layer = dataset.GetLayer(0)
    texts = {name: [text_of(f.GetField(name)) for f in layer] for name in fields_of(layer)}
    fids = [f.GetFID() for f in layer]
    chosen = next((name for name in texts if name.lower() == field.lower()), field) if field else _field_of(
        texts, fields_of(layer), file)
    if chosen not in texts:
        raise InputError(f"{file.where}: expected a field {field!r}, found {', '.join(texts) or 'none'}; name the "
                         f"field that holds the classes: {_field_constant(file)}=<field>")
    values = ["" if text.lower() in NO_CLASS else text for text in texts[chosen]]
    spelt = {}  # as the classes are written first in alphabetical order, by their names in lower case
    for text in sorted(set(values) - {""}):
        if spelt.setdefault(text.lower(), text) != text:
            notes.append(f"{file.where}: {text} and {spelt[text.lower()]} are taken for one class")
    values = [spelt.get(text.lower(), "") for text in values]
    names = {text: text for text in sorted(spelt.values())}
    most = MAX_NAMED if field else MAX_CLASSES
    if not 1 <= len(names) <= most:
        raise InputError(f"{file.where}: field {chosen}: expected 1 to {most} classes, found {len(names)}; name "
                         f"another field: {_field_constant(file)}=<field>, or group the classes")
    codes = codes_by_name(names, given, file.where, region, own=False)
    if not field:
        notes.append(f"{file.where}: classes are read from the field {chosen} ({_field_constant(file)})")
    return codes, add_numbers(dataset, {fid: codes.get(text, 0) for fid, text in zip(fids, values, strict=True)})


def _field_constant(file: File) -> str:
    return f"{file.constant}_FIELD" if file.what in ("land use", "lithology") else "|field"


def text_of(value) -> str:
    """A field's value as text: whole numbers without a point, blanks around and twice within left out, letters with
    accents as one character each, "" for none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else " ".join(unicodedata.normalize("NFC", str(value)).split())


def _field_of(texts: dict[str, list[str]], kinds: dict[str, int], file: File) -> str:
    """The only field that can hold classes. Of a field of text and fields of numbers that part the features in the same
    way it is the text. Raises InputError where several could be meant, or none."""
    many = {name: len(set(values) - {""}) for name, values in texts.items()}
    least = {ogr.OFTString: 1, ogr.OFTInteger: 2, ogr.OFTInteger64: 2}  # of one number alone there is nothing to tell
    able = [name for name in texts if kinds[name] in least and least[kinds[name]] <= many[name] <= MAX_CLASSES
            and not NO_FIELD.fullmatch(name)]
    able = able or [name for name in texts if 1 <= many[name] <= MAX_CLASSES][:2]
    words = [name for name in able if kinds[name] == ogr.OFTString]
    if len(words) == 1 and all(len(set(zip(texts[words[0]], texts[n], strict=True))) == len(set(texts[words[0]]))
                               == len(set(texts[n])) for n in able):
        return words[0]
    if len(able) != 1:
        start = f"{file.where}: expected one field of classes, found "
        end = f"; name the field that holds them: {_field_constant(file)}=<field>"
        raise InputError(start + _described(texts, able or list(texts), LONGEST - len(start + end)) + end)
    return able[0]


def _described(texts: dict[str, list[str]], names: list[str], room: int) -> str:
    """Fields with the number of their classes and the most frequent of these, as many as `room` characters hold."""
    classes = {name: Counter(text for text in texts[name] if text) for name in names}
    for examples, letters in ((2, 24), (2, 12), (1, 12), (0, 0)):
        words = []
        for name, counted in classes.items():
            some = [text if len(text) <= letters else f"{text[:letters - 1]}…"
                    for text, _ in counted.most_common(examples)]
            some += ["…"] * (0 < examples < len(counted))
            number = f"{len(counted)} class{'es' * (len(counted) != 1)}"
            words.append(f"{name} ({number}" + f": {', '.join(some)}" * bool(some) + ")")
        if len(", ".join(words)) <= room:
            break
    return ", ".join(words) or "none"


def recoded(values: np.ndarray, codes: dict[int, int]) -> np.ndarray:
    """Whole numbers with other numbers in place of each in `codes`, float32; 0 for all others."""
    out = np.zeros(values.shape, np.float32)
    for old, new in codes.items():
        out[values == old] = new
    return out
