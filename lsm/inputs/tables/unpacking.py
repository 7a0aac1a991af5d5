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
# What damaged files raise; RuntimeError: a password, a compression that zipfile does not know, or what GDAL says.
DAMAGED = (BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, KeyError, RuntimeError, UnicodeError)


def opened(path: Path, member: str) -> IO[bytes]:
    """A table, open for its bytes, unpacked and in UTF-8. Raises OSError or one of DAMAGED.

    member  the file within an archive, or the sheet of a spreadsheet; "": the one sheet that has rows
    """
    def bare():
        if path.suffix.lower() in SHEETS:
            return io.BytesIO(sheet_as_csv(path, member))
        if member and is_zipfile(path):
            return ZipFile(path).open(member)
        if member:
            archive = tarfile.TarFile.open(path)
            return archive.extractfile({held.name.removeprefix("./"): held for held in archive}[member])
        return (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb")

    with bare() as file:
        wide = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return codecs.EncodedFile(bare(), "utf-8", "utf-16") if wide else bare()


def sheet_as_csv(path: Path, name: str) -> bytes:
    """A sheet of a spreadsheet as csv in UTF-8, values as they are stored. Raises RuntimeError where GDAL cannot read
    it, InputError where several sheets may be meant, or none."""
    copy = f"/vsimem/{id(path)}.csv"
    gdal.PushErrorHandler("CPLQuietErrorHandler")
    try:
        book = gdal.OpenEx(str(path), gdal.OF_VECTOR)
        sheets = {book.GetLayer(i).GetName(): book.GetLayer(i).GetFeatureCount() for i in range(book.GetLayerCount())}
        chosen = [sheet for sheet, rows in sheets.items() if sheet == name or (rows and not name)]
        if len(chosen) != 1:
            raise InputError(f"{shown(path)}: expected one sheet with rows, found {', '.join(sheets) or 'none'}; name "
                             f"it ({path.name}|layername=<sheet>), or save it as CSV")
        gdal.VectorTranslate(copy, book, format="CSV", layers=chosen)
        file = gdal.VSIFOpenL(copy, "rb")
        text = gdal.VSIFReadL(1, gdal.VSIStatL(copy).size, file)
        gdal.VSIFCloseL(file)
        return bytes(text)
    finally:
        gdal.PopErrorHandler()
        with contextlib.suppress(RuntimeError):  # there was no copy yet
            gdal.Unlink(copy)
