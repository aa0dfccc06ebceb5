"""Pictures of what a run learned: image, truth, prediction, and where the weights w* sit."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from lossmaxpool.data import IGNORE_INDEX, EvalTransform, SegmentationDataset
from lossmaxpool.functional import solve
from lossmaxpool.runs.record import Picture
from lossmaxpool.training.module import SegmentationModule
from lossmaxpool.training.painting import evenly_spaced, heat_map, views, write_png

EXAMPLES = "examples"


def write_examples(
    module: SegmentationModule, dataset: SegmentationDataset, folder: Path, count: int
) -> list[Picture]:
    """Write the pictures of a few validation images into a run folder.

    Args:
        module: The trained network.
        dataset: The validation split.
        folder: The run folder.
        count: How many images; they are evenly spaced in the split, the same for every run.

    Returns:
        The entries of the run record: the name of the sample and paths relative to ``folder``.
    """
    (folder / EXAMPLES).mkdir(exist_ok=True)
    description = module.description
    transform = EvalTransform(description.mean, description.std)
    was_training = module.training
    module.eval()
    entries = []
    for k, index in enumerate(evenly_spaced(len(dataset), count)):
        sample = dataset[index]
        image, target = transform(sample)
        with torch.no_grad(), module.trainer.precision_plugin.forward_context():
            logits = module.full_size_logits(image[None].to(module.device)).cpu()
        weights = max_pooling_weights(
            logits, target[None], p=module.config.loss.p, min_support=module.config.loss.min_support
        )[0]
        pictures = views(sample, logits[0].argmax(dim=0), description.colors)
        pictures["weights"] = heat_map(sample, weights)
        entry: dict[str, str] = {}
        for kind, pixels in pictures.items():
            entry[kind] = f"{EXAMPLES}/{k}.{kind}.png"
            write_png(folder / entry[kind], pixels)
        entries.append(Picture(sample.name, step=None, **entry))
    module.train(was_training)
    return entries


def max_pooling_weights(logits: Tensor, target: Tensor, *, p: float, min_support: float) -> Tensor:
    """Return where loss max-pooling looks: w* / tau of the pixel losses, in [0, 1].

    Args:
        logits: (B, C, H, W).
        target: (B, H, W), ``IGNORE_INDEX`` where unlabelled.
        p: Norm of the weighting set.
        min_support: Least share of the valid pixels that the weights rest on.

    Returns:
        (B, H, W), 0 on ignored pixels.

    References:
        Rota Bulò et al. 2017, Theorem 1.
    """
    losses = F.cross_entropy(logits, target, ignore_index=IGNORE_INDEX, reduction="none")
    valid = target != IGNORE_INDEX
    solution = solve(losses, p=p, min_support=min_support, valid=valid)
    relative = solution.weights / solution.weight_cap.view(-1, 1, 1)
    return relative.where(valid, 0.0)
