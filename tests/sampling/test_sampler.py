from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lossmaxpool.sampling import ClassIndex, Draw, DrawnCrops, PerformanceSampler, RunningIoU
from tests.sampling.scenes import CLASSES, half_right, index_of, masks, pairs

STEPS, INTERVAL, BATCH = 60, 8, 4

# Python 3.12 warns about forks in processes with threads; no lock is held here.
with_workers = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)


def make(**options: Any) -> PerformanceSampler:
    settings = {"seed": 7, "blend": 0.7, "update_interval": INTERVAL, "steps": STEPS} | options
    return PerformanceSampler(index_of(masks()), BATCH, **settings)


def updated(sampler: PerformanceSampler) -> Iterator[list[Draw]]:
    """The batches of one iteration, each of which is followed by an update."""
    for batch in sampler:
        yield batch
        sampler.update(torch.full((CLASSES,), 0.5))


class Training:
    """A loop whose IoU depends on what was drawn, and what it has seen."""

    def __init__(self, workers: int = 0, **options: Any) -> None:
        self.sampler = make(**options)
        self.running = RunningIoU(CLASSES, half_life=20)
        self.workers = workers
        self.batches: list[Tensor] = []

    def run(self, stop: int = STEPS) -> Training:
        loader = DataLoader(
            DrawnCrops(pairs(masks()), (10, 12)),
            batch_sampler=self.sampler,
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
        )
        for image, target in loader:
            self.batches.append(image)
            self.running.update(half_right(target), target)
            self.sampler.update(self.running.iou())
            if self.sampler.step == stop:
                break
        return self

    def save(self) -> bytes:
        buffer = io.BytesIO()
        torch.save([self.sampler.state_dict(), self.running.state_dict()], buffer)
        return buffer.getvalue()

    def load(self, saved: bytes) -> Training:
        sampler, running = torch.load(io.BytesIO(saved), weights_only=True)
        self.sampler.load_state_dict(sampler)
        self.running.load_state_dict(running)
        return self


@pytest.fixture(scope="module")
def uninterrupted() -> Training:
    return Training().run()


@with_workers
@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_nothing(workers: int, uninterrupted: Training) -> None:
    """Two workers with four batches each draw a whole interval ahead of the IoU."""
    found = Training(workers).run()
    assert torch.equal(torch.stack(found.batches), torch.stack(uninterrupted.batches))
    assert found.save() == uninterrupted.save()


@pytest.mark.parametrize("kill", [1, 7, 8, 9, 15, 16, 17, 31, 40, 59])
def test_a_resumed_run_sees_the_same(kill: int, uninterrupted: Training) -> None:
    before = Training().run(stop=kill)
    after = Training().load(before.save()).run()
    seen = before.batches + after.batches
    assert torch.equal(torch.stack(seen), torch.stack(uninterrupted.batches))
    assert torch.equal(after.running.matrix, uninterrupted.running.matrix)


@with_workers
def test_a_run_with_workers_resumes_without_them(uninterrupted: Training) -> None:
    before = Training(workers=2).run(stop=19)
    after = Training().load(before.save()).run()
    seen = before.batches + after.batches
    assert torch.equal(torch.stack(seen), torch.stack(uninterrupted.batches))


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_the_batch(world_size: int) -> None:
    whole = list(updated(make(steps=2 * INTERVAL)))
    parts = [
        list(updated(make(steps=2 * INTERVAL, rank=rank, world_size=world_size)))
        for rank in range(world_size)
    ]
    for step, batch in enumerate(whole):
        for rank in range(world_size):
            assert parts[rank][step] == batch[rank::world_size]


def test_probabilities_change_at_fixed_steps_alone() -> None:
    sampler = make()
    low, high = torch.tensor([0.9, 0.9, 0.9, 0.1]), torch.tensor([0.1, 0.9, 0.9, 0.9])
    assert torch.equal(
        sampler.probabilities(2 * INTERVAL - 1), torch.full((CLASSES,), 0.25).double()
    )
    for _ in range(INTERVAL):
        sampler.update(low)
    # Known from here on, but used only after the next interval.
    assert torch.equal(sampler.probabilities(INTERVAL), torch.full((CLASSES,), 0.25).double())
    assert sampler.probabilities(2 * INTERVAL).argmax() == 3
    for _ in range(INTERVAL):
        sampler.update(high)
    assert sampler.probabilities(3 * INTERVAL - 1).argmax() == 3
    assert sampler.probabilities(3 * INTERVAL).argmax() == 0


def test_what_is_handed_over_between_the_fixed_steps_is_not_looked_at() -> None:
    a, b = make(), make()
    for step in range(2 * INTERVAL):
        published = (step + 1) % INTERVAL == 0
        a.update(torch.full((CLASSES,), 0.5))
        b.update(torch.full((CLASSES,), 0.5 if published else 0.1 * (step % 9)))
    assert list(islice(a, INTERVAL)) == list(islice(b, INTERVAL))


def test_what_is_handed_over_may_change_afterwards() -> None:
    sampler, iou = make(update_interval=1), torch.tensor([0.9, 0.9, 0.9, 0.1])
    sampler.update(iou)
    iou.fill_(0.5)
    assert sampler.probabilities(2).argmax() == 3


@with_workers
def test_a_loader_that_draws_too_far_ahead_is_stopped() -> None:
    loader = DataLoader(
        DrawnCrops(pairs(masks()), (4, 4)),
        batch_sampler=make(update_interval=2),
        num_workers=1,
        prefetch_factor=5,
    )
    with pytest.raises(RuntimeError, match="raise it to at least num_workers"):
        next(iter(loader))


def test_an_update_that_is_forgotten_is_noticed_after_one_interval() -> None:
    batches = iter(make())
    assert len(list(islice(batches, INTERVAL + 1))) == INTERVAL + 1
    with pytest.raises(RuntimeError, match="call update once after every batch"):
        next(batches)


@pytest.mark.parametrize("blend", [0.0, 0.7])
@pytest.mark.parametrize("updates", [0, 4])
def test_an_update_that_is_forgotten_is_noticed_in_the_next_epoch(
    blend: float, updates: int
) -> None:
    sampler = make(steps=5, blend=blend)
    assert len(list(sampler)) == 5
    for _ in range(updates):
        sampler.update(torch.full((CLASSES,), 0.5))
    with pytest.raises(
        RuntimeError, match=f"up to step 5 was drawn, but update .* {updates} times"
    ):
        next(iter(sampler))
    sampler.update(torch.full((CLASSES,), 0.5))
    if updates == 4:
        assert len(list(sampler)) == 5


def test_looking_at_a_batch_or_at_a_copy_needs_no_update() -> None:
    sampler = make(steps=5)
    assert next(iter(sampler)) == next(iter(sampler)) == next(iter(copy.deepcopy(sampler)))
    ahead = list(copy.deepcopy(sampler))
    assert list(updated(sampler)) == ahead


@with_workers
@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (1, True)])
def test_each_epoch_goes_on_where_the_last_one_ended(workers: int, persistent: bool) -> None:
    """Epochs of five steps draw what one long epoch draws, and the loader has a length."""
    sampler = make(steps=5)
    loader = DataLoader(
        Numbered(), batch_sampler=sampler, num_workers=workers, persistent_workers=persistent
    )
    assert len(loader) == len(sampler) == 5
    seen = []
    for _ in range(4):
        before = len(seen)
        for images, _ in loader:
            seen.append(images.tolist())
            sampler.update(torch.full((CLASSES,), 0.5))
        assert len(seen) - before == len(loader)
    whole = list(updated(make(steps=20)))
    assert seen == [[draw.image for draw in batch] for batch in whole]


class Numbered(Dataset[tuple[int, int]]):
    """A data set that is addressed by draws, and yields the number of the image."""

    def __getitem__(self, draw: Draw) -> tuple[int, int]:
        return draw.image, draw.seed % 2


def test_resuming_inside_an_epoch_draws_the_rest_of_it() -> None:
    whole = list(updated(make(steps=15)))
    sampler = make(steps=5)
    seen = list(updated(sampler)) + list(islice(updated(sampler), 3))
    resumed = make(steps=5)
    resumed.load_state_dict(sampler.state_dict())
    assert resumed.step == 7  # the update that follows the third batch was not reached
    rest = list(updated(resumed))
    assert len(rest) == 3
    assert seen[:7] + rest + list(updated(resumed)) == whole


def test_a_state_is_loaded_after_an_epoch_was_drawn() -> None:
    sampler = make(steps=5)
    start = sampler.state_dict()
    first = list(sampler)
    sampler.load_state_dict(start)
    assert list(sampler) == first


def test_schedulers_and_progress_bars_find_a_length() -> None:
    sampler = PerformanceSampler(index_of(masks(10)), 4)
    loader = DataLoader(DrawnCrops(pairs(masks(10)), 4), batch_sampler=sampler)
    assert len(loader) == 3  # ten images in batches of four
    assert len(loader.dataset) == 10  # type: ignore[arg-type]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, epochs=2, steps_per_epoch=len(loader))


def test_it_says_what_it_is() -> None:
    sampler = make()
    sampler.update(torch.full((CLASSES,), 0.5))
    assert repr(sampler) == (
        "PerformanceSampler(12 images, 4 classes, batch_size=4, 60 steps per epoch, at step 1, "
        "blend=0.7, weighting='inverse', floor=0.05, temperature=1.0, update_interval=8, seed=7)"
    )


@pytest.mark.parametrize("iou", [[0.5] * CLASSES, 0.5])
def test_an_iou_that_is_no_tensor(iou: Any) -> None:
    with pytest.raises(ValueError, match=f"as a tensor, .* got {type(iou).__name__}"):
        make().update(iou)


def test_uniform_draws_need_no_iou() -> None:
    sampler, ahead = make(blend=0.0), list(make(blend=0.0))
    for batch, expected in zip(sampler, ahead, strict=True):
        assert batch == expected
        sampler.update()
    resumed = make(blend=0.0)
    for _ in range(5):
        resumed.update()
    assert list(resumed) == ahead[5:]


def test_draws_by_class_need_an_iou() -> None:
    with pytest.raises(ValueError, match=r"blend is 0\.7: hand over RunningIoU\.iou\(\)"):
        make().update()


def test_without_a_number_of_steps_an_epoch_shows_every_image_once() -> None:
    sampler = make(steps=None, blend=0.0)
    assert len(sampler) == 3
    for epoch in range(1, 61):
        images = [draw.image for batch in updated(sampler) for draw in batch]
        assert sorted(images) == list(range(12))
        assert sampler.step == 3 * epoch


def test_the_past_is_not_drawn_again() -> None:
    sampler = make()
    for _ in range(4 * INTERVAL):
        sampler.update(torch.full((CLASSES,), 0.5))
    with pytest.raises(RuntimeError, match="step 9 lies in the past: 32 steps are done"):
        sampler.probabilities(9)


def test_a_step_is_refused_whole() -> None:
    sampler = make(update_interval=1)
    with pytest.raises(ValueError, match="expected one floating-point value for each of 4"):
        sampler.update(torch.zeros(3))
    assert sampler.step == 0


def test_an_undefined_class_is_drawn_until_it_is_seen() -> None:
    sampler = make(update_interval=1)
    sampler.update(torch.tensor([0.8, 0.8, 0.8, torch.nan]))
    assert sampler.probabilities(2)[3] > 0.8


def test_classes_without_pixels_are_reported_once_and_never_drawn() -> None:
    index = index_of(masks(), num_classes=6)
    names = ("road", "car", "pole", "sign", "ferry", "ghost")
    sampler = PerformanceSampler(index, 4, blend=1.0, update_interval=10, class_names=names)
    with pytest.warns(UserWarning, match="2 of 6 classes .* never drawn: ferry, ghost") as caught:
        next(iter(sampler))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn: list[Draw] = []
        while sampler.step < 200:
            for batch in sampler:
                drawn += batch
                sampler.update(torch.full((6,), torch.nan))
    assert {draw.focus for draw in drawn} == {0, 1, 2, 3}


def test_only_the_first_rank_reports() -> None:
    index = index_of(masks(), num_classes=6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        next(iter(PerformanceSampler(index, 4, rank=1, world_size=2)))
        next(iter(PerformanceSampler(index, 4, blend=0.0)))  # nothing is drawn by class


def test_no_class_at_all() -> None:
    empty = ClassIndex(torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"no class has a pixel in the data.*blend=0"):
        PerformanceSampler(empty, 2)
    assert len(next(iter(PerformanceSampler(empty, 2, blend=0.0)))) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blend": 1.5}, r"blend must be a probability in \[0, 1\], got 1.5"),
        ({"blend": float("nan")}, "blend must be a probability"),
        ({"update_interval": 0}, "update_interval must be at least 1 step, got 0"),
        ({"steps": 0}, "steps must be at least 1 step per epoch, got 0"),
        ({"weighting": "worst"}, "weighting must be one of 'inverse', 'complement'"),
        ({"floor": -1.0}, "floor must lie in"),
        ({"temperature": -1.0}, "temperature must be positive"),
        ({"world_size": 3}, "choose a positive multiple of their number"),
        ({"rank": 2, "world_size": 2}, "rank is 2: expected 0 to 1"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize(
    "options", [{"seed": 8}, {"blend": 0.6}, {"floor": 0.1}, {"update_interval": 9}]
)
def test_a_state_of_another_run_is_refused(options: dict[str, Any]) -> None:
    (key,) = options
    with pytest.raises(ValueError, match=rf"another run \({key}: .*resume with the data and the"):
        make(**options).load_state_dict(make().state_dict())


def test_a_state_of_other_masks_is_refused() -> None:
    other = PerformanceSampler(index_of(masks(seed=9)), BATCH)
    with pytest.raises(ValueError, match=r"another run \(masks: "):
        PerformanceSampler(index_of(masks()), BATCH).load_state_dict(other.state_dict())


def test_a_state_may_go_on_with_other_ranks_and_more_steps() -> None:
    sampler = make(steps=99, rank=1, world_size=2)
    sampler.load_state_dict(make().state_dict())
