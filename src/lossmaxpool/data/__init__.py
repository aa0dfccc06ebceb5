"""Readers, the embedded street scenes, transforms and inspection of labelled images."""

from lossmaxpool.data.camvid import CamVid
from lossmaxpool.data.dataset import SegmentationDataset
from lossmaxpool.data.errors import DataError
from lossmaxpool.data.folders import Folders
from lossmaxpool.data.open import DataConfig, open_dataset
from lossmaxpool.data.sample import IGNORE_INDEX, LabelSet, Sample
from lossmaxpool.data.street_scenes import StreetScenes
from lossmaxpool.data.transforms import EvalTransform, TrainTransform
from lossmaxpool.data.views import AugmentedDataset, EvaluationDataset, collate_padded

__all__ = [
    "IGNORE_INDEX",
    "AugmentedDataset",
    "CamVid",
    "DataConfig",
    "DataError",
    "EvalTransform",
    "EvaluationDataset",
    "Folders",
    "LabelSet",
    "Sample",
    "SegmentationDataset",
    "StreetScenes",
    "TrainTransform",
    "collate_padded",
    "open_dataset",
]
