"""Networks of other libraries, by import path."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossmaxpool.models import ModelConfig, build_model, input_stride, normalization
from lossmaxpool.models import parameter_groups as groups_of

HERE = __name__


class Tiny(nn.Module):
    """Logits at a quarter of the size."""

    def __init__(self, num_classes: int, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, width, 3, stride=4, padding=1)
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images).relu())
        return logits


class WithBackbone(nn.Module):
    """A mapping, as torchvision returns it."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 4, 1)
        self.classifier = nn.Conv2d(4, classes, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"out": self.classifier(self.backbone(images)), "aux": images}


class Vector(Tiny):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).mean(dim=(2, 3))


def outside(name: str, **options: Any) -> ModelConfig:
    return ModelConfig(module=f"{HERE}.{name}", **options)


def test_a_class_by_import_path_gets_the_number_of_classes() -> None:
    config = outside("Tiny", module_args={"width": 6}, stride=4, mean=[0.5, 0.5, 0.5])
    model = build_model(config, 5)
    assert model(torch.zeros(2, 3, 32, 16)).shape == (2, 5, 8, 4)
    assert input_stride(model) == 4
    assert normalization(config) == ((0.5, 0.5, 0.5), (0.229, 0.224, 0.225))
    (group,) = groups_of(model, 0.1, 0.0, head_multiplier=10)
    assert group["lr"] == 0.1, "nothing says which part is pretrained"


def test_a_backbone_is_trained_with_the_plain_rate() -> None:
    model = build_model(outside("WithBackbone"), 5)
    assert model(torch.zeros(1, 3, 8, 8)).shape == (1, 5, 8, 8)
    groups = groups_of(model, 0.1, 0.0, head_multiplier=10)
    assert [(group["name"], group["lr"]) for group in groups] == [("encoder", 0.1), ("head", 1.0)]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"module": "nowhere.Net"}, "there is no module nowhere"),
        ({"module": f"{HERE}.Tine"}, "has no Tine. Did you mean 'Tiny'"),
        ({"module": "os.system", "module_args": {"command": "true"}}, "expected a class derived"),
        ({"module": f"{HERE}.Tiny", "module_args": {"widht": 3}}, "no widht. Did you mean 'width'"),
        ({"module": f"{HERE}.Tiny", "module_args": {"width": "x"}}, "cannot be built like this"),
    ],
)
def test_what_cannot_be_built_is_one_line(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        build_model(ModelConfig(**config), 5)
    assert "\n" not in str(error.value)


def test_what_are_no_logits_is_told() -> None:
    with pytest.raises(
        ValueError, match=r"Vector returns a tensor of shape \(1, 5\): expected log"
    ):
        build_model(outside("Vector"), 5)(torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"module": "a.B", "weights": "file.pth"}, "model.weights has no effect on a.B"),
        ({"module": "a.B", "frozen_batch_norm": True}, "model.frozen_batch_norm has no effect"),
        ({"module_args": {"x": 1}}, "model.module_args has no effect without a module"),
        ({"stride": 4}, "model.stride has no effect without a module"),
        ({"module": "a.B", "mean": [0.5]}, "expected three numbers"),
        ({"module": "a.B", "stride": 0}, "expected at least 1"),
    ],
)
def test_options_without_effect_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig(**options)
