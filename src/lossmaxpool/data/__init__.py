"""Readers, the embedded street scenes, transforms and inspection of labelled images."""

from lossmaxpool.data.camvid import CamVid
from lossmaxpool.data.dataset import SegmentationDataset
from lossmaxpool.data.errors import DataError
from lossmaxpool.data.folders import Folders
from lossmaxpool.data.inspection import (
    ClassStatistics,
    Inspection,
    Problem,
    class_statistics,
    format_report,
    inspect_data,
)
from lossmaxpool.data.open import DataConfig, open_dataset
from lossmaxpool.data.sample import IGNORE_INDEX, LabelSet, Sample
from lossmaxpool.data.street_scenes import StreetScenes
from lossmaxpool.data.transforms import EvalTransform, TrainTransform
from lossmaxpool.data.views import AugmentedDataset, EvaluationDataset, collate_padded

__all__ = [
    "IGNORE_INDEX",
    "AugmentedDataset",
    "CamVid",
    "ClassStatistics",
    "DataConfig",
    "DataError",
    "EvalTransform",
    "EvaluationDataset",
    "Folders",
    "Inspection",
    "LabelSet",
    "Problem",
    "Sample",
    "SegmentationDataset",
    "StreetScenes",
    "TrainTransform",
    "class_statistics",
    "collate_padded",
    "format_report",
    "inspect_data",
    "open_dataset",
]
