from __future__ import annotations

from importlib.util import find_spec
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lossmaxpool.data import IGNORE_INDEX
from lossmaxpool.runs.config import LossConfig
from lossmaxpool.runs.methods import METHODS, Method, Weighting, method_named, ready
from lossmaxpool.training.criteria import MeanCrossEntropyLoss, build_criterion
from tests.training.runs import batch

CLASS_PIXELS = torch.tensor([[90, 10, 0], [60, 0, 40]])


ALL = [*METHODS.values(), *(method_named(name, {}) for name in ready())]
# Methods whose losses come from a library that the package does not require.
NEEDS = {"focal-softmax": "kornia", "focal-monai": "monai"}


def with_its_library(name: str) -> list[pytest.MarkDecorator]:
    missing = name in NEEDS and find_spec(NEEDS[name]) is None
    return [
        pytest.mark.skipif(
            missing, reason=f"{NEEDS.get(name)} is not installed: make test-adapters has it"
        )
    ]


of_every_method = pytest.mark.parametrize(
    "method",
    [pytest.param(m, id=m.id, marks=with_its_library(m.id)) for m in ALL],
)


def test_ids_and_labels_are_distinct() -> None:
    assert all(method.id == key for key, method in METHODS.items())
    assert len({method.label for method in ALL}) == len({method.id for method in ALL}) == len(ALL)


@of_every_method
def test_low_resolution_logits_get_a_gradient(method: Method) -> None:
    logits, target = batch()
    criterion = build_criterion(method.criterion, LossConfig(bootstrap_k=16), CLASS_PIXELS)
    criterion(logits, target).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().sum() > 0


@of_every_method
def test_an_ignored_batch_gives_zero(method: Method) -> None:
    logits, target = batch()
    criterion = build_criterion(method.criterion, LossConfig(bootstrap_k=16), CLASS_PIXELS)
    loss = criterion(logits, torch.full_like(target, IGNORE_INDEX))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_inverse_median_favors_the_rare_class() -> None:
    criterion = build_criterion(METHODS["inverse-median"].criterion, LossConfig(), CLASS_PIXELS)
    assert isinstance(criterion, MeanCrossEntropyLoss)
    assert criterion.weight is not None
    assert criterion.weight.argmax() == 1


def test_ohem_keeps_a_share_of_the_batch() -> None:
    losses = LossConfig(ohem_threshold=1e-6, ohem_min_kept=0.1)
    logits, target = batch()
    loss = build_criterion(METHODS["ohem"].criterion, losses, CLASS_PIXELS)(logits, target)
    full = F.interpolate(logits, size=(16, 16), mode="bilinear", align_corners=False)
    pixels = F.cross_entropy(full, target, ignore_index=IGNORE_INDEX, reduction="none")
    torch.testing.assert_close(
        loss, pixels.flatten().topk(round(0.1 * target.numel())).values.mean()
    )


def test_top_k_is_max_pooling_at_p_1_over_the_batch() -> None:
    losses = LossConfig(top_share=0.1, p=1.0, min_support=0.1, pool="batch")
    found, expected = (
        build_criterion(METHODS[name].criterion, losses, CLASS_PIXELS)(*batch())
        for name in ("topk", "loss-only")
    )
    torch.testing.assert_close(found, expected)


def test_logit_adjustment_raises_frequent_classes() -> None:
    logits, target = batch()
    prior = CLASS_PIXELS.sum(0).clamp(min=1).double()
    shift = (prior / CLASS_PIXELS.sum()).log().float().view(1, 3, 1, 1)
    built = [
        build_criterion(METHODS[name].criterion, LossConfig(), CLASS_PIXELS)
        for name in ("logit-adjustment", "base")
    ]
    torch.testing.assert_close(built[0](logits, target), built[1](logits + shift, target))


def test_class_weights_differ_and_combine_with_max_pooling() -> None:
    logits, target = batch()
    found = set()
    for weighting in get_args(Weighting):
        for method in ("base", "loss-only"):
            definition = {"method": method, "class_weights": weighting}
            criterion = method_named("x", {"x": definition}).criterion
            loss = build_criterion(criterion, LossConfig(), CLASS_PIXELS)(logits, target)
            found.add(round(loss.item(), 6))
    assert len(found) == 2 * len(get_args(Weighting))


@pytest.mark.parametrize("name", ["adjusted-lmp", "logit-adjustment"])
def test_adjusted_logits_take_class_weights_too(name: str) -> None:
    logits, target = batch()
    found = []
    for weighting in (None, "enet"):
        definition = {"method": name} | ({"class_weights": weighting} if weighting else {})
        method = method_named("x", {"x": definition})
        found.append(build_criterion(method.criterion, LossConfig(), CLASS_PIXELS))
        assert method.max_pooled == (name == "adjusted-lmp")
    assert found[0](logits, target) != found[1](logits, target)


def test_max_pooling_of_adjusted_logits() -> None:
    logits, target = batch()
    prior = CLASS_PIXELS.sum(0).clamp(min=1).double()
    shift = (prior / CLASS_PIXELS.sum()).log().float().view(1, 3, 1, 1)
    adjusted, plain = (
        build_criterion(METHODS[name].criterion, LossConfig(), CLASS_PIXELS)
        for name in ("adjusted-lmp", "loss-only")
    )
    torch.testing.assert_close(adjusted(logits, target), plain(logits + shift, target))


def test_lmp_is_ready_with_every_class_weighting() -> None:
    weighted = [method_named(name, {}) for name in ready() if name.startswith("lmp-")]
    assert {m.criterion.class_weights for m in weighted} == set(get_args(Weighting))  # type: ignore
    assert all(method.max_pooled for method in weighted)


@pytest.mark.parametrize("name", [pytest.param(n, marks=with_its_library(n)) for n in NEEDS])
def test_the_focal_loss_of_a_library_is_the_formula_over_the_classes(name: str) -> None:
    logits, target = batch()
    criterion = build_criterion(method_named(name, {}).criterion, LossConfig(), CLASS_PIXELS)
    full = F.interpolate(logits, size=(16, 16), mode="bilinear", align_corners=False)
    valid = target != IGNORE_INDEX
    losses: Tensor = F.cross_entropy(full, target, ignore_index=IGNORE_INDEX, reduction="none")[
        valid
    ]
    expected = ((1 - (-losses).exp()) ** 2 * losses).mean()
    if name == "focal-softmax":
        # kornia's mean divides by the number of classes as well as by that of the pixels.
        expected = expected / full.shape[1]
    torch.testing.assert_close(criterion(logits, target), expected)
