import pytest

from lsm.blocks.round_numbers import round_numbers


@pytest.mark.parametrize(("least", "most", "expected"), [
    (1, 5e7, [m * 10.0**e for e in range(8) for m in (1, 2, 5)]), (0.3, 2.4, [0.5, 1, 2]), (3, 4, []), (0, 10, []),
    (-1, 10, [])])
def test_round_numbers_between_two(least, most, expected):
    assert round_numbers(least, most) == pytest.approx(expected)
