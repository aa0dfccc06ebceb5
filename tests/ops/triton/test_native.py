"""Tests that need a GPU. The tests in ``kernels`` run there too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from lossmaxpool.ops.backends.triton.support import absence, interpreted
from lossmaxpool.ops.weighting_set import WeightingSet

if TYPE_CHECKING:
    from types import ModuleType

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        not torch.cuda.is_available() or absence() is not None or interpreted(),
        reason="needs a CUDA device and Triton compiling for it",
    ),
    # Triton's own announcement of a default that will change.
    pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION:UserWarning"),
]
IGNORE = 255
SANITIZER = shutil.which("compute-sanitizer")
HERE = Path(__file__).parent


@pytest.fixture
def kernels() -> ModuleType:
    from lossmaxpool.ops.backends.triton import kernels

    return kernels


def sample(classes: int, low: tuple[int, int], high: tuple[int, int]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator(device="cuda").manual_seed(0)
    logits = 4 * torch.randn(4, classes, *low, generator=generator, device="cuda")
    target = torch.randint(classes, (4, *high), generator=generator, device="cuda")
    return logits, target.to(torch.uint8)


def stages(kernels: ModuleType, logits: Tensor, target: Tensor, p: float) -> tuple[Tensor, ...]:
    losses = kernels.pixel_losses(logits, target, None, IGNORE, 0.0)
    packed = kernels.solve(losses.view(4, -1), None, WeightingSet(p, 0.25), True)
    outer = packed.new_ones(4, dtype=torch.float32)
    grad = kernels.gradient(
        outer, logits, target, None, losses, packed, IGNORE, 0.0, WeightingSet(p, 0.25)
    )
    return losses, packed, grad


SIZES = [((257, 263), (257, 263)), ((33, 65), (264, 520)), ((33, 65), (97, 211))]


@pytest.mark.parametrize("p", [1.0, 1.0001, 1.3, float("inf")])
@pytest.mark.parametrize(("low", "high"), SIZES)
def test_the_host_does_not_wait(
    low: tuple[int, int],
    high: tuple[int, int],
    p: float,
    kernels: ModuleType,
    forbid_waiting: Callable[[], None],
) -> None:
    logits, target = sample(19, low, high)
    stages(kernels, logits, target, p)  # compiles
    forbid_waiting()
    stages(kernels, logits, target, p)


@pytest.mark.parametrize(("low", "high"), SIZES)
def test_same_bits_a_hundred_times(
    low: tuple[int, int], high: tuple[int, int], kernels: ModuleType
) -> None:
    logits, target = sample(19, low, high)
    first = stages(kernels, logits, target, 1.3)
    for _ in range(100):
        again = stages(kernels, logits, target, 1.3)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(("low", "high"), SIZES)
def test_a_graph_replays(low: tuple[int, int], high: tuple[int, int], kernels: ModuleType) -> None:
    logits, target = sample(19, low, high)
    stages(kernels, logits, target, 1.3)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = stages(kernels, logits, target, 1.3)
    logits.neg_()
    graph.replay()
    truth = stages(kernels, logits, target, 1.3)
    assert all(torch.equal(a, b) for a, b in zip(captured, truth, strict=True))


def test_more_elements_than_32_bits_count(kernels: ModuleType) -> None:
    shape = (1, 150, 3840, 4096)  # 2.4e9 logits in bfloat16
    if torch.cuda.get_device_properties(0).total_memory < 24 << 30:
        pytest.skip("needs 24 GiB of GPU memory")
    logits = torch.zeros(shape, dtype=torch.bfloat16, device="cuda")
    target = torch.full((1, *shape[2:]), 149, dtype=torch.uint8, device="cuda")
    logits[:, 149, -1] = 6.0
    losses = kernels.pixel_losses(logits, target, None, IGNORE, 0.0)
    packed = kernels.solve(losses.view(1, -1), None, WeightingSet(1.3, 0.25), True)
    outer = torch.ones(1, device="cuda")
    grad = kernels.gradient(
        outer, logits, target, None, losses, packed, IGNORE, 0.0, WeightingSet(1.3, 0.25)
    )
    for row in (0, -1):
        scores = logits[0, :, row, :4].T.float()
        truth = torch.nn.functional.cross_entropy(scores, target[0, row, :4].long())
        torch.testing.assert_close(losses[0, row, 0], truth)
    # The softmax of every pixel adds up to what its own class lost.
    assert bool((grad[0, :149, -1].float().sum(0) > 0).all())
    assert bool((grad[0, 149].float() < 0).all())


def test_the_device_of_the_tensors(kernels: ModuleType) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    logits, target = (x.to("cuda:1") for x in sample(5, (9, 9), (9, 9)))
    losses = kernels.pixel_losses(logits, target, None, IGNORE, 0.0)
    truth = torch.nn.functional.cross_entropy(logits, target.long(), reduction="none")
    torch.testing.assert_close(losses, truth)


@pytest.mark.skipif(SANITIZER is None, reason="compute-sanitizer is not on the PATH")
@pytest.mark.parametrize("tests", ["test_loss.py", "test_bad_input.py"])
def test_no_kernel_touches_memory_that_is_not_its_own(tests: str) -> None:
    check = [str(SANITIZER), "--error-exitcode", "9"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [*check, *command, str(HERE / "kernels" / tests)],
        # Allocate every tensor separately, so that out-of-bounds reads are detected.
        env=os.environ | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
