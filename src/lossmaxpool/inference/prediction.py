"""Predictions for images: id masks, pictures to look at, and submissions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lossmaxpool.data import CITYSCAPES_LABEL_IDS, EvalTransform
from lossmaxpool.data.decode import ImageRange, read_picture
from lossmaxpool.data.files import IMAGE_SUFFIXES, pictures_below
from lossmaxpool.data.inspection import DIM
from lossmaxpool.data.sample import DataError
from lossmaxpool.inference.checkpoint import TrainedModel
from lossmaxpool.inference.evaluation import Progress
from lossmaxpool.inference.tiling import FULL_IMAGE, predict_scores, probabilities
from lossmaxpool.models.full_size import predicted_ids
from lossmaxpool.options import InferenceConfig, Precision


def cityscapes_submission_ids(ids: Tensor, classes: Sequence[str]) -> Tensor:
    """Convert a network's class ids to Cityscapes' original label ids, by class name.

    Args:
        ids: (..., H, W) integer class ids, indices into ``classes``.
        classes: names of the network's classes: Cityscapes' 19, in any order.

    Returns:
        The same shape, uint8.

    Raises:
        ValueError: the classes are not Cityscapes', or an id is out of range.

    Example:
        >>> classes = tuple(CITYSCAPES_LABEL_IDS)
        >>> cityscapes_submission_ids(torch.tensor([[0, 10, 18]]), classes).tolist()
        [[7, 23, 33]]
    """
    check_cityscapes(classes)
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < len(classes):
        raise ValueError(
            f"class ids from {int(ids.min())} to {int(ids.max())}; expected 0 to {len(classes) - 1}"
        )
    table = torch.tensor([CITYSCAPES_LABEL_IDS[name] for name in classes], dtype=torch.uint8)
    return table.to(ids.device)[ids.long()]


def check_cityscapes(classes: Sequence[str]) -> None:
    """Raise unless the classes are Cityscapes' 19, in any order."""
    unknown = [name for name in classes if name not in CITYSCAPES_LABEL_IDS]
    missing = [name for name in CITYSCAPES_LABEL_IDS if name not in classes]
    if unknown or missing or len(classes) != len(CITYSCAPES_LABEL_IDS):
        raise ValueError(
            f"the network's {len(classes)} classes are not Cityscapes' 19: "
            f"missing {', '.join(missing) or 'none'}; unknown {', '.join(unknown) or 'none'}"
        )


IDS = "ids"
OVERLAYS = "overlays"
CONFIDENCE = "confidence"
LEGEND = "legend.png"


@dataclass(frozen=True)
class Prediction:
    """The files of one image.

    Args:
        image: the image that was read.
        ids: a PNG of class ids, of the image's size, with the classes' colors as its palette.
        overlay: the image blended with the colors of its classes.
        confidence: a PNG of 16 bits, 65535 times the probability of the class; None if not asked
            for.
    """

    image: Path
    ids: Path
    overlay: Path
    confidence: Path | None = None


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
    confidence: bool = False,
    image_range: ImageRange | None = None,
    on_damaged: Callable[[Path, str], None] | None = None,
) -> list[Prediction]:
    """Predict every image below a folder, or one image, at its own size.

    Writes ``out/ids/NAME.png`` (class ids, 0 to C - 1, or Cityscapes' label ids),
    ``out/overlays/NAME.png`` and ``out/legend.png``, which names the classes' colors, and on demand
    ``out/confidence/NAME.png``; sub-folders are kept. One image is in memory at a time.

    Args:
        trained: the network, as :func:`load_checkpoint` or :func:`calibrated` returns it.
        images: folder of images, searched recursively without hidden files; or one image.
        out: folder for the results, outside of ``images``.
        overwrite: write into ``out`` even if it is not empty; replaces files of the same name.
        precision: of the network's arithmetic.
        opacity: share of the classes' colors in an overlay, in [0, 1].
        progress: called with (images done, images in all) after each.
        config: tiles, mirroring, scales.
        submission: write Cityscapes' original label ids, as its server expects, without a palette.
        confidence: write the probability of each pixel's class to ``out/confidence/NAME.png``.
        image_range: the values of black and white in pictures of 16 bits; None for 0 and 65535.
        on_damaged: called with each unreadable image and the reason, and the image is skipped;
            None raises instead.

    Returns:
        The files, in the order of the images' names.

    Raises:
        ValueError: no images, two images of one name, an ``out`` that is not empty or not a folder,
            an unreadable image (the file is named), one too narrow for the tiles, logits that are
            not finite, a submission of classes other than Cityscapes', or a temperature that
            changes nothing.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity is {opacity}; expected 0 (image only) to 1 (colors only)")
    classes = trained.description.classes
    if trained.temperature != 1 and not confidence and len(config.views) == 1:
        raise ValueError(
            "a temperature changes the class of no pixel in a single view: ask for the "
            "probabilities (--confidence, or confidence=True), or leave out the calibration"
        )
    if submission:
        check_cityscapes(classes)
    files = _images(images)
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; give a folder for the predictions")
    if not overwrite and out.exists() and any(out.iterdir()):
        raise ValueError(
            f"{out} is not empty; take another folder, or ask to overwrite files of the same name "
            "(--overwrite, or overwrite=True)"
        )
    if images.is_dir() and out.resolve().is_relative_to(images.resolve()):
        raise ValueError(f"{out} is inside {images}: predictions would count as images next time")
    device = next(trained.model.parameters()).device
    palette = torch.tensor(trained.description.colors, dtype=torch.float32)
    written: list[Prediction] = []
    dim: list[Path] = []
    for done, (name, file) in enumerate(files.items(), start=1):
        try:
            image, facts = read_picture(file, image_range)
        except DataError as error:
            if on_damaged is None:
                raise
            on_damaged(file, str(error))
            continue
        if facts.wide and image_range is None and int(image.max()) <= DIM:
            dim.append(file)
        ids, sure = _predict(trained, image, device, precision, config, file, confidence)
        places = {kind: out / kind / f"{name}.png" for kind in (IDS, OVERLAYS, CONFIDENCE)}
        prediction = Prediction(
            file, places[IDS], places[OVERLAYS], places[CONFIDENCE] if confidence else None
        )
        if submission:
            _save(prediction.ids, Image.fromarray(cityscapes_submission_ids(ids, classes).numpy()))
        else:
            _save(prediction.ids, _with_palette(ids, trained.description.colors))
        painted = (1 - opacity) * image.permute(1, 2, 0) + opacity * palette[ids.long()]
        _save(prediction.overlay, Image.fromarray(painted.round().to(torch.uint8).numpy()))
        if prediction.confidence is not None:
            gray = (sure.clamp(max=1) * 65535).round().numpy().astype("uint16")
            _save(prediction.confidence, Image.fromarray(gray))
        if not written:
            _save(out / LEGEND, _legend(classes, trained.description.colors))
        written.append(prediction)
        if progress is not None:
            progress(done, len(files))
    if dim:
        warnings.warn(
            f"{len(dim)} of {len(written)} images, {dim[0]} first, have 16 bits per channel and "
            "were read as nearly black; say which values are black and white, as in --image_range "
            "'[0, 4095]'",
            stacklevel=2,
        )
    return written


def _images(place: Path) -> dict[str, Path]:
    """Map names without extension to files, sorted."""
    readable = ", ".join(IMAGE_SUFFIXES)
    if place.is_file():
        if place.suffix.lower() not in IMAGE_SUFFIXES:
            raise ValueError(f"{place} is not an image that can be read ({readable})")
        return {place.stem: place}
    if not place.is_dir():
        raise ValueError(f"there is no folder or image {place}")
    found: dict[str, Path] = {}
    for name, file in pictures_below(place):
        if name in found:
            raise ValueError(
                f"{found[name]} and {file} would be predicted into one file; rename one"
            )
        found[name] = file
    if not found:
        raise ValueError(f"{place} holds no images ({readable})")
    return found


def _predict(
    trained: TrainedModel,
    image: Tensor,
    device: torch.device,
    precision: Precision,
    config: InferenceConfig,
    file: Path,
    confidence: bool,
) -> tuple[Tensor, Tensor]:
    """The class of each pixel, (H, W) uint8, and its probability, float32, where asked for."""
    transform = EvalTransform(trained.description.mean, trained.description.std)
    images = transform.normalized(image)[None].to(device)
    ids = torch.empty(image.shape[1:], dtype=torch.uint8)
    sure = torch.empty(ids.shape if confidence else 0)
    for rows, columns, scores in predict_scores(
        trained.model, images, config, precision, names=[str(file)]
    ):
        ids[rows, columns] = predicted_ids(scores)[0].cpu()
        if confidence:
            sure[rows, columns] = probabilities(scores, config)[0].amax(0).cpu()
    return ids, sure


def _with_palette(ids: Tensor, colors: Sequence[tuple[int, int, int]]) -> Image.Image:
    picture = Image.fromarray(ids.numpy())
    picture.putpalette([channel for color in colors for channel in color])
    return picture


def _legend(classes: Sequence[str], colors: Sequence[tuple[int, int, int]]) -> Image.Image:
    """Draw a legend with the color and the name of every class."""
    line, font = 24, ImageFont.load_default(16)
    width = round(max(font.getlength(name) for name in classes)) + 2 * line
    picture = Image.new("RGB", (width, line * len(classes)), "white")
    draw = ImageDraw.Draw(picture)
    for row, (name, color) in enumerate(zip(classes, colors, strict=True)):
        draw.rectangle((4, line * row + 4, line - 4, line * row + line - 5), color, "black")
        draw.text((line + 4, line * row + 2), name, "black", font)
    return picture


def _save(path: Path, picture: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
