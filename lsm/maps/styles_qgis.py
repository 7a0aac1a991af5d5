"""QGIS styles (.qml) of the rasters and layers that export_gis.py writes."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from lsm.maps.cartography import SAMPLES
from lsm.run.writing import whole

# What a block's state in models_of_blocks/<REGION>_models.npz means.
STATES = ("adapted model", "no samples: intermediate model", "one class only: intermediate model",
          "forecast: intermediate model in all blocks", "adapted in part: no samples, or one class, for some members")
_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_QGIS = {"version": "3.22", "styleCategories": "Symbology"}  # the oldest QGIS that has opened these styles


def of_palette(classes: list[tuple[int, str, str]]) -> str:
    """The style of a raster of classes: value, colour and label of each class."""
    root, renderer = _raster({"type": "paletted"})
    entries = ElementTree.SubElement(renderer, "colorPalette")
    for value, colour, label in classes:
        ElementTree.SubElement(entries, "paletteEntry", value=str(value), color=colour, alpha="255", label=label)
    return _style_text(root)


def of_ramp(stops: list[tuple[float, str, str]], smooth: bool) -> str:
    """The style of a raster of numbers: value, colour and label of each stop, values rising.

    smooth  True: colours run from stop to stop. False: a colour holds up to the value of its stop; the last may be inf
    """
    finite = [value for value, _, _ in stops if np.isfinite(value)]
    low, high = f"{finite[0] if smooth else 0.0:.9g}", f"{finite[-1]:.9g}"
    root, renderer = _raster({"type": "singlebandpseudocolor", "classificationMin": low, "classificationMax": high})
    shader = ElementTree.SubElement(
        ElementTree.SubElement(renderer, "rastershader"), "colorrampshader", clip="0", classificationMode="1",
        colorRampType="INTERPOLATED" if smooth else "DISCRETE", minimumValue=low, maximumValue=high)
    for value, colour, label in stops:
        ElementTree.SubElement(shader, "item", value=f"{value:.9g}", color=colour, alpha="255", label=label)
    return _style_text(root)


def of_categories(kind: str, field: str, categories: list[tuple[int, str, tuple[str, dict]]]) -> str:
    """The style of a vector layer by the values of a field.

    kind        "fill" or "marker"
    categories  value, label and symbol of each; a symbol is QGIS's class of symbol layer ("SimpleFill") with its
                properties
    """
    root = ElementTree.Element("qgis", _QGIS)
    renderer = ElementTree.SubElement(root, "renderer-v2", type="categorizedSymbol", attr=field, symbollevels="0",
                                      forceraster="0", enableorderby="0")
    listed, symbols = (ElementTree.SubElement(renderer, tag) for tag in ("categories", "symbols"))
    for i, (value, label, (layer, properties)) in enumerate(categories):
        ElementTree.SubElement(listed, "category", value=str(value), label=label, symbol=str(i), render="true",
                               type="long")
        symbol = ElementTree.SubElement(symbols, "symbol", type=kind, name=str(i), alpha="1", clip_to_extent="1",
                                        force_rhr="0")
        drawn = ElementTree.SubElement(symbol, "layer", {"class": layer, "enabled": "1", "locked": "0", "pass": "0"})
        options = ElementTree.SubElement(drawn, "Option", type="Map")
        for name, text in properties.items():
            ElementTree.SubElement(options, "Option", type="QString", name=name, value=text)
            ElementTree.SubElement(drawn, "prop", k=name, v=text)  # QGIS before 3.20 reads this form
    return _style_text(root)


def _raster(attributes: dict[str, str]) -> tuple[ElementTree.Element, ElementTree.Element]:
    root = ElementTree.Element("qgis", _QGIS)
    renderer = ElementTree.SubElement(ElementTree.SubElement(root, "pipe"), "rasterrenderer", attributes,
                                      band="1", opacity="1", alphaBand="-1", nodataColor="")
    return root, renderer


def _style_text(root: ElementTree.Element) -> str:
    ElementTree.indent(root, " ")
    return _DOCTYPE + ElementTree.tostring(root, encoding="unicode") + "\n"


def write_style(raster: Path, style: str) -> None:
    """Writes a style beside its raster, under the same name, where QGIS looks for it."""
    with whole(raster.with_suffix(".qml")) as temporary:
        temporary.write_text(style, encoding="utf-8")


# the products of export_gis.py -----------------------------------------------------------------------------------

def probability_style(colours: tuple[str, ...]) -> str:
    """The colours of the classes, running from 0 to 1."""
    at = np.linspace(0, 1, len(colours))
    return of_ramp([(v, colour, f"{v:g}") for v, colour in zip(at, colours, strict=True)], smooth=True)


def class_style(names: tuple[str, ...], colours: tuple[str, ...], breaks: list[float]) -> str:
    """The classes, each with its range of probabilities."""
    edges = [0.0, *breaks, 1.0]
    return of_palette([(i + 1, colours[i], f"{name} ({edges[i]:.3g} to {edges[i + 1]:.3g})")
                       for i, name in enumerate(names)])


def steps_of_uncertainty(limits: tuple[float, ...], colours: tuple[str, ...]) -> list[tuple[float, str, str]]:
    """Upper limit, colour and label of each step of the standard deviation; there is one colour more than limits."""
    lows = (0, *limits)
    labels = [f"{low:g} to {high:g}" for low, high in zip(lows, limits, strict=False)] + [f"above {lows[-1]:g}"]
    return list(zip((*limits, np.inf), colours, labels, strict=True))


def steps_of_applicability(threshold: float, inside: tuple[str, ...],
                           outside: tuple[str, ...]) -> list[tuple[float, str, str]]:
    """Upper limit, colour and label of each step: three inside the area of applicability, two outside."""
    limits = (threshold / 4, threshold / 2, threshold, 2 * threshold, np.inf)
    labels = [f"inside, up to {v:.2g}" for v in limits[:3]] + [f"outside, up to {limits[3]:.2g}", "outside, above"]
    return list(zip(limits, (*inside, *outside), labels, strict=True))


def block_style() -> str:
    """Blocks as outlines, hatched where they alone keep the intermediate model, dotted where some members keep it."""
    outline = {"outline_color": "50,50,50,255", "outline_width": "0.2", "outline_style": "solid"}
    fills = [("0,0,0,255", "no"), ("213,94,0,255", "b_diagonal"), ("0,114,178,255", "f_diagonal"), ("0,0,0,255", "no"),
             ("0,114,178,255", "dense7")]
    return of_categories("fill", "state", [
        (i, STATES[i], ("SimpleFill", outline | {"color": colour, "style": style}))
        for i, (colour, style) in enumerate(fills)])


def sample_style() -> str:
    """Samples by label, in the colours of SAMPLES."""
    slid, stable = (",".join(map(str, bytes.fromhex(colour[1:]))) + ",255" for colour in SAMPLES.values())
    circle = {"name": "circle", "color": stable, "outline_color": "90,90,90,255", "size": "1.1"}
    triangle = {"name": "triangle", "color": slid, "outline_color": "255,255,255,255", "size": "1.7"}
    return of_categories("marker", "label", [
        (1, "landslide", ("SimpleMarker", triangle | {"outline_width": "0.1"})),
        (0, "non-landslide", ("SimpleMarker", circle | {"outline_width": "0.1"}))])
