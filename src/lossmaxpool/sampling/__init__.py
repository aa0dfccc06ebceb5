"""The complementary sampler, which draws crops by the inverse of the running IoU."""

from lossmaxpool.crops import Span, random_span
from lossmaxpool.sampling.class_index import (
    CacheError,
    ClassIndex,
    cache_folders,
    file_fingerprint,
)
from lossmaxpool.sampling.drawn_crops import DrawnCrops
from lossmaxpool.sampling.draws import Draw, class_probabilities, random_pixel
from lossmaxpool.sampling.running_iou import RunningIoU
from lossmaxpool.sampling.sampler import PerformanceSampler

__all__ = [
    "CacheError", "ClassIndex", "Draw", "DrawnCrops", "PerformanceSampler", "RunningIoU", "Span",
    "cache_folders", "class_probabilities", "file_fingerprint", "random_pixel", "random_span",
]  # fmt: skip
