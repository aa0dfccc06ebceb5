"""Hugging Face ``Trainer``: a ``compute_loss_func`` that is right under gradient accumulation.

The ``Trainer`` calls ``compute_loss_func(outputs, labels, num_items_in_batch=...)`` for each part
of an accumulated batch, on each device, and adds the results up: they have to be divided already,
by a number that is the same for all parts. A mean over the images of a part is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

# The Trainer does not count labels of this value as items.
_UNCOUNTED = -100


class TrainerLoss:
    r"""A loss of this package as ``Trainer(..., compute_loss_func=...)``.

    .. math:: \frac{1}{\text{items}} \sum_i \text{items}_i \, L_i

    where L_i is the loss of image i, items_i the number of its labels other than -100, and items
    their number in the accumulated batch over all devices. An accumulation of 2 parts of 4 images
    equals one batch of 8, on one device or several. Images of one size count alike, as in the
    loss's own mean, unless labels are -100.

    Args:
        criterion: a module or function of logits (B, C, h, w) and labels (B, H, W) to one value
            per image, e.g. ``MaxPoolingCrossEntropyLoss(ignore_index=255, reduction="none")``, with
            the ``semantic_loss_ignore_index`` of the model's configuration. A single value
            (``pool="batch"``) counts for all images of the part: then the parts of an accumulated
            batch are pools of their own, by the nature of that loss.
        auxiliary: the auxiliary head of the model, e.g. ``model.auxiliary_head`` of UperNet, BEiT
            or DPT, whose logits the output does not hold: they are taken by a hook.
        auxiliary_weight: factor of the auxiliary loss.

    Raises:
        TypeError: a criterion that is not callable.
        ValueError: a criterion with ``reduction="mean"`` or "sum", or a weight that is negative.

    Example:
        >>> from types import SimpleNamespace
        >>> criterion = MaxPoolingCrossEntropyLoss(ignore_index=255, reduction="none")
        >>> compute_loss = TrainerLoss(criterion)  # Trainer(..., compute_loss_func=compute_loss)
        >>> outputs = SimpleNamespace(logits=torch.zeros(2, 3, 4, 4))
        >>> labels = torch.zeros(2, 16, 16).long()
        >>> whole = compute_loss(outputs, labels, num_items_in_batch=labels.numel())
    """

    def __init__(
        self,
        criterion: Callable[[Tensor, Tensor], Tensor],
        *,
        auxiliary: nn.Module | None = None,
        auxiliary_weight: float = 0.4,
    ) -> None:
        if not callable(criterion):
            raise TypeError(
                f"criterion must be a loss of logits and labels, got {criterion!r}: e.g. "
                'MaxPoolingCrossEntropyLoss(ignore_index=255, reduction="none").'
            )
        if getattr(criterion, "reduction", "none") != "none":
            raise ValueError(
                f"criterion has reduction={criterion.reduction!r}, a mean over the images of one "  # type: ignore[attr-defined]
                'part of an accumulated batch: pass reduction="none", one value per image.'
            )
        if not isinstance(auxiliary_weight, (int, float)) or not auxiliary_weight >= 0:
            raise ValueError(f"auxiliary_weight must be a number >= 0, got {auxiliary_weight!r}.")
        self.criterion = criterion
        self.auxiliary_weight = auxiliary_weight
        self.auxiliary = auxiliary
        self._auxiliary_logits: Tensor | None = None
        if auxiliary is not None:
            auxiliary.register_forward_hook(self._take)

    def __call__(
        self, outputs: Any, labels: Tensor | None, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Return the share of the accumulated batch's loss that one part of it contributes.

        Args:
            outputs: of the model: with ``logits``, or a tuple that begins with them.
            labels: (B, H, W), which the ``Trainer`` takes out of the inputs.
            num_items_in_batch: labels other than -100 in the accumulated batch; None, as in
                evaluation: those of this part.

        Raises:
            ValueError: no labels, or a criterion that returns something else than one value per
                image; several GPUs in one process (``nn.DataParallel``); an auxiliary head that
                was not called.
        """
        if labels is None:
            raise ValueError(
                "the inputs of the Trainer hold no labels: the data set's dictionaries need a key "
                "'labels', the class ids (H, W), and label_names=['labels'] where it is renamed."
            )
        logits = _logits(outputs)
        if isinstance(self.criterion, nn.Module):
            self.criterion.to(logits.device)  # class weights, which no model holds
        counts = (labels != _UNCOUNTED).flatten(1).sum(1)
        items = counts.sum() if num_items_in_batch is None else _scalar(num_items_in_batch)
        loss = self._total(logits, labels, counts)
        if self.auxiliary is not None:
            if self._auxiliary_logits is None:
                raise ValueError(
                    "the auxiliary head was not called in the forward pass: pass the head of the "
                    "model that is trained, and a model that uses it."
                )
            auxiliary, self._auxiliary_logits = self._auxiliary_logits, None
            loss = loss + self.auxiliary_weight * self._total(auxiliary, labels, counts)
        return loss / (items.clamp(min=1) if isinstance(items, Tensor) else max(items, 1))

    def _total(self, logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
        values = self.criterion(logits, labels)
        if values.shape not in (counts.shape, torch.Size([1]), torch.Size([])):
            raise ValueError(
                f"the criterion returned shape {tuple(values.shape)} for {len(counts)} images: "
                'expected one value per image; pass reduction="none" to a loss of lossmaxpool, or '
                "average the values of each image."
            )
        return (values * counts).sum()

    def _take(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self._auxiliary_logits = output


def _logits(outputs: Any) -> Tensor:
    found = getattr(outputs, "logits", outputs)
    if isinstance(found, Mapping) and "logits" in found:
        found = found["logits"]
    if isinstance(found, (tuple, list)) and found:
        found = found[0]
    if isinstance(found, Tensor):
        return found
    raise ValueError(
        f"the model returned {type(outputs).__name__} without logits: a model for semantic "
        "segmentation is expected, whose output has .logits."
    )


def _scalar(items: Tensor | int) -> Tensor | int:
    if isinstance(items, Tensor) and items.numel() != 1:
        raise ValueError(
            f"num_items_in_batch holds {items.numel()} numbers, one per GPU of this process: start "
            "one process per GPU (torchrun) instead of nn.DataParallel."
        )
    return items.reshape(()) if isinstance(items, Tensor) else items
