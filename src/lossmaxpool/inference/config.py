"""How a trained network is applied to an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from lossmaxpool.inference.tiles import Tile, full_height_tiles


@dataclass(frozen=True)
class InferenceConfig:
    """What the network sees of an image, and how often.

    Args:
        tiling: "full": the whole image at once. "efficient": tiles of full height side by side.
            "optimized": the same with an overlap, each half of which is decided by the tile on its
            side (Rota Bulò et al. 2017, Sect. 4.1).
        tiles: number of tiles. Five is the paper's for "efficient"; for "optimized" the paper gives
            none: five is an assumption.
        overlap: columns that neighbours share in "optimized".
        flip: also show the mirrored image; twice the time.
        scales: sizes at which to show the image; the time grows with the sum of their squares. With
            several views, the mean of the class probabilities decides.

    Raises:
        ValueError: a value outside its range.

    Example:
        >>> [tile.owned.width for tile in InferenceConfig("optimized").cut(1024, 2048, 8)]
        [468, 368, 368, 368, 476]
    """

    tiling: Literal["full", "efficient", "optimized"] = "full"
    tiles: int = 5
    overlap: int = 200
    flip: bool = False
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if self.tiling not in ("full", "efficient", "optimized"):
            raise ValueError(
                f"tiling is {self.tiling!r}; expected 'full', 'efficient' or 'optimized'"
            )
        if self.tiles < 1:
            raise ValueError(f"tiles is {self.tiles}; expected at least 1")
        if self.overlap < 0:
            raise ValueError(f"overlap is {self.overlap}; expected 0 or more")
        # A list, as YAML has it, would make the configuration unhashable.
        object.__setattr__(self, "scales", tuple(self.scales))
        if not self.scales or not all(math.isfinite(s) and s > 0 for s in self.scales):
            raise ValueError(f"scales is {list(self.scales)}; expected one or more, positive")
        if len(set(self.scales)) < len(self.scales):
            raise ValueError(f"scales is {list(self.scales)}; the same scale twice adds nothing")

    def cut(self, height: int, width: int, stride: int) -> tuple[Tile, ...]:
        """The tiles of an image, which begin at multiples of the network's stride.

        Args:
            height: of the image.
            width: of the image.
            stride: as :func:`lossmaxpool.models.input_stride` says.
        """
        if self.tiling == "full":
            return full_height_tiles(height, width, count=1)
        overlap = self.overlap if self.tiling == "optimized" else 0
        return full_height_tiles(height, width, self.tiles, overlap, stride)

    @property
    def views(self) -> tuple[tuple[float, bool], ...]:
        """Scale and mirroring of each look at a tile."""
        mirrorings = (False, True) if self.flip else (False,)
        return tuple((scale, mirror) for scale in self.scales for mirror in mirrorings)
