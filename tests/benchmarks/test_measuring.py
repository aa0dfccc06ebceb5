"""Floor, clock and memory, measured on calls of known cost."""

from __future__ import annotations

import ctypes
import mmap

import pytest
import torch
from benchmarks.speed.cases import SIZES, Case, cases
from benchmarks.speed.clock import FEWEST, MOST, WARM_UP, quantiles, take_turns
from benchmarks.speed.measure import measured
from benchmarks.speed.memory import can_tell, extra_peak

from tests.tolerances import HEAP, OTHER_PAGES

CPU = torch.device("cpu")
MB = 10**6


@pytest.mark.parametrize(
    ("case", "megabytes"),
    [
        (Case("dense", (2, 19, 550, 550)), 157),
        (Case("dense", (2, 19, 550, 550), "bfloat16"), 88),
        (Case("dense", (16, 19, 1024, 1024)), 4362),
        (Case("dense", (16, 150, 512, 512), "bfloat16"), 3909),
        (Case("upsampling", (16, 19, 1024, 1024)), 597),
        (Case("upsampling", (16, 150, 512, 512), "bfloat16"), 193),
    ],
)
def test_the_floor_is_the_published_one(case: Case, megabytes: int) -> None:
    assert round(case.floor_bytes / MB) == megabytes


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_run_has_the_shapes_of_the_bars(device: str) -> None:
    found = list(cases(device, quick=False))
    assert len({case.name for case in found}) == len(found)
    assert [case.shape[3] for case in found if case.kind == "scaling"] == list(SIZES)
    assert any(case.kind == "solver" and case.shape[3] == 302_500 for case in found)
    assert Case("dense", (2, 19, 550, 550)) in found
    for case in found:
        if case.kind == "upsampling":
            assert case.shape[2] == 8 * case.low[2]
            assert case.shape[3] == 8 * case.low[3]
    quick = list(cases(device, quick=True))
    assert {case.kind for case in quick} == {case.kind for case in found}
    assert sum(case.floor_bytes for case in quick) < sum(case.floor_bytes for case in found) / 10


def test_contenders_take_turns_and_are_prepared() -> None:
    done: list[str] = []
    calls = {name: lambda name=name: done.append(name) for name in "ab"}
    times = take_turns(calls, lambda: done.append("-"), CPU, seconds=10.0)
    assert "".join(done) == "-a-b" * (WARM_UP + MOST)
    assert all(len(spent) == MOST for spent in times.values())


def test_a_slow_case_takes_the_fewest_rounds_after_the_warm_up() -> None:
    done: list[str] = []
    times = take_turns({"a": lambda: done.append("a")}, lambda: None, CPU, seconds=0.0)
    assert len(times["a"]) == FEWEST
    assert len(done) == FEWEST + WARM_UP


def test_quantiles() -> None:
    spread = quantiles([5.0, 1.0, 2.0, 4.0, 3.0, 6.0])
    assert spread == {"median_ms": 3.5, "q20_ms": 2.0, "q80_ms": 5.0, "rounds": 6}


@pytest.mark.skipif(not can_tell(CPU), reason="memory is told on Linux only")
class TestMemory:
    def test_a_temporary_counts_although_it_is_gone_at_the_end(self) -> None:
        def call() -> None:
            torch.ones(16 * MB).sum()

        call()
        assert extra_peak(call, lambda: None, CPU) == pytest.approx(64 * MB, abs=OTHER_PAGES)

    def test_small_blocks_of_the_heap_count(self) -> None:
        # The heap keeps freed small blocks: an earlier call must not hide a later one's memory.
        def call() -> None:
            [torch.ones(2000) for _ in range(8000)]

        call()
        assert extra_peak(call, lambda: None, CPU) == pytest.approx(64 * MB, rel=HEAP)

    def test_memory_beside_torch_counts(self) -> None:
        size = 48 * MB

        def call() -> None:
            with mmap.mmap(-1, size) as pages:
                ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(pages)), 1, size)

        assert extra_peak(call, lambda: None, CPU) == pytest.approx(size, abs=OTHER_PAGES)

    def test_what_was_there_before_does_not_count(self) -> None:
        kept = torch.ones(16 * MB)
        peak = extra_peak(lambda: kept.add_(1), lambda: None, CPU)
        assert peak == pytest.approx(0, abs=OTHER_PAGES)

    def test_the_gradient_of_an_earlier_call_does_not_hide_this_one(self) -> None:
        leaf = torch.ones(16 * MB, requires_grad=True)

        def drop() -> None:
            leaf.grad = None

        def call() -> None:
            leaf.sum().mul(2).backward()

        call()
        peak = extra_peak(call, drop, CPU)
        assert peak is not None
        assert peak >= 62 * MB  # the gradient of the leaf


def test_a_case_is_measured_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    case = Case("upsampling", (1, 3, 16, 24))
    result = measured(case, CPU, seconds=0.0)
    assert result["low"] == (1, 3, 2, 3)
    assert result["auto"] in result["contenders"]
    for figures in result["contenders"].values():
        assert 0 < figures["q20_ms"] <= figures["median_ms"] <= figures["q80_ms"]
        assert (figures["extra_bytes"] is not None) is can_tell(CPU)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_case_on_a_gpu_counts_synchronizations() -> None:
    result = measured(Case("dense", (2, 19, 64, 64)), torch.device("cuda"), seconds=0.0)
    figures = result["contenders"]
    assert figures[result["auto"]]["synchronizations"] == 0
    assert figures["clone"]["extra_bytes"] == result["logits_bytes"]
