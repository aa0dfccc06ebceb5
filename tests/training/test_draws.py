from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossmaxpool.training.draws import DrawSampler, draw, mix


def sampler(start: int = 0, stop: int = 12, **options: int) -> DrawSampler:
    return DrawSampler(10, 4, seed=3, start=start, stop=stop, **options)


def test_every_image_once_per_epoch() -> None:
    images = [one.image for batch in DrawSampler(10, 4, 3, start=0, stop=5) for one in batch]
    assert sorted(images[:10]) == sorted(images[10:]) == list(range(10))
    assert images[:10] != images[10:]


@given(start=st.integers(0, 12))
def test_a_later_start_sees_the_same_batches(start: int) -> None:
    assert list(sampler())[start:] == list(sampler(start))


def test_ranks_share_every_batch() -> None:
    ranks = [list(sampler(rank=rank, world_size=2)) for rank in range(2)]
    for whole, first, second in zip(sampler(), *ranks, strict=True):
        assert set(whole) == {*first, *second}
        assert len(first) == len(second) == 2


def test_seeds_differ_between_slots_steps_and_runs() -> None:
    seeds = {
        draw(seed, step, slot, batch_size=4, num_images=10).seed
        for seed in range(5)
        for step in range(20)
        for slot in range(4)
    }
    assert len(seeds) == 400


@given(st.lists(st.integers(-(2**63), 2**64), min_size=1, max_size=3))
def test_mix_gives_what_a_generator_takes(values: list[int]) -> None:
    assert 0 <= mix(*values) < 2**63


def test_no_image_is_refused() -> None:
    with pytest.raises(ValueError, match="no image"):
        DrawSampler(0, 4, 0, start=0, stop=1)


def test_a_batch_that_ranks_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batch_size is 4 over all devices and there are 3"):
        DrawSampler(10, 4, 0, start=0, stop=1, world_size=3)
