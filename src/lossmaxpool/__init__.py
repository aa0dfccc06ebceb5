"""Loss max-pooling for semantic segmentation (Rota Bulò, Neuhold, Kontschieder, CVPR 2017)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lossmaxpool._version import __version__

if TYPE_CHECKING:
    from lossmaxpool import paper
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

__all__ = [
    "Backend", "BootstrappedCrossEntropyLoss", "ClassIndex", "DrawnCrops", "Explanation",
    "LogitAdjustedLoss", "LossSchedule", "MaxPoolingBCEWithLogitsLoss",
    "MaxPoolingCrossEntropyLoss", "MaxPoolingLoss", "OHEMCrossEntropyLoss", "PerformanceSampler",
    "Pool", "Reduction", "RunningIoU", "Schedule", "Solution", "__version__",
    "effective_number_weights", "enet_weights", "explain_backend", "inverse_sqrt_frequency_weights",
    "loss_max_pool", "max_pooling_cross_entropy", "median_frequency_weights", "paper", "solve",
]  # fmt: skip


# The modules of the names above. They are imported with the first name that is used, as they need
# torch: the command and the reports, which do not, begin at once.
_HOMES = ("functional", "losses", "sampling", "ops.dispatch")
# paper needs NumPy, which torch does not require.
_MODULES = frozenset({"functional", "losses", "metrics", "ops", "paper", "sampling"})


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"lossmaxpool.{name}")
    if name in __all__:
        for home in _HOMES:
            found = getattr(importlib.import_module(f"lossmaxpool.{home}"), name, None)
            if found is not None:
                globals()[name] = found
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
