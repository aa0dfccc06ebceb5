"""The trainers inside the real nnU-Net: planned, preprocessed, trained and validated."""

from __future__ import annotations

import inspect
import json
import multiprocessing
from collections.abc import Iterator
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.adapters.test_page import SNIPPET, sections
from tests.cases import labeled
from tests.reference import assert_agree, assert_near, value_and_gradient
from tests.tolerances import FLOAT32, FROM_LOGITS

pytestmark = pytest.mark.filterwarnings("ignore")

SIDE = 32
IGNORED = 3
LABELS = {"background": 0, "left": 1, "right": 2, "ignore": IGNORED}
REGIONS = {"background": 0, "both": [1, 2], "right": 2, "ignore": IGNORED}

# As a user writes it, and as on the page: one line, and trainers with other options.
TRAINERS = """\
from lossmaxpool.adapters.nnunet import *
from nnunetv2.training.nnUNetTrainer.variants.loss.nnUNetTrainerCELoss import nnUNetTrainerCELoss
import torch


class Short:
    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cpu")):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 1, 3, 1


class ShortMaxPooling(Short, nnUNetTrainerMaxPooling):
    p = 1.7


class ShortDiceMaxPooling(Short, nnUNetTrainerDiceMaxPooling):
    pass


class Mean(nnUNetTrainerDiceMaxPooling):
    p, pool = float("inf"), "batch"


class Unpooled(nnUNetTrainerMaxPooling):
    p = 0.5


class Negative(nnUNetTrainerMaxPooling):
    dice_weight = -1


class WithoutDice(nnUNetTrainerDiceMaxPooling, nnUNetTrainerCELoss):
    pass


class FromCrossEntropy(nnUNetTrainerMaxPooling, nnUNetTrainerCELoss):
    pass
"""


def write_data(raw: Path, labels: dict[str, Any]) -> None:
    """Four small pictures: two squares, and a border that nobody labeled."""
    rng = np.random.default_rng(0)
    for kind in ("imagesTr", "labelsTr"):
        (raw / kind).mkdir(parents=True)
    for case in range(4):
        ids = np.zeros((SIDE, SIDE), np.uint8)
        ids[8:20, 4:14], ids[10:24, 18:28] = 1, 2
        picture = (80 * ids + rng.integers(0, 60, ids.shape)).astype(np.uint8)
        ids[:, -3:] = IGNORED
        Image.fromarray(picture).save(raw / "imagesTr" / f"case{case}_0000.png")
        Image.fromarray(ids).save(raw / "labelsTr" / f"case{case}.png")
    described = {
        "channel_names": {"0": "gray"},
        "labels": labels,
        "numTraining": 4,
        "file_ending": ".png",
    }
    if labels is REGIONS:
        described["regions_class_order"] = [1, 2]
    (raw / "dataset.json").write_text(json.dumps(described), encoding="utf-8")


@pytest.fixture(scope="module")
def nnunet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two planned and preprocessed data sets: 701 with labels, 702 with regions."""
    reason = "nnU-Net is not installed: make test-adapters has it"
    pytest.importorskip("nnunetv2", reason=reason)
    root = tmp_path_factory.mktemp("nnunet")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("raw", "preprocessed", "results", "extTrainer"):
            (root / name).mkdir()
            patch.setenv(f"nnUNet_{name}", str(root / name))
        patch.setenv("nnUNet_n_proc_DA", "1")  # planning takes it for a number of threads
        (root / "extTrainer" / "mine.py").write_text(TRAINERS, encoding="utf-8")
        page = SNIPPET.findall(sections()["nnU-Net"])[0]
        (root / "extTrainer" / "page.py").write_text(page, encoding="utf-8")
        # A process would import torch and nnU-Net again, for pictures of 1,000 pixels.
        threads = SimpleNamespace(Pool=ThreadPool)
        patch.setattr(multiprocessing, "get_context", lambda method=None: threads)
        from nnunetv2.experiment_planning import plan_and_preprocess_api as api
        from nnunetv2.run import run_training

        patch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.default_num_processes", 1)
        for number, labels in ((701, LABELS), (702, REGIONS)):
            write_data(root / "raw" / f"Dataset{number}_Squares", labels)
            api.extract_fingerprints([number], num_processes=1)
            api.plan_experiments([number])
            api.preprocess([number], configurations=("2d",), num_processes=(1,))
        patch.setenv("nnUNet_n_proc_DA", "0")  # no processes for the augmentation
        yield SimpleNamespace(
            results=root / "results",
            train=lambda number, name: run_training.run_training(
                str(number), "2d", "all", name, device=torch.device("cpu")
            ),
            trainer=lambda number, name: run_training.get_trainer_from_args(
                str(number), "2d", "all", name, device=torch.device("cpu")
            ),
        )


@pytest.mark.parametrize(
    ("number", "name"), [(701, "ShortMaxPooling"), (702, "ShortDiceMaxPooling")]
)
def test_training(nnunet: Any, number: int, name: str) -> None:
    nnunet.train(number, name)
    model = nnunet.results / f"Dataset{number}_Squares" / f"{name}__nnUNetPlans__2d"
    folder = model / "fold_all"
    final = torch.load(folder / "checkpoint_final.pth", map_location="cpu", weights_only=False)
    assert final["trainer_name"] == name
    (loss,) = final["logging"]["train_losses"]
    assert 0.1 < loss < 10
    record = json.loads((folder / "debug.json").read_text(encoding="utf-8"))
    assert ("p=1.7" if number == 701 else "p=1.3") in record["loss"]
    assert (folder / "validation" / "summary.json").is_file()

    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False)
    predictor.initialize_from_trained_model_folder(str(model), ("all",), "checkpoint_final.pth")
    assert predictor.trainer_name == name


# The loss of a trainer


def outputs(*spatial: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits (4, 3, 16, 16) and labels (4, 1, 16, 16), floats as nnU-Net passes them."""
    logits, target = labeled(4, 3, *(spatial or (16, 16)), seed=seed)
    target[:, :5] = IGNORED
    target[0, :11] = IGNORED
    return logits, target.unsqueeze(1).float()


def regions(target: Tensor, kind: torch.dtype) -> Tensor:
    """As ConvertSegmentationToRegionsTransform makes them; the last channel is ignored."""
    return torch.cat([target.eq(1) | target.eq(2), target == 2, target == IGNORED], 1).to(kind)


def losses(nnunet: Any, number: int, *names: str) -> list[Any]:
    built = []
    for name in names:
        trainer = nnunet.trainer(number, name)
        trainer.enable_deep_supervision = False
        built.append(trainer._build_loss())
    return built


@pytest.mark.parametrize("spatial", [(16, 16), (16, 8, 4)])
def test_without_pooling_it_is_the_loss_of_nnunet(nnunet: Any, spatial: tuple[int, ...]) -> None:
    ours, theirs = losses(nnunet, 701, "Mean", "nnUNetTrainer")
    assert_agree(ours, theirs, outputs(*spatial), FROM_LOGITS)


@pytest.mark.parametrize("kind", [torch.bool, torch.float32])
def test_regions_without_pooling(nnunet: Any, kind: torch.dtype) -> None:
    """nnU-Net divides by pixels and not by entries: its term is greater by the channels."""
    ours, theirs = losses(nnunet, 702, "Mean", "nnUNetTrainer")
    theirs.weight_ce = 1 / 2
    logits, target = outputs()
    inputs = logits[:, :2], regions(target, kind)
    assert_agree(ours, theirs, inputs, FROM_LOGITS)


@pytest.mark.parametrize("number", [701, 702])
@pytest.mark.parametrize("name", ["nnUNetTrainerMaxPooling", "nnUNetTrainerDiceMaxPooling"])
def test_what_is_ignored_does_not_matter(nnunet: Any, number: int, name: str) -> None:
    (loss,) = losses(nnunet, number, name)
    logits, target = outputs()
    other = torch.where(target == IGNORED, 50 * torch.randn(logits.shape), logits)
    if number == 702:
        logits, other = logits[:, :2], other[:, :2]
        target = regions(target, torch.float32)
    value, gradient = value_and_gradient(loss, logits, target)
    value_of_other, gradient_of_other = value_and_gradient(loss, other, target)
    assert_near(value_of_other, value, FLOAT32)
    assert_near(gradient_of_other, gradient, FROM_LOGITS)
    assert gradient[..., :5, :].abs().sum() == 0


@pytest.mark.parametrize("number", [701, 702])
def test_nothing_labeled_is_zero(nnunet: Any, number: int) -> None:
    (loss,) = losses(nnunet, number, "nnUNetTrainerMaxPooling")
    logits, target = outputs()
    target[:] = IGNORED
    if number == 702:
        logits, target = logits[:, :2], regions(target, torch.bool)
    value, gradient = value_and_gradient(loss, logits, target)
    assert value == 0
    assert gradient.abs().sum() == 0


@pytest.mark.parametrize("number", [701, 702])
def test_dice_is_added(nnunet: Any, number: int) -> None:
    plain, both = losses(nnunet, number, "nnUNetTrainerMaxPooling", "nnUNetTrainerDiceMaxPooling")
    (theirs,) = losses(nnunet, number, "nnUNetTrainer")
    theirs.weight_ce = 0
    logits, target = outputs()
    if number == 702:
        logits, target = logits[:, :2], regions(target, torch.bool)
    assert_agree(both, lambda x, y: plain(x, y) + theirs(x, y), (logits, target), FLOAT32)


def test_deep_supervision_keeps_the_weights_of_nnunet(nnunet: Any) -> None:
    ours = nnunet.trainer(701, "nnUNetTrainerMaxPooling")._build_loss()
    theirs = nnunet.trainer(701, "nnUNetTrainer")._build_loss()
    assert ours.weight_factors == theirs.weight_factors
    assert len(ours.weight_factors) > 1
    pairs = [outputs(seed=seed) for seed in range(len(ours.weight_factors))]
    each = [w * ours.loss(*pair) for w, pair in zip(ours.weight_factors, pairs, strict=True)]
    together = ours([x for x, _ in pairs], [y for _, y in pairs])
    assert_near(together, torch.stack(each).sum(), FLOAT32)


def test_the_trainer_of_the_page(nnunet: Any) -> None:
    trainer = nnunet.trainer(701, "nnUNetTrainerDiceMaxPooling17")
    loss = trainer._build_loss().loss
    assert (loss.pooled.p, loss.pooled.min_support, loss.dice_weight) == (1.7, 0.3, 1)


def test_with_a_trainer_that_has_another_loss(nnunet: Any) -> None:
    ours, alone = losses(nnunet, 701, "nnUNetTrainerMaxPooling", "FromCrossEntropy")
    assert_agree(ours, alone, outputs(), FLOAT32)
    with pytest.raises(TypeError, match="WithoutDice adds Dice, and the loss of its base class"):
        losses(nnunet, 701, "WithoutDice")


def test_the_signature_is_that_of_nnunet(nnunet: Any) -> None:
    """nnU-Net looks its own arguments up by the names of the trainer's."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from lossmaxpool.adapters import nnunet as adapter

    for name in adapter.__all__:
        trainer = getattr(adapter, name)
        assert inspect.signature(trainer) == inspect.signature(nnUNetTrainer)


def test_what_is_refused(nnunet: Any) -> None:
    logits, target = outputs()
    with pytest.raises(ValueError, match="p must be a norm exponent"):
        losses(nnunet, 701, "Unpooled")
    with pytest.raises(ValueError, match="dice_weight of Negative must be >= 0, got -1"):
        losses(nnunet, 701, "Negative")
    (loss,) = losses(nnunet, 701, "nnUNetTrainerMaxPooling")
    with pytest.raises(ValueError, match="for labels with an ignore label, 1 channels are"):
        loss(logits, regions(target, torch.float32))
    (loss,) = losses(nnunet, 702, "nnUNetTrainerMaxPooling")
    with pytest.raises(ValueError, match="for regions with an ignore label, 3 channels are"):
        loss(logits[:, :2], target)
