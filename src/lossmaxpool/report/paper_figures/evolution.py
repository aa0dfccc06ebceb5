"""How the segmentation of fixed images evolves in training (Rota Bulò et al. 2017, Fig. 4)."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lossmaxpool.report.comparison import Run, Snapshot
from lossmaxpool.report.drawing import canvas, text
from lossmaxpool.report.markup import Markup, element
from lossmaxpool.report.protocol.pairs import Pair

# The paper's number of moments.
MOMENTS = 8
CELL, GAP, HEAD, LABEL = 150, 6, 22, 20
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Strip:
    """One image and the predictions of two methods.

    Args:
        name: Of the image.
        image: Its picture.
        truth: Its labels.
        rows: Per method its label, and its prediction by step.
    """

    name: str
    image: Path
    truth: Path
    rows: tuple[tuple[str, dict[int, Path]], ...]


def evolution_strips(pair: Pair) -> tuple[list[Strip], str]:
    """Strips of the first common seed, and a sentence on what is missing from the paper's figure.

    Args:
        pair: Whose run folders may hold pictures.

    Returns:
        Strips of fixed training images where the records have an ``evolution``; else of the
        examples, validation images at the end of training alone; none where there are neither.
    """
    runs = (pair.baseline[0].run, pair.method[0].run)
    where = f"{pair.column.name}, seed {runs[0].seed}"
    if all(run.evolution for run in runs):
        return _strips([(run.label, run.evolution) for run in runs]), ""
    strips = _strips([(run.label, _at_the_end(run)) for run in runs])
    if not strips:
        return [], f"{where}: the run folders hold no pictures of the same image."
    return strips, (
        f"{where}: the run folders hold validation images at the end of training alone; the "
        "training images and the earlier moments of the paper's figure are missing."
    )


def evolution_figure(strips: Sequence[Strip]) -> Markup:
    """Two rows per image: left the image over its truth, then one column per step.

    Args:
        strips: At least one.

    Raises:
        ValueError: There is none.
    """
    if not strips:
        raise ValueError("strips is empty: expected the pictures of at least one image")
    steps = _spread(sorted({step for strip in strips for _, row in strip.rows for step in row}))
    parts: list[Markup] = []
    top = 0.0
    for strip in strips:
        height = CELL * _ratio(strip.image)
        parts.append(text(0, top + 14, strip.name, class_="name title"))
        top += HEAD
        parts += [
            text(_column(k), top + 14, f"{step:,} steps", class_="axis")
            for k, step in enumerate(steps, 1)
        ]
        top += HEAD
        for (label, row), (what, left) in zip(
            strip.rows, (("image", strip.image), ("truth", strip.truth)), strict=True
        ):
            parts.append(text(0, top + 13, what, class_="axis"))
            parts.append(text(_column(1), top + 13, label, class_="name"))
            top += LABEL
            parts.append(_picture(left, 0, top, height))
            parts += [
                _picture(row.get(step), _column(k), top, height) for k, step in enumerate(steps, 1)
            ]
            top += height + GAP
        top += 2 * GAP
    labels = " and ".join(label for label, _ in strips[0].rows)
    described = f"Predictions of {labels} after {', '.join(map(str, steps))} steps for "
    described += ", ".join(strip.name for strip in strips)
    return canvas(_column(len(steps) + 1) - GAP, top, described, *parts)


def _strips(methods: Sequence[tuple[str, Sequence[Snapshot]]]) -> list[Strip]:
    common = set.intersection(*({one.name for one in shots} for _, shots in methods))
    first = {one.name: one for one in methods[0][1]}
    return [
        Strip(
            name,
            shown.image,
            shown.truth,
            tuple(
                (label, {one.step: one.prediction for one in shots if one.name == name})
                for label, shots in methods
            ),
        )
        for name, shown in first.items()
        if name in common
    ]


def _at_the_end(run: Run) -> list[Snapshot]:
    return [
        Snapshot(run.results.step, one.name, one.image, one.truth, one.prediction)
        for one in run.examples
    ]


def _spread(steps: Sequence[int]) -> list[int]:
    """At most ``MOMENTS`` of the steps, evenly, with the last."""
    if len(steps) <= MOMENTS:
        return list(steps)
    return [steps[(k + 1) * len(steps) // MOMENTS - 1] for k in range(MOMENTS)]


def _column(k: int) -> float:
    return k * (CELL + GAP)


def _ratio(path: Path) -> float:
    """Height over width of a picture, square where it cannot be read."""
    content = _read(path)
    if content is None:
        return 1.0
    width, height = struct.unpack(">II", content[16:24])
    return height / width if width else 1.0


def _picture(path: Path | None, x: float, y: float, height: float) -> Markup:
    """The picture, or in its place what is wrong with it."""
    content = _read(path) if path else None
    if content is None:
        words = "not recorded" if path is None else f"{path.name} is missing or no PNG"
        return text(x, y + 14, words, class_="tick")
    return element(
        "image",
        href=f"data:image/png;base64,{b64encode(content).decode()}",
        x=x,
        y=y,
        width=CELL,
        height=height,
    )


def _read(path: Path) -> bytes | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return content if content.startswith(_PNG) and len(content) > 24 else None
