from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lossmaxpool.models import ModelConfig, ModelDescription

DESCRIPTION = ModelDescription(
    ModelConfig("FPN", "tu-test_resnet", "none", None, {"decoder_pyramid_channels": 32}),
    ("road", "sky"),
    ((128, 64, 128), (70, 130, 180)),
    (0.5, 0.5, 0.5),
    (0.25, 0.5, 1.0),
)


def test_survives_a_round_trip_through_plain_values() -> None:
    plain = json.loads(json.dumps(DESCRIPTION.as_dict()))
    assert ModelDescription.from_dict(plain) == DESCRIPTION


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("classes", None),
        ("mean", [0.5]),
        ("config", {"architectur": "FPN"}),
        ("colors", [[1, 2]]),
        ("colors", [[1, 2, 3]]),
    ],
)
def test_an_incomplete_description_is_refused(part: str, value: object) -> None:
    plain = DESCRIPTION.as_dict() | {part: value}
    with pytest.raises(ValueError, match="description of its network is incomplete"):
        ModelDescription.from_dict(plain)


def test_configurations_import_without_the_libraries_that_build_networks() -> None:
    """A command's help and a run folder's schema need DataConfig and ModelConfig at once."""
    code = (
        "import sys; from lossmaxpool.data import DataConfig; "
        "from lossmaxpool.inference import InferenceConfig; "
        "from lossmaxpool.models import ModelConfig; print(*sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"torchvision", "timm", "segmentation_models_pytorch", "scipy", "lightning"}
    assert not heavy & set(result.stdout.split())
