"""From a network and labeled images to the explorer's page."""

from __future__ import annotations

import hashlib
import io
import json
import math
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from lossmaxpool.atomic import write_atomically
from lossmaxpool.checks import check_norm, check_share
from lossmaxpool.data import IGNORE_INDEX, EvalTransform, LabelSet, Sample
from lossmaxpool.inference import Precision, TrainedModel, predict_logits
from lossmaxpool.ops.backends import IGNORED

TITLE = "Loss max-pooling explorer"
LARGEST_LOSS = 65504.0  # of 16-bit floats
# So many pixels of each image follow a slider without a delay that is felt.
MOST_PIXELS = 500_000
_MARK = 'content="lossmaxpool explore"'
_HERE = Path(__file__).parent
_EXAMPLE = "example.json"


@dataclass(frozen=True)
class LossMap:
    """One image, its labels, and what a network made of it.

    Attributes:
        name: of the image.
        image: (3, H, W) uint8 RGB.
        truth: (H, W) uint8 class ids; any id where the loss is negative.
        prediction: (H, W) uint8 class ids.
        losses: (H, W) pixel losses, -1 where a pixel has no label.
    """

    name: str
    image: Tensor
    truth: Tensor
    prediction: Tensor
    losses: Tensor


def loss_map(trained: TrainedModel, sample: Sample, precision: Precision = "fp32") -> LossMap:
    """Compute the cross-entropy of every pixel of one labeled image.

    Args:
        trained: the network, as :func:`lossmaxpool.inference.load_checkpoint` returns it.
        sample: the image and its mask.
        precision: of the network's arithmetic.

    Returns:
        The image with its losses, on the CPU.

    Raises:
        ValueError: the network's losses are not finite, or the mask has classes it does not know.
    """
    description = trained.description
    normalized, target = EvalTransform(description.mean, description.std)(sample)
    device = next(trained.model.parameters()).device
    logits = predict_logits(trained.model, normalized[None].to(device), precision)[0].cpu()
    valid = target != IGNORE_INDEX
    classes = len(description.classes)
    if bool((target[valid] >= classes).any()):
        raise ValueError(
            f"the mask of {sample.name} has the class id {int(target[valid].max())}, the network "
            f"{classes} classes: give ids from 0 to {classes - 1}, and {IGNORE_INDEX} for unlabeled"
        )
    losses = F.cross_entropy(
        logits[None], target[None].long(), ignore_index=IGNORE_INDEX, reduction="none"
    )[0]
    if not bool(losses.isfinite().all()):
        raise ValueError(f"the losses of {sample.name} are not all finite; take another checkpoint")
    return LossMap(
        sample.name,
        sample.image,
        sample.mask.to(torch.uint8),
        logits.argmax(dim=0).to(torch.uint8),
        losses.where(valid, IGNORED),
    )


def loss_maps(
    trained: TrainedModel, samples: Iterable[Sample], precision: Precision = "fp32"
) -> list[LossMap]:
    """Compute the pixel losses of several images; see :func:`loss_map`.

    Args:
        trained: the network.
        samples: the images and their masks.
        precision: of the network's arithmetic.

    Returns:
        One entry per image.
    """
    return [loss_map(trained, sample, precision) for sample in samples]


def explorer_page(
    maps: Sequence[LossMap],
    labels: LabelSet,
    *,
    source: str,
    p: float = 1.3,
    min_support: float = 0.25,
    title: str = TITLE,
) -> str:
    """Return the page of some images as HTML.

    Images of more than half a million pixels are thinned, to every k-th row and column, and the
    page says so; losses are stored in 16-bit floats.

    Args:
        maps: the images, from :func:`loss_maps`.
        labels: names and colors of the classes.
        source: a sentence on the images and the network, shown on the page.
        p: where the slider of p begins.
        min_support: where the slider of m / n begins.
        title: of the page.

    Returns:
        The page, complete in itself.

    Raises:
        ValueError: no images, sizes that differ within an image, a loss that is not finite or too
            large, or p or min_support outside of their range.

    Example:
        >>> ids = torch.zeros(2, 3, dtype=torch.uint8)
        >>> picture = torch.zeros(3, 2, 3, dtype=torch.uint8)
        >>> one = LossMap("one", picture, ids, ids, torch.rand(2, 3))
        >>> labels = LabelSet(("sky", "road"), ((0, 0, 255), (90, 90, 90)))
        >>> page = explorer_page([one], labels, source="Random losses.")
        >>> page.startswith("<!doctype html>")
        True
    """
    check_norm(p)
    check_share("min_support", min_support)
    return _page(_content(maps, labels, source, p, min_support), title)


def example_page() -> str:
    """Return the page of the embedded example, three street scenes.

    Returns:
        The page, complete in itself.
    """
    return _page(json.loads(_text(_EXAMPLE)), TITLE)


def save_page(page: str, out: Path) -> Path:
    """Write a page, whole or not at all.

    Args:
        page: the HTML.
        out: the file; its folder is made.

    Returns:
        The file.

    Raises:
        ValueError: ``out`` exists and is not such a page, and would be lost.
        OSError: the file cannot be written.
    """
    if out.is_dir():
        raise ValueError(f"{out} is a folder; give a file for the page, such as {out / 'e.html'}")
    if out.exists():
        with out.open("rb") as file:
            if _MARK.encode() not in file.read(1000):
                raise ValueError(f"{out} exists and is not a page of the explorer; choose another")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, page.encode())
    return out


def read_example() -> list[LossMap]:
    """Read the images of the embedded example back."""
    content = json.loads(_text(_EXAMPLE))
    return [_read_image(image) for image in content["images"]]


def write_example(maps: Sequence[LossMap], labels: LabelSet, source: str) -> Path:
    """Replace the embedded example; ``benchmarks/explorer.py`` does."""
    content = _content(maps, labels, source, 1.3, 0.25)
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    write_atomically(_HERE / _EXAMPLE, f"{text}\n".encode())
    return _HERE / _EXAMPLE


def _content(
    maps: Sequence[LossMap], labels: LabelSet, source: str, p: float, min_support: float
) -> dict[str, Any]:
    """Return what the page's script reads, as JSON can hold it."""
    if not maps:
        raise ValueError("no images; expected at least one labeled image")
    stride = max(_stride(one) for one in maps)
    if stride > 1:
        source = f"{source} Of {stride} rows and {stride} columns, one of each is shown."
    return {
        "source": source,
        "p": "inf" if math.isinf(p) else p,
        "min_support": min_support,
        "classes": list(labels.names),
        "colors": [list(color) for color in labels.colors],
        "images": [_image(one, stride) for one in maps],
    }


def _stride(one: LossMap) -> int:
    shape = tuple(one.losses.shape)
    if one.image.shape != (3, *shape) or one.truth.shape != shape or one.prediction.shape != shape:
        raise ValueError(
            f"{one.name} has an image of shape {tuple(one.image.shape)}, truth "
            f"{tuple(one.truth.shape)}, prediction {tuple(one.prediction.shape)} and losses "
            f"{shape}; expected (3, H, W) and three times (H, W)"
        )
    largest = float(one.losses.max()) if one.losses.numel() else math.nan
    if not bool(one.losses.isfinite().all()) or not largest <= LARGEST_LOSS:
        raise ValueError(
            f"the losses of {one.name} reach {largest}; expected at least one pixel and finite "
            f"losses of at most {LARGEST_LOSS:.0f}"
        )
    return math.ceil(math.sqrt(one.losses.numel() / MOST_PIXELS))


def _image(one: LossMap, stride: int) -> dict[str, Any]:
    image, truth = one.image[:, ::stride, ::stride], one.truth[::stride, ::stride]
    losses = one.losses[::stride, ::stride].where(one.losses[::stride, ::stride] >= 0, IGNORED)
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(
        buffer, format="jpeg", quality=92
    )
    # A JPEG is for the eye alone; what is computed with is exact or rounded as documented.
    return {
        "name": one.name,
        "height": losses.shape[0],
        "width": losses.shape[1],
        "picture": f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}",
        "truth": _run_lengths(truth),
        "prediction": _run_lengths(one.prediction[::stride, ::stride]),
        # Little-endian on every machine.
        "losses": b64encode(losses.half().contiguous().numpy().astype("<f2").tobytes()).decode(),
    }


def _read_image(image: dict[str, Any]) -> LossMap:
    shape = (image["height"], image["width"])
    with Image.open(io.BytesIO(b64decode(image["picture"].partition(",")[2]))) as picture:
        pixels = torch.frombuffer(bytearray(picture.convert("RGB").tobytes()), dtype=torch.uint8)
    losses = torch.frombuffer(bytearray(b64decode(image["losses"])), dtype=torch.float16)
    truth, prediction = (
        torch.repeat_interleave(*torch.tensor(image[kind]).view(-1, 2).T).view(shape).byte()
        for kind in ("truth", "prediction")
    )
    colors = pixels.view(*shape, 3).permute(2, 0, 1)
    return LossMap(image["name"], colors, truth, prediction, losses.view(shape).float())


def _run_lengths(ids: Tensor) -> list[int]:
    """Return ids, row by row, as id, length, id, length, ..."""
    values, lengths = torch.unique_consecutive(ids.flatten(), return_counts=True)
    return torch.stack([values.long(), lengths], dim=1).flatten().tolist()


def _page(content: dict[str, Any], title: str) -> str:
    script = "\n".join(_text(name) for name in ("mathematics.js", "page.js"))
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    data = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    return environment.from_string(_text("page.html")).render(
        title=title,
        source=content["source"],
        # The browser itself refuses everything that is not inside the page.
        policy=Markup(
            f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
            f"script-src 'sha256-{digest}'"
        ),
        style=Markup(_text("page.css")),
        # A name with "</script>" in it must not end the block.
        data=Markup(data.replace("<", "\\u003c")),
        script=Markup(script),
    )


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
