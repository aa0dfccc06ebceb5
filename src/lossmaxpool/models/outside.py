"""A network of another library, or of the user's own, as a network of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lossmaxpool.import_paths import check_arguments, import_path, kind_of, parameters_of, reason_of
from lossmaxpool.options import ModelConfig

# How the constructors of networks call the number of classes.
_CLASSES = ("num_classes", "classes", "num_labels", "n_classes", "out_channels")
# The parts of networks that are usually pretrained, and are trained with the plain rate.
_PRETRAINED = ("encoder.", "backbone.")


class OutsideNetwork(nn.Module):
    """Any network from normalized images to logits, or to a mapping or object that holds them.

    Args:
        network: (B, 3, H, W) -> logits (B, C, h, w) with h <= H and w <= W, or an output with the
            key ``out``, as torchvision's, or the attribute ``logits``, as transformers'.
        stride: The number of which H and W must be multiples.
    """

    def __init__(self, network: nn.Module, stride: int = 1) -> None:
        super().__init__()
        self.network = network
        self.stride = stride

    @property
    def encoder_prefixes(self) -> tuple[str, ...]:
        """The names with which the pretrained parameters begin."""
        return tuple(f"network.{name}" for name in _PRETRAINED)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, C, h, w)."""
        output: Any = self.network(images)
        if isinstance(output, Mapping) and "out" in output:
            output = output["out"]
        elif not isinstance(output, Tensor):
            output = getattr(output, "logits", output)
        if not isinstance(output, Tensor) or output.dim() != 4:
            raise ValueError(
                f"{type(self.network).__name__} returns {kind_of(output)}: expected logits "
                "(B, C, h, w), a mapping with the key 'out', or an object with logits"
            )
        return output


def build_outside(config: ModelConfig, num_classes: int) -> OutsideNetwork:
    """Build the network that ``config.module`` names.

    Only a class of modules may be named: a checkpoint names one, too, and must not be able to call
    any function that is installed.

    Args:
        num_classes: C, for the argument that is called like it.

    Raises:
        ValueError: It cannot be imported, is not a class of modules, or refuses its arguments.
    """
    found, arguments = find_outside(config, num_classes)
    path = str(config.module)
    try:
        network = found(**arguments)
    except Exception as error:  # each network fails in its own way
        raise ValueError(f"{path} cannot be built like this: {reason_of(error)}") from error
    return OutsideNetwork(network, config.stride)


def find_outside(config: ModelConfig, num_classes: int = 2) -> tuple[Any, dict[str, Any]]:
    """Return the class that ``config.module`` names and its arguments, without building it.

    Raises:
        ValueError: It cannot be imported, is not a class of modules, or has no such argument or
            lacks one.
    """
    path = str(config.module)
    found = import_path(path, "model.module")
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ValueError(
            f"model.module is {path!r}, a {type(found).__name__}: expected a class derived from "
            "torch.nn.Module; derive one that builds the network, or give the object from Python"
        )
    takes = parameters_of(found)
    arguments = dict(config.module_args)
    counts = next((name for name in _CLASSES if name in takes), None)
    if counts is not None:
        arguments.setdefault(counts, num_classes)
    check_arguments(path, found, arguments, "model.module_args")
    return found, arguments
