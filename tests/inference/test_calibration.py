"""Temperature scaling against searches by brute force, and what its commands keep and refuse."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from lossmaxpool.data import EvalTransform
from lossmaxpool.inference import (
    Calibration,
    InferenceConfig,
    TrainedModel,
    calibrate,
    calibrated,
    evaluate,
    export_network,
    fit_temperature,
    predict_folder,
    predict_logits,
    save_calibration,
)
from lossmaxpool.inference.calibration import HIGHEST, LOWEST, _PixelSample
from lossmaxpool.metrics import ReliabilityBins
from lossmaxpool.models import ModelDescription
from lossmaxpool.models.outside import OutsideNetwork
from tests.tolerances import FEW_LABELS, FEW_PIXELS, FLOAT32, SAME_TEMPERATURE

from .conftest import Bands

PLAIN = EvalTransform((0.0,) * 3, (1.0,) * 3)


class Doubtful(nn.Module):
    """Logits of a pixel's brightness that are wrong in every fifth row, or slanted rows."""

    def __init__(self, slant: int = 0) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.tensor([0.0, 0.5, 1.0]))
        self.slant = slant

    def forward(self, images: Tensor) -> Tensor:
        logits = -4 * (images[:, :1] - self.centers.view(1, -1, 1, 1)).abs()
        H, W = images.shape[-2:]
        wrong = (torch.arange(H)[:, None] + self.slant * torch.arange(W)) % 5 == 0
        return torch.where(wrong, logits.roll(1, 1), logits)


@pytest.fixture
def trained(description: ModelDescription, tmp_path: Path) -> TrainedModel:
    file = tmp_path / "checkpoints" / "last.ckpt"
    file.parent.mkdir()
    file.write_bytes(b"weights")
    return TrainedModel(Doubtful().eval(), description, 7, file)


@pytest.fixture
def dataset() -> Bands:
    return Bands([(20, 31), (20, 31), (17, 40), (20, 31), (17, 40)])


def nll(logits: Tensor, target: Tensor, temperature: float) -> float:
    return float(F.cross_entropy(logits.double() / temperature, target))


def sampled(seed: int, scale: float) -> tuple[Tensor, Tensor]:
    """Logits, and labels that are drawn from the softmax of logits / scale."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(3000, 5, generator=generator)
    target = torch.multinomial((logits / scale).softmax(1), 1, generator=generator)[:, 0]
    return logits, target


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_fit_is_the_best_of_a_fine_grid(scale: float) -> None:
    logits, target = sampled(0, scale)
    found = fit_temperature(logits, target)
    grid = torch.linspace(np.log(LOWEST), np.log(HIGHEST), 400).exp().tolist()
    best = min(nll(logits, target, temperature) for temperature in grid)
    assert nll(logits, target, found) <= best
    assert found == pytest.approx(scale, rel=FEW_LABELS)
    # Logits of another unit have the temperature of that unit.
    again = fit_temperature(2 * logits, target)
    assert again == pytest.approx(2 * found, rel=SAME_TEMPERATURE)


@pytest.mark.parametrize(
    ("logits", "target", "message"),
    [
        (torch.eye(3), torch.arange(3), "100.0 % of the 3 pixels are classified right"),
        (torch.eye(3), torch.tensor([1, 2, 0]), "0.0 % of the 3 pixels are classified right"),
        (torch.zeros(4, 3), torch.zeros(4).long(), "no temperature from 0.05 to 20.0"),
        (torch.zeros(0, 3), torch.zeros(0).long(), "N at least 1"),
        (torch.zeros(4, 3), torch.zeros(3).long(), "expected \\(N, C\\) and \\(N,\\)"),
        (torch.full((4, 3), torch.nan), torch.zeros(4).long(), "not finite"),
    ],
)
def test_what_no_temperature_fits_is_refused(logits: Tensor, target: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_temperature(logits, target)


@pytest.mark.parametrize("config", [InferenceConfig(), InferenceConfig("efficient", tiles=3)])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_half_is_fitted_and_the_other_one_judged(
    trained: TrainedModel, dataset: Bands, batch_size: int, config: InferenceConfig
) -> None:
    """With room for every pixel, the result is that of all logits at once."""
    found = calibrate(trained, dataset, batch_size=batch_size, config=config)
    assert (found.fitted, found.judged) == (2, 3)
    logits, target = [], []
    for index in range(5):
        image, mask = PLAIN(dataset[index])
        scores = predict_logits(trained.model, image[None])[0].movedim(0, -1)
        logits.append(scores[mask != 255])
        target.append(mask[mask != 255].long())
    fitted = fit_temperature(torch.cat(logits[:2]), torch.cat(target[:2]))
    assert found.temperature == pytest.approx(fitted, rel=SAME_TEMPERATURE)
    judged, labels = torch.cat(logits[2:]), torch.cat(target[2:])
    expected = ReliabilityBins(3)
    expected.update(judged.softmax(1), labels)
    assert torch.equal(found.before.sums, expected.sums)
    scores = found.scores()
    for when, temperature in (("before", 1.0), ("after", found.temperature)):
        mean = nll(judged, labels, temperature)
        assert scores[when]["nll"] == pytest.approx(mean, rel=SAME_TEMPERATURE)
    assert scores["after"]["nll"] < scores["before"]["nll"]
    assert scores["after"]["ece"] < scores["before"]["ece"]


def test_the_sample_depends_on_images_and_seed_alone(trained: TrainedModel, dataset: Bands) -> None:
    first = calibrate(trained, dataset, pixels=300, batch_size=1)
    again = calibrate(
        trained, dataset, pixels=300, batch_size=4, config=InferenceConfig("efficient")
    )
    other = calibrate(trained, dataset, pixels=300, seed=1)
    assert first.temperature == pytest.approx(again.temperature, rel=SAME_TEMPERATURE)
    assert first.temperature != other.temperature
    everything = calibrate(trained, dataset).temperature
    assert first.temperature == pytest.approx(everything, rel=FEW_PIXELS)


def test_the_pixels_with_the_smallest_keys_are_kept_whatever_the_parts() -> None:
    keys = torch.randperm(1000, generator=torch.Generator().manual_seed(0)).double()
    values = torch.arange(1000)
    for parts in (1, 7, 400):
        sample = _PixelSample(50)
        for part in values.tensor_split(parts):
            sample.add(keys[part], values[part, None].float(), part)
        logits, labels = sample.content("all")
        assert torch.equal(keys[labels], torch.arange(50.0).double())
        assert torch.equal(logits[:, 0].long(), labels)


@pytest.mark.parametrize(
    ("sizes", "options", "message"),
    [
        ([(8, 8)], {}, "bands has 1 images"),
        ([(1, 1), (1, 2)], {}, "a half of bands has no labeled pixel"),
        ([(8, 8)] * 2, {"pixels": 0}, "0 pixels are asked for"),
        ([(8, 8)] * 2, {"config": InferenceConfig(flip=True)}, "leave out flip and scales"),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    trained: TrainedModel, sizes: list[tuple[int, int]], options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        calibrate(trained, Bands(sizes), **options)  # type: ignore[arg-type]


def saved(trained: TrainedModel, temperature: float = 2.0) -> Path:
    bins = ReliabilityBins(3)
    found = Calibration(temperature, 2, 3, bins, bins, (1.0, 0.5))
    return save_calibration(found, trained, {"data": {"name": "bands"}})


def test_a_saved_temperature_is_used_for_its_own_checkpoint_alone(trained: TrainedModel) -> None:
    with pytest.raises(ValueError, match="lossmaxpool calibrate"):
        calibrated(trained)
    file = saved(trained)
    assert file.name == "last.temperature.json"
    assert json.loads(file.read_text())["data"] == {"name": "bands"}
    with pytest.raises(ValueError, match="exists; add --overwrite"):
        saved(trained, 3.0)
    softer = calibrated(trained)
    assert softer.temperature == 2
    assert not softer.model.training
    with pytest.raises(ValueError, match="has the temperature 2 already"):
        calibrated(softer)
    with pytest.raises(ValueError, match="has the temperature 2 already"):
        calibrate(softer, Bands([(8, 8)] * 2))
    trained.file.write_bytes(b"weights, trained on")
    with pytest.raises(ValueError, match="another state of the checkpoint, step 7"):
        calibrated(trained)
    file.write_text("{}")
    with pytest.raises(ValueError, match=r"is damaged .* --overwrite"):
        calibrated(trained)
    for temperature in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="expected a positive number"):
            calibrated(trained, temperature)


def test_a_temperature_changes_probabilities_and_no_class(
    trained: TrainedModel, dataset: Bands
) -> None:
    images = torch.rand(2, 3, 9, 14, generator=torch.Generator().manual_seed(0))
    softer = calibrated(trained, 2.5)
    torch.testing.assert_close(
        predict_logits(softer.model, images), predict_logits(trained.model, images) / 2.5
    )
    bins, halved = ReliabilityBins(3), ReliabilityBins(3)
    plain = evaluate(trained.model, dataset, PLAIN, reliability=bins)
    assert torch.equal(
        evaluate(softer.model, dataset, PLAIN, reliability=halved).counts, plain.counts
    )
    assert torch.equal(evaluate(trained.model, dataset, PLAIN).counts, plain.counts)
    assert int(bins.pixels().sum()) == int(plain.counts.sum())
    assert float(bins.sums[0, :, 1].sum()) == float(plain.counts.diagonal().sum())
    assert halved.overconfidence() < bins.overconfidence()


def test_the_probabilities_of_several_views_are_averaged(dataset: Bands) -> None:
    bins, one = ReliabilityBins(3), ReliabilityBins(3)
    slanted = Doubtful(slant=1)
    evaluate(slanted, dataset, PLAIN, config=InferenceConfig(flip=True), reliability=bins)
    evaluate(slanted, dataset, PLAIN, reliability=one)
    # Where the two views disagree, their mean is less sure.
    assert bins.sums[0, :, 2].sum() < one.sums[0, :, 2].sum()


def test_predict_writes_the_probability_of_each_class(
    trained: TrainedModel, dataset: Bands, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    sample = dataset[0]
    Image.fromarray(sample.image.movedim(0, -1).contiguous().numpy()).save(
        tmp_path / "images" / "a.png"
    )
    for temperature in (1.0, 2.5):
        network = trained if temperature == 1 else calibrated(trained, temperature)
        out = tmp_path / f"out-{temperature}"
        (written,) = predict_folder(network, tmp_path / "images", out, confidence=True)
        assert written.confidence is not None
        with Image.open(written.confidence) as picture:
            values = torch.from_numpy(np.asarray(picture).astype(np.int64)) / 65535
        logits = predict_logits(trained.model, PLAIN(sample)[0][None])[0] / temperature
        assert float((values - logits.softmax(0).amax(0)).abs().max()) <= 0.5 / 65535 + FLOAT32
    with pytest.raises(ValueError, match="--confidence"):
        predict_folder(calibrated(trained, 2), tmp_path / "images", tmp_path / "ids")
    (plain,) = predict_folder(trained, tmp_path / "images", tmp_path / "ids")
    assert plain.confidence is None
    assert not (tmp_path / "ids" / "confidence").exists()


def test_an_exported_network_has_its_temperature_inside(
    trained: TrainedModel, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = OutsideNetwork(nn.Conv2d(3, 3, 4, stride=4), 4).eval()
    plain = replace(trained, model=network)
    softer = calibrated(plain, 2.5)
    said = json.loads(export_network(softer, tmp_path / "net.pt2", "torch").read_text())
    assert said["output"]["temperature"] == 2.5
    images = torch.rand(1, 3, 8, 12)
    exported = torch.export.load(tmp_path / "net.pt2").module()(images)
    torch.testing.assert_close(exported, predict_logits(plain.model, images) / 2.5)
    with pytest.raises(ValueError, match=r"leave out --calibrated, and divide the logits by 2\.5"):
        export_network(softer, tmp_path / "net.safetensors", "safetensors")
