from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from lossmaxpool.models import ModelConfig, build_model

ENCODERS = ["tu-test_resnet", "tu-test_efficientnet"]
ARCHITECTURES = ["DeepLabV2", "DeepLabV3Plus", "FPN"]


def trained(path: Path, encoder: str) -> str:
    """A file whose batch norms are not those of a fresh network."""
    torch.manual_seed(3)
    network = timm.create_model(encoder.removeprefix("tu-"))
    state = network.state_dict()
    for name, tensor in state.items():
        if tensor.ndim == 1 and tensor.is_floating_point():
            tensor.uniform_(0.5, 1.0)
            assert "classifier" not in name or tensor.any()
    torch.save(state, path / "weights.pth")
    return str(path / "weights.pth")


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_training_changes_neither_statistics_nor_affine_parameters(
    tmp_path: Path, architecture: str, encoder: str
) -> None:
    config = ModelConfig(architecture, encoder, trained(tmp_path, encoder), frozen_batch_norm=True)
    model = build_model(config, 3).train()
    module = model.get_submodule("encoder")
    fixed = {name: buffer.clone() for name, buffer in module.named_buffers()}
    assert any(name.endswith("running_var") for name in fixed)
    assert any(name.endswith(("bn1.weight", "bn1.0.weight")) for name in fixed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.rand(2, 3, 64, 64)).square().mean().backward()
        optimizer.step()
    assert all(torch.equal(fixed[name], buffer) for name, buffer in module.named_buffers())
    learned = [p for p in module.parameters() if p.requires_grad]
    assert learned
    assert all(p.grad is not None for p in learned)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_computes_what_batch_norm_computes_in_evaluation(tmp_path: Path, encoder: str) -> None:
    weights = trained(tmp_path, encoder)
    images = torch.rand(2, 3, 64, 64)
    free = build_model(ModelConfig("DeepLabV2", encoder, weights), 3).get_submodule("encoder")
    config = ModelConfig("DeepLabV2", encoder, weights, frozen_batch_norm=True)
    frozen = build_model(config, 3).get_submodule("encoder")
    # In float64: the two orders of the same products differ in the last places.
    with torch.inference_mode():
        expected = free.double().eval()(images.double())
        torch.testing.assert_close(frozen.double().eval()(images.double()), expected)


def test_only_the_encoder_is_frozen() -> None:
    """A decoder is not pretrained, so its statistics must be learned."""
    config = ModelConfig("DeepLabV3Plus", "tu-test_resnet", "none", frozen_batch_norm=True)
    model = build_model(config, 3)
    norms = [n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not any(name.startswith("encoder.") for name in norms)


def test_a_state_survives_the_round_trip() -> None:
    config = ModelConfig("DeepLabV2", "tu-test_resnet", "none", frozen_batch_norm=True)
    one, other = build_model(config, 3).eval(), build_model(config, 3).eval()
    other.load_state_dict(one.state_dict())
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(one(images), other(images))


def test_nothing_to_freeze_is_said_so() -> None:
    config = ModelConfig("FPN", "tu-test_convnext", "none", frozen_batch_norm=True)
    with pytest.raises(ValueError, match="'tu-test_convnext' has no batch norm"):
        build_model(config, 3)
