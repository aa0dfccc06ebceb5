"""The folder lives in :mod:`lossmaxpool.runs.folder`; these are its names here."""

from lossmaxpool.runs.folder import (
    CONFIG,
    Resume,
    check_folder,
    check_same_configuration,
    check_same_run,
    claim_folder,
    claimed_output,
    find_checkpoint,
    is_unused,
    nothing_to_resume,
)

__all__ = [
    "CONFIG",
    "Resume",
    "check_folder",
    "check_same_configuration",
    "check_same_run",
    "claim_folder",
    "claimed_output",
    "find_checkpoint",
    "is_unused",
    "nothing_to_resume",
]
