"""From the layer names of lukemelas' EfficientNet-PyTorch to timm's.

Both number the same blocks in the same order, one flat (``_blocks.5``), the other by stage
(``blocks.2.1``). A block's layers are told apart by what it has: the first stage does not expand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

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
_BLOCK = re.compile(r"_blocks\.(\d+)\.(\w+)\.(.+)")


def is_efficientnet_naming(names: Sequence[str]) -> bool:
    """Whether a state dict's names are lukemelas' (``_conv_stem.weight`` ...)."""
    return "_conv_stem.weight" in names


def to_timm_names(
    tensors: Mapping[str, Tensor], blocks_per_stage: Sequence[int]
) -> dict[str, Tensor]:
    """The same tensors under timm's names.

    Args:
        tensors: lukemelas' names to tensors.
        blocks_per_stage: timm's number of blocks in each stage, in order.

    Raises:
        ValueError: a name that is not one of the scheme's, or a block beyond the last stage.
    """
    places = [(stage, i) for stage, count in enumerate(blocks_per_stage) for i in range(count)]
    expanded = {
        match[1] for match in map(_BLOCK.fullmatch, tensors) if match and match[2] == "_expand_conv"
    }
    renamed = {}
    for name, tensor in tensors.items():
        block = _BLOCK.fullmatch(name)
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
