"""From the IoU of the classes to the probabilities with which they are drawn."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from lossmaxpool.checks import check_choice

Weighting = Literal["inverse", "complement"]


def check_weighting(weighting: str, floor: float, temperature: float) -> None:
    """Refuses parameters of :func:`class_probabilities` that are outside their range."""
    check_choice("weighting", weighting, get_args(Weighting))
    if not 0 < floor <= 1:
        raise ValueError(
            f"floor must lie in (0, 1], got {floor}: a class of IoU 0 would be the only one drawn"
        )
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}: inf ignores the IoU")


def class_probabilities(
    iou: Tensor,
    present: Tensor,
    *,
    weighting: Weighting = "inverse",
    floor: float = 0.05,
    temperature: float = 1.0,
) -> Tensor:
    r"""The probability of each class, falling with its IoU.

    .. math:: \pi_c \propto s_c^{1/T}, \qquad s_c = \frac{1}{\max(\mathrm{IoU}_c, f)}
        \quad\text{or}\quad s_c = \max(1 - \mathrm{IoU}_c, f)

    with floor *f* and temperature *T*. A class without a pixel in the data has probability 0. An
    undefined IoU, of a class that was neither in a crop nor predicted yet, counts as 0: what was
    never shown was never learnt, and the class is drawn until it is seen, whereupon its IoU is
    defined. Where nothing is known, all classes of the data are equally likely.

    Args:
        iou: (C,) in [0, 1], NaN where undefined.
        present: (C,) bool, the classes with a pixel in the data.
        weighting: "inverse" is 1 / IoU, "complement" is 1 - IoU. Rota Bulò et al. 2017 do not say
            which they use: "inverse" is an assumption.
        floor: In (0, 1]. Least IoU that "inverse" takes, so that no class is drawn more than
            1 / floor times as often as one of IoU 1; least weight that "complement" gives, so that
            none is left out. An assumption.
        temperature: Above 0. 1 is the plain inverse; above, the classes become more equally likely,
            and equally likely at inf; below, the worst classes take all.

    Returns:
        (C,) float64, of sum 1.

    Raises:
        ValueError: A parameter or an IoU outside its range, or no class has a pixel.

    Example:
        >>> iou, present = torch.tensor([0.9, 0.3]), torch.tensor([True, True])
        >>> [round(p, 2) for p in class_probabilities(iou, present).tolist()]
        [0.25, 0.75]

    References:
        Rota Bulò et al. 2017, Sect. 4, "Complimentary sampling strategy".
    """
    check_weighting(weighting, floor, temperature)
    check_iou(iou, len(present))
    if not bool(present.any()):
        raise ValueError("no class has a pixel in the data: there is nothing to draw by class")
    known = iou.to("cpu", torch.float64).nan_to_num(nan=0.0)
    score = 1 / known.clamp(min=floor) if weighting == "inverse" else (1 - known).clamp(min=floor)
    # Relative to the largest: a low temperature makes a large power, which would overflow.
    score = (score / score[present].max()) ** (1 / temperature)
    score = torch.where(present, score, 0.0)
    return score / score.sum()


def check_iou(iou: Tensor, num_classes: int) -> None:
    """Refuses what is no IoU per class."""
    if iou.shape != (num_classes,) or not iou.is_floating_point():
        raise ValueError(
            f"iou has shape {tuple(iou.shape)} and dtype {iou.dtype}; expected one floating-point "
            f"value for each of {num_classes} classes"
        )
    wrong = iou[(iou < 0) | (iou > 1)]
    if wrong.numel():
        raise ValueError(f"iou has values outside [0, 1], such as {float(wrong[0])}")
