from __future__ import annotations

import pytest
from torch import nn

from lossmaxpool.training.config import OptimisationConfig
from lossmaxpool.training.module import parameter_groups, rate_factor


def test_rate_falls_to_zero_with_the_power() -> None:
    optimisation = OptimisationConfig(steps=10, poly_power=2.0)
    assert [rate_factor(step, optimisation) for step in (0, 5, 10)] == [1.0, 0.25, 0.0]


def test_warmup_rises_to_the_decay() -> None:
    optimisation = OptimisationConfig(steps=10, warmup=4, poly_power=1.0)
    factors = [rate_factor(step, optimisation) for step in range(4)]
    assert factors == pytest.approx([0.25, 0.5 * 0.9, 0.75 * 0.8, 0.7])


def test_encoder_learns_at_the_base_rate() -> None:
    model = nn.ModuleDict({"encoder": nn.Linear(2, 2), "decoder": nn.Linear(2, 2)})
    model["decoder"].bias.requires_grad_(False)
    encoder, head = parameter_groups(model, OptimisationConfig(lr=0.1, head_lr_multiplier=10))
    assert (encoder["lr"], head["lr"]) == (0.1, 1.0)
    assert encoder["params"] == list(model["encoder"].parameters())
    assert head["params"] == [model["decoder"].weight]
