"""Criteria by import path, built and used as training does."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

from lossmaxpool.data import IGNORE_INDEX, DataConfig
from lossmaxpool.models import ModelConfig
from lossmaxpool.report import format_table
from lossmaxpool.runs.config import LossConfig, ReportingConfig, TrainConfig
from lossmaxpool.runs.methods import Imported, method_named
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training import TrainingError, building, compare, train
from lossmaxpool.training.criteria import build_criterion
from lossmaxpool.training.imported import build_imported
from tests.cli.test_values import status
from tests.data import trees
from tests.training.runs import batch, tiny
from tests.training.test_resume import assert_resumed_is_whole

CLASS_PIXELS = torch.tensor([[90, 10, 0], [60, 0, 40]])
TORCH = "torch.nn.CrossEntropyLoss"


class Mean(nn.Module):
    """A criterion that knows no ignored pixels."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits, target)


class Trained(Mean):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))


class Three(nn.Module):
    def forward(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        raise AssertionError


class Never(Mean):
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return super().forward(logits, target) * torch.nan


class Constant(Mean):
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return torch.ones(())


class Number(nn.Module):
    def forward(self, logits: Tensor, target: Tensor) -> float:
        return 1.0


class OneHot(nn.Module):
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return (logits.softmax(1) - target).square().mean()


OBJECT = Mean()


def made(scale: float) -> nn.Module:
    return nn.CrossEntropyLoss(label_smoothing=scale)


class Counting(Mean):
    """A criterion with a state: each step weighs more than the one before."""

    calls: Tensor

    def __init__(self, ignore_index: int = -1) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        self.calls += 1
        loss = F.cross_entropy(logits, target, ignore_index=self.ignore_index)
        return loss * self.calls.clone()


def reference(logits: Tensor, target: Tensor, **options: Any) -> Tensor:
    full = F.interpolate(logits, size=(16, 16), mode="bilinear", align_corners=False)
    return F.cross_entropy(full, target, ignore_index=IGNORE_INDEX, **options)


@pytest.mark.parametrize(
    "imported",
    [
        Imported(TORCH, {}),
        Imported(TORCH, {"ignore_index": -1}),
        Imported(f"{__name__}.Mean", {}, valid_only=True),
        Imported(f"{__name__}:Mean", {}, valid_only=True),
        Imported("torch.nn.functional.cross_entropy", {}),
        Imported(f"{__name__}.made", {"scale": 0.0}, valid_only=True),
    ],
)
def test_ignored_pixels_are_ignored_whatever_the_criterion_calls_them(imported: Imported) -> None:
    logits, target = batch()
    criterion = build_imported(imported, 3, None)
    torch.testing.assert_close(criterion(logits, target), reference(logits, target))
    half = criterion(logits.half(), target)
    assert half.dtype == torch.float32


def test_a_criterion_without_ignore_index_is_not_given_ignored_pixels() -> None:
    criterion = build_imported(Imported(f"{__name__}.Mean", {}), 3, None)
    logits, target = batch()
    assert criterion(logits, target.clamp(max=2)).isfinite()
    with pytest.raises(ValueError, match=r"Mean takes no ignore_index.* 'valid_only: true'"):
        criterion(logits, target)


@pytest.mark.parametrize("path", [TORCH, "torch.nn.functional.cross_entropy"])
def test_class_weights_of_the_training_split_reach_any_criterion(path: str) -> None:
    definition = {"class_path": path, "class_weights": "median-frequency"}
    outside = method_named("x", {"x": definition}).criterion
    own = method_named("inverse-median", {}).criterion
    logits, target = batch()
    found, expected = (
        build_criterion(each, LossConfig(), CLASS_PIXELS)(logits, target) for each in (outside, own)
    )
    torch.testing.assert_close(found, expected)


def test_a_sum_has_the_weighted_value_and_gradient_of_its_parts() -> None:
    parts = [{"method": "base"}, {"class_path": TORCH, "init_args": {"label_smoothing": 0.2}}]
    both = method_named("x", {"x": {"sum": parts, "weights": [2, 0.5]}}).criterion
    logits, target = batch()
    loss = build_criterion(both, LossConfig(), CLASS_PIXELS)(logits, target)
    smooth = reference(logits, target, label_smoothing=0.2)
    expected = 2 * reference(logits, target) + 0.5 * smooth
    torch.testing.assert_close(loss, expected)
    gradients = [torch.autograd.grad(each, logits)[0] for each in (loss, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    ("path", "arguments", "message"),
    [
        ("nowhere.at.all.Loss", {}, "there is no module nowhere; install nowhere"),
        ("torch.nn.CrossEntropy", {}, "torch.nn has no CrossEntropy. Did you mean 'CrossEntropyL"),
        ("CrossEntropyLoss", {}, "expected an import path such as package.module.Name"),
        ("torch.pi", {}, "a float: expected a class of criteria"),
        (TORCH, {"smoothing": 1}, "takes no smoothing. .*There are: .*label_smoothing"),
        (TORCH, {"weight": 3, "ignore_index": "x"}, "refuses its init_args: TypeError"),
        (TORCH, {"reduction": "none"}, r"returns a tensor of shape \(2, 32, 32\): expected a scal"),
        (f"{__name__}.Three", {}, "cannot be called with logits .*'weight'"),
        (f"{__name__}.Number", {}, "returns a float: expected a scalar tensor"),
        (f"{__name__}.Never", {}, "returns nan on random logits: expected a finite loss"),
        (f"{__name__}.Constant", {}, "has no finite gradient"),
        (f"{__name__}.Trained", {}, "has parameters to train"),
        (f"{__name__}.OneHot", {}, "cannot be called with .*; write a function that gives it"),
        (f"{__name__}.OBJECT", {}, "a Mean: expected a class of criteria or a function"),
        (f"{__name__}.made", {}, "made needs scale: add it to init_args"),
        ("torch.nn.functional.cross_entropy", {"eps": 1}, "takes no eps. .*There are: weight, "),
    ],
)
def test_what_does_not_fit_is_one_line(path: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        build_imported(Imported(path, arguments), 3, None)
    assert "\n" not in str(error.value)


def test_a_run_says_what_it_was_trained_with_and_resumes(tmp_path: Path) -> None:
    losses = {"both": {"sum": [{"method": "loss-only"}, {"class_path": TORCH}], "lr": 0.02}}
    config = replace(tiny(), method="both", losses=losses | {"other": {"method": "base"}})
    record = train(config, tmp_path / "run")
    assert record.config["optimization"]["lr"] == 0.02
    assert record.config["losses"]["both"]["sum"][1]["class_path"] == TORCH
    assert record.environment["torch"] == version("torch")
    assert RunRecord.read(tmp_path / "run").max_pooled
    assert "both reaches" in format_table([tmp_path / "run"])
    saved = TrainConfig.from_dict(yaml.safe_load((tmp_path / "run" / "config.yaml").read_text()))
    assert saved == config.resolved()
    assert train(saved, tmp_path / "run", resume=True).finished


def test_the_state_of_a_criterion_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = {"counting": {"class_path": f"{__name__}.Counting"}}
    config = replace(tiny(), method="counting", losses=losses)
    assert_resumed_is_whole(config, tmp_path, monkeypatch, step=4)


def test_the_command_takes_a_file_of_losses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = tiny().to_dict()
    del shared["method"], shared["seed"]
    shared["optimization"]["steps"] = 1
    (tmp_path / "shared.yaml").write_text(yaml.safe_dump(shared))
    losses = tmp_path / "losses.yaml"
    losses.write_text(f"smooth: {{class_path: {TORCH}, init_args: {{label_smoothing: 0.1}}}}\n")
    out = tmp_path / "out"
    words = ["compare", "--config", tmp_path / "shared.yaml", "--losses", losses, "--seeds", "0"]
    assert status([*words, "--methods", "smooth,dice-lmp", "--out", out]) == 0
    page = (out / "report.html").read_text("utf-8")
    assert f"{TORCH} (label_smoothing: 0.1)" in page
    assert "Dice + LMP" in page
    # Without the file: its definitions are among the options of the folder.
    assert status(["compare", "--out", out, "--resume"]) == 0
    capsys.readouterr()
    new = tmp_path / "new"
    assert status([*words, "--methods=smoth", "--out", new]) == 2
    assert "Did you mean 'smooth'?" in capsys.readouterr().err
    losses.write_text("smooth: {class_path: torch.nn.CrossEntropyLos}\n")
    assert status([*words, "--methods=smooth", "--out", new]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("error: class_path is 'torch.nn.CrossEntropyLos'")
    assert not new.exists()


def test_rivals_are_compared_on_folders_of_images_with_one_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = trees.split_folders(tmp_path / "images", {"train": 4, "val": 2})
    words = "compare --methods base,lmp,focal,dice-ce,lovasz,ohem,topk --seeds 0"
    small = (
        "--model.module tests.models.test_outside.Tiny --optimization.steps 2 "
        "--optimization.batch_size 2 --optimization.crop_size 8 --reporting.loggers [] "
        "--hardware.accelerator cpu --hardware.threads 1 --hardware.workers 0"
    )
    out = tmp_path / "out"
    assert status([*f"{words} {small} --data.root".split(), root, "--out", out]) == 0
    labels = ("BASE", "LMP", "Focal", "Dice + CE", "Lovász", "OHEM", "Top-k")
    head = next(line for line in capsys.readouterr().out.splitlines() if "share %" in line)
    page = (out / "report.html").read_text("utf-8")
    assert all(label in head and label in page for label in labels)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"losses": {"x": {"class_path": "torch.nn.CrossEntropyLos"}}}, "Did you mean 'CrossE"),
        ({"losses": {"x": {"class_path": TORCH, "init_args": {"eps": 1}}}}, "takes no eps"),
        ({"losses": {"x": {"class_path": f"{__name__}.Three"}}}, "cannot be called with logits"),
        ({"model": ModelConfig(module="torch.nn.Convolution")}, "torch.nn has no Convolution"),
        ({"model": ModelConfig(module="torch.nn.Conv2d", module_args={"x": 1})}, "takes no x"),
        ({"data": DataConfig(name="python", train="no.where", val="no.where")}, "no module no"),
        (
            {"data": DataConfig(name="python", train="math:pi", val="math:pi")},
            "expected a function",
        ),
        (
            {"data": DataConfig(name="python", train="math:sin", val="math:sin")},
            "math:sin needs x: expected a function that is called without arguments",
        ),
        ({"model": ModelConfig(module="torch.nn.Linear")}, "Linear needs in_features and out"),
        ({"reporting": ReportingConfig(loggers=["wandb"])}, "wandb, which is not installed: pip"),
    ],
)
def test_what_cannot_be_right_is_refused_before_data_and_weights(
    part: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the data were opened")

    monkeypatch.setattr(building, "open_splits", never)
    # As where it is not installed.
    monkeypatch.setitem(sys.modules, "wandb", None)
    config = replace(tiny(), **part)
    if "losses" in part:
        config = replace(config, method="x")
    with pytest.raises((TrainingError, ValueError), match=message) as error:
        train(config, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("tuned", [False, True])
def test_a_method_that_does_not_fit_stops_a_comparison_before_its_first_run(
    tuned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the masks were read")

    monkeypatch.setattr(building, "count_split", never)
    losses = {"each": {"class_path": TORCH, "init_args": {"reduction": "none"}}}
    config = replace(tiny(), losses=losses)
    with pytest.raises(ValueError, match=r"returns a tensor of shape \(2, 32, 32\)"):
        compare(config, ["base", "each"], [0], tmp_path / "out", tune_lr=tuned)
    assert not list(tmp_path.glob("out/*"))
