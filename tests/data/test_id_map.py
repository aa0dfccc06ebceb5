from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lossmaxpool.data import IGNORE_INDEX, DataError, LabelSet
from lossmaxpool.data.decode import IdMap
from lossmaxpool.data.folders import default_colors

LABELS = LabelSet(("a", "b", "c"), default_colors(3))


def fits(value: int, dtype: type[np.integer]) -> bool:
    return bool(np.iinfo(dtype).min <= value <= np.iinfo(dtype).max)


@given(
    ids=st.lists(st.integers(-300, 70_000), min_size=4, max_size=4, unique=True),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int32, np.int64]),
)
def test_it_is_the_dictionary(ids: list[int], dtype: type[np.integer]) -> None:
    mapping = dict(zip(ids, (0, 1, 2, IGNORE_INDEX), strict=True))
    mask = np.array([i for i in ids if fits(i, dtype)], dtype=dtype).reshape(1, -1)
    expected = [[mapping[i] for i in mask[0].tolist()]]
    assert IdMap(LABELS, mapping)(mask, "It").tolist() == expected


@given(
    value=st.integers(-(2**40), 2**40) | st.integers(-5, 310),
    ignored=st.sampled_from([255, -1, -3]),
)
def test_every_other_value_is_refused(value: int, ignored: int) -> None:
    mapping = {0: 0, 300: 1, 9: 2, ignored: IGNORE_INDEX}
    mask = np.array([[0, value]])
    if value in mapping:
        assert IdMap(LABELS, mapping)(mask, "It").tolist() == [[0, mapping[value]]]
    else:
        with pytest.raises(DataError, match=f"It holds the values {value}, but there are 3 cl"):
            IdMap(LABELS, mapping)(mask, "It")


def test_an_id_below_zero_is_no_byte() -> None:
    """-1 stands for "unlabelled" in many libraries: as an index it would mean the last entry."""
    mapping = {-1: IGNORE_INDEX, 0: 0, 1: 1, 2: 2}
    signed = np.array([[0, -1, 2]], dtype=np.int16)
    assert IdMap(LABELS, mapping)(signed, "It").tolist() == [[0, IGNORE_INDEX, 2]]
    with pytest.raises(DataError, match="It holds the values 255, but"):
        IdMap(LABELS, mapping)(np.array([[0, 255]], dtype=np.uint8), "It")
    with pytest.raises(DataError, match="It holds the values -2, 255, 256, but"):
        IdMap(LABELS, mapping)(np.array([[-2, 255, 256]]), "It")


def test_every_byte() -> None:
    mapping = {i: i % 3 for i in range(255)} | {255: IGNORE_INDEX}
    mask = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = torch.tensor([mapping[i] for i in range(256)]).view(16, 16)
    mapped = IdMap(LABELS, mapping)(mask, "It")
    assert mapped.dtype == torch.uint8
    assert torch.equal(mapped.long(), expected)
