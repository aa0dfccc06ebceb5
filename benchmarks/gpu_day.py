"""All that can only be known on a GPU, by one command that may be cut off and run again.

    python -m benchmarks.gpu_day --budget 540

In order: every configuration against float64 (in many processes at a time, since most of it is
compiling), one call of everything that the benchmark measures, which compiles that too, the
benchmark, the tests marked ``cuda``, 100 training steps, the time of each kernel, Nsight Compute,
compute-sanitizer, two processes over NCCL. Each case is kept as it ends in
benchmarks/results/gpu-day.json; none stops the next. A call ends before its budget of seconds is
spent, and the next call goes on behind the last case. When the benchmark is complete, its results
become loss-cuda.json and the page docs/speed.md.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.speed.results import RESULTS

ROOT = Path(__file__).resolve().parents[1]
KEPT = RESULTS / "gpu-day.json"
# Of the environment, for a run to go on: the last is a digest of the sources of the losses.
SAME = ("device", "torch", "triton", "lossmaxpool", "ops_digest")


class Stage(NamedTuple):
    """Cases of one kind, which a worker runs one after the other."""

    kind: str
    cases: Sequence[str]
    expected: float  # seconds of a case: with less than this left, none is started
    limit: float  # seconds after which a case has failed
    workers: int = 1  # processes that share the cases; more than one where nothing is timed


class BudgetError(Exception):
    """The budget ended during a case, which is neither done nor failed."""


def stages() -> list[Stage]:
    """The day, in the order of what matters first."""
    from benchmarks.gpu_work import names

    cores = os.cpu_count() or 1
    times: dict[str, tuple[float, float, int]] = {
        "smoke": (15, 120, max(1, cores - 2)),
        "compile": (20, 120, min(6, cores)),  # each holds the memory of a case
        "benchmark": (12, 120, 1),
        "tests": (40, 400, 1),
        "training": (30, 240, 1),
        "kernels": (10, 60, 1),
        "ncu": (30, 120, 1),
        "sanitizer": (120, 500, 1),
        "nccl": (30, 120, 1),
    }
    return [Stage(kind, names(kind), *numbers) for kind, numbers in times.items()]


def worker(kind: str, cases: Sequence[str]) -> list[str]:
    """The command that runs cases and prints a line of JSON for each."""
    return [sys.executable, "-m", "benchmarks.gpu_work", kind, *cases]


def go_on(
    day: Sequence[Stage],
    content: dict[str, Any],
    keep: Callable[[], None],
    budget: float,
    command: Callable[[str, Sequence[str]], list[str]] = worker,
) -> int:
    """Run what is not in ``content`` yet, as far as the budget goes; how many cases are left."""
    end = time.monotonic() + budget
    lock = threading.Lock()
    for stage in day:
        found = content["results"].setdefault(stage.kind, {})

        def store(result: dict[str, Any], found: dict[str, Any] = found) -> None:
            with lock:
                found[result.pop("name")] = result
                keep()

        missing = [name for name in stage.cases if name not in found]
        shares = [missing[i :: stage.workers] for i in range(min(stage.workers, len(missing)))]
        with ThreadPoolExecutor(max(1, len(shares))) as pool:
            done = [pool.submit(_finish, stage, names, store, end, command) for names in shares]
        if not all(one.result() for one in done):
            break
    return _left(day, content)


def _finish(
    stage: Stage,
    names: Sequence[str],
    store: Callable[[dict[str, Any]], None],
    end: float,
    command: Callable[[str, Sequence[str]], list[str]],
) -> bool:
    """Run cases one after the other, in as few processes as they leave alive; whether all ended."""
    missing = list(names)
    while missing:
        if end - time.monotonic() < stage.expected:
            return False
        late, before = False, len(missing)
        try:
            for result in _results(command(stage.kind, missing), stage, end):
                missing.remove(result["name"])
                store(result)
            error = "its process ended without a result"
        except TimeoutError:
            error, late = f"took longer than {stage.limit:g} s", True
        except BudgetError:
            return not missing
        # A process that ended early is tried again; if it ends at once, its case has failed.
        if missing and (late or len(missing) == before):
            print(f"FAIL {stage.kind} {missing[0]}: {error}", flush=True)
            store({"name": missing.pop(0), "ok": False, "error": error})
    return True


def _results(command: list[str], stage: Stage, end: float) -> Iterator[dict[str, Any]]:
    """The results of a worker as they come; it is ended with the case that takes too long."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
        try:
            for line in _lines(process, stage.limit, end):
                result = _parsed(line)
                if result is not None:
                    print(_told(stage.kind, result), flush=True)
                    yield result
                    if end - time.monotonic() < stage.expected:
                        raise BudgetError
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _lines(process: subprocess.Popen[bytes], limit: float, end: float) -> Iterator[bytes]:
    assert process.stdout is not None
    pipe, rest = process.stdout.fileno(), b""
    since = time.monotonic()
    while True:
        now = time.monotonic()
        wait = min(since + limit, end) - now
        if wait <= 0 or not select.select([pipe], [], [], wait)[0]:
            raise BudgetError if end < since + limit else TimeoutError
        chunk = os.read(pipe, 1 << 16)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
            since = time.monotonic()


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        result = json.loads(line)
    except ValueError:  # something else that was printed
        return None
    return result if isinstance(result, dict) and "name" in result else None


def _told(kind: str, result: dict[str, Any]) -> str:
    word = {True: "ok  ", False: "FAIL", None: "none"}[result["ok"]]
    rest = {key: x for key, x in result.items() if key not in ("name", "ok", "case", "counted")}
    return f"{word} {kind} {result['name']}: {json.dumps(rest)}"


def _left(day: Sequence[Stage], content: dict[str, Any]) -> int:
    results = content["results"]
    return sum(name not in results.get(one.kind, {}) for one in day for name in one.cases)


def begun(path: Path, environment: dict[str, Any], *, fresh: bool) -> dict[str, Any]:
    """The content of an earlier call on the same device with the same sources, or a new one.

    Raises:
        SystemExit: the file is of another device, of other versions or of other sources.
    """
    if fresh or not path.exists():
        return {
            "command": "python -m benchmarks.gpu_day",
            "environment": environment,
            "results": {},
        }
    content: dict[str, Any] = json.loads(path.read_text())
    for name in SAME:
        before, now = content["environment"].get(name), environment.get(name)
        if before != now:
            raise SystemExit(
                f"{path.name} was begun with {name} {before}, this is {now}: move it away, or pass "
                "--fresh to overwrite it."
            )
    return content


def store(path: Path, content: dict[str, Any]) -> None:
    """Write at once or not at all: a call may be cut off at any moment."""
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(content, indent=1) + "\n")
    beside.replace(path)


def publish(content: dict[str, Any], day: Sequence[Stage]) -> Path | None:
    """Write loss-cuda.json and the page, once every case of the benchmark has been measured."""
    from benchmarks.loss import keep
    from benchmarks.speed.page import render
    from benchmarks.speed.results import Results

    wanted = next(stage.cases for stage in day if stage.kind == "benchmark")
    found = content["results"].get("benchmark", {})
    measured = [found[name].get("case") for name in wanted if name in found]
    if len(measured) < len(wanted) or None in measured:
        return None
    facts = {"command": content["command"], "device": "cuda", "cases": measured}
    path = keep(Results(facts | {"environment": content["environment"]}))
    render()
    return path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budget", type=float, default=540.0, help="seconds of this call (540)")
    parser.add_argument("--fresh", action="store_true", help="forget the results of earlier calls")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(2, "gpu_day: torch sees no GPU on this machine, and all of this needs one.\n")
    from benchmarks.loss import environment

    here = environment("cuda", torch.cuda.device_count())
    content, day = begun(KEPT, here, fresh=options.fresh), stages()
    left = go_on(day, content, lambda: store(KEPT, content), options.budget)
    results = [x for found in content["results"].values() for x in found.values()]
    failed = sum(x["ok"] is False for x in results)
    print(
        f"{len(results)} cases done, {failed} failed, {left} left" + ": run it again" * bool(left)
    )
    if (path := publish(content, day)) is not None:
        print(path)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
