"""The grid of a sweep."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from lossmaxpool.training.sweep import Grid, plan
from tests.training.runs import tiny

OUT = Path("out")


def test_every_setting_once_and_p_only_where_it_matters() -> None:
    grid = Grid(("base", "loss-only", "lmp"), (1.0, math.inf), (0.25, 1.0), (0, 1))
    runs = plan(tiny(), grid, OUT)
    assert len({folder for _, folder in runs}) == len(runs) == 2 * (1 + 4 + 4)
    for config, folder in runs:
        assert folder.parent == OUT
        assert folder.name.startswith(config.method)
        assert folder.name.endswith(f"seed{config.seed}")
        if config.method == "base":
            assert config.loss == tiny().loss
        else:
            assert folder.name.split("-seed")[0].endswith(
                f"p{config.loss.p:g}-m{config.loss.min_support:g}"
            )
    seeds = [config.seed for config, _ in runs]
    assert seeds == sorted(seeds), "an interrupted sweep has whole seeds"


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ({"p": ()}, "p is .*expected at least one value"),
        ({"seeds": (0, 0)}, "seeds are .*each once"),
        ({"p": (0.5,)}, r"p must be a norm exponent in \[1, inf\], got 0.5"),
        ({"min_support": (0.0,)}, "min_support must be a share"),
    ],
)
def test_a_grid_that_is_none(axis: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Grid(**axis)
