"""The environment of a measurement: device, library versions, command and date."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Iterable
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from lossmaxpool._version import __version__

# Libraries whose version can change numbers, pictures or generated scenes.
_LIBRARIES = (
    "torch", "torchvision", "timm", "segmentation_models_pytorch", "lightning", "numpy", "pillow",
)  # fmt: skip


def describe_environment(device: torch.device, world_size: int) -> dict[str, Any]:
    """Return the environment of a result: command, device, versions, date."""
    on_cuda = device.type == "cuda"
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "device": torch.cuda.get_device_name(device) if on_cuda else _processor(),
        "devices": world_size,
        "threads": torch.get_num_threads(),
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "lossmaxpool": __version__,
        **versions(_LIBRARIES),
    }


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of those of the packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    """The processor's marketing name, which ``platform`` does not know on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
