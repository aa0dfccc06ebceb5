from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lossmaxpool.sampling.draws import below, fraction, mix
from tests.sampling.scenes import ACCEPTED, count, plausibility


@given(st.lists(st.integers(-(2**64), 2**64), max_size=4))
def test_seeds_are_what_a_generator_takes(values: list[int]) -> None:
    assert 0 <= mix(*values) < 2**63


@given(st.integers(1, 2**40), st.integers())
def test_numbers_stay_below_their_bound(bound: int, key: int) -> None:
    assert 0 <= below(bound, key) < bound
    assert 0 <= fraction(key) < 1


def test_neighboring_keys_are_independent() -> None:
    numbers = [below(7, 3, step, -2) for step in range(7000)]
    assert plausibility(count(numbers, 7), [1] * 7) > ACCEPTED
    joint = [7 * a + b for a, b in zip(numbers[::2], numbers[1::2], strict=True)]
    assert plausibility(count(joint, 49), [1] * 49) > ACCEPTED


def test_fractions_fill_the_unit_interval() -> None:
    bins = [int(20 * fraction(5, step)) for step in range(8000)]
    assert plausibility(count(bins, 20), [1] * 20) > ACCEPTED


def test_purposes_do_not_share_numbers() -> None:
    pairs = [(below(5, 0, i, -1), below(5, 0, i, -2)) for i in range(5000)]
    joint = count((5 * a + b for a, b in pairs), 25)
    assert plausibility(joint, [1] * 25) > ACCEPTED
