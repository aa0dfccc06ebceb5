"""From the layer names of converted Caffe DeepLab networks to timm's.

Two conversions are in use. One took torchvision's names and called the classifier ``layer5``
(``layer1.0.conv2.weight``, ``layer5.conv2d_list.0.weight``; older files put ``Scale.`` in front);
the other counts the stem as a layer and blocks from one (``layer2.block1.conv3x3.conv.weight``,
``aspp.c0.weight``; with ``base.`` or ``scale.`` in front, or without).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
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
_OTHER_CLASSIFIER = re.compile(r"fc\.(weight|bias)")  # of DeepLabV1: one convolution, no pyramid
# What no torchvision or timm file has. Without such a mark the colours' order is anybody's guess.
_MARK = re.compile(r"((Scale|scale|base)\.)?(layer5\.|layer\d+\.block\d+\.|aspp\.)")


@dataclass(frozen=True)
class CaffeTensors:
    """The tensors of a converted Caffe network, by what they are for.

    Args:
        trunk: timm's names of a ResNet to tensors.
        head: ``0.weight``, ``0.bias``, ... to tensors, one pair for each dilation; may be empty.
        unknown: names that are neither, or that stand for the same tensor twice. A classifier of
            DeepLabV1 (``fc``), which has no pyramid, is none of the three.
    """

    trunk: dict[str, Tensor]
    head: dict[str, Tensor]
    unknown: tuple[str, ...]


def is_caffe_naming(names: Iterable[str]) -> bool:
    """Whether a state dict's names are those of a converted Caffe DeepLab."""
    return any(_MARK.match(name) for name in names)


def sort_caffe_tensors(tensors: Mapping[str, Tensor]) -> CaffeTensors:
    """Every tensor under timm's name, in the part of the network it belongs to."""
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
