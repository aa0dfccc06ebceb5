"""The masks of the Semantic Boundaries Dataset, which are MATLAB files."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from lossmaxpool.data.errors import DataError


def sbd_ids(content: bytes, subject: str) -> NDArray[np.uint8]:
    """The category ids of a file of SBD's ``cls`` folder: ``GTcls.Segmentation``.

    Args:
        content: of a .mat file.
        subject: the mask, for the message.

    Returns:
        (H, W) uint8 ids, 0..20.

    Raises:
        DataError: the file is damaged or of another content, or SciPy is not installed.
    """
    try:
        from scipy.io import loadmat  # type: ignore[import-untyped]
    except ImportError as error:
        raise DataError(
            f"{subject} is a MATLAB file, which SciPy reads: pip install scipy. Or put the "
            "masks as PNG files into SegmentationClassAug and leave the SBD folder out."
        ) from error
    try:
        variables = loadmat(BytesIO(content), variable_names=["GTcls"])
    except Exception as error:
        # SciPy raises whatever its parser trips over.
        raise DataError(f"{subject} is damaged or no MATLAB file: {error}.") from error
    try:
        ids = np.asarray(variables["GTcls"]["Segmentation"][0, 0])
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(
            f"{subject} has no GTcls.Segmentation: it is not from SBD's folder 'cls'."
        ) from error
    if ids.ndim != 2 or ids.dtype != np.uint8:
        raise DataError(
            f"{subject} has a GTcls.Segmentation of {ids.dtype} and shape {ids.shape}, but it must "
            "be one byte per pixel, height x width."
        )
    return ids
