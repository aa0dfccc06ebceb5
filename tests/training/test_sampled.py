"""The methods with the sampler: what decides their crops, and what must not."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lossmaxpool.data import StreetScenes
from lossmaxpool.runs.config import HardwareConfig, SamplingConfig
from lossmaxpool.runs.methods import METHODS
from lossmaxpool.runs.record import RECORD
from lossmaxpool.sampling import ClassIndex, PerformanceSampler
from lossmaxpool.training import TrainConfig, TrainingError, checkpoints, train
from tests.training.runs import assert_same_weights, tiny, weights

SAMPLED = [method.id for method in METHODS.values() if method.sampler]


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of lmp; not to be written to."""
    folder = tmp_path_factory.mktemp("sampled") / "lmp"
    train(tiny("lmp"), folder)
    return folder


def with_sampling(config: TrainConfig, **options: object) -> TrainConfig:
    return replace(config, sampling=replace(config.sampling, **options))


def feedback(folder: Path) -> dict[str, dict[str, Any]]:
    """The sampler and the running IoU of the last checkpoint."""
    content: dict[str, dict[str, Any]] = torch.load(folder / checkpoints.LAST, weights_only=True)
    return content


def test_sampled_methods_have_a_twin_that_is_not() -> None:
    for method, twin in (("base+", "base"), ("lmp", "loss-only")):
        assert METHODS[method].sampler
        assert not METHODS[twin].sampler
        assert METHODS[method].criterion == METHODS[twin].criterion
    assert [METHODS[method].label for method in SAMPLED] == ["BASE+", "LMP"]


def test_the_iou_of_the_crops_reaches_the_sampler(sampled: Path) -> None:
    state = feedback(sampled)
    config = tiny("lmp")
    assert state["sampler"]["step"] == 8
    known = state["sampler"]["known"]
    assert sorted(known) == [1, 2]  # after 3 and after 6 steps
    assert all(0 <= value <= 1 for iou in known.values() for value in iou[~iou.isnan()].tolist())
    # Every pixel of the latest batch is in the matrix, and faded ones of those before.
    crop = config.optimization.crop_size[0] * config.optimization.crop_size[1]
    batch = config.optimization.batch_size * crop
    fading = 2 ** (-1 / config.sampling.half_life)
    assert state["running_iou"]["matrix"].sum() <= batch * sum(fading**k for k in range(8))
    assert state["running_iou"]["matrix"].sum() > 4 * batch


def test_the_iou_decides_crops(sampled: Path, tmp_path: Path) -> None:
    """With an interval of 4 no crop of these eight steps is decided by an IoU; with 3, some are."""
    train(with_sampling(tiny("lmp"), update_interval=4), tmp_path / "run")
    different, same = weights(tmp_path / "run"), weights(sampled)
    assert any(not torch.equal(different[name], same[name]) for name in same)


def test_without_a_blend_lmp_is_loss_only(finished: Path, tmp_path: Path) -> None:
    train(with_sampling(tiny("lmp"), blend=0.0), tmp_path / "run")
    assert_same_weights(tmp_path / "run", finished)


def test_workers_change_nothing(tmp_path: Path) -> None:
    longer = with_sampling(tiny("lmp"), update_interval=5)
    longer = replace(longer, optimization=replace(longer.optimization, steps=13))
    train(longer, tmp_path / "none")
    two = replace(longer, hardware=replace(longer.hardware, workers=2))
    train(two, tmp_path / "two")
    assert_same_weights(tmp_path / "none", tmp_path / "two")
    assert torch.equal(
        feedback(tmp_path / "none")["running_iou"]["matrix"],
        feedback(tmp_path / "two")["running_iou"]["matrix"],
    )


@pytest.mark.parametrize("method", SAMPLED)
def test_an_interval_that_workers_overrun_is_refused(method: str) -> None:
    few = SamplingConfig(update_interval=4)
    with pytest.raises(ValueError, match=r"interval is 4: 2 workers draw 5 .*workers to 1"):
        TrainConfig(method=method, sampling=few, hardware=HardwareConfig(workers=2))
    TrainConfig(method=method, sampling=few, hardware=HardwareConfig(workers=1))
    TrainConfig(method="base", sampling=few, hardware=HardwareConfig(workers=2))


def test_other_masks_are_refused(
    sampled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = StreetScenes.mask

    def mask(self: StreetScenes, index: int) -> torch.Tensor:
        changed = original(self, index).clone()
        changed[0, 0] = 5 - changed[0, 0].clamp(max=4)
        return changed

    folder = copied(sampled, tmp_path)
    before = (folder / RECORD).read_bytes()
    monkeypatch.setattr(StreetScenes, "mask", mask)
    with pytest.raises(ValueError, match=r"state is of another run \(masks: .* resume with the da"):
        train(tiny("lmp", cache=False), folder, resume=True)
    assert (folder / RECORD).read_bytes() == before


def test_other_classes_are_refused(
    sampled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = StreetScenes.__init__

    def renamed(self: StreetScenes, *args: object, **options: object) -> None:
        original(self, *args, **options)  # type: ignore[arg-type]
        self.labels = replace(self.labels, names=(*self.labels.names[:-1], "unicorn"))

    folder = copied(sampled, tmp_path)
    before = (folder / RECORD).read_bytes()
    monkeypatch.setattr(StreetScenes, "__init__", renamed)
    with pytest.raises(TrainingError, match=r"on the 12 classes road, .* 12 classes .*unicorn"):
        train(tiny("lmp", cache=False), folder, resume=True)
    assert (folder / RECORD).read_bytes() == before


def copied(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def test_classes_without_a_pixel_are_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = StreetScenes.__getitem__

    def without_road(self: StreetScenes, index: int) -> object:
        sample = original(self, index)
        return replace(sample, mask=sample.mask.where(sample.mask != 0, 255))

    monkeypatch.setattr(StreetScenes, "__getitem__", without_road)
    short = replace(tiny("lmp", cache=False), optimization=replace(tiny().optimization, steps=1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(short, tmp_path / "run")
    found = [str(one.message) for one in caught if "never drawn" in str(one.message)]
    assert len(found) == 1
    assert "never drawn: road" in found[0]


def test_uniform_draws_are_every_image_once_per_round() -> None:
    index = ClassIndex(torch.ones(10, 2, dtype=torch.int64))
    sampler = PerformanceSampler(index, 4, 3, blend=0.0, steps=5)
    images = [draw.image for batch in sampler for draw in batch]
    assert sorted(images[:10]) == sorted(images[10:]) == list(range(10))
