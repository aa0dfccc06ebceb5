"""The options of data set, network, sampler and inference, as plain values.

They need neither torch nor the rooms that obey them, so that the command answers ``--help`` and a
mistyped option at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from lossmaxpool.checks import check_choice

DataName = Literal[
    "street-scenes", "camvid", "cityscapes", "voc", "ade20k", "mapillary-vistas", "coco-stuff",
    "folders", "python",
]  # fmt: skip
VistasVersion = Literal["v1.2", "v2.0"]
Weighting = Literal["inverse", "complement"]
Precision = Literal["fp32", "bf16", "fp16"]
Format = Literal["onnx", "torch", "safetensors"]
Which = Literal["last", "best"]
"""The checkpoint of a run folder: after its last step, or at its best mIoU on the val split."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# The architecture of a network that was an object, given from Python.
GIVEN = "python"
_CONTAINERS = ("decoder_options", "module_args")
# Options that have no effect on networks of the other kind.
_OF_ARCHITECTURE = (
    "encoder", "weights", "encoder_output_stride", "decoder_options", "frozen_batch_norm",
    "pretrained_head",
)  # fmt: skip
_OF_MODULE = ("module_args", "stride", "mean", "std")


@dataclass
class DataConfig:
    """Which data set, and where.

    Attributes:
        name: "street-scenes" (drawn on the fly), "folders" (your own images and masks), or a
            published set: "camvid", "cityscapes", "voc", "ade20k", "mapillary-vistas",
            "coco-stuff", or "python": objects of your own. None is "python" where there is
            ``train``, "folders" where there is a root, and "street-scenes" elsewhere.
        root: folder of the data set; not for street-scenes.
        train_split: images to train on. CamVid: "train" or "sequence-train". VOC: "train",
            "trainval" or "train_aug" (10,582 images).
        val_split: images to evaluate on. CamVid: "val" or "sequence-val".
        sbd: folder of SBD, for "train_aug" of "voc"; SegmentationClassAug of the root where absent.
        vistas_version: labels of "mapillary-vistas", "v1.2" or "v2.0".
        classes: classes file of "folders"; classes.json or classes.txt of the root where absent.
        image_range: values of black and white in 16-bit pictures of "folders", as [0, 4095] for
            those of a 12-bit camera; 0 and 65535 where absent.
        train: import path of a function without arguments that returns the training images as a
            SegmentationDataset, for "python": "package.module:function".
        val: the same for the images to evaluate on.
        scene_size: height and width of a street scene in pixels.
        train_scenes: number of street scenes to train on.
        val_scenes: number of street scenes to evaluate on.
        scene_seed: seed of the street scenes.

    Raises:
        ValueError: a root for the street scenes, which have none, or import paths beside the name
            of another data set.
    """

    name: DataName | None = None
    root: Path | None = None
    train_split: str = "train"
    val_split: str = "val"
    sbd: Path | None = None
    vistas_version: VistasVersion = "v1.2"
    classes: Path | None = None
    image_range: tuple[float, float] | None = None
    train: str | None = None
    val: str | None = None
    scene_size: tuple[int, int] = (128, 192)
    train_scenes: int = 512
    val_scenes: int = 64
    scene_seed: int = 0

    def __post_init__(self) -> None:
        paths = [path for path in (self.train, self.val) if path is not None]
        if len(paths) == 1:
            raise ValueError(f"data.train and data.val go together, got {paths[0]} alone")
        if paths and (self.name not in (None, "python") or self.root is not None):
            raise ValueError(
                f"data.train is {self.train}, which opens the data itself: leave out data.name "
                "and data.root"
            )
        if paths:
            self.name = "python"
        if self.name is None:
            self.name = "street-scenes" if self.root is None else "folders"
        elif self.name == "street-scenes" and self.root is not None:
            raise ValueError(
                f"data.root is {self.root}, but the street-scenes are drawn and have no folder: "
                "leave out data.name for your own images and masks, or data.root for the scenes"
            )


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


def check_weighting(weighting: str, floor: float, temperature: float) -> None:
    """Raise for parameters of :func:`class_probabilities` outside their range."""
    check_choice("weighting", weighting, get_args(Weighting))
    if not 0 < floor <= 1:
        raise ValueError(
            f"floor must lie in (0, 1], got {floor}: a class of IoU 0 would be the only one drawn"
        )
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}: inf ignores the IoU")


@dataclass(frozen=True)
class InferenceConfig:
    """Configuration of tiling and test-time augmentation.

    Args:
        tiling: "full": the whole image at once. "efficient": tiles of full height side by side.
            "optimized": the same with an overlap, of which each tile predicts its half (Rota Bulò
            et al. 2017, Sect. 4.1).
        tiles: number of tiles. The paper uses five for "efficient" and does not state the number
            for "optimized": five is an assumption.
        overlap: columns that neighbors share in "optimized".
        flip: also predict the mirrored image; doubles the time.
        scales: scales at which to predict the image; the time grows with the sum of their squares.
            The class probabilities of several views are averaged.

    Raises:
        ValueError: a value outside its range.

    Example:
        >>> InferenceConfig(flip=True).views
        ((1.0, False), (1.0, True))
    """

    tiling: Literal["full", "efficient", "optimized"] = "full"
    tiles: int = 5
    overlap: int = 200
    flip: bool = False
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if self.tiling not in ("full", "efficient", "optimized"):
            raise ValueError(
                f"tiling is {self.tiling!r}; expected 'full', 'efficient' or 'optimized'"
            )
        if self.tiles < 1:
            raise ValueError(f"tiles is {self.tiles}; expected at least 1")
        if self.overlap < 0:
            raise ValueError(f"overlap is {self.overlap}; expected 0 or more")
        # Lists, as parsed from YAML, would make the configuration unhashable.
        object.__setattr__(self, "scales", tuple(self.scales))
        if not self.scales or not all(math.isfinite(s) and s > 0 for s in self.scales):
            raise ValueError(f"scales is {list(self.scales)}; expected one or more, positive")
        if len(set(self.scales)) < len(self.scales):
            raise ValueError(f"scales is {list(self.scales)}; the same scale twice adds nothing")

    @property
    def views(self) -> tuple[tuple[float, bool], ...]:
        """Scale and mirroring of each view of a tile."""
        mirrorings = (False, True) if self.flip else (False,)
        return tuple((scale, mirror) for scale in self.scales for mirror in mirrorings)
