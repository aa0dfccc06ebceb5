"""The paper's settings, one YAML file per data set, for every method.

Each value says where it comes from: the section of Rota Bulò et al. 2017 that states it, or
"assumed".
"""

from __future__ import annotations

from pathlib import Path

from lossmaxpool.spelling import did_you_mean

_FOLDER = Path(__file__).parent
RECIPES = tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def recipe_file(name: str) -> Path:
    """Return the YAML file of a recipe.

    Args:
        name: "camvid", "cityscapes" or "voc".

    Raises:
        ValueError: There is no such recipe.

    Example:
        >>> recipe_file("voc").name
        'voc.yaml'
    """
    if name not in RECIPES:
        raise ValueError(
            f"there is no recipe {name!r}. {did_you_mean(name, RECIPES)} "
            f"There are: {', '.join(RECIPES)}."
        )
    return _FOLDER / f"{name}.yaml"
