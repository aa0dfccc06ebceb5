"""The options of every command: torch is not needed to list them, or to refuse a wrong one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt

from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.options import DataConfig, Format, InferenceConfig, Precision, Which
from lossmaxpool.runs.config import EngineName, TrainConfig
from lossmaxpool.runs.folder import CONFIG
from lossmaxpool.runs.methods import DEFAULT_METHODS, method_names

# Images of a split that the explorer's page shows.
EXPLORED = 3
# The options in which the runs of a comparison differ.
OWN = {"method", "seed"}


def demo(parser: CommandParser) -> None:
    """Compare loss max-pooling with cross-entropy on embedded street scenes, in about five minutes.

    Nothing is downloaded. Cross-entropy, the loss alone and the loss with its sampler train a small
    network from random weights on two CPU cores, with four seeds each; the table and the report say
    which classes gained, whichever method wins.
    """
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="folder of the runs and the report"
    )
    parser.add_argument("--steps", type=int, default=400, help="optimization steps of each run")


def inspect(parser: CommandParser) -> None:
    """Inspect a data set: class shares, rare classes and label problems, before any training."""
    parser.add_config_file()
    parser.add_class_arguments(DataConfig, "data")


def train(parser: CommandParser) -> None:
    """Train one method with one seed.

    The run folder holds config, record, checkpoints and examples.
    """
    parser.add_recipe()
    parser.add_config_file()
    parser.add_output("the run folder", CONFIG)
    parser.add_class_arguments(TrainConfig, as_group=False, skip={"losses"})
    parser.add_losses("method")
    # No defaults: data set and method must be given explicitly.
    parser.set_defaults({"data.name": None, "method": None})


def compare(parser: CommandParser) -> None:
    """Train several methods under the same seeds, and write report.html and summary.json."""
    parser.add_recipe()
    parser.add_config_file()
    parser.add_output("the folder of the runs and the report", "compare.yaml")
    parser.add_argument(
        "--tune-lr",
        dest="tune_lr",
        action="store_true",
        help="let every method find its own learning rate first, by the same small budget",
    )
    parser.add_argument(
        "--tune_steps",
        type=PositiveInt | None,
        default=None,
        help="with --tune-lr, the steps at each rate; a quarter of the run's if not given",
    )
    add_runs(parser, seeds=(0, 1))


def sweep(parser: CommandParser) -> None:
    """Train a grid of methods, exponents, supports and seeds, and write a table and a plot."""
    parser.add_recipe()
    parser.add_config_file()
    parser.add_output("the folder of the runs, the table and the plot", "sweep.yaml")
    parser.add_argument(
        "--p", type=list[float] | None, default=None, help="norm exponents, 1.3 if not given"
    )
    parser.add_argument(
        "--min_support",
        type=list[float] | None,
        default=None,
        help="shares of the pixels, m / n; 0.25 if not given",
    )
    parser.add_argument(
        "--dry-run",
        dest="dry_run",
        action="store_true",
        help="train nothing; print one command per run, for a cluster",
    )
    add_runs(parser, seeds=(0,))
    for axis in ("p", "min_support"):
        parser.refuse(f"loss.{axis}", f"a sweep takes --{axis}, one value or several")


def evaluate(parser: CommandParser) -> None:
    """Evaluate a run on a split of a data set, by default its own: IoU, F1, calibration error."""
    parser.add_config_file()
    add_network(parser)
    add_scored_data(parser)
    parser.add_argument("--json", type=Path | None, default=None, help="file for the results")
    add_calibrated(parser)


def calibrate(parser: CommandParser) -> None:
    """Fit a temperature to the confidence of a checkpoint, on half of a split, by default of val.

    The other half says what it changes. It is saved beside the checkpoint, as
    last.temperature.json, and used by evaluate, predict and export with --calibrated alone.
    """
    parser.add_config_file()
    add_network(parser)
    add_scored_data(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the pixels that it is fitted to")
    parser.add_argument("--overwrite", action="store_true", help="replace a temperature")


def explore(parser: CommandParser) -> None:
    """Write a page that shows where loss max-pooling looks, with sliders for p, m and pool.

    Without RUN it shows three embedded street scenes. With RUN it shows what a trained network
    loses on validation images of its own data, or on one IMAGE with its MASK. The page needs no
    server.
    """
    parser.add_config_file()
    add_network(parser, optional=True)
    parser.add_argument("--out", type=Path, default=Path("explorer.html"), help="the page")
    parser.add_argument("--open", action="store_true", help="show the page in a browser")
    parser.add_argument(
        "--images",
        type=int | None,
        default=None,
        help=f"how many, {EXPLORED} if absent",
    )
    parser.add_argument("--split", type=str | None, default=None, help="default: data.val_split")
    parser.add_argument("--image", type=Path | None, default=None, help="one image instead")
    parser.add_argument("--mask", type=Path | None, default=None, help="the class ids of --image")
    parser.add_class_arguments(DataConfig, "data")
    parser.add_defaults(data_of_the_run)


def predict(parser: CommandParser) -> None:
    """Predict a folder of images or one image: ids in OUT/ids, pictures in OUT/overlays."""
    add_network(parser)
    parser.add_argument("images", type=Path, help="a folder of images, searched through, or one")
    parser.add_argument("--out", type=Path, required=True, help="folder for the predictions")
    parser.add_argument("--overwrite", action="store_true", help="write into a non-empty folder")
    parser.add_argument(
        "--submission",
        action="store_true",
        help="write the label ids that Cityscapes' servers expect",
    )
    parser.add_argument(
        "--image_range",
        type=tuple[float, float] | None,
        default=None,
        help="values of black and white in 16-bit pictures; default: as the run was trained",
    )
    parser.add_argument(
        "--confidence",
        action="store_true",
        help="write the probability of each pixel's class to OUT/confidence, 16 bits",
    )
    add_calibrated(parser)
    parser.add_class_arguments(InferenceConfig, "inference")


def export(parser: CommandParser) -> None:
    """Export a trained network: ONNX, torch.export or safetensors, with its preprocessing."""
    add_run(parser)
    parser.add_argument("--format", type=Format, default="onnx", help="of the file")
    parser.add_argument(
        "--out",
        type=Path | None,
        default=None,
        help="the file; default: named as the checkpoint, in the folder export of the run",
    )
    parser.add_argument(
        "--size",
        type=tuple[int, int] | None,
        default=None,
        help="the only height and width that the network will take; default: any",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    add_calibrated(parser)


def add_runs(parser: CommandParser, seeds: Sequence[int]) -> None:
    """Add the methods, the seeds, by default these, and everything that the runs share."""
    parser.add_argument(
        "--methods",
        type=list[str],
        default=list(DEFAULT_METHODS),
        help=", ".join(method_names({})),
    )
    parser.add_losses("methods")
    parser.add_argument("--seeds", type=list[int], default=list(seeds), help="one run each")
    parser.add_argument(
        "--jobs",
        type=PositiveInt | None,
        default=None,
        help="runs at the same time; one if not given, on Ray as many as the cluster has room for",
    )
    parser.add_argument(
        "--engine",
        type=EngineName,
        default="local",
        help="where to train: this machine, or the Ray cluster at RAY_ADDRESS",
    )
    parser.add_class_arguments(TrainConfig, as_group=False, skip={*OWN, "losses"})
    parser.set_defaults({"data.name": None})
    parser.refuse("method", "give --methods")
    parser.refuse("seed", "give --seeds")


def add_run(parser: CommandParser, *, optional: bool = False) -> None:
    """Add the run and its checkpoint."""
    if optional:
        parser.add_argument(
            "run", type=Path | None, nargs="?", default=None, help="a run folder, or a checkpoint"
        )
    else:
        parser.add_argument("run", type=Path, help="a run folder, or a checkpoint file")
    parser.add_argument(
        "--checkpoint",
        type=Which,
        default="last",
        help="of a run folder: last is the one that its report scores, best the one with the best "
        "mIoU, chosen on the validation images",
    )


def add_network(parser: CommandParser, *, optional: bool = False) -> None:
    """Add the run, its checkpoint, and where and how exactly it computes."""
    add_run(parser, optional=optional)
    parser.add_argument(
        "--device", default="auto", help='"auto" (a GPU where there is one), "cpu", "cuda", ...'
    )
    parser.add_argument("--precision", type=Precision, default="fp32", help="of the arithmetic")


def add_scored_data(parser: CommandParser) -> None:
    """Add the labeled images that a network is applied to, by default those of its run."""
    parser.add_argument("--split", type=str | None, default=None, help="default: data.val_split")
    parser.add_argument("--batch_size", type=int, default=4, help="images of one size at a time")
    parser.add_class_arguments(DataConfig, "data")
    parser.add_class_arguments(InferenceConfig, "inference")
    parser.add_defaults(data_of_the_run)


def add_calibrated(parser: CommandParser) -> None:
    """Add the choice of calibrated probabilities."""
    parser.add_argument(
        "--calibrated",
        action="store_true",
        help="divide the logits by the temperature that lossmaxpool calibrate has saved",
    )


def run_options(run: Path, group: str) -> dict[str, Any]:
    """Return a group of the options that a run was trained with; empty where no run says so."""
    folder = run if run.is_dir() else run.absolute().parent.parent
    if not (folder / CONFIG).is_file():
        return {}
    saved = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
    found = saved.get(group, {}) if isinstance(saved, dict) else {}
    return dict(found)


def data_of_the_run(given: Namespace) -> dict[str, dict[str, Any]]:
    """Return the run's own data set, unless another one is asked for."""
    if given.run is None:
        return {}
    saved = run_options(given.run, "data")
    name, root = given.data.name, given.data.root
    another = name not in (None, saved.get("name"))
    # Scenes are drawn: a folder is another data set.
    another |= name is None and root is not None and saved.get("name") == "street-scenes"
    return {} if another else {"data": saved}
