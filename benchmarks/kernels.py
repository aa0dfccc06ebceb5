"""How much does the host do, and what do the GPU kernels use? Counted here, without a GPU.

    python -m benchmarks.kernels
    python -m benchmarks.kernels --before OLD    # from `git worktree add --detach OLD 94a39ed`

Host time of a forward and a backward pass on tiny tensors, on the CPU and through the Triton
kernels, whose launches are replaced by nothing; beside it cross-entropy on the same tensors, in
turns. Registers, stack, the widest load and store of every kernel, and its instructions and bytes
per pixel (see :mod:`benchmarks.instructions`), compiled for compute capability 9.0 as a launch
would compile it. Nothing here ran on a GPU. With ``--before``, the same of the first commit with
these kernels, its times in turns with today's; without, that part of the file stays as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import record_function

from benchmarks import instructions
from lossmaxpool import MaxPoolingCrossEntropyLoss, loss_max_pool
from lossmaxpool.environment import describe_environment

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results" / "kernels-sm90.json"
CAPABILITY = 90
SHAPE = (2, 5, 8, 8)
ROUNDS, CALLS = 40, 20
BASELINE = "F.cross_entropy"
LOSS = "MaxPoolingCrossEntropyLoss"
GROUPS = ("hot", "channels last")  # of cases that are counted
BACKWARD = "(backward)"
NO_KERNEL = {
    "empty", "empty_strided", "view", "detach", "as_strided", "to", "resolve_neg", "resolve_conj",
    "result_type", "scalar_tensor", "_local_scalar_dense",
}  # fmt: skip
TRITON = "triton, launches replaced by nothing"

Passes = dict[str, Callable[[], Tensor]]
Times = dict[str, float]


class Nothing:
    """A launch that does nothing but tell a profiler its kernel's name."""

    profiled: ClassVar[bool] = False

    def __init__(self, source: Any, metadata: Any) -> None:
        self.name = metadata.name

    def __call__(self, *arguments: Any) -> None:
        if self.profiled:
            with record_function(self.name):
                pass


def replace_driver() -> None:
    """Compile for the capability, and launch nothing. For the rest of the process."""
    from tests.ops.triton.compiling import Loader, NoDevice
    from triton.runtime.driver import driver

    device: Any = NoDevice(CAPABILITY)
    device.utils, device.launcher_cls = Loader(), Nothing
    driver.set_active(device)


def pretend_a_gpu() -> None:
    """CPU tensors take the way of a GPU's, without its launches. For the rest of the process."""
    from lossmaxpool.ops import cross_entropy, max_pool, reduction
    from lossmaxpool.ops.backends.triton import support

    replace_driver()
    support.absence = lambda: None
    support._refuses_device = lambda tensor: None
    # Nobody looks at numbers, as on a GPU.
    reduction.FEW = -1
    for module in (cross_entropy, max_pool):
        module.holds_nan = lambda value: False  # type: ignore[attr-defined]


def losses(
    criterion: Callable[[Tensor, Tensor], Tensor],
    pool: Callable[[Tensor], Tensor],
    scale: int = 1,
) -> Passes:
    """The losses on tiny tensors; every call starts from a leaf without a gradient.

    With ``scale``, the target is larger than the logits, which the criterion upsamples.
    """
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(SHAPE, generator=generator).requires_grad_()
    size = (SHAPE[0], *(scale * n for n in SHAPE[2:]))
    target = torch.randint(0, SHAPE[1], size, generator=generator)
    pixels = torch.rand(SHAPE[0], 64, generator=generator).requires_grad_()

    def fresh(loss: Callable[[], Tensor], leaf: Tensor) -> Callable[[], Tensor]:
        def call() -> Tensor:
            leaf.grad = None
            return loss()

        return call

    return {
        BASELINE: fresh(lambda: F.cross_entropy(logits, target), logits),
        LOSS: fresh(lambda: criterion(logits, target), logits),
        "loss_max_pool": fresh(lambda: pool(pixels), pixels),
    }


def of_backend(backend: Any, p: float = 1.3, scale: int = 1) -> Passes:
    """Today's losses."""
    criterion = MaxPoolingCrossEntropyLoss(p=p, backend=backend)
    return losses(criterion, lambda pixels: loss_max_pool(pixels, p=p, backend=backend), scale)


def variants() -> Passes:
    """The losses that launch other kernels."""
    return {
        f"{LOSS}, p = 1": of_backend("triton", p=1.0)[LOSS],
        f"{LOSS}, ×8 upsampling": of_backend("triton", scale=8)[LOSS],
    }


def one_round(passes: Passes) -> Times:
    """Microseconds of the calling thread per call, of every loss in turn: forward, and both."""
    spent = {}
    for name, loss in passes.items():
        ways: dict[str, Callable[[], object]] = {
            "forward_us": loss, "forward_and_backward_us": lambda loss=loss: loss().backward()
        }  # fmt: skip
        for way, run in ways.items():
            run()
            start = time.thread_time_ns()
            for _ in range(CALLS):
                run()
            spent[f"{name}: {way}"] = (time.thread_time_ns() - start) / CALLS / 1000
    return spent


def in_turns(contenders: Mapping[str, Callable[[], Times]]) -> dict[str, dict[str, Times]]:
    """The median round of every contender, of rounds that take turns."""
    rounds: dict[str, list[Times]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, contend in contenders.items():
            rounds[name].append(contend())
    table: dict[str, dict[str, Times]] = {name: {} for name in contenders}
    for name, found in rounds.items():
        for key in found[0]:
            loss, way = key.split(": ")
            middle = sorted(one[key] for one in found)[len(found) // 2]
            table[name].setdefault(loss, {})[way] = round(middle, 1)
        unit = table[name][BASELINE]["forward_and_backward_us"]
        for row in table[name].values():
            row["of_cross_entropy"] = round(row["forward_and_backward_us"] / unit, 2)
    return table


def launches(passes: Passes) -> dict[str, list[str]]:
    """The launches of a forward and a backward pass, in order: our kernels, and torch's."""
    found = {}
    for name, loss in passes.items():
        loss().backward()
        value, forward = _launched(loss)
        _, backward = _launched(value.backward)
        found[name] = [*forward, BACKWARD, *backward]
    return {name: kernels for name, kernels in found.items() if name != BASELINE}


def _launched(run: Callable[[], Any]) -> tuple[Any, list[str]]:
    Nothing.profiled = True
    with torch.profiler.profile(acc_events=True) as profile:
        result = run()
    Nothing.profiled = False
    # An operation that calls no other one runs a kernel, or makes a tensor or a view of one. On a
    # CPU a few take two steps, as a sum does that converts its result.
    return result, [
        event.name
        for event in sorted(profile.events(), key=lambda event: event.time_range.start)
        if not event.cpu_children and event.name.removeprefix("aten::") not in NO_KERNEL
    ]


class Before:
    """The process that runs an earlier commit's package: see :mod:`benchmarks.before`."""

    PROGRAM: ClassVar[list[str]] = [sys.executable, "-W", "ignore", "-m", "benchmarks.before"]

    def __init__(self, checkout: Path) -> None:
        git = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
        self.commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
        self.environment = os.environ | {"PYTHONPATH": str(checkout.resolve() / "src")}
        self.process = subprocess.Popen(
            self.PROGRAM,
            env=self.environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.known = self._line()

    def one_round(self) -> Times:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._line()

    def _line(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def end(self) -> dict[str, Any]:
        """The part that the file keeps, without the times."""
        self.process.communicate()
        table = compiled([*self.PROGRAM, "count"], self.environment, needed=False)
        return {"commit": self.commit, **self.known, "kernels": table}


def compiled(
    program: list[str], environment: Mapping[str, str], *, needed: bool = True
) -> dict[str, list[dict[str, Any]]]:
    """The launches of every case, a kernel's passes by themselves: what it uses, what it takes."""
    environment = {name: x for name, x in environment.items() if name != "TRITON_INTERPRET"}
    with tempfile.TemporaryDirectory() as cache:
        environment.setdefault("TRITON_CACHE_DIR", cache)
        done = subprocess.run(
            program, env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
    table = {}
    for line in map(json.loads, done.stdout.splitlines()):
        if "error" in line and needed:
            raise SystemExit(f"{line['case']} does not compile: {line['error'][-500:]}")
        rows: list[dict[str, Any]] = []
        for one in line["launches"] if "error" not in line else ():
            number = one.pop("numbers").get("PASS")
            one["kernel"] += "" if number is None else f", pass {number}"
            # The launches of an upsampling's gradient repeat for the next images.
            same = ("kernel", "instructions")
            known = [row for row in rows if all(row[name] == one[name] for name in same)]
            if known:
                known[0]["programs"] += one["programs"]
                for name in ("per_pixel", "bytes_per_pixel"):
                    if one[name] is not None:
                        known[0][name] = round(known[0][name] + one[name], 1)
            else:
                rows.append(one)
        table[line["case"]] = rows
    return table


def setting() -> dict[str, Any]:
    """Of the measurement, without the command, in which OLD is a path on this machine."""
    found = describe_environment(torch.device("cpu"), 1)
    # An earlier package described the platform in other words.
    here = {"platform": f"{platform.system()} {platform.machine()}"}
    compiler = {"triton": version("triton"), "ptxas": instructions.assembler()}
    return {name: x for name, x in found.items() if name != "command"} | here | compiler


def one_core() -> None:
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, metavar="OLD", help="a checkout of 94a39ed")
    checkout: Path | None = parser.parse_args().before
    if checkout is not None and not (checkout / "src/lossmaxpool/triton_kernels").is_dir():
        parser.error(
            f"--before {checkout}: no src/lossmaxpool/triton_kernels in it; expected a checkout of "
            "94a39ed, as `git worktree add --detach OLD 94a39ed` makes it"
        )
    one_core()
    host: dict[str, dict[str, Times]] = {}
    for backend in ("native", "torch"):
        host |= in_turns({backend: partial(one_round, of_backend(backend))})
    pretend_a_gpu()
    passes = of_backend("triton")
    contenders = {TRITON: partial(one_round, passes)}
    if checkout is None:
        host |= in_turns(contenders)
        before = json.loads(RESULTS.read_text())["before"]
    else:
        old = Before(checkout)
        host |= in_turns(contenders | {old.commit: old.one_round})
        before = {"host": {TRITON: host.pop(old.commit)}} | old.end()
    program = [sys.executable, "-W", "ignore", "-m", "tests.ops.triton.compiling"]
    content = {
        "command": "python -m benchmarks.kernels" + " --before OLD" * (checkout is not None),
        "environment": setting(),
        "how": "compiled for compute capability 9.0 and counted on a CPU; nothing ran on a GPU",
        "shape": SHAPE,
        "host": host,
        "launches": launches(passes | variants()),
        "kernels": compiled([*program, str(CAPABILITY), *GROUPS, "count"], os.environ),
        "before": before,
    }
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")
    show(content)


def show(content: dict[str, Any]) -> None:
    before = content["before"]
    then = {f"{backend}, {before['commit']}": x for backend, x in before["host"].items()}
    for backend, rows in (content["host"] | then).items():
        for name, row in rows.items():
            print(
                f"{backend:36} {name:27} {row['forward_us']:7} us forward, "
                f"{row['forward_and_backward_us']:7} us with backward, "
                f"{row['of_cross_entropy']:5} x {BASELINE}"
            )
    for part in (content, before):
        print(f"\n{part.get('commit', 'now')}, Triton {part['environment']['triton']}")
        for case, launched in part["kernels"].items():
            for row in launched:
                figures = {name: x for name, x in row.items() if name != "kernel"}
                print(f"{case:24} {row['kernel']:27} {figures}")


if __name__ == "__main__":
    main()
