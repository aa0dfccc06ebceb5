"""Schedules of p and min_support: a hard share that shrinks, a norm that sharpens, over steps.

Both are plain attributes of a loss, so a schedule is a number per step and one assignment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import nn

from lossmaxpool.checks import check_choice, check_count, check_norm, check_share

Kind = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True)
class Schedule:
    r"""A number that moves from a start to an end over steps.

    With ``t = step / steps`` in [0, 1], it is the start for t = 0, the end for t = 1 and after, and

    .. math:: start + s (end - start), \quad s = t \text{ (linear)}, \quad
        s = (1 - \cos \pi t) / 2 \text{ (cosine)}, \quad s = 0 \text{ (constant)}

    Args:
        kind: "constant", "linear" or "cosine".
        start: the value at step 0.
        end: the value from step ``steps`` on; None, or the start again, if the kind is "constant".
        steps: the number of steps from start to end, at least 1; not used if the kind is
            "constant".

    Raises:
        ValueError: an unknown kind, numbers that are NaN, an end that a kind does not take.

    Example:
        >>> shrink = Schedule("linear", 1.0, 0.25, steps=1000)
        >>> [shrink(step) for step in (0, 500, 1000, 2000)]
        [1.0, 0.625, 0.25, 0.25]
    """

    kind: Kind
    start: float
    end: float | None = None
    steps: int = 0

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, get_args(Kind))
        for name, value in (("start", self.start), ("end", self.end)):
            number = isinstance(value, (int, float)) and not math.isnan(value)
            if not number and not (name == "end" and value is None):
                raise ValueError(f"{name} of a schedule must be a number, got {value!r}.")
        if self.kind == "constant":
            if self.end not in (None, self.start):
                raise ValueError(
                    f'a schedule of kind "constant" stays at its start, {self.start!r}, but end is '
                    f'{self.end!r}: leave it out, or take "linear" or "cosine".'
                )
            return
        if self.end is None:
            raise ValueError(f'a schedule of kind "{self.kind}" needs an end, got None.')
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 1:
            raise ValueError(
                f'a schedule of kind "{self.kind}" needs steps, an integer >= 1, got '
                f"{self.steps!r}: the steps from start to end."
            )

    def __call__(self, step: int) -> float:
        """Return the value at a step.

        Raises:
            ValueError: an infinite start or end, between which nothing lies: see :meth:`norm`.
        """
        if self.kind != "constant" and math.inf in (abs(self.start), abs(self._end)):
            raise ValueError(
                f"between {self.start!r} and {self._end!r} there is no number to schedule: take "
                "norm(step), which moves evenly in 1/p, for a norm exponent."
            )
        return self._between(self.start, self._end, step)

    def norm(self, step: int) -> float:
        """Return the norm exponent p at a step, which moves evenly in 1/p.

        The cap of a weight is ``tau n = (n/m)^(1/p)``: its logarithm moves evenly, and inf, the
        mean, is an end like any other.

        Raises:
            ValueError: a start or an end outside [1, inf].

        Example:
            >>> Schedule("linear", float("inf"), 1.25, steps=100).norm(50)
            2.5
        """
        check_norm(self.start)
        check_norm(self._end)
        if step <= 0 or self.kind == "constant":
            return self.start
        if step >= self.steps:
            return self._end
        reciprocal = self._between(1 / self.start, 1 / self._end, step)
        return 1 / reciprocal if reciprocal else math.inf

    @property
    def _end(self) -> float:
        return self.start if self.end is None else self.end

    def _between(self, start: float, end: float, step: int) -> float:
        if step <= 0 or self.kind == "constant":
            return start
        if step >= self.steps:
            return end
        share = step / self.steps
        if self.kind == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        value = start + share * (end - start)
        return min(max(value, min(start, end)), max(start, end))  # rounding must not leave them


class LossSchedule:
    """Moves ``p`` and ``min_support`` of a loss, one call of :meth:`step` after each training step.

    p moves evenly in 1/p and min_support as it is. The values of step 0 are set at once.

    Args:
        criterion: a module that has the attributes to move, or that holds such modules: then all of
            them are moved that have both ``p`` and ``min_support``.
        p: the schedule of p; None leaves it alone.
        min_support: the schedule of min_support; None leaves it alone.
        every: steps between two changes. ``torch.compile`` compiles a loss again for each new
            value, so that there it should be a few per training.

    Raises:
        TypeError: schedules of another type.
        ValueError: nothing to move, values outside [1, inf] for p or (0, 1] for min_support, no
            module with these attributes, or ``every`` below 1.

    Example:
        >>> criterion = MaxPoolingCrossEntropyLoss(ignore_index=255)
        >>> schedule = LossSchedule(criterion, min_support=Schedule("cosine", 1.0, 0.25, steps=100))
        >>> for _ in range(50):
        ...     schedule.step()
        >>> round(criterion.min_support, 3)
        0.625
    """

    def __init__(
        self,
        criterion: nn.Module,
        *,
        p: Schedule | None = None,
        min_support: Schedule | None = None,
        every: int = 1,
    ) -> None:
        schedules = {"p": p, "min_support": min_support}
        self.schedules = {name: s for name, s in schedules.items() if s is not None}
        if not self.schedules:
            raise ValueError("a LossSchedule needs a schedule of p or of min_support, got neither.")
        for name, schedule in self.schedules.items():
            if not isinstance(schedule, Schedule):
                raise TypeError(
                    f'{name} must be a Schedule, got {schedule!r}: e.g. Schedule("linear", 1.0, '
                    "0.25, steps=1000)."
                )
            for value in (schedule.start, schedule._end):
                check_norm(value) if name == "p" else check_share("min_support", value)
        check_count("every", every, "steps")
        self.every = every
        self.steps_done = 0
        self._moved = _with_attributes(criterion, self.schedules)
        self._set()

    def step(self) -> None:
        """Count a training step and set the values of the next one."""
        self.steps_done += 1
        self._set()

    def values(self, step: int | None = None) -> dict[str, float]:
        """Return the scheduled values, by name, at a step; None: now."""
        at = self.steps_done if step is None else step
        at -= at % self.every
        return {
            name: schedule.norm(at) if name == "p" else schedule(at)
            for name, schedule in self.schedules.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training needs: the number of steps done."""
        return {"steps_done": self.steps_done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state, and set its values."""
        done = state.get("steps_done")
        if isinstance(done, bool) or not isinstance(done, int) or done < 0:
            raise ValueError(
                f"the state of a LossSchedule holds steps_done, an integer >= 0, got {state!r}."
            )
        self.steps_done = done
        self._set()

    def _set(self) -> None:
        for name, value in self.values().items():
            for module in self._moved:
                setattr(module, name, value)


def _with_attributes(criterion: nn.Module, names: dict[str, Schedule]) -> list[nn.Module]:
    """The criterion, if it has all attributes, or its submodules that are loss max-pooling."""
    if all(hasattr(criterion, name) for name in names):
        return [criterion]
    inner = criterion.modules() if isinstance(criterion, nn.Module) else ()
    # Both: modules of other kinds, such as nn.Dropout, have a p of their own.
    found = [m for m in inner if hasattr(m, "p") and hasattr(m, "min_support")]
    if not found:
        raise ValueError(
            f"{type(criterion).__name__} has no {' and '.join(names)} to move, and holds no module "
            "with p and min_support: pass a loss such as MaxPoolingCrossEntropyLoss."
        )
    return found
