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
    assert all(" to go; query loss " in line for line in lines[1:])  # one turn alone says no rate


def test_the_first_turn_does_not_count_for_the_time_to_go(monkeypatch):
    """It takes 60 s, the others 5 s each: after 36 of them 63 are left, 315 s."""
    log, now = io.StringIO(), [0.0]
    monkeypatch.setattr(sys, "stderr", log)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    bar = Progress(total=200, initial=100, desc="meta-training", unit="step")
    for done in range(41):
        now[0] += 5 if done else 60
        bar.update()
    bar.close()
    lines = log.getvalue().splitlines()
    assert lines[0] == "meta-training: 101 of 200 steps after 01:00"  # by its rate 01:39:00 to go
    assert lines[-1] == "meta-training: 137 of 200 steps after 04:00, about 05:15 to go"


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
