"""Which evaluations of a run count, and their mean and spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from lossmaxpool.report.comparison import Evaluation
from lossmaxpool.report.statistics import Score, score


@dataclass(frozen=True)
class Window:
    """The last checkpoints of a run.

    Rota Bulò et al. 2017 average 150k, 160k and 165k of 165k iterations on Cityscapes and 180k,
    190k and 200k of 200k on Pascal VOC: checkpoints in the last tenth of a training.

    Args:
        share: Evaluations in the last ``share`` of the steps count, in [0, 1]; 0: only the last.
        steps: The steps to count instead, where not empty.

    Raises:
        ValueError: A share outside [0, 1].
    """

    share: float = 0.1
    steps: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(
                f"window is {self.share}: expected the share of the training whose evaluations "
                "count, in [0, 1], such as 0.1"
            )

    def of(self, evaluations: Sequence[Evaluation]) -> tuple[Evaluation, ...]:
        """The evaluations that count; none where ``steps`` asks for one that is not there."""
        if self.steps:
            at = {evaluation.step: evaluation for evaluation in evaluations}
            return tuple(at[step] for step in self.steps) if {*self.steps} <= at.keys() else ()
        end = max((evaluation.step for evaluation in evaluations), default=0)
        # A step on the edge counts, whatever the rounding of the product.
        first = (1 - self.share) * end - 1e-9 * end
        return tuple(evaluation for evaluation in evaluations if evaluation.step >= first)


@dataclass(frozen=True)
class Measured:
    """A mean with its sample standard deviation, and over what that is.

    Args:
        score: Over seeds where there are several, else over the checkpoints of the one run.
        seeds: Runs.
        checkpoints: Most checkpoints of one of them.
    """

    score: Score
    seeds: int
    checkpoints: int


def measure(by_run: Sequence[Sequence[float]]) -> Measured:
    """Mean ± sample standard deviation (ddof = 1) as the paper has it.

    One run: over its last checkpoints. Several: each run's mean over them is one value, and the
    deviation is that over runs.

    Args:
        by_run: Per run the scores of its last checkpoints, at least one.

    Example:
        >>> measure([[73.12, 73.16, 73.10]]).score.mean
        73.12666666666667

    References:
        Rota Bulò et al. 2017, Table 1.
    """
    single = len(by_run) == 1
    values = by_run[0] if single else [fmean(scores) for scores in by_run]
    return Measured(score(values), len(by_run), max(map(len, by_run)))
