from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lossmaxpool.data import EvalTransform
from lossmaxpool.inference import (
    InferenceConfig,
    Tile,
    evaluate,
    full_height_tiles,
    predict_ids,
    predict_logits,
    tiles_of,
)
from lossmaxpool.models import ModelConfig, build_model

from ..models.largest import Largest
from .conftest import Bands


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
    tiles = tiles_of(config, 1024, 2048, 8)
    assert [tile.read.left for tile in tiles] == [0, 368, 736, 1104, 1472]
    assert [tile.owned.left for tile in tiles] == [0, 468, 836, 1204, 1572]


@pytest.mark.parametrize("config", [InferenceConfig(), InferenceConfig("optimized", tiles=1)])
def test_one_tile_is_the_image(config: InferenceConfig) -> None:
    (tile,) = tiles_of(config, 3, 5, 32)
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


TILINGS = st.builds(
    InferenceConfig,
    tiling=st.just("optimized"),
    tiles=st.integers(1, 4),
    overlap=st.integers(48, 90),
)


class Whole(nn.Module):
    """Strided convolutions of small whole numbers: float32 sums them exactly, in any order.

    Stride 4; a pixel depends on those up to 21 columns away: upsampling looks one cell further, a
    cell at 5 × 5 cells, and one of these at 4 × 4 pixels and, before that, at 3 × 3.
    """

    REACH = 21
    requires_divisible_input_shape = True

    def __init__(self, classes: int = 4, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def weights(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randint(-2, 3, shape, generator=generator).float())

        self.encoder = nn.Module()
        self.encoder.output_stride = 4  # type: ignore[assignment]
        self.first = weights(4, 3, 3, 3)
        self.second = weights(6, 4, 4, 4)
        self.third = weights(classes, 6, 5, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = F.conv2d(images, self.first, padding=1)
        x = F.conv2d(x, self.second, stride=4)
        return F.conv2d(x, self.third, padding=2)


def whole_image(height: int, width: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-3, 4, (1, 3, height, width), generator=generator).float()


@settings(max_examples=60)
@given(
    height=st.integers(1, 24), width=st.integers(110, 260), seed=st.integers(0, 99), config=TILINGS
)
def test_tiles_predict_what_the_whole_image_does(
    height: int, width: int, seed: int, config: InferenceConfig
) -> None:
    """Exactly, if half of the overlap exceeds the network's receptive radius."""
    assert config.overlap // 2 > Whole.REACH
    model, images = Whole(seed=seed).eval(), whole_image(height, width, seed)
    assert torch.equal(predict_ids(model, images, config), predict_ids(model, images))


def test_tiles_without_overlap_do_not() -> None:
    """The test above depends on the overlap: without it, the result differs near the borders."""
    model, images = Whole().eval(), whole_image(24, 200, 0)
    whole = predict_ids(model, images)
    wrong = predict_ids(model, images, InferenceConfig("efficient")) != whole
    assert wrong.any()
    near = torch.zeros_like(wrong)
    for border in (40, 80, 120, 160):
        near[..., border - Whole.REACH : border + Whole.REACH] = True
    assert not wrong[~near].any(), "what is wrong is near a border"


@pytest.mark.parametrize(
    "config",
    [
        InferenceConfig("efficient", tiles=3),
        InferenceConfig("optimized", tiles=2, overlap=17),
        InferenceConfig("optimized", tiles=2, overlap=17, flip=True, scales=(0.75, 1.0, 1.3)),
    ],
)
def test_a_tile_decides_what_it_owns(config: InferenceConfig) -> None:
    """A network that returns its call number shows which tile predicts each pixel."""

    class Signature(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, images: Tensor) -> Tensor:
            tile = self.calls // len(config.views)
            self.calls += 1
            return F.one_hot(torch.full(images[:, 0].shape, tile), 5).permute(0, 3, 1, 2).float()

    model = Signature().eval()
    ids = predict_ids(model, torch.zeros(2, 3, 7, 101), config)
    tiles = tiles_of(config, 7, 101, 1)
    assert model.calls == len(tiles) * len(config.views)
    for number, tile in enumerate(tiles):
        assert (ids[:, tile.owned.rows, tile.owned.columns] == number).all()


def test_the_network_sees_the_tiles_that_are_promised(brightness: nn.Module) -> None:
    seen: list[tuple[int, ...]] = []
    brightness.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape[-2:])))
    config = InferenceConfig("optimized", tiles=2, overlap=20, scales=(0.5, 1.0))
    predict_ids(brightness.eval(), torch.zeros(1, 3, 30, 100), config)
    assert seen == [(15, 30), (30, 60), (15, 30), (30, 60)]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scales", [(1.0,), (1.0, 2.0)])
@pytest.mark.parametrize("tiling", ["full", "efficient", "optimized"])
def test_every_view_of_a_plain_truth_agrees(
    brightness: nn.Module, tiling: str, scales: tuple[float, ...], flip: bool
) -> None:
    image = torch.zeros(1, 3, 20, 90)
    image[..., 30:] = 0.5
    image[..., 61:] = 1.0
    config = InferenceConfig(tiling, 3, 9, flip, scales)  # type: ignore[arg-type]
    ids = predict_ids(brightness.eval(), image, config)
    assert torch.equal(ids, (image[:, 0] * 2).to(torch.uint8))


def test_equals_the_largest_logit(small_model: nn.Module) -> None:
    images = torch.rand(2, 3, 45, 61)
    small_model.eval()
    expected = predict_logits(small_model, images).argmax(1)
    assert torch.equal(predict_ids(small_model, images).long(), expected)


@pytest.mark.parametrize("architecture", ["DeepLabV2", "DeepLabV3Plus", "Unet"])
def test_any_architecture_goes_through_any_tiling(architecture: str) -> None:
    model = build_model(ModelConfig(architecture, "tu-test_resnet", weights="none"), 3).eval()
    config = InferenceConfig("optimized", tiles=2, overlap=33, flip=True, scales=(0.7, 1.0))
    ids = predict_ids(model, torch.rand(1, 3, 37, 150), config)
    assert ids.shape == (1, 37, 150)
    assert ids.dtype == torch.uint8
    assert ids.max() < 3


def test_evaluation_takes_a_tiling(brightness: nn.Module) -> None:
    dataset = Bands([(8, 40), (8, 40), (5, 43)])
    plain = EvalTransform((0.0,) * 3, (1.0,) * 3)
    config = InferenceConfig("optimized", tiles=3, overlap=7, flip=True)
    matrix = evaluate(brightness, dataset, plain, config=config)
    assert matrix.miou() == 1.0
    assert matrix.counts.sum() == sum(int((dataset.mask(i) != 255).sum()) for i in range(3))


@pytest.mark.parametrize(
    ("config", "names", "message"),
    [
        (InferenceConfig("efficient"), ["a/b"], r"a/b: an image 4 pixels wide is too narrow"),
        (InferenceConfig("optimized", 2), (), r"the images: an image 4 .* at least 202"),
    ],
)
def test_a_narrow_image_is_named(
    brightness: nn.Module, config: InferenceConfig, names: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        predict_ids(brightness.eval(), torch.zeros(1, 3, 9, 4), config, names=names)


def test_a_broken_view_is_not_outvoted(brightness: nn.Module) -> None:
    class BrokenMirror(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images / (images[..., :1] > 0)  # 0 / 0 in the mirrored view only

    images = torch.linspace(1, 0, 12).expand(1, 3, 4, 12)
    model = BrokenMirror().eval()
    predict_ids(model, images)
    with pytest.raises(ValueError, match="the logits of the images are not finite"):
        predict_ids(model, images, InferenceConfig(flip=True))


@pytest.mark.parametrize(
    "config", [InferenceConfig(), InferenceConfig("optimized", flip=True)], ids=["full", "tiles"]
)
def test_scores_of_all_classes_never_exist_at_full_size(config: InferenceConfig) -> None:
    """2048 × 1024 pixels of 19 classes are 160 MB; nothing exceeds the image by itself, 25 MB."""
    model = nn.Conv2d(3, 19, 8, stride=8).eval()
    images = torch.rand(1, 3, 1024, 2048)
    with Largest() as largest:
        ids = predict_ids(model, images, config)
    assert ids.shape == (1, 1024, 2048)
    assert largest.bytes <= images.nbytes
