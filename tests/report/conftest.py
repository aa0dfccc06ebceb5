"""Synthetic run folders: two methods, two seeds, numbers that a small training could have given."""

from __future__ import annotations

import json
import math
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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


def png(width: int, height: int, rgb: tuple[int, int, int]) -> bytes:
    """A PNG of one colour, written by hand so that the report's tests need no image library."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    rows = (b"\0" + bytes(rgb) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def make_record(method: str = "base", seed: int = 0, steps: int = 200) -> dict[str, Any]:
    """The record of a finished run."""
    chance = random.Random(f"{method} {seed}")
    confusion = _confusion(
        [
            iou + gain + chance.gauss(0, 0.012)
            for iou, gain in zip(BASE_IOU, GAIN[method], strict=True)
        ]
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
    return {
        "schema": 1,
        "status": "finished",
        "method": method,
        "label": LABELS[method],
        "seed": seed,
        "data": {
            "name": "street-scenes",
            "train_split": "train",
            "val_split": "val",
            "train_images": 120,
            "val_images": 40,
        },
        "classes": list(CLASSES),
        "colors": [list(color) for color in COLORS],
        "train_pixels": list(TRAIN_PIXELS),
        "val_pixels": list(VAL_PIXELS),
        "config": {
            "seed": seed,
            "steps": steps,
            "loss": {"name": method, "p": 1.3 if method == "loss-only" else None},
            "optimizer": {"learning_rate": 0.01, "momentum": 0.9},
        },
        "environment": {
            "date": f"2026-11-22T1{seed}:00:00+00:00",
            "device": "cpu",
            "threads": 2,
            "python": "3.12.4",
            "lossmaxpool": "0.1.0",
            "torch": "2.15.0",
            "command": f"lossmaxpool train --loss {method} --seed {seed}",
        },
        "curve": curve,
        "evaluations": evaluations,
        "confusion": confusion,
        **{key: evaluations[-1][key] for key in ("iou", "miou", "pixel_accuracy")},
        "examples": [
            {
                "name": f"scene-{k:03d}",
                "image": f"examples/{k}.image.png",
                "truth": f"examples/{k}.truth.png",
                "prediction": f"examples/{k}.prediction.png",
                "weights": f"examples/{k}.weights.png",
            }
            for k in range(2)
        ],
        "seconds": 140.0 + seed,
    }


def _confusion(recall: list[float]) -> list[list[int]]:
    """Pixels by true and predicted class: what is missed goes to the frequent classes."""
    matrix = []
    for true, pixels in enumerate(VAL_PIXELS):
        found = round(pixels * min(1.0, max(0.0, recall[true])))
        others = [0 if c == true else count for c, count in enumerate(VAL_PIXELS)]
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
                (folder / example[kind]).write_bytes(png(24, 18, (60 * channel, 90, 120)))
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
