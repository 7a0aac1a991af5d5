"""How far a long loop is: a bar on a terminal, a plain line now and then in a log file."""

import sys
import time

from tqdm import tqdm

PAUSE = 30  # seconds between two lines in a log file
UNEVEN = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}]"  # bar_format of a loop whose turns differ much: no estimate


class Progress(tqdm):
    """tqdm's bar. Where the output is no terminal, a line every PAUSE seconds; a shorter loop says nothing there."""

    def __init__(self, *args, **options):
        self.plain, self.said = not sys.stderr.isatty(), time.monotonic()
        super().__init__(*args, **options, leave=not self.plain)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool | None:
        """Shows the bar, or says the line when it is time to; msg "" stands for the bar's end."""
        if not self.plain:
            return super().display(msg, pos)
        if msg is None and time.monotonic() - self.said >= PAUSE:
            self.said = time.monotonic()
            print(self.line(), file=sys.stderr, flush=True)
        return None

    def line(self) -> str:
        """How far the loop is, in words."""
        now = self.format_dict
        took, done, total = now["elapsed"], now["n"] - now["initial"], now["total"]
        left = ""
        if done and now["n"] < (total or 0) and not self.bar_format:
            left = f", about {self.format_interval(took * (total - now['n']) / done)} to go"
        of = f" of {total:,}" if total else ""
        return (f"{self.desc.removesuffix(': ')}: {now['n']:,}{of} {self.unit}s after "
                f"{self.format_interval(took)}{left}" + f"; {self.postfix}" * bool(self.postfix))
