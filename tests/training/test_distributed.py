"""Two processes are one with the whole batch."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor
from torch import distributed as dist

from lossmaxpool.data import IGNORE_INDEX
from lossmaxpool.training import TrainConfig, train
from lossmaxpool.training.checkpoints import LAST
from lossmaxpool.training.methods import MeanCrossEntropyLoss
from lossmaxpool.training.record import RunRecord
from tests.tolerances import FROM_LOGITS
from tests.training.runs import tiny, weights

COMMAND = "import sys; from lossmaxpool.cli import main; sys.exit(main())"


def config(devices: int) -> TrainConfig:
    """A network that knows nothing of the rest of its batch: no batch statistics, no dropout."""
    base = tiny("lmp", devices=devices, strategy="ddp" if devices > 1 else "auto")
    model = replace(
        base.model, architecture="DeepLabV2", decoder_options={}, frozen_batch_norm=True
    )
    return replace(base, model=model)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Lightning starts the second process by repeating this one's command line.
    folder = tmp_path_factory.mktemp("two")
    (folder / "ddp.yaml").write_text(yaml.safe_dump(config(2).to_dict()))
    (folder / "run.py").write_text(COMMAND)
    words = ["run.py", "train", "--config", "ddp.yaml", "--out", "out"]
    result = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("pixel accuracy") == 1
    return folder / "out"


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one") / "out"
    train(config(1), folder)
    return folder


def test_two_processes_see_every_validation_image_once(two: Path) -> None:
    # Three images on two processes: the shares are uneven.
    record = RunRecord.read(two)
    assert record.status == "finished"
    assert record.environment["devices"] == 2
    assert [sum(row) for row in record.confusion] == record.val_pixels


def test_two_processes_train_as_one_with_the_whole_batch(one: Path, two: Path) -> None:
    for name, expected in weights(one).items():
        scale = expected.abs().max().clamp(min=1e-3)
        torch.testing.assert_close(
            weights(two)[name] / scale, expected / scale, rtol=0, atol=FROM_LOGITS
        )
    found, wanted = RunRecord.read(two), RunRecord.read(one)
    for here, there in zip(found.curve, wanted.curve, strict=True):
        assert here == pytest.approx(there, rel=FROM_LOGITS)


def test_two_processes_feed_the_sampler_as_one_does(one: Path, two: Path) -> None:
    states = []
    for folder in (one, two):
        callbacks = torch.load(folder / LAST, weights_only=True)["callbacks"]
        (state,) = (state for key, state in callbacks.items() if "SamplerFeedback" in key)
        states.append(state)
    assert states[0]["sampler"]["plan"] == states[1]["sampler"]["plan"]
    # Every pixel of both processes' crops is counted.
    matrices = [state["running_iou"]["matrix"] for state in states]
    assert matrices[0].sum() == matrices[1].sum()
    torch.testing.assert_close(matrices[0], matrices[1], rtol=FROM_LOGITS, atol=2)


def shard(rank: int) -> tuple[Tensor, Tensor]:
    """Logits and labels; half of the first process's pixels are ignored."""
    generator = torch.Generator().manual_seed(rank)
    logits = torch.randn(1, 3, 4, 4, generator=generator).requires_grad_()
    target = torch.randint(3, (1, 4, 4), generator=generator)
    target[:, : 2 - 2 * rank] = IGNORE_INDEX
    return logits, target


WEIGHT = torch.tensor([1.0, 2.0, 0.5])


def work(rank: int, folder: str) -> None:
    store = f"file://{folder}/meet"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    found = []
    for weight in (None, WEIGHT):
        logits, target = shard(rank)
        loss = MeanCrossEntropyLoss(weight)(logits, target)
        loss.backward()
        found.append((loss.detach(), logits.grad))
    torch.save(found, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_the_mean_is_over_the_pixels_of_all_processes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=work, args=(rank, str(tmp_path))) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    shards = [shard(rank) for rank in range(2)]
    for k, weight in enumerate((None, WEIGHT)):
        logits = torch.cat([part for part, _ in shards]).detach().requires_grad_()
        loss = MeanCrossEntropyLoss(weight)(logits, torch.cat([part for _, part in shards]))
        loss.backward()
        assert logits.grad is not None
        torch.testing.assert_close((ranks[0][k][0] + ranks[1][k][0]) / 2, loss.detach())
        # Gradients are averaged over the processes by whoever trains.
        torch.testing.assert_close(torch.cat([found[k][1] for found in ranks]) / 2, logits.grad)
