"""Tiles of random texture, made once per process from fixed seeds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
"""Pictures are float32 and planar, (3, H, W): NumPy is slow along a last axis of three."""
T = TypeVar("T")

TILE = 256


@cache
def tile(roughness: float) -> Floats:
    """Texture that repeats without a seam.

    Args:
        roughness: exponent a of its 1/f^a spectrum: 0 is white, 2 is like clouds.

    Returns:
        (256, 256) float32 of mean 0 and standard deviation 1.
    """
    rng = np.random.default_rng(int(1000 * roughness))
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None, :])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE))) * frequency**-roughness
    texture = np.fft.irfft2(spectrum, s=(TILE, TILE))
    scaled: Floats = ((texture - texture.mean()) / texture.std()).astype(np.float32)
    return scaled


def sample(roughness: float, y: NDArray[np.floating], x: NDArray[np.floating]) -> Floats:
    """The texture at any coordinates, which broadcast against each other."""
    rows = y.astype(np.int32) & (TILE - 1)
    columns = x.astype(np.int32) & (TILE - 1)
    values: Floats = np.take(tile(roughness).ravel(), rows * TILE + columns)
    return values


def channels(values: Sequence[float]) -> Floats:
    """A colour as (3, 1, 1) float32, which broadcasts over a planar picture."""
    return np.array(values, dtype=np.float32).reshape(3, 1, 1)


def pick(rng: Random | np.random.Generator, options: Sequence[T]) -> T:
    """One of several options, all equally likely."""
    return options[int(rng.random() * len(options))]
