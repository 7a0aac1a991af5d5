"""Work side by side: its order, and that processes are started as asked."""

import os

import pytest

from lsm.run.jobs import side_by_side


def start(factor: int) -> None:
    global _FACTOR
    _FACTOR = factor


def work(item: int) -> tuple[int, int]:
    return _FACTOR * item, os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers):
    results, processes = zip(*side_by_side(list(range(7)), work, workers, start, (3,)), strict=True)
    assert list(results) == [0, 3, 6, 9, 12, 15, 18]
    assert (set(processes) == {os.getpid()}) == (workers == 1)
