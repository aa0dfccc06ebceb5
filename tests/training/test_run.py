from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from lossmaxpool.data import IGNORE_INDEX, StreetScenes, open_dataset
from lossmaxpool.data.inspection import class_statistics
from lossmaxpool.inference import load_checkpoint
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training import TrainingError, train
from lossmaxpool.training.checkpoints import BEST, LAST, kept_checkpoints
from tests.tolerances import ABOVE_THE_MEAN, STORED
from tests.training.runs import tiny


def test_the_run_folder_is_complete(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == {
        "config.yaml",
        "record.json",
        "checkpoints",
        "evolution",
        "examples",
        "tensorboard",
    }
    assert not list(finished.rglob("*.partial"))
    assert yaml.safe_load((finished / "config.yaml").read_text()) == tiny().to_dict()
    assert any((finished / "tensorboard").iterdir())


def test_the_report_can_read_the_record(finished: Path) -> None:
    run = RunRecord.read(finished)
    assert run.finished
    assert [evaluation.step for evaluation in run.evaluations] == [3, 6, 8]
    assert [point.step for point in run.curve] == list(range(1, 9))
    assert len(run.examples) == 2


def test_every_validation_pixel_counts_once(finished: Path) -> None:
    record = RunRecord.read(finished)
    assert [sum(row) for row in record.confusion] == record.val_pixels


def test_the_calibration_is_that_of_the_last_evaluation(finished: Path) -> None:
    record = RunRecord.read(finished)
    assert record.calibration is not None
    assert sum(record.calibration.pixels) == sum(record.val_pixels)
    each = zip(record.calibration.pixels, record.calibration.accuracy, strict=True)
    right = sum(pixels * accuracy for pixels, accuracy in each if pixels)
    assert right / sum(record.val_pixels) == pytest.approx(record.pixel_accuracy, abs=STORED)


def test_the_record_counts_the_labeled_pixels(finished: Path) -> None:
    statistics = class_statistics(open_dataset(tiny().data, "train"))
    assert RunRecord.read(finished).train_pixels == statistics.class_pixels.tolist()


def test_the_rate_follows_the_schedule(finished: Path) -> None:
    optimization = tiny().optimization
    rates = [point.learning_rate for point in RunRecord.read(finished).curve]
    expected = [optimization.lr * (1 - step / 8) ** optimization.poly_power for step in range(8)]
    assert rates == pytest.approx(expected)


def test_max_pooling_lies_above_the_mean(finished: Path) -> None:
    # L_W > mean loss, image by image; the crops here have no ignored pixel to tell them apart.
    for point in RunRecord.read(finished).curve:
        assert point.loss > ABOVE_THE_MEAN * point.cross_entropy


def test_inference_opens_the_checkpoints(finished: Path) -> None:
    for name in (LAST, BEST):
        assert load_checkpoint(finished / name).description.classes[0] == "road"


def test_the_best_checkpoint_is_that_of_the_best_evaluation(finished: Path) -> None:
    evaluations = RunRecord.read(finished).evaluations
    best = max(evaluations, key=lambda evaluation: (evaluation.miou, evaluation.step))
    content = torch.load(finished / BEST, weights_only=True)
    assert content["global_step"] == best.step


@pytest.mark.parametrize("workers", [0, 1])
def test_a_cache_changes_nothing(workers: int, finished: Path, tmp_path: Path) -> None:
    record = train(tiny(cache=False, workers=workers), tmp_path / "run")
    assert record.curve == RunRecord.read(finished).curve


def test_bfloat16_trains(tmp_path: Path) -> None:
    config = tiny(precision="bf16-mixed")
    short = replace(config, optimization=replace(config.optimization, steps=2))
    assert train(short, tmp_path / "run").status == "finished"


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(TrainingError, match="not empty: choose a new folder, or add --resume"):
        train(tiny(), tmp_path)
    with pytest.raises(TrainingError, match=r"no config\.yaml to resume from"):
        train(tiny(), tmp_path, resume=True)
    with pytest.raises(TrainingError, match=r"thesis\.tex is a file: choose a new folder"):
        train(tiny(), tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_missing_data_set_leaves_no_folder(tmp_path: Path) -> None:
    config = tiny()
    config.data.name = "camvid"
    with pytest.raises(ValueError, match="needs a root"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_hardware_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="Lightning refuses this hardware"):
        train(tiny(accelerator="gpu", devices=64), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_deeplab_has_the_rates_of_its_authors(tmp_path: Path) -> None:
    config = tiny()
    model = replace(config.model, architecture="DeepLabV2", decoder_options={})
    rates = replace(config.optimization, steps=1, lr=0.5, head_bias_lr_multiplier=20)
    train(replace(config, model=model, optimization=rates), tmp_path / "run")
    state = torch.load(tmp_path / "run" / LAST, weights_only=True)["optimizer"]
    found = {group["name"]: group for group in state["param_groups"]}
    assert {name: group["initial_lr"] for name, group in found.items()} == {
        "encoder": 0.5,
        "head": 5.0,
        "head biases": 10.0,
    }
    assert found["head biases"]["weight_decay"] == 0
    assert found["head"]["weight_decay"] == found["encoder"]["weight_decay"] == rates.weight_decay


def test_crops_of_any_size_train(tmp_path: Path) -> None:
    config = tiny("lmp")
    model = replace(config.model, architecture="DeepLabV2", decoder_options={})
    odd = replace(config.optimization, crop_size=(41, 35), steps=2)
    record = train(replace(config, model=model, optimization=odd), tmp_path / "run")
    assert record.status == "finished"


def test_masks_without_a_label_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ignored(self: StreetScenes, index: int) -> torch.Tensor:
        return torch.full((48, 64), IGNORE_INDEX, dtype=torch.uint8)

    monkeypatch.setattr(StreetScenes, "mask", ignored)
    with pytest.raises(TrainingError, match="street-scenes/train has no labeled pixel"):
        train(tiny(cache=False), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_checkpoints_of_the_last_evaluations_stay(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    config = tiny()
    train(replace(config, reporting=replace(config.reporting, keep_checkpoints=2)), folder)
    kept = kept_checkpoints(folder)
    assert [path.name for path in kept] == ["step-00000006.ckpt", "step-00000008.ckpt"]
    assert [load_checkpoint(path).step for path in kept] == [6, 8]
    assert kept[-1].read_bytes() == (folder / LAST).read_bytes()


def test_no_further_checkpoint_stays_unasked(finished: Path) -> None:
    assert sorted(path.name for path in (finished / LAST).parent.iterdir()) == [
        "best.ckpt",
        "last.ckpt",
    ]
