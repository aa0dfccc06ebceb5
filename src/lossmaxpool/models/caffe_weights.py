"""Weights of the original Caffe DeepLab networks, converted by others, for RGB images."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from lossmaxpool.models.caffe_names import is_caffe_naming, sort_caffe_tensors
from lossmaxpool.models.deeplabv2 import DeepLabV2
from lossmaxpool.models.weights import (
    check_fit,
    complete,
    is_whole_network,
    load_encoder_weights,
    read_tensors,
)


def load_caffe_weights(model: nn.Module, path: Path | str, *, head: bool = False) -> None:
    """Fill a DeepLabV2 in Caffe's layout from a converted file, or raise and change nothing.

    The Caffe networks see blue, green, red. The input channels of the first convolution are turned
    around here, so that the filled network sees RGB like every other of this package: with
    :data:`CAFFE_MEAN` and :data:`CAFFE_STD` it computes what the original does. A file of this
    package's own (``encoder.model...``) has that behind it and is taken as it is.

    Args:
        model: DeepLabV2 on an encoder "caffe-...", as :func:`build_model` returns it.
        path: a .safetensors file, or one of ``torch.save`` that holds tensors only.
        head: whether to fill the pyramid too; else the file's classifier, of whatever classes, is
            left out and the model's own stays as it is.

    Raises:
        ValueError: the model has another layout, the file is unreadable or no converted Caffe
            network, or it does not have exactly the tensors that are wanted: what is missing,
            unexpected or of another shape is listed.
    """
    if not isinstance(model, DeepLabV2) or not model.encoder.caffe_layout:
        raise ValueError(
            "weights of Caffe networks fit DeepLabV2 on an encoder 'caffe-resnet101' only: "
            "elsewhere strides and dilations differ"
        )
    tensors = read_tensors(path)
    if is_whole_network(tensors) and not head:
        load_encoder_weights(model, path)
        return
    if not is_caffe_naming(tensors):
        raise ValueError(
            f"{path} is no converted Caffe DeepLab: no 'layer5.conv2d_list', no 'layer2.block1', "
            f"no 'aspp' among its names ({', '.join(list(tensors)[:3])} ...). For weights of "
            f"torchvision or timm take the encoder 'tu-{model.encoder.name}'"
        )
    found = sort_caffe_tensors(tensors)
    trunk = model.encoder.model
    given = {**found.trunk, **{name: tensors[name] for name in found.unknown}}
    check_fit(path, trunk.state_dict(), given, (), "encoder")
    if head:
        check_fit(path, model.aspp.state_dict(), found.head, (), "pyramid")
        model.aspp.load_state_dict(found.head)
    filled = complete(given, trunk)
    filled["conv1.weight"] = filled["conv1.weight"].flip(1)
    trunk.load_state_dict(filled)
