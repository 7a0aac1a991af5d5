import io
import sys

from lsm.run import progress
from lsm.run.progress import UNEVEN, Progress


def test_a_log_file_gets_plain_lines_now_and_then(monkeypatch):
    log, clock = io.StringIO(), iter(range(0, 100_000, 20))  # s: each look at the clock is 20 s later
    monkeypatch.setattr(sys, "stderr", log)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    bar = Progress(total=2000, desc="meta-training", unit="step", mininterval=0, miniters=1)
    for done in range(1, 11):
        bar.set_postfix_str(f"query loss {1 / done:.2f}", refresh=False)
        bar.update(100)
    bar.close()
    text = log.getvalue()
    assert not {"\r", "|"} & {*text}
    lines = text.splitlines()
    assert 1 < len(lines) < 10  # not one for each update
    assert all(line.startswith("meta-training: ") and " of 2,000 steps after " in line for line in lines)
    assert all(" to go; query loss " in line for line in lines)


def test_a_loop_of_uneven_turns_says_no_time_to_go(monkeypatch):
    log, clock = io.StringIO(), iter(range(0, 100_000, 20))
    monkeypatch.setattr(sys, "stderr", log)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    assert list(Progress(range(9), "drawing", unit="figure", bar_format=UNEVEN, mininterval=0)) == list(range(9))
    assert "drawing: " in log.getvalue()
    assert "to go" not in log.getvalue()


def test_a_short_loop_leaves_no_half_bar_in_a_log_file(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    assert list(Progress(range(5), desc="SLIC", unit="loop")) == list(range(5))
    assert file.getvalue() == ""


def test_a_terminal_has_a_bar(monkeypatch):
    file = io.StringIO()
    file.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", file)
    assert list(Progress(range(5), desc="SLIC", unit="loop")) == list(range(5))
    assert "\rSLIC: 100%|" in file.getvalue()
