"""After `kill -9` of the main process, none of its children stays alive."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.training.runs import tiny
from tests.training.test_distributed import config as distributed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# Its batches fill the pipe to the main process: an orphan would wait for a reader.
LOADER = """
import time, torch
from pathlib import Path
from torch.utils.data import DataLoader, Dataset
from lossmaxpool.processes import begin_worker

class Zeros(Dataset):
    def __len__(self):
        return 1000
    def __getitem__(self, index):
        return torch.zeros(1000, 1000).numpy()

batches = iter(DataLoader(Zeros(), num_workers=2, collate_fn=list, worker_init_fn=begin_worker))
next(batches)
time.sleep(3)  # the pipes are full then
Path("last.ckpt").touch()
time.sleep(600)
"""


def parents() -> dict[int, int]:
    """The parent of every process that is alive, zombies left out."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the name, which may hold spaces and parentheses: state, parent.
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            found[int(path.parent.name)] = int(parent)
    return found


def descendants(ancestor: int) -> set[int]:
    alive, found, latest = parents(), set[int](), {ancestor}
    while latest:
        latest = {child for child, parent in alive.items() if parent in latest}
        found |= latest
    return found


def wait_until(holds: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def words(command: str, tmp_path: Path) -> list[str]:
    """A run without an end, and how it is started."""
    base = distributed(2) if command == "ranks" else tiny(workers=1)
    config = replace(
        base,
        optimization=replace(base.optimization, steps=10**6),
        reporting=replace(base.reporting, eval_every=0, checkpoint_every=10),
    )
    options = config.to_dict()
    if command == "compare":
        del options["method"], options["seed"]
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(options))
    name = "train" if command == "ranks" else command
    started = ["-m", "lossmaxpool", name, "--config", "run.yaml", "--out", "out"]
    return [*started, "--jobs", "2"] if command == "compare" else started


# Workers, or two runs with a worker each, or a rank; and the resource tracker of multiprocessing.
@pytest.mark.parametrize(
    ("command", "children", "runs"),
    [("loader", 2, 1), ("train", 1, 1), ("compare", 4, 2), ("ranks", 1, 1)],
)
def test_nothing_survives_the_main_process(
    command: str, children: int, runs: int, tmp_path: Path
) -> None:
    arguments = ["-c", LOADER] if command == "loader" else words(command, tmp_path)
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as main:
        began = wait_until(lambda: len([*tmp_path.rglob("last.ckpt")]) >= runs, 300)
        family = descendants(main.pid)
        main.send_signal(signal.SIGKILL)
    assert began
    assert len(family) >= children
    gone = wait_until(lambda: not family & parents().keys(), 60)
    left = family & parents().keys()
    for process in left:
        subprocess.run(["kill", "-9", str(process)], check=False)
    assert gone, f"{len(left)} of {len(family)} processes are still alive"
