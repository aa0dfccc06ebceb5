"""TrainerLoss: parts of an accumulated batch add up; inside the real Trainer where it is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossmaxpool import MaxPoolingCrossEntropyLoss
from lossmaxpool.adapters.transformers import TrainerLoss
from tests.cases import IGNORE, labeled
from tests.reference import assert_near
from tests.tolerances import FLOAT32, FROM_LOGITS, PRINTED

INF = float("inf")


def per_image(ignore: int = IGNORE, **options: Any) -> MaxPoolingCrossEntropyLoss:
    return MaxPoolingCrossEntropyLoss(ignore_index=ignore, reduction="none", **options)


def output(logits: Tensor) -> SimpleNamespace:
    return SimpleNamespace(logits=logits)


def batch(ignore: int) -> tuple[Tensor, Tensor]:
    logits, labels = labeled(8, 5, 8, 8)[0], labeled(8, 5, 16, 16, ignored=0.2)[1]
    labels[labels == IGNORE] = ignore
    labels[0, 4:] = ignore  # images with unlike numbers of labels
    return logits, labels


@pytest.mark.parametrize("ignore", [IGNORE, -100])
@pytest.mark.parametrize("part", [1, 2, 4])
def test_the_parts_of_a_batch_add_up_to_it(ignore: int, part: int) -> None:
    logits, labels = batch(ignore)
    items = (labels != -100).sum()
    loss = TrainerLoss(per_image(ignore))
    whole = loss(output(logits), labels, num_items_in_batch=items)
    parts = sum(
        loss(output(x), y, num_items_in_batch=items)
        for x, y in zip(logits.split(part), labels.split(part), strict=True)
    )
    assert isinstance(parts, Tensor)
    assert_near(parts, whole, FLOAT32)
    assert_near(loss(output(logits), labels), whole, FLOAT32)


def test_images_of_one_size_count_alike() -> None:
    logits, labels = batch(IGNORE)
    ours = TrainerLoss(per_image())(output(logits), labels)
    assert_near(ours, MaxPoolingCrossEntropyLoss(ignore_index=IGNORE)(logits, labels), FLOAT32)


def test_without_pooling_it_is_the_mean_over_all_labels() -> None:
    logits, labels = batch(-100)
    large = nn.functional.interpolate(logits, (16, 16), mode="bilinear", align_corners=False)
    ours = TrainerLoss(per_image(-100, p=INF))(output(logits), labels)
    assert_near(ours, nn.functional.cross_entropy(large, labels), FROM_LOGITS)


@pytest.mark.parametrize("wrap", [tuple, list, dict, lambda pairs: pairs[0][1]])
def test_outputs_of_other_kinds(wrap: Any) -> None:
    logits, labels = batch(IGNORE)
    given = wrap([("logits", logits)])
    given = type(given)([logits]) if isinstance(given, (tuple, list)) else given
    loss = TrainerLoss(per_image())
    assert torch.equal(loss(given, labels), loss(output(logits), labels))


def test_an_auxiliary_head_is_heard() -> None:
    logits, labels = batch(IGNORE)
    head = nn.Conv2d(5, 5, 1)
    loss, alone = TrainerLoss(per_image(), auxiliary=head, auxiliary_weight=0.5), per_image()
    side = head(logits)
    expected = alone(logits, labels).mean() + 0.5 * alone(side, labels).mean()
    assert_near(loss(output(logits), labels).detach(), expected.detach(), FLOAT32)
    with pytest.raises(ValueError, match="the auxiliary head was not called"):
        loss(output(logits), labels)


def test_no_label_at_all_is_zero() -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    labels = torch.full((2, 8, 8), -100)
    loss = TrainerLoss(per_image(-100))(output(logits), labels, num_items_in_batch=0)
    loss.backward()
    assert loss == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_what_is_refused() -> None:
    logits, labels = batch(IGNORE)
    with pytest.raises(ValueError, match=r"reduction='mean', a mean .* pass reduction=\"none\""):
        TrainerLoss(MaxPoolingCrossEntropyLoss())
    with pytest.raises(TypeError, match="criterion must be a loss of logits and labels, got None"):
        TrainerLoss(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="auxiliary_weight must be a number >= 0, got -1"):
        TrainerLoss(per_image(), auxiliary_weight=-1)
    loss = TrainerLoss(per_image())
    with pytest.raises(ValueError, match="the inputs of the Trainer hold no labels"):
        loss(output(logits), None)
    with pytest.raises(ValueError, match="2 numbers, one per GPU of this process"):
        loss(output(logits), labels, num_items_in_batch=torch.tensor([[5], [5]]))
    with pytest.raises(ValueError, match="returned str without logits"):
        loss("logits", labels)
    every = TrainerLoss(nn.CrossEntropyLoss(ignore_index=IGNORE, reduction="none"))
    with pytest.raises(ValueError, match=r"returned shape \(8, 8, 8\) for 8 images"):
        every(output(logits), labels[:, ::2, ::2])


# Inside the real Trainer


class Images(torch.utils.data.Dataset[dict[str, Tensor]]):
    def __init__(self, ignore: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.pixels = torch.randn(8, 3, 32, 32, generator=generator)
        self.labels = torch.randint(0, 4, (8, 32, 32), generator=generator)
        self.labels[:3, 10:] = ignore

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"pixel_values": self.pixels[index], "labels": self.labels[index]}


def segformer(transformers: Any) -> nn.Module:
    """A small one without dropout and batch norm, which depend on how a batch is cut."""
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        num_labels=4,
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 8, 8],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=8,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        classifier_dropout_prob=0.0,
        drop_path_rate=0.0,
    )
    model = transformers.SegformerForSemanticSegmentation(config)
    model.decode_head.batch_norm = nn.Identity()
    return model  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ignore", [IGNORE, -100])
def test_accumulation_in_the_trainer(ignore: int, tmp_path: Path) -> None:
    """Parts of 4 and of 2 images train exactly as one batch of 8."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="the Trainer needs accelerate")
    trained, logged = {}, {}
    for size in (8, 4, 2):
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path / str(size)),
            per_device_train_batch_size=size,
            gradient_accumulation_steps=8 // size,
            max_steps=2,
            learning_rate=0.1,
            optim="sgd",
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            remove_unused_columns=False,
            disable_tqdm=True,
            use_cpu=True,
        )
        model = segformer(transformers)
        trainer = transformers.Trainer(
            model=model,
            args=arguments,
            train_dataset=Images(ignore),
            compute_loss_func=TrainerLoss(per_image(ignore)),
        )
        trainer.train()
        logged[size] = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        trained[size] = torch.cat([x.detach().flatten() for x in model.parameters()])
    assert logged[8][0] > logged[8][1] > 0.5
    for size in (4, 2):
        assert logged[size] == pytest.approx(logged[8], abs=PRINTED)
        assert_near(trained[size], trained[8], FROM_LOGITS)


@pytest.mark.filterwarnings("ignore")
def test_the_auxiliary_head_of_upernet() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    backbone = transformers.ConvNextConfig(
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = transformers.UperNetConfig(
        backbone_config=backbone,
        hidden_size=8,
        num_labels=4,
        use_auxiliary_head=True,
        auxiliary_in_channels=8,
        auxiliary_channels=8,
        loss_ignore_index=IGNORE,
    )
    model = transformers.UperNetForSemanticSegmentation(config).train()
    loss = TrainerLoss(per_image(), auxiliary=model.auxiliary_head)
    images = Images(IGNORE)
    loss(model(pixel_values=images.pixels), images.labels).backward()
    heads = (model.auxiliary_head.classifier.weight, model.decode_head.classifier.weight)
    assert all(head.grad is not None and head.grad.abs().sum() > 0 for head in heads)
