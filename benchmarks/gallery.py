"""The gallery: what loss max-pooling changed on images, class by class, gains and losses alike.

    python -m benchmarks.gallery --runs runs/demo
    python -m benchmarks.gallery --runs runs/mine --root my-data --out gallery
    python -m benchmarks.gallery --render    # the page again, from the results

The runs are those of ``lossmaxpool compare`` or ``demo``, with methods base and lmp. Of the drawn
scenes, pictures and numbers go to docs/ and benchmarks/results/; of all other data, whose licenses
may forbid it, everything goes to the folder ``--out`` on this machine. What is shown is chosen by
rule: the images with the highest gain, those in the middle and those with the greatest loss.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.blocks import filled
from benchmarks.drawing import OURS, RIVAL, drawing, write
from benchmarks.pictures import IMAGES, RESULTS, ROOT, grid
from lossmaxpool.data import EvalTransform, SegmentationDataset, open_dataset
from lossmaxpool.inference import TrainedModel, load_checkpoint, predict_ids, predict_logits
from lossmaxpool.metrics import ConfusionMatrix
from lossmaxpool.options import DataConfig
from lossmaxpool.report.wording import count, percent, points
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training.pictures import heat_map, max_pooling_weights, paint

PAGE = ROOT / "docs" / "gallery.md"
SCENES = "street-scenes"
BEFORE, AFTER = "base", "lmp"
# So many images of each kind are drawn.
SHOWN = 3
# Fewer pixels of a class in an image say nothing of it; smaller changes of its IoU are none.
FEW, CHANGED = 30, 0.05
# Rows and columns of the map of where predictions changed.
CELLS = (8, 12)
KINDS = {
    "gains": "the highest gains",
    "middle": "in the middle",
    "losses": "the greatest losses",
}


@dataclass
class ComparedPredictions:
    """The predictions of two methods for the images of a split, over the seeds of both.

    Args:
        gain: (seeds, images) gain of AFTER in the mean IoU of the classes of an image.
        counts: (2, seeds, images, C, C) confusion before and after.
        change: Share of the pixels that are right after less that before, by cell of the frame.
    """

    gain: Tensor
    counts: Tensor
    change: Tensor


def folders(runs: Path) -> dict[int, tuple[Path, Path]]:
    """The runs of both methods by seed."""
    records = [RunRecord.read(path.parent) for path in sorted(runs.glob("*/record.json"))]
    by_method = {
        name: {one.seed: one.folder for one in records if one.method == name and one.finished}
        for name in (BEFORE, AFTER)
    }
    common = sorted(by_method[BEFORE].keys() & by_method[AFTER].keys())
    if not common:
        raise SystemExit(f"{runs} holds no seed that both {BEFORE} and {AFTER} finished")
    return {seed: (by_method[BEFORE][seed], by_method[AFTER][seed]) for seed in common}


def opened(folder: Path, root: Path | None) -> SegmentationDataset:
    """The images that a run was evaluated on; ``root`` is where they are on this machine."""
    options = RunRecord.read(folder).config["data"]
    if root is not None:
        options = options | {"root": root, "classes": None}
    config = DataConfig(**options)
    return open_dataset(config, config.val_split)


def look(
    pairs: Sequence[tuple[TrainedModel, TrainedModel]], data: SegmentationDataset
) -> ComparedPredictions:
    """Predict every image with every network, and count."""
    number = data.labels.num_classes
    counts = torch.zeros(2, len(pairs), len(data), number, number, dtype=torch.int64)
    right, seen = torch.zeros(CELLS), torch.zeros(CELLS)
    for s, pair in enumerate(pairs):
        for i in range(len(data)):
            found = []
            for side, one in enumerate(pair):
                image, target = EvalTransform(one.description.mean, one.description.std)(data[i])
                found.append(predict_ids(one.model, image[None])[0])
                matrix = ConfusionMatrix(number)
                matrix.update(found[side], target)
                counts[side, s, i] = matrix.counts
            valid = target < number
            change = ((found[1] == target).float() - (found[0] == target).float()) * valid
            right += F.adaptive_avg_pool2d(change[None], CELLS)[0]
            seen += F.adaptive_avg_pool2d(valid[None].float(), CELLS)[0]
    iou = _iou(counts)
    present = (counts[0].sum(dim=-1) >= FEW) & iou.isfinite().all(dim=0)
    change = torch.where(present, iou[1] - iou[0], 0.0).sum(dim=-1)
    gain = change / present.sum(dim=-1).clamp(min=1)
    return ComparedPredictions(gain, counts, right / seen.clamp(min=1e-9))


def _iou(counts: Tensor) -> Tensor:
    hit = counts.diagonal(dim1=-2, dim2=-1).double()
    return hit / (counts.sum(dim=-1) + counts.sum(dim=-2) - hit)


def numbers(found: ComparedPredictions, names: Sequence[str]) -> dict[str, Any]:
    """The numbers on the page; they contain no image and no mask."""
    total = found.counts.sum(dim=(1, 2))
    before, after = (ConfusionMatrix.from_counts(total[side]) for side in (0, 1))
    iou = _iou(found.counts)
    change = iou[1] - iou[0]
    enough = (found.counts[0].sum(dim=-1) >= FEW) & change.isfinite()
    rows = []
    for c, name in enumerate(names):
        missed = total[0][c].clone()
        missed[c] = -1
        other, pixels = int(missed.argmax()), total[:, c].sum(dim=-1)
        rows.append(
            {
                "class": name,
                "share": float(pixels[0] / total[0].sum()),
                "iou": [float(before.iou()[c]), float(after.iou()[c])],
                "recall": [float(before.recall()[c]), float(after.recall()[c])],
                "precision": [float(before.precision()[c]), float(after.precision()[c])],
                "taken for": names[other],
                "taken": [float(total[side][c, other] / pixels[side]) for side in (0, 1)],
                "images": int(enough[..., c].sum()),
                "better": int((enough & (change > CHANGED))[..., c].sum()),
                "worse": int((enough & (change < -CHANGED))[..., c].sum()),
            }
        )
    return {
        "miou": [before.miou(), after.miou()],
        "images": found.gain.shape[1],
        "seeds": found.gain.shape[0],
        "better": int((found.gain > 0).sum()),
        "worse": int((found.gain < 0).sum()),
        "classes": rows,
        "map": [[round(value, 4) for value in row] for row in found.change.tolist()],
    }


def chosen(gain: Tensor) -> dict[str, list[int]]:
    """The images of each kind, of the first seed: by rule, none twice."""
    order = gain.argsort(descending=True, stable=True).tolist()
    shown = min(SHOWN, len(order) // 3)
    middle = (len(order) - shown) // 2
    return {
        "gains": order[:shown],
        "middle": order[middle : middle + shown],
        "losses": order[::-1][:shown],
    }


def rows_of(
    indices: Sequence[int],
    found: ComparedPredictions,
    pair: tuple[TrainedModel, TrainedModel],
    data: SegmentationDataset,
) -> Figure:
    """Image, truth, both predictions and the weights, a row for each image."""
    rows, captions = [], []
    for index in indices:
        sample, drawn = data[index], []
        colors = pair[0].description.colors
        for one in pair:
            image, target = EvalTransform(one.description.mean, one.description.std)(sample)
            logits = predict_logits(one.model, image[None])
            if not drawn:
                weights = max_pooling_weights(logits, target[None], p=1.3, min_support=0.25)[0]
            drawn.append(paint(logits[0].argmax(dim=0).to(torch.uint8), colors))
        truth = paint(sample.mask, colors)
        image = sample.image.permute(1, 2, 0).numpy()
        rows.append([image, truth, *drawn, heat_map(sample, weights)])
        captions.append(_caption(found, index, data.labels.names))
    return grid(rows, captions)


def _caption(found: ComparedPredictions, index: int, names: Sequence[str]) -> str:
    iou = _iou(found.counts[:, 0, index])
    enough = found.counts[0, 0, index].sum(dim=-1) >= FEW
    change = torch.where(enough, iou[1] - iou[0], 0.0).nan_to_num()
    most = change.abs().argsort(descending=True)[:4].tolist()
    told = [f"{names[c]} {points(float(change[c]))}" for c in most if abs(change[c]) >= CHANGED]
    return f"{points(float(found.gain[0, index]))} points of IoU: " + (", ".join(told) or "little")


def where(content: dict[str, Any]) -> Figure:
    """The part of the pixels that are right after less that before, by cell of the frame."""
    cells = 100 * np.array(content["map"])
    top = max(1.0, float(np.abs(cells).max()))
    with drawing():
        figure = Figure(figsize=(5.2, 2.6), layout="constrained")
        axes = figure.subplots()
        shown = axes.imshow(cells, cmap="PuOr_r", vmin=-top, vmax=top)
        axes.set(xticks=[], yticks=[], ylabel="from the top of the frame")
        axes.spines[:].set_visible(False)
        figure.colorbar(shown, ax=axes, label="points of pixel accuracy, LMP less BASE")
    figure.set_label("Where in the frame loss max-pooling is right more often, and less often.")
    return figure


def by_seed(study: Path) -> Figure:
    """IoU of every class and seed of a committed study, losses first."""
    records = json.loads(study.read_text(encoding="utf-8"))["records"]
    scores = {
        name: np.array([one["iou"] for one in records if one["method"] == name])
        for name in (BEFORE, AFTER)
    }
    gain = (scores[AFTER] - scores[BEFORE]).mean(axis=0)
    order, names = np.argsort(-gain), records[0]["classes"]
    with drawing():
        figure = Figure(figsize=(8.4, 0.34 * len(names) + 0.9), layout="constrained")
        axes = figure.subplots()
        for y, c in enumerate(order):
            means = [100 * scores[name][:, c].mean() for name in (BEFORE, AFTER)]
            axes.plot(means, [y, y], color=OURS if gain[c] > 0 else "#1d4ed8", linewidth=2.2)
            for name, color in ((BEFORE, RIVAL), (AFTER, OURS)):
                values = 100 * scores[name][:, c]
                axes.scatter(values, [y] * len(values), s=16, color=color, zorder=3)
            axes.text(103, y, points(gain[c]), va="center", ha="left")
        axes.set(xlim=(-1, 112), yticks=range(len(names)), xlabel="IoU in percent")
        axes.set_xticks(range(0, 101, 20))
        axes.set_yticklabels([names[c] for c in order])
        for label, color in (("BASE, each seed", RIVAL), ("LMP, each seed", OURS)):
            axes.scatter([], [], s=16, color=color, label=label)
        axes.plot([], [], color="#1d4ed8", linewidth=2.2, label="a class that lost")
        axes.legend(loc="lower right", bbox_to_anchor=(0.92, 0.0))
        axes.grid(axis="x")
    figure.set_label("IoU of each class under each seed; the line leads from BASE to LMP.")
    return figure


DRAWN = {
    "gallery-camvid.svg": lambda: by_seed(RESULTS / "camvid-converged.json"),
    "gallery-where.svg": lambda: where(_read()),
}


def _read() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / "gallery.json").read_text(encoding="utf-8"))
    return content


def table(content: dict[str, Any]) -> str:
    """Every class, those that lost first."""
    head = ("class", "IoU", "gain", "found", "right", "images better, worse", "missed, taken for")
    lines = ["| " + " | ".join(head) + " |", "| :-- |" + " --: |" * 5 + " :-- |"]
    for row in sorted(content["classes"], key=lambda row: row["iou"][1] - row["iou"][0]):
        cells = [
            row["class"],
            _arrow(row["iou"]),
            points(row["iou"][1] - row["iou"][0]),
            _arrow(row["recall"]),
            _arrow(row["precision"]),
            f"{row['better']}, {row['worse']} of {row['images']}",
            f"{row['taken for']} {_arrow(row['taken'])}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _arrow(pair: Sequence[float]) -> str:
    return f"{percent(pair[0])} → {percent(pair[1])}"


def summary(content: dict[str, Any]) -> str:
    """The result over all images in a sentence."""
    images, seeds = count(content["images"], "image"), count(content["seeds"], "seed")
    pairs = content["images"] * content["seeds"]
    return (
        f"mIoU {_arrow(content['miou'])} over {images} and {seeds}, after {content['steps']:,} "
        f"steps. Of {pairs} pairs of predictions, {content['better']} are better with loss "
        f"max-pooling and {content['worse']} worse."
    )


def rendered(page: str) -> str:
    """The page with its numbers as the results have them."""
    blocks = {"classes": table, "summary": summary}
    return filled(page, "gallery", lambda name: blocks[name](_read()))


def render() -> None:
    """Write the blocks of the page, and the figures that need no run."""
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    for name, draw in DRAWN.items():
        write(draw(), IMAGES / name)


def write_gallery(runs: Path, root: Path | None, out: Path | None) -> list[Path]:
    """Look at all images with the networks of both methods; pictures, numbers, a table."""
    pairs_of_seeds = folders(runs)
    first = pairs_of_seeds[min(pairs_of_seeds)]
    record = RunRecord.read(first[0])
    ours = record.data.name == SCENES
    if not ours and out is None:
        raise SystemExit(
            f"the runs are of {record.data_name}: give --out, a folder for their pictures; those "
            "of the drawn scenes alone go to docs/"
        )
    images, results = (IMAGES, RESULTS) if out is None else (out, out)
    results.mkdir(parents=True, exist_ok=True)
    data = opened(first[0], root)
    names = data.labels.names
    pairs = [
        (load_checkpoint(before, names), load_checkpoint(after, names))
        for before, after in pairs_of_seeds.values()
    ]
    found = look(pairs, data)
    content = {
        "command": "python -m benchmarks.gallery --runs runs/demo, after lossmaxpool demo"
        if ours
        else f"python -m benchmarks.gallery, on {record.data_name}",
        "environment": {k: v for k, v in record.environment.items() if k != "command"},
        "steps": pairs[0][0].step,
        **numbers(found, names),
    }
    written = [results / "gallery.json"]
    written[0].write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for kind, indices in chosen(found.gain[0]).items():
        written.append(images / f"gallery-{kind}.png")
        with drawing():
            figure = rows_of(indices, found, pairs[0], data)
            figure.savefig(written[-1], dpi=110, metadata={"Software": None})
    if out is not None:
        written += [out / "gallery-where.svg", out / "gallery.md"]
        write(where(content), written[-2])
        pictures = [f"![{KINDS[kind]}](gallery-{kind}.png)" for kind in KINDS]
        page = [summary(content), *pictures, table(content), "![where](gallery-where.svg)"]
        written[-1].write_text("\n\n".join(page) + "\n", encoding="utf-8")
    return written


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, help="folder of the runs of a comparison")
    parser.add_argument("--root", type=Path, help="where their data are on this machine")
    parser.add_argument("--out", type=Path, help="folder for the pictures and the numbers")
    parser.add_argument("--render", action="store_true", help="from the results that are there")
    options = parser.parse_args()
    if not options.render:
        if options.runs is None:
            parser.error("give --runs, or --render")
        for path in write_gallery(options.runs, options.root, options.out):
            print(path)
    if options.out is None:
        render()


if __name__ == "__main__":
    main()
