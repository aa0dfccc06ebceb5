"""Open a data set from a configuration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

from lossmaxpool.data.folders import Folders
from lossmaxpool.data.published import (
    ADE20K,
    CamVid,
    Cityscapes,
    COCOStuff,
    MapillaryVistas,
    PascalVOC,
)
from lossmaxpool.data.sample import (
    DataError,
    SegmentationDataset,
    check_choice,
    unknown_choice,
)
from lossmaxpool.data.street_scenes import StreetScenes
from lossmaxpool.import_paths import import_path, needed, reason_of
from lossmaxpool.options import DataConfig, DataName


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
    path, factory = find_function(config, split)
    try:
        found = factory()
    except DataError:
        raise
    except Exception as error:  # whatever the function raises
        raise DataError(f"{path} fails with {reason_of(error)}.") from error
    if not isinstance(found, SegmentationDataset):
        raise DataError(
            f"{path} returned a {type(found).__name__}: expected a SegmentationDataset; wrap other "
            "data sets, as in WrappedDataset(dataset, labels, image=..., mask=...)."
        )
    return found


def find_function(config: DataConfig, split: str) -> tuple[str, Callable[[], Any]]:
    """Return the function that opens a split of a data set by import path, without calling it.

    Raises:
        DataError: there is none, it cannot be imported, or it takes arguments.
    """
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
    if needed(factory):
        raise DataError(
            f"{path} needs {' and '.join(needed(factory))}: expected a function that is "
            "called without arguments; write one that fills them."
        )
    return path, factory
