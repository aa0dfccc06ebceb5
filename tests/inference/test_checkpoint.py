from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lossmaxpool.inference import load_checkpoint
from lossmaxpool.models import ModelConfig, ModelDescription, build_model


@pytest.fixture
def checkpoint(small_model: nn.Module, description: ModelDescription) -> dict[str, Any]:
    """A checkpoint as training writes it: the network under "model.", its description, and more."""
    states = {f"model.{name}": tensor for name, tensor in small_model.state_dict().items()}
    return {
        ModelDescription.KEY: description.as_dict(),
        "state_dict": {**states, "criterion.weight": torch.ones(3)},
        "global_step": 12,
        "optimizer_states": [{}],
    }


def save(content: object, folder: Path) -> Path:
    path = folder / "checkpoints" / "last.ckpt"
    path.parent.mkdir(exist_ok=True)
    torch.save(content, path)
    return path


@pytest.mark.parametrize("run_folder", [True, False])
def test_rebuilds_the_network(
    tmp_path: Path, checkpoint: dict[str, Any], small_model: nn.Module, run_folder: bool
) -> None:
    path = save(checkpoint, tmp_path)
    # Its weights setting is "imagenet", but all tensors are in the file: no download is allowed.
    trained = load_checkpoint(tmp_path if run_folder else path, ["dark", "gray", "bright"])
    assert not trained.model.training
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(trained.model(image), small_model.eval()(image))
    assert trained.description == ModelDescription.from_dict(checkpoint[ModelDescription.KEY])
    assert trained.step == 12


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["dark", "bright"], r"trained on 3 classes \(dark, gray, bright\).* has 2 \(dark, bright"),
        (["dark", "bright", "gray"], r"class 1 is 'gray' in .* and 'bright' in the data set"),
    ],
)
def test_other_classes_are_refused(
    tmp_path: Path, checkpoint: dict[str, Any], classes: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load_checkpoint(save(checkpoint, tmp_path), classes)


def test_weights_that_contradict_the_description_are_refused(
    tmp_path: Path, checkpoint: dict[str, Any], description: ModelDescription
) -> None:
    wider = replace(
        description, classes=("a", "b", "c", "d"), colors=(*description.colors, (1, 2, 3))
    )
    content = checkpoint | {ModelDescription.KEY: wider.as_dict()}
    with pytest.raises(ValueError, match=r"do not fit (?s:.*)size mismatch"):
        load_checkpoint(save(content, tmp_path))


def test_damaged_content_is_refused(tmp_path: Path, checkpoint: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no 'state_dict'"):
        load_checkpoint(save({**checkpoint, "state_dict": None}, tmp_path))
    with pytest.raises(ValueError, match="does not tell its 'global_step'"):
        load_checkpoint(save({**checkpoint, "global_step": None}, tmp_path))
    with pytest.raises(ValueError, match="is not a checkpoint of lossmaxpool"):
        load_checkpoint(save(checkpoint["state_dict"], tmp_path))
    with pytest.raises(ValueError, match="incomplete"):
        load_checkpoint(save({**checkpoint, ModelDescription.KEY: {}}, tmp_path))
    states = dict(checkpoint["state_dict"])
    name = next(iter(states))
    missing = {other: tensor for other, tensor in states.items() if other != name}
    with pytest.raises(ValueError, match="Missing key"):
        load_checkpoint(save({**checkpoint, "state_dict": missing}, tmp_path))
    broken = states | {name: torch.full_like(states[name], torch.nan)}
    with pytest.raises(ValueError, match="NaN or infinite weights"):
        load_checkpoint(save({**checkpoint, "state_dict": broken}, tmp_path))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(
    tmp_path: Path, checkpoint: dict[str, Any], share: float
) -> None:
    path = save(checkpoint, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"last.ckpt is damaged or no torch file"):
        load_checkpoint(path)


def test_no_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no file .*last.ckpt: is .* a run folder"):
        load_checkpoint(tmp_path)


class Trap:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.mark}",)


def test_a_checkpoint_that_would_execute_code_is_refused(
    tmp_path: Path, checkpoint: dict[str, Any]
) -> None:
    path = save({**checkpoint, "hyper_parameters": Trap(tmp_path / "executed")}, tmp_path)
    with pytest.raises(ValueError, match=r"is refused: .*could execute code"):
        load_checkpoint(path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("encoder", ["tu-test_resnet", "caffe-resnet50"])
def test_rebuilds_a_frozen_deeplab_without_the_file_it_began_with(
    tmp_path: Path, description: ModelDescription, encoder: str
) -> None:
    config = ModelConfig("DeepLabV2", encoder, "none", frozen_batch_norm=True)
    model = build_model(config, 3).eval()
    first = replace(
        config, weights="gone.pth", pretrained_head=encoder.startswith("caffe"), decoder_options={}
    )
    content = {
        ModelDescription.KEY: replace(description, config=first).as_dict(),
        "global_step": 7,
        "state_dict": {f"model.{name}": tensor for name, tensor in model.state_dict().items()},
    }
    trained = load_checkpoint(save(content, tmp_path))
    images = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(trained.model(images), model(images))


def test_a_description_from_before_these_options_is_read(
    tmp_path: Path, checkpoint: dict[str, Any]
) -> None:
    config = checkpoint[ModelDescription.KEY]["config"]
    del config["frozen_batch_norm"], config["pretrained_head"]
    assert not load_checkpoint(save(checkpoint, tmp_path)).description.config.frozen_batch_norm


def test_a_run_folder_has_its_last_checkpoint_and_its_best(
    tmp_path: Path, checkpoint: dict[str, Any]
) -> None:
    last = save(checkpoint, tmp_path)
    torch.save({**checkpoint, "global_step": 7}, last.with_name("best.ckpt"))
    assert (load_checkpoint(tmp_path).file, load_checkpoint(tmp_path).step) == (last, 12)
    best = load_checkpoint(tmp_path, which="best")
    assert (best.file, best.step) == (last.with_name("best.ckpt"), 7)


def test_a_folder_of_several_runs_and_a_missing_one_are_explained(
    tmp_path: Path, checkpoint: dict[str, Any]
) -> None:
    for name in ("base-seed0", "lmp-seed0"):
        (tmp_path / name).mkdir()
        save(checkpoint, tmp_path / name)
    message = r"holds 2 runs \(base-seed0, lmp-seed0\): give one of them, as in .*base-seed0"
    with pytest.raises(ValueError, match=message):
        load_checkpoint(tmp_path)
    with pytest.raises(ValueError, match=r"there is no run folder or checkpoint .*gone"):
        load_checkpoint(tmp_path / "gone")
