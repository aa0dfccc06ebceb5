"""Conversion of other libraries' layer names to timm's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

_PREFIX = re.compile(r"^(Scale|scale|base)\.")
_TORCHVISION = re.compile(r"(conv1|bn1|layer[1-4]\.\d+\.(conv[123]|bn[123]|downsample\.[01]))\.\w+")
_STEM = re.compile(r"layer1\.conv1\.(conv|bn)\.(\w+)")
_BLOCK = re.compile(
    r"layer([2-5])\.block(\d+)\.(reduce|conv3x3|increase|shortcut|proj)\.(conv|bn)\.(\w+)"
)
_NUMBER = {"reduce": 1, "conv3x3": 2, "increase": 3}
_ASPP = re.compile(r"(?:layer5\.conv2d_list\.|aspp\.(?:stages\.)?c)(\d+)\.(weight|bias)")
_OTHER_CLASSIFIER = re.compile(r"fc\.(weight|bias)")  # DeepLabV1: one convolution, no pyramid
# Names unique to the Caffe conversions, whose input channels are blue, green, red.
_MARK = re.compile(r"((Scale|scale|base)\.)?(layer5\.|layer\d+\.block\d+\.|aspp\.)")


@dataclass(frozen=True)
class CaffeTensors:
    """The tensors of a converted Caffe network under timm's names, and the unknown names.

    ``head`` has ``0.weight``, ``0.bias``, ... for each dilation and may be empty. The classifier of
    DeepLabV1 (``fc``), which has no pyramid, is dropped.
    """

    trunk: dict[str, Tensor]
    head: dict[str, Tensor]
    unknown: tuple[str, ...]


def is_caffe_naming(names: Iterable[str]) -> bool:
    """Whether a state dict's names are those of a converted Caffe DeepLab."""
    return any(_MARK.match(name) for name in names)


def sort_caffe_tensors(tensors: Mapping[str, Tensor]) -> CaffeTensors:
    """Assign every tensor to its part of the network, under timm's name."""
    trunk: dict[str, Tensor] = {}
    head: dict[str, Tensor] = {}
    unknown: list[str] = []
    for name, tensor in tensors.items():
        bare = _PREFIX.sub("", name)
        aspp = _ASPP.fullmatch(bare)
        new = f"{aspp[1]}.{aspp[2]}" if aspp else _to_timm_name(bare)
        part = head if aspp else trunk
        if new is not None and new not in part:
            part[new] = tensor
        elif not _OTHER_CLASSIFIER.fullmatch(bare):
            unknown.append(name)
    return CaffeTensors(trunk, head, tuple(unknown))


def _to_timm_name(name: str) -> str | None:
    if _TORCHVISION.fullmatch(name):
        return name
    stem = _STEM.fullmatch(name)
    if stem is not None:
        return f"{'conv1' if stem[1] == 'conv' else 'bn1'}.{stem[2]}"
    block = _BLOCK.fullmatch(name)
    if block is None:
        return None
    layer, number, part, kind, rest = block.groups()
    place = f"layer{int(layer) - 1}.{int(number) - 1}"
    if part in _NUMBER:
        return f"{place}.{kind}{_NUMBER[part]}.{rest}"
    return f"{place}.downsample.{0 if kind == 'conv' else 1}.{rest}"


_TRUNK = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_SEPARABLE = {  # depthwise, pointwise
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_INVERTED = {  # expand, depthwise, project
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_SQUEEZE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
_FLAT_BLOCK = re.compile(r"_blocks\.(\d+)\.(\w+)\.(.+)")


def is_efficientnet_naming(names: Sequence[str]) -> bool:
    """Whether a state dict's names are lukemelas' (``_conv_stem.weight`` ...)."""
    return "_conv_stem.weight" in names


def to_timm_names(
    tensors: Mapping[str, Tensor], blocks_per_stage: Sequence[int]
) -> dict[str, Tensor]:
    """Tensors of lukemelas' EfficientNet under timm's names, given its blocks in each stage."""
    places = [(stage, i) for stage, count in enumerate(blocks_per_stage) for i in range(count)]
    expanded = {
        match[1]
        for match in map(_FLAT_BLOCK.fullmatch, tensors)
        if match and match[2] == "_expand_conv"
    }
    renamed = {}
    for name, tensor in tensors.items():
        block = _FLAT_BLOCK.fullmatch(name)
        if block is None:
            layer, _, rest = name.partition(".")
            new = _TRUNK.get(layer)
            prefix = ""
        else:
            number, layer, rest = block.groups()
            if int(number) >= len(places):
                raise ValueError(
                    f"the file has a block {number}, the encoder {len(places)} blocks; "
                    "the weights are those of a larger EfficientNet"
                )
            stage, index = places[int(number)]
            prefix = f"blocks.{stage}.{index}."
            new = (_INVERTED if number in expanded else _SEPARABLE).get(layer) or _SQUEEZE.get(
                layer
            )
        if new is None:
            raise ValueError(f"{name!r} is not a layer of lukemelas' EfficientNet")
        renamed[f"{prefix}{new}.{rest}"] = tensor
    return renamed
