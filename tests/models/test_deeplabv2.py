from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import nn

from lossmaxpool.models import DeepLabV2, ModelConfig, build_model, input_stride
from tests.tolerances import DRAWN_WEIGHTS

SMALL = ModelConfig("DeepLabV2", "tu-resnet10t", weights="none")


@pytest.fixture(scope="module")
def resnet101() -> nn.Module:
    torch.manual_seed(0)
    return build_model(ModelConfig("DeepLabV2", "tu-resnet101", weights="none"), 19).eval()


@pytest.mark.parametrize("size", [(64, 96), (33, 65), (1, 1), (31, 50)])
def test_logits_come_at_an_eighth_at_any_size(resnet101: nn.Module, size: tuple[int, int]) -> None:
    H, W = size
    assert input_stride(resnet101) == 8
    with torch.inference_mode():
        assert resnet101(torch.zeros(1, 3, H, W)).shape == (1, 19, -(-H // 8), -(-W // 8))


def test_the_pyramid_is_that_of_the_paper(resnet101: nn.Module) -> None:
    convolutions = list(resnet101.get_submodule("aspp").children())
    assert [c.dilation for c in convolutions] == [(6, 6), (12, 12), (18, 18), (24, 24)]
    for convolution in convolutions:
        assert convolution.weight.shape == (19, 2048, 3, 3)
        assert convolution.weight.std().item() == pytest.approx(0.01, rel=DRAWN_WEIGHTS)
        assert not convolution.bias.any()


@pytest.mark.parametrize("rate", range(4))
def test_every_rate_counts(rate: int) -> None:
    """A widespread copy returns from inside its loop and uses two of the four."""
    model = build_model(SMALL, 3).eval()
    images = torch.rand(1, 3, 32, 32)
    before = model(images)
    with torch.no_grad():
        model.get_parameter(f"aspp.{rate}.bias").add_(torch.tensor([1.0, 0.0, -2.0]))
    difference = (model(images) - before)[0].mean((1, 2))
    torch.testing.assert_close(difference, torch.tensor([1.0, 0.0, -2.0]))


def test_equals_torchvisions_dilated_resnet_on_its_weights(tmp_path: Path) -> None:
    """The file is of the kind from before batch norms counted."""
    torch.manual_seed(1)
    theirs = torchvision.models.resnet50(replace_stride_with_dilation=[False, True, True])
    for name, buffer in theirs.named_buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.0 if "mean" in name else 0.5, 1.0)
    state = {n: t for n, t in theirs.state_dict().items() if not n.endswith("tracked")}
    torch.save(state, tmp_path / "resnet50.pth")
    ours = build_model(ModelConfig("DeepLabV2", "tu-resnet50", str(tmp_path / "resnet50.pth")), 3)
    images = torch.rand(1, 3, 40, 56).double()
    with torch.inference_mode():
        features = ours.get_submodule("encoder").double().eval()(images)
        body = nn.Sequential(*list(theirs.children())[:-2]).double().eval()
        torch.testing.assert_close(features, body(images))


def test_the_trunk_is_the_dilated_form_of_its_classifier() -> None:
    """Every fourth feature of the dilated network is a feature of the strided one."""
    torch.manual_seed(2)
    strided = timm.create_model("resnet50", features_only=True, out_indices=(-1,)).double().eval()
    model = build_model(ModelConfig("DeepLabV2", "tu-resnet50", weights="none"), 3)
    trunk = model.get_submodule("encoder.model").double().eval()
    trunk.load_state_dict(strided.state_dict())
    images = torch.rand(1, 3, 64, 64).double()
    with torch.inference_mode():
        torch.testing.assert_close(trunk(images)[0][..., ::4, ::4], strided(images)[0])


def test_rates_and_stride_are_options() -> None:
    config = ModelConfig("DeepLabV2", "tu-resnet10t", "none", 16, decoder_options={"rates": [1, 2]})
    model = build_model(config, 3).eval()
    assert isinstance(model, DeepLabV2)
    assert model(torch.zeros(1, 3, 32, 64)).shape == (1, 3, 2, 4)
    assert [c.dilation for c in model.aspp] == [(1, 1), (2, 2)]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            ModelConfig("DeepLabV2", "tu-resnet10t", "none", decoder_options={"rates": []}),
            "rates is",
        ),
        (
            ModelConfig("DeepLabV2", "tu-resnet10t", "none", decoder_options={"rates": [0]}),
            "1 or more",
        ),
        (
            ModelConfig("DeepLabV2", "tu-resnet10t", "none", decoder_options={"rate": [6]}),
            "Did you mean 'rates'",
        ),
        (ModelConfig("DeepLabV2", "tu-test_vit", "none"), "cannot be built on 'tu-test_vit'"),
        (ModelConfig("DeepLabV2", "tu-resnet10t", "none", 5), "stride is 5; expected 8, 16"),
        (ModelConfig("DeepLabV2", "tu-resnet10", "none"), "Did you mean 'resnet10t'"),
    ],
)
def test_a_wrong_setting_is_explained(config: ModelConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(config, 3)
