"""What a band of a raster says of its values (nodata, mask, scale, offset), and values that no ground has."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from osgeo import gdal

from lsm.run.settings import InputError, counted

NODATA = -9999.0  # of every raster of numbers that the stages write
UNREADABLE = (RuntimeError, UnicodeDecodeError)  # of a file; the latter where GDAL's message quotes damaged text
HEIGHTS = (-500, 9000)  # m: the Dead Sea's shore and the Himalayas lie between them
# Numbers that mark gaps in the files of many programs; a file should declare them as nodata.
MARKS = (-2147483648, -999999, -99999, -88888, -32768, -32767, -28672, -9999, -8888, -7777, -3000, -999, -99,
         9999, 32767, 65535, 99999, 999999, 2147483647)
SURE = tuple(mark for mark in MARKS if mark <= -9999)  # no factor has such a value
ENDLESS = 1e20  # numbers of this size mark gaps too: -3.4e38, 1e30
LOOKED_AT = 1 << 22  # values of a band at once, and of its sample
TIMES = 5       # see `gaps_of`
OFTEN = 10      # see `gaps_of` and `heaped`
HEAP = 0.01     # see `heaped`
APART = 0.002   # see `fillers`


def known(values: np.ndarray, nodata: float | None = NODATA) -> np.ndarray:
    """Where values are finite and not nodata. A band without nodata has None; a nodata that the type of the values
    cannot hold, like nan among whole numbers, marks nothing."""
    finite = np.isfinite(values)
    if nodata is None or np.isnan(nodata):
        return finite
    if values.dtype.kind in "iu":
        held = np.iinfo(values.dtype)
        if nodata != np.floor(nodata) or not held.min <= nodata <= held.max:
            return finite
    with np.errstate(over="ignore"):
        return finite & (values != values.dtype.type(nodata))


@dataclass(frozen=True)
class Band:
    """A band of an open raster, and what it says of its values: value = scale * number + offset."""

    dataset: gdal.Dataset
    number: int
    scale: float
    offset: float
    nodata: float | None
    mask: gdal.Band | None  # 0 where there is no value: the raster's mask or alpha band
    said: float | None = None  # a number that marks gaps too, by a person's word

    @classmethod
    def of(cls, dataset: gdal.Dataset, number: int = 1) -> "Band":
        """A band by its number, from 1."""
        band = dataset.GetRasterBand(number)
        flags, mask = band.GetMaskFlags(), None
        if flags & gdal.GMF_ALL_VALID or flags == gdal.GMF_NODATA:
            alpha = alpha_of(dataset)
            mask = dataset.GetRasterBand(alpha) if alpha and alpha != number else None
        else:
            mask = band.GetMaskBand()
        return cls(dataset, number, band.GetScale() or 1.0, band.GetOffset() or 0.0, band.GetNoDataValue(), mask)

    @property
    def band(self) -> gdal.Band:
        """GDAL's band."""
        return self.dataset.GetRasterBand(self.number)

    @property
    def is_plain(self) -> bool:
        """Whether its numbers are its values."""
        return (self.scale, self.offset) == (1, 0)

    @property
    def marks_gaps(self) -> bool:
        """Whether a number or a mask says where there is no value."""
        return not (self.nodata is self.said is self.mask is None)

    def read(self, col: int, row: int, cols: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of a window as stored, and where they hold a value, (rows, cols) both. Raises RuntimeError."""
        numbers = self.band.ReadAsArray(col, row, cols, rows)
        good = known(numbers, self.nodata) & known(numbers, self.said)
        return numbers, good if self.mask is None else good & (self.mask.ReadAsArray(col, row, cols, rows) != 0)

    @cached_property
    def gaps(self) -> tuple[float, ...]:
        """The values that mark gaps although the file does not declare them, as `gaps_among` finds them in the whole
        band. Raises RuntimeError."""
        cols, rows = self.dataset.RasterXSize, self.dataset.RasterYSize
        tall = max(1, LOOKED_AT // cols)
        windows = (self.read(0, row, cols, min(tall, rows - row)) for row in range(0, rows, tall))
        return gaps_among((self.values(numbers[good]) for numbers, good in windows), max(1, rows * cols // LOOKED_AT))

    def values(self, numbers: np.ndarray) -> np.ndarray:
        """The values that stored numbers stand for."""
        return numbers if self.is_plain else numbers * np.float64(self.scale) + self.offset


def gaps_of(values: np.ndarray, where: str, vary: bool = False, what: str = "point",
            remedy: str = "remove these points") -> tuple[np.ndarray, list[str]]:
    """(values,) bool: which values mark gaps, among the values that the file does not declare as gaps; and a line on
    each such number, and on a number that may mark gaps and is kept. where  the start of a line; what  has the values;
    remedy  what to do about gaps, with <number> for the number

    A number marks gaps if `marks_gap` finds it, or if it is one of MARKS and more than TIMES as large as 99 % of the
    others. Of values that `vary` from place to place, also a whole number or one of nines (999.9), of 100 and more,
    that is TIMES as large as all others and occurs OFTEN times as often as any of them: measured values are never so
    often the same. If 0, the smallest or the largest number occurs so often, a line says so.
    """
    marked, sizes, notes = np.isin(values, MARKS), np.abs(values), []
    others = ~marked & np.isfinite(values)
    if not others.any():
        return marked, notes
    out, kept = marks_gap(values) | (marked & (sizes > TIMES * np.quantile(sizes[others], 0.99))), []
    for end in dict.fromkeys((values[others].min(), values[others].max(), 0.0)) if vary else ():
        alike = others & (values == end)
        rest = values[others & ~alike]
        if alike.sum() < 2 or not len(rest):
            continue
        mark = (end == np.round(end) or set(f"{abs(end):g}") == {"9", "."}) and (
            abs(end) > max(99, TIMES * np.abs(rest).max()))
        often = alike.sum() >= OFTEN * np.unique(rest, return_counts=True)[1].max()
        if mark and often:
            out |= alike
        elif mark or often:
            odd = "far from all other values" if mark else "far more frequent than any other value"
            kept.append(f"{where}: {end:g} at {counted(int(alike.sum()), what)} is {odd} and is kept; if it marks "
                        "gaps, " + remedy.replace("<number>", digits(float(end))))
    numbers, counts = np.unique(values[out], return_counts=True)
    return out, [*(f"{where}: {number:g} at {counted(n, what)} is taken for a gap that the file does not declare"
                   for number, n in zip(numbers, counts.tolist(), strict=True)), *kept]


def marks_gap(values: np.ndarray, of_all: Callable[[], tuple[float, ...]] | None = None) -> np.ndarray:
    """(values,) bool: which values mark gaps, as `gaps_among` finds them; of_all  () -> what it finds among all values,
    where these are a part: it is asked only where a value may mark a gap."""
    marked = np.isin(values, MARKS)
    if np.isin(values[marked], SURE).all():
        return marked
    return np.isin(values, of_all() if of_all else gaps_among([values]))


def gaps_among(parts: Iterable[np.ndarray], step: int = 1) -> tuple[float, ...]:
    """The numbers that mark gaps among the values of all parts (values,): numbers of SURE, and numbers of MARKS far
    from all others: below 0 where these are not, or as far off as the range of these is wide (98 % of every `step`-th).
    -99 counts in the first case alone, and only if it occurs twice or more. All of MARKS, where there are no others."""
    counts, low, high, sample = Counter(), np.inf, -np.inf, []
    for values in parts:
        marked = np.isin(values, MARKS)
        counts.update(values[marked].tolist())
        others = values[~marked & np.isfinite(values)]
        if len(others):
            low, high = min(low, others.min()), max(high, others.max())
            sample.append(others[::step])
    if not counts or not sample:
        return tuple(counts)
    width, least = np.subtract(*np.quantile(np.concatenate(sample), (0.99, 0.01))), -999 if counts[-99] == 1 else -1
    return tuple(v for v in counts if v in SURE or (v <= least and (low >= 0 or (v <= -999 and low - v >= width)))
                 or v - high >= width > 0)


def heaped(values: np.ndarray) -> bool:
    """Whether 0 stands in a share of HEAP of values (values,) and OFTEN times as often as the 100 numbers around it
    (median): as marks of gaps do, in whole numbers too."""
    others, counts = np.unique(values[(values != 0) & np.isfinite(values)], return_counts=True)
    zeros = int((values == 0).sum())
    around = counts[np.argsort(np.abs(others), kind="stable")[:100]]
    return len(others) > 1 and zeros >= max(OFTEN, HEAP * len(values)) and zeros > OFTEN * np.median(around)


def fillers(values: np.ndarray, full: float = np.nan, shore: float = 0.0) -> list[tuple[float, float, str]]:
    """The numbers that stand in a share of APART of values (values,) and may mark gaps: each with its share, and why.

    Such a number is the least or the largest and lies apart from all others, as far as these (98 % of them) are wide;
    or it occurs OFTEN times as often as others do and is `full`, the largest number that a file can hold, or is alone
    below 0, or, anywhere, is a number of nines: 99, 99.99, 999. shore  how far 0 must lie apart; 0: it never counts
    """
    numbers, counts = np.unique(values, return_counts=True)
    many = counts >= APART * len(values)
    nines = [v for v in numbers[many & (np.abs(numbers) >= 99)].tolist() if set(digits(abs(v))) <= {"9", "."}]
    found = []
    for number in dict.fromkeys((*numbers[[0, -1]].tolist(), *nines)) if len(numbers) > 2 else ():
        others, count = numbers != number, counts[numbers == number][0]
        if count < APART * len(values) or not (number or shore):
            continue
        width = np.subtract(*np.quantile(values[values != number], (0.99, 0.01))) if number else shore
        end = number in (numbers[0], numbers[-1])
        apart = end and np.abs(numbers[others] - number).min() >= width
        of = ("is the largest that the file can hold" if number == full else
              "alone is below 0" if number < 0 <= numbers[others].min() else
              "occurs far more often than others" if number in nines else "")
        if apart or (of and count > OFTEN * np.median(counts[others])):
            found.append((number, count / len(values), "lies apart from all other values" if apart else of))
    return found


def digits(number: float) -> str:
    """A number with the digits that tell it from others: 99.99, also where float32 stores 99.9899979."""
    if not abs(number) < 1e15:
        return f"{number:.9g}"
    short = np.float32(number)
    return np.format_float_positional(short if float(short) == number else np.float64(number), trim="-")


def bulk(values: np.ndarray) -> float:
    """The median size of the numbers other than 0 among values (values,); 0 where there are none. A number that stands
    n times counts sqrt(n) times: neither a mark of gaps in many cells nor many odd numbers in few cells move it."""
    sizes, counts = np.unique(np.abs(values[np.isfinite(values) & (values != 0)]), return_counts=True)
    heaps = np.cumsum(np.sqrt(counts))
    return float(sizes[np.searchsorted(heaps, heaps[-1] / 2)]) if len(sizes) else 0.0


def ndvi_scale(values: np.ndarray) -> float:
    """What turns NDVI (values,) into NDVI x 10,000, by the bulk of the values: 10,000 or 1."""
    return 10_000.0 if bulk(values) <= 1.5 else 1.0


def in_radians(directions: np.ndarray) -> bool:
    """Whether directions (values,), -1 for flat, are radians by the bulk of them: few degrees are so small."""
    some = directions[directions >= 0]
    return len(some) > 0 and 0 < float(np.quantile(some, 0.95)) <= 2 * np.pi


def alpha_of(dataset: gdal.Dataset) -> int:
    """The number of a raster's alpha band, 0 for none."""
    bands = range(2, dataset.RasterCount + 1)
    return next((b for b in bands if dataset.GetRasterBand(b).GetColorInterpretation() == gdal.GCI_AlphaBand), 0)


def refuse_damaged(dataset: gdal.Dataset, where: str) -> None:
    """Raises InputError for a raster whose header GDAL cannot read to its end, or that lies nowhere; where  the start
    of the message. GDAL reads the parts of a header when they are first asked for."""
    try:
        dataset.GetSpatialRef()
        place = dataset.GetGeoTransform()
        for number in range(1, dataset.RasterCount + 1):
            band = dataset.GetRasterBand(number)
            band.GetMaskFlags()
            band.GetColorInterpretation()
    except RuntimeError as error:
        raise InputError(f"{where}: expected a whole raster, found a damaged header ({' '.join(str(error).split())}); "
                         "copy or export it again") from None
    if not np.isfinite(place).all() or place[1] * place[5] == place[2] * place[4]:
        raise InputError(f"{where}: geotransform: expected cells of some width and height, found {place}; georeference "
                         "it again (python -m osgeo_utils.gdal_edit -a_ullr <west> <north> <east> <south> <file>)")


def limits_of(name: str, kind: str) -> tuple[float, float, str]:
    """The least and the largest value that a factor can have, and both in words; -1 of directions is flat ground."""
    if kind == "distance":
        return 0, ENDLESS, "distances of 0 m or more"
    if kind == "circular":
        return -1, 360, "0 to 360 degrees, or -1 for flat"
    return {"DEM": (*HEIGHTS, f"heights from {HEIGHTS[0]} to {HEIGHTS[1]} m"),
            "slope": (0, 90, "slopes from 0 to 90 degrees")}.get(name, (-ENDLESS, ENDLESS, "numbers"))


def impossible(values: np.ndarray, name: str, kind: str, of_all: Callable | None = None) -> np.ndarray:
    """Which values a factor cannot have: beyond its limits, no class code, no direction, or the mark of a gap; of_all
    as `marks_gap` takes it."""
    lowest, highest, _ = limits_of(name, kind)
    bad = (values < lowest) | (values > highest) | (np.abs(values) >= ENDLESS)
    bad |= np.isin(values, SURE) if kind == "categorical" else marks_gap(values, of_all)
    if kind == "circular":
        bad |= (values < 0) & (values != -1)
    elif kind == "categorical":
        bad |= values != np.round(values)
    return bad


def refuse_impossible(values: np.ndarray, name: str, kind: str, where: str, declare: str,
                      of_all: Callable | None = None, turn: str = "") -> None:
    """Raises InputError for values (values,) that a factor cannot have: a gap that is not declared, another unit.

    name, kind  of the factor, as study_area.py has them; where  the start of the message
    declare  how a person says which number marks gaps, with <number> for it; of_all  as `marks_gap` takes it
    turn  what else to do about numbers of up to two turns, for directions; "": write the raster again
    """
    bad = impossible(values, name, kind, of_all)
    if bad.any():
        wild = float(values[bad][0])
        gap = f"if it marks gaps, declare it ({declare.replace('<number>', digits(wild))}), else "
        gap *= wild in MARKS or abs(wild) >= ENDLESS or bool((values[bad] == wild).all())
        raise InputError(f"{where}: expected {limits_of(name, kind)[2]}, found {wild:.9g} in "
                         f"{counted(int(bad.sum()), 'cell')}; {gap}"
                         + (turn if turn and abs(wild) <= 720 else "write the raster again"))
