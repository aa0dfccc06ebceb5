"""Run folders below a folder, and what about them cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lossmaxpool.report.comparison import Run
from lossmaxpool.report.fields import RecordError
from lossmaxpool.report.records import read_run

RECORD = "record.json"
CONFIG = "config.yaml"


@dataclass(frozen=True)
class Found:
    """The runs below a folder.

    Args:
        runs: The finished ones.
        unfinished: One sentence per run that has not come to its end.
        damaged: One sentence per record that cannot be used.
    """

    runs: tuple[Run, ...] = ()
    unfinished: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


def find_runs(root: Path) -> Found:
    """Reads every run folder in a folder, at any depth; a run folder itself is one.

    Args:
        root: Usually what ``lossmaxpool compare`` or a sweep wrote.

    Returns:
        The finished runs in the order of their paths; the others in words. One damaged record
        leaves the other runs usable.

    Raises:
        RecordError: There is no such folder, or no run in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise RecordError(f"{root}: no such folder. Give one that holds run folders.")
    folders = sorted({path.parent for name in (RECORD, CONFIG) for path in root.rglob(name)})
    if not folders:
        raise RecordError(
            f"{root}: no run folder in it (a folder with {RECORD}). "
            "Give the folder that `lossmaxpool train` or `compare` wrote."
        )
    runs, unfinished, damaged = [], [], []
    for folder in folders:
        if not (folder / RECORD).exists():
            unfinished.append(f"{folder}: it has {CONFIG} and no {RECORD}; it has not begun.")
            continue
        try:
            run = read_run(folder)
        except RecordError as error:
            damaged.append(str(error))
            continue
        if run.finished:
            runs.append(run)
        else:
            reached = f"at step {run.final.step}" if run.final else "before its first evaluation"
            state = "not finished" if run.status == "running" else run.status
            unfinished.append(f"{folder}: {state} {reached}; resume it.")
    return Found(tuple(runs), tuple(unfinished), tuple(damaged))
