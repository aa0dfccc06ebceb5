"""What does the loss cost? Loss max-pooling against cross-entropy and sorting, forward + backward.

    python -m benchmarks.loss

Interleaved in one run, so that a drifting machine slows all alike; medians with their 20 % and
80 % quantiles go to benchmarks/results/loss-<device>.json. Ratios are to F.cross_entropy.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lossmaxpool import MaxPoolingCrossEntropyLoss
from lossmaxpool.environment import describe_environment

RESULTS = Path(__file__).parent / "results"
IGNORED = 255


def by_sort(logits: Tensor, target: Tensor, p: float = 1.3, share: float = 0.25) -> Tensor:
    """Loss max-pooling as the paper's Algorithm 1 prescribes it: sort, then cumulative sums."""
    losses = F.cross_entropy(logits, target, ignore_index=IGNORED, reduction="none").flatten(1)
    n = losses.shape[1]
    q, m = p / (p - 1), share * n
    order, _ = losses.detach().sort(dim=1)
    order = order / order[:, -1:]
    power = order.double() ** q
    mass = power.cumsum(1)
    room = m - n + torch.arange(1, n + 1, device=losses.device)
    capped = room * power > mass
    first = torch.where(capped.any(1), capped.int().argmax(1), n).unsqueeze(1)
    below = torch.cat([torch.zeros_like(mass[:, :1]), mass], dim=1).gather(1, first)
    alpha = (below / (m - n + first)) ** (1 / q) * losses.detach().amax(1, keepdim=True)
    tau = (n / m) ** (1 / p) / n
    weights = tau * (losses.detach() / alpha.to(losses.dtype)).clamp(max=1) ** (q - 1)
    return (weights * losses).sum(1).mean()


def contenders() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    return {
        "cross_entropy": lambda x, y: F.cross_entropy(x, y, ignore_index=IGNORED),
        "lmp": MaxPoolingCrossEntropyLoss(ignore_index=IGNORED),
        "lmp_p1.01": MaxPoolingCrossEntropyLoss(p=1.01, ignore_index=IGNORED),
        "lmp_by_sort": by_sort,
    }


def milliseconds(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, target: Tensor) -> float:
    logits.grad = None
    if logits.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    loss(logits, target).backward()
    if logits.is_cuda:
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shape", type=int, nargs=4, default=(2, 19, 550, 550))
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    device = torch.device(options.device)
    batch, classes, height, width = options.shape
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, classes, (batch, height, width), generator=generator)
    # A network in mid-training: most pixels right by a margin, a tail of errors.
    logits = torch.randn(batch, classes, height, width, generator=generator)
    margin = 6 + 3 * torch.randn(batch, 1, height, width, generator=generator)
    logits.scatter_add_(1, target.unsqueeze(1), margin)
    logits, target = logits.to(device).requires_grad_(), target.to(device)
    losses = contenders()
    times: dict[str, list[float]] = {name: [] for name in losses}
    for repeat in range(options.repeats + 2):
        for name, loss in losses.items():
            spent = milliseconds(loss, logits, target)
            if repeat >= 2:  # the first two warm up
                times[name].append(spent)
    rows = {}
    for name, spent in times.items():
        low, median, high = np.quantile(spent, [0.2, 0.5, 0.8])
        ratio = median / np.median(times["cross_entropy"])
        rows[name] = {"median_ms": median, "q20_ms": low, "q80_ms": high, "ratio": ratio}
        print(
            f"{name:15} {median:8.1f} ms  ({low:.1f} .. {high:.1f})  {ratio:5.2f} x cross-entropy"
        )
    content = {
        "command": f"python -m benchmarks.loss --device {device.type}",
        "shape": list(options.shape),
        "dtype": "float32",
        "environment": describe_environment(device, 1),
        "losses": rows,
    }
    path = RESULTS / f"loss-{device.type}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
