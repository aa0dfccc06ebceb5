"""Small labeled images, a training that learns some classes, and the test of a distribution."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from scipy import stats
from torch import Tensor

from lossmaxpool.sampling import ClassIndex

CLASSES = 4
# p-values: a wrong distribution falls below the first; a right one, at these seeds, stays above
# the second.
REJECTED, ACCEPTED = 1e-9, 0.01


def masks(count: int = 12, size: tuple[int, int] = (20, 28), seed: int = 0) -> list[Tensor]:
    """Class 0 everywhere, class 1 in blocks of most, 2 of a few, 3 of two; some ignored pixels."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for i in range(count):
        mask = torch.zeros(size, dtype=torch.uint8)
        for class_id, every in ((1, 2), (2, 4), (3, 6)):
            if i % every == 0:
                row, column = torch.randint(0, 14, (2,), generator=generator).tolist()
                mask[row : row + 5, column : column + 5] = class_id
        mask[:2, -3:] = 255
        found.append(mask)
    return found


def pairs(labels: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Each mask with an image that tells row, column and class apart."""
    found = []
    for mask in labels:
        rows, columns = torch.meshgrid(*(torch.arange(n) for n in mask.shape), indexing="ij")
        found.append((torch.stack([rows, columns, mask.long()]).float(), mask))
    return found


def index_of(labels: list[Tensor], num_classes: int = CLASSES) -> ClassIndex:
    return ClassIndex.build(labels.__getitem__, len(labels), num_classes)


def half_right(target: Tensor) -> Tensor:
    """A prediction that is right for classes 0 and 1, and half of the time for the others."""
    columns = torch.arange(target.shape[-1]).expand(target.shape)
    hard = (target == 2) | (target == 3)
    return torch.where(hard & (columns % 2 == 0), 0, target.clamp(max=CLASSES - 1))


def plausibility(observed: Iterable[int], probabilities: Iterable[float]) -> float:
    """The p-value of counts under a distribution (chi-square); outcomes of probability 0 are 0."""
    counts = torch.tensor(list(observed), dtype=torch.float64)
    expected = torch.tensor(list(probabilities), dtype=torch.float64)
    possible = expected > 0
    assert not counts[~possible].any(), "an outcome of probability 0 has occurred"
    expected = expected[possible] / expected.sum() * counts.sum()
    assert expected.min() >= 5, "too few draws for a chi-square test"
    return float(stats.chisquare(counts[possible].numpy(), expected.numpy()).pvalue)


def count(values: Iterable[int], size: int) -> list[int]:
    return torch.bincount(torch.tensor(list(values)), minlength=size).tolist()
