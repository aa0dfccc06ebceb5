"""DeepLabV2: a dilated trunk and atrous spatial pyramid pooling that outputs the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

TIMM_PREFIX = "tu-"
CAFFE_PREFIX = "caffe-"
CAFFE_TRUNKS = ("resnet50", "resnet101", "resnet152")
# The Caffe networks subtract the mean (104.008, 116.669, 122.675) from blue, green, red of 0..255
# and do not divide. In this package's convention, RGB of 0..1:
CAFFE_MEAN = (122.675 / 255, 116.669 / 255, 104.008 / 255)
CAFFE_STD = (1 / 255, 1 / 255, 1 / 255)


class Trunk(nn.Module):
    """A timm model that returns only its last feature map.

    Intermediate feature maps are not kept; for ResNet-101 at 2048 × 1024 pixels they take 470 MB.

    Args:
        name: of the timm model, or, with "caffe-" in front, of a ResNet in the layout of the
            original Caffe networks (see :func:`use_caffe_layout`).
        output_stride: of the feature map, by dilation instead of striding: 8, 16 or 32.
        pretrained: whether timm fetches its weights.

    Raises:
        ValueError: unsupported output stride, or the model has no feature map of this stride.
    """

    def __init__(self, name: str, output_stride: int, pretrained: bool) -> None:
        import timm

        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ValueError(f"the output stride is {output_stride}; expected 8, 16 or 32")
        self.name = name.removeprefix(CAFFE_PREFIX)  # of the timm model
        self.output_stride = output_stride
        self.caffe_layout = name.startswith(CAFFE_PREFIX)
        # Models that cannot dilate do not accept the argument.
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
    (torch: in the 3 × 3), so the 3 × 3 is dilated like those of the following blocks. Each layout
    is the exact dilated form of the classifier whose weights it takes; weights of the other layout
    load without error but perform worse.
    """
    from timm.models.resnet import Bottleneck

    for stage in ("layer2", "layer3", "layer4"):
        first, second = resnet.get_submodule(f"{stage}.0"), resnet.get_submodule(f"{stage}.1")
        assert isinstance(first, Bottleneck)
        assert isinstance(second, Bottleneck)
        first.conv1.stride, first.conv2.stride = first.conv2.stride, first.conv1.stride
        first.conv2.dilation = second.conv2.dilation
        first.conv2.padding = second.conv2.padding


RATES = (6, 12, 18, 24)


class DeepLabV2(nn.Module):
    """The network of Rota Bulò et al. 2017, Sect. 4, with logits at 1/8 of the image size.

    ``logits = sum_r conv3x3_r(trunk(images))``, one biased convolution from the features to the
    classes for each dilation r, without hidden layer, image pooling or upsampling.

    The trunk's convolutions have odd kernels: cell (i, j) of the logits is centered on pixel
    (8 i, 8 j). A fixed bilinear deconvolution, like bilinear upsampling with align_corners=False,
    places it at (8 i + 3.5, 8 j + 3.5). The offset is the same everywhere as long as the sides of
    an image are multiples of 8, and is learned; pad images of other sizes to the right and below.

    Args:
        encoder_name: "tu-" and the name of a timm model that can be dilated (tu-resnet101), or
            caffe-resnet101: the layout, colors and weights of the original Caffe networks.
        encoder_weights: True downloads timm's weights; None initializes randomly.
        classes: C.
        encoder_output_stride: of features and logits.
        rates: dilation of each convolution of the pyramid.

    Raises:
        ValueError: no rates or one below 1, or an encoder that cannot have this stride.

    Example:
        >>> import torch
        >>> model = DeepLabV2("tu-resnet18", None, 19)
        >>> model(torch.zeros(2, 3, 64, 96)).shape
        torch.Size([2, 19, 8, 12])

    References:
        Chen et al. 2018, DeepLab (arXiv 1606.00915), Sect. 3.2 and 4.
    """

    requires_divisible_input_shape = True  # attribute name of segmentation_models_pytorch

    def __init__(
        self,
        encoder_name: str,
        encoder_weights: bool | None,
        classes: int,
        encoder_output_stride: int = 8,
        rates: Sequence[int] = RATES,
    ) -> None:
        super().__init__()
        if not rates or any(rate < 1 for rate in rates):
            raise ValueError(f"rates is {list(rates)}; expected dilations of 1 or more")
        self.encoder = Trunk(
            encoder_name.removeprefix(TIMM_PREFIX), encoder_output_stride, bool(encoder_weights)
        )
        channels = self.encoder.out_channels
        self.aspp = nn.ModuleList(
            nn.Conv2d(channels, classes, 3, padding=rate, dilation=rate) for rate in rates
        )
        for convolution in self.aspp:
            assert isinstance(convolution, nn.Conv2d)
            nn.init.normal_(convolution.weight, std=0.01)
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) to logits (B, C, ceil(H / 8), ceil(W / 8))."""
        features = self.encoder(images)
        first, *others = self.aspp
        logits: Tensor = first(features)
        for convolution in others:
            logits = logits + convolution(features)
        return logits
