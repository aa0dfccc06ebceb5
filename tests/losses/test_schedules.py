"""Schedule and LossSchedule: p and min_support that move over the steps."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from lossmaxpool import (
    LogitAdjustedLoss,
    LossSchedule,
    MaxPoolingBCEWithLogitsLoss,
    MaxPoolingCrossEntropyLoss,
    MaxPoolingLoss,
    Schedule,
)
from tests.cases import labeled
from tests.reference import assert_agree
from tests.tolerances import FLOAT32, FLOAT64

INF = math.inf


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("linear", [1.0, 0.75, 0.5, 0.25, 0.0]),
        ("cosine", [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0.0]),
    ],
)
def test_the_curves(kind: Any, expected: list[float]) -> None:
    schedule = Schedule(kind, 1.0, 0.0, steps=8)
    assert [schedule(step) for step in (0, 2, 4, 6, 8)] == pytest.approx(expected, abs=FLOAT64)
    assert schedule(9) == schedule(10**9) == 0.0


def test_a_constant_stays() -> None:
    assert {Schedule("constant", 0.3)(step) for step in (0, 5, 10**6)} == {0.3}
    assert Schedule("constant", INF).norm(7) == INF


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize("ends", [(0.1, 1.0), (1.0, 0.1), (1 / 3, 0.7), (0.7, 0.7)])
def test_no_value_leaves_the_ends_by_rounding(kind: Any, ends: tuple[float, float]) -> None:
    schedule = Schedule(kind, *ends, steps=997)
    values = [schedule(step) for step in range(1000)]
    assert values[0] == ends[0]
    assert values[-1] == ends[1]
    assert min(values) == min(ends)
    assert max(values) == max(ends)
    assert values == sorted(values, reverse=ends[0] > ends[1])


@pytest.mark.parametrize("ends", [(1.0, 2.0), (2.0, 1.0), (1.3, INF), (INF, 1.0), (INF, INF)])
@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_the_exponent_moves_in_its_reciprocal(kind: Any, ends: tuple[float, float]) -> None:
    schedule = Schedule(kind, *ends, steps=100)
    plain = Schedule(kind, 1 / ends[0], 1 / ends[1], steps=100)
    values = [schedule.norm(step) for step in range(101)]
    assert (values[0], values[-1]) == ends
    assert all(1 <= p <= INF for p in values)
    assert [1 / p for p in values] == pytest.approx(
        [plain(step) for step in range(101)], abs=FLOAT64
    )


def test_the_largest_weight_moves_evenly_in_its_logarithm() -> None:
    """``tau n = (n/m)^(1/p)``: from the mean, where it is 1, to that of p = 1, which is 4."""
    schedule = Schedule("linear", INF, 1.0, steps=4)
    caps = [4 ** (1 / schedule.norm(step)) for step in range(5)]
    assert caps == pytest.approx([1, 2**0.5, 2, 2**1.5, 4])


def test_a_loss_follows_its_schedules() -> None:
    criterion = MaxPoolingCrossEntropyLoss()
    schedule = LossSchedule(
        criterion,
        p=Schedule("linear", INF, 1.25, steps=4),
        min_support=Schedule("linear", 1.0, 0.2, steps=4),
    )
    seen = [(criterion.p, criterion.min_support)]
    for _ in range(5):
        schedule.step()
        seen.append((criterion.p, criterion.min_support))
        assert schedule.values() == {"p": criterion.p, "min_support": criterion.min_support}
    assert [p for p, _ in seen] == pytest.approx([INF, 5.0, 2.5, 5 / 3, 1.25, 1.25])
    assert [m for _, m in seen] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0.2])
    assert schedule.values(2) == {"p": 2.5, "min_support": pytest.approx(0.6)}


def test_the_loss_itself_moves() -> None:
    logits, target = labeled(2, 5, 9, 11)
    criterion = MaxPoolingCrossEntropyLoss()
    schedule = LossSchedule(criterion, p=Schedule("linear", INF, 1.0, steps=3))
    values = []
    for _ in range(4):
        values.append(float(criterion(logits, target)))
        schedule.step()
    assert values == sorted(values)
    assert values[0] == float(MaxPoolingCrossEntropyLoss(p=INF)(logits, target))
    assert values[-1] == float(MaxPoolingCrossEntropyLoss(p=1.0)(logits, target))


def test_it_changes_as_rarely_as_asked() -> None:
    criterion = MaxPoolingLoss(nn.L1Loss(reduction="none"))
    schedule = LossSchedule(criterion, min_support=Schedule("linear", 1.0, 0.1, steps=9), every=3)
    seen = [criterion.min_support]
    for _ in range(11):
        schedule.step()
        seen.append(criterion.min_support)
    assert seen == pytest.approx([1.0] * 3 + [0.7] * 3 + [0.4] * 3 + [0.1] * 3)
    assert criterion.p == 1.3


def test_a_resumed_schedule_goes_on_where_it_was() -> None:
    moves = {"min_support": Schedule("cosine", 1.0, 0.25, steps=10)}
    first, second = MaxPoolingCrossEntropyLoss(), MaxPoolingCrossEntropyLoss()
    schedule = LossSchedule(first, **moves)
    for _ in range(4):
        schedule.step()
    resumed = LossSchedule(second, **moves)
    resumed.load_state_dict(schedule.state_dict())
    assert second.min_support == first.min_support
    schedule.step()
    resumed.step()
    assert second.min_support == first.min_support


def test_losses_inside_a_module_are_found() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(p=0.5)  # its p is another one
            self.one = MaxPoolingBCEWithLogitsLoss()
            self.two = LogitAdjustedLoss(MaxPoolingCrossEntropyLoss(), [[5, 5]])

    both = Both()
    LossSchedule(both, p=Schedule("constant", 2.0))
    assert both.one.p == both.two.criterion.p == 2.0
    assert both.drop.p == 0.5


def test_any_module_with_the_attributes_moves() -> None:
    module = nn.Module()
    module.min_support = 0.0  # type: ignore[assignment]
    LossSchedule(module, min_support=Schedule("constant", 0.5))
    assert module.min_support == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lineal", 1, 0), "kind must be one of .* got 'lineal'. Did you mean 'linear'"),
        (("linear", 1), 'kind "linear" needs an end, got None'),
        (("linear", 1, 0), 'kind "linear" needs steps, an integer >= 1, got 0'),
        (("cosine", 1, 0, 2.5), "needs steps, an integer >= 1, got 2.5"),
        (("cosine", 1, 0, True), "needs steps, an integer >= 1, got True"),
        (("constant", 1, 0), 'kind "constant" stays at its start, 1, but end is 0'),
        (("linear", "1", 0, 5), "start of a schedule must be a number, got '1'"),
        (("linear", 1, math.nan, 5), "end of a schedule must be a number, got nan"),
        (("linear", None, 1, 5), "start of a schedule must be a number, got None"),
    ],
)
def test_schedules_that_are_none(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule(*arguments)


def test_nothing_lies_between_a_number_and_infinity() -> None:
    with pytest.raises(ValueError, match=r"take norm\(step\), which moves evenly in 1/p"):
        Schedule("linear", 1.0, INF, steps=5)(2)


@pytest.mark.parametrize(
    ("moves", "error", "message"),
    [
        ({}, ValueError, "needs a schedule of p or of min_support, got neither"),
        ({"p": 1.3}, TypeError, "p must be a Schedule, got 1.3"),
        ({"p": Schedule("linear", 1.3, 0.5, 5)}, ValueError, r"p must be a norm .* got 0.5"),
        (
            {"min_support": Schedule("linear", 1.0, 0.0, 5)},
            ValueError,
            r"min_support must be a share .* got 0.0",
        ),
        ({"p": Schedule("constant", 2), "every": 0}, ValueError, "every must be a number of"),
    ],
)
def test_moves_that_are_refused(
    moves: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        LossSchedule(MaxPoolingCrossEntropyLoss(), **moves)


@pytest.mark.parametrize("module", [nn.CrossEntropyLoss(), nn.Sequential(nn.Linear(1, 1)), None])
def test_a_module_without_the_attributes(module: Any) -> None:
    with pytest.raises(ValueError, match="has no p to move, and holds no module"):
        LossSchedule(module, p=Schedule("constant", 2.0))


@pytest.mark.parametrize("state", [{}, {"steps_done": -1}, {"steps_done": 1.5}, {"step": 3}])
def test_a_state_of_something_else(state: dict[str, Any]) -> None:
    schedule = LossSchedule(MaxPoolingCrossEntropyLoss(), p=Schedule("constant", 2.0))
    with pytest.raises(ValueError, match="state of a LossSchedule holds steps_done"):
        schedule.load_state_dict(state)


def test_a_compiled_loss_sees_the_new_values(fresh_compiler: None) -> None:
    criterion = MaxPoolingCrossEntropyLoss(p=1.0)
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    schedule = LossSchedule(criterion, min_support=Schedule("linear", 1.0, 0.2, steps=2))
    for _ in range(3):
        assert_agree(compiled, criterion, labeled(2, 5, 9, 11), FLOAT32)
        schedule.step()
