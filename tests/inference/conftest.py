from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lossmaxpool.data import LabelSet, Sample, SegmentationDataset
from lossmaxpool.models import ModelConfig, ModelDescription, build_model

LABELS = LabelSet(("dark", "gray", "bright"), ((10, 20, 30), (40, 90, 160), (250, 240, 200)))


class Brightness(nn.Module):
    """Predicts the third of the brightness range that a pixel's red value lies in."""

    def __init__(self) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.tensor([0.0, 0.5, 1.0]))

    def forward(self, images: Tensor) -> Tensor:
        return -(images[:, :1] - self.centers.view(1, -1, 1, 1)).abs()


class Bands(SegmentationDataset):
    """Images of three brightnesses, of several sizes, whose masks are the truth."""

    def __init__(self, sizes: list[tuple[int, int]]) -> None:
        self.name = "bands"
        self.labels = LABELS
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Sample:
        mask = self.mask(index)
        image = (mask.clamp(max=2).float() * 127.5).to(torch.uint8).expand(3, -1, -1)
        return Sample(image, mask, self.sample_name(index))

    def mask(self, index: int) -> Tensor:
        generator = torch.Generator().manual_seed(index)
        mask = torch.randint(3, self.sizes[index], generator=generator, dtype=torch.uint8)
        mask[0, : index + 1] = 255
        return mask

    def sample_name(self, index: int) -> str:
        return f"band/{index}"


@pytest.fixture
def brightness() -> nn.Module:
    return Brightness()


@pytest.fixture
def description() -> ModelDescription:
    config = ModelConfig("FPN", "tu-test_resnet", weights="imagenet")
    return ModelDescription(config, LABELS.names, LABELS.colors, (0.0,) * 3, (1.0,) * 3)


@pytest.fixture
def small_model() -> nn.Module:
    torch.manual_seed(0)
    return build_model(ModelConfig("FPN", "tu-test_resnet", weights="none"), 3)
