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
    LogitAdjustedLoss,
    LossSchedule,
    MaxPoolingBCEWithLogitsLoss,
    MaxPoolingCrossEntropyLoss,
    MaxPoolingLoss,
    OHEMCrossEntropyLoss,
    Schedule,
    effective_number_weights,
    enet_weights,
    inverse_sqrt_frequency_weights,
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
    "LogitAdjustedLoss",
    "LossSchedule",
    "MaxPoolingBCEWithLogitsLoss",
    "MaxPoolingCrossEntropyLoss",
    "MaxPoolingLoss",
    "OHEMCrossEntropyLoss",
    "PerformanceSampler",
    "Pool",
    "Reduction",
    "RunningIoU",
    "Schedule",
    "Solution",
    "__version__",
    "effective_number_weights",
    "enet_weights",
    "explain_backend",
    "inverse_sqrt_frequency_weights",
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
