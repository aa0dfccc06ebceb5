"""Loading a trained network from a run's checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from lossmaxpool.models import ModelDescription, build_model
from lossmaxpool.models.outside import OutsideNetwork
from lossmaxpool.models.weights import load_plain
from lossmaxpool.options import GIVEN, Which

# The prefix of the network's weights in a checkpoint.
NETWORK = "model."


@dataclass(frozen=True)
class TrainedModel:
    """A network in evaluation mode, with its description.

    Args:
        model: (B, 3, H, W) -> (B, C, h, w), in evaluation mode.
        description: architecture, classes, colors and normalization.
        step: number of training steps.
        file: the checkpoint file.
        temperature: by which the model divides its logits, from :func:`calibrated`.
    """

    model: nn.Module
    description: ModelDescription
    step: int
    file: Path
    temperature: float = 1.0


def load_checkpoint(
    path: Path | str,
    classes: Sequence[str] | None = None,
    device: torch.device | str = "cpu",
    *,
    which: Which = "last",
    model: nn.Module | None = None,
) -> TrainedModel:
    """Rebuild the network of a checkpoint, which may hold only tensors and plain values.

    Args:
        path: a run folder, or a checkpoint file such as ``checkpoints/last.ckpt`` of one.
        classes: expected class names, in order; None accepts those of the checkpoint.
        device: device of the network.
        which: "last" for the checkpoint whose scores the report shows, "best" for the one with the
            best mIoU on the validation images.
        model: the network, where training was given one as an object; its weights are replaced.

    Returns:
        The network in evaluation mode, and its description.

    Raises:
        ValueError: the file is missing, damaged, would execute code, is not a checkpoint of this
            package, or has other classes.
    """
    path = checkpoint_file(Path(path), which)
    content = load_plain(path)
    if not isinstance(content, Mapping) or ModelDescription.KEY not in content:
        raise ValueError(
            f"{path} is not a checkpoint of lossmaxpool (it has no {ModelDescription.KEY!r}); give "
            "a run folder or its checkpoints/last.ckpt"
        )
    try:
        description = ModelDescription.from_dict(content[ModelDescription.KEY])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if classes is not None:
        check_classes(path, description.classes, classes)
    # The encoder's weights come from the checkpoint: do not download pretrained ones.
    config = replace(description.config, weights="none")
    if model is not None and config.architecture != GIVEN:
        raise ValueError(f"{path} describes its network itself: leave out model")
    network = (
        build_model(config, len(description.classes))
        if model is None
        else OutsideNetwork(model, config.stride)
    )
    _fill(network, content.get("state_dict"), path)
    return TrainedModel(network.to(device).eval(), description, _step(content, path), path)


def checkpoint_file(path: Path, which: Which) -> Path:
    """The checkpoint of a run folder; a path to a file is returned unchanged."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise ValueError(f"there is no run folder or checkpoint {path}")
    file = path / "checkpoints" / f"{which}.ckpt"
    if not file.is_file():
        runs = sorted(found.parent.parent.name for found in path.glob("*/checkpoints/last.ckpt"))
        if runs:
            raise ValueError(
                f"{path} holds {len(runs)} runs ({', '.join(runs)}): give one of them, as in "
                f"{path / runs[0]}"
            )
        raise ValueError(
            f"there is no file {file}: is {path} a run folder, and has its training reached a "
            "checkpoint?"
        )
    return file


def check_classes(path: Path, trained: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise for a checkpoint of other classes."""
    if len(trained) != len(wanted):
        raise ValueError(
            f"{path} was trained on {len(trained)} classes ({', '.join(trained)}), the data set "
            f"has {len(wanted)} ({', '.join(wanted)}); give the data set it was trained on"
        )
    for index, (ours, theirs) in enumerate(zip(trained, wanted, strict=True)):
        if ours != theirs:
            raise ValueError(
                f"class {index} is {ours!r} in {path} and {theirs!r} in the data set; the same "
                "number of classes, but not the same ones or not in the same order"
            )


def _step(content: Mapping[str, object], path: Path) -> int:
    step = content.get("global_step")
    if not isinstance(step, int):
        raise ValueError(f"{path} does not tell its 'global_step'; the checkpoint is incomplete")
    return step


def _fill(model: nn.Module, states: object, path: Path) -> None:
    if not isinstance(states, Mapping):
        raise ValueError(f"{path} has no 'state_dict'; the checkpoint is incomplete")
    tensors = {
        name.removeprefix(NETWORK): tensor
        for name, tensor in states.items()
        if name.startswith(NETWORK) and isinstance(tensor, Tensor)
    }
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:  # its message lists names and shapes
        raise ValueError(
            f"the weights in {path} do not fit the network that it describes: {error}"
        ) from error
    broken = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise ValueError(
            f"{path} has NaN or infinite weights ({broken[0]} and others); take another"
        )
