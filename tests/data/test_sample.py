from __future__ import annotations

import pytest

from lossmaxpool.data import DataError, LabelSet


def test_a_label_set_counts_its_classes() -> None:
    assert LabelSet(("a", "b"), ((0, 0, 0), (1, 2, 3))).num_classes == 2


@pytest.mark.parametrize(
    ("names", "colors", "match"),
    [
        (("a",), ((0, 0, 0),), "2 to 254 classes, got 1"),
        (tuple(map(str, range(255))), ((0, 0, 0),) * 255, "got 255"),
        (("a", "a"), ((0, 0, 0),) * 2, "repeated: a"),
        (("a", ""), ((0, 0, 0),) * 2, "an empty name"),
        (("a", "b"), ((0, 0, 0),), "2 colours, got 1"),
        (("a", "b"), ((0, 0, 0), (0, 0, 256)), r"'b' must be three values of 0\.\.255"),
        (("a", "b"), ((0, 0, 0), (0, 0)), "'b' must be three values"),
    ],
)
def test_bad_label_sets(
    names: tuple[str, ...], colors: tuple[tuple[int, int, int], ...], match: str
) -> None:
    with pytest.raises(DataError, match=match):
        LabelSet(names, colors)
