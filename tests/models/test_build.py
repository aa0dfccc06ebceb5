from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from lossmaxpool.models import ModelConfig, build_model, input_stride, normalization

SMALL = "tu-test_resnet"


def small(architecture: str = "FPN", **options: object) -> ModelConfig:
    return ModelConfig(architecture, SMALL, weights="none", decoder_options=options)


@pytest.mark.parametrize(
    ("architecture", "scale"),
    [
        ("DeepLabV3", 8),
        ("DeepLabV3Plus", 4),
        ("FPN", 4),
        ("Linknet", 1),
        ("MAnet", 1),
        ("PSPNet", 8),
        ("Segformer", 4),
        ("UPerNet", 4),
        ("Unet", 1),
        ("UnetPlusPlus", 1),
    ],
)
def test_logits_come_at_the_decoders_own_resolution(architecture: str, scale: int) -> None:
    model = build_model(small(architecture), 5).eval()
    assert input_stride(model) in (1, 8, 16, 32)
    assert model(torch.zeros(2, 3, 64, 96)).shape == (2, 5, 64 // scale, 96 // scale)
    head = model.get_submodule("segmentation_head")
    assert not any(isinstance(module, nn.Upsample) for module in head.modules())


@pytest.mark.parametrize("stride", [8, 16])
def test_the_output_stride_is_the_encoders(stride: int) -> None:
    config = small("DeepLabV3Plus")
    config.encoder_output_stride = stride
    model = build_model(config, 3).eval()
    encoder = model.get_submodule("encoder")
    assert encoder(torch.zeros(1, 3, 64, 64))[-1].shape[-1] == 64 // stride
    assert input_stride(model) == stride


def test_decoder_options_reach_the_decoder() -> None:
    narrow = build_model(small("FPN", decoder_pyramid_channels=16), 3)
    wide = build_model(small("FPN"), 3)
    assert sum(p.numel() for p in narrow.parameters()) < sum(p.numel() for p in wide.parameters())


def test_the_same_seed_gives_the_same_weights() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(build_model(small(), 3).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_any_size_is_fine_where_the_network_does_not_mind() -> None:
    assert input_stride(build_model(small("Unet"), 3)) == 1
    assert input_stride(nn.Conv2d(3, 3, 1)) == 1


def test_normalization_is_that_of_the_encoders_weights() -> None:
    assert normalization(ModelConfig(encoder="tu-tf_efficientnet_lite0")) == ((0.5,) * 3,) * 2
    mean, std = normalization(ModelConfig(encoder="tu-resnet18"))
    assert mean == timm.data.IMAGENET_DEFAULT_MEAN
    assert std == timm.data.IMAGENET_DEFAULT_STD


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ModelConfig("DeepLabv3plus", SMALL, "none"), r"Did you mean 'DeepLabV3Plus'"),
        (ModelConfig("Transmogrifier", SMALL, "none"), r"There are: DPT, DeepLabV2, DeepLabV3"),
        (ModelConfig("FPN", "resnet18", "none"), r"write 'tu-resnet18', not 'resnet18'"),
        (ModelConfig("FPN", "tu-resnet19", "none"), r"Did you mean 'resnet1"),
        # Its padding differs from timm's: the same weights give worse features there.
        (
            ModelConfig("FPN", "timm-tf_efficientnet_lite0", "none"),
            r"expected 'tu-' and the name of a timm model. Did you mean 'tf_efficientnet_lite0'",
        ),
        (small("FPN", decoder_pyramid_chanels=3), r"Did you mean 'decoder_pyramid_channels'"),
        # Values that this package decides are not options: one setting per thing.
        (small("FPN", classes=3), r"no decoder option 'classes'"),
        (small("FPN", upsampling=4), r"no decoder option 'upsampling'"),
        (ModelConfig("FPN", SMALL, "none", 16), r"does not dilate its encoder"),
        (ModelConfig("DeepLabV3Plus", SMALL, "none", 4), r"output stride"),
        (
            ModelConfig("FPN", "tu-test_vit", "none"),
            r"FPN cannot be built on 'tu-test_vit' .*downsampling pattern",
        ),
        (ModelConfig("FPN", SMALL, "nowhere.pth"), r"there is no such file"),
    ],
)
def test_a_wrong_setting_is_explained(config: ModelConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(config, 3)


def test_no_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="num_classes is 0"):
        build_model(small(), 0)


def test_an_unreachable_hub_is_asked_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    asked = []

    class Unreachable:
        def head(self, address: str, **_: object) -> None:
            asked.append(address)
            raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "get_session", Unreachable)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(RuntimeError, match=r"could not be fetched from the hub .*'none' for rand"):
        build_model(ModelConfig("FPN", "tu-tf_efficientnet_lite0"), 3)
    assert len(asked) == 1
    assert not huggingface_hub.constants.HF_HUB_OFFLINE


def test_an_unreachable_hub_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # asks no one
    monkeypatch.setattr("timm.models._builder.load_pretrained", offline)
    config = ModelConfig("FPN", "tu-tf_efficientnet_lite0")
    with pytest.raises(RuntimeError, match=r"could not be fetched from the hub .*'package:NAME'"):
        build_model(config, 3)
