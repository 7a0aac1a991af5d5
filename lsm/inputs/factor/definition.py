"""A factor, and the file that holds an area's own list of factors (factors.json): one writer, one reader."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lsm.inputs.tables.text_tables import plain
from lsm.run.paths import shown
from lsm.run.settings import InputError

IN_NO_SAMPLE = "in no sample"  # the class of words that no sample has
KINDS = ("continuous", "distance", "circular", "categorical")


@dataclass(frozen=True)
class Factor:
    """A landslide-inducing factor.

    kind             continuous; distance (m, from 0 up); circular (degrees clockwise from north, -1 = flat);
                     categorical (whole-number codes)
    zero_is_missing  a stored zero means "not measured" (InSAR velocity where there is no InSAR point)
    words            of a categorical factor that the tables write in words, its classes: the code of a class is its
                     place here, from 1 up; 0 is the code of every other word
    """

    name: str
    kind: str
    unit: str
    aliases: tuple[str, ...] = ()
    zero_is_missing: bool = False
    words: tuple[str, ...] = ()

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"factor {self.name}: kind {self.kind!r} is none of {KINDS}")


def described(factor: Factor) -> dict:
    """A factor as JSON holds it; `factor_from` reads it back."""
    return {name: value for name, value in asdict(factor).items() if name != "words" or value}


def factor_from(described: dict) -> Factor:
    """The factor that `described` wrote. Raises ValueError or TypeError for what is none."""
    return Factor(**{**described, "aliases": (*described.get("aliases", []),), "words": (*described.get("words", []),)})


def write_factors(path: Path, factors: tuple[Factor, ...], classes: dict[str, dict[str, int]]) -> None:
    """Writes a region's own list of factors to `path`, in the order of its tables.

    classes  the meaning of a categorical factor's codes: {"lithology": {"granite": 1, "tuff": 2}}
    """
    text = json.dumps({"factors": [described(f) for f in factors], "classes": classes}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_factors(path: Path) -> tuple[tuple[Factor, ...], dict[str, dict[str, int]]]:
    """The factors and classes that `write_factors` wrote. Raises InputError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        factors = tuple(map(factor_from, data["factors"]))
        classes = {name: dict(codes) for name, codes in data.get("classes", {}).items()}
        wrong = [f for f, given in zip(factors, data["factors"], strict=True) if not (
            all(isinstance(text, str) and text.strip() for text in (f.name, f.unit, *f.aliases))
            and isinstance(given.get("aliases", []), list) and isinstance(f.zero_is_missing, bool))]
        wrong += [code for codes in classes.values() for code in codes.values() if type(code) is not int]
        if wrong:
            raise ValueError(str(wrong[0]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{shown(path)}: expected a list of factors (name, kind, unit), found {error!r}; run "
                         "prepare_region.py again") from None
    if not factors or len({plain(f.name) for f in factors}) < len(factors):
        raise InputError(f"{shown(path)}: expected factors of different names, found {[f.name for f in factors]}; run "
                         "prepare_region.py again")
    return factors, classes


def words_of_classes(path: Path, factors: tuple[Factor, ...]) -> dict[str, dict[int, str]]:
    """The word of every named class, by factor and code: from the region's list of factors at `path`, if there is one,
    and from the words of its tables."""
    classes = read_factors(path)[1] if path.is_file() else {}
    return {name: {code: word for word, code in codes.items()} for name, codes in classes.items()} | {
        f.name: dict(enumerate((IN_NO_SAMPLE, *f.words))) for f in factors if f.words}
