"""Vector files as people bring them: one layer of any format, in the CRS of the grid, every geometry usable."""

from osgeo import gdal, ogr, osr

from lsm.inputs.bands import UNREADABLE
from lsm.inputs.crs import horizontal
from lsm.inputs.rasters import Grid, reason
from lsm.inputs.vectors import POINTS, POLYGONS, geometry_type
from lsm.run.paths import shown
from lsm.run.settings import InputError, counted
from lsm.sources.files import SHAPES, File
from lsm.sources.raster_files import is_raster

_SURFACES = (ogr.wkbTIN, ogr.wkbPolyhedralSurface)
_POINTS = ("inventory", "stable places", "InSAR points")  # what may be a table of points


def open_vector(name: str, what: str, grid: Grid, notes: list[str] | None = None, parts: bool = True,
                able: tuple[str, ...] = ()) -> gdal.Dataset:
    """Reads one layer of a vector file into memory, in the CRS of the grid: heights dropped, curves stroked, features
    of several parts taken apart, invalid ones repaired, empty ones left out.

    name   a file, with options as lsm/sources/files.py has them
    what   it is, for the message
    notes  gets a line on what was left out or guessed; None: empty features stay, for callers that count them
    parts  False: a feature keeps its parts together, and only features that meet the grid are read
    able   further options that the caller takes
    Its metadata items: CRS, the CRS (WKT) that the features were transformed from; FEATURES, how many the file has.
    Raises InputError.
    """
    file, said = File.of(name, what), [] if notes is None else notes
    source = vector_source(file)
    file.only("a layer of shapes", "layername", "field", *able)
    layer = _layer(source, file, said)
    stated = _crs_of(layer)  # first: GDAL raises what is wrong with a .prj file at whatever reads the layer first
    if _is_garbled(layer, file):
        if source.GetDriver().ShortName != "ESRI Shapefile":
            raise InputError(f"{file.where}: expected text in UTF-8, found another encoding; export it as GeoPackage")
        chosen = layer.GetName()
        source = vector_source(file, "ENCODING=CP1252")
        layer = source.GetLayerByName(chosen)
        _crs_of(layer)
        said.append(f"{file.where}: its text is not UTF-8 and no .cpg file names the encoding; read as Windows-1252; "
                    "if names look wrong, write the encoding into a .cpg file beside it")
    crs = file.crs or stated
    if crs is None or crs.IsLocal() or crs.GetName().startswith("Undefined"):  # the name of a GeoPackage's missing CRS
        prj = " (a Shapefile needs its .prj file)" if file.opened.lower().endswith(".shp") else ""
        raise InputError(f"{file.where}: CRS: expected one, found none; set it: {file.remedy('epsg=<code>')}{prj}")
    _refuse_metres(file, layer, crs, source.GetDriver().ShortName)
    source, layer = _as_polygons(source, layer)
    given = ["-s_srs", horizontal(crs).ExportToWkt()] if file.crs or crs.GetAxesCount() > 2 else []
    kept = ["-explodecollections"] if parts else ["-spat", *map(repr, grid.bounds), "-spat_srs", grid.crs]
    try:
        read = gdal.VectorTranslate("", source, layers=[layer.GetName()], options=[
            "-f", "Memory", "-nln", "layer", *given, "-t_srs", grid.crs, "-dim", "XY", "-nlt", "CONVERT_TO_LINEAR",
            "-makevalid", *kept])
    except RuntimeError as error:
        raise InputError(f"{file.where}: expected features that transform to the CRS of the grid, found: "
                         f"{reason(error, file.path)}; check its CRS") from None
    if not read.GetLayer(0).GetFeatureCount():
        raise InputError(f"{file.where}: expected features on the grid ({grid.extent}), found none there; check the "
                         "CRS and extent of the file")
    if notes is not None:
        _drop_empty(read.GetLayer(0), file, notes)
    read.SetMetadataItem("CRS", horizontal(crs).ExportToWkt())
    read.SetMetadataItem("FEATURES", str(layer.GetFeatureCount()))
    return read


def only_areas(dataset: gdal.Dataset, where: str, notes: list[str], remedy: str = "export the areas") -> None:
    """Deletes the features of a layer that are no polygons; notes  gets their number. Raises InputError where no other
    is left; remedy  ends the message."""
    layer = dataset.GetLayer(0)
    others = [feature.GetFID() for feature in layer if geometry_type(feature) not in POLYGONS]
    if len(others) == layer.GetFeatureCount():
        raise InputError(f"{where}: expected polygons, found lines or points; {remedy}")
    for fid in others:
        layer.DeleteFeature(fid)
    if others:
        notes.append(f"{where}: left out: {counted(len(others), 'feature')} without an area")


def points_among(dataset: gdal.Dataset, where: str) -> list[str]:
    """A line on the points among the features of a layer of lines, [] without any; where  the start of the line."""
    kinds = [geometry_type(feature) for feature in dataset.GetLayer(0)]
    points = sum(kind in POINTS for kind in kinds)
    return [f"{where}: {points:,} of {counted(len(kinds), 'feature')} are points, and distances are to these too; if "
            "they only stand beside lines or along them, give the lines alone"] * (points > 0)


def vector_source(file: File, *options: str) -> gdal.Dataset:
    """A vector file as GDAL opens it, with the open options of its driver. Raises InputError."""
    if file.is_table:
        options = (*options, f"GEOM_POSSIBLE_NAMES={','.join(('the_geom', *SHAPES))}", "KEEP_GEOM_COLUMNS=NO")
    try:
        return gdal.OpenEx(file.opened, gdal.OF_VECTOR, open_options=list(options))
    except UNREADABLE:
        pass
    found, remedy = "none", "export it again as GeoPackage"
    if file.path.is_dir():
        found, remedy = "a folder", f"name the file in it: {file.constant}={shown(file.path)}/<file>"
    elif is_raster(file.path, file.what):
        entry = f'(("to it", "{file.path.name}", "distance", "m"),)'
        found, remedy = "a raster", (f"export the lines or areas; if it holds distances: {file.constant}=none "
                                     f"FACTORS_MORE='{entry}'")
    elif file.path.suffix.lower() == ".shp":
        remedy += " (a Shapefile needs its .shx file)"
    raise InputError(f"{file.where}: expected a vector file that GDAL opens, found {found}; {remedy}")


def _layer(source: gdal.Dataset, file: File, notes: list[str]) -> ogr.Layer:
    """The layer of a file that the name's options, or the file itself, tell; tables without geometry do not count."""
    layers = map(source.GetLayer, range(source.GetLayerCount()))
    layers = {layer.GetName(): layer for layer in layers if layer.GetGeomType() != ogr.wkbNone}
    if not layers and source.GetLayerCount():
        remedy = "as GeoPackage" if file.is_table or file.what not in _POINTS else (
            "as CSV with columns X and Y, or as GeoPackage")
        raise InputError(f"{file.where}: expected a layer of shapes, found a table without; save it {remedy}")
    wanted = file.options.get("layername", "")
    if wanted:
        found = {wanted: layers[wanted]} if wanted in layers else {}
    else:
        found = {n: layer for n, layer in layers.items() if len(layers) == 1 or layer.GetFeatureCount()}
        if len(found) > 1:
            alike = [n for n in found if n.lower() == file.path.stem.lower()]
            found = {n: found[n] for n in alike} if len(alike) == 1 else found
        if len(found) == 1 < len(layers):
            notes.append(f"{file.where}: layer {next(iter(found))} of {', '.join(layers)} is read")
    if len(found) != 1:
        raise InputError(f"{file.where}: expected one layer, found {', '.join(layers) or 'none'}; name it: "
                         f"{file.path.name}|layername=<layer>"
                         + (", or put all into one: each folder of KML is a layer"
                            if len(found) > 1 and file.path.suffix.lower() in (".kml", ".kmz") else ""))
    layer = next(iter(found.values()))
    if _is_odd(layer.GetName()):
        raise InputError(f"{file.where}: expected a layer with a name in UTF-8, found another encoding; export it as "
                         "GeoPackage")
    if not layer.GetFeatureCount():
        raise InputError(f"{file.where}: expected features, found none; export it again, or leave it out")
    return layer


def _crs_of(layer: ogr.Layer) -> osr.SpatialReference | None:
    """The CRS that a layer states, None where it states none that can be read."""
    try:
        return layer.GetSpatialRef()
    except UNREADABLE:
        return None


def _is_garbled(layer: ogr.Layer, file: File) -> bool:
    """Whether names or texts of a layer's fields are not UTF-8. Raises InputError for a feature that GDAL cannot read,
    like a shape as text with "SRID=4326;" before it."""
    definition = layer.GetLayerDefn()
    fields = [definition.GetFieldDefn(i) for i in range(definition.GetFieldCount())]
    texts = [i for i, field in enumerate(fields) if field.GetType() == ogr.OFTString]
    found, read = any(_is_odd(field.GetName()) for field in fields), 0
    try:
        for feature in layer:
            found = found or any(_is_odd(feature.GetField(i)) for i in texts)
            read += 1
    except RuntimeError as error:
        remedy = "correct it, or export it again"
        if file.is_table:
            remedy = f"write shapes as WKT without 'SRID=<code>;' before them, and {file.remedy('epsg=<code>')}"
        raise InputError(f"{file.where}: feature {read + 1}: expected one that GDAL reads, found "
                         f"{reason(error, file.path) or 'none'}; {remedy}") from None
    layer.ResetReading()
    return found


def _as_polygons(source: gdal.Dataset, layer: ogr.Layer) -> tuple[gdal.Dataset, ogr.Layer]:
    """A data set and its layer, or a copy of these where surfaces (TIN, multipatch) are their outlines, one feature
    each. Where GDAL repairs surfaces, it prints errors that no handler catches, and takes their faces apart."""
    if ogr.GT_Flatten(layer.GetGeomType()) not in (ogr.wkbUnknown, ogr.wkbGeometryCollection, *_SURFACES):
        return source, layer
    outlines = {f.GetFID(): shape for f in layer if (shape := _outline(f.GetGeometryRef())) is not None}
    layer.ResetReading()
    if not outlines:
        return source, layer
    copy = gdal.GetDriverByName("Memory").Create("", 0, 0, 0, gdal.GDT_Unknown)
    copied = copy.CreateLayer(layer.GetName(), layer.GetSpatialRef(), ogr.wkbUnknown)
    for i in range(layer.GetLayerDefn().GetFieldCount()):
        copied.CreateField(layer.GetLayerDefn().GetFieldDefn(i))
    for feature in layer:
        feature.SetGeometry(outlines.get(feature.GetFID(), feature.GetGeometryRef()))
        copied.CreateFeature(feature)
    return copy, copied


def _outline(shape: ogr.Geometry | None) -> ogr.Geometry | None:
    """The outline, from above, of a surface, or of one with polygons beside it, as GDAL reads a multipatch; the areas
    of a collection that marks them by points too; else None."""
    kind = None if shape is None else ogr.GT_Flatten(shape.GetGeometryType())
    if kind not in (ogr.wkbGeometryCollection, *_SURFACES):
        return None
    parts = [part.Clone() for part in (shape if kind == ogr.wkbGeometryCollection else [shape])]
    kinds = [ogr.GT_Flatten(part.GetGeometryType()) for part in parts]
    areas = [part for part, of in zip(parts, kinds, strict=True) if of in (*_SURFACES, *POLYGONS)]
    if not areas or not {*kinds} & {*_SURFACES, *POINTS} or {*kinds} - {*_SURFACES, *POLYGONS, *POINTS}:
        return None
    faces = ogr.Geometry(ogr.wkbMultiPolygon)
    for face in (face for part in areas for face in ogr.ForceToMultiPolygon(part)):
        if face.Area():  # a wall has none
            faces.AddGeometry(face)
    return faces.UnionCascaded() if faces.GetGeometryCount() else faces


def _is_odd(text) -> bool:
    """Whether a text of a file holds bytes that Python could not decode."""
    return isinstance(text, bytes) or (isinstance(text, str) and not text.isascii()
                                       and any("\ud800" <= c <= "\udfff" for c in text))


def _refuse_metres(file: File, layer: ogr.Layer, crs: osr.SpatialReference, driver: str) -> None:
    """Raises InputError for coordinates that cannot be degrees in a CRS of degrees."""
    extent = layer.GetExtent(can_return_null=True) if crs.IsGeographic() else None  # OpenStreetMap's format has none
    if extent is None:
        return
    west, east, south, north = extent
    if max(abs(west), abs(east)) <= 360 and max(abs(south), abs(north)) <= 90.5:
        return
    of_format = "GeoJSON is in degrees of WGS 84" if driver.startswith("GeoJSON") else f"its CRS is {crs.GetName()}"
    if max(abs(west), abs(east)) <= 90 and max(abs(south), abs(north)) <= 360:
        raise InputError(f"{file.where}: {of_format}, found latitude before longitude (X {west:.6g}, Y {south:.6g}); "
                         "export it with longitude first")
    raise InputError(f"{file.where}: {of_format}, found coordinates that look like metres (X {west:.0f}, Y "
                     f"{south:.0f}); say their CRS: {file.remedy('epsg=<code>')}, or export it in degrees")


def _drop_empty(layer: ogr.Layer, file: File, notes: list[str]) -> None:
    """Deletes the features without geometry. Raises InputError where no other is left."""
    total, empty = layer.GetFeatureCount(), [feature.GetFID() for feature in layer if geometry_type(feature) is None]
    layer.ResetReading()
    if len(empty) == total:
        raise InputError(f"{file.where}: expected features with a geometry, found {total:,} without; export it again, "
                         "or leave it out")
    for fid in empty:
        layer.DeleteFeature(fid)
    if empty:
        notes.append(f"{file.where}: left out: {counted(len(empty), 'feature')} without a geometry")
