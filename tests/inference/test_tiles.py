from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossmaxpool.inference import InferenceConfig, Tile, full_height_tiles


@st.composite
def cuts(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    """Height, width, number of tiles, overlap, multiple, of an image that is wide enough."""
    count = draw(st.integers(1, 9))
    overlap = draw(st.integers(0, 250))
    multiple = draw(st.sampled_from([1, 2, 8, 16, 32]))
    width = draw(st.integers(overlap + count * multiple, 2500))
    return draw(st.integers(1, 50)), width, count, overlap, multiple


@given(cuts())
def test_every_pixel_is_decided_once_by_a_tile_that_sees_it(
    cut: tuple[int, int, int, int, int],
) -> None:
    height, width, count, _, multiple = cut
    tiles = full_height_tiles(*cut)
    assert len(tiles) == count
    owners = np.zeros((height, width), dtype=int)
    for tile in tiles:
        owners[tile.owned.rows, tile.owned.columns] += 1
        assert tile.owned.width > 0
        assert 0 <= tile.read.left <= tile.owned.left
        assert tile.owned.columns.stop <= tile.read.columns.stop <= width
        assert (tile.read.rows, tile.owned.rows) == (slice(0, height),) * 2
        assert tile.read.left % multiple == 0
    assert (owners == 1).all()


@given(cuts())
def test_each_half_of_an_overlap_is_its_tiles(cut: tuple[int, int, int, int, int]) -> None:
    overlap = cut[3]
    tiles = full_height_tiles(*cut)
    for left, right in pairwise(tiles):
        shared = range(right.read.left, left.read.columns.stop)
        assert len(shared) == overlap
        assert left.owned.columns.stop == right.owned.left == shared.start + overlap // 2


@given(cuts())
def test_tiles_are_as_even_as_they_can_be(cut: tuple[int, int, int, int, int]) -> None:
    *_, multiple = cut
    widths = [tile.read.width for tile in full_height_tiles(*cut)]
    assert max(widths) - min(widths) <= 2 * multiple - 1
    if multiple == 1:
        assert max(widths) - min(widths) <= 1


def test_cityscapes_in_five() -> None:
    """2048 / 5 = 409.6: the widths must be uneven."""
    efficient = full_height_tiles(1024, 2048, 5)
    assert [t.read.width for t in efficient] == [409, 410, 409, 410, 410]
    assert all(tile.read == tile.owned for tile in efficient)
    optimized = full_height_tiles(1024, 2048, 5, 200)
    assert [t.read.width for t in optimized] == [569, 570, 569, 570, 570]
    assert [t.owned.width for t in optimized] == [469, 370, 369, 370, 470]


def test_a_tiling_on_the_networks_grid() -> None:
    config = InferenceConfig("optimized")
    tiles = config.cut(1024, 2048, 8)
    assert [tile.read.left for tile in tiles] == [0, 368, 736, 1104, 1472]
    assert [tile.owned.left for tile in tiles] == [0, 468, 836, 1204, 1572]


@pytest.mark.parametrize("config", [InferenceConfig(), InferenceConfig("optimized", tiles=1)])
def test_one_tile_is_the_image(config: InferenceConfig) -> None:
    (tile,) = config.cut(3, 5, 32)
    assert tile == Tile(tile.read, tile.read)
    assert (tile.read.height, tile.read.width) == (3, 5)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((0, 8), "0 x 8 pixels has no tiles"),
        ((8, 0), "8 x 0 pixels has no tiles"),
        ((8, 8, 0), "count is 0"),
        ((8, 8, 2, -1), "overlap -1"),
        ((8, 8, 2, 0, 0), "multiple 0"),
        ((8, 204, 5, 200), "204 pixels wide is too narrow for 5 tiles .* at least 205 are needed"),
        ((8, 15, 2, 0, 8), "at least 16 are needed"),
    ],
)
def test_bad_input_is_explained(numbers: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        full_height_tiles(*numbers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tiling": "optimised"}, "expected 'full', 'efficient' or 'optimized'"),
        ({"tiles": 0}, "tiles is 0"),
        ({"overlap": -2}, "overlap is -2"),
        ({"scales": ()}, "scales is"),
        ({"scales": (1.0, 0.0)}, "expected one or more, positive"),
        ({"scales": (float("inf"),)}, "positive"),
        ({"scales": (1.0, 1.0)}, "twice adds nothing"),
    ],
)
def test_bad_settings_are_explained(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InferenceConfig(**options)  # type: ignore[arg-type]


def test_views_are_every_scale_mirrored_or_not() -> None:
    config = InferenceConfig(flip=True, scales=[0.5, 1.0])  # type: ignore[arg-type]
    assert config.views == ((0.5, False), (0.5, True), (1.0, False), (1.0, True))
    assert InferenceConfig().views == ((1.0, False),)
