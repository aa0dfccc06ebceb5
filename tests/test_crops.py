from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from lossmaxpool.crops import Span, random_span
from tests.sampling.scenes import ACCEPTED, REJECTED, count, plausibility

LENGTHS = st.integers(1, 300)
SCALES = st.floats(0.2, 5)
DRAWS = st.floats(0, 1, exclude_max=True)


@given(LENGTHS, LENGTHS, SCALES, DRAWS, st.data())
def test_crop_contains_the_place_and_lies_in_the_image(
    length: int, crop: int, scale: float, draw: float, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, length - 1))
    span = random_span(length, crop, scale, draw, place)
    assert 0 <= span.start <= place < span.start + span.length <= length
    assert 0 <= span.padding <= span.padding + span.output <= crop
    assert span.length == length or (span.padding, span.output) == (0, crop)


@given(LENGTHS, LENGTHS, SCALES, DRAWS)
def test_crop_anywhere_lies_in_the_image(length: int, crop: int, scale: float, draw: float) -> None:
    span = random_span(length, crop, scale, draw)
    assert 0 <= span.start < span.start + span.length <= length
    assert 0 <= span.padding <= span.padding + span.output <= crop


@given(LENGTHS, LENGTHS, SCALES, st.data())
def test_every_crop_that_contains_the_place_is_possible(
    length: int, crop: int, scale: float, data: st.DataObject
) -> None:
    shown = max(1, round(crop / scale))
    assume(shown <= length)
    place = data.draw(st.integers(0, length - 1))
    expected = {s for s in range(length - shown + 1) if s <= place < s + shown}
    draws = (i / (2 * len(expected)) for i in range(2 * len(expected)))
    found = {random_span(length, crop, scale, draw, place).start for draw in draws}
    assert found == expected


@pytest.mark.parametrize(
    ("place", "starts"),
    [(50, range(41, 51)), (0, range(1)), (99, range(90, 91)), (3, range(4)), (95, range(86, 91))],
    ids=["inside", "first", "last", "near the first", "near the last"],
)
def test_starts_are_uniform_at_the_borders_as_well(place: int, starts: range) -> None:
    draws = torch.rand(3000, generator=torch.Generator().manual_seed(place)).tolist()
    found = [random_span(100, 10, 1.0, draw, place).start for draw in draws]
    assert set(found) == set(starts)
    shifted = count((start - starts.start for start in found), len(starts))
    assert len(starts) == 1 or plausibility(shifted, [1] * len(starts)) > ACCEPTED


def test_a_small_image_lies_anywhere_in_the_crop() -> None:
    draws = torch.rand(3000, generator=torch.Generator().manual_seed(0)).tolist()
    found = [random_span(6, 10, 1.0, draw, place=2) for draw in draws]
    assert {(span.start, span.length, span.output) for span in found} == {(0, 6, 6)}
    assert plausibility(count((span.padding for span in found), 5), [1] * 5) > ACCEPTED


def test_centring_the_crop_on_the_pixel_would_be_noticed() -> None:
    centered = [5] * 3000
    assert plausibility(count(centered, 10), [1] * 10) < REJECTED


def test_scale_decides_how_much_of_the_source_is_shown() -> None:
    assert random_span(100, 10, 2.0, 0.0, 50).length == 5
    assert random_span(100, 10, 0.5, 0.0, 50).length == 20
    # Half of 12 pixels do not fill a crop of 10: all of the source, and padding.
    assert random_span(12, 10, 0.5, 0.999) == Span(0, 12, 4, 6)


@pytest.mark.parametrize("place", [-1, 10])
def test_a_place_outside_is_refused(place: int) -> None:
    with pytest.raises(ValueError, match="expected a pixel of the image, 0 to 9"):
        random_span(10, 4, 1.0, 0.5, place)
