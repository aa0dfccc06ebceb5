from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lossmaxpool.data import DataConfig
from lossmaxpool.runs.config import (
    NEUTRAL,
    HardwareConfig,
    LossConfig,
    OptimizationConfig,
    ReportingConfig,
    SamplingConfig,
    TrainConfig,
    decisive,
    differences,
    flat,
)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LossConfig(p=0.9), "p must be"),
        (lambda: LossConfig(p=math.nan), "p must be"),
        (lambda: LossConfig(min_support=0.0), r"loss.min_support must be .*\(0, 1\]"),
        (lambda: LossConfig(bootstrap_k=0), "loss.bootstrap_k is 0"),
        (lambda: LossConfig(label_smoothing=1.0), "loss.label_smoothing is 1.0"),
        (lambda: OptimizationConfig(steps=0), "optimization.steps is 0"),
        (lambda: OptimizationConfig(batch_size=0), "optimization.batch_size is 0"),
        (lambda: OptimizationConfig(batch_size=4, accumulate=3), "is 3: .* divisor of .* 4"),
        (lambda: OptimizationConfig(lr=math.inf), "optimization.lr is inf"),
        (lambda: OptimizationConfig(head_lr_multiplier=0.0), "head_lr_multiplier is 0.0"),
        (lambda: OptimizationConfig(head_bias_lr_multiplier=0.0), "bias_lr_multiplier is 0.0"),
        (lambda: OptimizationConfig(momentum=1.0), "optimization.momentum is 1.0"),
        (lambda: OptimizationConfig(weight_decay=-1.0), "optimization.weight_decay is -1.0"),
        (lambda: OptimizationConfig(poly_power=-1.0), "optimization.poly_power is -1.0"),
        (lambda: OptimizationConfig(steps=5, warmup=6), "between 0 and the 5 steps"),
        (lambda: ReportingConfig(evolution=-1), "reporting.evolution is -1"),
        (lambda: ReportingConfig(keep_checkpoints=-1), "reporting.keep_checkpoints is -1"),
        (lambda: SamplingConfig(blend=1.5), r"sampling.blend is 1.5: expected in \[0, 1\]"),
        (lambda: SamplingConfig(weighting="other"), "weighting"),  # type: ignore[arg-type]
        (lambda: SamplingConfig(floor=0.0), r"floor must lie in \(0, 1\]"),
        (lambda: SamplingConfig(temperature=0.0), "temperature must be positive"),
        (lambda: SamplingConfig(update_interval=0), "sampling.update_interval is 0"),
        (lambda: SamplingConfig(half_life=0.0), "sampling.half_life is 0.0"),
        (lambda: ReportingConfig(eval_every=-1), "reporting.eval_every is -1"),
        (lambda: ReportingConfig(checkpoint_every=0), "reporting.checkpoint_every is 0"),
        (lambda: ReportingConfig(log_every=0), "reporting.log_every is 0"),
        (lambda: ReportingConfig(examples=-1), "reporting.examples is -1"),
    ],
)
def test_out_of_range_says_what_came(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_plain_values_survive_yaml() -> None:
    config = TrainConfig(data=DataConfig(name="camvid", root=Path("some/where")))
    plain = config.to_dict()
    assert yaml.safe_load(yaml.safe_dump(plain)) == plain
    assert plain["data"]["root"] == "some/where"


def test_plain_values_come_back_under_old_and_new_names() -> None:
    config = TrainConfig(loss=LossConfig(p=math.inf), optimization=OptimizationConfig(steps=3))
    plain = config.to_dict()
    assert TrainConfig.from_dict(plain) == config
    plain["optimisation"] = plain.pop("optimization")
    plain["loss"]["p"] = "inf"  # as a record holds it
    assert TrainConfig.from_dict(plain) == config
    with pytest.raises(ValueError, match="both are given"):
        TrainConfig.from_dict(plain | {"optimization": {}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"loss": {"bootstrap_k": 0}}, "loss.bootstrap_k is 0: expected at least 1"),
        ({"loss": {"p": 0.5}}, "p must be a norm exponent"),
        ({"method": "LMP"}, "method is LMP: expected 'base'.* Did you mean 'lmp'"),
        ({"loss": {"q": 2}}, "there is no option loss.q"),
        ({"optimization": {"steps": "many"}}, "optimization.steps is many: expected a valid int"),
        ({"data": {"name": "street-scenes", "root": "x"}}, "have no folder"),
    ],
)
def test_plain_values_that_are_wrong_are_named(content: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_dict(content)


def test_precision_decides_a_result_and_the_device_does_not() -> None:
    def options(**hardware: Any) -> dict[str, Any]:
        return decisive(TrainConfig(hardware=HardwareConfig(**hardware)).to_dict())

    assert options() == options(accelerator="gpu", workers=0, threads=3)
    assert options() != options(precision="bf16-mixed")
    assert flat(TrainConfig().to_dict()).keys() >= NEUTRAL


def test_differences_are_dotted() -> None:
    a = TrainConfig().to_dict()
    b = TrainConfig(seed=1, loss=LossConfig(p=1.7)).to_dict()
    assert differences(a, b) == {"loss.p": "1.3 -> 1.7", "seed": "0 -> 1"}
    assert differences(a, a) == {}
