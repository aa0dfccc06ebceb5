"""Example images: truth, every method's prediction, and where the weights w* sit."""

from __future__ import annotations

import io
import os
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from lossmaxpool.report.statistics import Summary
from lossmaxpool.runs.record import SUSPECTS, RunRecord, SuspectLabel

UNLABELED = (0, 0, 0)
# Of the suspected labels of a run, so many are shown; its list has all of them.
SHOWN = 6
Color = tuple[int, int, int]


@dataclass(frozen=True)
class EmbeddedImage:
    """One picture of the page.

    Args:
        alt: Read aloud in its place.
        source: The file as a data URL; None where it cannot be shown.
        missing: The reason then.
        labels: Whether its colors are classes.
        colors: The colors in it, of a label map.
    """

    caption: str
    alt: str
    source: str | None
    missing: str = ""
    labels: bool = False
    colors: frozenset[Color] = frozenset()


@dataclass(frozen=True)
class Strip:
    """One example image with everything that the methods made of it.

    Args:
        pictures: Image and truth, then prediction and weights of each method.
        legend: Name and color of the classes in its label maps, the most frequent first.
    """

    name: str
    pictures: tuple[EmbeddedImage, ...]
    legend: tuple[tuple[str, Color], ...]


def strips(summary: Summary) -> list[Strip]:
    """The example images of the first seed of each method."""
    runs = [m.method.runs[0] for m in summary.methods]
    names = dict.fromkeys(example.name for run in runs for example in run.examples)
    return [_strip(summary, runs, name) for name in names]


@dataclass(frozen=True)
class Suspected:
    """The labels that a run suspects.

    Args:
        link: Its whole list, from the page.
        shown: The first of them, with their pictures.
    """

    run: RunRecord
    link: str
    shown: tuple[tuple[SuspectLabel, EmbeddedImage], ...]


def suspected(summary: Summary, out: Path) -> list[Suspected]:
    """The suspected labels of the first seed of each method that has some."""
    found = []
    for run in (m.method.runs[0] for m in summary.methods if m.method.runs[0].suspects):
        link = Path(os.path.relpath(run.folder / SUSPECTS, out)).as_posix()
        shown = []
        for one in run.suspects[:SHOWN]:
            alt = f"Image, label and prediction of a region of {one.name}"
            shown.append((one, _picture(run.folder / one.picture, one.name, alt)))
        found.append(Suspected(run, quote(link), tuple(shown)))
    return found


def classes_by_color(summary: Summary) -> dict[str, str]:
    """The names of the classes by their color, "r,g,b"; classes of one color share an entry."""
    found: dict[str, str] = {",".join(map(str, UNLABELED)): "unlabeled"}
    comparison = summary.comparison
    for name, color in zip(comparison.classes, comparison.colors, strict=True):
        key = ",".join(map(str, color))
        found[key] = f"{found[key]} or {name}" if key in found else name
    return found


def _strip(summary: Summary, runs: list[RunRecord], name: str) -> Strip:
    found = [(run, example) for run in runs for example in run.examples if example.name == name]
    # The image and its truth are the same for every method: show those of the first.
    run, first = found[0]
    pictures = [
        _picture(run.folder / first.image, "image", f"Image {name}"),
        _picture(run.folder / first.truth, "ground truth", f"Ground truth of {name}", labels=True),
    ]
    for run, example in found:
        alt = f"Prediction of {run.label} for {name}"
        pictures += [
            _picture(run.folder / example.prediction, f"{run.label}: prediction", alt, labels=True),
            _picture(
                run.folder / example.weights if example.weights else None,
                f"{run.label}: weights",
                f"Heat map of w*/τ of {run.label} on {name}",
            ),
        ]
    seen = frozenset().union(*(picture.colors for picture in pictures))
    comparison = summary.comparison
    legend = [(comparison.classes[c], comparison.colors[c]) for c in summary.by_share]
    legend.append(("unlabeled", UNLABELED))
    return Strip(name, tuple(pictures), tuple(entry for entry in legend if entry[1] in seen))


def _picture(path: Path | None, caption: str, alt: str, *, labels: bool = False) -> EmbeddedImage:
    """The picture as a part of the page, or the reason why there is none."""
    if path is None:
        return EmbeddedImage(caption, alt, None, "not recorded")
    try:
        content = path.read_bytes()
    except OSError:
        return EmbeddedImage(caption, alt, None, f"{path.name} is missing")
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as opened:
            pixels = np.asarray(opened.convert("RGB")).astype(np.int64)
    except (OSError, SyntaxError, ValueError):
        return EmbeddedImage(caption, alt, None, f"{path.name} is not a PNG")
    colors: frozenset[Color] = frozenset()
    if labels:
        codes = np.unique(pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]).tolist()
        colors = frozenset((code >> 16, code >> 8 & 255, code & 255) for code in codes)
    source = f"data:image/png;base64,{b64encode(content).decode()}"
    return EmbeddedImage(caption, alt, source, labels=labels, colors=colors)
