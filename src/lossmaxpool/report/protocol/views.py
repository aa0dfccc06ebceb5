"""How an evaluation looked at the images, in words: scores of different views do not compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What training does when it evaluates, and the paper on Pascal VOC.
WHOLE = "whole images"
# The paper's: five tiles, 200 columns of overlap. Another number is told.
_TILES, _OVERLAP = 5, 200


def view_of(inference: Mapping[str, Any]) -> str:
    """The words for the options of an inference.

    Args:
        inference: tiling, tiles, overlap, flip and scales; what is absent is at its default.

    Returns:
        Words that differ where the scores would.

    Example:
        >>> view_of({"tiling": "optimized", "overlap": 100, "flip": True})
        'optimized tiling, overlap 100, flip'
    """
    tiling = inference.get("tiling", "full")
    words = [WHOLE if tiling == "full" else f"{tiling} tiling"]
    if tiling != "full" and inference.get("tiles", _TILES) != _TILES:
        words.append(f"{inference['tiles']} tiles")
    if tiling == "optimized" and inference.get("overlap", _OVERLAP) != _OVERLAP:
        words.append(f"overlap {inference['overlap']}")
    if inference.get("flip"):
        words.append("flip")
    scales = list(inference.get("scales", [1.0]))
    if scales != [1.0]:
        words.append("scales " + ", ".join(f"{scale:g}" for scale in scales))
    return ", ".join(words)
