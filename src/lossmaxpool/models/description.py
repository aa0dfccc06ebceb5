"""The description of a network in a checkpoint: what is needed to rebuild and use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lossmaxpool.options import ModelConfig


@dataclass(frozen=True)
class ModelDescription:
    """The information to rebuild and use a trained network: architecture, classes, normalization.

    Training stores ``as_dict()`` in every checkpoint under :attr:`KEY`; evaluation and prediction
    read it back. Plain values only, so that a checkpoint loads without executing code.

    Args:
        config: the network.
        classes: names of the C classes, in the order of the logits.
        colors: one RGB triple in [0, 255] per class.
        mean: of the RGB values in [0, 1] that the network was trained with.
        std: likewise.
    """

    config: ModelConfig
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    KEY = "lossmaxpool_model"  # no annotation: a class constant, not a field

    def as_dict(self) -> dict[str, Any]:
        """Convert to lists, numbers and strings."""
        return {
            "config": asdict(self.config),
            "classes": list(self.classes),
            "colors": [list(color) for color in self.colors],
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelDescription:
        """The inverse of :meth:`as_dict`.

        Raises:
            ValueError: a part is missing or of the wrong type.
        """
        try:
            description = cls(
                config=ModelConfig(**values["config"]),
                classes=tuple(values["classes"]),
                colors=tuple((int(r), int(g), int(b)) for r, g, b in values["colors"]),
                mean=_triple(values["mean"]),
                std=_triple(values["std"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"the checkpoint's description of its network is incomplete: {error!r}"
            ) from error
        if len(description.classes) != len(description.colors):
            raise ValueError(
                "the checkpoint's description of its network is incomplete: "
                f"{len(description.classes)} classes, {len(description.colors)} colors"
            )
        return description


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)
