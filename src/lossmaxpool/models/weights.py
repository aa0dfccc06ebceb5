"""Loading weights from a local file, completely or not at all, under other libraries' names too."""

from __future__ import annotations

import importlib.util
import pickle
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from lossmaxpool.models.deeplabv2 import DeepLabV2

PACKAGE_PREFIX = "package:"
_REFUSED = re.compile(r"GLOBAL (\S+)")  # the name that torch's restricted unpickler rejected
# Batch counters of batch norms: missing in files from before torch 0.4.1, and without effect.
COUNTER = "num_batches_tracked"
SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")


def resolve_weights(weights: str) -> Path | Literal["imagenet", "none"]:
    """Resolve a ``weights`` setting to a file; "imagenet" and "none" are returned unchanged."""
    if weights == "imagenet" or weights == "none":
        return weights  # type: ignore[return-value]
    if weights.startswith(PACKAGE_PREFIX):
        return _file_of_package(weights.removeprefix(PACKAGE_PREFIX))
    path = Path(weights)
    if not path.is_file():
        raise ValueError(
            f"weights is {weights!r}, and there is no such file; expected 'imagenet', 'none', "
            f"'{PACKAGE_PREFIX}NAME' or a file ({', '.join(SUFFIXES)})"
        )
    return path


def load_encoder_weights(model: nn.Module, path: Path | str) -> None:
    """Fill every tensor of a network's encoder from a file, or raise and change nothing.

    Supports the names of timm and torchvision (``conv1.weight``), of
    segmentation_models_pytorch (``model.conv1.weight``, ``encoder.model...``) and of lukemelas'
    EfficientNet-PyTorch (``_conv_stem.weight``). The classifier is ignored. For a network in the
    Caffe layout, use :func:`lossmaxpool.models.load_caffe_weights`.

    Args:
        model: from :func:`lossmaxpool.models.build_model`.
        path: a .safetensors file, or one of ``torch.save`` that holds tensors only.

    Raises:
        ValueError: the file is unreadable, would execute code, or does not have exactly the
            encoder's tensors: missing and unexpected names and wrong shapes are listed.
    """
    encoder = model.encoder
    assert isinstance(encoder, nn.Module)
    tensors = read_tensors(path)
    if is_caffe_naming(tensors) and not is_whole_network(tensors):
        raise ValueError(
            f"{path} holds a converted Caffe network, whose first convolution expects blue before "
            f"red and whose strides lie elsewhere; take the encoder 'caffe-{encoder.name}'"
        )
    given = _to_encoder_names(tensors, encoder)
    check_fit(path, encoder.state_dict(), given, _names_of_classifier(encoder), "encoder")
    encoder.load_state_dict(complete(given, encoder))


def check_fit(
    path: Path | str,
    wanted: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    left_out: Container[str],
    part: str,
) -> None:
    """Raise unless a file has exactly the tensors of a part of a network, or known extra ones."""
    missing = [name for name in wanted if name not in given and not name.endswith(COUNTER)]
    unexpected = sorted(name for name in given if name not in wanted and name not in left_out)
    misshapen = [
        f"{name} {tuple(given[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]
    if missing or unexpected or misshapen:
        raise ValueError(
            f"{path} does not fit this {part}, which has {len(wanted)} tensors: "
            f"{_list('missing', missing)}; {_list('unexpected', unexpected)}; "
            f"{_list('of another shape', misshapen)}. Take the file of the same model."
        )


def complete(given: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Complete a file's tensors for a module: counters missing in old files are kept."""
    return {name: given.get(name, own) for name, own in module.state_dict().items()}


def is_whole_network(names: Iterable[str]) -> bool:
    """Whether a state dict is a whole network of this package, with an ``encoder``."""
    return any(name.startswith("encoder.") for name in names)


def read_tensors(path: Path | str) -> dict[str, Tensor]:
    """Read tensors by name from a .safetensors file or a ``torch.save`` of tensors only.

    Raises for a file that would execute code.
    """
    path = Path(path)
    content: object
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            content = load_file(path)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    else:
        content = load_plain(path)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]  # the usual key in training checkpoints
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(
            f"{path} holds {_describe(content)}; expected a state dict: names and tensors"
        )
    return dict(content)


def load_plain(path: Path | str) -> object:
    """Read a ``torch.save`` file of tensors and plain values, without executing code."""
    if not Path(path).is_file():
        raise ValueError(f"there is no file {path}")
    try:
        content: object = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        code = _REFUSED.search(str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if code:
            raise ValueError(
                f"{path} is refused: it holds more than tensors and plain values ({code[1]}), so "
                "that loading it could execute code of its author. Save the state dict alone, or "
                "a .safetensors file."
            ) from None  # omit torch's message, which explains how to execute the code
        raise ValueError(
            f"{path} is damaged or no torch file ({type(error).__name__}); fetch it again"
        ) from error
    return content


def _file_of_package(name: str) -> Path:
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    if not folders:
        raise ValueError(
            f"no package {name!r} is installed: weights is '{PACKAGE_PREFIX}{name}'; "
            "install it, or give a file"
        )
    files = sorted(
        file for folder in folders for file in Path(folder).rglob("*") if file.suffix in SUFFIXES
    )
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        raise ValueError(
            f"package {name!r} has {len(files)} weights files ({names}); expected exactly one"
        )
    return files[0]


def _to_encoder_names(tensors: dict[str, Tensor], encoder: nn.Module) -> dict[str, Tensor]:
    """Rename to the names of ``encoder.state_dict()`` where it has them; else keep timm's."""
    if is_whole_network(tensors):
        tensors = {
            name.removeprefix("encoder."): tensor
            for name, tensor in tensors.items()
            if name.startswith("encoder.")
        }
    if is_efficientnet_naming(list(tensors)):
        tensors = to_timm_names(tensors, _blocks_per_stage(encoder))
    wanted = encoder.state_dict()
    return {_encoder_name(name.removeprefix("model."), wanted): t for name, t in tensors.items()}


def _encoder_name(name: str, wanted: Container[str]) -> str:
    # timm's feature extractors use "stages.0.x" or, flattened, "stages_0.x".
    candidates = (f"model.{name}", f"model.{name.replace('.', '_', 1)}")
    return next((candidate for candidate in candidates if candidate in wanted), name)


def _names_of_classifier(encoder: nn.Module) -> set[str]:
    """Names of timm's whole model: a file may hold its classifier, which the encoder lacks."""
    import timm

    with torch.device("meta"):
        return set(timm.create_model(str(encoder.name)).state_dict())


def _blocks_per_stage(encoder: nn.Module) -> Sequence[int]:
    blocks = getattr(encoder.model, "blocks", None)
    if not isinstance(blocks, nn.Sequential):
        raise ValueError(
            f"the file has EfficientNet's layers, the encoder is a {type(encoder.model).__name__}"
        )
    return [len(stage) for stage in blocks.children() if isinstance(stage, nn.Sequential)]


def _list(what: str, names: Sequence[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{len(names)} {what}" + (f" ({', '.join(names[:shown])}{more})" if names else "")


def _describe(content: object) -> str:
    if isinstance(content, Mapping):
        return f"a table with the keys {', '.join(map(repr, list(content)[:5]))}"
    return f"a {type(content).__name__}"


def load_caffe_weights(model: nn.Module, path: Path | str, *, head: bool = False) -> None:
    """Fill a DeepLabV2 in Caffe's layout from a converted file, or raise and change nothing.

    The Caffe networks take blue, green, red. The input channels of the first convolution are
    reversed here, so that the network takes RGB like all others of this package; with
    :data:`CAFFE_MEAN` and :data:`CAFFE_STD` it computes the same as the original. A file saved by
    this package (``encoder.model...``) is already converted and loaded unchanged.

    Args:
        model: DeepLabV2 with an encoder "caffe-...", from :func:`build_model`.
        path: a .safetensors file, or one of ``torch.save`` that holds tensors only.
        head: whether to fill the pyramid too; otherwise the file's classifier is ignored and the
            model's stays unchanged.

    Raises:
        ValueError: the model has another layout, the file is unreadable or not a converted Caffe
            network, or it does not have exactly the required tensors: missing and unexpected names
            and wrong shapes are listed.
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
            f"{path} is not a converted Caffe DeepLab: no 'layer5.conv2d_list', no "
            f"'layer2.block1', no 'aspp' among its names ({', '.join(list(tensors)[:3])} "
            f"...). For weights of torchvision or timm take the encoder 'tu-{model.encoder.name}'"
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


# From the layer names of other libraries to timm's.

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
