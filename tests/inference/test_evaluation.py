from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lossmaxpool.data import EvalTransform, Sample
from lossmaxpool.inference import evaluate, predict_logits
from lossmaxpool.metrics import ConfusionMatrix

from .conftest import Bands

PLAIN = EvalTransform((0.0,) * 3, (1.0,) * 3)
SIZES = [(8, 8), (8, 8), (8, 8), (5, 9), (8, 8), (7, 7), (7, 7)]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_every_image_counts_once_whatever_the_batches(
    brightness: nn.Module, batch_size: int
) -> None:
    dataset = Bands(SIZES)
    seen: list[tuple[int, int]] = []
    matrix = evaluate(
        brightness,
        dataset,
        PLAIN,
        batch_size=batch_size,
        progress=lambda done, total: seen.append((done, total)),
    )
    expected = torch.stack([dataset.mask(i).eq(c).sum() for i in range(7) for c in range(3)])
    # The network is right everywhere, so that the counts are those of the truth.
    assert torch.equal(matrix.counts, expected.view(7, 3).sum(0).diag())
    assert matrix.miou() == 1.0
    assert seen[-1] == (7, 7)


@pytest.mark.parametrize("workers", [0, 1])
def test_shares_of_the_images_add_up(brightness: nn.Module, workers: int) -> None:
    dataset = Bands(SIZES)
    first, second = (
        evaluate(brightness, dataset, PLAIN, indices=range(k, 7, 2), workers=workers)
        for k in range(2)
    )
    assert torch.equal((first + second).counts, evaluate(brightness, dataset, PLAIN).counts)
    with pytest.raises(ValueError, match="empty"):
        evaluate(brightness, dataset, PLAIN, indices=[])


def test_equals_one_image_at_a_time(small_model: nn.Module) -> None:
    dataset = Bands([(40, 56), (40, 56), (33, 47)])
    matrix = evaluate(small_model, dataset, PLAIN, batch_size=2)
    expected = ConfusionMatrix(3)
    small_model.eval()
    for index in range(3):
        image, mask = PLAIN(dataset[index])
        expected.update(predict_logits(small_model, image[None]).argmax(1), mask[None])
    assert torch.equal(matrix.counts, expected.counts)


@pytest.mark.parametrize("training", [True, False])
def test_the_models_mode_and_statistics_are_left_alone(
    small_model: nn.Module, training: bool
) -> None:
    small_model.train(training)
    before = {name: tensor.clone() for name, tensor in small_model.state_dict().items()}
    evaluate(small_model, Bands([(32, 32)]), PLAIN)
    assert small_model.training is training
    assert all(torch.equal(before[n], t) for n, t in small_model.state_dict().items())


def test_bfloat16_is_close_to_float32(small_model: nn.Module) -> None:
    image = torch.rand(1, 3, 32, 32)
    small_model.eval()
    exact = predict_logits(small_model, image)
    rounded = predict_logits(small_model, image, "bf16")
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    assert (exact - rounded).abs().max() < 0.1 * exact.abs().max()


class Other(nn.Module):
    """Logits of four classes, or NaN."""

    def __init__(self, value: float, C: int) -> None:
        super().__init__()
        self.value, self.C = value, C

    def forward(self, images: Tensor) -> Tensor:
        return torch.full((len(images), self.C, *images.shape[-2:]), self.value)


@pytest.mark.parametrize(
    ("model", "sizes", "options", "message"),
    [
        (Other(0, 4), SIZES, {}, "the model gives 4 classes, the data set has 3"),
        (Other(float("nan"), 3), SIZES, {}, r"logits of band/0, band/1, band/2 are not finite"),
        (Other(float("inf"), 3), SIZES, {}, "are not finite"),
        (Other(0, 3), [], {}, "'bands' is empty"),
        (Other(0, 3), SIZES, {"batch_size": 0}, "batch_size is 0"),
        (Other(0, 3), SIZES, {"precision": "int4"}, "precision is 'int4'"),
    ],
)
def test_bad_input_is_explained(
    model: nn.Module,
    sizes: list[tuple[int, int]],
    options: dict[str, object],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(model, Bands(sizes), PLAIN, **options)  # type: ignore[arg-type]
    assert model.training


def test_a_mask_of_other_classes_is_refused(brightness: nn.Module) -> None:
    def transform(sample: Sample) -> tuple[Tensor, Tensor]:
        return sample.image.float(), sample.mask.long() + 3

    with pytest.raises(ValueError, match="target has class ids from 3 to"):
        evaluate(brightness, Bands([(8, 8)]), transform)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 8, 8), r"expected normalized floats \(B, 3, H, W\)"),
        (torch.zeros(1, 1, 8, 8), r"images is \(1, 1, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "torch.uint8"),
    ],
)
def test_images_of_another_kind_are_refused(
    brightness: nn.Module, images: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        predict_logits(brightness.eval(), images)


def test_a_model_in_training_mode_is_refused(brightness: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"call model.eval\(\) first"):
        predict_logits(brightness.train(), torch.zeros(1, 3, 8, 8))
