"""Readers, the embedded street scenes, transforms and inspection of labeled images."""

from lossmaxpool.data.folders import Folders
from lossmaxpool.data.inspection import (
    ClassStatistics,
    Inspection,
    Problem,
    check_before_training,
    class_statistics,
    format_report,
    inspect_data,
)
from lossmaxpool.data.open import open_dataset
from lossmaxpool.data.published import (
    ADE20K,
    CITYSCAPES_LABEL_IDS,
    CamVid,
    Cityscapes,
    COCOStuff,
    MapillaryVistas,
    PascalVOC,
)
from lossmaxpool.data.sample import IGNORE_INDEX, DataError, LabelSet, Sample, SegmentationDataset
from lossmaxpool.data.street_scenes import StreetScenes
from lossmaxpool.data.transforms import (
    AugmentedDataset,
    EvalTransform,
    TrainTransform,
)
from lossmaxpool.data.wrapped import WrappedDataset
from lossmaxpool.options import DataConfig

__all__ = [
    "ADE20K", "CITYSCAPES_LABEL_IDS", "IGNORE_INDEX", "AugmentedDataset", "COCOStuff", "CamVid",
    "Cityscapes", "ClassStatistics", "DataConfig", "DataError", "EvalTransform", "Folders",
    "Inspection", "LabelSet", "MapillaryVistas", "PascalVOC", "Problem", "Sample",
    "SegmentationDataset", "StreetScenes", "TrainTransform", "WrappedDataset",
    "check_before_training", "class_statistics", "format_report", "inspect_data", "open_dataset",
]  # fmt: skip
