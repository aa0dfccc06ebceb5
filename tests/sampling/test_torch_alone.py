"""The sampler needs no dependency besides torch."""

from __future__ import annotations

import subprocess
import sys

from tests.test_package import BLOCKED

CODE = f"""
import sys
sys.modules.update(dict.fromkeys({BLOCKED!r}))
import tempfile
import torch
from torch.utils.data import DataLoader
from lossmaxpool.sampling import ClassIndex, DrawnCrops, PerformanceSampler, RunningIoU

data = [(torch.zeros(3, 9, 9), torch.eye(9, dtype=torch.long)) for _ in range(4)]
with tempfile.TemporaryDirectory() as cache:
    for _ in range(2):
        index = ClassIndex.build(
            lambda i: data[i][1], 4, 2, fingerprint=lambda i: bytes([i]), cache=cache
        )
sampler = PerformanceSampler(index, 2, update_interval=2, steps=9)
running = RunningIoU(2)
for image, target in DataLoader(DrawnCrops(data, (4, 4)), batch_sampler=sampler):
    running.update(target.clamp(max=1), target)
    sampler.update(running.iou())
print(sampler.step)
"""


def test_no_numpy_is_needed() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "9"
