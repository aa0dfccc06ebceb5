"""The draws have the promised distribution: classes, images, pixels and crops."""

from __future__ import annotations

import pytest
import torch

from lossmaxpool.sampling import (
    ClassIndex,
    Draw,
    DrawnCrops,
    PerformanceSampler,
    class_probabilities,
)
from lossmaxpool.sampling.draws import blended_draw, uniform_draw
from tests.sampling.scenes import (
    ACCEPTED,
    CLASSES,
    REJECTED,
    count,
    index_of,
    masks,
    pairs,
    plausibility,
)
from tests.tolerances import DRAWN_CROPS

DRAWS = 12_000
IOU = torch.tensor([0.9, 0.6, 0.3, 0.1])


def drawn(blend: float, iou: torch.Tensor = IOU, seed: int = 1, **options: object) -> list[Draw]:
    """Many draws of one interval that is decided by ``iou``."""
    sampler = PerformanceSampler(
        index_of(masks()), 8, seed, blend=blend, update_interval=DRAWS // 8, steps=DRAWS // 8 * 3
    )
    for _ in range(2 * sampler.update_interval):
        sampler.update(iou)
    return [draw for batch in sampler for draw in batch]


def test_classes_are_drawn_by_their_inverse_iou() -> None:
    expected = class_probabilities(IOU, torch.ones(CLASSES, dtype=torch.bool)).tolist()
    foci = [draw.focus for draw in drawn(blend=1.0)]
    found = count((focus for focus in foci if focus is not None), CLASSES)
    assert sum(found) == DRAWS
    assert plausibility(found, expected) > ACCEPTED
    assert plausibility(found, [1] * CLASSES) < REJECTED, "the test would notice"


@pytest.mark.parametrize("blend", [0.2, 0.5, 0.8])
def test_the_blend_is_the_share_of_draws_by_class(blend: float) -> None:
    by_class = sum(draw.focus is not None for draw in drawn(blend))
    assert plausibility([by_class, DRAWS - by_class], [blend, 1 - blend]) > ACCEPTED


def test_images_that_hold_the_class_are_equally_likely() -> None:
    index = index_of(masks())
    draws = drawn(blend=1.0)
    for c in range(CLASSES):
        holders = index.images(c).tolist()
        found = count((draw.image for draw in draws if draw.focus == c), index.num_images)
        assert {i for i, n in enumerate(found) if n} == set(holders)
        expected = [float(i in holders) for i in range(index.num_images)]
        assert plausibility(found, expected) > ACCEPTED


def test_pixels_of_draws_are_uniform_in_their_image() -> None:
    labels = masks()
    places: dict[int, list[int]] = {}
    for draw in drawn(blend=1.0):
        if draw.focus == 3:
            row, column = draw.pixel(labels[draw.image]) or (0, 0)
            assert labels[draw.image][row, column] == 3
            places.setdefault(draw.image, []).append(row * labels[0].shape[1] + column)
    for image, found in places.items():
        there = (labels[image] == 3).flatten().double().tolist()
        assert plausibility(count(found, len(there)), there) > ACCEPTED


def test_class_image_and_coin_are_independent() -> None:
    index = index_of(masks())
    numbers = [(draw.focus, draw.image) for draw in drawn(blend=1.0)]
    # Two classes that the same images hold would be drawn with the same images.
    first = count((image for focus, image in numbers if focus == 0), index.num_images)
    assert plausibility(first, [1] * index.num_images) > ACCEPTED
    images = count((d.image for d in drawn(0.5) if d.focus is None), index.num_images)
    assert plausibility(images, [1] * index.num_images) > ACCEPTED


def test_uniform_draws_see_every_image_once_per_epoch() -> None:
    sampler = PerformanceSampler(index_of(masks()), 5, 3, blend=0.0, steps=24)
    images = [draw.image for batch in sampler for draw in batch]
    for epoch in range(10):
        assert sorted(images[epoch * 12 : epoch * 12 + 12]) == list(range(12))
    assert images[:12] != images[12:24]


def test_runs_that_differ_in_blend_share_their_uniform_draws() -> None:
    for uniform, blended in zip(drawn(0.0), drawn(0.4), strict=True):
        assert blended.focus is not None or blended == uniform


def test_draws_of_a_seed_and_of_its_neighbor_differ() -> None:
    same = sum(a == b for a, b in zip(drawn(1.0, seed=1), drawn(1.0, seed=2), strict=True))
    assert same == 0


def test_crop_seeds_do_not_repeat() -> None:
    seeds = [draw.seed for draw in drawn(0.5)]
    assert len(set(seeds)) == len(seeds)


def test_classes_of_probability_zero_are_never_drawn() -> None:
    index = ClassIndex(torch.tensor([[0, 5, 0, 5, 0]]))
    cumulative = [0.0, 0.5, 0.5, 1.0, 1.0]
    foci = {blended_draw(0, i, index, 1.0, cumulative).focus for i in range(2000)}
    assert foci == {1, 3}


def test_without_focus_there_is_no_pixel() -> None:
    assert uniform_draw(0, 0, 12).pixel(masks()[0]) is None


def test_a_rare_class_is_seen_more_as_its_iou_falls() -> None:
    """From the sampler to the crops: share of the draws, and of the pixels that are trained on."""
    crops = DrawnCrops(pairs(masks()), (10, 10))
    focused, seen = [], []
    for value in (0.9, 0.5, 0.2, 0.05):
        draws = drawn(0.5, torch.tensor([0.9, 0.9, 0.9, value]))
        focused.append(sum(draw.focus == 3 for draw in draws) / DRAWS)
        targets = torch.stack([crops[draw][1] for draw in draws[:3000]])
        seen.append(float((targets == 3).sum() / (targets != 255).sum()))
    assert focused == sorted(focused)
    assert seen == sorted(seen)
    assert focused[0] == pytest.approx(1 / 8, rel=DRAWN_CROPS)
    assert seen[-1] > 2 * seen[0]
    uniform = torch.stack(masks())
    assert seen[0] > 2 * float((uniform == 3).sum() / (uniform != 255).sum())
