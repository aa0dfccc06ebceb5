"""MaxPoolingLoss and MaxPoolingPixelSampler inside the real MMSegmentation."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossmaxpool import (
    MaxPoolingBCEWithLogitsLoss,
    MaxPoolingCrossEntropyLoss,
    max_pooling_cross_entropy,
)
from tests.adapters.test_page import SNIPPET, sections
from tests.cases import IGNORE, labeled
from tests.reference import assert_agree, assert_near, pooled
from tests.tolerances import FLOAT32, FROM_LOGITS

pytestmark = pytest.mark.filterwarnings("ignore")

INF = float("inf")


@pytest.fixture
def mmseg() -> Any:
    """The registries of MMSegmentation with the adapter in them, and its module."""
    reason = "MMSegmentation is not installed: make test-adapters has it"
    pytest.importorskip("mmseg", reason=reason)
    from mmengine.registry import init_default_scope
    from mmseg import models  # noqa: F401
    from mmseg.registry import MODELS
    from mmseg.structures import SegDataSample
    from mmseg.structures.sampler import build_pixel_sampler

    import lossmaxpool.adapters.mmseg  # noqa: F401

    init_default_scope("mmseg")
    return SimpleNamespace(
        loss=lambda **config: MODELS.build({"type": "MaxPoolingLoss", **config}),
        build=MODELS.build,
        sampler=build_pixel_sampler,
        data_sample=SegDataSample,
    )


def batch(channels: int = 5) -> tuple[Tensor, Tensor]:
    """Images with unlike numbers of ignored pixels, the last without any valid one."""
    logits, label = labeled(4, channels, 12, 16, ignored=0.2)
    label[0, 6:] = IGNORE
    label[3] = IGNORE
    return logits, label


# The loss


@pytest.mark.parametrize("p", [1.0, 1.3, INF])
@pytest.mark.parametrize("pool", ["image", "batch"])
def test_it_is_the_loss_of_the_package(mmseg: Any, p: float, pool: Any) -> None:
    ours = mmseg.loss(p=p, pool=pool, loss_weight=0.5, class_weight=[1.0, 2.0, 0.5, 1.0, 1.0])
    truth = MaxPoolingCrossEntropyLoss(
        p=p, pool=pool, ignore_index=IGNORE, weight=[1.0, 2.0, 0.5, 1.0, 1.0]
    )
    assert_agree(ours, lambda x, y: 0.5 * truth(x, y), batch(), FROM_LOGITS)


@pytest.mark.parametrize("sigmoid", [False, True])
def test_sums_and_divisors_count_pixels_as_in_mmsegmentation(mmseg: Any, sigmoid: bool) -> None:
    """At p = inf, where nothing is pooled, the results are those of its CrossEntropyLoss."""
    inputs = batch(5)
    theirs = mmseg.build({"type": "CrossEntropyLoss", "use_sigmoid": sigmoid})
    for pool in ("image", "batch"):
        ours = mmseg.loss(p=INF, use_sigmoid=sigmoid, pool=pool)
        for options in ({"reduction_override": "sum"}, {"avg_factor": 100.0}):
            assert_agree(
                lambda x, y, ours=ours, options=options: ours(x, y, **options),
                lambda x, y, options=options: theirs(x, y, ignore_index=IGNORE, **options),
                inputs,
                FROM_LOGITS,
            )


@pytest.mark.parametrize(("sigmoid", "channels"), [(False, 5), (True, 5), (True, 1)])
def test_none_is_one_loss_per_pixel(mmseg: Any, sigmoid: bool, channels: int) -> None:
    logits, label = labeled(4, max(channels, 2), 12, 16, ignored=0.2)
    logits = logits[:, :channels]
    ours = mmseg.loss(use_sigmoid=sigmoid, reduction="sum", loss_weight=2.0)
    theirs = mmseg.build({"type": "CrossEntropyLoss", "use_sigmoid": sigmoid, "loss_weight": 2.0})
    options = {"reduction_override": "none", "ignore_index": IGNORE}
    expected = theirs(logits, label, **options)
    if sigmoid and channels > 1:
        expected = expected * (label != IGNORE).unsqueeze(1)
    found = ours(logits, label, **options)
    assert found.shape[:1] + found.shape[-2:] == label.shape
    assert_near(found, expected, FLOAT32)


def test_binary_heads(mmseg: Any) -> None:
    logits, label = labeled(3, 2, 12, 16, ignored=0.2)
    truth = MaxPoolingBCEWithLogitsLoss(ignore_index=IGNORE)
    assert_agree(mmseg.loss(use_sigmoid=True), truth, (logits[:, 1:], label), FLOAT32)
    weighted = MaxPoolingBCEWithLogitsLoss(ignore_index=IGNORE, pos_weight=[3.0])
    ours = mmseg.loss(use_sigmoid=True, class_weight=[3.0])
    assert_agree(ours, weighted, (logits[:, 1:], label), FLOAT32)


def test_weights_of_pixels_scale_their_losses(mmseg: Any) -> None:
    logits, label = batch()
    weight = torch.rand(label.shape, generator=torch.Generator().manual_seed(1))
    ours = mmseg.loss()
    assert_agree(
        lambda x, y: ours(x, y, weight=torch.ones_like(weight)), ours, (logits, label), FLOAT32
    )
    losses = nn.functional.cross_entropy(logits, label, ignore_index=IGNORE, reduction="none")
    truth = pooled(losses * weight, label != IGNORE).mean()
    assert_near(ours(logits, label, weight=weight).double(), truth, FLOAT32)


def test_nothing_valid_is_zero(mmseg: Any) -> None:
    logits, label = batch()
    label[:] = IGNORE
    for options in ({}, {"avg_factor": 0}, {"weight": torch.ones(label.shape)}):
        leaf = logits.clone().requires_grad_()
        value = mmseg.loss()(leaf, label, **options)
        value.backward()
        assert value == 0
        assert torch.equal(leaf.grad, torch.zeros_like(leaf))


@pytest.mark.parametrize(("sigmoid", "weighted"), [(False, False), (True, False), (False, True)])
def test_half_precision_is_computed_in_float32(mmseg: Any, sigmoid: bool, weighted: bool) -> None:
    logits, label = batch()
    ours = mmseg.loss(use_sigmoid=sigmoid)
    weight = torch.rand(label.shape) if weighted else None
    narrow = logits.bfloat16()
    found = ours(narrow, label, weight=weight)
    assert_near(found, ours(narrow.float(), label, weight=weight), FLOAT32)


@pytest.mark.parametrize("sigmoid", [False, True])
def test_without_an_ignored_id(mmseg: Any, sigmoid: bool) -> None:
    logits, label = labeled(2, 5, 12, 16)
    ours = mmseg.loss(use_sigmoid=sigmoid)
    assert_near(ours(logits, label, ignore_index=None), ours(logits, label), FLOAT32)
    with pytest.raises(ValueError, match=r"labels outside \[0, 5\): \[255\]"):
        ours(logits, label.masked_fill(label == 0, 255), ignore_index=None)


def test_what_the_loss_refuses(mmseg: Any) -> None:
    logits, label = batch()
    with pytest.raises(ValueError, match="loss_name must contain 'loss', got 'lmp'"):
        mmseg.loss(loss_name="lmp")
    with pytest.raises(ValueError, match="p must be a norm exponent"):
        mmseg.loss(p=0.5)
    with pytest.raises(ValueError, match="reduction must be one of 'mean', 'sum', got 'none'"):
        mmseg.loss(reduction="none")
    with pytest.raises(ValueError, match=r"a single channel, .* add use_sigmoid=True"):
        mmseg.loss()(logits[:, :1], label)
    with pytest.raises(ValueError, match=r"labels outside \[0, 2\)"):
        mmseg.loss(use_sigmoid=True)(logits[:, :1], label)
    with pytest.raises(ValueError, match=r"labels outside \[0, 5\): \[7\]"):
        mmseg.loss()(logits, label.masked_fill(label == 0, 7))
    with pytest.raises(ValueError, match="avg_factor does not go with reduction"):
        mmseg.loss(reduction="sum")(logits, label, avg_factor=3)
    with pytest.raises(ValueError, match="reduction_override must be one of"):
        mmseg.loss()(logits, label, reduction_override="max")
    with pytest.raises(ValueError, match="one factor per pixel is expected"):
        mmseg.loss()(logits, label, weight=torch.ones(4))
    with pytest.raises(ValueError, match="one weight per channel is expected"):
        mmseg.loss(use_sigmoid=True, class_weight=[1.0, 2.0])(logits, label)
    with pytest.raises(ValueError, match="expected class ids"):
        mmseg.loss()(logits, label[:, ::2], reduction_override="none")


# The sampler, in the place of a decode head


def head(*losses: nn.Module) -> Any:
    return SimpleNamespace(
        loss_decode=losses[0] if len(losses) == 1 else nn.ModuleList(losses), ignore_index=IGNORE
    )


def cross_entropy(mmseg: Any, **options: Any) -> nn.Module:
    return mmseg.build({"type": "CrossEntropyLoss", **options})  # type: ignore[no-any-return]


def sampled(mmseg: Any, context: Any, **options: Any) -> Any:
    """A criterion that weighs the losses of a head as MMSegmentation does."""
    config = {"type": "MaxPoolingPixelSampler", **options}
    sampler = mmseg.sampler(config, context=context)
    losses = [context.loss_decode]
    if isinstance(losses[0], nn.ModuleList):
        losses = list(losses[0])

    def criterion(logits: Tensor, label: Tensor) -> Tensor:
        weight = sampler.sample(logits, label.unsqueeze(1))
        assert weight.shape == label.shape
        return sum(x(logits, label, weight=weight, ignore_index=IGNORE) for x in losses)  # type: ignore[return-value]

    return criterion


@pytest.mark.parametrize("avg_non_ignore", [False, True])
@pytest.mark.parametrize("pool", ["image", "batch"])
def test_the_weighted_loss_is_the_pooled_one(mmseg: Any, avg_non_ignore: bool, pool: Any) -> None:
    context = head(cross_entropy(mmseg, avg_non_ignore=avg_non_ignore, loss_weight=0.5))

    def truth(logits: Tensor, label: Tensor) -> Tensor:
        options: dict[str, Any] = {"p": 1.7, "min_support": 0.3, "pool": pool}
        return 0.5 * max_pooling_cross_entropy(logits, label, ignore_index=IGNORE, **options)

    assert_agree(sampled(mmseg, context, pool=pool), truth, batch(), FROM_LOGITS)


def test_a_sampler_with_class_weights_several_losses_and_one_channel(mmseg: Any) -> None:
    logits, label = batch()
    weight = [1.0, 2.0, 0.5, 1.0, 1.0]
    truth = MaxPoolingCrossEntropyLoss(
        p=1.3, min_support=0.25, ignore_index=IGNORE, weight=weight, reduction="sum"
    )
    context = head(*(cross_entropy(mmseg, class_weight=weight) for _ in range(2)))
    everywhere = label.masked_fill(label == IGNORE, 0)  # theirs looks class_weight[255] up
    ours = sampled(mmseg, context, ratio=0.25, p=1.3)
    assert_agree(ours, lambda x, y: 2 * truth(x, y) / 4, (logits, everywhere), FROM_LOGITS)
    binary = MaxPoolingBCEWithLogitsLoss(p=1.7, min_support=0.3, ignore_index=IGNORE)
    context = head(cross_entropy(mmseg, use_sigmoid=True, avg_non_ignore=True))
    inputs = logits[:, :1], label.masked_fill((label > 1) & (label < IGNORE), 1)
    assert_agree(sampled(mmseg, context), binary, inputs, FROM_LOGITS)


def test_a_sampler_of_nothing_valid(mmseg: Any) -> None:
    logits, label = batch()
    ours = sampled(mmseg, head(cross_entropy(mmseg)))
    assert ours(logits, torch.full_like(label, IGNORE)) == 0


def test_what_the_sampler_refuses(mmseg: Any) -> None:
    logits, label = batch()
    with pytest.raises(TypeError, match="the head's loss is MaxPoolingLoss, which pools them"):
        sampled(mmseg, head(mmseg.loss()))
    with pytest.raises(ValueError, match="ratio must be a share"):
        sampled(mmseg, head(cross_entropy(mmseg)), ratio=0)
    with pytest.raises(ValueError, match="p must be a norm exponent"):
        sampled(mmseg, head(cross_entropy(mmseg)), p=0.9)
    dice = head(cross_entropy(mmseg), mmseg.build({"type": "DiceLoss"}))
    with pytest.raises(ValueError, match=r"DiceLoss returns shape .* needs one loss per pixel"):
        sampled(mmseg, dice)(logits, label.clamp(max=4))
    unlike = head(cross_entropy(mmseg), cross_entropy(mmseg, avg_non_ignore=True))
    with pytest.raises(ValueError, match="divide by unlike numbers of pixels"):
        sampled(mmseg, unlike)(logits, label)

    class Strange(nn.Module):
        def forward(self, x: Tensor, y: Tensor, **options: Any) -> Tensor:
            losses = nn.functional.cross_entropy(x, y, ignore_index=IGNORE, reduction="none")
            mean = options.get("reduction_override") != "none"
            return (losses * options["weight"]).sum() / 7 if mean else losses

    with pytest.raises(ValueError, match=r"Strange with the weights .* divides by something else"):
        sampled(mmseg, head(Strange()))(logits, label)


# In a real model


def blocks() -> list[str]:
    return SNIPPET.findall(sections()["MMSegmentation"])


SMALL = """
norm = dict(type="BN")
head = dict(type="FCNHead", num_classes=5, channels=8, num_convs=1, norm_cfg=norm)
head.update(dropout_ratio=0.0, concat_input=False)
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(type="SegDataPreProcessor", size=(64, 64)),
    backbone=dict(type="ResNet", depth=18, base_channels=8, norm_cfg=norm),
    decode_head=dict(in_channels=64, in_index=3, **head),
    auxiliary_head=dict(in_channels=32, in_index=2, **head),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
"""


def train(mmseg: Any, folder: Path, changes: str) -> tuple[dict[str, float], nn.Module]:
    """Three steps of a small EncoderDecoder with a changed config; the last step's log."""
    from mmengine.config import Config
    from mmengine.optim import OptimWrapper
    from mmengine.structures import PixelData

    (folder / "small.py").write_text(SMALL, encoding="utf-8")
    (folder / "mine.py").write_text('_base_ = "small.py"\n' + changes, encoding="utf-8")
    torch.manual_seed(0)
    model = mmseg.build(Config.fromfile(folder / "mine.py").model).train()
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 5, (2, 1, 64, 64), generator=generator)
    label[..., :20] = IGNORE
    samples = [mmseg.data_sample(gt_sem_seg=PixelData(data=x)) for x in label]
    images = torch.randint(0, 256, (2, 3, 64, 64), generator=generator, dtype=torch.uint8)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    for _ in range(3):
        log = model.train_step({"inputs": [*images], "data_samples": samples}, wrapper)
    return {name: float(value) for name, value in log.items()}, model


def test_the_loss_in_a_model_from_a_config(mmseg: Any, tmp_path: Path) -> None:
    """The first block of the page."""
    log, model = train(mmseg, tmp_path, blocks()[0])
    assert 0.5 < log["decode.loss_lmp"] < 10
    assert log["loss"] == pytest.approx(log["decode.loss_lmp"] + log["aux.loss_lmp"])
    assert not [name for name in model.state_dict() if "loss_decode" in name]


def test_the_sampler_in_a_model_from_a_config(mmseg: Any, tmp_path: Path) -> None:
    """The second block of the page, for the head's own cross-entropy."""
    log, _ = train(mmseg, tmp_path, blocks()[1])
    assert 0.5 < log["decode.loss_ce"] < 10


def test_their_sampler_with_the_loss(mmseg: Any, tmp_path: Path) -> None:
    changes = """
loss = dict(type="MaxPoolingLoss")
sampler = dict(type="OHEMPixelSampler", min_kept=1000)
model = dict(decode_head=dict(loss_decode=loss, sampler=sampler))
"""
    log, _ = train(mmseg, tmp_path, changes)
    assert 0.1 < log["decode.loss_lmp"] < 10


def test_dice_beside_the_loss(mmseg: Any, tmp_path: Path) -> None:
    changes = """
losses = [dict(type="MaxPoolingLoss"), dict(type="DiceLoss", loss_name="loss_dice")]
model = dict(decode_head=dict(loss_decode=losses))
"""
    log, _ = train(mmseg, tmp_path, changes)
    assert log["decode.loss_lmp"] > 0.5
    assert 0 < log["decode.loss_dice"] <= 1
