"""The looks of a run at its weights: recorded, merged, resumed, and labels that they suspect."""

from __future__ import annotations

import csv
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from lossmaxpool.crops import RandomCrop
from lossmaxpool.data import DataConfig, LabelSet, Sample, SegmentationDataset
from lossmaxpool.diagnostics import Box, SuspectedLabels, diagnose
from lossmaxpool.losses import LogitAdjustedLoss, MaxPoolingCrossEntropyLoss
from lossmaxpool.models import ModelConfig
from lossmaxpool.runs.config import DiagnosticsConfig, LossConfig, TrainConfig
from lossmaxpool.runs.methods import METHODS, method_named
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training import train
from lossmaxpool.training.checkpoints import LAST
from lossmaxpool.training.criteria import build_criterion
from lossmaxpool.training.diagnosing import WeightWatch, pools
from lossmaxpool.training.loading import Batch
from tests.diagnostics.test_suspects import WRONG, Task, overlap, planted
from tests.ranks import in_ranks
from tests.tolerances import FLOAT32, ROUNDED_SHARES
from tests.training.runs import assert_same_weights, tiny
from tests.training.test_resume import assert_resumed_is_whole

COUNTS = torch.tensor([[90, 10, 0], [60, 0, 40]])


def looking(method: str = "loss-only", **options: float) -> TrainConfig:
    return replace(tiny(method), diagnostics=DiagnosticsConfig(**{"every": 2, **options}))


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("looked") / "run"
    train(looking(suspects=3), folder)
    return folder


def test_a_run_records_where_its_weights_sit(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    # Near p = 1, weights reach the cap whatever the losses are.
    train(replace(looking(), loss=LossConfig(p=1.05)), folder)
    record = RunRecord.read(folder)
    assert [point.step for point in record.weights] == [2, 4, 6, 8]
    for point in record.weights:
        assert 0 < point.capped_share <= 0.25
        assert 0.25 <= point.effective_support <= 1
        assert sum(point.class_mass) == pytest.approx(1, abs=ROUNDED_SHARES)
        assert sum(point.class_share) == pytest.approx(1, abs=ROUNDED_SHARES)
    assert any(folder.glob("tensorboard/*"))


def test_looking_changes_nothing(looked: Path, finished: Path) -> None:
    assert_same_weights(looked, finished)
    assert RunRecord.read(finished).weights == []


def test_suspects_are_listed_with_pictures(looked: Path) -> None:
    record = RunRecord.read(looked)
    with (looked / "suspects.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert 0 < len(rows) == len(record.suspects) <= 3
    for row, suspect in zip(rows, record.suspects, strict=True):
        assert row["image"] == suspect.name
        assert {suspect.label, suspect.predicted} <= set(record.classes)
        assert row["picture"] == suspect.picture
        with Image.open(looked / suspect.picture) as picture:
            assert picture.width % 3 == 0
    scores = [suspect.score for suspect in record.suspects]
    assert scores == sorted(scores, reverse=True)


def test_a_resumed_run_has_seen_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_resumed_is_whole(looking(suspects_after=0.0), tmp_path, monkeypatch, step=5)
    ours, theirs = (RunRecord.read(tmp_path / name) for name in ("run", "whole"))
    assert ours.weights == theirs.weights
    assert ours.suspects == theirs.suspects


@pytest.mark.parametrize("options", [{"every": 0}, {"suspects": 0}])
def test_it_can_be_switched_off(options: dict[str, int], tmp_path: Path) -> None:
    record = train(looking(**options), tmp_path / "run")
    assert len(record.weights) == (0 if "every" in options else 4)
    assert not record.suspects
    assert not (tmp_path / "run" / "suspects.csv").exists()
    state = torch.load(tmp_path / "run" / LAST, weights_only=True)["suspects"]
    assert not state["cells"]


def part(seed: int, size: int = 2) -> tuple[Tensor, Tensor, Batch]:
    """Logits, padded masks and the loaded batch: crops of 12 x 16 pixels of two images."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(size, 3, 4, 4, generator=generator)
    mask = torch.randint(3, (size, 12, 16), generator=generator)
    mask[:, :2] = 255
    place = torch.tensor([[0.0, 0.0, 0.5, 1.0, 0.0, 24.0, 16.0]] * size)
    batch = {"mask": mask, "index": torch.arange(size) + 10 * seed, "place": place}
    return logits, torch.nn.functional.pad(mask, (0, 0, 0, 4), value=255), batch


def watch(method: str, pool: str = "image") -> WeightWatch:
    criterion = build_criterion(
        method_named(method, {}).criterion,
        LossConfig(pool=pool, bootstrap_k=20),  # type: ignore[arg-type]
        COUNTS,
    )
    return WeightWatch(looking(suspects_after=0.0), criterion, SuspectedLabels(resolution=8))


def test_two_parts_are_seen_as_one() -> None:
    whole, parts = watch("loss-only"), watch("loss-only")
    pieces = [part(1), part(2)]
    for piece in pieces:
        parts.look(*piece, step=1)
    logits, masks = (torch.cat([piece[k] for piece in pieces]) for k in (0, 1))  # type: ignore
    batch = {key: torch.cat([piece[2][key] for piece in pieces]) for key in pieces[0][2]}
    whole.look(logits, masks, batch, step=1)
    assert parts.point(1) == whole.point(1)
    assert parts.suspects.ranked() == whole.suspects.ranked()


POOLS = ("image", "batch", "world")


def test_two_ranks_are_seen_as_one_process(tmp_path: Path) -> None:
    in_ranks(_rank, 2, tmp_path)
    pieces = [part(1), part(2)]
    logits, masks = (torch.cat([piece[k] for piece in pieces]) for k in (0, 1))  # type: ignore
    batch = {key: torch.cat([piece[2][key] for piece in pieces]) for key in pieces[0][2]}
    for pool in POOLS:
        one = watch("loss-only", pool)
        # A pool of the batch is one of each process; one over the world is one of all of them.
        for piece in pieces if pool == "batch" else [(logits, masks, batch)]:
            one.look(*piece, step=1)
        expected, suspects = asdict(one.point(1)), one.suspects.ranked()
        for rank in range(2):
            point, ranked = torch.load(tmp_path / f"{pool}{rank}.pt", weights_only=False)
            for key, value in asdict(point).items():
                assert value == pytest.approx(expected[key], rel=ROUNDED_SHARES)
            assert [s[:3] for s in ranked] == [s[:3] for s in suspects]


def _rank(rank: int, size: int, folder: Path) -> None:
    for pool in POOLS:
        seen = watch("loss-only", pool)
        seen.look(*part(1 + rank), step=1)
        torch.save((seen.point(1), seen.suspects.ranked()), folder / f"{pool}{rank}.pt")


@pytest.mark.parametrize("name", [*METHODS, "dice-lmp"])
def test_methods_that_pool_are_looked_at(name: str) -> None:
    if name == "dice-lmp":
        pytest.importorskip("segmentation_models_pytorch")
    seen = watch(name)
    assert seen.due(2) == pools(seen.criterion)
    assert not seen.due(3)
    pooling = {"loss-only", "lmp", "bootstrap", "topk", "adjusted-lmp", "dice-lmp"}
    assert pools(seen.criterion) == (name in pooling)
    if name in pooling:
        seen.look(*part(1), step=1)
        assert seen.point(2).effective_support > 0


def test_adjusted_logits_are_those_that_are_pooled() -> None:
    pooled = MaxPoolingCrossEntropyLoss(ignore_index=255)
    adjusted = LogitAdjustedLoss(pooled, COUNTS)
    seen = watch("loss-only")
    seen.criterion = adjusted
    logits, masks, batch = part(1)
    seen.look(logits, masks, batch, step=1)
    expected = diagnose(pooled, adjusted.adjusted(logits), masks).scalars()
    assert seen.point(1).threshold == pytest.approx(expected["threshold"], rel=ROUNDED_SHARES)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("crop", [(20, 24), (40, 90)])
def test_a_crop_says_where_it_lies(seed: int, crop: tuple[int, int]) -> None:
    H, W = 48, 64
    rows = torch.arange(H).float().view(1, H, 1).expand(1, H, W)
    columns = torch.arange(W).float().view(1, 1, W).expand(1, H, W)
    cut = RandomCrop(crop, (0.8, 1.25))
    image, mask = cut(torch.cat([rows, columns]), torch.zeros(H, W), seed, fill=-1)
    top, left, bottom, right, flipped = cut.place(H, W, seed)
    if flipped:
        image, mask = image.flip(-1), mask.flip(-1)
    for axis, (first, last, length) in enumerate([(top, bottom, H), (left, right, W)]):
        pixels = crop[axis]
        expected = ((torch.arange(pixels) + 0.5) / pixels * (last - first) + first) * length - 0.5
        found = image[axis].amax(1 - axis)
        inside = (mask != 255).any(1 - axis)
        # Resampling blends neighbors, and at the ends of an image it has none.
        assert (found - expected)[inside].abs().max() < 1
        outside = (expected < -0.5 - FLOAT32) | (expected > length - 0.5 + FLOAT32)
        assert torch.equal(outside, ~inside)


class Planted(SegmentationDataset):
    """The squares of which some are labeled with the other ink."""

    name = "planted"
    labels = LabelSet(("ground", "red", "blue"), ((0, 0, 0), (255, 0, 0), (0, 0, 255)))

    def __init__(self, task: Task) -> None:
        self.task = task

    def __len__(self) -> int:
        return len(self.task.images)

    def __getitem__(self, index: int) -> Sample:
        image = (255 * (self.task.images[index] + 0.5).clamp(0, 2) / 2).byte()
        return Sample(image, self.mask(index), self.sample_name(index))

    def mask(self, index: int) -> Tensor:
        return self.task.target[index].byte()

    def sample_name(self, index: int) -> str:
        return str(index)


def test_planted_errors_lead_the_list(tmp_path: Path) -> None:
    """12 of 96 squares are wrong: chance finds one in eight, and hardly ever its place."""
    task = planted()
    base = looking(every=1, suspects=WRONG, suspects_after=0.6)
    optimization = replace(
        base.optimization,
        steps=60,
        batch_size=8,
        lr=0.1,
        crop_size=(48, 48),
        scale_range=(0.8, 1.5),
    )
    reporting = replace(base.reporting, eval_every=0, checkpoint_every=60, examples=0, evolution=0)
    config = replace(
        base,
        data=DataConfig(),
        model=ModelConfig(),
        optimization=optimization,
        reporting=reporting,
    )
    network = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 3, 1))
    torch.manual_seed(0)
    for layer in (network[0], network[2]):
        layer.reset_parameters()
    sets = {"train_set": Planted(task), "val_set": Planted(task)}
    record = train(config, tmp_path / "run", **sets, model=network)
    hits = [
        suspect
        for suspect in record.suspects
        if int(suspect.name) in task.errors
        and overlap(Box(*suspect.box), task.errors[int(suspect.name)]) > 0.4
    ]
    assert len(hits) >= 0.7 * WRONG
    assert all({suspect.label, suspect.predicted} == {"red", "blue"} for suspect in hits)
