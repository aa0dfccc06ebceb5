"""Export of a trained network: torch.export, ONNX or safetensors, checked before it is kept."""

from __future__ import annotations

import json
import logging
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim

from lossmaxpool._version import __version__
from lossmaxpool.atomic import write_atomically
from lossmaxpool.inference.checkpoint import TrainedModel
from lossmaxpool.models import build_model, input_stride
from lossmaxpool.models.weights import read_tensors
from lossmaxpool.options import Format

SUFFIX: dict[Format, str] = {"onnx": ".onnx", "torch": ".pt2", "safetensors": ".safetensors"}
# The largest deviation of an exported logit, as a share of the largest logit. Another runtime adds
# in another order and folds batch norms; a wrong layer deviates by far more.
DEVIATION = 1e-3
# Cells of the network's stride in the height and width of the images that it is checked with.
_CELLS = ((6, 9), (5, 4))
# Cells in a free height or width: torch.export takes an axis of length 1 for a constant.
_LEAST, _MOST = 2, 1024


class _FullSize(nn.Module):
    """The network with its logits upsampled to the size of the images."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        logits = self.network(image)
        return F.interpolate(
            logits, size=image.shape[-2:], mode="bilinear", align_corners=False
        ).float()


def export_network(
    trained: TrainedModel,
    out: Path,
    format: Format,
    *,
    size: tuple[int, int] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a trained network for other programs, with its preprocessing in a JSON file beside it.

    ``torch`` (a program of ``torch.export``) and ``onnx`` map normalized images (B, 3, H, W) to
    logits (B, C, H, W) of the same size; H and W are multiples of the network's stride, two at
    least.
    ``safetensors`` holds the weights alone. Before a file is kept it is loaded, and its logits of
    random images are compared with the checkpoint's own.

    Args:
        trained: the network, as :func:`load_checkpoint` or :func:`calibrated` returns it; on the
            CPU.
        out: the file to write; ".onnx", ".pt2" or ".safetensors" by its format.
        format: "onnx", "torch" or "safetensors".
        size: the only (height, width) that the exported network takes; None for any.
        overwrite: replace ``out`` and its JSON file if they exist.

    Returns:
        The JSON file, ``out`` with ".json" behind its name.

    Raises:
        ValueError: the suffix is another format's, a file exists, the size is not a multiple of the
            stride, a temperature cannot be kept, a package is missing, the network cannot be
            exported, or the exported network computes something else.

    Example:
        ``export_network(load_checkpoint("runs/lmp"), Path("lmp.onnx"), "onnx")``
    """
    if format not in SUFFIX:
        raise ValueError(f"format is {format!r}; expected one of {', '.join(SUFFIX)}")
    if out.suffix != SUFFIX[format]:
        raise ValueError(f"{out} is not named as {format}: give a file *{SUFFIX[format]}")
    beside = out.with_name(f"{out.name}.json")
    for file in (out, beside):
        if file.exists() and not overwrite:
            raise ValueError(f"{file} exists; take another name, or --overwrite")
    stride = input_stride(trained.model)
    if size is not None and (min(size) < 1 or any(side % stride for side in size)):
        raise ValueError(f"size is {size}; expected multiples of the network's stride, {stride}")
    if trained.temperature != 1 and format == "safetensors":
        raise ValueError(
            "safetensors hold the weights alone: leave out --calibrated, and divide the logits by "
            f"{trained.temperature:g}"
        )
    if size is not None and format == "safetensors":
        raise ValueError("size has no effect on safetensors, which hold the weights alone")
    images = _probes(stride, size)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode(False), torch.no_grad():
        file = Path(folder) / out.name
        network, checked = _WRITERS[format](trained, file, images, stride, size)
        deviation = max(_deviation(trained, network, image) for image in images)
        if not deviation <= DEVIATION:
            raise ValueError(
                f"{out} was not kept: its logits deviate from those of {trained.file} by "
                f"{100 * deviation:.2g} % of the largest"
            )
        content = _description(trained, out, format, stride, size)
        content["checked"] = {"with": checked, "images": len(images), "deviation": deviation}
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, file.read_bytes())
    write_atomically(beside, json.dumps(content, indent=1, ensure_ascii=False).encode())
    return beside


Network = Callable[[Tensor], Tensor]


def _probes(stride: int, size: tuple[int, int] | None) -> list[Tensor]:
    """Random normalized images, of two sizes where any may come; the first one is of a batch."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(rows * stride, columns * stride) for rows, columns in _CELLS]
    shapes = [(2, 3, *sizes[0]), (1, 3, *sizes[1])] if size is None else [(2, 3, *size)]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def _deviation(trained: TrainedModel, network: Network, image: Tensor) -> float:
    """The largest difference of the logits, as a share of the largest logit."""
    expected = _FullSize(trained.model)(image)
    found = network(image)
    if found.shape != expected.shape:
        return math.inf
    largest = expected.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
    return float((found - expected).abs().max() / largest)


def _write_torch(
    trained: TrainedModel, file: Path, images: list[Tensor], stride: int, size: Any
) -> tuple[Network, str]:
    program = _program(trained, images[0], stride, size)
    try:
        with _quiet():
            torch.export.save(program, file)
    except Exception as error:
        raise _not_exported(trained, "torch.export", error) from error
    return torch.export.load(file).module(), f"torch {torch.__version__}"


def _write_onnx(
    trained: TrainedModel, file: Path, images: list[Tensor], stride: int, size: Any
) -> tuple[Network, str]:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise ValueError(
            f"an ONNX file needs {', '.join(missing)} to be written and checked: "
            'pip install "lossmaxpool[onnx]"'
        )
    program = _program(trained, images[0], stride, size)
    try:
        with _quiet():
            torch.onnx.export(
                program,
                f=file,
                input_names=["image"],
                output_names=["logits"],
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except Exception as error:
        raise _not_exported(trained, "ONNX", error) from error
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def run(image: Tensor) -> Tensor:
        (logits,) = session.run(["logits"], {"image": image.numpy()})
        return torch.from_numpy(logits)

    return run, f"onnxruntime {version('onnxruntime')}"


def _write_safetensors(
    trained: TrainedModel, file: Path, images: list[Tensor], stride: int, size: Any
) -> tuple[Network, str]:
    from safetensors.torch import save_file

    # Copies: tensors that share memory are refused.
    state = {name: tensor.clone() for name, tensor in trained.model.state_dict().items()}
    save_file(state, file, metadata={"lossmaxpool": __version__})
    description = trained.description
    config = asdict(description.config) | {"weights": "none"}
    again = build_model(type(description.config)(**config), len(description.classes))
    again.load_state_dict(read_tensors(file))
    return _FullSize(again.eval()), f"torch {torch.__version__}"


_WRITERS = {"onnx": _write_onnx, "torch": _write_torch, "safetensors": _write_safetensors}


def _program(
    trained: TrainedModel, image: Tensor, stride: int, size: tuple[int, int] | None
) -> torch.export.ExportedProgram:
    shapes: dict[int, Any] = {0: Dim("batch", min=1, max=_MOST)}
    if size is None:
        for axis, name in ((2, "rows"), (3, "columns")):
            cells = Dim(name, min=_LEAST, max=_MOST)
            shapes[axis] = stride * cells if stride > 1 else cells
    try:
        with _quiet():
            return torch.export.export(
                _FullSize(trained.model).eval(), (image,), dynamic_shapes=(shapes,)
            )
    except Exception as error:
        raise _not_exported(trained, "torch.export", error) from error


def _not_exported(trained: TrainedModel, what: str, error: Exception) -> ValueError:
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    advice = "give --size, the height and width of the images, if you have not"
    if isinstance(error, ImportError):
        advice = "install a newer release of what is missing there"
    return ValueError(f"{trained.file} cannot be exported with {what} ({reason}): {advice}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what the exporters report of their own progress; their errors are raised."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


def _description(
    trained: TrainedModel, out: Path, format: Format, stride: int, size: tuple[int, int] | None
) -> dict[str, Any]:
    """For the program that runs the network: preprocessing, meaning of the output, origin."""
    description = trained.description
    rule = f"a multiple of {stride}, at least {_LEAST * stride}"
    free = {"height": rule, "width": rule}
    content: dict[str, Any] = {
        "file": out.name,
        "format": format,
        "input": {
            "name": "image",
            "shape": ["batch", 3, *(size or ("height", "width"))],
            "dtype": "float32",
            "channels": "RGB",
            "normalization": "(value / 255 - mean) / std, for each channel",
            "mean": list(description.mean),
            "std": list(description.std),
            **({} if size else free),
            "padding": "0 at the right and at the bottom, after the normalization; cut it off the "
            "output",
        },
        "output": {
            "name": "logits",
            "shape": ["batch", len(description.classes), *(size or ("height", "width"))],
            "dtype": "float32",
            "class of a pixel": "the index of the largest of its logits",
            "probabilities of a pixel": "the softmax of its logits",
            "temperature": trained.temperature,
        },
        "classes": list(description.classes),
        "colors": [list(color) for color in description.colors],
        "network": asdict(description.config),
        "checkpoint": str(trained.file),
        "step": trained.step,
        "lossmaxpool": __version__,
    }
    if format == "safetensors":
        content["output"] = {
            "shape": ["batch", len(description.classes), "rows", "columns"],
            "class of a pixel": "the index of the largest of its logits, upsampled bilinearly "
            "(align_corners=False) to the size of the input",
        }
    return content
