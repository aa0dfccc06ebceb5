"""Everything that decides a training run, typed: code, flags and YAML cannot drift apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from lossmaxpool.checks import check_norm, check_share
from lossmaxpool.data import DataConfig
from lossmaxpool.models import ModelConfig
from lossmaxpool.sampling.weighting import Weighting, check_weighting

MethodId = Literal["base", "base+", "loss-only", "lmp", "inverse-median", "bootstrap"]
# The methods with the paper's sampler; the others draw uniformly.
SAMPLED: tuple[MethodId, ...] = ("base+", "lmp")


@dataclass
class LossConfig:
    """The options of the losses; each method reads the ones that concern it.

    Args:
        p: Norm of the weighting set, in [1, inf] (Rota Bulò et al. 2017, Eq. 5); as a flag or in a
            file, infinity is written ".inf".
        min_support: Least share of the valid pixels that the weights may rest on, in (0, 1].
        pool: Pixels that share one weighting set: of an image, of the batch, or of all devices.
        bootstrap_k: Highest pixel losses that the bootstrapped loss keeps per image.
        label_smoothing: Probability mass moved from the true class to all classes, in [0, 1).
    """

    p: float = 1.3
    min_support: float = 0.25
    pool: Literal["image", "batch", "world"] = "image"
    bootstrap_k: int = 512
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_norm(self.p)
        check_share("loss.min_support", self.min_support)
        _require(self.bootstrap_k >= 1, "loss.bootstrap_k", self.bootstrap_k, "at least 1")
        _require(
            0.0 <= self.label_smoothing < 1.0,
            "loss.label_smoothing",
            self.label_smoothing,
            "in [0, 1)",
        )


@dataclass
class SamplingConfig:
    """The performance-driven sampler of the methods that have it (Rota Bulò et al. 2017, Sect. 4).

    The paper states none of these values: all of them are assumptions.

    Args:
        blend: Probability of a draw by class, in [0, 1]; the other draws are uniform.
        weighting: Draw classes by "inverse", 1 / IoU, or by "complement", 1 - IoU.
        floor: Least IoU, or weight, that a class is drawn by, in (0, 1].
        temperature: 1 is the plain weighting; above, the classes are more equally likely.
        update_interval: Steps between two changes of the probabilities.
        half_life: Batches after which a batch counts half in the running IoU.
    """

    blend: float = 0.5
    weighting: Weighting = "inverse"
    floor: float = 0.05
    temperature: float = 1.0
    update_interval: int = 32
    half_life: float = 200.0

    def __post_init__(self) -> None:
        _require(0 <= self.blend <= 1, "sampling.blend", self.blend, "in [0, 1]")
        check_weighting(self.weighting, self.floor, self.temperature)
        _require(
            self.update_interval >= 1,
            "sampling.update_interval",
            self.update_interval,
            "at least 1",
        )
        _require(self.half_life > 0, "sampling.half_life", self.half_life, "positive")


@dataclass
class OptimizationConfig:
    """Stochastic gradient descent with poly decay over random crops.

    Args:
        steps: Optimization steps.
        batch_size: Crops per step, over all devices.
        accumulate: Parts of a batch that are computed one after another, to save memory. Batch
            statistics and means over pixels are then those of a part.
        crop_size: Height and width of a crop in pixels.
        scale_range: Least and greatest random scale of an image before the crop.
        flip: Mirror every other crop from left to right.
        lr: Learning rate of the encoder.
        head_lr_multiplier: Learning rate of everything but the encoder, as a multiple of ``lr``.
        head_bias_lr_multiplier: Learning rate of the biases among these, which then do not decay;
            None: like their weights. DeepLabV2's is 20.
        momentum: Momentum of the descent.
        weight_decay: Weight decay of every other parameter.
        poly_power: The rate falls as (1 - step / steps) ** poly_power.
        warmup: Steps over which the rate rises linearly from 0.
    """

    steps: int = 600
    batch_size: int = 8
    accumulate: int = 1
    crop_size: tuple[int, int] = (224, 224)
    scale_range: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    lr: float = 0.01
    head_lr_multiplier: float = 10.0
    head_bias_lr_multiplier: float | None = None
    momentum: float = 0.9
    weight_decay: float = 1e-4
    poly_power: float = 0.9
    warmup: int = 0

    def __post_init__(self) -> None:
        _require(self.steps >= 1, "optimization.steps", self.steps, "at least 1")
        _require(self.batch_size >= 1, "optimization.batch_size", self.batch_size, "at least 1")
        _require(
            self.accumulate >= 1 and self.batch_size % self.accumulate == 0,
            "optimization.accumulate",
            self.accumulate,
            f"a divisor of the batch_size, {self.batch_size}",
        )
        _require(
            math.isfinite(self.lr) and self.lr > 0,
            "optimization.lr",
            self.lr,
            "positive and finite",
        )
        _require(
            self.head_lr_multiplier > 0,
            "optimization.head_lr_multiplier",
            self.head_lr_multiplier,
            "positive",
        )
        _require(
            self.head_bias_lr_multiplier is None or self.head_bias_lr_multiplier > 0,
            "optimization.head_bias_lr_multiplier",
            self.head_bias_lr_multiplier,
            "positive, or none",
        )
        _require(0 <= self.momentum < 1, "optimization.momentum", self.momentum, "in [0, 1)")
        _require(
            self.weight_decay >= 0, "optimization.weight_decay", self.weight_decay, "0 or more"
        )
        _require(self.poly_power >= 0, "optimization.poly_power", self.poly_power, "0 or more")
        _require(
            0 <= self.warmup <= self.steps,
            "optimization.warmup",
            self.warmup,
            f"between 0 and the {self.steps} steps of the run",
        )


@dataclass
class HardwareConfig:
    """Where and how a run computes; handed to Lightning as it is.

    Args:
        accelerator: "auto", "cpu", "gpu", ...
        devices: Number of devices per node, or "auto"; a comparison takes one per run.
        num_nodes: Number of nodes.
        strategy: "auto", "ddp", ...
        precision: "32", or mixed precision in bfloat16 or float16.
        channels_last: Keep images and weights in the memory format of the fastest convolutions.
        workers: Processes that load images; 0 loads them in the main process.
        threads: Threads of the computation in each process; 0 leaves the choice to torch.
        cache: Keep every image in memory once it is decoded (or drawn).
    """

    accelerator: str = "auto"
    devices: int | str = "auto"
    num_nodes: int = 1
    strategy: str = "auto"
    precision: Literal["32", "bf16-mixed", "16-mixed"] = "32"
    channels_last: bool = True
    workers: int = 2
    threads: int = 0
    cache: bool = False

    def __post_init__(self) -> None:
        for key in ("workers", "threads"):
            value = getattr(self, key)
            _require(value >= 0, f"hardware.{key}", value, "0 or more")
        _require(self.num_nodes >= 1, "hardware.num_nodes", self.num_nodes, "at least 1")


@dataclass
class ReportingConfig:
    """What a run writes down, and how often.

    Args:
        eval_every: Steps between evaluations; 0 evaluates once, at the end.
        checkpoint_every: Steps between checkpoints; one is also written after every evaluation.
        keep_checkpoints: Evaluations, the last ones, of which the checkpoint stays; 0 keeps the
            last and the best checkpoint alone.
        log_every: Steps between the entries of the learning curve.
        examples: Validation images of which the run folder keeps prediction and weights.
        evolution: Training images of which it keeps the prediction at every evaluation.
    """

    eval_every: int = 0
    checkpoint_every: int = 100
    keep_checkpoints: int = 0
    log_every: int = 10
    examples: int = 4
    evolution: int = 2

    def __post_init__(self) -> None:
        _require(self.eval_every >= 0, "reporting.eval_every", self.eval_every, "0 or more")
        _require(
            self.checkpoint_every >= 1,
            "reporting.checkpoint_every",
            self.checkpoint_every,
            "at least 1",
        )
        _require(
            self.keep_checkpoints >= 0,
            "reporting.keep_checkpoints",
            self.keep_checkpoints,
            "0 or more",
        )
        _require(self.log_every >= 1, "reporting.log_every", self.log_every, "at least 1")
        _require(self.examples >= 0, "reporting.examples", self.examples, "0 or more")
        _require(self.evolution >= 0, "reporting.evolution", self.evolution, "0 or more")


@dataclass
class TrainConfig:
    """One training run.

    Args:
        method: "base" is the mean cross-entropy and "loss-only" loss max-pooling, both with uniform
            sampling; "base+" and "lmp" are the same with the sampler; "inverse-median" and
            "bootstrap" are their rivals.
        seed: Decides the initial weights, the batches, their augmentation and the dropout.
        data: The data set.
        model: The network.
        optimization: The descent and its crops.
        loss: The options of the losses.
        sampling: The options of the sampler.
        hardware: Devices, precision, workers.
        reporting: Evaluations, checkpoints, curves.

    Raises:
        ValueError: The workers draw further ahead than the sampler's interval allows.
    """

    method: MethodId = "base"
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    reporting: ReportingConfig = field(default_factory=ReportingConfig)

    def __post_init__(self) -> None:
        # What the loader draws ahead (two batches per worker) and Lightning (one more) is decided
        # by an IoU that must be known by then.
        ahead = math.ceil((2 * self.hardware.workers + 1) / self.optimization.accumulate)
        interval = self.sampling.update_interval
        if self.draws_by_class and ahead > interval:
            raise ValueError(
                f"sampling.update_interval is {interval}: {self.hardware.workers} workers draw "
                f"{ahead} batches ahead, so that {self.method} needs at least {ahead}; raise it, "
                "or lower hardware.workers to "
                f"{(interval * self.optimization.accumulate - 1) // 2}"
            )

    @property
    def draws_by_class(self) -> bool:
        """Whether the crops follow the IoU of the classes."""
        return self.method in SAMPLED and self.sampling.blend > 0

    def ends_step(self, part: int) -> bool:
        """Return whether a part of a batch, counted from 0 over the run, is its last."""
        return (part + 1) % self.optimization.accumulate == 0

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain values, as YAML and JSON hold them."""
        plain = _plain(asdict(self))
        assert isinstance(plain, dict)
        return plain


def differences(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the dotted keys in which two plain configurations differ, each with "old -> new".

    Args:
        a: A configuration from ``TrainConfig.to_dict``.
        b: Another one.
        prefix: The dotted path of both within their configurations.

    Returns:
        Nothing where they are equal.

    Example:
        >>> differences({"loss": {"p": 1.3}}, {"loss": {"p": 1.7}})
        {'loss.p': '1.3 -> 1.7'}
    """
    found: dict[str, str] = {}
    for key in sorted({*a, *b}):
        left, right = a.get(key), b.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found |= differences(left, right, f"{prefix}{key}.")
        elif left != right:
            found[f"{prefix}{key}"] = f"{left} -> {right}"
    return found


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _require(holds: bool, key: str, value: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"{key} is {value}: expected {expected}")
