"""The page: its template filled, with styles, scripts and Leaflet inside, so that it opens from a disk."""

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from xstatic.pkg import leaflet

_HERE = Path(__file__).parent


def fill(**values) -> str:
    """The report as HTML; values are what page.html names, and every one is escaped."""
    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("page.html").render(
        leaflet_css=library("leaflet.css"), leaflet_js=library("leaflet.js"), leaflet_version=leaflet.VERSION,
        css=own("page.css"), js=own("page.js"), **values)


def own(name: str) -> Markup:
    """A file of ours, as it is."""
    return Markup((_HERE / name).read_text(encoding="utf-8"))


def library(name: str) -> Markup:
    """A file of Leaflet without what would have the browser look for its neighbours: pictures and source maps."""
    text = (Path(leaflet.BASE_DIR) / name).read_text(encoding="utf-8")
    text = re.sub(r"url\([^)]*\)", "none", text) if name.endswith(".css") else text
    return Markup(re.sub(r"^//# sourceMappingURL=.*$", "", text, flags=re.MULTILINE))
