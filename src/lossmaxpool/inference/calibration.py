"""Temperature scaling: one number that brings a network's confidence nearer to its accuracy.

It is fitted to pixels of one half of the images and judged on the other half, saved beside the
checkpoint, and used only where it is asked for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossmaxpool.atomic import write_atomically
from lossmaxpool.data import EvalTransform, SegmentationDataset
from lossmaxpool.data.sample import IGNORE_INDEX, check_is
from lossmaxpool.inference.checkpoint import TrainedModel, check_classes
from lossmaxpool.inference.evaluation import Progress, batches
from lossmaxpool.inference.tiling import FULL_IMAGE, predict_scores
from lossmaxpool.metrics import ReliabilityBins
from lossmaxpool.models import input_stride
from lossmaxpool.models.outside import OutsideNetwork
from lossmaxpool.options import InferenceConfig, Precision
from lossmaxpool.sampling import file_fingerprint
from lossmaxpool.sampling.draws import mix

# Of a checkpoint last.ckpt: last.temperature.json.
SUFFIX = ".temperature.json"
# A best temperature outside of these points to an error in data or network.
LOWEST, HIGHEST = 0.05, 20.0
# Pixels that are kept of each half, as logits of all classes: one number is soon known well.
PIXELS = 100_000


@dataclass(frozen=True)
class Calibration:
    """A temperature, and what it changes on images that it was not fitted to.

    Args:
        temperature: T; the probabilities are the softmax of logits / T.
        fitted: number of the images that T is fitted to.
        judged: number of the others, which everything below is about.
        before: their pixels at T = 1.
        after: the same pixels at T.
        nll: mean cross-entropy of a sample of these pixels, before and after.
    """

    temperature: float
    fitted: int
    judged: int
    before: ReliabilityBins
    after: ReliabilityBins
    nll: tuple[float, float]

    def scores(self) -> dict[str, dict[str, float]]:
        """The errors before and after, as fractions; the cross-entropy in nats."""
        found = zip(("before", "after"), (self.before, self.after), self.nll, strict=True)
        return {
            when: {
                "ece": bins.ece(),
                "classwise_ece": bins.classwise_ece(),
                "overconfidence": bins.overconfidence(),
                "nll": nll,
            }
            for when, bins, nll in found
        }


def fit_temperature(logits: Tensor, target: Tensor) -> float:
    r"""Find the temperature under which labels are the most likely.

    .. math:: T = \arg\min_T -\sum_i \log \mathrm{softmax}(z_i / T)_{y_i}

    In 1 / T it is convex: the root of its derivative is found by Brent's method.

    Args:
        logits: (N, C) floats.
        target: (N,) integer class ids.

    Returns:
        T, between 0.05 and 20.

    Raises:
        ValueError: the shapes do not fit, there is no pixel, a logit is not finite, or the best
            temperature is outside of these bounds, as where every pixel is classified right.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0]]).repeat(4, 1)
        >>> round(fit_temperature(logits, torch.tensor([0, 0, 0, 1])), 3)  # 2 / log(3)
        1.82

    References:
        Guo et al. 2017, "On Calibration of Modern Neural Networks", Sect. 4.2.
    """
    # Configurations and help import this package, and are shown at once.
    from scipy.optimize import brentq  # type: ignore[import-untyped]

    if logits.ndim != 2 or target.shape != logits.shape[:1] or not len(target):
        raise ValueError(
            f"logits is {tuple(logits.shape)} and target {tuple(target.shape)}; expected (N, C) "
            "and (N,), N at least 1"
        )
    if not bool(logits.isfinite().all()):
        raise ValueError("logits has values that are not finite; expected finite ones")
    z = logits.double()
    own = float(z.gather(1, target.long()[:, None]).mean())

    def slope(log_temperature: float) -> float:
        """The derivative of the mean negative log-likelihood with respect to 1 / T."""
        p = (z * math.exp(-log_temperature)).softmax(1)
        return float((p * z).sum(1).mean()) - own

    low, high = math.log(LOWEST), math.log(HIGHEST)
    if not slope(low) > 0 > slope(high):
        right = float((z.argmax(1) == target).double().mean())
        raise ValueError(
            f"no temperature from {LOWEST} to {HIGHEST} makes the labels the most likely: "
            f"{100 * right:.1f} % of the {len(z):,} pixels are classified right; give more images, "
            "or those of the classes that the network was trained on"
        )
    return math.exp(brentq(slope, low, high, xtol=1e-6))


def calibrate(
    trained: TrainedModel,
    dataset: SegmentationDataset,
    *,
    precision: Precision = "fp32",
    batch_size: int = 4,
    config: InferenceConfig = FULL_IMAGE,
    pixels: int = PIXELS,
    seed: int = 0,
    workers: int = 0,
    progress: Progress | None = None,
) -> Calibration:
    """Fit a temperature to the first half of a data set, and judge it on the second.

    The halves are not mixed, because neighbors in a data set are often of one scene. T is fitted to
    a sample in which each valid pixel of the first half has the same chance, drawn by image and
    seed alone; nothing else is kept of the logits.

    Args:
        trained: the network, as :func:`load_checkpoint` returns it.
        dataset: images that it was not trained on.
        precision: of the network's arithmetic.
        batch_size: maximum number of images in a batch.
        config: how the images are cut into tiles; of one view.
        pixels: maximum size of the sample.
        seed: of the sample.
        workers: number of processes that read images; 0 reads them in this process.
        progress: called with (images done, images in all) after each batch.

    Returns:
        The temperature and what it changes; :func:`save_calibration` keeps it.

    Raises:
        ValueError: fewer than two images, a half without a labeled pixel, other classes, several
            views, a network with a temperature already, or no temperature that fits.
        TypeError: a data set of another library; use WrappedDataset.

    Example:
        ``calibrate(load_checkpoint("runs/lmp"), open_dataset(DataConfig("street-scenes"), "val"))``
    """
    check_is(dataset, SegmentationDataset)
    description, total = trained.description, len(dataset)
    check_classes(trained.file, description.classes, dataset.labels.names)
    if trained.temperature != 1:
        raise ValueError(f"{trained.file} has the temperature {trained.temperature:g} already")
    if len(config.views) > 1:
        raise ValueError("a temperature is fitted to one view: leave out flip and scales")
    if total < 2 or pixels < 1:
        raise ValueError(
            f"{dataset.name} has {total} images, and {pixels} pixels are asked for; expected at "
            "least 2, to fit and to judge, and 1"
        )
    device = next(trained.model.parameters()).device
    transform = EvalTransform(description.mean, description.std)
    C, half = len(description.classes), total // 2

    def scored(chosen: range) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Random keys, logits and labels of the valid pixels: (n,), (n, C), (n,)."""
        done = chosen.start
        for names, images, masks in batches(dataset, transform, batch_size, chosen, workers):
            keys = torch.stack(
                [_keys(mask.shape, mix(seed, done + k)) for k, mask in enumerate(masks)]
            )
            for rows, columns, scores in predict_scores(
                trained.model, images.to(device), config, precision, names=names, num_classes=C
            ):
                part = masks[:, rows, columns]
                valid = part != IGNORE_INDEX
                logits = scores.movedim(1, -1)[valid.to(device)]
                yield keys[:, rows, columns][valid].to(device), logits, part[valid].to(device)
            done += len(names)
            if progress is not None:
                progress(done, total)

    sample = _PixelSample(pixels)
    for keys, logits, labels in scored(range(half)):
        sample.add(keys, logits, labels)
    temperature = fit_temperature(*sample.content(dataset.name))
    before, after = ReliabilityBins(C, device), ReliabilityBins(C, device)
    sample = _PixelSample(pixels)
    for keys, logits, labels in scored(range(half, total)):
        sample.add(keys, logits, labels)
        before.update(logits.softmax(1), labels)
        after.update((logits / temperature).softmax(1), labels)
    logits, labels = sample.content(dataset.name)
    nll = [float(F.cross_entropy(logits.double() / t, labels.long())) for t in (1, temperature)]
    return Calibration(temperature, half, total - half, before, after, (nll[0], nll[1]))


def save_calibration(
    calibration: Calibration,
    trained: TrainedModel,
    about: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> Path:
    """Write a temperature beside its checkpoint: ``last.temperature.json`` for ``last.ckpt``.

    Args:
        calibration: from :func:`calibrate`.
        trained: the network that it is of.
        about: further plain values for the file: data set, split, environment.
        overwrite: replace the file if it exists.

    Returns:
        The file.

    Raises:
        ValueError: it exists.
    """
    file = check_free(trained, overwrite=overwrite)
    content = {
        "temperature": calibration.temperature,
        "checkpoint": trained.file.name,
        "step": trained.step,
        "fingerprint": file_fingerprint(trained.file).hex(),
        "images": {"fitted": calibration.fitted, "judged": calibration.judged},
        **calibration.scores(),
        **about,
    }
    write_atomically(file, json.dumps(content, indent=1, ensure_ascii=False).encode())
    return file


def check_free(trained: TrainedModel, *, overwrite: bool) -> Path:
    """Return the file of a checkpoint's temperature, or raise where one would be lost."""
    file = trained.file.with_suffix(SUFFIX)
    if file.exists() and not overwrite:
        raise ValueError(f"{file} exists; add --overwrite to replace it, or use it: --calibrated")
    return file


def calibrated(trained: TrainedModel, temperature: float | None = None) -> TrainedModel:
    """Divide the logits of a network by a temperature.

    The class of no pixel changes where one view decides; the probabilities do.

    Args:
        trained: the network, as :func:`load_checkpoint` returns it.
        temperature: T; None takes the one that was saved beside the checkpoint.

    Returns:
        The same network with the division behind it.

    Raises:
        ValueError: T is not positive, the network has one already, or none was saved, or for
            another state of the checkpoint.

    Example:
        ``predict_folder(calibrated(load_checkpoint("runs/lmp")), images, out, confidence=True)``
    """
    if trained.temperature != 1:
        raise ValueError(f"{trained.file} has the temperature {trained.temperature:g} already")
    found = _saved(trained) if temperature is None else temperature
    if not 0 < found < math.inf:
        raise ValueError(f"temperature is {found}; expected a positive number")
    model = _Tempered(trained.model, input_stride(trained.model), found)
    return replace(trained, model=model.train(trained.model.training), temperature=found)


class _Tempered(OutsideNetwork):
    """A network whose logits are divided by a temperature."""

    def __init__(self, network: nn.Module, stride: int, temperature: float) -> None:
        super().__init__(network, stride)
        self.temperature = temperature

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) / self.temperature


class _PixelSample:
    """At most ``size`` pixels of a stream: those with the smallest of their random keys."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.kept: tuple[Tensor, ...] = ()

    def add(self, *pixels: Tensor) -> None:
        """Keys (n,), logits (n, C) and labels (n,)."""
        keys = pixels[0]
        if self.kept and len(self.kept[0]) == self.size:
            nearer = keys < self.kept[0].max()
            pixels = tuple(each[nearer] for each in pixels)
        if self.kept:
            pixels = tuple(map(torch.cat, zip(self.kept, pixels, strict=True)))
        if len(pixels[0]) > self.size:
            smallest = pixels[0].topk(self.size, largest=False).indices
            pixels = tuple(each[smallest] for each in pixels)
        self.kept = pixels

    def content(self, name: str) -> Sequence[Tensor]:
        """Logits and labels, in the order of the keys."""
        if not self.kept or not len(self.kept[0]):
            raise ValueError(f"a half of {name} has no labeled pixel; give more images")
        order = self.kept[0].argsort()
        return [each[order] for each in self.kept[1:]]


def _keys(shape: torch.Size, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def _saved(trained: TrainedModel) -> float:
    file = trained.file.with_suffix(SUFFIX)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        temperature, fingerprint = float(content["temperature"]), content["fingerprint"]
    except FileNotFoundError:
        raise ValueError(
            f"there is no {file}: fit a temperature first, lossmaxpool calibrate {trained.file}"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file} is damaged ({error}): lossmaxpool calibrate {trained.file} --overwrite"
        ) from error
    if fingerprint != file_fingerprint(trained.file).hex():
        raise ValueError(
            f"{file} is of another state of the checkpoint, step {content.get('step')} (now step "
            f"{trained.step}): lossmaxpool calibrate {trained.file} --overwrite"
        )
    return temperature
