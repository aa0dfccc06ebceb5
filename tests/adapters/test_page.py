"""Each block of docs/frameworks.md runs inside its framework, trains there, and is our loss."""

from __future__ import annotations

import copy
import importlib.util
import math
import re
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossmaxpool import (
    MaxPoolingBCEWithLogitsLoss,
    MaxPoolingCrossEntropyLoss,
    MaxPoolingLoss,
    loss_max_pool,
)
from lossmaxpool.training import train
from tests.reference import assert_near, pooled, reference_losses
from tests.tolerances import FLOAT32, FROM_LOGITS
from tests.training.runs import tiny

PAGE = Path(__file__).resolve().parents[2] / "docs" / "frameworks.md"
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FRAMEWORKS = {
    "segmentation_models_pytorch": "segmentation_models_pytorch",
    "Lightning": "lightning",
    "MONAI": "monai",
    "torchgeo": "torchgeo",
    "torchvision's references": "torchvision",
    "fastai": "fastai",
    "Keras": "keras",
    "Hugging Face Transformers": "transformers",
    "Mask2Former": "transformers",
    "nnU-Net": "nnunetv2",
    "MMSegmentation": "mmseg",
    "JAX": "jax",
}
DISTRIBUTIONS = {"mmseg": "mmsegmentation"}
IGNORE = 255

# Frameworks warn of their own dependencies' deprecations, at import and while they train.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The networks are so small that threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sections() -> dict[str, str]:
    heads = re.split(r"^## (.+)\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = dict(zip(heads[1::2], heads[2::2], strict=True))
    return {head: text for head, text in found.items() if SNIPPET.search(text)}


def need(package: str) -> None:
    """Skip only where it is absent, and do not import it: Keras would choose its backend."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: make test-adapters has it")


def run(head: str) -> dict[str, Any]:
    """The names that the blocks of a section leave behind; skips where its framework is absent."""
    need(FRAMEWORKS[head])
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    for snippet in SNIPPET.findall(sections()[head]):
        exec(compile(snippet, f"{PAGE.name}, {head}", "exec"), names)
    return names


def labels_of(*shape: int, classes: int = 4, ignored: int | None = IGNORE) -> Tensor:
    """Class ids that an image can tell: blocks of pixels, one corner of them ignored."""
    generator = torch.Generator().manual_seed(1)
    small = torch.randint(
        classes, (shape[0], *[side // 4 for side in shape[1:]]), generator=generator
    )
    labels = F.interpolate(small[:, None].float(), shape[1:], mode="nearest")[:, 0].long()
    if ignored is not None:
        labels[:, : shape[1] // 4] = ignored
    return labels


def images_of(labels: Tensor, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(len(labels), channels, *labels.shape[1:], generator=generator)
    return noise / 4 + labels.masked_fill(labels == IGNORE, 0)[:, None]


def expected(logits: Tensor, target: Tensor, ignore_index: int = IGNORE) -> Tensor:
    """The definition on full-size logits: float64 losses, pooled by the oracle, per image."""
    target = target.as_subclass(Tensor).long()
    logits = logits.detach().as_subclass(Tensor).float()
    losses = reference_losses(logits, target, ignore_index=ignore_index)
    return pooled(losses, target != ignore_index)


def fit(
    model: nn.Module, images: Tensor, loss: Callable[[Any], Tensor], steps: int = 6, lr: float = 0.1
) -> list[float]:
    """A plain loop: the losses of all steps."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    values = []
    for _ in range(steps):
        value = loss(model(images))
        optimizer.zero_grad()
        value.backward()
        gradients = [x.grad for x in model.parameters() if x.grad is not None]
        assert gradients
        assert all(bool(gradient.isfinite().all()) for gradient in gradients)
        optimizer.step()
        values.append(float(value))
    return values


def falls(values: Iterable[float]) -> bool:
    values = list(values)
    return all(math.isfinite(x) for x in values) and values[-1] < values[0]


def test_every_section_names_its_framework() -> None:
    assert sections().keys() == FRAMEWORKS.keys()


@pytest.mark.parametrize("head", ["Hugging Face Transformers", "nnU-Net", "MMSegmentation", "JAX"])
def test_blocks_run(head: str) -> None:
    """Their adapters have tests of their own beside this file."""
    run(head)


def test_the_table_says_which_versions_are_tried() -> None:
    pinned = (Path(__file__).parent / "requirements.txt").read_text(encoding="utf-8")
    versions = dict(re.findall(r"^(\w+)(?:\[\w+\])?==(\S+)$", pinned, re.MULTILINE))
    rows = {
        head: row
        for row in PAGE.read_text(encoding="utf-8").splitlines()
        for head in FRAMEWORKS
        if row.startswith(f"| [{head}](#")
    }
    assert rows.keys() == FRAMEWORKS.keys()
    for head, package in FRAMEWORKS.items():
        if package != "torchvision":  # of the main environment
            assert f"| {versions[DISTRIBUTIONS.get(package, package)]}" in rows[head]


def test_segmentation_models_pytorch() -> None:
    names = run("segmentation_models_pytorch")
    smp, criterion, model = names["smp"], names["criterion"], names["model"]
    assert all(x.grad is not None for x in model.segmentation_head.parameters())
    labels = labels_of(2, 64, 64)
    images = images_of(labels)
    logits = model(images).detach()
    assert_near(criterion(logits, labels), expected(logits, labels).mean(), FLOAT32)
    dice = smp.losses.DiceLoss("multiclass", ignore_index=IGNORE)
    assert falls(fit(model, images, lambda x: criterion(x, labels) + dice(x, labels)))


def test_segmentation_models_pytorch_pixel_losses_and_binary() -> None:
    smp = run("segmentation_models_pytorch")["smp"]
    logits, labels = torch.randn(2, 4, 32, 32), labels_of(2, 32, 32)
    soft = smp.losses.SoftCrossEntropyLoss(reduction="none", smooth_factor=0.1, ignore_index=IGNORE)
    ours = MaxPoolingLoss(soft, ignore_index=IGNORE)(logits, labels)
    assert_near(
        ours, loss_max_pool(soft(logits, labels).squeeze(1), valid=labels != IGNORE), FLOAT32
    )
    binary = MaxPoolingBCEWithLogitsLoss(ignore_index=None)  # SMP's default, mode="binary"
    model = smp.Unet("resnet18", encoder_weights=None, classes=1)
    whole = labels_of(2, 64, 64, classes=2, ignored=None)
    assert falls(fit(model, images_of(whole), lambda x: binary(x, whole)))
    assert_near(
        MaxPoolingCrossEntropyLoss(ignore_index=None)(logits, labels % 4),
        expected(logits, labels % 4).mean(),
        FLOAT32,
    )


def trainer(lightning: Any, path: Path, **options: Any) -> Any:
    return lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=path,
        **options,
    )


def test_lightning(tmp_path: Path) -> None:
    names = run("Lightning")
    labels = labels_of(4, 32, 32)
    pairs = list(zip(images_of(labels), labels, strict=True))
    trained = {}
    start = names["Segmentation"]()
    for size in (4, 2):
        task = copy.deepcopy(start)
        loader = torch.utils.data.DataLoader(pairs * 3, batch_size=size)
        trainer(names["lightning"], tmp_path, accumulate_grad_batches=4 // size).fit(task, loader)
        trained[size] = torch.cat([x.detach().flatten() for x in task.parameters()])
    assert_near(trained[2], trained[4], FROM_LOGITS)
    images = torch.stack([image for image, _ in pairs])
    before, after = (float(x.criterion(x.model(images), labels)) for x in (start, task))
    assert before == pytest.approx(float(expected(start.model(images), labels).mean()), rel=FLOAT32)
    assert after < before
    half = copy.deepcopy(start)
    trainer(names["lightning"], tmp_path, precision="bf16-mixed").fit(half, loader)
    assert float(half.criterion(half.model(images), labels)) < before


def test_monai() -> None:
    names = run("MONAI")
    network, alone = names["network"], MaxPoolingCrossEntropyLoss()
    heads = [head.detach() for head in network(names["images"]).unbind(1)]
    labels = names["labels"]
    parts = [float(expected(head, labels[:, 0], -100).mean()) for head in heads]
    assert float(names["criterion"](heads, labels)) == pytest.approx(
        parts[0] + parts[1] / 2, rel=FLOAT32
    )
    smaller = [heads[0], heads[1][..., ::2, ::2, ::2]]
    ids = labels[..., ::2, ::2, ::2]  # as nearest-exact takes them, up to the half pixel
    assert math.isfinite(float(names["criterion"](smaller, labels)))
    assert float(alone(smaller[1], ids)) > 0
    volume = labels_of(2, 16, 16, 16, classes=3, ignored=None)
    values = fit(
        network,
        images_of(volume, 1),
        lambda x: names["criterion"](x.unbind(1), volume[:, None].float()),
        lr=0.01,
    )
    assert falls(values)


def test_monai_in_two_dimensions_and_from_config() -> None:
    names = run("MONAI")
    from monai.data import MetaTensor
    from monai.losses import FocalLoss
    from monai.networks.nets import UNet
    from monai.networks.utils import one_hot

    criterion = names["from_config"]
    assert isinstance(criterion, MaxPoolingCrossEntropyLoss)
    network = UNet(2, in_channels=1, out_channels=3, channels=(4, 8), strides=(2,))
    labels = labels_of(2, 32, 32, classes=3, ignored=None)
    images, ids = MetaTensor(images_of(labels, 1)), MetaTensor(labels[:, None].float())
    logits = network(images).detach()
    target = expected(logits, labels, -100).mean()
    assert_near(criterion(logits, ids).as_subclass(Tensor), target, FLOAT32)
    assert_near(criterion(logits, one_hot(ids, 3)).as_subclass(Tensor), target, FLOAT32)
    assert falls(fit(network, images, lambda x: criterion(x, ids)))
    focal = MaxPoolingLoss(FocalLoss(to_onehot_y=True, use_softmax=True, reduction="none"))
    assert falls(fit(network, images, lambda x: focal(x, ids)))


def test_the_focal_loss_of_monai_is_a_method(tmp_path: Path) -> None:
    need("monai")
    record = train(tiny("focal-monai"), tmp_path / "run")
    assert record.finished
    assert record.environment["monai"] == version("monai")
    assert f"tried with kornia {version('kornia')} and MONAI {version('monai')}" in (
        PAGE.with_name("training.md").read_text(encoding="utf-8")
    )


def test_torchgeo(tmp_path: Path) -> None:
    names = run("torchgeo")
    import lightning

    task = names["task"]
    labels = labels_of(2, 64, 64)
    images = images_of(labels)
    loader = torch.utils.data.DataLoader(
        [{"image": x, "mask": y} for x, y in zip(images, labels, strict=True)] * 3, batch_size=2
    )
    logits = task(images).detach()
    assert_near(task.criterion(logits, labels), expected(logits, labels).mean(), FLOAT32)
    before = float(task.criterion(task(images), labels))
    fitted = trainer(lightning, tmp_path)
    fitted.fit(task, loader, loader)  # its scheduler waits for the validation loss
    after = float(task.criterion(task.train()(images), labels))
    assert after < before
    fitted.save_checkpoint(tmp_path / "task.ckpt")
    loaded = names["MaxPoolingTask"].load_from_checkpoint(tmp_path / "task.ckpt")
    assert isinstance(loaded.criterion, MaxPoolingCrossEntropyLoss)
    assert loaded.criterion.ignore_index == IGNORE


def test_torchgeo_binary(tmp_path: Path) -> None:
    base = run("torchgeo")["SemanticSegmentationTask"]
    import lightning

    class Binary(base):  # type: ignore[misc, valid-type]
        def configure_losses(self) -> None:
            self.criterion = MaxPoolingBCEWithLogitsLoss(ignore_index=self.hparams["ignore_index"])

    task = Binary(model="fcn", num_filters=4, task="binary", loss="bce", num_classes=1)
    labels = labels_of(2, 32, 32, classes=2, ignored=None)
    images = images_of(labels)
    pairs = [{"image": x, "mask": y} for x, y in zip(images, labels, strict=True)]
    before = float(task.criterion(task(images), labels))
    loader = torch.utils.data.DataLoader(pairs * 3, batch_size=2)
    trainer(lightning, tmp_path).fit(task, loader, loader)
    assert float(task.criterion(task(images), labels)) < before


def test_torchvision() -> None:
    names = run("torchvision's references")
    from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large

    torch.manual_seed(0)
    model = deeplabv3_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=4, aux_loss=True
    )
    labels = labels_of(2, 64, 64)
    images, criterion = images_of(labels), names["criterion"]
    outputs = {name: x.detach() for name, x in model(images).items()}
    parts = {name: expected(x, labels).mean() for name, x in outputs.items()}
    assert_near(criterion(outputs, labels), parts["out"] + parts["aux"] / 2, FLOAT32)
    assert_near(criterion({"out": outputs["out"]}, labels), parts["out"], FLOAT32)
    assert falls(fit(model, images, lambda x: criterion(x, labels), lr=0.01))
    with pytest.raises(TypeError, match=r"outputs\['out'\]"):
        MaxPoolingCrossEntropyLoss(ignore_index=IGNORE)(outputs, labels)
    small = model.classifier(model.backbone(images)["out"]).detach()
    ours = MaxPoolingCrossEntropyLoss(ignore_index=IGNORE)(small, labels)
    assert_near(ours, expected(small, labels).mean(), FROM_LOGITS)


def test_fastai() -> None:
    names = run("fastai")
    from fastai.callback.training import GradientAccumulation
    from fastai.optimizer import SGD

    labels = labels_of(8, 32, 32)
    images = images_of(labels)
    pairs = [
        (names["TensorImage"](x), names["TensorMask"](y))
        for x, y in zip(images, labels, strict=True)
    ]
    start, trained = copy.deepcopy(names["learner"].model), {}
    for size in (8, 4):
        data = names["DataLoaders"].from_dsets(pairs, pairs, bs=size, num_workers=0, device="cpu")
        learner = names["Learner"](
            data,
            copy.deepcopy(start),
            loss_func=names["Pooled"](ignore_index=IGNORE),
            opt_func=SGD,
            cbs=GradientAccumulation(8),
        )
        with learner.no_bar(), learner.no_logging():
            before = learner.validate()[0]
            learner.fit(3, lr=0.01)
            after = learner.validate()[0]
            logits, _, losses = learner.get_preds(with_loss=True, act=lambda x: x)
            share, _, decoded = learner.get_preds(with_decoded=True)
        assert after < before
        assert_near(losses, expected(logits, labels), FLOAT32)
        assert torch.equal(decoded, share.argmax(1))
        trained[size] = torch.cat([x.detach().flatten() for x in learner.model.parameters()])
    assert_near(trained[4], trained[8], FROM_LOGITS)


def test_keras() -> None:
    names = run("Keras")
    keras, model = names["keras"], names["model"]
    assert keras.backend.backend() == "torch"
    labels = labels_of(8, 32, 32)
    images = images_of(labels).movedim(1, -1).numpy()
    logits = model(images).detach().movedim(-1, 1)
    truth = expected(logits, labels)
    tested = model.evaluate(images, labels.numpy(), batch_size=8, verbose=0)
    assert tested == pytest.approx(float(truth.mean()), rel=FLOAT32)
    share = torch.arange(8.0)
    weighted = model.evaluate(images, labels.numpy(), 8, 0, sample_weight=share.numpy())
    assert weighted == pytest.approx(float((share * truth).mean()), rel=FLOAT32)
    history = model.fit(images, labels.numpy(), batch_size=4, epochs=3, verbose=0)
    assert falls(history.history["loss"])


def test_mask2former(monkeypatch: pytest.MonkeyPatch) -> None:
    need("transformers")
    from transformers.models.mask2former import modeling_mask2former as modeling

    before = modeling.sigmoid_cross_entropy_loss
    monkeypatch.setattr(modeling, "sigmoid_cross_entropy_loss", before)  # put back afterwards
    ours = run("Mask2Former")["max_pooling_of_masks"]
    assert modeling.sigmoid_cross_entropy_loss is ours
    points = torch.randn(3, 200), torch.randint(2, (3, 200)).float()
    bce = F.binary_cross_entropy_with_logits(*points, reduction="none")
    assert_near(ours(*points, 5), pooled(bce).sum() / 5, FLOAT32)
    mean = loss_max_pool(bce, p=math.inf, reduction="sum") / 5
    assert_near(mean, before(*points, 5), FLOAT32)

    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    torch.manual_seed(0)
    config = Mask2FormerConfig(
        backbone_config=SwinConfig(
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 1, 1],
            window_size=4,
            drop_path_rate=0.0,
            out_features=["stage1", "stage2", "stage3", "stage4"],
        ),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        dim_feedforward=32,
        num_queries=6,
        train_num_points=256,
        num_labels=4,
    )
    model = Mask2FormerForUniversalSegmentation(config).train()
    labels = labels_of(2, 64, 64, ignored=None)
    classes = torch.arange(4)
    masks = [(image[None] == classes[:, None, None]).float() for image in labels]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    values = []
    for _ in range(8):
        torch.manual_seed(0)  # the same points
        loss = model(
            pixel_values=images_of(labels), mask_labels=masks, class_labels=[classes, classes]
        ).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss))
    assert falls(values)
