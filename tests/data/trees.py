"""Small data folders in the exact layouts that the readers expect."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from lossmaxpool.data.decode import palette_color

SIZE = (12, 16)
"""(height, width) of every picture here."""


def picture(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Random colors, (H, W, 3) uint8."""
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


def save_palette(path: Path, indices: np.ndarray) -> Path:
    """Writes ids as a palette PNG in Pascal VOC's colors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    mask.putpalette([channel for i in range(256) for channel in palette_color(i)])
    mask.save(path)
    return path


def cityscapes(
    root: Path,
    frames: Mapping[str, Sequence[str]],
    kinds: Sequence[str] = ("labelIds", "labelTrainIds"),
) -> Path:
    """Frames per split, as in "aachen/aachen_000000_000019", with masks of the kinds given."""
    values = {"labelIds": range(34), "labelTrainIds": (*range(19), 255)}
    for split, names in frames.items():
        for i, name in enumerate(names):
            save(root / "leftImg8bit" / split / f"{name}_leftImg8bit.png", picture(i))
            mask = root / "gtFine" / split / name
            for kind in kinds:
                save(mask.with_name(f"{mask.name}_gtFine_{kind}.png"), ids(i, values[kind]))
            # Files that lie beside them in the download.
            save(mask.with_name(f"{mask.name}_gtFine_color.png"), picture(i))
            mask.with_name(f"{mask.name}_gtFine_polygons.json").write_text("{}")
    return root


def voc(root: Path, splits: Mapping[str, Sequence[str]]) -> Path:
    """JPEGImages, SegmentationClass and ImageSets/Segmentation of the names per split."""
    listings = root / "ImageSets" / "Segmentation"
    listings.mkdir(parents=True)
    for split, names in splits.items():
        (listings / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
        for i, name in enumerate(names):
            save(root / "JPEGImages" / f"{name}.jpg", picture(i))
            save_palette(root / "SegmentationClass" / f"{name}.png", ids(i, (*range(21), 255)))
    return root


def sbd_mask(path: Path, mask: np.ndarray) -> Path:
    """Writes ids as SBD does: a MATLAB struct with the boundaries beside the segmentation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "Boundaries": np.empty((20, 1), dtype=object),
        "Segmentation": mask,
        "CategoriesPresent": np.unique(mask[mask > 0]).astype(np.uint8),
    }
    content["Boundaries"][:] = [[np.zeros(mask.shape)] for _ in range(20)]
    savemat(path, {"GTcls": content}, do_compression=True)
    return path


def sbd(root: Path, splits: Mapping[str, Sequence[str]]) -> Path:
    """benchmark_RELEASE: dataset/cls, train.txt and val.txt."""
    dataset = root / "dataset"
    for split, names in splits.items():
        for name in names:
            sbd_mask(dataset / "cls" / f"{name}.mat", ids(len(name), range(21)))
        (dataset / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    return root


def ade20k(root: Path, counts: Mapping[str, int]) -> Path:
    """ADEChallengeData2016; counts per folder ("training", "validation")."""
    for folder, count in counts.items():
        for i in range(1, count + 1):
            name = f"ADE_{folder[:5].removesuffix('i')}_{i:08d}"
            save(root / "images" / folder / f"{name}.jpg", picture(i))
            save(root / "annotations" / folder / f"{name}.png", ids(i, range(151)))
    return root


VISTAS_LABELS = (
    # readable, evaluate, color
    ("Bird", True, (165, 42, 42)),
    ("Ambiguous Barrier", False, (250, 170, 31)),
    ("Road", True, (128, 64, 128)),
    ("Unlabeled", False, (0, 0, 0)),
)


def vistas_config(path: Path, labels: Sequence[tuple[str, bool, Sequence[int]]]) -> Path:
    """A config file with the fields of Mapillary's."""
    entries = [
        {
            "name": f"object--{readable.lower()}", "readable": readable, "evaluate": evaluate,
            "instances": False, "color": color,
        }
        for readable, evaluate, color in labels
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": "1.1", "mapping": "public", "labels": entries}))
    return path


def mapillary(root: Path, names: Mapping[str, Sequence[str]], versions: Sequence[str]) -> Path:
    """Names per folder ("training", "validation"); version "" is the download of version 1."""
    for version in versions:
        config = f"config_{version}.json" if version else "config.json"
        vistas_config(root / config, VISTAS_LABELS)
        for folder, stems in names.items():
            for i, name in enumerate(stems):
                save(root / folder / "images" / f"{name}.jpg", picture(i))
                masks = root / folder / version / "labels"
                save_palette(masks / f"{name}.png", ids(i, range(len(VISTAS_LABELS))))
    return root


def coco_stuff(root: Path, names: Mapping[str, Sequence[str]], maps: str = "annotations") -> Path:
    """Names per folder ("train2017", "val2017"); the 11 ids that never occur do not."""
    unused = {11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90}
    values = [*(i for i in range(182) if i not in unused), 255]
    for folder, stems in names.items():
        for i, name in enumerate(stems):
            save(root / "images" / folder / f"{name}.jpg", picture(i))
            save(root / maps / folder / f"{name}.png", ids(i, values))
    return root
