"""Loss max-pooling for semantic segmentation (Rota Bulò, Neuhold, Kontschieder, CVPR 2017)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lossmaxpool._version import __version__
from lossmaxpool.functional import (
    Pool,
    Reduction,
    Solution,
    loss_max_pool,
    max_pooling_cross_entropy,
    solve,
)
from lossmaxpool.losses import (
    BootstrappedCrossEntropyLoss,
    MaxPoolingBCEWithLogitsLoss,
    MaxPoolingCrossEntropyLoss,
    MaxPoolingLoss,
    median_frequency_weights,
)
from lossmaxpool.ops.dispatch import Backend, Explanation, explain_backend
from lossmaxpool.sampling import ClassIndex, DrawnCrops, PerformanceSampler, RunningIoU

if TYPE_CHECKING:
    from lossmaxpool import paper

__all__ = [
    "Backend",
    "BootstrappedCrossEntropyLoss",
    "ClassIndex",
    "DrawnCrops",
    "Explanation",
    "MaxPoolingBCEWithLogitsLoss",
    "MaxPoolingCrossEntropyLoss",
    "MaxPoolingLoss",
    "PerformanceSampler",
    "Pool",
    "Reduction",
    "RunningIoU",
    "Solution",
    "__version__",
    "explain_backend",
    "loss_max_pool",
    "max_pooling_cross_entropy",
    "median_frequency_weights",
    "paper",
    "solve",
]


def __getattr__(name: str) -> Any:
    if name == "paper":  # needs NumPy, which torch does not require
        return importlib.import_module("lossmaxpool.paper")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
