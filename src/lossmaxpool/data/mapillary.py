"""Mapillary Vistas: street scenes from everywhere, in the labels of version 1.2 or 2.0.

References:
    Neuhold et al. 2017, "The Mapillary Vistas dataset for semantic understanding of street scenes".
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

from lossmaxpool.data.files import FileDataset, Series, find_root, pair_up
from lossmaxpool.data.sample import IGNORE_INDEX, DataError, LabelSet, check_choice
from lossmaxpool.options import VistasVersion

SPLITS = {"train": 18_000, "val": 2_000}
"""Published number of images of each split."""

_FOLDERS = {"train": "training", "val": "validation"}
_EXPECTED = (
    "training/images/*.jpg, validation/images/*.jpg and, beside the images, labels/*.png (with "
    "config.json), v1.2/labels/*.png (with config_v1.2.json) or v2.0/labels/*.png (with "
    "config_v2.0.json) there"
)


class MapillaryVistas(FileDataset):
    """Mapillary Vistas, with the classes that the download's config file lists.

    The classes are the labels marked as evaluated (65 of the 66 of v1.2), in the file's order.
    The other labels are treated as unlabeled. The test split has no public masks.

    Args:
        root: the folder that holds ``training``, ``validation`` and the config file.
        split: "train" or "val".
        version: of the labels, "v1.2" or "v2.0".

    Raises:
        DataError: for an unknown split or version, a wrong root, a malformed config file, or
            missing images or masks.
    """

    def __init__(self, root: Path, split: str, version: VistasVersion = "v1.2") -> None:
        check_choice("split of Mapillary Vistas", split, SPLITS)
        check_choice("version of Mapillary Vistas", version, get_args(VistasVersion))
        name = f"mapillary-vistas-{version}/{split}"
        folder = _FOLDERS[split]
        root = find_root(root, "Mapillary Vistas", (f"{folder}/images",), _EXPECTED)
        config, labels_folder = root / f"config_{version}.json", f"{version}/labels"
        if version == "v1.2" and not config.is_file():
            # The version 1 download has no version subfolders.
            config, labels_folder = root / "config.json", "labels"
        labels, ids = _read_config(config)
        images = Series(root / folder / "images", ".jpg")
        masks = Series(root / folder / labels_folder, ".png")
        pairs = pair_up(name, images, masks, published=SPLITS[split])
        super().__init__(name, labels, pairs, ids)


def _read_config(path: Path) -> tuple[LabelSet, dict[int, int]]:
    """The evaluated labels, and file id -> class id."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["labels"]
        evaluated = [i for i, entry in enumerate(entries) if entry["evaluate"]]
        labels = LabelSet(
            tuple(str(entries[i]["readable"]) for i in evaluated),
            tuple((*map(int, entries[i]["color"]),) for i in evaluated),  # type: ignore[misc]
        )
    except OSError as error:
        raise DataError(
            f"The list of labels {path} cannot be read: {error}. Expected {_EXPECTED}."
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is no list of Mapillary Vistas' labels ({error!r}): it must hold "
            '{"labels": [{"readable": ..., "evaluate": ..., "color": [r, g, b]}, ...]}.'
        ) from error
    ids = dict.fromkeys(range(len(entries)), IGNORE_INDEX)
    ids |= {label: c for c, label in enumerate(evaluated)}
    return labels, ids
