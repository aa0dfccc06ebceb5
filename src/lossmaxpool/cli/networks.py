"""The commands that look at data and at trained networks."""

from __future__ import annotations

import json
import math
import sys
import webbrowser
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace

from lossmaxpool import inference
from lossmaxpool.atomic import write_atomically
from lossmaxpool.cli.arguments import EXPLORED, run_options
from lossmaxpool.data import EvalTransform, LabelSet, Sample, SegmentationDataset, open_dataset
from lossmaxpool.data.files import FileDataset, FilePair
from lossmaxpool.data.folders import find_classes_file, read_classes_file
from lossmaxpool.data.inspection import format_report, inspect_data
from lossmaxpool.data.sample import IGNORE_INDEX, DataError
from lossmaxpool.environment import describe_environment
from lossmaxpool.explorer import example_page, explorer_page, loss_maps, save_page
from lossmaxpool.inference import TrainedModel
from lossmaxpool.inference.calibration import check_free
from lossmaxpool.inference.export import SUFFIX
from lossmaxpool.metrics import ConfusionMatrix, ReliabilityBins
from lossmaxpool.options import DataConfig, Which

_OF_A_RUN = {"checkpoint": "last", "device": "auto", "precision": "fp32"} | dict.fromkeys(
    ("images", "split", "image", "mask")
)


def inspect(options: Namespace) -> int:
    """Print the tables and the problems; the status is 1 where training would be wrong."""
    config = options.data
    splits = dict.fromkeys((config.train_split, config.val_split))
    inspection = inspect_data(*(open_dataset(config, split) for split in splits))
    sys.stdout.write(f"{format_report(inspection)}\n")
    return 0 if inspection.ok else 1


def evaluate(options: Namespace) -> None:
    """Evaluate, print the table, write the results if asked to."""
    device, split = choose_device(options.device), options.split or options.data.val_split
    dataset = open_dataset(options.data, split)
    trained = _load(options, device, dataset.labels.names)
    _announce(options, trained, dataset)
    description = trained.description
    reliability = ReliabilityBins(dataset.labels.num_classes, device)
    confusion = inference.evaluate(
        trained.model,
        dataset,
        EvalTransform(description.mean, description.std),
        device,
        options.precision,
        options.batch_size,
        show_progress,
        options.inference,
        reliability=reliability,
    )
    if options.json is not None:
        content: dict[str, Any] = {
            "checkpoint": str(trained.file),
            "step": trained.step,
            "data": {"name": options.data.name, "split": split, "images": len(dataset)},
            "classes": list(dataset.labels.names),
            "iou": [None if math.isnan(value) else value for value in confusion.iou().tolist()],
            "miou": confusion.miou(),
            "pixel_accuracy": confusion.pixel_accuracy(),
            "confusion": confusion.counts.tolist(),
            "calibration": reliability.as_dict(),
            "temperature": trained.temperature,
            "precision": options.precision,
            "inference": asdict(options.inference),
            "environment": describe_environment(device, 1),
        }
        write_atomically(options.json, json.dumps(content, indent=1).encode())
    sys.stdout.write(format_scores(dataset.labels.names, confusion))
    gap = reliability.overconfidence()
    sys.stdout.write(
        f"\ncalibration error (ECE)  {_percent(reliability.ece())}, mean over the classes "
        f"{_percent(reliability.classwise_ece())}; confidence is {_percent(abs(gap))} points "
        f"{'above' if gap > 0 else 'below'} accuracy\n"
    )


def calibrate(options: Namespace) -> None:
    """Fit, save, and say what changed on the images that it was not fitted to."""
    device, split = choose_device(options.device), options.split or options.data.val_split
    dataset = open_dataset(options.data, split)
    trained = _load(options, device, dataset.labels.names)
    check_free(trained, overwrite=options.overwrite)
    _announce(options, trained, dataset)
    if split == options.data.train_split:
        sys.stderr.write(
            "warning: the network was trained on these images and is surer of them than of others\n"
        )
    found = inference.calibrate(
        trained,
        dataset,
        precision=options.precision,
        batch_size=options.batch_size,
        config=options.inference,
        seed=options.seed,
        progress=show_progress,
    )
    about = {
        "data": {"name": options.data.name, "split": split},
        "environment": describe_environment(device, 1),
    }
    file = inference.save_calibration(found, trained, about, overwrite=options.overwrite)
    scores = found.scores()
    rows = [
        ("ECE", "ece", 100.0),
        ("ECE, mean over the classes", "classwise_ece", 100.0),
        ("confidence minus accuracy", "overconfidence", 100.0),
        ("cross-entropy", "nll", 1.0),
    ]
    lines = [f"{'':28}{'before':>8}{'after':>8}"]
    for name, key, unit in rows:
        cells = (f"{unit * scores[when][key]:8.{2 if unit > 1 else 4}f}" for when in scores)
        lines.append(f"{name:28}{''.join(cells)}")
    worse = scores["after"]["ece"] > scores["before"]["ece"]
    sys.stdout.write(
        f"temperature {found.temperature:.3f}, fitted to the first {found.fitted} images; on the "
        f"other {found.judged}, errors in percent:\n\n"
        + "\n".join(lines)
        + ("\n\nthe ECE is not better there: leave the temperature out" if worse else "")
        + f"\n\n{file}: used with --calibrated by evaluate, predict and export\n"
    )


def _load(
    options: Namespace, device: torch.device | str = "cpu", classes: Sequence[str] | None = None
) -> TrainedModel:
    """The network of the options, with its temperature where that is asked for."""
    check_checkpoint(options.run, options.checkpoint)
    trained = inference.load_checkpoint(options.run, classes, device, which=options.checkpoint)
    return inference.calibrated(trained) if options.get("calibrated") else trained


def _announce(options: Namespace, trained: TrainedModel, dataset: SegmentationDataset) -> None:
    at = "" if trained.temperature == 1 else f", temperature {trained.temperature:.3f}"
    sys.stdout.write(
        f"checkpoint  {trained.file}, after step {trained.step:,}{at}\n"
        f"data        {options.data.name}: {dataset.name}, {len(dataset):,} images\n\n"
    )
    sys.stdout.flush()


def format_scores(names: tuple[str, ...], confusion: ConfusionMatrix) -> str:
    """Return the scores of each class, mIoU and pixel accuracy in percent, as lines of text.

    The classes stand in the order of their pixels, but of two the foreground, which is the second,
    comes first. Classes that are neither labeled nor predicted are named at the end.
    """
    columns = {
        "IoU": confusion.iou(),
        "precision": confusion.precision(),
        "recall": confusion.recall(),
        "Dice (F1)": confusion.dice(),
    }
    pixels = confusion.counts.sum(1).tolist()
    seen = [c for c in range(len(names)) if pixels[c] or int(confusion.counts[:, c].sum())]
    foreground = 1 if len(names) == 2 else None
    width = max(len(name) for name in (*(names[c] for c in seen), "pixel accuracy"))
    lines = [f"{'class':{width}}  {'share %':>9}" + "".join(f"  {title:>9}" for title in columns)]
    for c in sorted(seen, key=lambda c: (c != foreground, -pixels[c])):
        cells = [_percent(pixels[c] / max(sum(pixels), 1))]
        cells += [_percent(float(values[c])) for values in columns.values()]
        lines.append(f"{names[c]:{width}}" + "".join(f"  {cell:>9}" for cell in cells))
    for name, value in (("mIoU", confusion.miou()), ("pixel accuracy", confusion.pixel_accuracy())):
        lines.append(f"{name:{width}}  {'':>9}  {_percent(value):>9}")
    if others := [name for c, name in enumerate(names) if c not in seen]:
        lines.append(f"neither labeled nor predicted: {', '.join(others)}")
    if any(bool(values[seen].isnan().any()) for values in columns.values()):
        lines.append(
            "-: undefined, as no pixel was predicted as the class (precision) or none is labeled "
            "so (recall)"
        )
    return "\n".join(lines) + "\n"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def predict(options: Namespace) -> int:
    """Predict, then say where the files are; the status is 1 where an image was skipped."""
    trained = _load(options, choose_device(options.device))
    image_range = options.image_range or run_options(options.run, "data").get("image_range")
    skipped: list[Path] = []

    def skip(file: Path, reason: str) -> None:
        skipped.append(file)
        sys.stderr.write(f"skipped: {reason}\n")

    written = inference.predict_folder(
        trained,
        options.images,
        options.out,
        overwrite=options.overwrite,
        precision=options.precision,
        progress=show_progress,
        config=options.inference,
        submission=options.submission,
        confidence=options.confidence,
        image_range=None if image_range is None else (image_range[0], image_range[1]),
        on_damaged=skip,
    )
    images = "1 image" if len(written) == 1 else f"{len(written)} images"
    sys.stdout.write(
        f"{images} predicted into {options.out} by {trained.file}, step {trained.step:,}\n"
    )
    if skipped:
        sys.stderr.write(f"{len(skipped)} of {len(written) + len(skipped)} images were skipped\n")
    return 1 if skipped else 0


def export(options: Namespace) -> None:
    """Export, check, and say where the files are."""
    trained = _load(options)
    out = options.out
    if out is None:
        # RUN/checkpoints/last.ckpt -> RUN/export/last.onnx; another file: beside it.
        folder = trained.file.parent
        place = folder.parent / "export" if folder.name == "checkpoints" else folder
        out = place / f"{trained.file.stem}{SUFFIX[options.format]}"
    beside = inference.export_network(
        trained, out, options.format, size=options.size, overwrite=options.overwrite
    )
    sys.stdout.write(
        f"{out}\n{beside}\n"
        f"the network of {trained.file} after step {trained.step:,}; read back, it gives the same "
        "logits\n"
    )


def explore(options: Namespace) -> None:
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
    if (options.image is None) != (options.mask is None):
        raise ValueError("give --image and --mask together: without labels there is no loss")
    if options.image is not None and (options.images or options.split):
        raise ValueError("--image is one image of no split: leave out --images and --split")
    trained = _load(options, choose_device(options.device))
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

    count = EXPLORED if options.images is None else options.images
    if not 1 <= count <= 9:
        raise ValueError(f"--images is {count}; expected 1 to 9")
    dataset = open_dataset(options.data, options.split or options.data.val_split)
    check_classes(trained.file, trained.description.classes, dataset.labels.names)
    samples = [dataset[index] for index in evenly_spaced(len(dataset), count)]
    return samples, f"The images are {len(samples)} of {len(dataset):,} of {dataset.name}"


def check_checkpoint(run: Path, checkpoint: Which) -> None:
    """Refuse to take the best checkpoint of a file."""
    if run.is_file() and checkpoint != "last":
        raise ValueError(
            f"{run} is a checkpoint itself: leave out --checkpoint, or give its run folder"
        )


def choose_device(name: str) -> torch.device:
    """Return the device of a ``--device`` option."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"--device {name} cannot be used ({reason}): give auto, cpu, or cuda on a machine "
            "with a GPU"
        ) from error
    return device


def show_progress(done: int, total: int) -> None:
    """Count images on one line of a terminal; say nothing elsewhere."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done}/{total} images" + ("\n" if done == total else ""))
