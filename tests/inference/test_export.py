"""Exported networks compute what their checkpoint computes, or are not kept."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossmaxpool.inference import TrainedModel, export, export_network, predict_logits
from lossmaxpool.models import ModelConfig, ModelDescription, build_model
from lossmaxpool.models.weights import read_tensors
from tests.tolerances import EXPORTED

from .conftest import LABELS

ONNX = all(find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))


class Random(nn.Conv2d):
    """Computes something else every time."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + torch.rand(())


class Branching(nn.Conv2d):
    """Depends on its values in a way that no exporter can write down."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images if images.sum() > 0 else -images)


def trained(network: nn.Module, description: ModelDescription) -> TrainedModel:
    return TrainedModel(network.eval(), description, 7, Path("run/checkpoints/last.ckpt"))


@pytest.fixture
def simple(description: ModelDescription) -> TrainedModel:
    torch.manual_seed(0)
    return trained(nn.Conv2d(3, 3, 4, stride=4), description)


@pytest.fixture
def small(small_model: nn.Module, description: ModelDescription) -> TrainedModel:
    return trained(small_model, description)


def test_a_program_of_torch_takes_any_size_and_any_batch(
    small: TrainedModel, tmp_path: Path
) -> None:
    said = json.loads(export_network(small, tmp_path / "net.pt2", "torch").read_text())
    least = int(said["input"]["height"].split()[-1])
    program = torch.export.load(tmp_path / "net.pt2").module()
    for batch, rows, columns in ((1, 1, 1), (3, 2, 3)):
        images = torch.rand(batch, 3, rows * least, columns * least)
        expected = predict_logits(small.model, images)
        torch.testing.assert_close(program(images), expected, **EXPORTED)


def test_the_preprocessing_stands_beside_the_file(simple: TrainedModel, tmp_path: Path) -> None:
    beside = export_network(simple, tmp_path / "new" / "net.pt2", "torch", size=(8, 12))
    assert beside == tmp_path / "new" / "net.pt2.json"
    said = json.loads(beside.read_text())
    assert said["input"]["mean"] == list(simple.description.mean)
    assert said["input"]["std"] == list(simple.description.std)
    assert said["input"]["shape"] == ["batch", 3, 8, 12]
    assert said["output"]["shape"] == ["batch", 3, 8, 12]
    assert said["classes"] == list(LABELS.names)
    assert [tuple(color) for color in said["colors"]] == list(LABELS.colors)
    assert said["step"] == 7
    assert said["checked"]["deviation"] <= export.DEVIATION


def test_safetensors_hold_the_weights(small: TrainedModel, tmp_path: Path) -> None:
    said = json.loads(
        export_network(small, tmp_path / "net.safetensors", "safetensors").read_text()
    )
    again = build_model(ModelConfig(**said["network"] | {"weights": "none"}), 3)
    again.load_state_dict(read_tensors(tmp_path / "net.safetensors"))
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(predict_logits(again.eval(), images), predict_logits(small.model, images))


@pytest.mark.skipif(not ONNX, reason="onnx, onnxscript and onnxruntime are not installed")
def test_an_onnx_file_computes_the_same(simple: TrainedModel, tmp_path: Path) -> None:
    export_network(simple, tmp_path / "net.onnx", "onnx", size=(20, 28))
    import onnxruntime

    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    images = torch.rand(2, 3, 20, 28)
    (logits,) = session.run(["logits"], {"image": images.numpy()})
    torch.testing.assert_close(
        torch.from_numpy(logits), predict_logits(simple.model, images), **EXPORTED
    )


def test_without_its_packages_onnx_is_refused(
    simple: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"onnx, onnxscript, onnxruntime .*lossmaxpool\[onnx\]"):
        export_network(simple, tmp_path / "net.onnx", "onnx")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Random, r"net\.pt2 was not kept: its logits deviate from those of run/checkpoints"),
        (Branching, r"cannot be exported with torch\.export \(.*\): give --size"),
    ],
)
def test_a_network_that_does_not_export_leaves_nothing(
    kind: type[nn.Conv2d], message: str, description: ModelDescription, tmp_path: Path
) -> None:
    network = trained(kind(3, 3, 4, stride=4), description)
    with pytest.raises(ValueError, match=message) as raised:
        export_network(network, tmp_path / "net.pt2", "torch", size=(8, 12))
    assert "\n" not in str(raised.value)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("net.pt", {"format": "torch"}, r"net\.pt is not named as torch: give a file \*\.pt2"),
        ("net.pt2", {"format": "tf"}, "format is 'tf'; expected one of onnx, torch, safetensors"),
        ("net.pt2", {"format": "torch", "size": (40, 64)}, "multiples of the network's stride, 32"),
        ("net.safetensors", {"format": "safetensors", "size": (32, 32)}, "size has no effect"),
    ],
)
def test_bad_input_is_refused(
    name: str, options: dict[str, Any], message: str, small: TrainedModel, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        export_network(small, tmp_path / name, **options)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("taken", ["net.pt2", "net.pt2.json"])
def test_a_file_is_not_replaced_unless_asked(
    taken: str, simple: TrainedModel, tmp_path: Path
) -> None:
    (tmp_path / taken).write_text("mine")
    with pytest.raises(ValueError, match=r"exists; take another name, or --overwrite"):
        export_network(simple, tmp_path / "net.pt2", "torch", size=(8, 8))
    assert (tmp_path / taken).read_text() == "mine"
    export_network(simple, tmp_path / "net.pt2", "torch", size=(8, 8), overwrite=True)
    assert (tmp_path / taken).read_bytes() != b"mine"
