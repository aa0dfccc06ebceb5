"""DeepLabV2: a dilated trunk and atrous spatial pyramid pooling straight to the classes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from lossmaxpool.models.trunk import TIMM_PREFIX, Trunk

RATES = (6, 12, 18, 24)


class DeepLabV2(nn.Module):
    """The network of Rota Bulò et al. 2017, Sect. 4: logits at an eighth of the image's size.

    ``logits = sum_r conv3x3_r(trunk(images))``, one biased convolution from the features to the
    classes for each dilation r. There is no hidden layer, no image pooling and no upsampling in it.

    The trunk's convolutions have odd kernels: cell (i, j) of the logits is centred on pixel
    (8 i, 8 j). A fixed bilinear deconvolution, like bilinear upsampling with align_corners=False,
    places it at (8 i + 3.5, 8 j + 3.5). The offset is the same everywhere as long as the sides of
    an image are multiples of 8, and is learned; pad images of other sizes to the right and below.

    Args:
        encoder_name: "tu-" and the name of a timm model that can be dilated (tu-resnet101), or
            caffe-resnet101: the layout, colours and weights of the original Caffe networks.
        encoder_weights: True fetches timm's weights; None leaves them random.
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

    requires_divisible_input_shape = True  # as segmentation_models_pytorch says it

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
        """Normalised images (B, 3, H, W) to logits (B, C, ceil(H / 8), ceil(W / 8))."""
        features = self.encoder(images)
        first, *others = self.aspp
        logits: Tensor = first(features)
        for convolution in others:
            logits = logits + convolution(features)
        return logits
