"""The bytes of a text table, whatever it is packed in: an archive, gzip, UTF-16, a spreadsheet."""

import codecs
import contextlib
import gzip
import io
import tarfile
import zlib
from pathlib import Path
from typing import IO
from zipfile import BadZipFile, ZipFile, is_zipfile

from osgeo import gdal

from lsm.run.paths import shown
from lsm.run.settings import InputError

SHEETS = (".xlsx", ".xlsm", ".ods", ".xls")
_BOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # how spreadsheets begin; some programs give text tables such names
# What damaged files raise; RuntimeError: a password, a compression that zipfile does not know, or what GDAL says.
DAMAGED = (BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, KeyError, RuntimeError, UnicodeError)


def open_table(path: Path, member: str) -> IO[bytes]:
    """A table, open for its bytes, unpacked and in UTF-8. Raises OSError, one of DAMAGED or InputError.

    member  the file within an archive, or the sheet of a spreadsheet; "": the only sheet that has rows
    """
    def bare():
        if path.suffix.lower() in SHEETS and _begins(path) in _BOOKS:
            return io.BytesIO(sheet_as_csv(str(path), member, path))
        if not member:
            return (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb")
        held = _held(path, member)
        return io.BytesIO(_held_sheet(held.read(), member, path)) if Path(member).suffix.lower() in SHEETS else held

    with bare() as file:
        wide = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return codecs.EncodedFile(bare(), "utf-8", "utf-16") if wide else bare()


def _begins(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(4)


def _held(path: Path, member: str) -> IO[bytes]:
    """A file within an archive."""
    if is_zipfile(path):
        return ZipFile(path).open(member)
    archive = tarfile.TarFile.open(path)
    return archive.extractfile({held.name.removeprefix("./"): held for held in archive}[member])


def _held_sheet(book: bytes, member: str, path: Path) -> bytes:
    """The sheet of a spreadsheet within an archive, as `sheet_as_csv` gives it."""
    copy = f"/vsimem/{id(path)}{Path(member).suffix}"
    gdal.FileFromMemBuffer(copy, book)
    try:
        return sheet_as_csv(copy, "", path)
    finally:
        gdal.Unlink(copy)


def decoded(data: bytes) -> tuple[str, bool]:
    """Whole lines as text, and whether they are UTF-8. A line that is not is read as Windows-1252: one odd sign must
    not change the words of the others."""
    try:
        return data.decode("utf-8"), True
    except UnicodeDecodeError:
        if len(lines := data.splitlines(keepends=True)) > 1:
            return "".join(decoded(line)[0] for line in lines), False
        return data.decode("cp1252", "replace"), False


def sheet_as_csv(book: str, name: str, path: Path) -> bytes:
    """A sheet of a spreadsheet as csv in UTF-8, values as they are stored, its first row as the header. Raises
    RuntimeError where GDAL cannot read it, InputError where several sheets may be meant, or none.

    book  as GDAL opens it; name  of the sheet, "": the only sheet that has rows; path  of the file, for messages
    """
    copy, options = f"/vsimem/{id(path)}.csv", ("OGR_XLSX_HEADERS", "OGR_ODS_HEADERS")
    before = [gdal.GetConfigOption(option) for option in options]
    gdal.PushErrorHandler("CPLQuietErrorHandler")
    try:
        for option in options:
            gdal.SetConfigOption(option, "FORCE")  # GDAL's guess takes a row of texts for none
        source = gdal.OpenEx(book, gdal.OF_VECTOR)
        sheets = {layer.GetName(): layer.GetFeatureCount() for layer in map(source.GetLayer,
                                                                            range(source.GetLayerCount()))}
        chosen = [sheet for sheet, rows in sheets.items() if sheet == name or (rows and not name)]
        if len(chosen) != 1:
            wanted = f"a sheet {name!r}" if name else "one sheet with rows"
            raise InputError(f"{shown(path)}: expected {wanted}, found {', '.join(sheets) or 'none'}; name one "
                             f"({path.name}|layername=<sheet>), or save it as CSV")
        gdal.VectorTranslate(copy, source, format="CSV", layers=chosen)
        file = gdal.VSIFOpenL(copy, "rb")
        text = gdal.VSIFReadL(1, gdal.VSIStatL(copy).size, file)
        gdal.VSIFCloseL(file)
        return bytes(text)
    finally:
        gdal.PopErrorHandler()
        for option, value in zip(options, before, strict=True):
            gdal.SetConfigOption(option, value)
        with contextlib.suppress(RuntimeError):  # there was no copy yet
            gdal.Unlink(copy)
