"""Opens the files of export_gis.py in QGIS, as a person would, and draws every layer to a picture.

Fails where a layer does not open, has no CRS, or does not use its style (.qml file, or style in the GeoPackage).

Run     QT_QPA_PLATFORM=offscreen python3 tools/check_qgis.py <figs folder> <REGION> <folder for the pictures>
        with a Python that has PyQGIS (Debian: python3-qgis)
"""

import sys
from pathlib import Path

try:
    from qgis.core import (
        Qgis,
        QgsApplication,
        QgsLayerTree,
        QgsLayerTreeModel,
        QgsLegendRenderer,
        QgsLegendSettings,
        QgsMapRendererCustomPainterJob,
        QgsMapSettings,
        QgsRasterLayer,
        QgsRenderContext,
        QgsVectorLayer,
    )
    from qgis.PyQt.QtCore import QSize
    from qgis.PyQt.QtGui import QColor, QImage, QPainter
except ImportError:
    sys.exit("check_qgis: PyQGIS is missing: apt-get install --no-install-recommends qgis python3-qgis, or name a "
             "Python that has it (make check-qgis QGIS_PYTHON=<python>)")

RASTERS = {"probability": "singlebandpseudocolor", "class": "paletted", "leading": "paletted",
           "applicability": "singlebandpseudocolor", "uncertainty": "singlebandpseudocolor"}
OPTIONAL = ("leading", "uncertainty")  # only after feature_permutation.py; only with two members or more
WIDTH, HEIGHT = 1400, 1000  # pixels of a map, without the legend
PER_MM = 4  # pixels; QGIS measures legends in mm


def layers(figs: Path, region: str) -> dict:
    """Every layer by its name, opened with its own style."""
    found = {}
    for product in RASTERS:
        path = figs / f"{region}_{product}.tif"
        if path.is_file() or product not in OPTIONAL:
            found[product] = QgsRasterLayer(str(path), path.stem)
    for name in ("blocks", "samples"):
        found[name] = QgsVectorLayer(f"{figs / f'{region}_blocks.gpkg'}|layername={name}", name, "ogr")
    return found


def legend_of(layer) -> tuple[QgsLayerTree, QgsLayerTreeModel, list[str]]:
    """The layer's legend, and the text of its entries; "ramp" for a continuous entry, which has no text."""
    tree = QgsLayerTree()
    node = tree.addLayer(layer)
    model = QgsLayerTreeModel(tree)
    lines = [(legend.data(0) or "ramp").strip() for legend in model.layerLegendNodes(node)]
    return tree, model, lines


def faults(name: str, layer, lines: list[str]) -> list[str]:
    """What is wrong with a layer, a line each."""
    if not layer.isValid():
        return ["does not open"]
    found = [] if layer.crs().isValid() else ["no CRS"]
    kind = RASTERS.get(name, "categorizedSymbol")
    if layer.renderer().type() != kind:
        found.append(f"style: expected {kind}, found {layer.renderer().type()}")
    if len(lines) < 2:
        found.append(f"legend: expected two entries or more, found {lines}")
    return found


def draw(layer, below, tree, model, path: Path) -> None:
    """Draws the layer, over `below` where there is one, with its legend on the right."""
    legend = QgsLegendRenderer(model, QgsLegendSettings())
    beside = round(PER_MM * legend.minimumSize().width()) + 1
    image = QImage(WIDTH + beside, HEIGHT, QImage.Format_ARGB32)
    image.fill(QColor("white"))
    painter = QPainter(image)
    settings = QgsMapSettings()
    settings.setLayers([layer, below] if below else [layer])
    settings.setDestinationCrs(layer.crs())
    settings.setOutputSize(QSize(WIDTH, HEIGHT))
    settings.setExtent(layer.extent())
    job = QgsMapRendererCustomPainterJob(settings, painter)
    job.start()
    job.waitForFinished()
    painter.fillRect(WIDTH, 0, beside, HEIGHT, QColor("white"))
    painter.translate(WIDTH, 0)
    painter.scale(PER_MM, PER_MM)
    legend.drawLegend(QgsRenderContext.fromQPainter(painter))
    painter.end()
    image.save(str(path))


def main(figs: Path, region: str, out: Path) -> int:
    """Opens and draws all layers. Returns the exit code."""
    application = QgsApplication([], False)
    application.initQgis()
    print(f"QGIS {Qgis.QGIS_VERSION}")
    out.mkdir(parents=True, exist_ok=True)
    opened, bad = layers(figs, region), 0
    for name, layer in opened.items():
        tree, model, lines = legend_of(layer)
        wrong = faults(name, layer, lines)
        bad += bool(wrong)
        if layer.isValid():
            draw(layer, opened["class"] if name == "samples" else None, tree, model, out / f"{name}.png")
            size = f"{layer.width()} x {layer.height()}" if name in RASTERS else f"{layer.featureCount()} features"
            print(f"{name:14}{size:>16}  {layer.crs().authid()}  {layer.renderer().type()}: {'; '.join(lines)}")
        for line in wrong:
            print(f"{name}: {line}", file=sys.stderr)
    print(f"{len(opened) - bad} of {len(opened)} layers open without a fault; pictures in {out}")
    return min(bad, 1)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        print(__doc__)
        sys.exit(not {"-h", "--help"} & set(sys.argv))
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
