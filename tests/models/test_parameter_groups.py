from __future__ import annotations

import pytest
from torch import nn

from lossmaxpool.models import ModelConfig, build_model, parameter_groups

ARCHITECTURES = ["DeepLabV2", "DeepLabV3Plus", "FPN", "Unet", "Segformer"]


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("biases", [None, 20.0])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_trainable_parameter_is_in_one_group(
    architecture: str, biases: float | None, frozen: bool
) -> None:
    config = ModelConfig(architecture, "tu-test_resnet", "none", frozen_batch_norm=frozen)
    model = build_model(config, 4)
    groups = parameter_groups(model, 0.1, 5e-4, head_bias_multiplier=biases)
    found = [id(p) for group in groups for p in group["params"]]
    assert len(found) == len(set(found))
    assert set(found) == {id(p) for p in model.parameters()}
    names = ["encoder", "head"] + (["head biases"] if biases else [])
    assert [group["name"] for group in groups] == names


def test_the_rates_are_those_of_deeplab() -> None:
    """Once for the trunk, 10 times for the classifier's weights, 20 times for its biases."""
    config = ModelConfig("DeepLabV2", "tu-resnet10t", "none", frozen_batch_norm=True)
    model = build_model(config, 19)
    groups = parameter_groups(model, 2.5e-4, 5e-4, head_multiplier=10, head_bias_multiplier=20)
    rate = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    for name, parameter in model.named_parameters():
        if name.startswith("encoder."):
            assert rate[id(parameter)] == (2.5e-4, 5e-4), name
            assert parameter.ndim == 4, "batch norms are no parameters any more"
        elif name.endswith("weight"):
            assert rate[id(parameter)] == (2.5e-3, 5e-4), name
        else:
            assert rate[id(parameter)] == (5e-3, 0.0), name


def test_what_needs_no_gradient_is_left_out() -> None:
    model = build_model(ModelConfig("DeepLabV2", "tu-test_resnet", "none"), 4)
    model.get_submodule("encoder").requires_grad_(False)
    groups = parameter_groups(model, 0.1, 0.0)
    assert [group["name"] for group in groups] == ["head"]
    with pytest.raises(ValueError, match="everything is frozen"):
        parameter_groups(model.requires_grad_(False), 0.1, 0.0)


def test_a_network_without_encoder_is_all_head() -> None:
    groups = parameter_groups(nn.Conv2d(3, 2, 1), 0.5, 0.0, head_multiplier=3)
    assert [(group["name"], group["lr"]) for group in groups] == [("head", 1.5)]
