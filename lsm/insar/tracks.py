"""InSAR points of several files, such as an ascending and a descending track: each keeps its own geometry."""

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from scipy.stats import circmean

from lsm.inputs.rasters import Grid
from lsm.insar.insar_files import WHAT
from lsm.insar.velocities import ASIDE, InsarPoints, read_insar
from lsm.region.region_files import ASCENDING, DESCENDING, words_of_name
from lsm.run.paths import shown
from lsm.run.settings import InputError, counted
from lsm.sources.files import ANGLES, File, path_of

TRACKS = ("descending", "ascending")
UNKNOWN = {"coherence": 1.0, "error": 0.0}  # what stands for a quality that a file does not give: its points pass
UNLIKE = 5  # times: velocities of two tracks of one area differ less in size (medians), unless their units do
_BEHIND = "|heading=<degrees>|incidence=<degrees>"
_RANGES = {"heading": (-360, 360, "degrees clockwise from north, about -13 and 193"),
           "incidence": (*ASIDE, f"degrees off the vertical, {ASIDE[0]} to {ASIDE[1]}")}


class TrackConstants(Protocol):
    """The constants of InSAR files, as prepare_region.py explains them."""

    POINTS_EPSG: int
    INSAR_UNIT: str
    INSAR_POSITIVE: str
    INSAR_FORM: str


def read_tracks(names: list[str], grid: Grid, c: TrackConstants, geometry: tuple
                ) -> tuple[list[InsarPoints], list[str]]:
    """The points of each file, and notes.

    names     files as `read_insar` takes them; |heading= and |incidence= say the angles of all points of a file
    geometry  GEOMETRY of augment_inventory.py
    Either all files have heading and incidence or none. Raises InputError.
    """
    tracks, notes = [], []
    for name in names:
        points, more = read_insar(name, grid, c.POINTS_EPSG, c.INSAR_UNIT, c.INSAR_POSITIVE)
        tracks.append(_with_angles(points, File.of(name, WHAT)))
        notes += more
    files = [shown(path_of(name)) for name in names]
    for file, points in zip(files, tracks, strict=True):
        named = [bool(track & words_of_name(Path(file))) for track in (DESCENDING, ASCENDING)]
        if points.heading is not None and sum(named) == 1 and _ascending(points) == named[0]:
            notes.append(f"{file}: {WHAT}: named {TRACKS[named[1]]}, but its heading, "
                         f"{typical_heading(points.heading):.4g} degrees, is {TRACKS[named[0]]}; which is right?")
    if geometry and len(tracks) == 1:  # it stands for what the file lacks
        return tracks, notes
    lacking = [[angle for angle in ANGLES if getattr(points, angle) is None] for points in tracks]
    for file, angles in zip(files, lacking, strict=True):
        if len(angles) == 1:
            raise InputError(f"{file}: header: expected columns heading and incidence (degrees) or neither, found no "
                             f"{angles[0]}; add it, or say it behind the name: {file}|{angles[0]}=<degrees>")
    without = [file for file, angles in zip(files, lacking, strict=True) if angles]
    if len(tracks) > 1 and without:
        reason = "as other files have them" if len(without) < len(tracks) else (
            f"since GEOMETRY={geometry} is of one track" if geometry else
            "for INSAR_FORM=insar, whose one table must tell tracks apart" if c.INSAR_FORM == "insar" else "")
        if reason:
            listed = ", ".join([without[0], *(Path(file).name for file in without[1:])])
            raise InputError(f"{listed}: {WHAT}: expected heading and incidence, {reason}; found neither; add columns, "
                             f"or say them behind {'each' if len(without) > 1 else 'its'} name: <file>{_BEHIND}")
        notes.append(f"{WHAT}: the files name no heading and incidence; to judge motion along the slope say them: "
                     f'INSAR="{",".join(f"{file}{_BEHIND}" for file in without)}"')
    for quality in UNKNOWN:
        none = [file for file, points in zip(files, tracks, strict=True) if getattr(points, quality) is None]
        if 0 < len(none) < len(tracks):
            instead = "no point is dropped for it" if quality == "coherence" else "velocities on flat ground tell it"
            notes.append(f"{', '.join(none)}: {WHAT}: no {quality}, as other files have: {instead}")
    if len(tracks) > 1:
        notes.append(f"{WHAT}: {len(tracks)} files: " + "; ".join(
            f"{file}, {counted(len(points.xy), 'point')}{_seen(points)}"
            for file, points in zip(files, tracks, strict=True)))
        sizes = {float(np.median(np.abs(points.velocity))): file for file, points in zip(files, tracks, strict=True)}
        if max(sizes) > UNLIKE * min(sizes):
            notes.append(f"{sizes[min(sizes)]}: {WHAT}: velocities of {min(sizes):.2g} mm/yr (median), of "
                         f"{max(sizes):.2g} in {sizes[max(sizes)]}; if the units differ, name each in its file: column "
                         "'velocity (cm/yr)', or the band's unit")
    return tracks, notes


def joined(files: list[InsarPoints]) -> InsarPoints | None:
    """The points of all files in their order, None without a file. UNKNOWN fills a quality that only others have."""
    if len(files) < 2:
        return files[0] if files else None

    def of(name: str) -> np.ndarray | None:
        values = [getattr(points, name) for points in files]
        return None if all(v is None for v in values) else np.concatenate(
            [np.full(len(file.xy), UNKNOWN[name]) if v is None else v for v, file in zip(values, files, strict=True)])

    names = [field.name for field in fields(InsarPoints) if field.name not in ("raster", "file")]
    of_file = np.repeat(np.arange(len(files)), [len(file.xy) for file in files])
    return InsarPoints(**{name: of(name) for name in names}, file=of_file)


def typical_heading(heading: np.ndarray) -> float:
    """The median of headings (points,), degrees clockwise from north, taken around their mean direction: 350 and 10 lie
    side by side, around 0. From -90 to 270, as of about -13 and 193."""
    middle = circmean(heading, high=360)
    typical = middle + np.median((heading - middle + 180) % 360 - 180)
    return round(float((typical + 90) % 360 - 90), 6) + 0.0  # no -0 and no 1e-14


def _with_angles(points: InsarPoints, file: File) -> InsarPoints:
    """The points with the angles that stand behind the file's name. Raises InputError."""
    said = {}
    for angle in ANGLES:
        text, (low, high, expected) = file.options.get(angle), _RANGES[angle]
        if text is None:
            continue
        value = float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text, re.ASCII) else np.nan
        if not low <= value <= high or (angle == "heading" and abs(value) <= 2 * np.pi):  # as radians are
            raise InputError(f"{file.where}: |{angle}={text}: expected {expected}; correct it")
        if getattr(points, angle) is not None:
            raise InputError(f"{file.where}: expected one {angle}, found one of its own and |{angle}={text}; leave "
                             "out the latter")
        said[angle] = np.full(len(points.xy), value)
    return replace(points, **said)


def _ascending(points: InsarPoints) -> float:
    """The share of the points on an ascending track; their heading is known."""
    return float((np.cos(np.radians(points.heading)) > 0).mean())


def _seen(points: InsarPoints) -> str:
    """Words on the geometry of a file's points, "" where it is not known."""
    if points.heading is None:
        return ""
    up, north = _ascending(points), np.cos(np.radians(points.heading)) > 0
    track = TRACKS[bool(up)] if up in (0, 1) else f"{up:.0%} ascending"
    ways = [f"{typical_heading(points.heading[of]):.4g}" for of in (north, ~north) if of.any()]
    return f", {track}, heading {' and '.join(ways)}, incidence {np.median(points.incidence):.3g} degrees"
