"""The Caffe DeepLabV2, written down a second time: names, layout and colors as published."""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

RATES = (6, 12, 18, 24)
MEAN_BGR = (104.008, 116.669, 122.675)
PARTS = {"1": "reduce", "2": "conv3x3", "3": "increase"}


def converted_state(classes: int, seed: int = 0) -> dict[str, Tensor]:
    """A ResNet-50 in the conversion with torchvision's names, every tensor a different one."""
    torch.manual_seed(seed)
    state = torchvision.models.resnet50().state_dict()
    state = {n: t for n, t in state.items() if not n.endswith("tracked")}
    del state["fc.weight"], state["fc.bias"]
    for name, tensor in state.items():
        if tensor.ndim == 1:  # batch norm: differs from a new network's
            state[name] = torch.rand_like(tensor) * 0.5 + (0.0 if "mean" in name else 0.5)
    for i in range(len(RATES)):
        state[f"layer5.conv2d_list.{i}.weight"] = 0.01 * torch.randn(classes, 2048, 3, 3)
        state[f"layer5.conv2d_list.{i}.bias"] = torch.randn(classes)
    return state


def block_name(name: str) -> str:
    """From the conversion with torchvision's names to the one that numbers blocks from one."""
    aspp = re.fullmatch(r"layer5\.conv2d_list\.(\d)\.(\w+)", name)
    if aspp:
        return f"aspp.c{aspp[1]}.{aspp[2]}"
    stem = re.fullmatch(r"(conv|bn)1\.(\w+)", name)
    if stem:
        return f"layer1.conv1.{stem[1]}.{stem[2]}"
    block = re.fullmatch(r"layer(\d)\.(\d+)\.(conv|bn)(\d)\.(\w+)", name)
    if block:
        layer, index, kind, number, rest = block.groups()
        return f"layer{int(layer) + 1}.block{int(index) + 1}.{PARTS[number]}.{kind}.{rest}"
    shortcut = re.fullmatch(r"layer(\d)\.0\.downsample\.(\d)\.(\w+)", name)
    assert shortcut, name
    kind = ("conv", "bn")[int(shortcut[2])]
    return f"layer{int(shortcut[1]) + 1}.block1.shortcut.{kind}.{shortcut[3]}"


def features(state: dict[str, Tensor], rgb: Tensor, *, dilated: bool = True) -> Tensor:
    """The trunk on RGB of 0..255, (B, 3, H, W) float64; undilated: the classifier's own."""
    state = {name: tensor.double() for name, tensor in state.items()}
    x = rgb.flip(1) - torch.tensor(MEAN_BGR, dtype=torch.float64).view(3, 1, 1)
    x = _norm(state, "bn1", F.conv2d(x, state["conv1.weight"], stride=2, padding=3)).relu()
    x = F.max_pool2d(x, 3, 2, 1, ceil_mode=True)
    for stage, (blocks, stride, dilation) in enumerate(
        [(3, 1, 1), (4, 2, 1), (6, 1, 2), (3, 1, 4)], start=1
    ):
        if not dilated:
            stride, dilation = (1 if stage == 1 else 2), 1
        for index in range(blocks):
            x = _block(state, f"layer{stage}.{index}", x, stride if index == 0 else 1, dilation)
    return x


def logits(state: dict[str, Tensor], rgb: Tensor) -> Tensor:
    x = features(state, rgb)
    pyramid = [
        F.conv2d(
            x,
            state[f"layer5.conv2d_list.{i}.weight"].double(),
            state[f"layer5.conv2d_list.{i}.bias"].double(),
            padding=rate,
            dilation=rate,
        )
        for i, rate in enumerate(RATES)
    ]
    return torch.stack(pyramid).sum(0)


def _block(state: dict[str, Tensor], name: str, x: Tensor, stride: int, dilation: int) -> Tensor:
    y = _norm(state, f"{name}.bn1", F.conv2d(x, state[f"{name}.conv1.weight"], stride=stride))
    weight = state[f"{name}.conv2.weight"]
    y = F.conv2d(y.relu(), weight, padding=dilation, dilation=dilation)
    y = _norm(state, f"{name}.bn2", y).relu()
    y = _norm(state, f"{name}.bn3", F.conv2d(y, state[f"{name}.conv3.weight"]))
    if f"{name}.downsample.0.weight" in state:
        x = F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride)
        x = _norm(state, f"{name}.downsample.1", x)
    return (x + y).relu()


def _norm(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    mean, var, weight, bias = (
        state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return F.batch_norm(x, mean, var, weight, bias)
