"""The file that names the classes of a user's own data.

``classes.txt`` has one name per line. ``classes.json`` is a list of names, or an object::

    {"names": ["background", "crack"],        required
     "colors": [[0, 0, 0], [220, 60, 40]],    for pictures; chosen where absent
     "ignore": 255,                           the id of unlabelled pixels
     "values": [0, 255]}                      the ids in the files, where not 0, 1, 2, ...
"""

from __future__ import annotations

import colorsys
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossmaxpool.data.errors import DataError
from lossmaxpool.data.names import unknown_choice
from lossmaxpool.data.sample import IGNORE_INDEX, LabelSet

CLASSES_FILES = ("classes.json", "classes.txt")
_KEYS = ("names", "colors", "ignore", "values")
_LARGEST_ID = 65535


@dataclass(frozen=True)
class ClassesFile:
    """What a classes file says.

    Attributes:
        labels: the classes.
        ids: id in the files -> class id or ``IGNORE_INDEX``.
        says_ignore: whether the file itself names the id of unlabelled pixels.
    """

    labels: LabelSet
    ids: dict[int, int]
    says_ignore: bool


def find_classes_file(root: Path) -> Path:
    """The classes file of a data folder.

    Raises:
        DataError: if there is none.
    """
    for name in CLASSES_FILES:
        if (root / name).is_file():
            return root / name
    raise DataError(
        f"There is no classes file in {root}. Put a classes.txt there with one class name per "
        "line, in the order of the ids, or a classes.json with a list of them."
    )


def read_classes_file(path: Path) -> ClassesFile:
    """Reads ``classes.json`` or ``classes.txt``.

    Args:
        path: the file; anything that does not end in .json is read as lines.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The classes file {path} cannot be read: {error}.") from error
    try:
        if path.suffix.lower() != ".json":
            names = [line.strip() for line in text.rstrip().splitlines()]
            if "" in names:
                # Leaving it out would shift every id behind it.
                raise DataError(
                    f"line {names.index('') + 1} is blank, and each line is the class of the next "
                    "id: give that id a name, or take the line out."
                )
            return _build({"names": names})
        content = json.loads(text)
        return _build(content if isinstance(content, dict) else {"names": content})
    except (DataError, json.JSONDecodeError) as error:
        raise DataError(f"The classes file {path} is malformed: {error}") from error


def _build(content: dict[str, Any]) -> ClassesFile:
    for key in content:
        if key not in _KEYS:
            raise DataError(unknown_choice("key", key, _KEYS))
    names = content.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError('it needs a list of names: ["background", "crack"] or {"names": [...]}.')
    colors = content.get("colors")
    labels = LabelSet(tuple(names), default_colors(len(names)) if colors is None else _rgb(colors))

    values = content.get("values", list(range(len(names))))
    ignore = content.get("ignore", IGNORE_INDEX)
    if not _are_ids(values) or len(values) != len(names) or len(set(values)) != len(values):
        raise DataError(
            f'"values" must be {len(names)} distinct ids of 0..{_LARGEST_ID}, got {values}.'
        )
    if not _are_ids([ignore]) or ("ignore" in content and ignore in values):
        raise DataError(
            f'"ignore" must be one id of 0..{_LARGEST_ID} that is no class, got {ignore}.'
        )
    # The default id of unlabelled pixels gives way to a class that the file puts there.
    ids = {ignore: IGNORE_INDEX} | {value: i for i, value in enumerate(values)}
    return ClassesFile(labels, ids, "ignore" in content)


def _are_ids(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value <= _LARGEST_ID for value in values
    )


def _rgb(colors: Any) -> tuple[tuple[int, int, int], ...]:
    if not isinstance(colors, list) or not all(
        _are_ids(color) and len(color) == 3 for color in colors
    ):
        raise DataError('"colors" must be a list of [red, green, blue], each of 0..255.')
    return tuple((red, green, blue) for red, green, blue in colors)


def default_colors(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Distinct colours: dark grey for class 0, then hues a golden angle apart."""
    colors = [(70, 70, 70)]
    for i in range(num_classes - 1):
        hue = (0.02 + i * 0.381966) % 1.0
        lightness = (0.55, 0.4, 0.7)[i // 5 % 3]
        red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.65)
        colors.append((round(255 * red), round(255 * green), round(255 * blue)))
    return tuple(colors)
