"""A criterion of another library, or of the user's own, as a criterion of a run.

What such a criterion expects differs: the wrapper gives it what all of them take, and tries it once
before anything is trained, so that one that does not fit is an error in one line.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import packages_distributions
from typing import Any

import torch
from torch import Tensor, nn

from lossmaxpool.data import IGNORE_INDEX
from lossmaxpool.environment import versions
from lossmaxpool.import_paths import (
    check_arguments,
    import_path,
    kind_of,
    parameters_of,
    reason_of,
)
from lossmaxpool.ops.upsampling import upsample_to
from lossmaxpool.runs.methods import Criterion, Imported, leaves

# The criterion is tried on images of this size.
_SIDE = 32


class ImportedCriterion(nn.Module):
    """Any criterion on full-size float32 logits; 0 for a batch without a valid pixel.

    Each process of a run has the mean of its own crops: unlike the criteria of the package, this
    one is not told how many valid pixels the others have.

    Args:
        criterion: Logits (B, C, H, W) float32 and target (B, H, W) int64 to a scalar.
        name: What it is called in messages.
        ignore_index: The id of ignored pixels that it knows; None if it knows none.
        valid_only: Give it the valid pixels alone, as (1, C, n, 1) and (1, n, 1).
        target_channel: Give the class ids a channel, (B, 1, H, W).
    """

    def __init__(
        self,
        criterion: Callable[[Tensor, Tensor], Any],
        name: str,
        *,
        ignore_index: int | None,
        valid_only: bool = False,
        target_channel: bool = False,
    ) -> None:
        super().__init__()
        self.criterion = criterion
        self.name = name
        self.ignore_index = ignore_index
        self.valid_only = valid_only
        self.target_channel = target_channel

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits (B, C, h, w), upsampled to the target (B, H, W).

        Raises:
            ValueError: The criterion returns anything but a scalar, or it knows no ignored pixels
                and there are some.
        """
        logits = upsample_to(logits, target.shape[-2:]).float()
        valid = target != IGNORE_INDEX
        if not bool(valid.any()):
            return logits.sum() * 0
        if self.valid_only:
            logits = logits.movedim(1, -1)[valid].T[None, :, :, None]
            target = target[valid][None, :, None]
        elif self.ignore_index is None:
            if not bool(valid.all()):
                raise ValueError(
                    f"{self.name} takes no ignore_index, and the batch has ignored pixels: add "
                    "'valid_only: true' if it sees each pixel by itself, or give it an argument "
                    "ignore_index"
                )
        elif self.ignore_index != IGNORE_INDEX:
            target = target.masked_fill(~valid, self.ignore_index)
        if self.target_channel:
            target = target.unsqueeze(1)
        # Mixed precision is for the network: a library's loss is written for float32.
        with torch.autocast(logits.device.type, enabled=False):
            loss = self.criterion(logits, target)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise ValueError(
                f"{self.name} returns {kind_of(loss)}: expected a scalar tensor; most criteria "
                "have an argument such as reduction: mean"
            )
        return loss.reshape(())


class FunctionCriterion(nn.Module):
    """A function of logits and target, such as ``torch.nn.functional.cross_entropy``.

    Args:
        arguments: Its further arguments; tensors follow the module to its device.
    """

    def __init__(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
        super().__init__()
        self.function, self.arguments = function, dict(arguments)
        for name, value in arguments.items():
            if isinstance(value, Tensor):
                self.register_buffer(name, self.arguments.pop(name))

    def forward(self, logits: Tensor, target: Tensor) -> Any:
        """Return what the function returns."""
        return self.function(logits, target, **self.arguments, **dict(self.named_buffers()))


def build_imported(
    imported: Imported, num_classes: int, weight: Tensor | None
) -> ImportedCriterion:
    """Return a criterion by import path, tried on a small batch.

    Args:
        weight: Class weights (C,), which become its argument ``weight``.

    Raises:
        ValueError: It cannot be imported, built or called, or it does not return a finite scalar
            with a gradient.
    """
    criterion, arguments = _constructed(imported, weight)
    name = imported.class_path
    if isinstance(criterion, nn.Module) and any(p.requires_grad for p in criterion.parameters()):
        raise ValueError(
            f"{name} has parameters to train, and a run trains those of the network alone"
        )
    found = ImportedCriterion(
        criterion,
        name,
        ignore_index=arguments.get("ignore_index"),
        valid_only=imported.valid_only,
        target_channel=imported.target_channel,
    )
    _try(found, num_classes)
    return found


def check_imported(criterion: Criterion) -> None:
    """Refuse criteria by import path that cannot be right, before data or a network are there."""
    for each in leaves(criterion):
        if isinstance(each, Imported):
            # The number of classes is not known yet: the weights only stand for those to come.
            found, _ = _constructed(each, torch.ones(2) if each.class_weights else None)
            called = found.forward if isinstance(found, nn.Module) else found
            try:
                signature = inspect.signature(called)
            except (TypeError, ValueError):
                continue
            try:
                signature.bind(None, None)
            except TypeError as error:
                raise _uncallable(each.class_path, error) from error


def _constructed(imported: Imported, weight: Tensor | None) -> tuple[Any, dict[str, Any]]:
    """The criterion and the arguments that it was built with."""
    name = imported.class_path
    factory = import_path(name, "class_path")
    if not callable(factory) or isinstance(factory, nn.Module):
        raise ValueError(
            f"class_path is {name!r}, a {type(factory).__name__}: expected a class of criteria or "
            "a function"
        )
    arguments = dict(imported.init_args)
    if weight is not None:
        arguments["weight"] = weight
    if "ignore_index" in parameters_of(factory):
        arguments.setdefault("ignore_index", IGNORE_INDEX)
    itself = _is_criterion(factory, arguments)
    check_arguments(name, factory, arguments, "init_args", skip=2 if itself else 0)
    if itself:
        return FunctionCriterion(factory, arguments), arguments
    try:
        criterion = factory(**arguments)
    except Exception as error:  # whatever the library raises
        raise ValueError(f"{name} refuses its init_args: {reason_of(error)}") from error
    if not callable(criterion):
        raise ValueError(f"{name} returns a {type(criterion).__name__}: expected a criterion")
    return criterion, arguments


def _is_criterion(factory: Callable[..., Any], arguments: Mapping[str, Any]) -> bool:
    """Whether a function takes logits and target itself, and does not return what takes them."""
    first = list(parameters_of(factory).values())[:2]
    return (
        not isinstance(factory, type)
        and len(first) == 2
        and all(
            each.default is each.empty
            and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
            and each.name not in arguments
            for each in first
        )
    )


def packages(criterion: Criterion) -> dict[str, str]:
    """Return the versions of the packages that the criteria by import path come from.

    Example:
        >>> packages(Imported("torch.nn.CrossEntropyLoss", {})).keys()
        dict_keys(['torch'])
    """
    roots = {
        each.class_path.partition(".")[0]
        for each in leaves(criterion)
        if isinstance(each, Imported)
    }
    distributions = packages_distributions() if roots else {}
    return versions(name for root in sorted(roots) for name in distributions.get(root, ()))


def _uncallable(name: str, error: Exception) -> ValueError:
    return ValueError(
        f"{name} cannot be called with logits (B, C, H, W) and class ids (B, H, W): "
        f"{reason_of(error)}; write a function that gives it what it takes"
    )


def _try(criterion: ImportedCriterion, num_classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, num_classes, _SIDE, _SIDE, generator=generator).requires_grad_()
    target = torch.randint(num_classes, (2, _SIDE, _SIDE), generator=generator)
    if criterion.ignore_index is not None or criterion.valid_only:
        target[0, :4] = IGNORE_INDEX
    name = criterion.name
    try:
        loss = criterion(logits, target)
    except Exception as error:  # whatever the library raises
        if type(error) is ValueError and str(error).startswith(f"{name} "):
            raise
        raise _uncallable(name, error) from error
    if not bool(torch.isfinite(loss)):
        raise ValueError(f"{name} returns {loss.item()} on random logits: expected a finite loss")
    gradient = (
        torch.autograd.grad(loss, logits, allow_unused=True)[0] if loss.requires_grad else None
    )
    if gradient is None or not bool(torch.isfinite(gradient).all()):
        raise ValueError(f"{name} has no finite gradient with respect to the logits")
