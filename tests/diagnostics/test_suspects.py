"""SuspectedLabels: planted errors come first."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from lossmaxpool import MaxPoolingCrossEntropyLoss
from lossmaxpool.diagnostics import Box, Suspect, SuspectedLabels, diagnose, diagnose_losses
from tests.cases import labeled
from tests.tolerances import STORED

SIZE, OBJECT, IMAGES, WRONG = 48, 8, 24, 12
INK = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.2, 0.0], [0.0, 0.3, 1.0]])


class Task(NamedTuple):
    images: Tensor  # (N, 3, H, W): squares of two inks on a ground
    target: Tensor  # (N, H, W), with errors
    errors: dict[int, Box]  # of some images, the square whose label was swapped


def planted() -> Task:
    generator = torch.Generator().manual_seed(0)
    target = torch.zeros(IMAGES, SIZE, SIZE, dtype=torch.long)
    places: list[list[tuple[int, int]]] = []
    for image in target:
        cells = torch.randperm(9, generator=generator)[:4].tolist()
        places.append([(16 * (c // 3) + 3, 16 * (c % 3) + 5) for c in cells])
        for number, (top, left) in enumerate(places[-1]):
            image[top : top + OBJECT, left : left + OBJECT] = 1 + number % 2
    images = INK[target].permute(0, 3, 1, 2)
    images = images + 0.25 * torch.randn(images.shape, generator=generator)
    errors = {}
    for b in range(WRONG):
        top, left = places[b][b % 4]
        spot = target[b, top : top + OBJECT, left : left + OBJECT]
        spot.copy_(3 - spot)
        box = (top, left, top + OBJECT, left + OBJECT)
        errors[b] = Box(*(x / SIZE for x in box))
    return Task(images, target, errors)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    high = min(one.bottom, other.bottom) - max(one.top, other.top)
    wide = min(one.right, other.right) - max(one.left, other.left)
    both = max(high, 0) * max(wide, 0)
    areas = ((b.bottom - b.top) * (b.right - b.left) for b in (one, other))
    return both / (sum(areas) - both)


@pytest.fixture(scope="module")
def trained() -> tuple[Task, list[Suspect]]:
    """A small network trained on the wrong labels, watched in the last third of its steps."""
    torch.manual_seed(0)
    task = planted()
    network = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 3, 1))
    criterion = MaxPoolingCrossEntropyLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    suspects = SuspectedLabels(resolution=24)
    for step in range(45):
        some = torch.arange(8) + 8 * (step % 3)
        logits, target = network(task.images[some]), task.target[some]
        optimizer.zero_grad()
        criterion(logits, target).backward()
        optimizer.step()
        if step >= 30:
            suspects.update(some.tolist(), diagnose(criterion, logits, target))
    return task, suspects.ranked()


def test_planted_errors_come_first(trained: tuple[Task, list[Suspect]]) -> None:
    """12 of 96 squares are wrong: chance finds one in eight, and hardly ever its place."""
    task, ranked = trained
    hits = [
        s.image in task.errors and overlap(s.box, task.errors[int(str(s.image))]) > 0.5
        for s in ranked[:WRONG]
    ]
    assert sum(hits) >= 0.8 * WRONG


def test_their_label_and_persistence_are_reported(trained: tuple[Task, list[Suspect]]) -> None:
    task, ranked = trained
    for suspect in ranked[: WRONG // 2]:
        cut = suspect.box.cut(task.target[int(str(suspect.image))], margin=0)
        assert int(cut.flatten().mode().values) == suspect.label
        assert suspect.persistence > 0.75
    scores = [suspect.score for suspect in ranked]
    assert scores == sorted(scores, reverse=True)


def one_wrong(top: int, left: int, size: int = 8) -> tuple[Tensor, Tensor]:
    """Losses and labels (1, 32, 48) of an image with one wrong square."""
    losses, labels = torch.full((1, 32, 48), 0.01), torch.zeros(1, 32, 48, dtype=torch.long)
    losses[:, top : top + size, left : left + size] = 5.0
    labels[:, top : top + size, left : left + size] = 2
    return losses, labels


def look(losses: Tensor, labels: Tensor) -> Any:
    return diagnose_losses(losses, min_support=0.25, labels=labels, num_classes=3)


def test_crops_of_an_image_fall_into_their_place() -> None:
    losses, labels = one_wrong(8, 32)
    whole, parts = SuspectedLabels(resolution=48), SuspectedLabels(resolution=48)
    whole.update(["a"], look(losses, labels))
    place = Box(0.0, 0.5, 0.75, 1.0)
    cut = (losses[:, :24, 24:], labels[:, :24, 24:])
    parts.update(["a"], look(*cut), places=[place])
    parts.update(["a"], look(*(x.flip(-1) for x in cut)), places=[place], flipped=[True])
    twice = tuple(x.repeat_interleave(2, 1).repeat_interleave(2, 2) for x in cut)
    parts.update(["a"], look(*twice), places=[place])
    assert [s.box for s in whole.ranked()] == [s.box for s in parts.ranked()]
    assert whole.ranked()[0].box == Box(8 / 32, 32 / 48, 16 / 32, 40 / 48)
    assert whole.ranked()[0].label == parts.ranked()[0].label == 2


def test_a_pixel_that_is_hard_once_is_no_suspect() -> None:
    suspects = SuspectedLabels(resolution=48, persistence=0.6)
    calm = torch.full((1, 32, 48), 0.01)
    calm[0, 0, 0] = 5.0
    losses, labels = one_wrong(8, 32)
    for _ in range(2):
        suspects.update(["a"], look(calm, labels))
    suspects.update(["a"], look(losses, labels))
    assert all(s.box.bottom < 8 / 32 for s in suspects.ranked())


def test_images_seen_too_rarely_wait() -> None:
    suspects = SuspectedLabels(min_visits=2)
    found = look(*one_wrong(8, 32))
    suspects.update(["a"], found)
    assert not suspects.ranked()
    suspects.update(["a"], found)
    assert suspects.ranked()


def test_memory_is_bounded_by_the_resolution() -> None:
    suspects = SuspectedLabels(resolution=8)
    losses = torch.rand(1, 300, 200)
    for _ in range(3):
        suspects.update(["a"], look(losses, torch.zeros(1, 300, 200).long()))
    cells = suspects.state_dict()["cells"]["a"]
    assert {x.shape for x in cells} == {torch.Size((8, 5))}


def test_the_state_continues() -> None:
    found = look(*one_wrong(8, 32))
    first, second = SuspectedLabels(), SuspectedLabels()
    first.update([3], found)
    second.load_state_dict(first.state_dict())
    first.update([3], found)
    second.update([3], found)
    assert first.ranked() == second.ranked()
    assert len(second) == 1


def test_the_table(tmp_path: Path) -> None:
    suspects = SuspectedLabels()
    suspects.update(["straße,1.png"], look(*one_wrong(8, 32)))
    suspects.write_csv(tmp_path / "suspects.csv", limit=1)
    with (tmp_path / "suspects.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["image"] == "straße,1.png"
    assert row["label"] == "2"
    assert float(row["score"]) == pytest.approx(suspects.ranked()[0].score, rel=STORED)


@pytest.mark.parametrize(
    ("margin", "rows", "columns"), [(0.0, (8, 16), (32, 40)), (0.5, (4, 20), (28, 44))]
)
def test_a_crop_shows_the_region(
    margin: float, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    image = torch.rand(3, 32, 48)
    box = Box(8 / 32, 32 / 48, 16 / 32, 40 / 48)
    cut = image[:, slice(*rows), slice(*columns)]
    assert torch.equal(box.cut(image, margin=margin), cut)


def test_ignored_pixels_are_never_suspected() -> None:
    losses, labels = one_wrong(8, 32)
    valid = labels == 0
    suspects = SuspectedLabels(resolution=48)
    found = diagnose_losses(losses, valid=valid, labels=labels, num_classes=3)
    suspects.update(["a"], found)
    assert all(s.label == 0 for s in suspects.ranked())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 0}, "resolution must be an integer >= 1, got 0"),
        ({"min_visits": 1.5}, "min_visits must be an integer >= 1, got 1.5"),
        ({"persistence": 0}, r"persistence must be a share of the visits in \(0, 1\], got 0"),
        ({"persistence": math.nan}, "persistence must be a share of the visits"),
    ],
)
def test_options_outside_their_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SuspectedLabels(**options)


def test_batches_that_do_not_fit() -> None:
    suspects = SuspectedLabels()
    found = look(*one_wrong(8, 32))
    with pytest.raises(ValueError, match="images holds 2 entries for a batch of 1"):
        suspects.update(["a", "b"], found)
    with pytest.raises(ValueError, match="places holds 0 entries for a batch of 1"):
        suspects.update(["a"], found, places=[])
    with pytest.raises(ValueError, match=r"a place must be \(top, left, bottom, right\) in shares"):
        suspects.update(["a"], found, places=[Box(0, 0, 32, 48)])
    with pytest.raises(ValueError, match=r"with labels, \(B, H, W\), got .* no labels"):
        suspects.update(["a"], diagnose_losses(one_wrong(8, 32)[0]))
    with pytest.raises(ValueError, match=r"got shape \(2, 9\)"):
        suspects.update(
            ["a", "b"],
            diagnose_losses(torch.rand(2, 9), labels=torch.zeros(2, 9).long(), num_classes=2),
        )
    assert len(suspects) == 0


def test_a_batch_pool_works_as_well() -> None:
    logits, target = labeled(2, 3, 16, 16)
    suspects = SuspectedLabels(resolution=16)
    suspects.update([0, 1], diagnose(MaxPoolingCrossEntropyLoss(pool="batch"), logits, target))
    assert len(suspects) == 2
