"""Open a data set from a configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from lossmaxpool.data.folders import Folders
from lossmaxpool.data.published import (
    ADE20K,
    CamVid,
    Cityscapes,
    COCOStuff,
    MapillaryVistas,
    PascalVOC,
    VistasVersion,
)
from lossmaxpool.data.sample import (
    DataError,
    SegmentationDataset,
    check_choice,
    unknown_choice,
)
from lossmaxpool.data.street_scenes import StreetScenes
from lossmaxpool.import_paths import import_path

DataName = Literal[
    "street-scenes", "camvid", "cityscapes", "voc", "ade20k", "mapillary-vistas", "coco-stuff",
    "folders", "python",
]  # fmt: skip


@dataclass
class DataConfig:
    """Which data set, and where.

    Attributes:
        name: "street-scenes" (drawn on the fly), "folders" (your own images and masks), or a
            published set: "camvid", "cityscapes", "voc", "ade20k", "mapillary-vistas",
            "coco-stuff", or "python": objects of your own. None is "python" where there is
            ``train``, "folders" where there is a root, and "street-scenes" elsewhere.
        root: folder of the data set; not for street-scenes.
        train_split: images to train on. CamVid: "train" or "sequence-train". VOC: "train",
            "trainval" or "train_aug" (10,582 images).
        val_split: images to evaluate on. CamVid: "val" or "sequence-val".
        sbd: folder of SBD, for "train_aug" of "voc"; SegmentationClassAug of the root where absent.
        vistas_version: labels of "mapillary-vistas", "v1.2" or "v2.0".
        classes: classes file of "folders"; classes.json or classes.txt of the root where absent.
        image_range: values of black and white in 16-bit pictures of "folders", as [0, 4095] for
            those of a 12-bit camera; 0 and 65535 where absent.
        train: import path of a function without arguments that returns the training images as a
            SegmentationDataset, for "python": "package.module:function".
        val: the same for the images to evaluate on.
        scene_size: height and width of a street scene in pixels.
        train_scenes: number of street scenes to train on.
        val_scenes: number of street scenes to evaluate on.
        scene_seed: seed of the street scenes.

    Raises:
        ValueError: a root for the street scenes, which have none, or import paths beside the name
            of another data set.
    """

    name: DataName | None = None
    root: Path | None = None
    train_split: str = "train"
    val_split: str = "val"
    sbd: Path | None = None
    vistas_version: VistasVersion = "v1.2"
    classes: Path | None = None
    image_range: tuple[float, float] | None = None
    train: str | None = None
    val: str | None = None
    scene_size: tuple[int, int] = (128, 192)
    train_scenes: int = 512
    val_scenes: int = 64
    scene_seed: int = 0

    def __post_init__(self) -> None:
        paths = [path for path in (self.train, self.val) if path is not None]
        if len(paths) == 1:
            raise ValueError(f"data.train and data.val go together, got {paths[0]} alone")
        if paths and (self.name not in (None, "python") or self.root is not None):
            raise ValueError(
                f"data.train is {self.train}, which opens the data itself: leave out data.name "
                "and data.root"
            )
        if paths:
            self.name = "python"
        if self.name is None:
            self.name = "street-scenes" if self.root is None else "folders"
        elif self.name == "street-scenes" and self.root is not None:
            raise ValueError(
                f"data.root is {self.root}, but the street-scenes are drawn and have no folder: "
                "leave out data.name for your own images and masks, or data.root for the scenes"
            )


def open_dataset(config: DataConfig, split: str) -> SegmentationDataset:
    """Opens one split of a data set.

    Args:
        config: the data set.
        split: usually ``config.train_split`` or ``config.val_split``.

    Returns:
        The data set.

    Raises:
        DataError: if it is not there or not as expected.

    Example:
        >>> dataset = open_dataset(DataConfig(), "val")
        >>> len(dataset), tuple(dataset[0].image.shape)
        (64, (3, 128, 192))
    """
    if config.image_range is not None and config.name != "folders":
        raise DataError(
            f"image_range is for the data set 'folders'; '{config.name}' has pictures of 8 bits."
        )
    if config.name == "street-scenes":
        num_images = config.val_scenes if split == "val" else config.train_scenes
        return StreetScenes(split, num_images, config.scene_size, config.scene_seed)
    if config.name not in get_args(DataName):
        raise DataError(unknown_choice("data set", str(config.name), get_args(DataName)))
    if config.name == "python":
        return _from_python(config, split)
    if config.root is None:
        raise DataError(f"The data set '{config.name}' needs a root: the folder that holds it.")
    readers: dict[str, Callable[[Path, str], SegmentationDataset]] = {
        "camvid": CamVid,
        "cityscapes": Cityscapes,
        "voc": partial(PascalVOC, sbd=config.sbd),
        "ade20k": ADE20K,
        "mapillary-vistas": partial(MapillaryVistas, version=config.vistas_version),
        "coco-stuff": COCOStuff,
        "folders": partial(Folders, classes=config.classes, image_range=config.image_range),
    }
    return readers[str(config.name)](config.root, split)


def _from_python(config: DataConfig, split: str) -> SegmentationDataset:
    paths = {config.train_split: config.train, config.val_split: config.val}
    check_choice("split", split, paths)
    path = paths[split]
    if path is None:
        raise DataError(
            "The data set was an object given from Python: give one again (train_set and val_set), "
            "or import paths of functions that return them (data.train and data.val)."
        )
    try:
        factory = import_path(path, "The data set")
    except ValueError as error:
        raise DataError(f"{error}.") from error
    if not callable(factory):
        raise DataError(f"The data set is {path!r}: expected a function that returns one.")
    found = factory()
    if not isinstance(found, SegmentationDataset):
        raise DataError(
            f"{path} returned a {type(found).__name__}: expected a SegmentationDataset; wrap other "
            "data sets, as in WrappedDataset(dataset, labels, image=..., mask=...)."
        )
    return found
