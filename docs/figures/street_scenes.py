"""Draws docs/images/street-scenes.png: six street scenes with their masks.

Run from anywhere: ``python docs/figures/street_scenes.py``
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lossmaxpool.data import IGNORE_INDEX, LabelSet, StreetScenes

TARGET = Path(__file__).resolve().parents[1] / "images" / "street-scenes.png"
SCENES = (6, 34, 14, 22, 17, 27)
SIZE = (192, 288)
GAP, LEGEND = 12, 64
INK = (51, 51, 51)


def main() -> None:
    """Draws the picture."""
    dataset = StreetScenes("val", num_images=max(SCENES) + 1, size=SIZE)
    palette = np.zeros((IGNORE_INDEX + 1, 3), dtype=np.uint8)
    palette[: dataset.labels.num_classes] = dataset.labels.colors

    height, width = SIZE
    columns, rows = 3, len(SCENES) // 3
    sheet = Image.new(
        "RGB",
        (columns * (width + GAP) + GAP, rows * (2 * height + 2 * GAP) + GAP + LEGEND),
        (255, 255, 255),
    )
    for place, index in enumerate(SCENES):
        sample = dataset[index]
        left = GAP + place % columns * (width + GAP)
        top = GAP + place // columns * (2 * height + 2 * GAP)
        scene: NDArray[np.uint8] = sample.image.permute(1, 2, 0).numpy()
        sheet.paste(Image.fromarray(scene), (left, top))
        sheet.paste(Image.fromarray(palette[sample.mask.numpy()]), (left, top + height + 4))
    _legend(sheet, dataset.labels)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(TARGET, optimize=True)


def _legend(sheet: Image.Image, labels: LabelSet) -> None:
    """Colors and names below the scenes, in two rows."""
    ink, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    entries = [*zip(labels.names, labels.colors, strict=True), ("unlabeled", (0, 0, 0))]
    per_row = -(-len(entries) // 2)
    step = (sheet.width - 2 * GAP) // per_row
    for k, (name, color) in enumerate(entries):
        x = GAP + k % per_row * step
        y = sheet.height - LEGEND + k // per_row * 28
        ink.rectangle((x, y, x + 18, y + 18), fill=color)
        ink.text((x + 26, y + 9), name, fill=INK, font=font, anchor="lm")


if __name__ == "__main__":
    main()
