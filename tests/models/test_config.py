from __future__ import annotations

import json

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
