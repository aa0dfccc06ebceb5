"""The options of the commands that train several runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt

from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.training import TrainConfig
from lossmaxpool.training.config import MethodId

# What the runs do not share.
_OWN = {"method", "seed"}


def add_runs(parser: CommandParser, methods: Sequence[MethodId], seeds: Sequence[int]) -> None:
    """Add the methods and seeds, by default these, and everything that the runs share."""
    parser.add_argument(
        "--methods",
        type=list[MethodId],
        default=list(methods),
        help=", ".join(get_args(MethodId)),
    )
    parser.add_argument("--seeds", type=list[int], default=list(seeds), help="one run each")
    parser.add_argument("--jobs", type=PositiveInt, default=1, help="runs at the same time")
    parser.add_class_arguments(TrainConfig, as_group=False, skip=_OWN)
    parser.set_defaults({"data.name": None})
    parser.refuse("method", "give --methods")
    parser.refuse("seed", "give --seeds")


def shared_config(options: Namespace) -> TrainConfig:
    """Return what the runs share; its method and seed mean nothing."""
    shared = TrainConfig.__dataclass_fields__.keys() - _OWN
    return TrainConfig(**{key: options[key] for key in shared})


def shared_options(config: TrainConfig) -> dict[str, Any]:
    """Return what the runs share as plain values, for a file of options."""
    return {key: value for key, value in config.to_dict().items() if key not in _OWN}
