"""The explorer: one HTML page that shows which weights p and m give to the losses of an image.

A page holds everything: pictures, losses, and the operator's mathematics in JavaScript
(``mathematics.js``). It needs no server and no network.
"""

from __future__ import annotations

from lossmaxpool.explorer.page import (
    LossMap,
    example_page,
    explorer_page,
    loss_map,
    loss_maps,
    save_page,
)

__all__ = ["LossMap", "example_page", "explorer_page", "loss_map", "loss_maps", "save_page"]
