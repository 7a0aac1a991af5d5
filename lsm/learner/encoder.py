"""From factor values to network inputs: fitted once, on the samples' factors alone, and used everywhere.

Two forms. "published": every factor divided by its maximum. "recommended": continuous factors standardised;
distances as log(1 + d), standardised; aspect as sine and cosine with a flag for flat ground; categories one-hot
with a bucket for codes never seen; a factor whose zero means "not measured" standardised over its measured values,
zero where it was not, with a flag.
"""

import json
from dataclasses import dataclass

import numpy as np

from lsm.inputs.factor.definition import Factor, described, factor_from

TINY = 1e-9  # m, where all samples share an X or a Y
NOT_MEASURED = " not measured"  # ends the name of a flag
CLIP = 6.0  # standard deviations: one absurd cell of a grid must not leave the range the network has seen


@dataclass(frozen=True)
class Encoder:
    """form, factors, and of each factor its parameters: {"max"}, {"mean", "sd"} or {"codes"}.

    place  mean and standard deviation of the samples' X and Y, (mean X, mean Y, sd X, sd Y), m; () where unknown
    """

    form: str
    factors: tuple[Factor, ...]
    parameters: tuple[dict, ...]
    place: tuple[float, ...] = ()

    @classmethod
    def fit(cls, values: np.ndarray, factors: tuple[Factor, ...], form: str, xy: np.ndarray | None = None) -> "Encoder":
        """Fits to values (samples, factors) and places xy (samples, 2); form is "published" or "recommended"."""
        columns = values.astype(np.float64).T
        fitters = {"published": _fit_published, "recommended": _fit_recommended}
        fitted = (fitters[form](v, factor) for v, factor in zip(columns, factors, strict=True))
        place = () if xy is None else (*xy.mean(axis=0).tolist(), *(xy.std(axis=0) + TINY).tolist())
        return cls(form, tuple(factors), tuple(fitted), place)

    @property
    def columns(self) -> list[tuple[int, str]]:
        """Of every network input, in order: the index of its factor, and its name."""
        out = []
        for j, (factor, p) in enumerate(zip(self.factors, self.parameters, strict=True)):
            if self.form == "published":
                names = [factor.name]
            elif factor.kind == "categorical":
                names = [f"{factor.name} = {code:g}" for code in p["codes"]] + [f"{factor.name} unseen"]
            elif factor.kind == "circular":
                names = [f"sin {factor.name}", f"cos {factor.name}", f"{factor.name} flat"]
            elif factor.kind == "distance":
                names = [f"log {factor.name}"]
            else:
                names = [factor.name] + [f"{factor.name}{NOT_MEASURED}"] * factor.zero_is_missing
            out += [(j, name) for name in names]
        return out

    def transform(self, values: np.ndarray, xy: np.ndarray | None = None) -> np.ndarray:
        """Network inputs (samples, inputs) float32 of factor values (samples, factors).

        xy  (samples, 2) m; with it two more columns follow, X and Y standardised, for the networks that know the place
        """
        inputs = len(self.columns)
        out = np.empty((len(values), inputs + 2 * (xy is not None)), np.float32)
        if xy is not None:
            out[:, inputs:] = np.clip((xy - self.place[:2]) / self.place[2:], -CLIP, CLIP)
        end = 0
        for j, (factor, p) in enumerate(zip(self.factors, self.parameters, strict=True)):
            v = values[:, j].astype(np.float32)
            if self.form == "published":
                columns = [v / np.float32(p["max"])]
            elif factor.kind == "categorical":
                columns = [v == code for code in p["codes"]] + [~np.isin(v, p["codes"])]
            elif factor.kind == "circular":
                flat, angle = v < 0, np.deg2rad(v)
                columns = [np.where(flat, 0, np.sin(angle)), np.where(flat, 0, np.cos(angle)), flat]
            else:
                z = np.log1p(v) if factor.kind == "distance" else v
                z = np.clip((z - np.float32(p["mean"])) / np.float32(p["sd"]), -CLIP, CLIP)
                columns = [np.where(v == 0, 0, z), v == 0] if factor.zero_is_missing else [z]
            for column in columns:
                out[:, end] = column
                end += 1
        return out

    def unseen(self, values: np.ndarray) -> dict[str, int]:
        """How many of `values` (samples, factors) hold a category code the encoder was not fitted on, by factor."""
        counts = {}
        for j, (factor, p) in enumerate(zip(self.factors, self.parameters, strict=True)):
            if factor.kind == "categorical":
                counts[factor.name] = int((~np.isin(values[:, j], p["codes"])).sum())
        return {name: n for name, n in counts.items() if n}

    def to_json(self) -> str:
        """The encoder as text that `from_json` reads back exactly; equal encoders give equal text."""
        return json.dumps({"form": self.form, "factors": [described(f) for f in self.factors],
                           "parameters": self.parameters, "place": self.place})

    @classmethod
    def from_json(cls, text: str) -> "Encoder":
        """The encoder that `to_json` wrote."""
        data = json.loads(text)
        factors = tuple(map(factor_from, data["factors"]))
        return cls(data["form"], factors, tuple(data["parameters"]), tuple(data["place"]))


def _fit_published(v: np.ndarray, factor: Factor) -> dict:
    # A factor that is negative throughout has no useful maximum; its largest magnitude keeps the sign.
    largest = v.max() if v.max() > 0 else np.abs(v).max()
    codes = {"codes": [float(code) for code in np.unique(v)]} if factor.kind == "categorical" else {}
    return {"max": float(largest) or 1.0} | codes


def _fit_recommended(v: np.ndarray, factor: Factor) -> dict:
    if factor.kind == "categorical":
        return {"codes": [float(code) for code in np.unique(v)]}
    if factor.kind == "circular":
        return {}
    if factor.kind == "distance":
        v = np.log1p(v)
    if factor.zero_is_missing:
        v = v[v != 0] if (v != 0).any() else np.zeros(1)
    return {"mean": float(v.mean()), "sd": float(v.std()) or 1.0}
