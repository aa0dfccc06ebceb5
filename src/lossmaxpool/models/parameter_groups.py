"""The learning rate of every parameter, by the part of the network that it belongs to."""

from __future__ import annotations

from typing import Any

from torch import nn


def parameter_groups(
    model: nn.Module,
    lr: float,
    weight_decay: float,
    *,
    head_multiplier: float = 10.0,
    head_bias_multiplier: float | None = None,
) -> list[dict[str, Any]]:
    """Split the trainable parameters into groups for an optimizer, each parameter in one.

    The encoder learns at ``lr``, everything else at ``head_multiplier * lr``. With
    ``head_bias_multiplier``, the biases of that rest have a rate of their own and do not decay. The
    1, 10 and 20 of DeepLab (Chen et al. 2018) are ``head_multiplier=10, head_bias_multiplier=20``.

    Args:
        model: a network whose pretrained part is called ``encoder``.
        lr: learning rate of the encoder.
        weight_decay: of every group but the separate biases.
        head_multiplier: rate of the rest, as a multiple of ``lr``.
        head_bias_multiplier: rate of its biases, as a multiple of ``lr``; None: like its weights.

    Returns:
        One table per group: ``name``, ``params``, ``lr``, ``weight_decay``. Empty groups are left
        out, and so are parameters that do not require a gradient.

    Raises:
        ValueError: no parameter is trainable.

    Example:
        >>> from lossmaxpool.models import ModelConfig, build_model
        >>> model = build_model(ModelConfig("DeepLabV2", "tu-resnet18", weights="none"), 19)
        >>> groups = parameter_groups(model, 1.0, 5e-4, head_bias_multiplier=20)
        >>> [(group["name"], group["lr"], group["weight_decay"]) for group in groups]
        [('encoder', 1.0, 0.0005), ('head', 10.0, 0.0005), ('head biases', 20.0, 0.0)]
    """
    encoder: list[nn.Parameter] = []
    head: list[nn.Parameter] = []
    biases: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith("encoder."):
            encoder.append(parameter)
        elif head_bias_multiplier is not None and name.endswith("bias"):
            biases.append(parameter)
        else:
            head.append(parameter)
    groups = [
        {"name": "encoder", "params": encoder, "lr": lr, "weight_decay": weight_decay},
        {
            "name": "head",
            "params": head,
            "lr": lr * head_multiplier,
            "weight_decay": weight_decay,
        },
        {
            "name": "head biases",
            "params": biases,
            "lr": lr * (head_bias_multiplier or 0.0),
            "weight_decay": 0.0,
        },
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ValueError("the model has no trainable parameter: everything is frozen")
    return groups
