"""How many training crops per second does one worker read, and where does its time go?

    python -m benchmarks.loading            # a minute; results/loading.json, page and picture
    python -m benchmarks.loading --quick    # seconds; prints, writes nothing
    python -m benchmarks.loading --render   # page and picture again, from the json

Street scenes are saved in the sizes and formats of published sets and read back from the disk
cache: what is measured is decoding, not the disk. The second table asks whether decoding less than
the whole picture, or with another library, would pay.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image

from benchmarks.blocks import filled
from benchmarks.drawing import OURS, RIVAL, drawing, write
from benchmarks.speed.clock import quantiles, take_turns
from lossmaxpool.data import TrainTransform
from lossmaxpool.data.decode import image_tensor, read_image
from lossmaxpool.data.files import FileDataset, FilePair
from lossmaxpool.data.street_scenes import LABELS, StreetScenes
from lossmaxpool.environment import describe_environment

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "loading.json"
PAGE = ROOT / "docs" / "data.md"
PICTURE = ROOT / "docs" / "images" / "loading.svg"
CPU = torch.device("cpu")
WORKERS = (0, 1, 2)
IMAGES = 4
STAGES = {"image": "decode the image", "mask": "decode and map the mask", "crop": "crop, scale"}


class ImageCase(NamedTuple):
    """How a published set stores its pictures, and the crop that is trained on."""

    title: str
    size: tuple[int, int]
    suffix: str
    crop: int


CASES = (
    ImageCase("Pascal VOC", (375, 500), ".jpg", 321),
    ImageCase("Cityscapes", (1024, 2048), ".png", 550),
    ImageCase("Mapillary Vistas", (2448, 3264), ".jpg", 550),
)
QUICK = (ImageCase("quick", (96, 128), ".jpg", 64),)


class Crops(Dataset[Tensor]):
    """Training crops of a data set, over and over."""

    def __init__(self, dataset: FileDataset, transform: TrainTransform, length: int) -> None:
        self.dataset, self.transform, self.length = dataset, transform, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(self.dataset[index % len(self.dataset)], index)[0]


def saved(case: ImageCase, folder: Path) -> FileDataset:
    """Street scenes in the size and format of a case; large ones are enlarged drawings."""
    height, width = case.size
    shrink = -(-height // 1024)
    scenes = StreetScenes("train", IMAGES, (height // shrink, width // shrink))
    pairs = [
        FilePair(str(i), folder / f"{i}{case.suffix}", folder / f"{i}.mask.png")
        for i in range(IMAGES)
    ]
    for i, pair in enumerate(pairs):
        image = Image.fromarray(scenes[i].image.permute(1, 2, 0).numpy())
        mask = Image.fromarray(scenes[i].mask.numpy())
        image.resize((width, height), Image.Resampling.BICUBIC).save(pair.image, quality=90)
        mask.resize((width, height), Image.Resampling.NEAREST).save(pair.mask)
    ids = {c: c for c in range(LABELS.num_classes)} | {255: 255}
    return FileDataset(case.title, LABELS, pairs, ids)


def measure(case: ImageCase, folder: Path, seconds: float) -> dict[str, Any]:
    """Stages of one worker, images per second by number of workers, and other decoders."""
    dataset = saved(case, folder)
    transform = TrainTransform((case.crop, case.crop), (0.5, 1.5))
    path, sample = dataset.pairs[0].image, dataset[0]
    seeds = iter(range(10**9))
    stages: dict[str, Callable[[], object]] = {
        "image": lambda: read_image(path),
        "mask": lambda: dataset.mask(0),
        "crop": lambda: transform(sample, next(seeds)),
    }
    others: dict[str, Callable[[], object]] = {
        "Pillow, as it is read here": lambda: read_image(path),
        "torchvision": lambda: with_torchvision(path),
    }
    if case.suffix == ".jpg":
        others["Pillow, half size"] = lambda: at_half_size(path)
    return {
        "title": case.title,
        "size": case.size,
        "format": case.suffix[1:],
        "crop": case.crop,
        "stages": timed(stages, seconds),
        "images_per_second": {w: throughput(dataset, transform, w, seconds) for w in WORKERS},
        "decoders": timed(others, seconds),
        "torchvision_gives_the_same_bits": torch.equal(read_image(path), with_torchvision(path)),
    }


def timed(calls: dict[str, Callable[[], object]], seconds: float) -> dict[str, dict[str, float]]:
    times = take_turns(calls, lambda: None, CPU, seconds)
    return {name: quantiles(milliseconds) for name, milliseconds in times.items()}


def with_torchvision(path: Path) -> Tensor:
    content = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
    return decode_image(content, ImageReadMode.RGB).contiguous()


def at_half_size(path: Path) -> Tensor:
    """A JPEG without a part of each block's frequencies."""
    picture = Image.open(io.BytesIO(path.read_bytes()))
    picture.draft("RGB", (picture.width // 2, picture.height // 2))
    return image_tensor(picture, f"The image {path}")


def throughput(
    dataset: FileDataset, transform: TrainTransform, workers: int, seconds: float
) -> float:
    """Images per second of a loader, from its first batch on: starting a worker takes a while."""
    crops = Crops(dataset, transform, 10**6)
    loader = DataLoader(crops, batch_size=2, num_workers=workers)
    batches = iter(loader)
    next(batches)
    start, images = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < seconds:
        images += len(next(batches))
    return images / spent


def setting(content: dict[str, Any]) -> str:
    """Where and when it was measured."""
    environment = content["environment"]
    versions = ", ".join(f"{name} {environment[name]}" for name in ("torch", "pillow"))
    return (
        f"`{content['command']}` on {environment['date'][:10]}: {environment['device']}, one "
        f"thread, {versions}. Medians."
    )


def rates(content: dict[str, Any]) -> str:
    """Stages and images per second, in Markdown."""
    workers = [f"images/s, {w} worker{'s' * (w != 1)}" for w in WORKERS]
    head = ["stored as", "size", "crop", *(f"{name}, ms" for name in STAGES), *workers]
    rows = [
        [
            shape["title"],
            f"{shape['size'][1]}×{shape['size'][0]} {shape['format']}",
            str(shape["crop"]),
            *(f"{shape['stages'][stage]['median_ms']:.1f}" for stage in STAGES),
            *(f"{rate:.0f}" for rate in shape["images_per_second"].values()),
        ]
        for shape in content["shapes"]
    ]
    return table(head, rows)


def decoders(content: dict[str, Any]) -> str:
    """Other ways to decode an image, in Markdown."""
    shapes = content["shapes"]
    names = list(dict.fromkeys(name for shape in shapes for name in shape["decoders"]))
    rows = [
        [
            shape["title"],
            *(
                f"{shape['decoders'][name]['median_ms']:.1f}" if name in shape["decoders"] else "–"
                for name in names
            ),
        ]
        for shape in shapes
    ]
    return table(["one image, ms", *names], rows)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def picture(content: dict[str, Any]) -> Figure:
    """One bar per shape: the stages of one crop, end to end."""
    shapes = content["shapes"]
    colors = ("#0068a8", OURS, RIVAL, "#7c3aed", "#0f766e")
    with drawing():
        figure = Figure(figsize=(7.6, 0.5 * len(shapes) + 1.0), layout="constrained")
        axes = figure.subplots()
        ends = [0.0] * len(shapes)
        for (stage, label), color in zip(STAGES.items(), colors, strict=False):
            spans = [shape["stages"][stage]["median_ms"] for shape in shapes]
            axes.barh(range(len(shapes)), spans, left=ends, height=0.6, color=color, label=label)
            ends = [end + span for end, span in zip(ends, spans, strict=True)]
        axes.set_yticks(range(len(shapes)), [shape["title"] for shape in shapes])
        axes.invert_yaxis()
        axes.set_xlabel("milliseconds of one worker for one training crop")
        axes.grid(axis="x")
        axes.legend(frameon=False, ncols=len(STAGES), loc="lower left", bbox_to_anchor=(0, 1))
    spoken = "; ".join(
        f"{shape['title']}: "
        + ", ".join(
            f"{label} {shape['stages'][stage]['median_ms']:.1f} ms"
            for stage, label in STAGES.items()
        )
        for shape in shapes
    )
    figure.set_label(f"Where a worker's time goes. {spoken}")
    return figure


def rendered(page: str, content: dict[str, Any]) -> str:
    """The page with its blocks filled."""
    blocks = {"setting": setting, "rates": rates, "decoders": decoders}
    return filled(page, "loading", lambda name: blocks[name](content))


def render(content: dict[str, Any]) -> None:
    PAGE.write_text(rendered(PAGE.read_text(), content))
    write(picture(content), PICTURE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="small pictures, nothing is written")
    parser.add_argument("--render", action="store_true", help="from the results that are there")
    options = parser.parse_args()
    if options.render:
        return render(json.loads(RESULTS.read_text()))
    torch.set_num_threads(1)  # as in a worker
    # torchvision's decoders are measured although they will go.
    warnings.filterwarnings("ignore", ".*capabilities of TorchVision are deprecated")
    shapes, seconds = (QUICK, 0.05) if options.quick else (CASES, 3.0)
    measured = []
    for shape in shapes:
        with tempfile.TemporaryDirectory() as folder:
            measured.append(measure(shape, Path(folder), seconds))
    content = {
        "command": "python -m benchmarks.loading",
        "environment": describe_environment(CPU, 1),
        "shapes": measured,
    }
    print(rates(content), decoders(content), sep="\n\n")
    if not options.quick:
        RESULTS.write_text(json.dumps(content, indent=1) + "\n")
        render(json.loads(RESULTS.read_text()))
    return None


if __name__ == "__main__":
    main()
