"""Predictions for a folder of images, as id masks and as pictures to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lossmaxpool.data import EvalTransform, Sample
from lossmaxpool.data.decode import read_image
from lossmaxpool.data.files import IMAGE_SUFFIXES
from lossmaxpool.data.walk import files_below
from lossmaxpool.inference.checkpoint import TrainedModel
from lossmaxpool.inference.config import InferenceConfig
from lossmaxpool.inference.ids import FULL_IMAGE, predict_ids
from lossmaxpool.inference.logits import Precision
from lossmaxpool.inference.submission import check_cityscapes, cityscapes_submission_ids

IDS = "ids"
OVERLAYS = "overlays"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Prediction:
    """One image's files.

    Args:
        image: the image that was read.
        ids: a single-channel PNG of class ids, of the image's size.
        overlay: the image with its classes' colours laid over it.
    """

    image: Path
    ids: Path
    overlay: Path


def predict_folder(
    trained: TrainedModel,
    images: Path,
    out: Path,
    *,
    overwrite: bool = False,
    precision: Precision = "fp32",
    opacity: float = 0.5,
    progress: Progress | None = None,
    config: InferenceConfig = FULL_IMAGE,
    submission: bool = False,
) -> list[Prediction]:
    """Predict every image below a folder at its own size.

    Writes ``out/ids/NAME.png`` (class ids, 0 to C - 1, or Cityscapes' label ids) and
    ``out/overlays/NAME.png``; sub-folders are kept. One image is in memory at a time.

    Args:
        trained: the network, as :func:`load_checkpoint` returns it.
        images: folder of images; searched through, hidden files left out.
        out: folder for the results, outside of ``images``.
        overwrite: write into ``out`` although it is not empty; files of the same name are replaced.
        precision: of the network's arithmetic.
        opacity: share of the classes' colours in an overlay, in [0, 1].
        progress: called with (images done, images in all) after each.
        config: tiles, mirroring, scales.
        submission: write Cityscapes' original label ids, as its servers expect them.

    Returns:
        The files, in the order of the images' names.

    Raises:
        ValueError: no images, two images of one name, an ``out`` that is not empty or no folder, an
            unreadable image (the file is named), one too narrow for the tiles, logits that are not
            finite, or a submission of other classes than Cityscapes'.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity is {opacity}; expected 0 (image only) to 1 (colours only)")
    classes = trained.description.classes
    if submission:
        check_cityscapes(classes)
    files = _images(images)
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; give a folder for the predictions")
    if not overwrite and out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; take another folder, or ask to overwrite")
    if out.resolve().is_relative_to(images.resolve()):
        raise ValueError(f"{out} is inside {images}: predictions would count as images next time")
    device = next(trained.model.parameters()).device
    palette = torch.tensor(trained.description.colors, dtype=torch.float32)
    written = []
    for done, (name, file) in enumerate(files.items(), start=1):
        image = read_image(file)
        ids = _predict(trained, image, device, precision, config, file)
        prediction = Prediction(file, out / IDS / f"{name}.png", out / OVERLAYS / f"{name}.png")
        written_ids = cityscapes_submission_ids(ids, classes) if submission else ids
        _save(prediction.ids, written_ids.numpy())
        painted = (1 - opacity) * image.permute(1, 2, 0) + opacity * palette[ids.long()]
        _save(prediction.overlay, painted.round().to(torch.uint8).numpy())
        written.append(prediction)
        if progress is not None:
            progress(done, len(files))
    return written


def _images(folder: Path) -> dict[str, Path]:
    """Name without extension -> file, sorted."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    found: dict[str, Path] = {}
    for file in sorted(folder / name for name in files_below(folder)):
        if file.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        name = file.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise ValueError(
                f"{found[name]} and {file} would be predicted into one file; rename one"
            )
        found[name] = file
    if not found:
        raise ValueError(f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)})")
    return found


def _predict(
    trained: TrainedModel,
    image: Tensor,
    device: torch.device,
    precision: Precision,
    config: InferenceConfig,
    file: Path,
) -> Tensor:
    description = trained.description
    nothing = torch.zeros(image.shape[1:], dtype=torch.uint8)  # an image alone has no truth
    normalised, _ = EvalTransform(description.mean, description.std)(
        Sample(image, nothing, file.name)
    )
    images = normalised[None].to(device)
    return predict_ids(trained.model, images, config, precision, names=[str(file)])[0].cpu()


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
