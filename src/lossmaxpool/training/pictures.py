"""Pictures of what a run learns: image, truth, prediction, and where the weights w* sit."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from matplotlib import colormaps
from PIL import Image
from torch import Tensor, nn

from lossmaxpool.atomic import write_atomically
from lossmaxpool.data import IGNORE_INDEX, EvalTransform, Sample, SegmentationDataset
from lossmaxpool.diagnostics import Suspect
from lossmaxpool.functional import solve
from lossmaxpool.inference import Precision, predict_ids, predict_logits
from lossmaxpool.models import ModelDescription
from lossmaxpool.runs.config import LossConfig
from lossmaxpool.runs.record import Picture, SuspectLabel

EXAMPLES = "examples"
EVOLUTION = "evolution"
SUSPECTS = "suspects"

# The gray image is dimmed, so that it cannot be taken for heat, and shows through the greatest
# heat, so that it can be recognized.
_DIMMED = 0.45
_OPACITY = 0.8
# The longer side of the picture of a suspected region is enlarged to so many pixels.
_LEGIBLE = 128

Pictures = dict[str, np.ndarray]


class Photographer:
    """Writes the pictures of one run into its folder.

    Args:
        model: The network, on the device where it predicts.
    """

    def __init__(
        self, model: nn.Module, description: ModelDescription, precision: Precision, folder: Path
    ) -> None:
        self.model = model
        self.description = description
        self.precision = precision
        self.folder = folder
        self.transform = EvalTransform(description.mean, description.std)

    def evolution(self, dataset: SegmentationDataset, count: int, step: int) -> list[Picture]:
        """Write the predictions for a few training images after an evaluation.

        The images are evenly spaced in the split, the same for every run on it, and are seen whole.

        Returns:
            The entries of the record; paths are relative to the run folder.

        References:
            Rota Bulò et al. 2017, Fig. 4.
        """
        entries = []
        for k, index in enumerate(evenly_spaced(len(dataset), count)):
            sample = dataset[index]
            ids = self._ids(sample)
            entry: dict[str, str] = {}
            for kind, pixels in views(sample, ids, self.description.colors).items():
                changing = kind == "prediction"
                path = f"{EVOLUTION}/{k}.{f'step-{step}' if changing else kind}.png"
                entry[kind] = path
                if changing or not (self.folder / path).is_file():
                    write_png(self.folder / path, pixels)
            entries.append(Picture(name=sample.name, step=step, **entry))
        return entries

    def examples(self, dataset: SegmentationDataset, count: int, loss: LossConfig) -> list[Picture]:
        """Write prediction and weights of a few validation images.

        Args:
            count: How many images; evenly spaced, the same for every run.

        Returns:
            The entries of the record; paths are relative to the run folder.
        """
        entries = []
        for k, index in enumerate(evenly_spaced(len(dataset), count)):
            sample = dataset[index]
            image, target = self.transform(sample)
            logits = predict_logits(self.model, self._on_device(image), self.precision).cpu()
            weights = max_pooling_weights(
                logits, target[None], p=loss.p, min_support=loss.min_support
            )[0]
            pictures = views(sample, logits[0].argmax(dim=0), self.description.colors)
            pictures["weights"] = heat_map(sample, weights)
            entry: dict[str, str] = {}
            for kind, pixels in pictures.items():
                entry[kind] = f"{EXAMPLES}/{k}.{kind}.png"
                write_png(self.folder / entry[kind], pixels)
            entries.append(Picture(name=sample.name, step=None, **entry))
        return entries

    def suspects(
        self, dataset: SegmentationDataset, ranked: Sequence[Suspect]
    ) -> list[SuspectLabel]:
        """Write image, label and prediction of regions whose labels are suspected.

        Args:
            dataset: The training split, whose indices are the ids of the images.
        """
        names = self.description.classes
        entries = []
        seen: dict[int, Tensor] = {}
        for k, found in enumerate(ranked):
            index = int(str(found.image))
            sample = dataset[index]
            if index not in seen:
                seen[index] = self._ids(sample)
            inside = found.box.cut(seen[index], margin=0.0).flatten()
            of_label = inside[found.box.cut(sample.mask, margin=0.0).flatten() == found.label]
            predicted = (of_label if of_label.numel() else inside).mode().values
            path = f"{SUSPECTS}/{k + 1:03d}.png"
            cut = Sample(found.box.cut(sample.image), found.box.cut(sample.mask), sample.name)
            shown = views(cut, found.box.cut(seen[index]), self.description.colors)
            times = max(1, _LEGIBLE // max(cut.mask.shape))
            row = np.hstack(list(shown.values()))
            write_png(self.folder / path, row.repeat(times, axis=0).repeat(times, axis=1))
            entries.append(
                SuspectLabel(
                    name=sample.name,
                    box=(*found.box,),
                    label=names[found.label],
                    predicted=names[int(predicted)],
                    score=float(f"{found.score:.6g}"),
                    persistence=round(found.persistence, 6),
                    picture=path,
                )
            )
        return entries

    def _ids(self, sample: Sample) -> Tensor:
        image = self._on_device(self.transform.normalized(sample.image))
        ids = predict_ids(self.model, image, precision=self.precision)[0]
        return ids.to("cpu", sample.mask.dtype)

    def _on_device(self, image: Tensor) -> Tensor:
        return image[None].to(next(self.model.parameters()).device)


def evenly_spaced(length: int, count: int) -> list[int]:
    """Return the middles of ``count`` equal parts of a split: video frames apart in time.

    Example:
        >>> evenly_spaced(100, 4)
        [12, 37, 62, 87]
    """
    count = min(length, count)
    return [(2 * k + 1) * length // (2 * count) for k in range(count)]


def paint(mask: Tensor, colors: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Return a mask (H, W) as RGB (H, W, 3) uint8; ignored pixels are black."""
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(colors)] = colors
    painted: np.ndarray = table[mask.numpy()]
    return painted


def views(sample: Sample, ids: Tensor, colors: Sequence[tuple[int, int, int]]) -> Pictures:
    """Return the image, its truth and its prediction, RGB (H, W, 3) uint8.

    Args:
        ids: The predicted classes (H, W); unlabeled pixels are black there, too.
    """
    return {
        "image": sample.image.permute(1, 2, 0).numpy(),
        "truth": paint(sample.mask, colors),
        "prediction": paint(ids.where(sample.mask != IGNORE_INDEX, IGNORE_INDEX), colors),
    }


def heat_map(sample: Sample, weights: Tensor) -> np.ndarray:
    """Return weights (H, W) in [0, 1] as heat over the dimmed gray image, RGB (H, W, 3) uint8."""
    gray = sample.image.float().mean(dim=0).numpy()[..., None] / 255 * _DIMMED
    heat = _OPACITY * weights.numpy()[..., None]
    color = colormaps["inferno"](weights.numpy())[..., :3]
    blended: np.ndarray = (255 * ((1 - heat) * gray + heat * color)).astype(np.uint8)
    return blended


def max_pooling_weights(logits: Tensor, target: Tensor, *, p: float, min_support: float) -> Tensor:
    """Return where loss max-pooling looks: w* / tau of the pixel losses, in [0, 1].

    Args:
        logits: (B, C, H, W).
        target: (B, H, W), ``IGNORE_INDEX`` where unlabeled.

    Returns:
        (B, H, W), 0 on ignored pixels.

    References:
        Rota Bulò et al. 2017, Theorem 1.
    """
    losses = F.cross_entropy(logits, target, ignore_index=IGNORE_INDEX, reduction="none")
    valid = target != IGNORE_INDEX
    solution = solve(losses, p=p, min_support=min_support, valid=valid)
    relative = solution.weights / solution.weight_cap.view(-1, 1, 1)
    return relative.where(valid, 0.0)


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write RGB pixels (H, W, 3) uint8, whole or not at all; the folder is made."""
    path.parent.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png", optimize=True)
    write_atomically(path, buffer.getvalue())
