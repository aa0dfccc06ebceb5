"""What a camera does to a view: exposure, blur, noise and compression."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter


def photograph(view: Image.Image, factor: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turns a drawing of several times the size into a photograph.

    Args:
        view: RGB, ``factor`` times as high and wide as the photograph.
        factor: of supersampling.
        rng: decides the flaws.

    Returns:
        (H, W, 3) uint8.
    """
    picture = view.reduce(factor)
    blur = rng.uniform(0.0, 0.55)
    if blur > 0.2:
        picture = picture.filter(ImageFilter.BoxBlur(blur))
    # Rows of all channels together: NumPy is slow along a last axis of three.
    pixels = np.asarray(picture).reshape(picture.height, -1)
    balance = rng.normal(1.0, 0.015, 3).astype(np.float32) * np.float32(rng.uniform(0.95, 1.15))
    exposed = pixels * np.tile(balance, picture.width)
    # The sum of two uniform bytes is close enough to a normal deviate, and cheap: its deviation
    # is 256 / sqrt(6) = 104.5.
    first, second = rng.integers(0, 256, (2, *pixels.shape), dtype=np.uint8)
    exposed += (first.astype(np.float32) + second - 255) * np.float32(rng.uniform(1.5, 5) / 104.5)
    developed = np.clip(exposed, 0, 255).astype(np.uint8).reshape(picture.height, -1, 3)
    store = BytesIO()
    Image.fromarray(developed).save(store, "JPEG", quality=int(rng.integers(55, 92)))
    return np.array(Image.open(store))
