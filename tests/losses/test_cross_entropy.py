"""MaxPoolingCrossEntropyLoss: the oracle's pooling of torch's pixel losses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossmaxpool import MaxPoolingCrossEntropyLoss
from tests.cases import IGNORE, P_VALUES, labeled
from tests.reference import (
    Criterion,
    assert_agree,
    assert_near,
    pooled,
    value_and_gradient,
)
from tests.tolerances import FROM_LOGITS, SOLVER

LOSS = SOLVER[torch.float32]
WEIGHT = [0.5, 3.0, 1.0, 0.0, 1.7]

pixel_losses = nn.CrossEntropyLoss(reduction="none", ignore_index=IGNORE)


def test_camvid_sized_logits_equal_the_oracle() -> None:
    logits, target = labeled(2, 11, 360, 480, ignored=0.1)
    value, gradient = value_and_gradient(
        MaxPoolingCrossEntropyLoss(ignore_index=IGNORE), logits, target
    )
    truth, exact = value_and_gradient(
        lambda x, y: pooled(pixel_losses(x, y), y != IGNORE).mean(), logits.double(), target
    )
    assert_near(value, truth, LOSS)
    # From the logits on, the error of the float32 losses is in the weights as well.
    assert_near(gradient, exact, FROM_LOGITS)


@pytest.mark.parametrize("min_support", [1e-6, 0.25, 1.0])
@pytest.mark.parametrize("p", P_VALUES)
def test_value_and_gradient_equal_the_oracle(p: float, min_support: float) -> None:
    logits, target = labeled(3, 5, 12, 17, ignored=0.2)

    def truth(logits: Tensor, target: Tensor) -> Tensor:
        losses = pixel_losses(logits, target)
        return pooled(losses, target != IGNORE, p=p, min_support=min_support).mean()

    ours = MaxPoolingCrossEntropyLoss(p=p, min_support=min_support, ignore_index=IGNORE)
    assert_agree(ours, truth, (logits, target), LOSS)
    assert_agree(ours, truth, (logits.double(), target), SOLVER[torch.float64])


@pytest.mark.parametrize("p", [1.0, 1.3, float("inf")])
@pytest.mark.parametrize(
    "options",
    [
        {"weight": WEIGHT},
        {"weight": tuple(WEIGHT)},
        {"weight": torch.tensor(WEIGHT)},
        {"weight": torch.tensor(WEIGHT, dtype=torch.float64)},
        {"weight": [1, 2, 3, 4, 5]},
        {"label_smoothing": 0.1},
        {"label_smoothing": 1.0},
        {"label_smoothing": 0.1, "weight": WEIGHT},
    ],
    ids=str,
)
def test_class_weights_and_label_smoothing_are_those_of_torch(
    options: dict[str, Any], p: float
) -> None:
    def truth(logits: Tensor, target: Tensor) -> Tensor:
        plain = dict(options)
        if "weight" in plain:
            plain["weight"] = torch.as_tensor(plain["weight"]).float()
        losses = F.cross_entropy(logits, target, reduction="none", ignore_index=IGNORE, **plain)
        return pooled(losses, target != IGNORE, p=p).mean()

    ours = MaxPoolingCrossEntropyLoss(p=p, ignore_index=IGNORE, **options)
    assert_agree(ours, truth, labeled(2, 5, 9, 11, ignored=0.2), LOSS)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.2}, {"weight": WEIGHT}], ids=str)
def test_soft_targets_are_those_of_torch(options: dict[str, Any]) -> None:
    logits, _ = labeled(2, 5, 9, 11)
    probabilities = labeled(2, 5, 9, 11, seed=1)[0].softmax(1)

    def truth(logits: Tensor, target: Tensor) -> Tensor:
        weight = torch.tensor(options["weight"]) if "weight" in options else None
        smoothing = options.get("label_smoothing", 0.0)
        losses = F.cross_entropy(
            logits, target, weight, reduction="none", label_smoothing=smoothing
        )
        return pooled(losses).mean()

    assert_agree(MaxPoolingCrossEntropyLoss(**options), truth, (logits, probabilities), LOSS)


def test_certain_probabilities_are_class_ids() -> None:
    logits, target = labeled(2, 5, 9, 11)
    certain = F.one_hot(target, 5).movedim(-1, 1).to(torch.float64)
    criterion = MaxPoolingCrossEntropyLoss()
    assert_agree(criterion, lambda x, _: criterion(x, certain), (logits, target), LOSS)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.int64]
)
def test_any_integer_dtype_of_the_target(dtype: torch.dtype) -> None:
    logits, target = labeled(2, 5, 8, 8)
    target[0, :3] = 100  # an ignored id that every dtype holds
    criterion = MaxPoolingCrossEntropyLoss(ignore_index=100)
    assert criterion(logits, target.to(dtype)) == criterion(logits, target)


@pytest.mark.parametrize(
    ("dtype", "wrapped", "ignore_index"), [(torch.uint8, 156, -100), (torch.int8, -1, 255)]
)
def test_an_ignore_index_beyond_the_dtype_marks_nothing(
    dtype: torch.dtype, wrapped: int, ignore_index: int
) -> None:
    # -100 is 156 in eight bits, 255 is -1: those labels are wrong, and not ignored.
    logits, target = labeled(1, 5, 4, 4)
    target[0, 0] = wrapped
    with pytest.raises(ValueError, match=r"4 labels outside \[0, 5\)"):
        MaxPoolingCrossEntropyLoss(ignore_index=ignore_index)(logits, target.to(dtype))


@pytest.mark.parametrize("shape", [(2, 5, 30), (2, 5, 6, 7), (2, 5, 3, 4, 5)], ids=str)
def test_tokens_images_and_volumes(shape: tuple[int, ...]) -> None:
    def truth(logits: Tensor, target: Tensor) -> Tensor:
        return pooled(pixel_losses(logits, target), target != IGNORE).mean()

    ours = MaxPoolingCrossEntropyLoss(ignore_index=IGNORE)
    assert_agree(ours, truth, labeled(*shape, ignored=0.1), LOSS)


def test_a_channel_of_one_in_the_target_is_dropped() -> None:
    logits, target = labeled(2, 5, 6, 7)
    criterion = MaxPoolingCrossEntropyLoss()
    assert criterion(logits, target.unsqueeze(1)) == criterion(logits, target)


@pytest.mark.parametrize(
    ("low", "high", "mode"),
    [((6,), (23,), "linear"), ((5, 6), (20, 21), "bilinear"), ((2, 3, 4), (4, 6, 7), "trilinear")],
)
@pytest.mark.parametrize("soft", [False, True])
def test_low_resolution_logits_are_upsampled_first(
    low: tuple[int, ...], high: tuple[int, ...], mode: str, soft: bool
) -> None:
    logits, _ = labeled(2, 5, *low)
    scores, target = labeled(2, 5, *high, seed=1)
    criterion: Criterion = MaxPoolingCrossEntropyLoss()

    def upsampled(logits: Tensor, target: Tensor) -> Tensor:
        return criterion(F.interpolate(logits, size=high, mode=mode, align_corners=False), target)

    assert_agree(criterion, upsampled, (logits, scores.softmax(1) if soft else target), FROM_LOGITS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    logits, target = labeled(2, 5, 4, 4)
    target = target.repeat_interleave(3, 1).repeat_interleave(3, 2)  # upsampled in float32, too
    half = logits.to(dtype)
    criterion = MaxPoolingCrossEntropyLoss(weight=torch.tensor(WEIGHT, dtype=dtype))
    value, gradient = value_and_gradient(criterion, half, target)
    truth, wide = value_and_gradient(criterion, half.float(), target)
    assert value.dtype == torch.float32
    assert value == truth
    assert gradient.dtype == dtype
    assert torch.equal(gradient, wide.to(dtype))


def test_autocast_changes_nothing_behind_the_logits() -> None:
    images, target = labeled(2, 3, 8, 8)[0], labeled(2, 5, 8, 8)[1]
    network = nn.Conv2d(3, 5, 3, padding=1)
    criterion = MaxPoolingCrossEntropyLoss()
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(images)
        inside = criterion(logits, target)
    inside.backward()
    assert logits.dtype == torch.bfloat16
    assert inside.dtype == torch.float32
    assert inside == criterion(logits.detach(), target)
    assert network.weight.grad is not None
    assert network.weight.grad.isfinite().all()


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_without_a_norm_and_over_the_batch_it_is_torchs_cross_entropy(
    label_smoothing: float,
) -> None:
    options: dict[str, Any] = {"ignore_index": IGNORE, "label_smoothing": label_smoothing}
    logits, target = labeled(3, 5, 8, 9, ignored=0.3)
    target[1] = IGNORE  # unequal numbers of valid pixels: a mean of means would differ
    ours = MaxPoolingCrossEntropyLoss(p=float("inf"), pool="batch", **options)
    assert_agree(ours, nn.CrossEntropyLoss(**options), (logits, target), LOSS)


@pytest.mark.parametrize("p", [1.0, 1.3, float("inf")])
def test_a_batch_pool_is_one_large_image(p: float) -> None:
    logits, target = labeled(3, 5, 8, 9, ignored=0.3)
    batch = MaxPoolingCrossEntropyLoss(p=p, ignore_index=IGNORE, pool="batch")
    image: Criterion = MaxPoolingCrossEntropyLoss(p=p, ignore_index=IGNORE)

    def side_by_side(logits: Tensor, target: Tensor) -> Tensor:
        return image(torch.cat([*logits], -1).unsqueeze(0), torch.cat([*target], -1).unsqueeze(0))

    assert_agree(batch, side_by_side, (logits, target), LOSS)


def test_the_world_of_one_process_is_its_batch() -> None:
    logits, target = labeled(3, 5, 8, 9)
    world, batch = (MaxPoolingCrossEntropyLoss(pool=pool) for pool in ("world", "batch"))
    assert_agree(world, batch, (logits, target), 0.0)


@pytest.mark.parametrize("pool", ["image", "batch"])
def test_reductions_are_of_one_value_per_pool(pool: Any) -> None:
    logits, target = labeled(4, 5, 8, 9)
    target[2] = IGNORE
    none, total, mean = (
        MaxPoolingCrossEntropyLoss(ignore_index=IGNORE, pool=pool, reduction=reduction)(
            logits, target
        )
        for reduction in ("none", "sum", "mean")
    )
    assert none.shape == ((4,) if pool == "image" else (1,))
    torch.testing.assert_close(total, none.sum(), rtol=LOSS, atol=0)
    torch.testing.assert_close(mean, none[none > 0].mean(), rtol=LOSS, atol=0)


def test_unreduced_values_are_those_of_the_images_alone() -> None:
    logits, target = labeled(3, 5, 8, 9, ignored=0.3)
    criterion = MaxPoolingCrossEntropyLoss(ignore_index=IGNORE, reduction="none")
    alone = [criterion(logits[i : i + 1], target[i : i + 1]) for i in range(3)]
    assert_near(criterion(logits, target), torch.cat(alone), LOSS)


def test_an_upstream_gradient_scales_the_gradient() -> None:
    logits, target = labeled(3, 5, 8, 9)
    criterion = MaxPoolingCrossEntropyLoss(reduction="none")
    factors = torch.tensor([0.0, -2.0, 5.0])
    _, plain = value_and_gradient(criterion, logits, target)
    _, scaled = value_and_gradient(lambda x, y: factors * criterion(x, y), logits, target)
    assert_near(scaled, plain * factors.view(3, 1, 1, 1), LOSS)


def test_the_same_input_gives_the_same_bits() -> None:
    logits, target = labeled(2, 5, 40, 40, ignored=0.3)
    criterion = MaxPoolingCrossEntropyLoss(ignore_index=IGNORE)
    assert_agree(criterion, criterion, (logits, target), 0.0)


def test_memory_layout_changes_nothing() -> None:
    logits, target = labeled(2, 5, 12, 13)
    criterion = MaxPoolingCrossEntropyLoss()
    strided = logits.to(memory_format=torch.channels_last)
    torch.testing.assert_close(
        criterion(strided, target.transpose(1, 2).contiguous().transpose(1, 2)),
        criterion(logits, target),
        rtol=LOSS,
        atol=0,
    )


@pytest.mark.parametrize("p", [1.0, 1.3, 2.0, float("inf")])
@pytest.mark.parametrize("options", [{}, {"weight": WEIGHT, "label_smoothing": 0.1}], ids=str)
def test_the_gradient_is_that_of_the_value(options: dict[str, Any], p: float) -> None:
    """Finite differences, away from ties."""
    logits, target = labeled(2, 5, 3, 3, ignored=0.3)
    criterion = MaxPoolingCrossEntropyLoss(p=p, ignore_index=IGNORE, reduction="none", **options)
    leaf = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: criterion(x, target), (leaf,), fast_mode=True)
