"""Synthetic run folders: two methods, two seeds, numbers that a small training could have given."""

from __future__ import annotations

import io
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lossmaxpool.data import DataConfig
from lossmaxpool.runs.config import TrainConfig
from lossmaxpool.runs.record import RunRecord

CLASSES = [
    "road",
    "building",
    "sky",
    "tree",
    "car",
    "fence",
    "pole",
    "sign <&> symbol",
    "bicyclist",
]
COLORS = [
    [128, 64, 128], [128, 0, 0], [128, 128, 128], [128, 128, 0], [64, 0, 128],
    [64, 64, 128], [192, 192, 128], [192, 128, 128], [0, 128, 192],
]  # fmt: skip
TRAIN_PIXELS = [3300000, 2400000, 1750000, 1000000, 600000, 120000, 100000, 60000, 30000]
VAL_PIXELS = [290000, 260000, 90000, 160000, 17000, 31000, 6000, 9000, 22000]
BASE_IOU = [0.92, 0.78, 0.89, 0.71, 0.62, 0.18, 0.11, 0.05, 0.02]
LABELS = {
    "base": "BASE",
    "loss-only": "LMP (loss only)",
    "inverse-median": "Inverse median",
    "bootstrap": "Bootstrap",
}
GAIN = {
    "base": [0.0] * 9,
    "loss-only": [-0.006, 0.004, 0.002, 0.012, 0.03, 0.02, 0.07, 0.17, 0.31],
    "inverse-median": [-0.03, -0.02, -0.01, -0.01, 0.02, 0.05, -0.04, 0.11, 0.22],
    "bootstrap": [-0.01, 0.004, -0.004, 0.012, 0.01, 0.04, 0.02, 0.07, 0.0],
}


def png(width: int, height: int, *colors: tuple[int, ...]) -> bytes:
    """A PNG of stripes of the given colors."""
    stripes = np.arange(width) * len(colors) // width
    pixels = np.tile(np.array(colors, dtype=np.uint8)[stripes], (height, 1, 1))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()


def make_record(method: str = "base", seed: int = 0, steps: int = 200) -> dict[str, Any]:
    """The record of a finished run."""
    chance = random.Random(f"{method} {seed}")
    confusion = _confusion(
        [
            iou + gain + chance.gauss(0, 0.012)
            for iou, gain in zip(BASE_IOU, GAIN[method], strict=True)
        ],
        VAL_PIXELS,
    )
    final = [
        row[c] / (sum(row) + sum(other[c] for other in confusion) - row[c])
        for c, row in enumerate(confusion)
    ]
    accuracy = sum(row[c] for c, row in enumerate(confusion)) / sum(map(sum, confusion))
    evaluations = []
    for part in range(1, 6):
        iou = [value * (1 - math.exp(-part)) / (1 - math.exp(-5)) for value in final]
        evaluations.append(
            {
                "step": steps * part // 5,
                "miou": sum(iou) / len(iou),
                "pixel_accuracy": accuracy - 0.05 * (5 - part),
                "iou": iou,
            }
        )
    curve = [
        {
            "step": step,
            "loss": 3.2 * math.exp(-step / 60) + 0.5 + chance.gauss(0, 0.05),
            "cross_entropy": 2.2 * math.exp(-step / 50) + 0.4 + chance.gauss(0, 0.04),
            "learning_rate": 0.01 * (1 - step / (steps + 1)) ** 0.9,
        }
        for step in range(1, steps + 1)
    ]
    config = TrainConfig(method=method, seed=seed, data=DataConfig(name="street-scenes"))
    record = RunRecord(
        status="finished",
        method=method,
        label=LABELS[method],
        seed=seed,
        data={
            "name": "street-scenes",
            "train_split": "train",
            "val_split": "val",
            "train_images": 120,
            "val_images": 40,
        },
        classes=list(CLASSES),
        colors=[list(color) for color in COLORS],
        train_pixels=list(TRAIN_PIXELS),
        val_pixels=list(VAL_PIXELS),
        config=config.to_dict(),
        environment={
            "date": f"2026-11-22T1{seed}:00:00+00:00",
            "device": "cpu",
            "threads": 2,
            "python": "3.12.4",
            "lossmaxpool": "0.1.0",
            "torch": "2.15.0",
            "command": f"lossmaxpool train --method {method} --seed {seed}",
        },
        curve=curve,
        evaluations=evaluations,
        confusion=confusion,
        examples=[
            {
                "name": f"scene-{k:03d}",
                "image": f"examples/{k}.image.png",
                "truth": f"examples/{k}.truth.png",
                "prediction": f"examples/{k}.prediction.png",
                "weights": f"examples/{k}.weights.png",
            }
            for k in range(2)
        ],
        seconds=140.0 + seed,
    )
    content: dict[str, Any] = json.loads(json.dumps(record.to_dict()))
    return content


def with_classes(
    record: dict[str, Any], names: list[str], train: list[int], val: list[int], recall: list[float]
) -> None:
    """The same run on other classes; their misses go to the frequent ones."""
    counts = np.array(_confusion(recall, val))
    union = counts.sum(0) + counts.sum(1) - counts.diagonal()
    iou = [float(counts[c, c] / union[c]) if union[c] else None for c in range(len(names))]
    present = [value for value in iou if value is not None]
    scores = {
        "iou": iou,
        "miou": math.fsum(present) / len(present),
        "pixel_accuracy": float(counts.trace() / counts.sum()),
    }
    record.update(classes=names, train_pixels=train, val_pixels=val, confusion=counts.tolist())
    record.update(colors=[[c, 255 - c, 7] for c in range(len(names))], **scores)
    record["evaluations"] = [{"step": record["evaluations"][-1]["step"], **scores}]


def many_classes(record: dict[str, Any]) -> None:
    """A long tail of 59 classes: most of them are never found, the last nine never trained."""
    names = [f"class {c}" for c in range(59)]
    train = [10**7 // (c + 1) ** 3 if c < 50 else 0 for c in range(59)]
    gain = 0.0 if record["method"] == "base" else 0.03
    found = [max(0.0, 0.9 - 0.06 * c) for c in range(59)]
    recall = [
        r + gain * (c % 3) + 0.004 * record["seed"] if r else 0.0 for c, r in enumerate(found)
    ]
    with_classes(record, names, train, [pixels // 10 for pixels in train], recall)


def _confusion(recall: list[float], val: list[int]) -> list[list[int]]:
    """Pixels by true and predicted class: misses go to the frequent classes."""
    matrix = []
    for true, pixels in enumerate(val):
        found = round(pixels * min(1.0, max(0.0, recall[true])))
        others = [0 if c == true else count for c, count in enumerate(val)]
        row = [(pixels - found) * count // sum(others) for count in others]
        row[true] = pixels - sum(row)
        matrix.append(row)
    return matrix


def write_run(root: Path, record: dict[str, Any]) -> Path:
    """A run folder holding the record and its example images."""
    folder = root / f"{record['method']}-seed{record['seed']}"
    (folder / "examples").mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    for example in record.get("examples") or []:
        for channel, kind in enumerate(("image", "truth", "prediction", "weights")):
            if example.get(kind):
                colors = [(60 * channel, 90, 120)]
                if kind in ("truth", "prediction"):
                    colors = [tuple(record["colors"][c]) for c in (0, -1)]
                (folder / example[kind]).write_bytes(png(24, 18, *colors))
    for suspect in record.get("suspects") or []:
        (folder / "suspects").mkdir(exist_ok=True)
        (folder / suspect["picture"]).write_bytes(png(30, 10, (9, 9, 9), (200, 0, 0)))
    return folder


@pytest.fixture
def make_runs(tmp_path: Path) -> Callable[..., list[Path]]:
    """Writes finished runs of the given methods for every seed; `edit` may change each record."""

    def make(
        *methods: str,
        seeds: tuple[int, ...] = (0, 1),
        edit: Callable[[dict[str, Any]], None] = lambda record: None,
    ) -> list[Path]:
        folders = []
        for method in methods:
            for seed in seeds:
                record = make_record(method, seed)
                edit(record)
                folders.append(write_run(tmp_path / "runs", record))
        return folders

    return make


def with_calibration(record: dict[str, Any]) -> None:
    """Bins of 15: right as often as it says, but a method that pools by a fifth more often."""
    gap = 0.0 if record["method"] == "base" else 0.2
    sure = [(b + 0.5) / 15 for b in range(15)]
    right = [min(1.0, value + gap) for value in sure]
    pixels = [0, *(1000 * b + record["seed"] for b in range(1, 15))]
    gaps = [n * (r - s) for n, r, s in zip(pixels, right, sure, strict=True)]
    record["calibration"] = {
        "ece": sum(gaps) / sum(pixels),
        "classwise_ece": 0.01,
        "pixels": pixels,
        "confidence": [None, *sure[1:]],
        "accuracy": [None, *right[1:]],
    }


def with_weights(record: dict[str, Any]) -> None:
    """Looks at the weights of a method that pools, and two suspected labels with pictures."""
    if record["method"] == "base":
        return
    total = sum(record["train_pixels"])
    share = [pixels / total for pixels in record["train_pixels"]]
    for step in range(20, 201, 20):
        mass = [s * (2.0 if s < 0.01 else 1.0) for s in share]
        record["weights"].append(
            {
                "step": step,
                "threshold": 2.0 - step / 200,
                "capped_share": 0.1 + step / 4000,
                "effective_support": 0.5,
                "class_mass": [m / sum(mass) for m in mass],
                "class_share": share,
            }
        )
    for k in range(2):
        record["suspects"].append(
            {
                "name": f"scene {k}",
                "box": [0.1, 0.2, 0.3, 0.4],
                "label": "pole",
                "predicted": "sign <&> symbol",
                "score": 3.0 - k,
                "persistence": 0.75,
                "picture": f"suspects/00{k + 1}.png",
            }
        )
