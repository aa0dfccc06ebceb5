"""Building networks with segmentation_models_pytorch and timm, and their parameter groups."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import nn

from lossmaxpool.checks import did_you_mean
from lossmaxpool.models.deeplabv2 import (
    CAFFE_MEAN,
    CAFFE_PREFIX,
    CAFFE_STD,
    CAFFE_TRUNKS,
    TIMM_PREFIX,
    DeepLabV2,
)
from lossmaxpool.models.outside import OutsideNetwork, build_outside
from lossmaxpool.models.weights import load_caffe_weights, load_encoder_weights, resolve_weights
from lossmaxpool.options import GIVEN, IMAGENET_MEAN, IMAGENET_STD, ModelConfig

# timm and segmentation_models_pytorch take seconds to import: import them only to build a network.
ARCHITECTURES = (
    "DPT", "DeepLabV2", "DeepLabV3", "DeepLabV3Plus", "FPN", "Linknet", "MAnet", "PAN", "PSPNet",
    "Segformer", "UPerNet", "Unet", "UnetPlusPlus",
)  # fmt: skip
# Set by build_model; all other arguments of an architecture are decoder options.
_OWN_ARGUMENTS = {
    "self", "encoder_name", "encoder_weights", "encoder_output_stride", "in_channels", "classes",
    "activation", "upsampling", "aux_params", "kwargs",
}  # fmt: skip


def build_model(config: ModelConfig, num_classes: int) -> nn.Module:
    """Build a network from normalized images to logits at the decoder's resolution.

    The final upsampling is omitted: loss and evaluation upsample bilinearly (align_corners=False)
    to the size of the target, without storing the large map twice.

    Args:
        config: which network.
        num_classes: C.

    Returns:
        A module (B, 3, H, W) -> (B, C, h, w), in training mode. H and W must be multiples of
        :func:`input_stride`.

    Raises:
        ValueError: an unknown architecture, encoder or option, or weights that do not fit.
        RuntimeError: the hub cannot be reached.

    Example:
        >>> import torch
        >>> config = ModelConfig("FPN", "tu-mobilenetv3_small_050", weights="none")
        >>> build_model(config, 11)(torch.zeros(2, 3, 64, 96)).shape
        torch.Size([2, 11, 16, 24])
    """
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}; a segmentation network needs at least 1")
    if config.architecture == GIVEN:
        raise ValueError(
            "the network was an object given from Python: give it again, as in "
            "load_checkpoint(run, model=network)"
        )
    if config.module is not None:
        return build_outside(config, num_classes)
    architecture = _architecture(config.architecture)
    _check_encoder(config.encoder)
    _check_caffe(config)
    arguments = _arguments(architecture, config)
    weights = resolve_weights(config.weights)
    try:
        with _impatient_hub() if weights == "imagenet" else nullcontext():
            model = architecture(
                encoder_name=config.encoder,
                # timm's argument: True means "the pretrained weights of this model".
                encoder_weights=True if weights == "imagenet" else None,
                classes=num_classes,
                **arguments,
            )
    except OSError as error:  # any error of the hub client or the network
        raise RuntimeError(
            f"the ImageNet weights of {config.encoder!r} could not be fetched from the hub "
            f"({type(error).__name__}); give a local file or 'package:NAME' as weights, "
            "or 'none' for random ones"
        ) from error
    except Exception as error:  # each combination fails in its own way
        raise ValueError(
            f"{config.architecture} cannot be built on {config.encoder!r} like this: {error}"
        ) from error
    if not isinstance(weights, str):
        if _is_caffe(config):
            load_caffe_weights(model, weights, head=config.pretrained_head)
        else:
            load_encoder_weights(model, weights)
    if config.frozen_batch_norm:
        _freeze_batch_norm(model, config.encoder)
    return model


@contextmanager
def _impatient_hub() -> Iterator[None]:
    """Ask the hub once; where it does not answer, let its client take what is on this machine.

    The client itself would ask again and again for a minute, and then do the same.
    """
    from huggingface_hub import constants, get_session

    offline = constants.HF_HUB_OFFLINE
    try:
        if not offline:
            get_session().head(constants.ENDPOINT, timeout=10)
    except Exception:  # of one client for HTTP or another, and none is of use here
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline


def input_stride(model: nn.Module) -> int:
    """The number of which input height and width must be multiples; 1 if any size works."""
    if isinstance(model, OutsideNetwork):
        return model.stride
    if not getattr(model, "requires_divisible_input_shape", False):
        return 1
    return int(model.encoder.output_stride)  # type: ignore[union-attr, arg-type]


def normalization(
    config: ModelConfig,
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation of the RGB values (scaled to [0, 1]) that the encoder expects.

    These are the values its weights were trained with, from timm: e.g. 0.5 and 0.5 for
    tf_efficientnet_lite0 instead of ImageNet's. The Caffe networks subtract a mean from 0..255 and
    do not divide: their standard deviation is 1 / 255.

    Returns:
        (mean, std), three floats each.

    Raises:
        ValueError: an unknown encoder.

    Example:
        >>> normalization(ModelConfig(encoder="tu-tf_efficientnet_lite0"))
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    """
    if config.module is not None or config.architecture == GIVEN:
        red, green, blue = config.mean or IMAGENET_MEAN
        red_std, green_std, blue_std = config.std or IMAGENET_STD
        return (red, green, blue), (red_std, green_std, blue_std)
    _check_encoder(config.encoder)
    if _is_caffe(config):
        return CAFFE_MEAN, CAFFE_STD
    import timm

    settings = timm.models.get_pretrained_cfg(config.encoder.removeprefix(TIMM_PREFIX))
    assert settings is not None  # the name is known to timm, so the configuration exists
    red, green, blue = settings.mean
    red_std, green_std, blue_std = settings.std
    return (red, green, blue), (red_std, green_std, blue_std)


def _architecture(name: str) -> type[nn.Module]:
    if name not in ARCHITECTURES:
        raise ValueError(
            f"Unknown architecture {name!r}. {did_you_mean(name, ARCHITECTURES)} "
            f"There are: {', '.join(ARCHITECTURES)}."
        )
    if name == "DeepLabV2":
        return DeepLabV2
    import segmentation_models_pytorch as smp

    architecture: type[nn.Module] = getattr(smp, name)
    return architecture


def _is_caffe(config: ModelConfig) -> bool:
    return config.encoder.startswith(CAFFE_PREFIX)


def _check_caffe(config: ModelConfig) -> None:
    if config.pretrained_head and not _is_caffe(config):
        raise ValueError(
            "pretrained_head is for the files of converted Caffe networks: the encoder is "
            f"{config.encoder!r}, expected '{CAFFE_PREFIX}...'"
        )
    if not _is_caffe(config):
        return
    if config.architecture != "DeepLabV2":
        raise ValueError(
            f"{config.encoder!r} is for DeepLabV2, not {config.architecture}; take "
            f"'{TIMM_PREFIX}{config.encoder.removeprefix(CAFFE_PREFIX)}'"
        )
    if config.weights == "imagenet":
        raise ValueError(
            f"no hub has weights for {config.encoder!r}; give a file of a converted Caffe network, "
            "or 'none' for random weights"
        )


def _check_encoder(name: str) -> None:
    if name.startswith(CAFFE_PREFIX):
        trunk = name.removeprefix(CAFFE_PREFIX)
        if trunk not in CAFFE_TRUNKS:
            names = ", ".join(CAFFE_PREFIX + known for known in CAFFE_TRUNKS)
            raise ValueError(f"Unknown encoder {name!r}. There are: {names}.")
        return
    import timm

    timm_name = name.removeprefix(TIMM_PREFIX)
    known = timm.is_model(timm_name)
    if name.startswith(TIMM_PREFIX) and known:
        return
    if known:
        raise ValueError(f"encoders are timm models: write {TIMM_PREFIX + name!r}, not {name!r}")
    guess = did_you_mean(timm_name.removeprefix("timm-"), timm.list_models())
    raise ValueError(
        f"Unknown encoder {name!r}: expected {TIMM_PREFIX!r} and the name of a timm model. "
        f"{guess or 'timm.list_models() names them.'}"
    )


def _arguments(architecture: type[nn.Module], config: ModelConfig) -> dict[str, Any]:
    known = inspect.signature(architecture.__init__).parameters
    options = sorted(set(known) - _OWN_ARGUMENTS)
    for name in config.decoder_options:
        if name not in options:
            raise ValueError(
                f"{config.architecture} has no decoder option {name!r}. "
                f"{did_you_mean(name, options)} There are: {', '.join(options)}."
            )
    arguments = dict(config.decoder_options)
    if "upsampling" in known:
        arguments["upsampling"] = 1
    if config.encoder_output_stride is not None:
        if "encoder_output_stride" not in known:
            raise ValueError(
                f"{config.architecture} does not dilate its encoder: encoder_output_stride is "
                f"{config.encoder_output_stride}, expected none; leave it out or take DeepLabV3Plus"
            )
        arguments["encoder_output_stride"] = config.encoder_output_stride
    return arguments


def _freeze_batch_norm(model: nn.Module, encoder_name: str) -> None:
    from timm.layers.norm_act import freeze_batch_norm_2d

    encoder = model.encoder
    assert isinstance(encoder, nn.Module)
    if not any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules()):
        raise ValueError(f"frozen_batch_norm is set, and {encoder_name!r} has no batch norm")
    # Modifies the encoder's modules in place.
    freeze_batch_norm_2d(encoder)  # type: ignore[no-untyped-call]


def parameter_groups(
    model: nn.Module,
    lr: float,
    weight_decay: float,
    *,
    head_multiplier: float = 10.0,
    head_bias_multiplier: float | None = None,
) -> list[dict[str, Any]]:
    """Split the trainable parameters into disjoint groups for an optimizer.

    The encoder is trained with ``lr``, the rest (head) with ``head_multiplier * lr``. With
    ``head_bias_multiplier``, the head's biases have their own rate and no weight decay. DeepLab's
    factors 1, 10 and 20 (Chen et al. 2018) are ``head_multiplier=10, head_bias_multiplier=20``.

    Args:
        model: a network whose pretrained part is the attribute ``encoder``; of one by import path
            or from Python also ``backbone``, and without either all of it is trained with ``lr``.
        lr: learning rate of the encoder.
        weight_decay: of every group but the separate biases.
        head_multiplier: rate of the head, as a multiple of ``lr``.
        head_bias_multiplier: rate of its biases, as a multiple of ``lr``; None: like its weights.

    Returns:
        One dict per group: ``name``, ``params``, ``lr``, ``weight_decay``. Empty groups and
        parameters that do not require a gradient are omitted.

    Raises:
        ValueError: no parameter is trainable.

    Example:
        >>> from lossmaxpool.models import ModelConfig, build_model
        >>> model = build_model(ModelConfig("DeepLabV2", "tu-resnet18", weights="none"), 19)
        >>> groups = parameter_groups(model, 1.0, 5e-4, head_bias_multiplier=20)
        >>> [(group["name"], group["lr"], group["weight_decay"]) for group in groups]
        [('encoder', 1.0, 0.0005), ('head', 10.0, 0.0005), ('head biases', 20.0, 0.0)]
    """
    prefixes = getattr(model, "encoder_prefixes", ("encoder.",))
    if isinstance(model, OutsideNetwork) and not any(
        name.startswith(prefixes) for name, _ in model.named_parameters()
    ):
        # Nothing says which part is pretrained: all of it has the plain rate.
        head_multiplier, head_bias_multiplier = 1.0, None
    encoder: list[nn.Parameter] = []
    head: list[nn.Parameter] = []
    biases: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith(prefixes):
            encoder.append(parameter)
        elif head_bias_multiplier is not None and name.endswith("bias"):
            biases.append(parameter)
        else:
            head.append(parameter)
    rows = [
        ("encoder", encoder, lr, weight_decay),
        ("head", head, lr * head_multiplier, weight_decay),
        ("head biases", biases, lr * (head_bias_multiplier or 0.0), 0.0),
    ]
    names = ("name", "params", "lr", "weight_decay")
    groups = [dict(zip(names, each, strict=True)) for each in rows if each[1]]
    if not groups:
        raise ValueError("the model has no trainable parameter: everything is frozen")
    return groups
