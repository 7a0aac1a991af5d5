"""The file that START_FROM of meta_learner.py names: looked up before any stage runs, so without TensorFlow."""

from pathlib import Path

from lsm.run.artifacts import record_of, state_of
from lsm.run.paths import START_MODEL, Paths, root, shown
from lsm.run.settings import InputError, nearest_name

PROJECT_MODEL = "project"  # of START_FROM: the model that comes with the project


def source_path(start_from: str, region: str) -> Path | None:
    """The file that START_FROM names for a region; None for "". Raises InputError where there is none, and for a model
    that learned from this region's samples."""
    path = _source_named(start_from, region)
    if path and (own := own_inputs(path, region)):
        raise InputError(f"START_FROM={start_from}: expected a model of other areas, found one made from {own}, a "
                         "file of this region or a copy of one: it may have learned from the samples that are scored; "
                         "START_FROM= starts from nothing")
    return path


def own_inputs(path: Path, region: str) -> str:
    """A file of a region's samples that the model at `path` was made from, a model that it started from included: one
    of the region's names, or of its contents under another name. "" where records tell of none."""
    own = [getattr(Paths(region), name) for name in ("model", "tasks", "samples", "samples_without_insar")]
    contents, todo, looked_at = {state_of(file) for file in own} - {None}, [path], set()
    while todo:
        file = todo.pop()
        if file in looked_at:
            continue
        looked_at.add(file)
        for name, digest in record_of(file).get("inputs", {}).items():
            if root() / name in own or digest in contents:
                return shown(root() / name)
            if record_of(root() / name).get("sha256") == digest:  # of another run, its record says nothing of this
                todo.append(root() / name)
    return ""


def _source_named(start_from: str, region: str) -> Path | None:
    if not start_from:
        return None
    if start_from == region:
        raise InputError(f"START_FROM={start_from}: expected another region, found this one, whose model may have "
                         f"learned from the samples that are scored; START_FROM={PROJECT_MODEL}, or START_FROM=")
    if start_from == PROJECT_MODEL:
        if not START_MODEL.is_file():
            raise InputError(f"{shown(START_MODEL)}: missing; put it back from the project, or run make start_model")
        return START_MODEL
    if start_from.endswith(".npz"):
        path = root() / start_from
        if not path.is_file():
            raise InputError(f"START_FROM={start_from}: expected a model of meta_learner.py, found no such file; name "
                             f"another, a region, or {PROJECT_MODEL}")
        return path
    path = Paths(start_from).model
    if not path.is_file():
        known = [*sorted(p.name.removesuffix("_model.npz") for p in path.parent.glob("*_model.npz")), PROJECT_MODEL]
        near = nearest_name(start_from, known)
        raise InputError(f"START_FROM={start_from}: expected a region with a model, {shown(path)}, found none; "
                         + f"did you mean START_FROM={near}? If not, " * bool(near)
                         + f"run meta_learner.py REGION={start_from}, or name {', '.join(known[-6:])}")
    return path
