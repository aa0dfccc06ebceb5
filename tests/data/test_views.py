from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

from lossmaxpool.data import (
    IGNORE_INDEX,
    AugmentedDataset,
    EvalTransform,
    EvaluationDataset,
    StreetScenes,
    TrainTransform,
    collate_padded,
)
from lossmaxpool.sampling import Draw

SCENES = StreetScenes(num_images=6, size=(48, 64))
ADDRESSES = [Draw(*a) for a in [(4, 7), (0, 7), (4, 8), (1, 9), (5, 2), (4, 7)]]


def test_items() -> None:
    item = AugmentedDataset(SCENES, TrainTransform((32, 40)))[Draw(4, 7)]
    assert item["image"].shape == (3, 32, 40)
    assert item["mask"].shape == (32, 40)
    assert item["index"] == 4


# Python 3.12 warns of every fork in a process with threads; nothing here holds a lock meanwhile.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("workers", [1, 2])
def test_crops_do_not_depend_on_the_number_of_workers(workers: int) -> None:
    dataset = AugmentedDataset(SCENES, TrainTransform((32, 40)))
    loader = DataLoader(
        dataset, batch_size=2, sampler=ADDRESSES, num_workers=workers,
        multiprocessing_context="fork",
    )  # fmt: skip
    batches = list(loader)
    images = torch.cat([batch["image"] for batch in batches])
    masks = torch.cat([batch["mask"] for batch in batches])
    for place, address in enumerate(ADDRESSES):
        assert torch.equal(images[place], dataset[address]["image"])
        assert torch.equal(masks[place], dataset[address]["mask"])


def test_one_address_gives_one_crop() -> None:
    dataset = AugmentedDataset(SCENES, TrainTransform((32, 40)))
    assert torch.equal(dataset[Draw(4, 7)]["image"], dataset[Draw(4, 7)]["image"])
    assert not torch.equal(dataset[Draw(4, 7)]["image"], dataset[Draw(4, 8)]["image"])


def test_evaluation_items_are_whole() -> None:
    dataset = EvaluationDataset(SCENES, EvalTransform())
    assert len(dataset) == 6
    assert dataset[2]["image"].shape == (3, 48, 64)
    assert torch.equal(dataset[2]["mask"], SCENES[2].mask.long())


def test_padding_is_ignored_and_of_the_mean_colour() -> None:
    items = [
        {"image": torch.ones(3, h, w), "mask": torch.ones(h, w).long(), "index": torch.tensor(h)}
        for h, w in ((2, 5), (4, 3))
    ]
    batch = collate_padded(items)
    assert batch["image"].shape == (2, 3, 4, 5)
    assert batch["index"].tolist() == [2, 4]
    assert (batch["mask"] == IGNORE_INDEX).sum(dim=(1, 2)).tolist() == [10, 8]
    assert (batch["image"][:, 0] == (batch["mask"] != IGNORE_INDEX)).all()
