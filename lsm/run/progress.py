"""How far a long loop is: a bar on a terminal, a plain line now and then in a log file; notes that are said once."""

import os
import sys
import time
import zlib
from threading import RLock

from tqdm import tqdm

PAUSE = 30  # seconds between two lines in a log file
UNEVEN = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}]"  # bar_format of a loop whose turns differ much: no estimate
SAID = "LSM_SAID"  # in the environment: checksums of the notes said so far


tqdm.set_lock(RLock())  # its own is one of processes too, which a process that is killed leaves behind


class Progress(tqdm):
    """tqdm's bar. Where the output is no terminal, a line every PAUSE seconds; a shorter loop says nothing there.

    The first turn does not count for the rate: it compiles, or starts processes, and takes much longer than the others.
    """

    def __init__(self, *args, **options):
        self.plain, self.said = not sys.stderr.isatty(), time.monotonic()
        self.first = None  # turns done and seconds passed when the rate begins to count
        super().__init__(*args, **options, leave=not self.plain)

    @property
    def format_dict(self) -> dict:
        """tqdm's numbers, with the mean rate since the first turn: 0 where it is the only one so far."""
        now = super().format_dict
        if not self.first:
            return now
        n, took = self.first
        return now | {"rate": (now["n"] - n) / max(now["elapsed"] - took, 1e-9)}

    def display(self, msg: str | None = None, pos: int | None = None) -> bool | None:
        """Shows the bar, or says the line when it is time to; msg "" stands for the bar's end."""
        if not self.first and self.initial < self.n < (self.total or 0):
            self.first = self.n, self.format_dict["elapsed"]
        if not self.plain:
            return super().display(msg, pos)
        if msg is None and time.monotonic() - self.said >= PAUSE:
            self.said = time.monotonic()
            print(self.line(), file=sys.stderr, flush=True)
        return None

    def line(self) -> str:
        """How far the loop is, in words."""
        now = self.format_dict
        total, rate, left = now["total"], now["rate"], ""
        if rate and now["n"] < (total or 0) and not self.bar_format:
            left = f", about {self.format_interval((total - now['n']) / rate)} to go"
        of = f" of {total:,}" if total else ""
        return (f"{self.desc.removesuffix(': ')}: {now['n']:,}{of} {self.unit}s after "
                f"{self.format_interval(now['elapsed'])}{left}" + f"; {self.postfix}" * bool(self.postfix))


def say_once(notes: list[str]) -> None:
    """Prints the notes that were not said yet, by this process or by its parent process: several stages that one `make`
    runs need not repeat each other."""
    said = os.environ.get(SAID, "").split()
    for note in notes:
        if (checksum := f"{zlib.crc32(note.encode()):08x}") not in said:
            print(note)
            said.append(checksum)
    os.environ[SAID] = " ".join(said)
