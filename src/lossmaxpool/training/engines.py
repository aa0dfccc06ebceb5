"""Where several runs are trained: on this machine, or on the nodes of a Ray cluster.

An engine gets runs and trains those that are not finished. Each goes on from its own last
checkpoint, so that whatever has died can be handed out again.
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from lossmaxpool.checks import check_choice
from lossmaxpool.data import DataError
from lossmaxpool.processes import end_with_parent, postponed_interrupt
from lossmaxpool.runs import RunInterruptedError, TrainingError
from lossmaxpool.runs.config import HardwareConfig, TrainConfig
from lossmaxpool.runs.folder import CONFIG, check_same_run, find_checkpoint, is_unused
from lossmaxpool.runs.record import RECORD, RunRecord
from lossmaxpool.training.building import Given
from lossmaxpool.training.loop import train
from lossmaxpool.training.progress import ALONE, Place

# A configuration, and the folder for its run.
Planned = tuple[TrainConfig, Path]
# Trains one run.
TrainOne = Callable[[TrainConfig, Path, Given, Place], None]
NOTHING = Given()
# Processes that a run on Ray may lose; one that kills each of them must come to an end.
_LOSSES = 10
# Seconds that a Ray cluster may take to answer, and between two looks at its nodes.
_PATIENCE = 10.0


def is_finished(folder: Path) -> bool:
    """Return whether a folder holds a run that has come to its end."""
    has_run = (folder / CONFIG).is_file() and (folder / RECORD).is_file() and not is_unused(folder)
    return has_run and RunRecord.read(folder).finished


def train_unless_finished(
    config: TrainConfig, folder: Path, given: Given = NOTHING, place: Place = ALONE
) -> None:
    """Train, resume or keep the run in a folder, whichever is left to do."""
    if is_finished(folder):
        check_same_run(config, folder)
    else:
        begun = (folder / CONFIG).is_file() and not is_unused(folder)
        train(config, folder, resume=begun, place=place, **vars(given))


def on_one_device(hardware: HardwareConfig, threads: int) -> HardwareConfig:
    """Return the hardware of a run beside others: one device."""
    if hardware.devices not in ("auto", 1) or hardware.num_nodes > 1:
        raise ValueError(
            f"hardware.devices is {hardware.devices} on {hardware.num_nodes} nodes: a comparison "
            "trains each run on one device; set 1 and raise jobs, or train the runs one by one"
        )
    return replace(hardware, devices=1, threads=threads)


@dataclass(frozen=True)
class PlannedRuns:
    """Several runs, of which an engine trains those that are not finished.

    Args:
        runs: Configurations and their run folders.
        jobs: Runs at the same time; None leaves the number to the engine.
        task: Trains one of them.
        kind: What each of them is called.
    """

    runs: Sequence[Planned]
    jobs: int | None = None
    given: Given = NOTHING
    task: TrainOne = train_unless_finished
    kind: str = "run"

    def placed(self, jobs: int) -> list[tuple[Planned, Place]]:
        """Return the runs that are not finished, each with its place among all."""
        left = [run for run in self.runs if not is_finished(run[1])]
        total = len(self.runs)
        return [
            (run, Place(self.runs.index(run) + 1, total, (len(left) - 1 - k) // jobs, self.kind))
            for k, run in enumerate(left)
        ]


# Trains runs and says on stderr how far it is. A TrainingError says that a run stopped, or that the
# engine cannot be used.
Engine = Callable[[PlannedRuns], None]


def train_here(plan: PlannedRuns) -> None:
    """Train on this machine, one after another or in processes that share its threads.

    After a failure or Ctrl-C, no further run begins.
    """
    jobs = plan.jobs or 1

    def shared(hardware: HardwareConfig) -> HardwareConfig:
        threads = hardware.threads
        if jobs > 1:
            threads = max(1, (threads or torch.get_num_threads()) // jobs)
        return on_one_device(hardware, threads)

    own = [(replace(config, hardware=shared(config.hardware)), to) for config, to in plan.runs]
    placed = _announced(replace(plan, runs=own), jobs)
    if jobs == 1:
        for (config, folder), place in placed:
            plan.task(config, folder, plan.given, place)
        return
    # Fresh interpreters: a forked one would inherit the threads' locks.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=end_with_parent) as pool:

        def begun(number: int) -> set[Future[None]]:
            # A run is handed over when a process is free for it: what the pool holds it will begin.
            next_ones = islice(placed, number)
            return {pool.submit(plan.task, *run, plan.given, place) for run, place in next_ones}

        active = begun(jobs)
        while active:
            done, active = wait(active, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            active |= begun(len(done))


def _announced(plan: PlannedRuns, jobs: int) -> Iterator[tuple[Planned, Place]]:
    """Say which run begins."""
    placed, total = plan.placed(jobs), len(plan.runs)
    kept = total - len(placed)
    finished = f", {kept} finished before" if kept else ""
    for run, place in placed:
        if total > 1:
            sys.stderr.write(f"{place}: {run[1].name}{finished}\n")
            finished = ""
        yield run, place


def train_on_ray(plan: PlannedRuns) -> None:
    """Hand the runs to the Ray cluster of ``RAY_ADDRESS``, or to the one that runs here.

    A run whose process or node dies goes on elsewhere. One that fails is reported, and the others
    are trained all the same. Ctrl-C stops all of them after the step under way, with a checkpoint.
    """
    kind, total, jobs = plan.kind, len(plan.runs), plan.jobs
    out = plan.runs[0][1].parent
    with _cluster() as ray, _landmark(out) as landmark:
        handed = _Handed(ray, plan.runs[0][0].hardware, plan.task)
        own = [(handed.config(config), folder) for config, folder in plan.runs]
        waiting = replace(plan, runs=own).placed(min(jobs or total, handed.room()))
        done = total - len(waiting)
        sys.stderr.write(
            f"{len(waiting)} of {total} {kind}s go to the Ray cluster at "
            f"{ray.get_runtime_context().gcs_address}, each with {handed}\n"
        )
        shared, directory = ray.put(plan.given), Path.cwd()
        failures: list[Exception] = []
        with postponed_interrupt() as interrupt, handed:
            while waiting or handed.active:
                while waiting and (jobs is None or len(handed.active) < jobs):
                    run, place = waiting.pop(0)
                    handed.begin(run, shared, place, directory, landmark)
                for folder, error in handed.ended():
                    if error is None:
                        done += 1
                        sys.stderr.write(f"{done} of {total} {kind}s finished\n")
                    elif not isinstance(error, RunInterruptedError):
                        sys.stderr.write(f"{folder.name} failed: {error}\n")
                        failures.append(error)
                # A node that cannot train would take one run after another, and fail them all.
                unfit = any(isinstance(error, _UnfitNodeError) for error in failures)
                if interrupt.requested or unfit:
                    waiting.clear()
                    handed.stop()
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise TrainingError(
            f"{len(failures)} of {total} {kind}s failed, the first of them: {failures[0]}"
        ) from failures[0]
    if done < total:
        raise RunInterruptedError(
            f"interrupted with {done} of {total} {kind}s finished; --resume goes on with the rest"
        )


def engine_named(name: str, jobs: int | None) -> Engine:
    """Return an engine."""
    engines: dict[str, Engine] = {"local": train_here, "ray": train_on_ray}
    check_choice("engine", name, engines)
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs is {jobs}: expected at least 1")
    return engines[name]


class _UnfitNodeError(TrainingError):
    """A node of the cluster does not see what the runs need."""


class _Handed:
    """The runs that a Ray cluster holds; as a context, none stays there."""

    def __init__(self, ray: Any, hardware: HardwareConfig, task: TrainOne) -> None:
        accelerators = {"auto", "cpu", "gpu", "cuda"}
        if hardware.accelerator not in accelerators:
            raise TrainingError(
                f"hardware.accelerator is {hardware.accelerator}: on Ray expected one of "
                f"{', '.join(sorted(accelerators))}"
            )
        self.active: dict[Any, Path] = {}
        self._ray = ray
        self._accelerator = hardware.accelerator
        if self._accelerator == "auto":
            self._accelerator = "gpu" if ray.cluster_resources().get("GPU") else "cpu"
        self._needs = {
            "CPU": max(1, hardware.threads) + hardware.workers,
            "GPU": int(self._accelerator != "cpu"),
        }
        self._task = ray.remote(
            num_cpus=self._needs["CPU"],
            num_gpus=self._needs["GPU"],
            max_retries=_LOSSES,
            # A node that is taken back sends SIGTERM, which ends a run as Ctrl-C does.
            retry_exceptions=[RunInterruptedError],
        )(_train_on_node)
        self._train = task
        self._stopped = self._told = False

    def __str__(self) -> str:
        return f"{self._needs['CPU']} CPUs and {self._needs['GPU']} GPUs"

    def __enter__(self) -> _Handed:
        return self

    def __exit__(self, *error: object) -> None:
        for task in self.active:
            self._ray.cancel(task, force=True)

    def _found(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _room(self) -> int:
        needs = [(kind, count) for kind, count in self._needs.items() if count]
        return sum(
            min(int(node.get(kind, 0) // count) for kind, count in needs) for node in self._found()
        )

    def room(self) -> int:
        """Return how many runs the cluster holds at the same time.

        Raises:
            TrainingError: No node has what one of them needs: it would wait for ever.
        """
        room = self._room()
        if not room:
            found = "; ".join(
                f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs"
                for node in self._found()
            )
            raise TrainingError(
                f"a run needs {self} on one node, and the nodes of the Ray cluster have {found}: "
                "lower hardware.threads or hardware.workers, set hardware.accelerator to cpu, or "
                "start a larger node"
            )
        return room

    def config(self, config: TrainConfig) -> TrainConfig:
        """Return the configuration of a run with what it gets on its node."""
        hardware = on_one_device(config.hardware, max(1, config.hardware.threads))
        return replace(config, hardware=replace(hardware, accelerator=self._accelerator))

    def begin(
        self, run: Planned, given: Any, place: Place, directory: Path, landmark: Path
    ) -> None:
        """Hand over a run."""
        config, folder = run
        task = self._task.options(name=folder.name)
        ref = task.remote(self._train, config, folder, given, place, directory, landmark)
        self.active[ref] = folder

    def ended(self) -> Iterator[tuple[Path, Exception | None]]:
        """Yield the runs that have ended, within a second, and their errors."""
        if not self.active:
            return
        for task in self._ray.wait(list(self.active), timeout=1.0)[0]:
            folder = self.active.pop(task)
            yield folder, self._error(task, folder)
        if self.active and not self._told and not self._room():
            self._told = True
            sys.stderr.write(f"no node is left with {self}: the runs wait for one to come back\n")

    def stop(self) -> None:
        """Ask the runs to stop after their step, with a checkpoint."""
        if not self._stopped:
            for task in self.active:
                self._ray.cancel(task)
        self._stopped = True

    def _error(self, task: Any, folder: Path) -> Exception | None:
        errors = self._ray.exceptions
        try:
            self._ray.get(task)
        except errors.TaskCancelledError:
            return RunInterruptedError(f"{folder} was stopped")
        except errors.RayTaskError as error:
            cause: Exception = error.cause
            # Of a bug, the trace on the node is shown.
            expected = isinstance(cause, TrainingError | DataError | OSError)
            return cause if expected else error
        except errors.RayError as error:
            return TrainingError(
                f"the run in {folder} was given up after {_LOSSES} losses of its process or node: "
                f"{' '.join(str(error).split())[:300]}; --resume goes on from its last checkpoint"
            )
        return None


def _train_on_node(
    task: TrainOne,
    config: TrainConfig,
    folder: Path,
    given: Given,
    place: Place,
    directory: Path,
    landmark: Path,
) -> None:
    """Train on a node of a cluster as if the command had been given there.

    Args:
        directory: The directory of the command, from which paths may start.
        landmark: A file beside the run folders.
    """
    node = socket.gethostname()
    if directory.is_dir():
        os.chdir(directory)
    if not landmark.is_file():
        raise _UnfitNodeError(
            f"the node {node} does not see {landmark.parent.absolute()} as this machine does: "
            "--out must be on a file system that all nodes share, under the same path"
        )
    # The node may be one of several tasks of SLURM; the run in it is by itself.
    os.environ.pop("SLURM_NTASKS", None)
    how = "goes on" if find_checkpoint(folder) else "begins"
    sys.stderr.write(f"{place}: {folder.name} {how} on {node}\n")
    task(config, folder, given, place)


@contextmanager
def _landmark(out: Path) -> Iterator[Path]:
    """Yield a file in the folder of the runs by which a node recognizes it."""
    path = out / f".ray-{secrets.token_hex(8)}"
    path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _cluster() -> Iterator[Any]:
    """Yield the package ray, connected to a cluster; a connection that was there stays.

    Raises:
        TrainingError: Ray is not installed, or its cluster cannot be reached.
    """
    # Two runs that differ in their seed alone report lines that Ray would take for the same.
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise TrainingError(
            'the engine ray needs Ray, which is not installed: pip install "lossmaxpool[ray]"'
        ) from error
    if ray.is_initialized():
        yield ray
        return
    address = os.environ.get("RAY_ADDRESS") or "auto"
    try:
        host, _, port = address.rpartition("://")[2].rpartition(":")
        if host:
            # Ray itself would try for minutes.
            socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
        ray.init(address=address, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError) as error:
        raise TrainingError(
            f"there is no Ray cluster at RAY_ADDRESS={address} ({' '.join(str(error).split())}): "
            "start one (ray start --head), or correct RAY_ADDRESS; RAY_ADDRESS=local starts one "
            "on this machine for the time of the command"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
