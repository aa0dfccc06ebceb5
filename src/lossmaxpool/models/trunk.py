"""The convolutional trunk of DeepLab: a timm classifier up to its last feature map, dilated."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

TIMM_PREFIX = "tu-"
CAFFE_PREFIX = "caffe-"
CAFFE_TRUNKS = ("resnet50", "resnet101", "resnet152")
# The mean of the Caffe networks is (104.008, 116.669, 122.675) for blue, green, red of 0..255, and
# nothing is divided by. In this package's terms, RGB of 0..1:
CAFFE_MEAN = (122.675 / 255, 116.669 / 255, 104.008 / 255)
CAFFE_STD = (1 / 255, 1 / 255, 1 / 255)


class Trunk(nn.Module):
    """A timm model from images to its last feature map, and nothing beside it.

    The feature maps on the way are not kept: of ResNet-101 on 2048 × 1024 pixels they are 470 MB.

    Args:
        name: of the timm model, or, with "caffe-" in front, of a ResNet in the layout of the
            original Caffe networks (see :func:`use_caffe_layout`).
        output_stride: of the feature map, by dilation instead of striding: 8, 16 or 32.
        pretrained: whether timm fetches its weights.

    Raises:
        ValueError: another output stride, or the model has no feature map of it.
    """

    def __init__(self, name: str, output_stride: int, pretrained: bool) -> None:
        import timm

        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ValueError(f"the output stride is {output_stride}; expected 8, 16 or 32")
        self.name = name.removeprefix(CAFFE_PREFIX)  # timm's, for whoever looks it up there
        self.output_stride = output_stride
        self.caffe_layout = name.startswith(CAFFE_PREFIX)
        # Models that cannot dilate do not know the argument at all.
        dilation: dict[str, Any] = {} if output_stride == 32 else {"output_stride": output_stride}
        self.model = timm.create_model(
            self.name, features_only=True, out_indices=(-1,), pretrained=pretrained, **dilation
        )
        stages: Any = self.model.feature_info
        (reduction,) = stages.reduction()
        if reduction != output_stride:
            raise ValueError(
                f"the last feature map of {self.name} has stride {reduction}, not {output_stride}"
            )
        (self.out_channels,) = stages.channels()
        if self.caffe_layout:
            use_caffe_layout(self.model)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to features (B, K, ceil(H / stride), ceil(W / stride))."""
        (features,) = self.model(images)
        return torch.as_tensor(features)


def use_caffe_layout(resnet: nn.Module) -> None:
    """Give a dilated ResNet of bottlenecks the strides and dilations of the Caffe networks.

    They differ in the first block of a stage: its stride is in the first, pointwise convolution
    (torch: in the 3 × 3), so that the 3 × 3 is dilated like those of the blocks behind it. Each
    layout is the exact dilated form of the classifier whose weights it takes; with the other's
    weights a network runs, and is worse.

    Args:
        resnet: a timm ResNet; changed in place.
    """
    from timm.models.resnet import Bottleneck

    for stage in ("layer2", "layer3", "layer4"):
        first, second = resnet.get_submodule(f"{stage}.0"), resnet.get_submodule(f"{stage}.1")
        assert isinstance(first, Bottleneck)
        assert isinstance(second, Bottleneck)
        first.conv1.stride, first.conv2.stride = first.conv2.stride, first.conv1.stride
        first.conv2.dilation = second.conv2.dilation
        first.conv2.padding = second.conv2.padding
