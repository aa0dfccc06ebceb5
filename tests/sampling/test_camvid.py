"""On real street scenes: a class that is rare in the pixels is not rare in the crops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from lossmaxpool.data import CamVid
from lossmaxpool.sampling import ClassIndex, DrawnCrops, PerformanceSampler, file_fingerprint


def test_camvid(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    dataset = CamVid(shared_data("camvid"), "sequence-val")
    names = dataset.labels.names

    def build() -> ClassIndex:
        return ClassIndex.build(
            dataset.mask,
            len(dataset),
            len(names),
            fingerprint=lambda i: file_fingerprint(dataset.pairs[i].mask, dataset.ids),
            cache=tmp_path,
        )

    index = build()
    assert index.digest == build().digest
    assert index.absent == ()
    sampler = PerformanceSampler(
        index, 8, blend=1.0, update_interval=5, steps=25, class_names=names
    )
    # The network of a run that has neglected the sign symbols.
    iou = torch.full((len(names),), 0.8)
    iou[names.index("sign_symbol")] = 0.05
    draws = []
    for batch in sampler:
        draws += batch if sampler.step >= 10 else []
        sampler.update(iou)
    crops = DrawnCrops([(dataset[i].image, dataset.mask(i)) for i in range(len(dataset))], (96, 96))
    seen = torch.zeros(len(names), dtype=torch.int64)
    for draw in draws:
        row, column = draw.pixel(dataset.mask(draw.image)) or (0, 0)
        assert dataset.mask(draw.image)[row, column] == draw.focus
        target = crops[draw][1]
        seen += torch.bincount(target[target != 255], minlength=len(names))
    rare = names.index("sign_symbol")
    before = index.counts.sum(0).double() / index.counts.sum()
    after = seen.double() / seen.sum()
    assert after[rare] > 3 * before[rare]
