"""Applying a network to an image: whole or in tiles, with several views, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lossmaxpool.models import full_size_logits, input_stride
from lossmaxpool.models.full_size import predicted_ids, score_strips, small_logits
from lossmaxpool.options import InferenceConfig, Precision


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels: ``image[..., rows, columns]``.

    Args:
        top: first row.
        left: first column.
        height: number of rows.
        width: number of columns.
    """

    top: int
    left: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """The rows, for indexing."""
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        """The columns, for indexing."""
        return slice(self.left, self.left + self.width)


@dataclass(frozen=True)
class Tile:
    """A part of an image that is passed through the network separately.

    Args:
        read: the input region.
        owned: the region whose predictions are used; inside ``read``.
    """

    read: Window
    owned: Window


def full_height_tiles(
    height: int, width: int, count: int = 5, overlap: int = 0, multiple: int = 1
) -> tuple[Tile, ...]:
    """Cut an image into tiles of full height, from left to right.

    With W the width, N the number of tiles and o the overlap, tile i reads the columns
    ``b_i .. b_(i+1) + o`` where ``b_i = floor(i (W - o) / N)``, and neighbors share exactly o
    columns. The left tile owns the first ``floor(o / 2)`` of them, the right one the rest, so each
    column has exactly one owner. Tile widths differ by one pixel if N does not divide ``W - o``.

    Args:
        height: H, of the image.
        width: W, of the image.
        count: N.
        overlap: o, columns that two neighbors both read.
        multiple: tiles begin at multiples of this number. With the network's stride, its cells
            align with those of the whole image, and the widths differ by up to the stride.

    Returns:
        N tiles, from left to right.

    Raises:
        ValueError: a number is out of its range, or the image is too narrow.

    Example:
        >>> [tile.read.width for tile in full_height_tiles(1024, 2048)]
        [409, 410, 409, 410, 410]
        >>> left, right = full_height_tiles(100, 300, count=2, overlap=200)
        >>> left.read.columns, left.owned.columns
        (slice(0, 250, None), slice(0, 150, None))
        >>> right.read.columns, right.owned.columns
        (slice(50, 300, None), slice(150, 300, None))

    References:
        Rota Bulò et al. 2017, Sect. 4.1: five tiles without overlap ("efficient tiling"), and an
        overlap of 200 pixels ("optimized tiling"). The width of the latter's tiles is not given.
    """
    if height < 1 or width < 1:
        raise ValueError(f"an image of {height} x {width} pixels has no tiles")
    if count < 1 or overlap < 0 or multiple < 1:
        raise ValueError(
            f"count is {count}, overlap {overlap}, multiple {multiple}; expected at least 1, 0, 1"
        )
    if count == 1:
        overlap = 0  # a single tile does not overlap
    least = overlap + count * multiple
    if count > 1 and width < least:
        raise ValueError(
            f"an image {width} pixels wide is too narrow for {count} tiles that overlap by "
            f"{overlap}: at least {least} are needed; take fewer tiles, a smaller overlap, or the "
            "full image"
        )
    starts = [i * (width - overlap) // count // multiple * multiple for i in range(count)]
    ends = [*(start + overlap for start in starts[1:]), width]
    borders = [0, *(start + overlap // 2 for start in starts[1:]), width]
    return tuple(
        Tile(
            Window(0, starts[i], height, ends[i] - starts[i]),
            Window(0, borders[i], height, borders[i + 1] - borders[i]),
        )
        for i in range(count)
    )


def tiles_of(config: InferenceConfig, height: int, width: int, stride: int) -> tuple[Tile, ...]:
    """Compute the tiles of an image; they begin at multiples of the network's stride.

    Args:
        config: how to cut.
        height: of the image.
        width: of the image.
        stride: from :func:`lossmaxpool.models.input_stride`.

    Returns:
        The tiles, from left to right; together they own every pixel once.

    Example:
        >>> [tile.owned.width for tile in tiles_of(InferenceConfig("optimized"), 1024, 2048, 8)]
        [468, 368, 368, 368, 476]
    """
    if config.tiling == "full":
        return full_height_tiles(height, width, count=1)
    overlap = config.overlap if config.tiling == "optimized" else 0
    return full_height_tiles(height, width, config.tiles, overlap, stride)


_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@torch.inference_mode()
def predict_logits(model: nn.Module, images: Tensor, precision: Precision = "fp32") -> Tensor:
    """Logits at the size of the images; pads the input for the network and crops the result.

    The result is the largest map that is allocated.

    Args:
        model: (B, 3, H, W) -> (B, C, h, w), in evaluation mode.
        images: (B, 3, H, W) float32, normalized, on the model's device.
        precision: of the network's arithmetic; the upsampling is always float32.

    Returns:
        (B, C, H, W) float32.

    Raises:
        ValueError: the images are not (B, 3, H, W) floats, the precision is unknown, or the model
            is in training mode (its result would depend on the rest of the batch).

    Example:
        >>> import torch
        >>> model = torch.nn.Conv2d(3, 11, 4, stride=4).eval()
        >>> predict_logits(model, torch.zeros(1, 3, 90, 120)).shape
        torch.Size([1, 11, 90, 120])
    """
    network = network_for(model, images, precision)
    return full_size_logits(network, images, input_stride(model))


def network_for(
    model: nn.Module, images: Tensor, precision: Precision
) -> Callable[[Tensor], Tensor]:
    """Validate model, images and precision, and return the model in that precision."""
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(
            f"images is {tuple(images.shape)} {images.dtype}; expected normalized floats "
            "(B, 3, H, W)"
        )
    if precision != "fp32" and precision not in _AUTOCAST:
        raise ValueError(f"precision is {precision!r}; expected 'fp32', 'bf16' or 'fp16'")
    if model.training:
        raise ValueError("the model is in training mode; call model.eval() first")

    def network(padded: Tensor) -> Tensor:
        dtype = _AUTOCAST.get(precision)
        with torch.autocast(padded.device.type, dtype, enabled=dtype is not None):
            logits: Tensor = model(padded)
        return logits

    return network


FULL_IMAGE = InferenceConfig()


@torch.inference_mode()
def predict_ids(
    model: nn.Module,
    images: Tensor,
    config: InferenceConfig = FULL_IMAGE,
    precision: Precision = "fp32",
    *,
    names: Sequence[str] = (),
    num_classes: int | None = None,
) -> Tensor:
    """Predict the class of every pixel, each by the tile that owns it.

    Besides the network, memory is needed for a tile's low-resolution logits of every view (scale,
    mirroring) and for one strip of pixels; full-size scores of all classes are never allocated.

    Args:
        model: as for :func:`predict_logits`, and so are the images; C at most 256.
        images: (B, 3, H, W).
        config: tiles, mirroring, scales.
        precision: as there.
        names: of the images, for error messages.
        num_classes: C, to check the model against; None skips the check.

    Returns:
        (B, H, W) uint8, on the model's device.

    Raises:
        ValueError: as :func:`predict_logits`, and for images too narrow for the tiles, or logits
            that are not finite or not of ``num_classes`` classes.

    Example:
        >>> model = torch.nn.Conv2d(3, 11, 4, stride=4).eval()
        >>> config = InferenceConfig("optimized", tiles=3, overlap=16, flip=True)
        >>> predict_ids(model, torch.zeros(1, 3, 90, 120), config).shape
        torch.Size([1, 90, 120])
    """
    ids = torch.empty(len(images), *images.shape[-2:], dtype=torch.uint8, device=images.device)
    for rows, columns, scores in predict_scores(
        model, images, config, precision, names=names, num_classes=num_classes
    ):
        ids[:, rows, columns] = predicted_ids(scores)
    return ids


@torch.inference_mode()
def predict_scores(
    model: nn.Module,
    images: Tensor,
    config: InferenceConfig = FULL_IMAGE,
    precision: Precision = "fp32",
    *,
    names: Sequence[str] = (),
    num_classes: int | None = None,
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield the scores that :func:`predict_ids` decides by, one part of the images after the other.

    Yields:
        Rows, columns, and the scores (B, C, rows, columns) float32 there; together the parts hold
        every pixel once. :func:`probabilities` turns scores into probabilities.
    """
    network = network_for(model, images, precision)
    stride = input_stride(model)
    H, W = images.shape[-2:]
    try:
        tiles = tiles_of(config, H, W, stride)
    except ValueError as error:
        raise ValueError(f"{_which(names)}: {error}") from None
    for tile in tiles:
        read, owned = tile.read, tile.owned
        part = images[..., read.rows, read.columns]
        versions = []
        for scale, mirror in config.views:
            logits = small_logits(network, part, stride, scale, mirror)
            _check_logits(logits.values, names, num_classes)
            versions.append(logits)
        first_row, first_column = owned.top - read.top, owned.left - read.left
        for strip, scores in score_strips(
            versions,
            range(first_row, first_row + owned.height),
            range(first_column, first_column + owned.width),
        ):
            rows = slice(strip.start + read.top, strip.stop + read.top)
            yield rows, owned.columns, scores


def probabilities(scores: Tensor, config: InferenceConfig) -> Tensor:
    """Turn the scores of :func:`predict_scores` into the probabilities of the classes."""
    return scores.softmax(1) if len(config.views) == 1 else scores


def _check_logits(logits: Tensor, names: Sequence[str], num_classes: int | None) -> None:
    if num_classes is not None and logits.shape[1] != num_classes:
        raise ValueError(
            f"the model gives {logits.shape[1]} classes, the data set has {num_classes}"
        )
    # The argmax of NaN is a valid class id: the result would look plausible and be wrong.
    if not bool(logits.isfinite().all()):
        raise ValueError(
            f"the logits of {_which(names)} are not finite; the weights are damaged, or "
            "the precision is too low (try 'fp32')"
        )


def _which(names: Sequence[str]) -> str:
    return ", ".join(names) or "the images"
