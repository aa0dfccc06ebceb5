"""The pictures that explain: before and after, cost, losses to weights, Algorithm 1, p and m.

``python -m benchmarks.pictures`` draws them from committed material alone: benchmarks/results, the
example of the explorer, and the oracle. With ``--runs runs/demo`` the predictions of two runs of
``lossmaxpool demo`` are computed anew, into before-after.png and
benchmarks/results/first-screen.json, and Chromium photographs the report of its runs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from benchmarks.drawing import OURS, RIVAL, drawing, write
from benchmarks.speed.contenders import BASELINE
from benchmarks.speed.results import read
from lossmaxpool.data import DataConfig, EvalTransform, open_dataset
from lossmaxpool.explorer.page import read_example
from lossmaxpool.inference import load_checkpoint, predict_logits
from lossmaxpool.paper import theorems
from lossmaxpool.paper.weighting_set import conjugate
from lossmaxpool.report import write_report
from lossmaxpool.report.statistics import paired_gain
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training.pictures import heat_map, max_pooling_weights, paint

ROOT = Path(__file__).resolve().parents[1]
RESULTS, IMAGES = ROOT / "benchmarks" / "results", ROOT / "docs" / "images"
FIRST_SCREEN = "first-screen.json"

# The scenes of the validation split that the first screen shows: chosen for a large difference.
SCENES = (14, 34)
BEFORE, AFTER = "base", "lmp"
# A class of less than this share of a scene is named below it where its recall changed.
SMALL, CHANGED = 0.05, 0.1
EIGHT = (0.2, 0.3, 0.5, 0.7, 1.0, 1.6, 2.4, 3.0)
P, M = 1.3, 4.0


def first_screen(runs: Path) -> None:
    """Predict the scenes with both networks; a picture, and the numbers beside it."""
    records = {name: RunRecord.read(runs / f"{name}-seed0") for name in (BEFORE, AFTER)}
    trained = {name: load_checkpoint(runs / f"{name}-seed0") for name in records}
    config = records[BEFORE].config["data"]
    data = open_dataset(DataConfig(name="street-scenes", val_scenes=config["val_scenes"]), "val")
    description = trained[BEFORE].description
    transform = EvalTransform(description.mean, description.std)
    rows, scenes = [], []
    for index in SCENES:
        sample = data[index]
        image, target = transform(sample)
        logits = {
            name: predict_logits(one.model, image[None]).cpu() for name, one in trained.items()
        }
        found = {name: one[0].argmax(dim=0) for name, one in logits.items()}
        weights = max_pooling_weights(logits[BEFORE], target[None], p=1.3, min_support=0.25)[0]
        drawn = [paint(found[name].to(torch.uint8), description.colors) for name in found]
        truth = paint(sample.mask, description.colors)
        heat = heat_map(sample, weights)
        rows.append([sample.image.permute(1, 2, 0).numpy(), truth, drawn[0], drawn[1], heat])
        recall = {
            name: [_recall(found[run], sample.mask, c) for run in (BEFORE, AFTER)]
            for c, name in enumerate(description.classes)
            if 0 < float((sample.mask == c).float().mean()) < SMALL
        }
        scenes.append({"scene": sample.name, "recall of small classes": recall})
    content = {
        "command": "python -m benchmarks.pictures --runs runs/demo, after lossmaxpool demo",
        "environment": {k: v for k, v in records[BEFORE].environment.items() if k != "command"},
        "steps": trained[BEFORE].step,
        "mIoU": {name: record.miou for name, record in records.items()},
        "IoU": {name: dict(zip(r.classes, r.iou, strict=True)) for name, r in records.items()},
        "scenes": scenes,
        "over all seeds": _over_seeds(runs),
    }
    (RESULTS / FIRST_SCREEN).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    figure = grid(rows, [_caption(scene["recall of small classes"]) for scene in scenes])
    with drawing():
        figure.savefig(IMAGES / "before-after.png", dpi=150, metadata={"Software": None})


def _over_seeds(runs: Path) -> dict[str, Any]:
    """The mIoU of both methods by seed, and the paired gain with its 95 % interval."""
    miou = {
        name: {
            run.seed: run.results.miou for run in map(RunRecord.read, runs.glob(f"{name}-seed*"))
        }
        for name in (BEFORE, AFTER)
    }
    gain = paired_gain(miou[BEFORE], miou[AFTER])
    return {"mIoU": miou, "gain": gain.mean, "low": gain.low, "high": gain.high, "seeds": gain.n}


def _recall(found: torch.Tensor, truth: torch.Tensor, c: int) -> float:
    return float((found[truth == c] == c).float().mean())


def _caption(recall: dict[str, list[float]]) -> str:
    changed = [
        f"{name} {before:.0%} → {after:.0%}"
        for name, (before, after) in recall.items()
        if abs(after - before) >= CHANGED
    ]
    return "pixels found: " + ", ".join(changed)


def grid(rows: Sequence[Sequence[NDArray[np.uint8]]], captions: Sequence[str]) -> Figure:
    """A row for each image: itself, its truth, both predictions and the weights."""
    titles = ("image", "truth", "cross-entropy", "loss max-pooling", "where its weights sit")
    with drawing():
        figure = Figure(figsize=(11, 1.85 * len(rows) + 0.15), layout="constrained")
        cells = figure.subplots(len(rows), len(titles), squeeze=False)
        for row, (pictures, caption) in enumerate(zip(rows, captions, strict=True)):
            for axes, picture, title in zip(cells[row], pictures, titles, strict=True):
                axes.imshow(picture, interpolation="nearest")
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
                if row == 0:
                    weight = "bold" if title == "loss max-pooling" else "normal"
                    axes.set_title(title, fontsize=10, weight=weight)
            below = {"transform": cells[row][0].transAxes, "va": "top", "in_layout": False}
            cells[row][0].text(0, -0.05, caption, fontsize=8.5, color="#444", **below)
        figure.get_layout_engine().set(h_pad=0.16)
    return figure


def report_page(runs: Path) -> None:
    """Photograph the beginning of the report of base and lmp, as a reader meets it on a screen."""
    browser = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None
    )
    if browser is None:
        raise FileNotFoundError("the report is photographed by Chromium, and none is installed")
    folders = [run for name in (BEFORE, AFTER) for run in sorted(runs.glob(f"{name}-seed*"))]
    with tempfile.TemporaryDirectory() as folder:
        page, picture = write_report(folders, Path(folder)), Path(folder) / "report.png"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        options += [f"--user-data-dir={folder}/profile", "--window-size=920,1985"]
        words = [browser, *options, f"--screenshot={picture}", page.as_uri()]
        subprocess.run(words, check=True, capture_output=True, timeout=120)
        with Image.open(picture) as shown:
            shown.convert("RGB").quantize(200).save(IMAGES / "report.png", optimize=True)


def cost() -> Figure:
    """Time and memory of the loss beside those of cross-entropy, on the committed run."""
    results = read("cpu")
    assert results is not None
    dense = results.of("dense", malloc="default", shape=[2, 19, 550, 550])[0]
    upsampled = next(case for case in results.of("upsampling") if case.shape[1] == 19)
    rows = [
        ("logits of full size", dense),
        ("logits of 1/8 the size, upsampled by the loss", upsampled),
    ]
    with drawing():
        figure = Figure(figsize=(8.4, 1.75), layout="constrained")
        pair = figure.subplots(1, 2, sharey=True)
        measures = {"time, forward + backward": "median_ms", "extra memory": "extra_bytes"}
        for axes, (title, measure) in zip(pair, measures.items(), strict=True):
            for k, (_, case) in enumerate(rows):
                share = case.ratio(case.ours, BASELINE, measure)
                assert share is not None
                axes.barh(k - 0.19, 1, 0.34, color=RIVAL)
                axes.barh(k + 0.19, share, 0.34, color=OURS)
                name = "  loss max-pooling" if k == 0 else ""
                axes.text(share + 0.02, k + 0.19, f"{share:.2f}{name}", va="center", color=OURS)
            axes.set(title=title, xlim=(0, 1.12), yticks=range(2), xticks=(0, 0.5, 1))
            axes.set_yticklabels([name for name, _ in rows])
            axes.text(0.98, -0.19, "F.cross_entropy", va="center", ha="right", color="#fff")
            axes.tick_params(left=False)
        pair[0].invert_yaxis()
    figure.set_label("Time and extra memory of loss max-pooling over those of F.cross_entropy.")
    return figure


def losses_to_weights() -> Figure:
    """The first scene of the explorer's example: its losses, the mean's weights, and w*."""
    one = read_example()[0]
    losses = one.losses.numpy().astype(np.float64)
    valid = losses >= 0
    n = int(valid.sum())
    weights = np.zeros_like(losses)
    weights[valid] = theorems.solve(losses[valid], 1.3, 0.25 * n).weights * n
    panels = (
        ("image", one.image.permute(1, 2, 0).numpy(), None),
        ("pixel losses", np.where(valid, losses, 0), "inferno"),
        ("weights of the mean × n", np.ones_like(losses), "inferno"),
        ("weights w* × n, p = 1.3, m/n = 25 %", weights, "inferno"),
    )
    with drawing():
        figure = Figure(figsize=(11, 2.3), layout="constrained")
        for axes, (title, picture, colors) in zip(figure.subplots(1, 4), panels, strict=True):
            top = weights.max() if "weights" in title else None
            drawn = axes.imshow(picture, cmap=colors, vmin=0, vmax=top, interpolation="nearest")
            axes.set_title(title, fontsize=9.5)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if colors:
                figure.colorbar(drawn, ax=axes, orientation="horizontal", aspect=40, pad=0.03)
    return figure


def algorithm_1() -> Figure:
    """Algorithm 1 on eight losses: eta at each, then the threshold and the weights."""
    losses, q, n = np.array(EIGHT), conjugate(P), len(EIGHT)
    solution = theorems.solve(losses, P, M)
    first = int(np.argmax(solution.capped))
    with drawing():
        figure = Figure(figsize=(8.4, 4.6), layout="constrained")
        steps = figure.subplots(2, 3)
        for axes, i in zip(steps.flat[:4], range(first - 3, first + 1), strict=True):
            # Line 9: eta at the i-th loss, in units of its own power.
            eta = M - (n - i - 1) - float(((losses[: i + 1] / losses[i]) ** q).sum())
            colors = [OURS if k > i else "#1f2937" if k == i else RIVAL for k in range(n)]
            axes.bar(range(1, n + 1), losses, color=colors, width=0.75)
            sign = "> 0: the first in J*" if eta > 0 else "≤ 0: go on"
            axes.set_title(f"i = {i + 1}:  η = {eta:+.2f} {sign}", loc="left", fontsize=9)
        _with_threshold(steps.flat[4], losses, solution)
        _weights(steps.flat[5], solution, n)
        for axes in steps.flat[:5]:
            axes.set(ylabel="loss", xticks=range(1, n + 1))
    figure.set_label(
        f"Algorithm 1 on the losses {', '.join(map(str, EIGHT))} with p = {P} and m = {M:g}: "
        f"{int(solution.capped.sum())} losses lie above the threshold {solution.threshold:.2f}."
    )
    return figure


def _with_threshold(
    axes: Axes, losses: NDArray[np.float64], solution: theorems.PrimalDualSolution
) -> None:
    colors = [OURS if capped else RIVAL for capped in solution.capped]
    axes.bar(range(1, len(losses) + 1), losses, color=colors, width=0.75)
    axes.axhline(solution.threshold, color="#1f2937", linestyle="--", linewidth=1.1)
    axes.set_title(f"threshold α* = {solution.threshold:.2f}", loc="left", fontsize=9)


def _weights(axes: Axes, solution: theorems.PrimalDualSolution, n: int) -> None:
    colors = [OURS if capped else RIVAL for capped in solution.capped]
    axes.bar(range(1, n + 1), solution.weights * n, color=colors, width=0.75)
    axes.axhline(1, color="#1f2937", linestyle=":", linewidth=1.1)
    axes.text(0.6, 1.04, "the mean's", fontsize=8)
    axes.set_title("weights w* × n", loc="left", fontsize=9)
    axes.set(ylabel="weight × n", xticks=range(1, n + 1))


def choosing() -> Figure:
    """Where the weight of a heavy-tailed loss map lies, over p and over min_support."""
    content: dict[str, Any] = json.loads((RESULTS / "choosing.json").read_text(encoding="utf-8"))
    names = content["columns"]
    over_p = [row for row in content["rows"] if row["min_support"] == 0.25]
    over_m = [row for row in content["rows"] if row["p"] == 1.3]
    over_m.sort(key=lambda row: float(row["min_support"]))
    with drawing():
        figure = Figure(figsize=(8.4, 2.9), layout="constrained")
        pair = figure.subplots(1, 2, sharey=True, width_ratios=(len(over_p), len(over_m)))
        for axes, rows, label, key in (
            (pair[0], over_p, "p, at min_support = 0.25", "p"),
            (pair[1], over_m, "min_support, at p = 1.3", "min_support"),
        ):
            figures = [dict(zip(names, row["figures"], strict=True)) for row in rows]
            tenth = np.array([one["top 10 %"] for one in figures])
            quarter = np.array([one["top 25 %"] for one in figures])
            rest = np.array([one["rest"] for one in figures])
            places = range(len(rows))
            axes.bar(places, tenth, color=OURS, label="hardest tenth of the pixels")
            axes.bar(places, quarter - tenth, bottom=tenth, color="#fdba74", label="to a quarter")
            axes.bar(places, rest, bottom=quarter, color=RIVAL, label="all others")
            axes.set(xlabel=label, xticks=places)
            axes.set_xticklabels([f"{row[key]:g}" if row[key] != "inf" else "inf" for row in rows])
        pair[0].set_ylabel("sum of the weights")
        figure.legend(*pair[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    figure.set_label("Weight on the hardest tenth, up to the hardest quarter, and on the rest.")
    return figure


DRAWN = {"cost.svg": cost, "algorithm-1.svg": algorithm_1, "choosing.svg": choosing}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=None)
    runs: Path | None = parser.parse_args().runs
    if runs is not None:
        first_screen(runs)
        report_page(runs)
    for name, draw in DRAWN.items():
        write(draw(), IMAGES / name)
    with drawing():
        losses_to_weights().savefig(
            IMAGES / "losses-to-weights.png", dpi=130, metadata={"Software": None}
        )
    for name in ("before-after.png", "report.png", "losses-to-weights.png", *DRAWN):
        print(IMAGES / name)


if __name__ == "__main__":
    main()
