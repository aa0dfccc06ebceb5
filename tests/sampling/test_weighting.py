from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lossmaxpool.sampling import class_probabilities

NAN = math.nan
IOUS = st.lists(st.floats(0, 1) | st.just(NAN), min_size=1, max_size=8)
ALL = torch.ones(3, dtype=torch.bool)


def probabilities(
    iou: list[float], present: list[bool] | None = None, **options: Any
) -> list[float]:
    there = torch.tensor(present if present is not None else [True] * len(iou))
    return class_probabilities(torch.tensor(iou), there, **options).tolist()


@given(
    IOUS,
    st.sampled_from(["inverse", "complement"]),
    st.floats(1e-3, 1),
    st.floats(1e-2, 100) | st.just(math.inf),
    st.data(),
)
def test_a_distribution_over_the_classes_of_the_data(
    iou: list[float], weighting: str, floor: float, temperature: float, data: st.DataObject
) -> None:
    present = data.draw(st.lists(st.booleans(), min_size=len(iou), max_size=len(iou)))
    present[data.draw(st.integers(0, len(iou) - 1))] = True
    options = {"weighting": weighting, "floor": floor, "temperature": temperature}
    found = probabilities(iou, present, **options)
    assert sum(found) == pytest.approx(1)
    assert all(p == 0 for p, there in zip(found, present, strict=True) if not there)
    known = [0.0 if math.isnan(x) else x for x in iou]
    ranked = sorted((x, p) for x, p, there in zip(known, found, present, strict=True) if there)
    for (worse, more), (better, less) in pairwise(ranked):
        assert worse == better or more >= less, "a lower IoU is drawn no less often"


def test_inverse_by_hand() -> None:
    assert probabilities([0.5, 0.25, 0.25]) == pytest.approx([0.2, 0.4, 0.4])


def test_complement_by_hand() -> None:
    assert probabilities([0.8, 0.5, 0.7], weighting="complement") == pytest.approx([0.2, 0.5, 0.3])


def test_the_floor_bounds_the_ratio() -> None:
    assert probabilities([1.0, 0.0], floor=0.1) == pytest.approx([1 / 11, 10 / 11])
    perfect = probabilities([1.0, 0.4], floor=0.2, weighting="complement")
    assert perfect == pytest.approx([0.25, 0.75])


def test_perfect_classes_are_equally_likely() -> None:
    assert probabilities([1.0, 1.0], weighting="complement") == pytest.approx([0.5, 0.5])


def test_temperature() -> None:
    assert probabilities([0.5, 0.25], temperature=0.5) == pytest.approx([0.2, 0.8])
    assert probabilities([0.9, 0.05], temperature=math.inf) == pytest.approx([0.5, 0.5])
    assert probabilities([0.9, 0.1], temperature=1e-4) == pytest.approx([0, 1])


def test_an_undefined_iou_counts_as_zero() -> None:
    assert probabilities([NAN, 0.5, 0.5]) == probabilities([0.0, 0.5, 0.5])


def test_nothing_known_means_equally_likely() -> None:
    assert probabilities([NAN] * 4, [True, True, False, True]) == pytest.approx(
        [1 / 3, 1 / 3, 0, 1 / 3]
    )


def test_no_class_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="no class has a pixel in the data"):
        class_probabilities(torch.zeros(3), ~ALL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weighting": "invers"}, "weighting must be one of .* Did you mean 'inverse'"),
        ({"floor": 0.0}, r"floor must lie in \(0, 1\], got 0.0"),
        ({"floor": NAN}, "floor must lie in"),
        ({"temperature": 0.0}, "temperature must be positive, got 0.0"),
        ({"temperature": NAN}, "temperature must be positive"),
    ],
)
def test_parameters_outside_their_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_probabilities(torch.zeros(3), ALL, **options)


@pytest.mark.parametrize(
    "iou",
    [torch.zeros(2), torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64)],
    ids=["classes", "shape", "dtype"],
)
def test_what_is_no_iou_per_class(iou: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="expected one floating-point value for each of 3 classes"):
        class_probabilities(iou, ALL)


@pytest.mark.parametrize("value", [-0.1, 1.1, 55.0, math.inf])
def test_values_that_are_no_iou(value: float) -> None:
    with pytest.raises(ValueError, match=r"values outside \[0, 1\]"):
        class_probabilities(torch.tensor([0.5, value, NAN]), ALL)
