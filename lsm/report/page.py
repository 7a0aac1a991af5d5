"""The page: its template with values, styles, scripts and Leaflet inside, so that it opens from a disk."""

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from xstatic.pkg import leaflet

_HERE = Path(__file__).parent


def filled_page(**values) -> str:
    """The report as HTML. values  by the names in page.html; each is escaped."""
    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("page.html").render(
        leaflet_css=library("leaflet.css"), leaflet_js=library("leaflet.js"), leaflet_version=leaflet.VERSION,
        css=own("page.css"), js=own("page.js"), **values)


def own(name: str) -> Markup:
    """The text of a file of this folder."""
    return Markup((_HERE / name).read_text(encoding="utf-8"))


def library(name: str) -> Markup:
    """A file of Leaflet without references to other files (pictures, source maps), which a browser would look for."""
    text = (Path(leaflet.BASE_DIR) / name).read_text(encoding="utf-8")
    text = re.sub(r"url\([^)]*\)", "none", text) if name.endswith(".css") else text
    return Markup(re.sub(r"^//# sourceMappingURL=.*$", "", text, flags=re.MULTILINE))
