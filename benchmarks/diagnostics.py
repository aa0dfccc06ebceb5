"""The time that a look at the weights adds to a training step.

    python -m benchmarks.diagnostics            # a minute; results/diagnostics.json and the page
    python -m benchmarks.diagnostics --quick    # seconds; prints, writes nothing
    python -m benchmarks.diagnostics --render   # the page again, from the json

Steps of a training with loss max-pooling, with and without a look, take turns. The look is the
dearer one of the second half of a run, which collects suspected labels as well.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.blocks import filled
from benchmarks.loading import table
from benchmarks.speed.clock import quantiles, take_turns
from lossmaxpool.data import DataConfig
from lossmaxpool.diagnostics import SuspectedLabels
from lossmaxpool.environment import describe_environment
from lossmaxpool.models import ModelConfig
from lossmaxpool.runs.config import HardwareConfig, OptimizationConfig, TrainConfig
from lossmaxpool.training.building import (
    Given,
    build_optimizer,
    build_sampler,
    count_split,
    describe_network,
    new_network,
    open_splits,
)
from lossmaxpool.training.criteria import build_criterion
from lossmaxpool.training.diagnosing import WeightWatch
from lossmaxpool.training.loading import training_batches

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "diagnostics.json"
PAGE = ROOT / "docs" / "diagnostics.md"


class NetworkCase(NamedTuple):
    """A network and its crops."""

    title: str
    model: ModelConfig
    crop: tuple[int, int]


SMALL = ModelConfig("FPN", "tu-test_resnet", weights="none")
CASES = (
    NetworkCase("FPN, tu-test_resnet", SMALL, (96, 128)),
    NetworkCase("the defaults of `train`", ModelConfig(weights="none"), (224, 224)),
)
QUICK = (NetworkCase("quick", SMALL, (64, 64)),)


def measure(case: NetworkCase, device: torch.device, seconds: float) -> dict[str, Any]:
    """Milliseconds of a step of 8 crops and of one that looks at its weights."""
    height, width = case.crop
    config = TrainConfig(
        "loss-only",
        data=DataConfig(scene_size=(height, 2 * width), train_scenes=8, val_scenes=2),
        model=case.model,
        optimization=OptimizationConfig(steps=2, crop_size=case.crop),
        hardware=HardwareConfig(workers=0),
    )
    train_set, _ = open_splits(config, Given())
    pixels = count_split(config, train_set)
    description = describe_network(config, train_set.labels)
    sampler = build_sampler(config, train_set, pixels)
    batch = next(training_batches(config, train_set, sampler, description.mean, description.std))
    batch = {key: value.to(device) for key, value in batch.items()}
    model = new_network(config, train_set.labels.num_classes, pretrained=False).to(device).train()
    criterion = build_criterion(config.chosen.criterion, config.loss, pixels).to(device)
    optimizer = build_optimizer(config, model)
    watch = WeightWatch(config, criterion, SuspectedLabels())

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        logits: torch.Tensor = model(batch["image"])
        criterion(logits, batch["mask"]).backward()
        optimizer.step()
        return logits.detach()

    def looking() -> None:
        watch.look(step(), batch["mask"], batch, config.optimization.steps)
        watch.point(config.optimization.steps)

    calls: dict[str, Callable[[], object]] = {"step": step, "step that looks": looking}
    times = take_turns(calls, lambda: None, device, seconds)
    found: dict[str, Any] = {name: quantiles(each) for name, each in times.items()}
    # Of neighbors in time: a machine that others use slows both.
    look = quantiles([b - a for a, b in zip(times["step"], times["step that looks"], strict=True)])
    every = config.diagnostics.every
    found |= {"look": look, "every": every}
    found["share"] = look["median_ms"] / every / found["step"]["median_ms"]
    return {"title": case.title, "crop": case.crop, "batch": len(batch["mask"]), **found}


def cost(content: dict[str, Any]) -> str:
    """The cost of looking, in Markdown."""
    head = ["network", "crops", "step, ms", "look, ms", "a look every 50 steps"]
    rows = [
        [
            shape["title"],
            f"{shape['batch']} × {shape['crop'][0]}×{shape['crop'][1]}",
            f"{shape['step']['median_ms']:.0f}",
            f"{shape['look']['median_ms']:.1f}",
            f"{100 * shape['share']:.2f} %",
        ]
        for shape in content["shapes"]
    ]
    return table(head, rows)


def setting(content: dict[str, Any]) -> str:
    """Where and when it was measured."""
    environment = content["environment"]
    return (
        f"`{content['command']}` on {environment['date'][:10]}: {environment['device']}, one "
        f"thread, torch {environment['torch']}. Medians of steps that "
        "take turns."
    )


def rendered(page: str, content: dict[str, Any]) -> str:
    """The page with its blocks filled."""
    blocks = {"cost": cost, "setting": setting}
    return filled(page, "diagnostics", lambda name: blocks[name](content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="small crops, nothing is written")
    parser.add_argument("--render", action="store_true", help="from the results that are there")
    parser.add_argument("--device", default="cpu", help="with another one nothing is written")
    options = parser.parse_args()
    if not options.render:
        torch.set_num_threads(1)  # less disturbed by what else the machine does
        device = torch.device(options.device)
        shapes, seconds = (QUICK, 0.5) if options.quick else (CASES, 20.0)
        content = {
            "command": "python -m benchmarks.diagnostics",
            "environment": describe_environment(device, 1),
            "shapes": [measure(shape, device, seconds) for shape in shapes],
        }
        print(setting(content), cost(content), sep="\n\n")
        if options.quick or device.type != "cpu":
            return
        RESULTS.write_text(json.dumps(content, indent=1) + "\n")
    PAGE.write_text(rendered(PAGE.read_text(), json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
