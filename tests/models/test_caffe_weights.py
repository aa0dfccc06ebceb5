from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from lossmaxpool.models import ModelConfig, build_model, load_caffe_weights, load_encoder_weights
from lossmaxpool.models import normalization as normalization_of
from lossmaxpool.models.weights import sort_caffe_tensors

from . import caffe

CONFIG = ModelConfig("DeepLabV2", "caffe-resnet50", weights="none")
NAMINGS = {
    "layer5": lambda name: name,
    "Scale.layer5": lambda name: f"Scale.{name}",
    "base.aspp": lambda name: f"base.{caffe.block_name(name)}",
    "scale.aspp.stages": lambda name: (
        "scale."
        + caffe.block_name(name).replace("aspp.", "aspp.stages.").replace("shortcut", "proj")
    ),
    "aspp": caffe.block_name,
}


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return caffe.converted_state(classes=5)


@pytest.fixture(scope="module")
def untouched() -> nn.Module:
    """Shared by the tests that must not load anything; they check that it stays unchanged."""
    return build_model(CONFIG, 5)


def save(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save(state, path / "converted.pth")
    return path / "converted.pth"


def normalized(rgb: Tensor) -> Tensor:
    mean, std = (
        torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in normalization_of(CONFIG)
    )
    return (rgb / 255 - mean) / std


@pytest.mark.parametrize("naming", NAMINGS)
def test_every_naming_is_a_bijection_onto_the_network(
    state: dict[str, Tensor], untouched: nn.Module, naming: str
) -> None:
    found = sort_caffe_tensors({NAMINGS[naming](name): t for name, t in state.items()})
    trunk = untouched.get_submodule("encoder.model").state_dict()
    assert found.unknown == ()
    assert found.trunk.keys() == {name for name in trunk if not name.endswith("tracked")}
    assert found.head.keys() == untouched.get_submodule("aspp").state_dict().keys()
    for name, tensor in state.items():
        part = found.head if name.startswith("layer5") else found.trunk
        assert part[name.removeprefix("layer5.conv2d_list.")] is tensor


@pytest.mark.parametrize("naming", ["layer5", "base.aspp"])
def test_computes_what_the_original_does_on_rgb(
    tmp_path: Path, state: dict[str, Tensor], naming: str
) -> None:
    """Sides of 8 k + 1, as the original was used: its pooling rounds up, and there it need not."""
    path = save(tmp_path, {NAMINGS[naming](name): tensor for name, tensor in state.items()})
    model = build_model(CONFIG, 5).double().eval()
    load_caffe_weights(model, path, head=True)
    rgb = torch.randint(256, (1, 3, 33, 41)).double()
    with torch.inference_mode():
        ours, theirs = model(normalized(rgb)), caffe.logits(state, rgb)
        wrong_order = model(normalized(rgb.flip(1)))
    torch.testing.assert_close(ours, theirs)
    assert not torch.allclose(wrong_order, theirs)


def test_the_layout_is_the_dilated_form_of_its_classifier(state: dict[str, Tensor]) -> None:
    """Every fourth feature of the dilated network is a feature of the strided one."""
    rgb = torch.randint(256, (1, 3, 65, 65)).double()
    with torch.inference_mode():
        dense = caffe.features(state, rgb)
        strided = caffe.features(state, rgb, dilated=False)
    torch.testing.assert_close(dense[..., ::4, ::4], strided)


def test_the_head_stays_its_own_unless_it_is_asked_for(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    path = save(tmp_path, state)
    model = build_model(CONFIG, 3)  # of other classes than the file
    before = {n: t.clone() for n, t in model.get_submodule("aspp").state_dict().items()}
    load_caffe_weights(model, path)
    after = model.get_submodule("aspp").state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    first = model.get_parameter("encoder.model.conv1.weight")
    assert torch.equal(first, state["conv1.weight"].flip(1))
    with pytest.raises(ValueError, match=r"does not fit this pyramid.*0\.weight \(5, 2048, 3, 3\)"):
        load_caffe_weights(model, path, head=True)


def test_a_configuration_loads_trunk_and_head(tmp_path: Path, state: dict[str, Tensor]) -> None:
    config = ModelConfig(
        "DeepLabV2",
        "caffe-resnet50",
        str(save(tmp_path, state)),
        frozen_batch_norm=True,
        pretrained_head=True,
    )
    filled = build_model(config, 5).state_dict()
    assert torch.equal(filled["aspp.3.bias"], state["layer5.conv2d_list.3.bias"])
    assert torch.equal(
        filled["encoder.model.layer4.2.bn3.running_var"],
        state["layer4.2.bn3.running_var"],
    )


def test_the_classifier_of_deeplabv1_is_left_out(tmp_path: Path, state: dict[str, Tensor]) -> None:
    named = {caffe.block_name(n): t for n, t in state.items() if not n.startswith("layer5")}
    named |= {"fc.weight": torch.zeros(91, 2048, 1, 1), "fc.bias": torch.zeros(91)}
    model = build_model(CONFIG, 5)
    load_caffe_weights(model, save(tmp_path, named))
    with pytest.raises(ValueError, match="this pyramid, which has 8 tensors: 8 missing"):
        load_caffe_weights(model, save(tmp_path, named), head=True)


def test_a_file_of_this_package_is_not_turned_around_again(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    model = build_model(CONFIG, 5)
    load_caffe_weights(model, save(tmp_path, state))
    again = build_model(CONFIG, 7)
    load_caffe_weights(again, save(tmp_path, model.state_dict()))
    ours, theirs = model.get_submodule("encoder"), again.get_submodule("encoder")
    for name, tensor in ours.state_dict().items():
        assert torch.equal(theirs.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("layer1.0.bn2.bias"), r"1 missing \(layer1.0.bn2.bias\); 0 unexpected"),
        (lambda s: s.update(momentum=torch.zeros(1)), r"0 missing; 1 unexpected \(momentum\)"),
        (
            lambda s: s.update({"bn1.weight": torch.zeros(7)}),
            r"1 of another shape \(bn1.weight \(7,\), expected \(64,\)\)",
        ),
    ],
)
def test_an_incomplete_file_changes_nothing(  # type: ignore[no-untyped-def]
    tmp_path: Path, state: dict[str, Tensor], untouched: nn.Module, change, message: str
) -> None:
    changed = dict(state)
    change(changed)
    before = {name: tensor.clone() for name, tensor in untouched.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_caffe_weights(untouched, save(tmp_path, changed), head=True)
    assert all(torch.equal(before[name], t) for name, t in untouched.state_dict().items())


def test_a_name_given_twice_is_refused(
    tmp_path: Path, state: dict[str, Tensor], untouched: nn.Module
) -> None:
    twice = state | {"Scale.conv1.weight": state["conv1.weight"]}
    with pytest.raises(ValueError, match=r"1 unexpected \(Scale.conv1.weight\)"):
        load_caffe_weights(untouched, save(tmp_path, twice))


def test_weights_go_into_their_own_layout_only(
    tmp_path: Path, state: dict[str, Tensor], untouched: nn.Module
) -> None:
    """The names would fit the other layout too: colors and strides would not."""
    converted = save(tmp_path, state)
    plain = build_model(ModelConfig("DeepLabV2", "tu-resnet50", weights="none"), 5)
    with pytest.raises(ValueError, match="take the encoder 'caffe-resnet50'"):
        load_encoder_weights(plain, converted)
    with pytest.raises(ValueError, match="fit DeepLabV2 on an encoder 'caffe-resnet101' only"):
        load_caffe_weights(plain, converted)
    imagenet = save(tmp_path, timm.create_model("resnet50").state_dict())
    with pytest.raises(ValueError, match=r"not a converted Caffe DeepLab.*'tu-resnet50'"):
        load_caffe_weights(untouched, imagenet)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ModelConfig("DeepLabV2", "caffe-resnet18", "none"), r"There are: caffe-resnet50"),
        (ModelConfig("FPN", "caffe-resnet50", "none"), r"is for DeepLabV2, not FPN; take 'tu-"),
        (ModelConfig("DeepLabV2", "caffe-resnet50"), r"no hub has weights for 'caffe-resnet50'"),
        (
            ModelConfig("DeepLabV2", "tu-resnet50", "none", pretrained_head=True),
            r"the encoder is 'tu-resnet50', expected 'caffe-...'",
        ),
    ],
)
def test_a_wrong_setting_is_explained(config: ModelConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(config, 5)


def test_the_colors_are_those_of_caffe() -> None:
    """RGB of 0..255, minus the mean, divided by nothing: black is minus the mean."""
    black = normalized(torch.zeros(1, 3, 1, 1).double()).flatten()
    expected = torch.tensor(caffe.MEAN_BGR[::-1]).double().neg()
    torch.testing.assert_close(black, expected)
