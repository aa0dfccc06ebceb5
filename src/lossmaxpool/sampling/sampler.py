"""The performance-driven sampler: batches of draws, some by class, some uniform."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.utils.data import Sampler

from lossmaxpool.options import Weighting, check_weighting
from lossmaxpool.sampling.class_index import ClassIndex
from lossmaxpool.sampling.draws import (
    Draw,
    blended_draw,
    check_iou,
    class_probabilities,
)

# The parameters that determine the draws, beside the batch size.
_OPTIONS = ("blend", "weighting", "floor", "temperature", "update_interval", "seed")


class PerformanceSampler(Sampler[list[Draw]]):
    """Draws under-performing classes more often, blended with uniform draws.

    Each slot of a batch is drawn by class with probability ``blend``: a class, with higher
    probability for a lower running IoU (:func:`class_probabilities`); then, uniformly, an image
    that contains the class, a pixel of the class (:meth:`Draw.pixel`), and a crop that contains the
    pixel (:func:`random_span`). Other slots take the next image in random order, cropped anywhere.

    Use it as ``batch_sampler`` of a ``DataLoader`` over a data set that is addressed by draws, such
    as :class:`DrawnCrops`. Call :meth:`update` with the IoU once after every batch (a step).
    Iterating draws from the current step to the end of its epoch, and the next iteration continues
    from there, so epochs differ. ``len(sampler)`` is the number of steps of an epoch.

    A draw is a pure function of (seed, step, slot) and the probabilities, which change only every
    K = ``update_interval`` steps: steps kK to (k + 1)K - 1 use the IoU after (k - 1)K updates, and
    the first 2K draw all classes equally. So a loader may draw K batches ahead (it draws
    ``num_workers * prefetch_factor``), and the result does not depend on the number of workers and
    ranks or on resuming. Drawing further ahead, or a missing :meth:`update`, raises an error.

    Args:
        index: Images of each class.
        batch_size: Crops per step, over all ranks.
        seed: The seed of the run.
        blend: Probability of a draw by class, in [0, 1]; 0 draws uniformly. Rota Bulò et al. 2017
            do not state theirs: the value is an assumption.
        weighting: "inverse" or "complement" of the IoU.
        floor: Lower bound of the IoU or weight; see :func:`class_probabilities`.
        temperature: Above 0; 1 is the plain weighting.
        update_interval: K, steps between changes of the probabilities.
        steps: The number of steps of an epoch; None: ceil(images / batch_size).
        rank: Rank of this process, which takes the slots rank, rank + world_size, ...; None: that
            in the default process group when batches are drawn.
        world_size: The number of processes; None: that of the default process group.
        class_names: For messages.

    Raises:
        ValueError: A parameter is outside its range, the batch size is not divisible by the number
            of ranks, or there is no class to draw.
        RuntimeError: While iterating: ``update`` was not called, or the loader draws too far ahead.

    Example:
        >>> index = ClassIndex(torch.tensor([[9, 0], [5, 4]]))
        >>> sampler = PerformanceSampler(index, batch_size=2, blend=1.0, steps=3)
        >>> for batch in sampler:
        ...     sampler.update(torch.tensor([0.8, 0.2]))
        >>> len(batch), batch[0].focus in (0, 1)
        (2, True)

    References:
        Rota Bulò et al. 2017, Sect. 4, "Complimentary sampling strategy". The order class, image,
        pixel, crop follows the first author's In-Place ABN, which uses the same scheme.
    """

    def __init__(
        self,
        index: ClassIndex,
        batch_size: int,
        seed: int = 0,
        *,
        blend: float = 0.5,
        weighting: Weighting = "inverse",
        floor: float = 0.05,
        temperature: float = 1.0,
        update_interval: int = 32,
        steps: int | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        check_weighting(weighting, floor, temperature)
        if not 0 <= blend <= 1:
            raise ValueError(f"blend must be a probability in [0, 1], got {blend}")
        if update_interval < 1:
            raise ValueError(f"update_interval must be at least 1 step, got {update_interval}")
        if steps is not None and steps < 1:
            raise ValueError(f"steps must be at least 1 step per epoch, got {steps}")
        self.index = index
        self.batch_size = batch_size
        self.seed = seed
        self.blend = blend
        self.weighting: Weighting = weighting
        self.floor = floor
        self.temperature = temperature
        self.update_interval = update_interval
        self.steps = steps
        self.rank = rank
        self.world_size = world_size
        self._slots()
        self._present = index.present
        self._step = 0
        self._drawn = 0  # end of the last epoch that was drawn completely
        # Maps j to the IoU after j * update_interval updates, for the newest two j.
        self._known = {0: torch.full((index.num_classes,), torch.nan, dtype=torch.float64)}
        self._absent: list[str] = []  # absent classes that are still to be reported
        if blend > 0:
            if len(index.absent) == index.num_classes:
                raise ValueError(
                    "no class has a pixel in the data: nothing can be drawn by class; look at the "
                    "masks, or set blend=0"
                )
            self._absent = [class_names[c] if class_names else str(c) for c in index.absent]

    @property
    def step(self) -> int:
        """The number of completed steps (updates)."""
        return self._step

    def update(self, iou: Tensor | None = None) -> None:
        """End a step.

        Args:
            iou: (C,) running IoU, in [0, 1], NaN where undefined; the same on every rank. It is
                used only in every ``update_interval``-th step; may be omitted if ``blend`` is 0.

        Raises:
            ValueError: ``iou`` is not one IoU per class, or is required and missing.
        """
        done = self._step + 1
        if self.blend > 0:
            if not isinstance(iou, Tensor):
                raise ValueError(
                    f"update needs the IoU of the classes as a tensor, since blend is "
                    f"{self.blend}: hand over RunningIoU.iou(), or set blend=0; got "
                    f"{'none' if iou is None else type(iou).__name__}"
                )
            if done % self.update_interval == 0:
                self._publish(iou, done // self.update_interval)
        self._step = done

    def probabilities(self, step: int) -> Tensor:
        """The class probabilities of a draw by class, (C,) float64.

        Args:
            step: From the current step up to the end of the next interval.

        Raises:
            RuntimeError: The IoU for this step is not known yet, or no longer kept.
        """
        decisive = max(step // self.update_interval - 1, 0)
        if decisive not in self._known:
            raise RuntimeError(self._explain_unknown(step))
        return class_probabilities(
            self._known[decisive],
            self._present,
            weighting=self.weighting,
            floor=self.floor,
            temperature=self.temperature,
        )

    def __len__(self) -> int:
        """The steps of an epoch. After resuming inside one, its first iteration has fewer."""
        return self.steps or -(-self.index.num_images // self.batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        """The batches of this rank, from the current step to the end of its epoch."""
        step = self._step
        if step < self._drawn:
            raise RuntimeError(
                f"every batch up to step {self._drawn} was drawn, but update was called "
                f"{step} times: the next epoch would repeat draws. Call update once after every "
                "batch (without an IoU where blend is 0); to draw an epoch without training on "
                "it, iterate over copy.deepcopy(sampler)"
            )
        slots = self._slots()
        # Warn here, not in __init__: the rank is known only once the process group exists.
        if self._absent and slots.start == 0:
            warnings.warn(
                f"{len(self._absent)} of {self.index.num_classes} classes have no pixel in the "
                f"data and are never drawn: {', '.join(self._absent)}",
                stacklevel=2,
            )
        self._absent = []
        end = step - step % len(self) + len(self)
        cumulative: list[float] = []
        while step < end:
            if self.blend > 0:
                if step - self._step > self.update_interval:
                    raise RuntimeError(self._explain_unknown(step))
                if not cumulative or step % self.update_interval == 0:
                    cumulative = _cumulate(self.probabilities(step))
            yield [
                blended_draw(
                    self.seed, step * self.batch_size + slot, self.index, self.blend, cumulative
                )
                for slot in slots
            ]
            step += 1
        self._drawn = end

    def __repr__(self) -> str:
        return (
            f"PerformanceSampler({self.index.num_images} images, {self.index.num_classes} classes, "
            f"batch_size={self.batch_size}, {len(self)} steps per epoch, at step {self._step}, "
            + ", ".join(f"{name}={getattr(self, name)!r}" for name in _OPTIONS)
            + ")"
        )

    def state_dict(self) -> dict[str, Any]:
        """The state for resuming with the same draws; identical on every rank."""
        return {
            "step": self._step,
            "known": {j: iou.clone() for j, iou in self._known.items()},
            "plan": self._plan(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state; the number of ranks and of steps may differ.

        Raises:
            ValueError: It belongs to other data or other parameters.
        """
        plan, saved = self._plan(), state["plan"]
        changed = [
            f"{key}: {saved.get(key)} -> {plan[key]}" for key in plan if saved.get(key) != plan[key]
        ]
        if changed:
            raise ValueError(
                f"the sampler's state is of another run ({'; '.join(changed)}): resume with the "
                "data and the options that the run began with"
            )
        self._step, self._drawn = state["step"], 0
        self._known = {j: iou.clone() for j, iou in state["known"].items()}

    def _publish(self, iou: Tensor, newest: int) -> None:
        check_iou(iou, self.index.num_classes)
        self._known = {
            newest - 1: self._known[newest - 1],
            newest: iou.detach().to("cpu", torch.float64).clone(),
        }

    def _slots(self) -> range:
        """The slots of this rank; computed late, as the group may be created after the sampler."""
        grouped = dist.is_available() and dist.is_initialized()
        rank, world_size = self.rank, self.world_size
        if rank is None:
            rank = dist.get_rank() if grouped else 0
        if world_size is None:
            world_size = dist.get_world_size() if grouped else 1
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank}: expected 0 to {world_size - 1}")
        if self.batch_size < 1 or self.batch_size % world_size:
            raise ValueError(
                f"batch_size is {self.batch_size} over all ranks and there are {world_size} of "
                "them: choose a positive multiple of their number"
            )
        return range(rank, self.batch_size, world_size)

    def _plan(self) -> dict[str, Any]:
        """The parameters that determine the draws, besides step, slot and IoU."""
        options = {name: getattr(self, name) for name in ("batch_size", *_OPTIONS)}
        return {"masks": self.index.digest} | options

    def _explain_unknown(self, step: int) -> str:
        if step < self._step:
            return f"step {step} lies in the past: {self._step} steps are done"
        return (
            f"step {step} is drawn after {self._step} updates: call update once after every batch. "
            f"If that is done, the loader draws further ahead than update_interval = "
            f"{self.update_interval} batches: raise it to at least "
            "num_workers * prefetch_factor + 1"
        )


def _cumulate(probabilities: Tensor) -> list[float]:
    """Cumulative probabilities, exactly 1 from the last class with nonzero probability on."""
    values = probabilities.tolist()
    last = max(c for c, value in enumerate(values) if value > 0)
    return [1.0 if c >= last else total for c, total in enumerate(accumulate(values))]
