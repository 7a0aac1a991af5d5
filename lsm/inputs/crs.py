"""Coordinate reference systems: by code, in words, without heights, and how true to scale their maps are."""

from pathlib import Path

import numpy as np
from osgeo import osr

from lsm.run.paths import edit, shown
from lsm.run.settings import InputError

# Degrees off true north of the way up on a map: to the first it counts as north, beyond the second aspects mislead.
TURNED, SIDEWAYS = 5.0, 60.0
PART = 1 << 17  # points in GDAL's hands at once, where each takes some 270 bytes


def crs_of(epsg: int, name: str = "EPSG") -> osr.SpatialReference:
    """The CRS of an EPSG code, X before Y; `name` is the constant that gave the code. Raises InputError."""
    crs = osr.SpatialReference()
    try:
        crs.ImportFromEPSG(epsg)
    except RuntimeError:
        raise InputError(f"{name}={epsg}: expected the EPSG code of a CRS, found none of that number; look it up in "
                         "the file's metadata or at epsg.io") from None
    crs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return crs


def crs_name(wkt: str) -> str:
    """A CRS as people say it: "WGS 84 / UTM zone 50N (EPSG:32650)"."""
    crs = osr.SpatialReference(wkt=wkt)
    code = crs.GetAuthorityCode(None)
    return crs.GetName() + (f" ({crs.GetAuthorityName(None)}:{code})" if code else "")


def other_unit(crs: osr.SpatialReference) -> str:
    """Name and unit of a CRS, for a message; "" for a projected CRS in metres."""
    if crs.IsProjected() and abs(crs.GetLinearUnits() - 1) <= 1e-9:
        return ""
    return f"{crs.GetName()} in {crs.GetLinearUnitsName() if crs.IsProjected() else crs.GetAngularUnitsName()}"


def refuse_unmetric(crs: osr.SpatialReference | None, path: Path) -> None:
    """Raises InputError for the CRS of the raster `path` that is no projected one in metres."""
    where = shown(path)
    if crs is None:
        raise InputError(f"{where}: CRS: expected a projected one in metres, found none; set it: "
                         + edit(path, "-a_srs EPSG:<code>"))
    if other_unit(crs):
        raise InputError(f"{where}: CRS: expected a projected one in metres, found {other_unit(crs)}; reproject it "
                         "and the tables to one (QGIS: Warp)")


def ground_scale(crs: osr.SpatialReference, x: float, y: float) -> float:
    """Metres on the map for one metre on the ground around x, y: of four directions, the value farthest from 1.

    The ground is the ellipsoid of the CRS; distances on it are taken from an equidistant projection around the point.
    """
    flat, degrees = crs.Clone(), crs.CloneGeogCS()
    for each in (flat, degrees):
        each.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    lon, lat, _ = osr.CoordinateTransformation(flat, degrees).TransformPoint(x, y)
    around = osr.SpatialReference()
    around.ImportFromProj4(f"+proj=aeqd +lat_0={lat!r} +lon_0={lon!r} +units=m")
    around.CopyGeogCSFrom(degrees)
    reach = 500 / flat.GetLinearUnits()
    ends = [(x + reach, y), (x - reach, y), (x, y + reach), (x, y - reach)]
    scales = 500 / np.hypot(*moved(np.array(ends), flat, around).T)
    return float(scales[np.argmax(np.abs(np.log(scales)))])


def off_north(crs: osr.SpatialReference | str, x: float, y: float) -> float:
    """Degrees clockwise from true north of the way up on the map at x, y; 0 where it is TURNED or less, as in all UTM
    zones. Aspects count from the way up. RuntimeError where the point has no place on the earth."""
    (lon, lat), (east, north) = moved(np.array([[x, y], [x, y + 100]]), crs, crs_of(4326))
    right = ((east - lon + 180) % 360 - 180) * np.cos(np.radians(lat))
    turned = float(np.degrees(np.arctan2(right, north - lat)))
    return turned if abs(turned) > TURNED else 0.0


def moved(xy: np.ndarray, source: osr.SpatialReference | str, target: osr.SpatialReference | str) -> np.ndarray:
    """Points (points, 2), X before Y, of the CRS `source` in the CRS `target`; WKT stands for a CRS too. RuntimeError
    where GDAL knows no way."""
    source, target = (osr.SpatialReference(wkt=crs) if isinstance(crs, str) else crs.Clone()
                      for crs in (source, target))
    for crs in (source, target):
        crs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    if source.IsSame(target):
        return xy
    change, out, parts = osr.CoordinateTransformation(source, target), np.empty((len(xy), 2)), -(-len(xy) // PART)
    for i in range(parts):  # every parts-th: each part lies where all lie, and PROJ chooses its way by the mean place
        out[i::parts] = np.array(change.TransformPoints(xy[i::parts].tolist()), np.float64)[:, :2]
    return out


def utm_zone(x: float, y: float, crs: osr.SpatialReference | str) -> int:
    """The EPSG code of the UTM zone (WGS 84) of a point. RuntimeError where it has no place on the earth."""
    lon, lat = moved(np.array([[x, y]]), crs, crs_of(4326))[0]
    return (32600 if lat >= 0 else 32700) + int((lon + 180) // 6) % 60 + 1


def horizontal(crs: osr.SpatialReference) -> osr.SpatialReference:
    """A CRS without its heights, X before Y: with them GDAL would shift values by a geoid."""
    flat = crs.Clone()
    if flat.IsCompound():
        flat.StripVertical()
    elif flat.GetAxesCount() == 3:
        flat.DemoteTo2D()
    flat.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return flat
