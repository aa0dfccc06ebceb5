"""Configuration of a network, and its description in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

# The architecture of a network that was an object, given from Python.
GIVEN = "python"
_CONTAINERS = ("decoder_options", "module_args")
# What changes nothing for networks of the other kind.
_OF_ARCHITECTURE = (
    "encoder", "weights", "encoder_output_stride", "decoder_options", "frozen_batch_norm",
    "pretrained_head",
)  # fmt: skip
_OF_MODULE = ("module_args", "stride", "mean", "std")


@dataclass
class ModelConfig:
    """A segmentation network: DeepLabV2 or a decoder of segmentation_models_pytorch, on an encoder.

    Args:
        architecture: DeepLabV2, or a decoder of segmentation_models_pytorch, e.g. DeepLabV3Plus.
        encoder: "tu-" and the name of a timm model, e.g. tu-tf_efficientnet_lite0; for DeepLabV2
            also caffe-resnet101, the layout of the original Caffe networks.
        weights: the encoder's weights: "imagenet" (timm's own, from the hub), "none" (random),
            a .pth or .safetensors file, or "package:NAME" (an installed package that ships one).
        encoder_output_stride: stride of the encoder's last feature map, for the architectures that
            dilate (DeepLabV2, DeepLabV3, DeepLabV3Plus, PAN); None is the architecture's default.
        decoder_options: further arguments of the architecture, e.g. {"decoder_channels": 128}.
        frozen_batch_norm: fix the encoder's batch norms, statistics and affine parameters alike, at
            the values of its weights, in training too.
        pretrained_head: take the classifier from a converted Caffe file as well; its classes must
            be those of the data set.
        module: import path of a class of torch modules, in place of architecture and encoder; it
            builds its own weights.
        module_args: its arguments by name; the number of classes is added where its constructor
            takes one.
        stride: the number of which height and width of its input must be multiples.
        mean: of each channel in [0, 1] that it expects; None: ImageNet's.
        std: likewise.

    Raises:
        ValueError: options of an architecture beside a module, or those of a module without one.
    """

    architecture: str = "DeepLabV3Plus"
    encoder: str = "tu-tf_efficientnet_lite0"
    weights: str = "imagenet"
    encoder_output_stride: int | None = None
    decoder_options: dict[str, Any] = field(default_factory=dict)
    frozen_batch_norm: bool = False
    pretrained_head: bool = False
    module: str | None = None
    module_args: dict[str, Any] = field(default_factory=dict)
    stride: int = 1
    mean: list[float] | None = None
    std: list[float] | None = None

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != 3:
                raise ValueError(f"model.{name} is {values}: expected three numbers, R, G and B")
        if self.stride < 1:
            raise ValueError(f"model.stride is {self.stride}: expected at least 1")
        plain = {one.name: one.default for one in fields(self) if one.name not in _CONTAINERS}
        plain |= {name: {} for name in _CONTAINERS}
        outside = self.module is not None or self.architecture == GIVEN
        unused = _OF_ARCHITECTURE if outside else _OF_MODULE
        wrong = [name for name in unused if getattr(self, name) != plain[name]]
        if outside and self.weights == "none":
            wrong = [name for name in wrong if name != "weights"]
        if wrong:
            raise ValueError(
                f"model.{wrong[0]} has no effect "
                + (
                    f"on {self.module or 'a network from Python'}"
                    if outside
                    else "without a module"
                )
                + ": leave it out"
            )


@dataclass(frozen=True)
class ModelDescription:
    """The information to rebuild and use a trained network: architecture, classes, normalization.

    Training stores ``as_dict()`` in every checkpoint under :attr:`KEY`; evaluation and prediction
    read it back. Plain values only, so that a checkpoint loads without executing code.

    Args:
        config: the network.
        classes: names of the C classes, in the order of the logits.
        colors: one RGB triple in [0, 255] per class.
        mean: of the RGB values in [0, 1] that the network was trained with.
        std: likewise.
    """

    config: ModelConfig
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    KEY = "lossmaxpool_model"  # no annotation: a class constant, not a field

    def as_dict(self) -> dict[str, Any]:
        """Convert to lists, numbers and strings."""
        return {
            "config": asdict(self.config),
            "classes": list(self.classes),
            "colors": [list(color) for color in self.colors],
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelDescription:
        """The inverse of :meth:`as_dict`.

        Raises:
            ValueError: a part is missing or of the wrong type.
        """
        try:
            description = cls(
                config=ModelConfig(**values["config"]),
                classes=tuple(values["classes"]),
                colors=tuple((int(r), int(g), int(b)) for r, g, b in values["colors"]),
                mean=_triple(values["mean"]),
                std=_triple(values["std"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"the checkpoint's description of its network is incomplete: {error!r}"
            ) from error
        if len(description.classes) != len(description.colors):
            raise ValueError(
                "the checkpoint's description of its network is incomplete: "
                f"{len(description.classes)} classes, {len(description.colors)} colours"
            )
        return description


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)
