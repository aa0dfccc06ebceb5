"""The masks of the Semantic Boundaries Dataset, which are MATLAB files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lossmaxpool.data.errors import DataError


def read_sbd_ids(path: Path) -> NDArray[np.uint8]:
    """The category ids of a file of SBD's ``cls`` folder: ``GTcls.Segmentation``.

    Args:
        path: a .mat file.

    Returns:
        (H, W) uint8 ids, 0..20.

    Raises:
        DataError: naming the file, if it is missing, damaged or of another content, or if SciPy is
            not installed.
    """
    try:
        from scipy.io import loadmat  # type: ignore[import-untyped]
    except ImportError as error:
        raise DataError(
            f"The mask {path} is a MATLAB file, which SciPy reads: pip install scipy. Or put the "
            "masks as PNG files into SegmentationClassAug and leave the SBD folder out."
        ) from error
    try:
        content = loadmat(path, variable_names=["GTcls"])
    except FileNotFoundError:
        raise DataError(f"The mask {path} does not exist.") from None
    except Exception as error:
        # SciPy raises whatever its parser trips over.
        raise DataError(f"The mask {path} is damaged or no MATLAB file: {error}.") from error
    try:
        ids = np.asarray(content["GTcls"]["Segmentation"][0, 0])
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(
            f"The mask {path} has no GTcls.Segmentation: it is not from SBD's folder 'cls'."
        ) from error
    if ids.ndim != 2 or ids.dtype != np.uint8:
        raise DataError(
            f"GTcls.Segmentation of {path} is {ids.dtype} of shape {ids.shape}, but must be one "
            "byte per pixel, height x width."
        )
    return ids
