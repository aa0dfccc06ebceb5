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
    blur = rng.uniform(0.0, 0.75)
    if blur > 0.25:
        picture = picture.filter(ImageFilter.GaussianBlur(blur))
    pixels = np.asarray(picture, dtype=np.float32)
    balance = rng.normal(1.0, 0.015, 3).astype(np.float32) * np.float32(rng.uniform(0.95, 1.15))
    grain = rng.uniform(1.5, 5.0)
    noise = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(grain)
    exposed = np.clip(pixels * balance + noise, 0, 255).astype(np.uint8)
    store = BytesIO()
    Image.fromarray(exposed).save(store, "JPEG", quality=int(rng.integers(55, 92)))
    return np.array(Image.open(store))
