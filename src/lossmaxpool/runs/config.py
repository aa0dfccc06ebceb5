"""The configuration of a run: code, flags, YAML files and records share these dataclasses.

pydantic checks types and ranges wherever one of them is made, so that a value is refused with the
same words from Python, from the command and from a file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, field, replace
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails, PydanticCustomError

from lossmaxpool.checks import check_norm, check_share, did_you_mean
from lossmaxpool.options import DataConfig, ModelConfig, Weighting, check_weighting
from lossmaxpool.runs.methods import Method, definition, method_named

# Options that do not decide the result of a run: where the data lies, where it computes, how often
# it reports. A run may be resumed under other ones, and runs that differ in nothing else are
# compared with each other. The precision is not among them.
NEUTRAL = frozenset(
    {
        "data.root", "data.sbd", "data.classes",
        "hardware.accelerator", "hardware.devices", "hardware.num_nodes", "hardware.strategy",
        "hardware.workers", "hardware.threads", "hardware.cache",
        "reporting.eval_every", "reporting.checkpoint_every", "reporting.keep_checkpoints",
        "reporting.log_every", "reporting.examples", "reporting.evolution",
        "reporting.loggers",
        "diagnostics.every", "diagnostics.suspects", "diagnostics.suspects_after",
    }
)  # fmt: skip
# Groups that had another name in version 0.1.
RENAMED = {"optimisation": "optimization"}

# Where the runs of a comparison or a sweep are trained.
EngineName = Literal["local", "ray"]

_T = TypeVar("_T")
_STRICT = ConfigDict(extra="forbid")


def _settings(group: str) -> Callable[[type[_T]], type[_T]]:
    """Let a pydantic dataclass answer a wrong value with one sentence that names its option."""

    def decorate(cls: type[_T]) -> type[_T]:
        original = cls.__init__

        @wraps(original)
        def init(self: _T, *values: Any, **options: Any) -> None:
            try:
                original(self, *values, **options)
            except ValidationError as error:
                raise ValueError(_explained(error, group)) from None

        cast(Any, cls).__init__ = init
        return cls

    return decorate


def _explained(error: ValidationError, group: str) -> str:
    return "; ".join(_sentence(one, group) for one in error.errors())


def _sentence(error: ErrorDetails, group: str) -> str:
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    key = ".".join(map(str, (*filter(None, [group]), *error["loc"])))
    if error["type"] == "unexpected_keyword_argument":
        return f"there is no option {key}"
    expected = error["msg"].removeprefix("Input should be ")
    hint = ""
    if error["type"] == "literal_error":
        choices = error["ctx"]["expected"].replace(" or ", ", ").split(", ")
        hint = did_you_mean(str(error["input"]), [choice.strip("'") for choice in choices])
    return f"{key} is {error['input']}: expected {expected}{hint and '. '}{hint}"


def _within(expected: str, holds: Callable[[Any], bool]) -> AfterValidator:
    def check(value: Any) -> Any:
        if not holds(value):
            raise PydanticCustomError("range", "{expected}", {"expected": expected})
        return value

    return AfterValidator(check)


_Count = Annotated[int, _within("at least 1", lambda value: value >= 1)]
_CountOrNone = Annotated[int, _within("0 or more", lambda value: value >= 0)]
_Positive = Annotated[float, _within("positive and finite", lambda v: 0 < v < math.inf)]
_NotNegative = Annotated[float, _within("0 or more", lambda value: value >= 0)]
_Below1 = Annotated[float, _within("in [0, 1)", lambda value: 0 <= value < 1)]
_Share = Annotated[float, _within("in [0, 1]", lambda value: 0 <= value <= 1)]


@_settings("loss.schedule")
@dataclass(config=_STRICT)
class ScheduleConfig:
    """How a parameter of the loss reaches its value.

    Args:
        kind: "linear" or "cosine"; p moves evenly in 1 / p.
        start: The value at step 0; the end is the parameter itself.
        steps: Steps from start to end; 0 takes those of the run.
    """

    kind: Literal["linear", "cosine"]
    start: float
    steps: _CountOrNone = 0


@_settings("loss")
@dataclass(config=_STRICT)
class LossConfig:
    """The options of the losses; each method reads the ones that concern it.

    Args:
        p: Norm of the weighting set, in [1, inf] (Rota Bulò et al. 2017, Eq. 5); "inf" is the
            plain mean.
        min_support: Least share of the valid pixels that the weights may rest on, in (0, 1].
        pool: Pixels that share one weighting set: of an image, of the batch, or of all devices.
        bootstrap_k: Highest pixel losses that the bootstrapped loss keeps per image.
        label_smoothing: Probability mass moved from the true class to all classes, in [0, 1).
        ohem_threshold: Probability of the true class from which OHEM takes a pixel as easy.
        ohem_min_kept: Least share of the pixels of a batch that OHEM keeps.
        top_share: Share of the valid pixels of the batch that top-k keeps.
        tau: Strength of the logit adjustment.
        p_schedule: How p reaches its value during training; None: it is constant.
        min_support_schedule: The same for min_support.
    """

    p: float = 1.3
    min_support: float = 0.25
    pool: Literal["image", "batch", "world"] = "image"
    bootstrap_k: _Count = 512
    label_smoothing: _Below1 = 0.0
    ohem_threshold: float = 0.7
    ohem_min_kept: float = 0.2
    top_share: float = 0.25
    tau: _NotNegative = 1.0
    p_schedule: ScheduleConfig | None = None
    min_support_schedule: ScheduleConfig | None = None

    def __post_init__(self) -> None:
        check_norm(self.p)
        for name in ("min_support", "ohem_threshold", "ohem_min_kept", "top_share"):
            check_share(f"loss.{name}", getattr(self, name))
        if self.p_schedule is not None:
            check_norm(self.p_schedule.start)
        if self.min_support_schedule is not None:
            check_share("loss.min_support_schedule.start", self.min_support_schedule.start)


@_settings("sampling")
@dataclass(config=_STRICT)
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

    blend: _Share = 0.5
    weighting: Weighting = "inverse"
    floor: float = 0.05
    temperature: float = 1.0
    update_interval: _Count = 32
    half_life: _Positive = 200.0

    def __post_init__(self) -> None:
        check_weighting(self.weighting, self.floor, self.temperature)


@_settings("optimization")
@dataclass(config=_STRICT)
class OptimizationConfig:
    """Stochastic gradient descent or AdamW, with poly decay, over random crops.

    Args:
        steps: Optimization steps.
        batch_size: Crops per step, over all devices.
        accumulate: Parts of a batch that are computed one after another, to save memory. Batch
            statistics and means over pixels are then those of a part.
        crop_size: Height and width of a crop in pixels.
        scale_range: Least and greatest random scale of an image before the crop.
        flip: Mirror every other crop from left to right.
        color_jitter: Largest relative change of a crop's brightness, contrast and saturation.
        hue_jitter: Largest change of its hue, as a share of the color circle, in [0, 0.5].
        optimizer: "sgd", or "adamw" with its decoupled weight decay, as transformers are trained.
        lr: Learning rate of the encoder.
        head_lr_multiplier: Learning rate of everything but the encoder, as a multiple of ``lr``.
        head_bias_lr_multiplier: Learning rate of the biases among these, which then do not decay;
            None: like their weights. DeepLabV2's is 20.
        momentum: Momentum of the descent; of AdamW the first beta, whose second is 0.999.
        weight_decay: Weight decay of every other parameter.
        poly_power: The rate falls as (1 - step / steps) ** poly_power.
        warmup: Steps over which the rate rises linearly from 0.
        clip_norm: Largest norm of the gradient over all parameters; None does not clip.
        ema: Decay of a moving average of the weights, which is then what is evaluated and used; 0
            takes the weights themselves. It rises to this value over the first steps.
    """

    steps: _Count = 600
    batch_size: _Count = 8
    accumulate: int = 1
    crop_size: tuple[_Count, _Count] = (224, 224)
    scale_range: tuple[_Positive, _Positive] = (0.5, 2.0)
    flip: bool = True
    color_jitter: _Below1 = 0.0
    hue_jitter: Annotated[float, _within("in [0, 0.5]", lambda value: 0 <= value <= 0.5)] = 0.0
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: _Positive = 0.01
    head_lr_multiplier: _Positive = 10.0
    head_bias_lr_multiplier: _Positive | None = None
    momentum: _Below1 = 0.9
    weight_decay: _NotNegative = 1e-4
    poly_power: _NotNegative = 0.9
    warmup: int = 0
    clip_norm: _Positive | None = None
    ema: _Below1 = 0.0

    def __post_init__(self) -> None:
        if self.accumulate < 1 or self.batch_size % self.accumulate:
            raise ValueError(
                f"optimization.accumulate is {self.accumulate}: expected a divisor of the "
                f"batch_size, {self.batch_size}"
            )
        if self.scale_range[0] > self.scale_range[1]:
            raise ValueError(
                f"optimization.scale_range is {self.scale_range}: expected the least scale first"
            )
        if not 0 <= self.warmup <= self.steps:
            raise ValueError(
                f"optimization.warmup is {self.warmup}: expected between 0 and the {self.steps} "
                "steps of the run"
            )


@_settings("hardware")
@dataclass(config=_STRICT)
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
    num_nodes: _Count = 1
    strategy: str = "auto"
    precision: Literal["32", "bf16-mixed", "16-mixed"] = "32"
    channels_last: bool = True
    workers: _CountOrNone = 2
    threads: _CountOrNone = 0
    cache: bool = False


@_settings("reporting")
@dataclass(config=_STRICT)
class ReportingConfig:
    """The outputs of a run and their intervals.

    Args:
        eval_every: Steps between evaluations; 0 evaluates once, at the end.
        checkpoint_every: Steps between checkpoints; one is also written after every evaluation.
        keep_checkpoints: Evaluations, the last ones, of which the checkpoint stays; 0 keeps the
            last and the best checkpoint alone.
        log_every: Steps between the entries of the learning curve.
        examples: Validation images of which the run folder keeps prediction and weights.
        evolution: Training images of which it keeps the prediction at every evaluation.
        loggers: Where the curves go beside the record: "tensorboard" and "csv", files in the run
            folder; "wandb" and "mlflow", which must be installed.
    """

    eval_every: _CountOrNone = 0
    checkpoint_every: _Count = 100
    keep_checkpoints: _CountOrNone = 0
    log_every: _Count = 10
    examples: _CountOrNone = 4
    evolution: _CountOrNone = 2
    loggers: list[Literal["tensorboard", "csv", "wandb", "mlflow"]] = field(
        default_factory=lambda: ["tensorboard"]
    )


@_settings("diagnostics")
@dataclass(config=_STRICT)
class DiagnosticsConfig:
    """Where a loss that pools puts its weights, and labels that it suspects; see docs/diagnostics.

    Args:
        every: Steps between two looks at the weights of a batch; 0 does not look.
        suspects: Suspected label errors of which the run folder keeps a picture; 0 looks for none.
        suspects_after: Share of the steps after which they are looked for: early, all is wrong.
    """

    every: _CountOrNone = 50
    suspects: _CountOrNone = 20
    suspects_after: _Share = 0.5


@_settings("")
@dataclass(config=_STRICT)
class TrainConfig:
    """One training run.

    Args:
        method: "base" is the mean cross-entropy and "loss-only" loss max-pooling, both with uniform
            sampling; "base+" and "lmp" are the same with the sampler; the others are their rivals,
            or are defined in ``losses``.
        seed: Decides the initial weights, the batches, their augmentation and the dropout.
        data: The data set.
        model: The network.
        optimization: The descent and its crops.
        loss: The options of the losses.
        sampling: The options of the sampler.
        hardware: Devices, precision, workers.
        reporting: Evaluations, checkpoints, curves.
        diagnostics: Where the weights of the loss sit.
        losses: Definitions of further methods by their names, as docs/training.md describes them.

    Raises:
        ValueError: There is no such method, its definition is wrong, or the workers draw further
            ahead than the sampler's interval allows.
    """

    method: str = "base"
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    reporting: ReportingConfig = field(default_factory=ReportingConfig)
    diagnostics: DiagnosticsConfig = field(default_factory=DiagnosticsConfig)
    losses: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.method, *self.losses):
            method_named(name, self.losses)
        # The loader draws two batches per worker ahead, and Lightning one more: the IoU that
        # decides them must be known by then.
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
    def chosen(self) -> Method:
        """The method of the run."""
        return method_named(self.method, self.losses)

    def resolved(self) -> TrainConfig:
        """Return the configuration of this run alone, as its folder holds it.

        ``losses`` then defines the method of the run, and nothing where the package does; a rate of
        its own is the one of ``optimization``.

        Example:
            >>> config = TrainConfig("focal", losses={"focal": {"lr": 0.1}, "lmp": {"lr": 0.02}})
            >>> config.resolved().optimization.lr, list(config.resolved().losses)
            (0.1, ['focal'])
        """
        chosen = self.chosen
        lr = self.optimization.lr if chosen.lr is None else chosen.lr
        own = definition(replace(chosen, lr=None))
        return replace(
            self,
            losses={self.method: own} if own else {},
            optimization=replace(self.optimization, lr=lr),
        )

    @property
    def draws_by_class(self) -> bool:
        """Whether the crops follow the IoU of the classes."""
        return self.chosen.sampler and self.sampling.blend > 0

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TrainConfig:
        """Return the configuration of plain values, as YAML and JSON hold them.

        Args:
            content: Values of this version or of 0.1.

        Raises:
            ValueError: An option that does not exist, or a value out of its range.
        """
        try:
            return TypeAdapter(cls).validate_python(with_new_names(content))
        except ValidationError as error:
            raise ValueError(_explained(error, "")) from None

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain values, as YAML and JSON hold them."""
        plain = _plain(asdict(self))
        assert isinstance(plain, dict)
        return plain


def with_new_names(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of version 0.1 under the names of this version."""
    for old, new in RENAMED.items():
        if old in content and new in content:
            raise ValueError(f"{old} is the old name of {new}: both are given; keep {new}")
    return {RENAMED.get(key, key): value for key, value in content.items()}


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the options of a nested configuration by their dotted names.

    Example:
        >>> flat({"seed": 3, "loss": {"p": 1.3}})
        {'seed': 3, 'loss.p': 1.3}
    """
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that decide the result of a run, by their dotted names."""
    options = flat(with_new_names(config))
    return {key: value for key, value in options.items() if key not in NEUTRAL}


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, str]:
    """Return the dotted keys in which two plain configurations differ, each with "old -> new".

    Example:
        >>> differences({"loss": {"p": 1.3}}, {"loss": {"p": 1.7}})
        {'loss.p': '1.3 -> 1.7'}
    """
    left, right = flat(with_new_names(a)), flat(with_new_names(b))
    return {
        key: f"{left.get(key)} -> {right.get(key)}"
        for key in sorted({*left, *right})
        if left.get(key) != right.get(key)
    }


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


# The paper's settings, one YAML file per data set, for every method. Each value in them says where
# it comes from: the section of Rota Bulò et al. 2017 that states it, or "assumed".
_RECIPES = Path(__file__).parent / "recipes"
RECIPES = tuple(sorted(path.stem for path in _RECIPES.glob("*.yaml")))


def recipe_file(name: str) -> Path:
    """Return the YAML file of a recipe.

    Args:
        name: "camvid", "cityscapes" or "voc".

    Example:
        >>> recipe_file("voc").name
        'voc.yaml'
    """
    if name not in RECIPES:
        raise ValueError(
            f"there is no recipe {name!r}. {did_you_mean(name, RECIPES)} "
            f"There are: {', '.join(RECIPES)}."
        )
    return _RECIPES / f"{name}.yaml"
