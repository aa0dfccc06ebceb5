"""The embedded example of the explorer: three street scenes and what a network loses on them.

``python -m benchmarks.explorer --run runs/demo/base-seed0`` replaces
``src/lossmaxpool/explorer/example.json`` by the losses of that run of ``lossmaxpool demo``, whose
network was trained with cross-entropy.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from lossmaxpool.data import DataConfig, LabelSet, open_dataset
from lossmaxpool.explorer import loss_maps
from lossmaxpool.explorer.page import write_example
from lossmaxpool.inference import load_checkpoint

# Scenes with people, bicycles and cars near and far: the classes that differ most in size.
SCENES = (6, 17, 26)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    run: Path = parser.parse_args().run
    saved = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    data = saved["data"]
    config = DataConfig(name="street-scenes", val_scenes=data["val_scenes"])
    dataset = open_dataset(config, "val")
    trained = load_checkpoint(run, dataset.labels.names)
    maps = loss_maps(trained, [dataset[index] for index in SCENES])
    labels = LabelSet(trained.description.classes, trained.description.colors)
    source = (
        "The images are street scenes that lossmaxpool draws, of its validation split; the losses "
        f"are the cross-entropy of a small network after {trained.step:,} steps of plain "
        "cross-entropy, from random weights (lossmaxpool demo)."
    )
    print(write_example(maps, labels, source))


if __name__ == "__main__":
    main()
