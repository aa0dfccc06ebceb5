"""Write a page that shows where loss max-pooling looks, with sliders for p, m and pool.

Without RUN it shows three embedded street scenes. With RUN it shows what a trained network loses on
validation images of its own data, or on one IMAGE with its MASK. The page needs no server.
"""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path

from jsonargparse import Namespace

from lossmaxpool.cli.network import (
    add_network,
    check_checkpoint,
    choose_device,
    data_of_the_run,
    run_options,
)
from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.data import DataConfig, LabelSet, Sample, open_dataset
from lossmaxpool.data.files import FileDataset, FilePair
from lossmaxpool.data.folders import find_classes_file, read_classes_file
from lossmaxpool.data.sample import IGNORE_INDEX, DataError
from lossmaxpool.explorer import example_page, explorer_page, loss_maps, save_page
from lossmaxpool.inference import TrainedModel, load_checkpoint

_IMAGES = 3
_OF_A_RUN = {"checkpoint": "last", "device": "auto", "precision": "fp32"} | dict.fromkeys(
    ("images", "split", "image", "mask")
)


def add_arguments(parser: CommandParser) -> None:
    """Add the options of the command."""
    parser.add_config_file()
    add_network(parser, optional=True)
    parser.add_argument("--out", type=Path, default=Path("explorer.html"), help="the page")
    parser.add_argument("--open", action="store_true", help="show the page in a browser")
    parser.add_argument(
        "--images",
        type=int | None,
        default=None,
        help=f"how many, {_IMAGES} if absent",
    )
    parser.add_argument("--split", type=str | None, default=None, help="default: data.val_split")
    parser.add_argument("--image", type=Path | None, default=None, help="one image instead")
    parser.add_argument("--mask", type=Path | None, default=None, help="the class ids of --image")
    parser.add_class_arguments(DataConfig, "data")
    parser.add_defaults(data_of_the_run)


def run(options: Namespace) -> None:
    """Write the page, say where it is, and open it if asked to."""
    if options.run is None:
        _refuse_what_needs_a_run(options)
        page = example_page()
    else:
        page = _page_of_a_run(options)
    written = save_page(page, options.out)
    sys.stdout.write(f"{written}\n")
    if options.open and not webbrowser.open(written.absolute().as_uri()):
        raise ValueError(f"no browser was found on this machine: open {written} in one")


def _refuse_what_needs_a_run(options: Namespace) -> None:
    given = [name for name, default in _OF_A_RUN.items() if options[name] != default]
    if options.data != DataConfig():
        given.append("data")
    if given:
        raise ValueError(
            f"--{given[0]} needs a trained network, and none is given: "
            "lossmaxpool explore RUN [options]"
        )


def _page_of_a_run(options: Namespace) -> str:
    check_checkpoint(options.run, options.checkpoint)
    if (options.image is None) != (options.mask is None):
        raise ValueError("give --image and --mask together: without labels there is no loss")
    if options.image is not None and (options.images or options.split):
        raise ValueError("--image is one image of no split: leave out --images and --split")
    device = choose_device(options.device)
    trained = load_checkpoint(options.run, device=device, which=options.checkpoint)
    description = trained.description
    labels = LabelSet(description.classes, description.colors)
    if options.image is not None:
        samples, what = _one_image(options, labels), f"The image is {options.image.name}"
    else:
        samples, what = _of_the_split(options, trained)
    loss = run_options(options.run, "loss")
    return explorer_page(
        loss_maps(trained, samples, options.precision),
        labels,
        source=f"{what}, the losses the cross-entropy of {trained.file.name} after "
        f"{trained.step:,} steps.",
        p=float(loss.get("p", 1.3)),
        min_support=float(loss.get("min_support", 0.25)),
    )


def _one_image(options: Namespace, labels: LabelSet) -> list[Sample]:
    ids = {id_: id_ for id_ in range(labels.num_classes)} | {IGNORE_INDEX: IGNORE_INDEX}
    classes, root = options.data.classes, options.data.root
    if classes is None and options.data.name == "folders" and root is not None and root.is_dir():
        classes = find_classes_file(root)
    if classes is not None:
        found = read_classes_file(classes)
        if found.labels.names != labels.names:
            raise DataError(f"{classes} has other classes than the network: give --data.classes")
        ids = found.ids
    pair = FilePair(options.image.stem, options.image, options.mask)
    return [FileDataset("image", labels, [pair], ids, options.data.image_range)[0]]


def _of_the_split(options: Namespace, trained: TrainedModel) -> tuple[list[Sample], str]:
    # Imported here: with one image, nothing of training is needed.
    from lossmaxpool.inference.checkpoint import check_classes
    from lossmaxpool.training.pictures import evenly_spaced

    count = _IMAGES if options.images is None else options.images
    if not 1 <= count <= 9:
        raise ValueError(f"--images is {count}; expected 1 to 9")
    dataset = open_dataset(options.data, options.split or options.data.val_split)
    check_classes(trained.file, trained.description.classes, dataset.labels.names)
    samples = [dataset[index] for index in evenly_spaced(len(dataset), count)]
    return samples, f"The images are {len(samples)} of {len(dataset):,} of {dataset.name}"
