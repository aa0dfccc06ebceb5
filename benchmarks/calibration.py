"""The effect of hard weighting on a network's confidence, before and after a temperature.

    make demo && python -m benchmarks.calibration    # minutes; results, picture and page
    python -m benchmarks.calibration --render        # picture and page again, from the results

Every run of the demo is applied to more scenes of its validation split: a temperature is fitted to
the first half, every number is of the second half. So are a few more runs of the loss, beside the
demo, which must weigh fewer or more of the pixels.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks.blocks import filled
from benchmarks.drawing import OURS, RIVAL, drawing, write
from benchmarks.loading import table
from lossmaxpool.cli.trainings import configuration
from lossmaxpool.data import open_dataset
from lossmaxpool.environment import describe_environment
from lossmaxpool.inference import calibrate, load_checkpoint
from lossmaxpool.report.statistics import paired_gain, pooled_bins, score
from lossmaxpool.report.wording import interval, points, with_std
from lossmaxpool.runs.config import TrainConfig
from lossmaxpool.runs.methods import DEFAULT_METHODS
from lossmaxpool.runs.record import CalibrationBins, RunRecord
from lossmaxpool.training.sweep import Grid, sweep

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "calibration.json"
PICTURE = ROOT / "docs" / "images" / "calibration.svg"
PAGE = ROOT / "docs" / "evidence.md"
SCENES = 200
# Shares of the pixels beside the demo's, and the seeds of these runs.
SUPPORTS, SEEDS = (0.1, 0.5), (0, 1)
Run = dict[str, Any]


def measure(folder: Path) -> Run:
    """The temperature of a run, and its calibration before and after."""
    record = RunRecord.read(folder)
    data = replace(TrainConfig.from_dict(record.config).data, val_scenes=SCENES)
    found = calibrate(load_checkpoint(folder), open_dataset(data, data.val_split))
    each = {"before": found.before, "after": found.after}
    return {
        "method": record.method,
        "label": record.label,
        "seed": record.seed,
        "steps": record.results.step,
        "miou": record.miou,
        "min_support": record.config["loss"]["min_support"] if record.max_pooled else None,
        "images": {"fitted": found.fitted, "judged": found.judged},
        "temperature": found.temperature,
        **{
            when: {**scores, "bins": each[when].as_dict()}
            for when, scores in found.scores().items()
        },
    }


def of_methods(content: dict[str, Any]) -> dict[str, list[Run]]:
    """The demo's runs of each method, the baseline first."""
    found: dict[str, list[Run]] = {method: [] for method in DEFAULT_METHODS}
    for run in content["runs"]:
        if run["min_support"] not in SUPPORTS:
            found[run["method"]].append(run)
    return found


def supports_table(content: dict[str, Any]) -> str:
    """Confidence by the share of the pixels that the loss must weigh, in Markdown."""
    head = ["m / n", "runs", "confidence − accuracy", "ECE", "temperature", "ECE at it", "mIoU"]
    found: dict[float, list[Run]] = {}
    for run in content["runs"]:
        if run["seed"] in SEEDS and run["method"] in ("base", "loss-only"):
            found.setdefault(run["min_support"] or 1.0, []).append(run)
    rows = [
        [
            "BASE" if support == 1 else f"{support:g}",
            str(len(runs)),
            points(fmean(run["before"]["overconfidence"] for run in runs)),
            with_std(score([run["before"]["ece"] for run in runs])),
            f"{fmean(run['temperature'] for run in runs):.2f}",
            with_std(score([run["after"]["ece"] for run in runs])),
            with_std(score([run["miou"] for run in runs])),
        ]
        for support, runs in sorted(found.items())
    ]
    return table(head, rows)


def scores_table(content: dict[str, Any]) -> str:
    """Errors before and after, in Markdown."""
    head = ["method", "runs", "confidence − accuracy", "ECE", "over BASE", "95 % interval",
            "temperature", "ECE at it", "cross-entropy", "cross-entropy at it"]  # fmt: skip
    rows = []
    base = {run["seed"]: run["before"]["ece"] for run in of_methods(content)["base"]}
    for method, runs in of_methods(content).items():
        gain = paired_gain(base, {run["seed"]: run["before"]["ece"] for run in runs})
        own = method == "base"
        star = r"\*" if gain.settled else ""
        temperatures = [run["temperature"] for run in runs]
        rows.append(
            [
                runs[0]["label"],
                str(len(runs)),
                points(fmean(run["before"]["overconfidence"] for run in runs)),
                with_std(score([run["before"]["ece"] for run in runs])),
                "" if own else f"{points(gain.mean)}{star}",
                "" if own else interval(gain),
                f"{min(temperatures):.2f} to {max(temperatures):.2f}",
                with_std(score([run["after"]["ece"] for run in runs])),
                *(f"{fmean(run[when]['nll'] for run in runs):.3f}" for when in ("before", "after")),
            ]
        )
    return table(head, rows)


def setting(content: dict[str, Any]) -> str:
    """Where, when and on what it was measured."""
    environment, runs = content["environment"], content["runs"]
    images = runs[0]["images"]
    return (
        f"`make demo`, then `{content['command']}`, {environment['date'][:10]}: {len(runs)} runs "
        f"of {runs[0]['steps']} steps, temperatures fitted to {images['fitted']} scenes, all "
        f"is judged on {images['judged']} others; {environment['device']}, torch "
        f"{environment['torch']}. Errors in percent, the cross-entropy in nats."
    )


def picture(content: dict[str, Any]) -> Figure:
    """Accuracy over confidence of each method, as trained and at its temperature."""
    methods = of_methods(content)
    with drawing():
        figure = Figure(figsize=(7.2, 2.7), layout="constrained")
        panels = figure.subplots(1, len(methods), sharey=True)
        for axes, runs in zip(panels, methods.values(), strict=True):
            axes.plot([0, 100], [0, 100], color="#9ca3af", linewidth=0.8, linestyle="--")
            for when, color, mark in (("after", RIVAL, "s"), ("before", OURS, "o")):
                bins = pooled_bins([CalibrationBins(**run[when]["bins"]) for run in runs])
                sure, right, share = 100 * np.array(list(bins.values())).T
                label = "as trained" if when == "before" else "at its temperature"
                axes.plot(sure, right, color=color, marker=mark, markersize=3.5, label=label)
                if when == "before":
                    axes.bar(sure, share, width=5, color=color, alpha=0.25, label="share of pixels")
            axes.set(title=runs[0]["label"], xlabel="confidence, %", xlim=(0, 100), ylim=(0, 101))
            axes.grid(visible=True)
        panels[0].set_ylabel("pixels that are right, %")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(
            handles[::-1], labels[::-1], loc="outside lower center", ncols=3, frameon=False
        )
    figure.set_label(
        "How often pixels are right over the confidence of the network, for each method: as "
        "trained, and with its logits divided by the fitted temperature."
    )
    return figure


def rendered(page: str, content: dict[str, Any]) -> str:
    """The page with its blocks filled."""
    blocks = {"table": scores_table, "supports": supports_table, "setting": setting}
    return filled(page, "calibration", lambda name: blocks[name](content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=Path, default=Path("runs/demo"), help="a finished demo")
    parser.add_argument("--render", action="store_true", help="from the results that are there")
    options = parser.parse_args()
    if not options.render:
        folders = sorted(options.runs.glob("*-seed*"))
        if not folders:
            parser.error(f"{options.runs} holds no run: make demo first")
        torch.set_num_threads(1)
        grid = Grid(["loss-only"], [1.3], SUPPORTS, SEEDS)
        beside = options.runs.with_name(f"{options.runs.name}-supports")
        folders += sweep(configuration(steps=400), grid, beside, jobs=2, resume="auto")
        content = {
            "command": "python -m benchmarks.calibration",
            "environment": describe_environment(torch.device("cpu"), 1),
            "runs": [measure(folder) for folder in folders],
        }
        del content["environment"]["command"]
        RESULTS.write_text(json.dumps(content, indent=1) + "\n")
    content = json.loads(RESULTS.read_text())
    print(setting(content), scores_table(content), supports_table(content), sep="\n\n")
    write(picture(content), PICTURE)
    PAGE.write_text(rendered(PAGE.read_text(), content))


if __name__ == "__main__":
    main()
