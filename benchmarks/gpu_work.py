"""The cases of a day with a GPU, run in a process that ``benchmarks.gpu_day`` watches.

    python -m benchmarks.gpu_work KIND NAME...

Every case prints one line of JSON when it ends: ``ok`` is true, false with an error, or null where
the machine cannot run it.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tests.cases import IGNORE, labeled
from tests.tolerances import FROM_LOGITS, HALF_GRADIENT
from torch import Tensor, nn

from benchmarks.speed.cases import Case, cases, logits_and_target, pixel_losses
from benchmarks.speed.contenders import of_logits, of_losses
from benchmarks.speed.measure import measured
from lossmaxpool import MaxPoolingCrossEntropyLoss

ROOT = Path(__file__).resolve().parents[1]
TESTS = ("tests/ops/triton", "tests/losses", "tests/benchmarks/test_measuring.py")
SECONDS = 3.0  # of a case of the benchmark
CALLS = 5  # that are profiled
SLOW = ("lmp_torch", "liger")  # compile nothing that takes long, and launch thousands of kernels
STEPS, WARM_UP, SIDE, IMAGES, CLASSES = 100, 5, 713, 4, 19
METRICS = (
    "gpu__time_duration.sum",
    "dram__bytes.sum.per_second",
    "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "sm__warps_active.avg.pct_of_peak_sustained_active",
    "smsp__inst_executed.sum",
    "launch__registers_per_thread",
)

Result = dict[str, Any]


def names(kind: str) -> list[str]:
    """All cases of a kind, in order."""
    if kind == "smoke":
        return list(_configurations())
    if kind == "tests":
        return list(TESTS)
    if kind in ("compile", "benchmark", "kernels", "ncu"):
        every = {case.name: case for case in cases("cuda", quick=False)}
        if kind in ("compile", "benchmark"):
            return list(every)
        return [name for name, case in every.items() if case.kind in ("dense", "upsampling")]
    return {"training": ["ours", "cross-entropy"], "sanitizer": ["smoke"], "nccl": ["world"]}[kind]


def smoke(name: str, device: torch.device) -> Result:
    """Whether a configuration compiles, runs and agrees with float64."""
    case = _configurations()[name]
    spatial = case.size if case.low is None else case.low
    logits, _ = labeled(case.batch, case.classes, *spatial)
    _, target = labeled(case.batch, case.classes, *case.size, seed=1, ignored=0.2)
    if case.label == torch.int8:  # which cannot hold 255
        target = target.masked_fill(target == IGNORE, -1)
    ignore = -1 if case.label == torch.int8 else IGNORE
    logits, target = logits.to(device, case.dtype), target.to(device, case.label)
    if case.layout == "channels last":
        logits = logits.contiguous(memory_format=torch.channels_last)
    if case.layout == "crop":
        wide = F.pad(logits, (2, 1) * len(spatial))
        logits = wide[(..., *(slice(2, 2 + n) for n in spatial))]
    weight = torch.linspace(0.5, 1.5, case.classes) if case.weighted else None

    def run(backend: str, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        criterion = MaxPoolingCrossEntropyLoss(
            p=case.p,
            weight=weight,
            ignore_index=ignore,
            label_smoothing=case.smoothing,
            pool="image" if case.pools is None else "batch",
            reduction=case.reduction,  # type: ignore[arg-type]
            backend=backend,  # type: ignore[arg-type]
        ).to(scores.device)
        leaf = scores.detach().requires_grad_()
        value = criterion(leaf, labels)
        value.sum().backward()
        assert leaf.grad is not None
        return value.detach().double().cpu(), leaf.grad.double().cpu()

    start = time.perf_counter()
    value, gradient = run("triton", logits, target)
    spent = time.perf_counter() - start
    true_value, true_gradient = run("torch", logits.detach().cpu().double(), target.cpu().long())
    off = _relative(value, true_value), _relative(gradient, true_gradient)
    # The weights are powers of the losses: q - 1 times as far off as these.
    steep = max(1.0, 1 / (case.p - 1)) if case.p > 1 else 1.0
    limits = FROM_LOGITS * steep, (FROM_LOGITS + HALF_GRADIENT.get(case.dtype, 0.0)) * steep
    return {
        "ok": all(x <= limit for x, limit in zip(off, limits, strict=True)),
        "value_off": off[0],
        "gradient_off": off[1],
        "first_call_s": round(spent, 2),
    }


def tests(name: str, device: torch.device) -> Result:
    """The tests that need a GPU, of one path; the last line of pytest."""
    options = ["-q", "-p", "no:cacheprovider", "-m", "cuda", "-n", str(min(8, os.cpu_count() or 1))]
    command = [sys.executable, "-m", "pytest", *options, name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return {"ok": done.returncode == 0, "said": lines[-1:], "failed": failed}


def compile_all(name: str, device: torch.device) -> Result:
    """Two calls of all that a case of the benchmark measures: its compiled kernels are kept."""
    start = time.perf_counter()
    leaf, calls = _contenders(name, device)
    for who, call in [*calls.items()] * 2:
        if who not in SLOW:
            leaf.grad = None
            call()
    _wait(device)
    return {"ok": True, "seconds": round(time.perf_counter() - start, 2)}


def kernels(name: str, device: torch.device) -> Result:
    """Microseconds on the device of every kernel of a call, by contender."""
    leaf, calls = _contenders(name, device)
    counted = {}
    for contender, call in calls.items():
        if contender in SLOW:
            continue
        for _ in range(WARM_UP):
            leaf.grad = None
            call()
        _wait(device)
        with torch.profiler.profile(acc_events=True) as profile:
            for _ in range(CALLS):
                leaf.grad = None
                call()
            _wait(device)
        counted[contender] = {
            event.key[:80]: [round(event.self_device_time_total / CALLS, 2), event.count / CALLS]
            for event in profile.key_averages()
            if event.device_type != torch.autograd.DeviceType.CPU and event.self_device_time_total
        }
    sums = {who: round(sum(us for us, _ in each.values()), 1) for who, each in counted.items()}
    return {"ok": all(sums.values()), "us": sums, "counted": counted}


def benchmark(name: str, device: torch.device) -> Result:
    """A case of ``benchmarks.loss``, with no process of its own: torch counts its memory itself."""
    torch.compiler.reset()
    return {"ok": True, "case": measured(_benchmarked(name), device, SECONDS)}


def ncu(name: str, device: torch.device) -> Result:
    """The counters of Nsight Compute for our kernels in a case of the benchmark."""
    if (tool := shutil.which("ncu")) is None:
        return {"ok": None, "skipped": "ncu is not installed"}
    options = ["--csv", "--clock-control", "none", "--metrics", ",".join(METRICS)]
    options += ["-k", f"regex:^({'|'.join(our_kernels())})$"]
    done = _again([tool, *options], "once", name)
    rows = [line for line in done.stdout.splitlines() if line.startswith('"')]
    counted = [
        {"kernel": row["Kernel Name"], row["Metric Name"]: row["Metric Value"]}
        for row in csv.DictReader(rows)
    ]
    return {"ok": done.returncode == 0 and bool(counted), "counted": counted}


def our_kernels() -> list[str]:
    """The names under which a GPU runs the Triton kernels."""
    sources = (ROOT / "src" / "lossmaxpool" / "ops" / "backends" / "triton").glob("*.py")
    defined = re.compile(r"^def (\w+_kernel)\(", re.MULTILINE)
    return sorted(name for path in sources for name in defined.findall(path.read_text()))


def once(name: str, device: torch.device) -> Result:
    """Two passes of the loss, for a profiler."""
    leaf, target = logits_and_target(_benchmarked(name), device)
    criterion = MaxPoolingCrossEntropyLoss(ignore_index=IGNORE)
    for _ in range(2):
        leaf.grad = None
        criterion(leaf, target).backward()
    _wait(device)
    return {"ok": True}


def sanitizer(name: str, device: torch.device) -> Result:
    """Every smoke case under compute-sanitizer, which finds accesses out of bounds."""
    if (tool := shutil.which("compute-sanitizer")) is None:
        return {"ok": None, "skipped": "compute-sanitizer is not installed"}
    done = _again([tool, "--error-exitcode", "9"], "smoke", *names("smoke"))
    return {"ok": done.returncode == 0, "said": done.stdout.splitlines()[-3:]}


def training(name: str, device: torch.device) -> Result:
    """Steps of DeepLabV2 on ResNet-101 in bfloat16, and the loss's share of their time."""
    from lossmaxpool.models.deeplabv2 import DeepLabV2

    network = DeepLabV2("tu-resnet101", None, CLASSES).to(device)
    return {"ok": True} | train(name, network, (IMAGES, SIDE), STEPS, device)


def train(
    name: str, network: nn.Module, shape: tuple[int, int], steps: int, device: torch.device
) -> Result:
    """Milliseconds of a step and of the loss in it, forward and backward: their medians."""
    images, side = shape
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(images, 3, side, side, generator=generator).to(device)
    target = torch.randint(CLASSES, (images, side, side), generator=generator).to(device)
    ours = MaxPoolingCrossEntropyLoss(ignore_index=IGNORE)

    def loss(logits: Tensor) -> Tensor:
        if name == "ours":
            return ours(logits, target)  # type: ignore[no-any-return]
        large = F.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False)
        return F.cross_entropy(large, target, ignore_index=IGNORE)

    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    marks: list[tuple[Any, ...]] = []
    for _ in range(WARM_UP + steps):
        mark = partial(_mark, device)
        start = mark()
        with torch.autocast(device.type, torch.bfloat16):
            logits = network(pictures)
        leaf, before = logits.detach().requires_grad_(), mark()
        loss(leaf).backward()
        behind = mark()
        optimizer.zero_grad(set_to_none=True)
        logits.backward(leaf.grad)
        optimizer.step()
        marks.append((start, before, behind, mark()))
    _wait(device)
    apart = torch.tensor([[_between(a, d), _between(b, c)] for a, b, c, d in marks[WARM_UP:]])
    step, of_loss = apart.median(0).values.tolist()
    return {"step_ms": step, "loss_ms": of_loss, "share": of_loss / step, "steps": steps}


def nccl(name: str, device: torch.device) -> Result:
    """pool="world" of two processes over NCCL against one process with the whole batch."""
    if torch.cuda.device_count() < 2:
        return {"ok": None, "skipped": f"{torch.cuda.device_count()} device, two are needed"}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launcher, "-m", "benchmarks.gpu_work", "rank", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return {"ok": done.returncode == 0, "said": (done.stdout + done.stderr).splitlines()[-3:]}


def rank(name: str, device: torch.device) -> Result:
    """One of the two processes of :func:`nccl`."""
    own = torch.device(device.type, int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(own)
    torch.distributed.init_process_group("nccl", device_id=own)
    mine, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    logits, target = (x.to(own) for x in labeled(2 * size, CLASSES, 64, 64, ignored=0.2))
    results = []
    for pool, part in (("batch", slice(None)), ("world", slice(2 * mine, 2 * mine + 2))):
        leaf = logits[part].clone().requires_grad_()
        value = MaxPoolingCrossEntropyLoss(ignore_index=IGNORE, pool=pool)(leaf, target[part])
        value.backward()
        assert leaf.grad is not None
        results.append((value.detach(), leaf.grad))
    (whole, gradient), (value, own_gradient) = results
    # Gradients are averaged over the ranks afterwards.
    off = _relative(own_gradient / size, gradient[2 * mine : 2 * mine + 2])
    torch.distributed.destroy_process_group()
    if max(off, _relative(value, whole)) > FROM_LOGITS:
        raise RuntimeError(f"rank {mine}: value off by {_relative(value, whole)}, gradient {off}")
    return {"ok": True, "gradient_off": off}


def main(kind: str, wanted: Sequence[str]) -> int:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run: Callable[[str, torch.device], Result] = KINDS[kind]
    status = 0
    for name in wanted:
        broken = False
        try:
            result = run(name, device)
        except Exception as error:  # the next case may still run
            text = (str(error).strip() or "no message").splitlines()
            result = {"ok": False, "error": f"{type(error).__name__}: {text[-1][:300]}"}
            broken = "CUDA error" in str(error)  # nothing runs in this process any more
        status |= result["ok"] is False
        print(json.dumps({"name": name, **result}), flush=True)
        if broken:
            break
    return status


def _configurations() -> dict[str, Any]:
    from tests.ops.triton.compiling import CHANNELS_LAST, HOT, SHAPES

    # One class has no loss, and a mask is given to the solver alone.
    every = (*HOT, *CHANNELS_LAST, *SHAPES)
    return {case.name: case for case in every if case.classes > 1 and case.size and not case.masked}


def _benchmarked(name: str) -> Case:
    return next(case for case in cases("cuda", quick=False) if case.name == name)


def _contenders(name: str, device: torch.device) -> tuple[Tensor, dict[str, Callable[[], object]]]:
    case = _benchmarked(name)
    if case.kind in ("dense", "upsampling"):
        leaf, target = logits_and_target(case, device)
        return leaf, of_logits(leaf, target).calls
    leaf = pixel_losses(case, device)
    return leaf, of_losses(leaf).calls


def _again(tool: list[str], kind: str, *wanted: str) -> subprocess.CompletedProcess[str]:
    command = [*tool, sys.executable, "-m", "benchmarks.gpu_work", kind, *wanted]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _relative(found: Tensor, truth: Tensor) -> float:
    """The largest difference over the largest number; NaN is as far off as can be."""
    if found.isnan().any():
        return float("inf")
    return float((found - truth).abs().max() / truth.abs().max().clamp(min=1e-30))


def _mark(device: torch.device) -> Any:
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _between(start: Any, end: Any) -> float:
    return 1e3 * (end - start) if isinstance(start, float) else float(start.elapsed_time(end))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


KINDS: dict[str, Callable[[str, torch.device], Result]] = {
    "compile": compile_all,
    **{
        run.__name__: run
        for run in (smoke, tests, benchmark, kernels, ncu, once, sanitizer, training, nccl, rank)
    },
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
