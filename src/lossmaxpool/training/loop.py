"""One training run: the loop, from a configuration to a run folder."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from lightning.fabric.utilities.rank_zero import rank_zero_only
from rich.console import Console
from torch import Tensor, nn

from lossmaxpool.atomic import sweep_partial
from lossmaxpool.data import IGNORE_INDEX, EvalTransform, SegmentationDataset
from lossmaxpool.environment import describe_environment
from lossmaxpool.inference import Precision, evaluate
from lossmaxpool.metrics import ReliabilityBins
from lossmaxpool.models import input_stride
from lossmaxpool.models.full_size import SmallLogits, decide
from lossmaxpool.processes import Interrupt, postponed_interrupt
from lossmaxpool.runs import NonFiniteLossError, RunInterruptedError, TrainingError
from lossmaxpool.runs.config import OptimizationConfig, TrainConfig
from lossmaxpool.runs.folder import LAST, Resume, check_folder, claim_folder, find_checkpoint
from lossmaxpool.runs.record import CalibrationBins, CurvePoint, Evaluation, RunRecord
from lossmaxpool.sampling.draws import mix
from lossmaxpool.training import building, hardware
from lossmaxpool.training.building import Given
from lossmaxpool.training.checkpoints import RunState
from lossmaxpool.training.criteria import (
    MeanCrossEntropyLoss,
    build_criterion,
    loss_schedule,
    mean_over_ranks,
)
from lossmaxpool.training.diagnosing import WeightWatch, scalars, write_suspects
from lossmaxpool.training.imported import packages
from lossmaxpool.training.loading import Batch, LoaderWatch, training_batches
from lossmaxpool.training.pictures import Photographer
from lossmaxpool.training.progress import ALONE, Place, ProgressReport, Work, beginning

# The arithmetic of inference that is that of training.
_PRECISION: dict[str, Precision] = {"32": "fp32", "bf16-mixed": "bf16", "16-mixed": "fp16"}


def train(
    config: TrainConfig,
    out: Path,
    *,
    resume: Resume = False,
    train_set: SegmentationDataset | None = None,
    val_set: SegmentationDataset | None = None,
    model: nn.Module | None = None,
    place: Place = ALONE,
) -> RunRecord:
    """Train one method with one seed and leave a run folder behind.

    The folder holds config.yaml, record.json, checkpoints/, evolution/, examples/ and
    tensorboard/. A resumed run has the weights of one that was never interrupted, bit for bit on
    the CPU.

    Args:
        config: What to train, on what and how.
        out: The run folder; new or empty, unless resuming.
        resume: Go on from the last checkpoint in ``out``, which holds a run; "auto" also begins one
            where there is none.
        train_set: The training images, such as a :class:`~lossmaxpool.data.WrappedDataset` of any
            other data set, in place of those of ``config.data``.
        val_set: The images to evaluate on, of the same classes.
        model: Any network, (B, 3, H, W) -> (B, C, h, w), in place of that of ``config.model``; a
            copy of it is trained.
        place: Its place among several runs, for the time left that is shown.

    Returns:
        The record, as ``record.json`` holds it.

    Raises:
        TrainingError: The folder cannot be used, the loss became NaN, the disk is full, or
            somebody pressed Ctrl-C; the message says what to do.
        DataError: The data set cannot be read.
        TypeError: A data set of another library is not wrapped, or the model is none.
        ValueError: An option is out of range.

    Example:
        >>> record = train(TrainConfig(method="loss-only"), Path("runs/first"))  # doctest: +SKIP
    """
    given = Given(train_set, val_set, model)
    config = given.named_in(config.resolved())
    hardware.check_workers(config.hardware)
    building.check_named(config, given)
    rank_zero_only(check_folder)(config, out, resume=resume)
    if resume:
        rank_zero_only(sweep_partial)(out)
    resumed = bool(resume) and find_checkpoint(out) is not None
    if config.hardware.threads:
        torch.set_num_threads(config.hardware.threads)
    train_set, val_set = building.open_splits(config, given)
    building.try_criterion(config, train_set.labels.num_classes)
    # A checkpoint brings the encoder's weights itself.
    with beginning("building the network"):
        model = building.new_network(
            config, train_set.labels.num_classes, pretrained=not resumed, given=given.model
        )
    with beginning("counting the pixels of each class"):
        train_pixels, val_pixels = (
            building.count_split(config, train_set),
            building.count_split(config, val_set),
        )
    criterion = build_criterion(config.chosen.criterion, config.loss, train_pixels)
    record = building.new_record(config, train_set, val_set, train_pixels, val_pixels)
    with hardware.quiet(), postponed_interrupt() as interrupt:
        fabric = hardware.make_fabric(config, len(val_set))
        building.check_crops(model, config, fabric.world_size)
        rank_zero_only(claim_folder)(config, out)
        record.environment = describe_environment(fabric.device, fabric.world_size)
        record.environment |= packages(config.chosen.criterion)
        model.to(fabric.device)
        state = RunState(
            config,
            out,
            model,
            building.describe_network(config, train_set.labels),
            criterion,
            building.build_optimizer(config, model),
            building.build_sampler(config, train_set, train_pixels),
            building.new_running_iou(config, train_set.labels.num_classes),
            record,
            fabric.strategy.precision,
            writes=fabric.is_global_zero,
            average=building.new_average(config, model),
        )
        # If a checkpoint could not be loaded, the record on the disk is left as it was.
        known = not resumed
        try:
            fabric.launch()
            if resumed:
                state.restore()
                known = True
            hardware.check_ranks(state.step, train_pixels, val_pixels)
            for name in config.reporting.loggers:
                fabric.loggers.append(hardware.open_logger(name, out))
            _train(fabric, state, train_set, val_set, interrupt, place)
            record.status = "finished"
            state.write_record()
            if fabric.world_size > 1:
                hardware.leave_group_at_exit()
        except BaseException as error:
            stopped = isinstance(error, RunInterruptedError | KeyboardInterrupt | SystemExit)
            record.status = "interrupted" if stopped else "failed"
            # On a full disk the first error says more than the second.
            with suppress(OSError):
                if known:
                    state.write_record()
            if isinstance(error, OSError):
                raise TrainingError(
                    f"the run in {out} failed: {error}; its last good checkpoint is intact: "
                    "free the way and add --resume"
                ) from error
            lost = hardware.lost_process(fabric, error, out)
            if lost is not None:
                raise lost from error
            raise
        finally:
            for logger in fabric.loggers:
                hardware.close_logger(logger, record.status)
    return record


def _train(
    fabric: Fabric,
    state: RunState,
    train_set: SegmentationDataset,
    val_set: SegmentationDataset,
    interrupt: Interrupt,
    place: Place,
) -> None:
    """Train from the state's step to the last one; evaluate, record and save on the way."""
    config, record = state.config, state.record
    model, criterion = state.model, state.criterion.to(fabric.device)
    optimization, reporting = config.optimization, config.reporting
    steps, parts = optimization.steps, optimization.accumulate
    mean, std = state.description.mean, state.description.std
    stride = input_stride(model)
    cross_entropy = MeanCrossEntropyLoss()
    photographer = Photographer(
        state.result, state.description, _PRECISION[config.hardware.precision], state.folder
    )
    console = Console() if fabric.is_global_zero else None
    watch = LoaderWatch(record, config.hardware, console)

    network, optimizer = fabric.setup(model.train(), state.optimizer)
    schedule = loss_schedule(config, criterion, state.step)
    weights = WeightWatch(config, criterion, state.suspects)
    batches = training_batches(config, train_set, state.sampler, mean, std)
    to_evaluate = math.ceil(len(val_set) / fabric.world_size)
    work = Work(steps, reporting.eval_every, to_evaluate, optimization.batch_size)
    with ProgressReport(record, work, console, place) as progress:
        progress.begin(state.step)
        while state.step < steps:
            rate = rate_factor(state.step, optimization)
            for group in state.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * rate
            logs = (state.step + 1) % reporting.log_every == 0 or state.step == 0
            looks = weights.due(state.step + 1)
            losses, cross_entropies = [], []
            optimizer.zero_grad()
            for part in range(parts):
                batch: Batch = fabric.to_device(next(batches))
                watch.arrived()
                # Dropout depends on seed, step and part: no random state is kept in checkpoints.
                torch.manual_seed(mix(config.seed, state.step, fabric.global_rank, 1 + part))
                images, masks = pad_to_stride(batch["image"], batch["mask"], stride)
                if config.hardware.channels_last:
                    images = images.to(memory_format=torch.channels_last)
                with fabric.no_backward_sync(network, enabled=part + 1 < parts):
                    logits = network(images)
                    loss = criterion(logits, masks)
                    _check_finite(loss, batch, state.step, train_set.sample_name)
                    fabric.backward(loss / parts)
                losses.append(loss.detach() / parts)
                logits = logits.detach()
                if logs:
                    cross_entropies.append(cross_entropy(logits, masks))
                if looks:
                    weights.look(logits, masks, batch, state.step + 1)
                # The one feedback of a run: the IoU on its crops decides which crops come next.
                if config.draws_by_class:
                    state.running_iou.update(
                        _predicted_ids(logits, masks, batch["mask"]), batch["mask"]
                    )
                    state.sampler.update(state.running_iou.iou())
                else:
                    state.sampler.update()
                if part + 1 == parts:
                    if optimization.clip_norm is not None:
                        # Scaled losses may overflow: such a step is skipped without an error.
                        fabric.clip_gradients(
                            network,
                            optimizer,
                            max_norm=optimization.clip_norm,
                            error_if_nonfinite=False,
                        )
                    optimizer.step()
                    state.stepped()
                    # The values of the step that is done: logged beside its loss.
                    scheduled = schedule.values() if schedule else {}
                    if schedule is not None:
                        schedule.step()
                watch.computed(fabric.device)

            if logs:
                values = {
                    "loss": float(mean_over_ranks(torch.stack(losses).sum())),
                    "cross_entropy": float(mean_over_ranks(torch.stack(cross_entropies).mean())),
                    "learning_rate": optimization.lr * rate,
                }
                record.curve.append(CurvePoint(state.step, **values))
                fabric.log_dict(values | scheduled, step=state.step)
            if looks:
                record.weights.append(weights.point(state.step))
                fabric.log_dict(scalars(record.weights[-1], record.classes), step=state.step)
            # Every loss was checked to be finite: the device waits no more for this number.
            progress.stepped(state.step, float(torch.stack(losses).sum()))

            stop = hardware.any_rank(interrupt.requested, fabric.device)
            if reporting.eval_every and state.step % reporting.eval_every == 0:
                # The checkpoint comes last: a resumed run neither repeats nor misses an evaluation.
                _evaluate(fabric, state, train_set, val_set, photographer, progress)
                state.save_evaluated()
                stop = hardware.any_rank(interrupt.requested, fabric.device)
            elif stop or state.step == steps or state.step % reporting.checkpoint_every == 0:
                state.save()
            if stop:
                raise RunInterruptedError(
                    f"interrupted after step {state.step} of {steps}; "
                    f"--resume goes on from {state.folder / LAST}"
                )
            watch.paused()

        if not record.evaluations or record.evaluations[-1].step < state.step:
            _evaluate(fabric, state, train_set, val_set, photographer, progress)
            state.keep(LAST)
    if fabric.is_global_zero:
        state.result.eval()
        record.examples = photographer.examples(val_set, reporting.examples, config.loss)
        if ranked := state.suspects.ranked(config.diagnostics.suspects):
            record.suspects = photographer.suspects(train_set, ranked)
            write_suspects(state.folder, record.suspects)


def _evaluate(
    fabric: Fabric,
    state: RunState,
    train_set: SegmentationDataset,
    val_set: SegmentationDataset,
    photographer: Photographer,
    progress: ProgressReport,
) -> None:
    """Evaluate the network on the validation split, and write record and pictures."""
    config, description = state.config, state.description
    result = state.result
    hardware.share_buffers(result)
    # The processes share the images; none is repeated to even the shares out.
    share = range(fabric.global_rank, len(val_set), fabric.world_size)
    bins = None
    if state.step == config.optimization.steps:
        bins = ReliabilityBins(len(description.classes), fabric.device)
    confusion = evaluate(
        result,
        val_set,
        EvalTransform(description.mean, description.std),
        fabric.device,
        photographer.precision,
        batch_size=1,
        progress=partial(progress.evaluating, state.step),
        indices=share,
        workers=config.hardware.workers,
        reliability=bins,
    ).reduce()
    if bins is not None:
        state.record.calibration = CalibrationBins(**bins.reduce().as_dict())
    if fabric.is_global_zero:
        result.eval()
        state.record.evolution += photographer.evolution(
            train_set, config.reporting.evolution, state.step
        )
        state.model.train()
    scores = {"miou": confusion.miou(), "pixel_accuracy": confusion.pixel_accuracy()}
    state.record.evaluations.append(Evaluation(state.step, **scores, iou=confusion.iou().tolist()))
    state.record.confusion = confusion.counts.tolist()
    fabric.log_dict(scores, step=state.step)
    state.write_record()
    progress.evaluated(state.step)


def rate_factor(step: int, optimization: OptimizationConfig) -> float:
    """Return the share of the base learning rate at a step: warm-up times poly decay.

    ``min(1, (step + 1) / warmup) * (1 - step / steps) ** power``

    Example:
        >>> rate_factor(0, OptimizationConfig(steps=10))
        1.0
    """
    warm = min(1.0, (step + 1) / optimization.warmup) if optimization.warmup else 1.0
    remaining = max(0.0, 1.0 - step / optimization.steps)
    return float(warm * remaining**optimization.poly_power)


def pad_to_stride(images: Tensor, masks: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Pad crops to the right and below to the next multiple of a network's stride.

    The padding is of the mean color, 0, and ignored: no loss sees it.

    Args:
        images: (B, 3, H, W), normalized.
        masks: (B, H, W).

    Example:
        >>> images, masks = torch.ones(1, 3, 321, 321), torch.zeros(1, 321, 321)
        >>> pad_to_stride(images, masks, 8)[1].shape
        torch.Size([1, 328, 328])
    """
    H, W = masks.shape[-2:]
    missing = (0, -W % stride, 0, -H % stride)
    return F.pad(images, missing), F.pad(masks, missing, value=IGNORE_INDEX)


def _check_finite(loss: Tensor, batch: Batch, step: int, sample_name: Callable[[int], str]) -> None:
    if not torch.isfinite(loss):
        names = ", ".join(sample_name(index) for index in batch["index"].tolist())
        raise NonFiniteLossError(
            f"the loss is {loss.item()} at step {step}, on the images {names}: lower "
            "optimization.lr, add optimization.warmup, or look at these images"
        )


def _predicted_ids(logits: Tensor, padded: Tensor, masks: Tensor) -> Tensor:
    """Return the class of every pixel of the crops, without a map of all classes at their size."""
    H, W = masks.shape[-2:]
    row_step = logits.shape[-2] / padded.shape[-2]
    column_step = logits.shape[-1] / padded.shape[-1]
    return decide([SmallLogits(logits, row_step, column_step)], range(H), range(W))
