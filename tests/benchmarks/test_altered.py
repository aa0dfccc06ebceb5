"""Folds keep what resembles each other together; wrong labels are as many as was asked for."""

from __future__ import annotations

import torch
from benchmarks.altered import Altered, Joined, folds

from lossmaxpool.data import IGNORE_INDEX, StreetScenes


def test_an_object_is_in_one_fold_and_every_kind_in_all() -> None:
    names = [
        f"{kind}_exp{exposure}_num_{kind}{number}"
        for kind in ("crack", "fray")
        for number in range(7)
        for exposure in range(3)
    ]
    held = folds(names, 3)
    assert sorted(index for fold in held for index in fold) == list(range(len(names)))
    objects = [{names[index].split("_num_")[1] for index in fold} for fold in held]
    assert not objects[0] & objects[1]
    assert not objects[0] & objects[2]
    for fold in held:
        assert {names[index].split("_exp")[0] for index in fold} == {"crack", "fray"}


def test_neighbors_share_a_fold() -> None:
    assert folds([f"{k:03}" for k in range(10)], 5) == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]


def test_smaller_images_keep_their_classes() -> None:
    scenes = StreetScenes("train", 2, (64, 96))
    small = Altered(Joined([scenes, scenes], "twice"), shrink=2)
    assert len(small) == 4
    sample = small[3]
    assert tuple(sample.image.shape) == (3, 32, 48)
    assert torch.equal(sample.mask, small.mask(3))
    assert set(sample.mask.unique().tolist()) <= set(scenes.mask(1).unique().tolist())


def test_wrong_labels_have_the_share_that_was_asked_for() -> None:
    scenes = StreetScenes("train", 12, (64, 96))
    planted = Altered(scenes, wrong=0.2, seed=1)
    assert torch.equal(planted.mask(3), Altered(scenes, wrong=0.2, seed=1)[3].mask)
    assert not torch.equal(planted.mask(3), Altered(scenes, wrong=0.2, seed=2).mask(3))
    wrong = labeled = 0
    for index in range(len(scenes)):
        true, mask = scenes.mask(index), planted.mask(index)
        valid = true != IGNORE_INDEX
        assert torch.equal(mask == IGNORE_INDEX, ~valid)
        wrong += int((true != mask)[valid].sum())
        labeled += int(valid.sum())
    assert 0.15 < wrong / labeled < 0.25
