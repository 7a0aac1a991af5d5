"""Writes the versions that the tests passed with, and the licences of all packages that come along.

Reads   the packages installed beside this Python: what pyproject.toml names, and what these require in turn
Writes  tools/locked.txt   <name>==<version> a line, which `make setup LOCKED=1` keeps to; without gdal, whose version
                           the system's library gives
        docs/licences.md   the packages by licence, as their own metadata state it
Run     python tools/dependencies.py   in an environment whose tests have passed
"""

import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[1]
NAME, EXTRAS = "meta-lsm", ("test", "benchmark")
LOCKED, LICENCES = PROJECT / "tools" / "locked.txt", PROJECT / "docs" / "licences.md"
# By the names of the licences' own texts or of older classifiers; the others are SPDX expressions already.
SPELT = {"MIT License": "MIT", "BSD License": "BSD", "BSD": "BSD", "Apache Software License": "Apache-2.0",
         "Apache 2.0": "Apache-2.0", "Apache License 2.0": "Apache-2.0", "Apache License, Version 2.0": "Apache-2.0",
         "ISC License (ISCL)": "ISC", "Python Software Foundation License": "PSF-2.0", "PSF": "PSF-2.0",
         "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0", "BSD 3-Clause": "BSD-3-Clause",
         "BSD 3-Clause License": "BSD-3-Clause", "3-Clause BSD License": "BSD-3-Clause",
         "BSD 2-Clause License": "BSD-2-Clause", "The MIT License": "MIT"}
PAGE = """# Licences

Meta-LSM itself is under the MIT licence (LICENSE). None of these packages is part of the repository; `make setup`
installs them, some only for the tests and benchmarks. The page that report.py writes holds a copy of Leaflet
(xstatic-leaflet).

What each package states of itself (`python tools/dependencies.py`):

| licence | packages |
|---|---|
"""


def required() -> dict[str, str]:
    """The version of every package that the project needs, by name, alphabetically."""
    found, todo, seen = {}, [(NAME, EXTRAS)], set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            package = distribution(name)
        except PackageNotFoundError:
            raise SystemExit(f"{name}: not installed; make setup first") from None
        found[name] = package.version
        for text in package.requires or []:
            need = Requirement(text)
            if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in ("", *extras)):
                todo.append((re.sub(r"[-_.]+", "-", need.name).lower(), tuple(sorted(need.extras))))
    del found[NAME]
    return dict(sorted(found.items()))


def licence_of(name: str) -> str:
    """The licence of a package by its metadata, as an SPDX expression where it has one."""
    meta = distribution(name).metadata
    named = {c.rpartition(" :: ")[2] for c in meta.get_all("Classifier", []) if c.startswith("License :: OSI")}
    named = " AND ".join(sorted(SPELT.get(n, n) for n in named))
    text = (meta.get("License") or "").strip().partition("\n")[0]
    stated = meta.get("License-Expression") or (text if re.fullmatch(r"[A-Za-z0-9 .,+-]{2,40}", text) else named)
    return SPELT.get(stated, stated) or "in the package's own words"


def main() -> None:
    """Writes both files."""
    packages = required()
    lines = [f"{name}=={version}" for name, version in packages.items() if name != "gdal"]
    LOCKED.write_text("\n".join([
        "# Versions that all tests passed with, by tools/dependencies.py; make setup LOCKED=1 installs these.",
        f"# Python {platform.python_version()}, {platform.system()} {platform.machine()}; gdal is the version of the "
        f"system's library ({packages['gdal']} here).", *lines, ""]))
    by_licence = {}
    for name in packages:
        by_licence.setdefault(licence_of(name), []).append(name)
    rows = [f"| {licence} | {', '.join(names)} |" for licence, names in sorted(by_licence.items())]
    LICENCES.write_text(PAGE + "\n".join([*rows, ""]))
    print(f"wrote {LOCKED.relative_to(PROJECT)} and {LICENCES.relative_to(PROJECT)}: {len(packages)} packages")


if __name__ == "__main__":
    if sys.argv[1:]:
        print(__doc__)
        sys.exit(not {"-h", "--help"} & set(sys.argv))
    main()
