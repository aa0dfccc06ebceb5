"""Loss max-pooling for semantic segmentation (Rota Bulò, Neuhold, Kontschieder, CVPR 2017)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lossmaxpool._version import __version__
from lossmaxpool.functional import Solution, loss_max_pool, solve
from lossmaxpool.losses import (
    BootstrappedCrossEntropyLoss,
    MaxPoolingBCEWithLogitsLoss,
    MaxPoolingCrossEntropyLoss,
    MaxPoolingLoss,
    median_frequency_weights,
)
from lossmaxpool.ops.fused.choice import Explanation, explain_backend
from lossmaxpool.sampling import PerformanceSampler

if TYPE_CHECKING:
    from lossmaxpool import paper

__all__ = [
    "BootstrappedCrossEntropyLoss",
    "Explanation",
    "MaxPoolingBCEWithLogitsLoss",
    "MaxPoolingCrossEntropyLoss",
    "MaxPoolingLoss",
    "PerformanceSampler",
    "Solution",
    "__version__",
    "explain_backend",
    "loss_max_pool",
    "median_frequency_weights",
    "paper",
    "solve",
]


def __getattr__(name: str) -> Any:
    if name == "paper":  # needs NumPy, which torch does not
        return importlib.import_module("lossmaxpool.paper")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
