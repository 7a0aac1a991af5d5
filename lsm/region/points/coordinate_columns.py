"""The columns of a table that hold coordinates, or say their CRS, by the names that people give them."""

import re

from lsm.inputs.tables.text_tables import plain

COORDINATES = (("x", "y"), ("easting", "northing"), ("east", "north"), ("longitude", "latitude"), ("lon", "lat"),
               ("long", "lat"), ("lng", "lat"), ("longitud", "latitud"), ("longitudine", "latitudine"),
               ("este", "norte"), ("est", "nord"), ("rechtswert", "hochwert"), ("e", "n"), ("经度", "纬度"))
# What people write before or behind such a name: "UTM_X", "POINT_X", "Latitude (DD)", "lon_wgs84", "decimalLatitude"
_BESIDE = re.compile(r"point|coord(inate)?s?|utm|gps|wgs|84|wgs84|dd|deg|degrees?|decimal|m|met(er|re)s?|centroid|°")
ZONES = ("zone", "utmzone", "utm", "zona", "huso", "fuso")
CODES = ("epsg", "epsgcode", "crs", "srid", "srs")


def coordinate_of(name: str) -> str:
    """The name of COORDINATES that a column's name stands for, "" for none: "x" of "POINT_X", "X (m)" and "UTM_X"."""
    words = re.findall(r"°|[^\W_]+", str(name).lower())
    words = [word for word in words if not _BESIDE.fullmatch(word)] or words
    text = re.sub(r"^(point|coord)(?=[xy]$)|^decimal(?=l)|(?<=^[xy])coord$", "", words[0]) if len(words) == 1 else ""
    return text if any(text in pair for pair in COORDINATES) else ""


def columns_of_places(header: list[str]) -> list[list[int]]:
    """The columns of X and Y, of each pair of COORDINATES that a header has; bare names come first."""
    found = []
    for keys in ([plain(name) for name in header], [coordinate_of(name) for name in header]):
        for pair in COORDINATES:
            if all(keys.count(key) == 1 for key in pair):
                places = [keys.index(key) for key in pair]
                found += [places] * all(not set(places) & set(other) for other in found)
    return found


def in_degrees(column: str) -> bool:
    """Whether a column of coordinates is a longitude by its name."""
    name = coordinate_of(column)
    return name in ("lon", "long", "lng", "经度") or name.startswith("longitud")
