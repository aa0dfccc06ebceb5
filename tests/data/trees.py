"""Small data folders in the exact layouts that the readers expect."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (12, 16)
"""(height, width) of every picture here."""


def picture(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Random colours, (H, W, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def ids(seed: int, values: Sequence[int], size: tuple[int, int] = SIZE) -> np.ndarray:
    """Random ids, (H, W) uint8, every value at least once."""
    rng = np.random.default_rng(seed)
    flat = rng.choice(np.array(values), size[0] * size[1])
    flat[: len(values)] = values
    return rng.permutation(flat).reshape(size).astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    """Writes a picture, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def camvid(root: Path, frames: Mapping[str, Sequence[str]]) -> Path:
    """The SegNet layout; frames are given per folder ("train", "val")."""
    for folder, names in frames.items():
        for i, name in enumerate(names):
            save(root / folder / f"{name}.png", picture(i))
            save(root / f"{folder}annot" / f"{name}.png", ids(i, range(12)))
    return root


def split_folders(
    root: Path, splits: Mapping[str, int], values: Sequence[int] = (0, 1, 2, 255)
) -> Path:
    """root/<split>/images and root/<split>/masks, with a classes.txt of three classes."""
    for k, (split, count) in enumerate(splits.items()):
        for i in range(count):
            save(root / split / "images" / f"p{i}.png", picture(100 * k + i))
            save(root / split / "masks" / f"p{i}.png", ids(i, values))
    (root / "classes.txt").write_text("sky\nroad\npole\n")
    return root


def listed(root: Path, splits: Mapping[str, Sequence[str]], masks: str = "labels") -> Path:
    """root/images, root/labels and root/splits/<split>.txt, with a classes.json."""
    for split, names in splits.items():
        for i, name in enumerate(names):
            save(root / "images" / f"{name}.png", picture(i))
            save(root / masks / f"{name}.png", ids(i, (0, 1)))
        (root / "splits").mkdir(exist_ok=True)
        (root / "splits" / f"{split}.txt").write_text("\n".join(names) + "\n")
    (root / "classes.json").write_text(json.dumps(["background", "crack"]))
    return root
