from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import VOCSegmentation
from torchvision.tv_tensors import Image as TvImage
from torchvision.tv_tensors import Mask as TvMask

from lossmaxpool.data import (
    IGNORE_INDEX,
    AugmentedDataset,
    CamVid,
    DataError,
    EvalTransform,
    LabelSet,
    PascalVOC,
    TrainTransform,
    WrappedDataset,
    class_statistics,
    inspect_data,
)
from lossmaxpool.inference import evaluate
from tests.data import trees

LABELS = LabelSet(("sky", "road", "pole"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))
PIXELS, IDS = trees.picture(1), trees.ids(1, (0, 1, 2, 255))
FORMS = {
    "picture": (Image.fromarray(PIXELS), Image.fromarray(IDS)),
    "array": (PIXELS, IDS.astype(np.int64)),
    "tensor": (torch.from_numpy(PIXELS).permute(2, 0, 1), torch.from_numpy(IDS).long()),
    "tv_tensor": (
        TvImage(torch.from_numpy(PIXELS).permute(2, 0, 1)),
        TvMask(torch.from_numpy(IDS)[None]),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_sample(form: str) -> None:
    dataset = WrappedDataset([FORMS[form]], LABELS)
    sample = dataset[0]
    assert type(sample.image) is type(sample.mask) is torch.Tensor
    np.testing.assert_array_equal(sample.image.permute(1, 2, 0).numpy(), PIXELS)
    np.testing.assert_array_equal(sample.mask.numpy(), IDS)
    assert torch.equal(dataset.mask(0), sample.mask)
    assert inspect_data(dataset).ok


def test_a_gray_image_has_three_equal_channels() -> None:
    image = WrappedDataset([(PIXELS[..., 0], IDS)], LABELS)[0].image
    assert all(np.array_equal(channel.numpy(), PIXELS[..., 0]) for channel in image)


@pytest.mark.filterwarnings("ignore:.* images here, but was published:UserWarning")
def test_torchvision(tmp_path: Path) -> None:
    names = ["2007_1", "2007_2"]
    root = trees.voc(tmp_path / "VOCdevkit" / "VOC2012", {"train": names})
    wrapped = WrappedDataset(VOCSegmentation(str(tmp_path), image_set="train"), PascalVOC.LABELS)
    own = PascalVOC(root, "train")
    for i in range(len(names)):
        assert torch.equal(wrapped[i].image, own[i].image)
        assert torch.equal(wrapped[i].mask, own[i].mask)


class Rows:
    """Behaves like a Hugging Face data set: rows of features, decoded on access."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": FORMS["picture"][0], "annotation": FORMS["picture"][1], "scene": 7}


def test_rows_with_keys_and_another_numbering() -> None:
    ids = {0: IGNORE_INDEX, 1: 0, 2: 1, 255: 2}
    dataset = WrappedDataset(Rows(), LABELS, image="image", mask="annotation", ids=ids, name="hf")
    expected = np.vectorize(ids.get)(IDS)
    np.testing.assert_array_equal(dataset[1].mask.numpy(), expected)
    assert [dataset.sample_name(i) for i in range(len(dataset))] == ["000000", "000001"]
    assert (dataset.name, dataset.mask_file(0)) == ("hf", None)


def test_functions_of_the_item() -> None:
    items = [{"pair": FORMS["array"]}]
    dataset = WrappedDataset(
        items, LABELS, image=lambda item: item["pair"][0], mask=lambda item: item["pair"][1]
    )
    np.testing.assert_array_equal(dataset[0].mask.numpy(), IDS)


def test_real_pictures_of_another_owner(shared_data: Callable[[str], Path]) -> None:
    root = shared_data("camvid")
    own = CamVid(root, "val")
    pairs = [(Image.open(pair.image), Image.open(pair.mask)) for pair in own.pairs[:3]]
    wrapped = WrappedDataset(pairs, own.labels, ids=own.ids)
    for i in range(3):
        assert torch.equal(wrapped[i].image, own[i].image)
        assert torch.equal(wrapped[i].mask, own[i].mask)
    for picture in (picture for pair in pairs for picture in pair):
        picture.close()


# Bad input.


@pytest.mark.parametrize(
    ("item", "match"),
    [
        ((PIXELS, IDS[:5]), r"mask of item 0 of wrapped is 16x5 .* is 16x12\. They must match"),
        (
            (PIXELS / 255, IDS),
            r"image of item 0 of wrapped is .*float64 .* Take the source's transform",
        ),
        ((PIXELS, IDS / 255), r"mask of item 0 of wrapped is float64 .* expected integers"),
        ((PIXELS, PIXELS), r"mask of item 0 of wrapped is uint8 of shape \(12, 16, 3\)"),
        ((PIXELS, Image.fromarray(PIXELS)), "mask of item 0 of wrapped holds colors"),
        ((PIXELS, IDS % 100), r"mask of item 0 of wrapped holds the values 55, but there are 3"),
        ((PIXELS, IDS.astype(int) - 1), r"holds the values -1, 254, but there are 3 classes"),
        (("a.jpg", IDS), "image of item 0 of wrapped is a str; expected a picture of Pillow"),
        ((PIXELS, "a.png"), "mask of item 0 of wrapped is a str; expected a picture"),
        ((PIXELS,), r"Item 0 of wrapped has no 1, where its mask should be; it has 1 parts"),
        (
            {"img": PIXELS, "ann": IDS},
            r"has no 0, where its image should be; it has the keys img, ann\. Set image=",
        ),
        (7, "it has no parts: it is a int"),
    ],
)
def test_items_that_cannot_be_read(item: object, match: str) -> None:
    with pytest.raises(DataError, match=match):
        WrappedDataset([item], LABELS)[0]


def test_a_stream() -> None:
    def stream() -> Iterator[object]:
        yield FORMS["array"]

    with pytest.raises(DataError, match="generator is only gone through in order"):
        WrappedDataset(stream(), LABELS)  # type: ignore[arg-type]


@pytest.mark.parametrize("item", [(PIXELS, IDS), {"image": PIXELS, "mask": IDS}])
def test_a_data_set_of_another_library_is_answered_with_the_wrapper(item: object) -> None:
    foreign: Any = [item]
    with pytest.raises(TypeError, match=r"expected a Sample, got a .*WrappedDataset\(dataset"):
        TrainTransform((4, 4))(foreign[0], seed=0)
    for use in (
        inspect_data,
        class_statistics,
        lambda data: AugmentedDataset(data, TrainTransform((4, 4))),
        lambda data: evaluate(torch.nn.Identity(), data, EvalTransform()),
    ):
        with pytest.raises(TypeError, match=r"SegmentationDataset, got a list: wrap the data set"):
            use(foreign)
