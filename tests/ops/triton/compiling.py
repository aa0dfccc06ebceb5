"""Compile every kernel as a launch on a GPU would, without one. Run as a program; prints JSON.

The package's own functions run on empty CPU tensors. Triton derives from the arguments of a launch
what a kernel is compiled for: an integer of 1 becomes a constant, a multiple of 16 an alignment.
Here every launch takes that path to the finished binary, and stops before it runs. The package is
imported where it is called: benchmarks.before compiles that of an earlier commit.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

from benchmarks import instructions

CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
IGNORE = 255
LARGE = (16, 2**20)  # losses, as of 16 images of 1024 x 1024 pixels


class NoDevice(DriverBase):
    """The parts of a driver that compilation needs."""

    def __init__(self, capability: int) -> None:
        self.target = GPUTarget("cuda", capability, 32)

    @classmethod
    def is_active(cls) -> bool:
        return True

    def map_python_to_cpp_type(self, name: str) -> str:
        return name

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def get_benchmarker(self) -> Callable[..., Any]:
        raise NotImplementedError


class Case(NamedTuple):
    """One call of the loss: shapes and options."""

    name: str
    classes: int
    size: tuple[int, ...]  # of the target
    low: tuple[int, ...] | None = None  # of the logits, where they are smaller
    dtype: torch.dtype = torch.float32
    label: torch.dtype = torch.int64
    p: float = 1.3
    batch: int = 2
    pools: int | None = None
    reduction: str = "mean"
    weighted: bool = False
    smoothing: float = 0.0
    layout: str = ""
    masked: bool = False

    def tensors(self) -> tuple[Tensor, Tensor]:
        spatial = self.size if self.low is None else self.low
        if self.layout == "crop":
            wide = torch.empty(self.batch, self.classes, *(n + 3 for n in spatial))
            logits = wide.to(self.dtype)[:, :, 1:-2, 2:-1]
        else:
            logits = torch.empty(self.batch, self.classes, *spatial, dtype=self.dtype)
        if self.layout == "channels last":
            logits = logits.contiguous(memory_format=torch.channels_last)
        return logits, torch.empty(self.batch, *self.size, dtype=self.label)


HALF, BRAIN = torch.float16, torch.bfloat16
# The kernels that users train with: compiled for every target, and held to a table of registers.
HOT = (
    Case("dense 19", 19, (256, 256)),
    Case("dense 19 bf16", 19, (256, 256), dtype=BRAIN, label=torch.uint8, p=1.0),
    Case("dense 19 550", 19, (550, 550)),
    Case("dense 150", 150, (256, 256)),
    Case("dense 150 bf16", 150, (256, 256), dtype=BRAIN, p=1.0001),
    Case("upsampled 19", 19, (256, 256), (32, 32)),
    Case("upsampled 150 bf16", 150, (256, 256), (32, 32), dtype=BRAIN),
)
CHANNELS_LAST = (
    Case("channels last 19", 19, (64, 64), layout="channels last"),
    Case("channels last 32 bf16", 32, (64, 64), dtype=BRAIN, layout="channels last"),
    Case("channels last 5 odd", 5, (9, 17), layout="channels last"),
    Case("channels last upsampled", 32, (32, 32), (4, 4), layout="channels last"),
    Case("channels last 2 rows", 2, (2, 64), layout="channels last"),
)
# Sizes, strides and numbers of classes of 1, and layouts that keep two dimensions.
SHAPES = (
    *(Case(f"{h} x {w} pixels", 3, (h, w)) for h, w in ((1, 1), (1, 2), (2, 2), (2, 4), (4, 4))),
    Case("one image", 19, (64, 64), batch=1),
    Case("no spatial dimension", 5, ()),
    Case("1 class", 1, (23, 29), p=float("inf")),
    Case("2 classes", 2, (257, 263), p=1.0, pools=1),
    Case("1000 classes", 1000, (16, 16)),
    Case("crop", 5, (12, 16), layout="crop"),
    Case("weighted smoothed", 21, (64, 64), dtype=HALF, label=torch.int16, weighted=True,
         smoothing=0.1),
    Case("weighted", 21, (64, 64), weighted=True, label=torch.int8),
    Case("upsampled odd", 19, (97, 211), (33, 65), p=float("inf")),
    Case("upsampled from a pixel", 3, (3, 7), (1, 1)),
    Case("upsampled line", 5, (13,), (5,)),
    Case("upsampled one axis", 1, (6, 12), (6, 4)),
    Case("upsampled weighted smoothed", 19, (64, 64), (8, 8), weighted=True, smoothing=0.1),
    Case("upsampled weighted", 19, (64, 64), (8, 8), weighted=True),
    Case("upsampled crop", 5, (12, 16), (6, 8), layout="crop"),
    Case("masked", 3, (64, 64), masked=True),
    Case("masked, hardest", 3, (64, 64), masked=True, p=1.0),
    Case("many pools", 3, (64, 64), batch=64, reduction="sum"),
    Case("every pool", 3, (64, 64), reduction="none"),
)  # fmt: skip


def call(case: Case) -> None:
    """All launches of a loss, and of the weights, as they are called."""
    from lossmaxpool.ops.backends.triton import kernels
    from lossmaxpool.ops.weighting_set import WeightingSet

    logits, target = case.tensors()
    weight = torch.ones(case.classes) if case.weighted else None
    pools = case.batch if case.pools is None else case.pools
    weighting = WeightingSet(case.p, 0.25)
    loss = kernels.prepare(
        logits, target, weight, IGNORE, case.smoothing, weighting, pools, case.reduction
    )
    assert loss is not None
    _, losses, packed = loss.forward(logits, target, weight)
    outer = torch.empty(() if case.reduction != "none" else pools)
    assert loss.backward(outer, logits, target, weight, losses, packed) is not None
    rows, valid = losses.view(pools, -1), None
    if case.masked:
        valid = torch.empty(rows.shape, dtype=torch.bool)
        packed = kernels.solve(rows, valid, weighting, False)
        kernels.weigh(rows, valid, packed, weighting)
    pool = kernels.prepare_pool(rows, valid, weighting, pools, case.reduction)
    assert pool is not None
    assert pool.backward(outer, rows, valid, packed) is not None


class Loader:
    """A device's properties, and kernels that are never loaded."""

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {"max_shared_mem": 232448, "multiprocessor_count": 132, "warpSize": 32}

    def load_binary(self, *arguments: Any) -> tuple[int, ...]:
        return 1, 1, 0, 0, 1024

    def unload_module(self, module: int) -> None:
        """Nothing was loaded."""


class Recorder:
    """A launcher that writes down what it is given, tensors as their addresses and sizes."""

    launched: ClassVar[list[tuple[Any, ...]]] = []

    def __init__(self, source: Any, metadata: Any) -> None:
        self.name = metadata.name

    def __call__(self, x: int, y: int, z: int, *rest: Any) -> None:
        self.launched.append((self.name, x, y, z, *rest[6:]))


def places(launches: list[tuple[Any, ...]], sizes: list[tuple[Any, ...]]) -> list[Any]:
    """Launches with every address as (which buffer, offset in it), first met first numbered.

    Neighboring addresses of one buffer are told by the tensors of ``sizes``, the same launches.
    """
    known: list[tuple[int, int]] = []  # first address, bytes
    result = []
    for one, sized in zip(launches, sizes, strict=True):
        line = []
        for x, tensor in zip(one, sized, strict=True):
            if not isinstance(tensor, Tensor):
                line.append(x)
                continue
            address = x.data_ptr() if isinstance(x, Tensor) else x
            bytes_ = tensor.untyped_storage().nbytes()
            start = address - tensor.storage_offset() * tensor.itemsize
            assert all(start == a or start + bytes_ <= a or a + n <= start for a, n in known), (
                "buffers overlap",
                one,
            )
            if (start, bytes_) not in known:
                known.append((start, bytes_))
            line.append((known.index((start, bytes_)), address - start))
        result.append(line)
    return result


def by_address() -> None:
    """Launches by address get what launches by tensors get. Prints the number of launches."""
    from lossmaxpool.ops.backends.triton import kernels
    from lossmaxpool.ops.weighting_set import WeightingSet

    device: Any = NoDevice(90)
    device.utils, device.launcher_cls = Loader(), Recorder
    driver.set_active(device)
    count = 0
    given: list[tuple[Any, ...]] = []  # a prepared loss, its tensors, the gradient of its value
    cases = [
        (*case, None, 0.0 if case[-1] > 1 else 0.1)
        for case in product((1.0, 1.3), ("mean", "none"), (1, 3), (1, 8))
    ]
    for weight, smoothing in ((None, 0.1), (torch.ones(5), 0.0), (torch.ones(5), 0.1)):
        cases += [(1.3, "mean", 3, scale, weight, smoothing) for scale in (1, 8)]
    for p, reduction, pools, scale, weight, smoothing in cases:
        dtype = torch.bfloat16 if scale > 1 else torch.float32
        logits = torch.empty(3, 5, 64 // scale, 80 // scale, dtype=dtype)
        tensors = (logits, torch.empty(3, 64, 80).long(), weight)
        numbers = (IGNORE, smoothing, WeightingSet(p, 0.25), pools, reduction)
        outer = torch.empty(() if reduction != "none" else pools)
        given.append((kernels.prepare(*tensors, *numbers), tensors, outer))
    for p, reduction, pools, valid in product(
        (1.0, 1.3), ("mean", "none"), (1, 3), (None, torch.ones(3, 40, 8).bool())
    ):
        tensors = (torch.empty(3, 40, 8), valid)
        loss = kernels.prepare_pool(*tensors, WeightingSet(p, 0.25), pools, reduction)
        given.append((loss, tensors, torch.empty(() if reduction != "none" else pools)))
    for loss, tensors, outer in given:
        passes = []
        for _ in range(2):
            Recorder.launched.clear()
            value, *made = loss.forward(*tensors)
            forward = list(Recorder.launched)
            Recorder.launched.clear()
            gradient = loss.backward(outer, *tensors, *made)
            passes.append((forward, list(Recorder.launched), value, gradient))
        for by_tensor, by_address in zip(passes[0][:2], passes[1][:2], strict=True):
            assert not any(isinstance(x, Tensor) for line in by_address for x in line)
            assert places(by_tensor, by_tensor) == places(by_address, by_tensor), tensors[0].shape
            count += len(by_address)
    sys.stdout.write(f"{count}\n")


def dump(binary: bytes, what: str) -> str:
    """A report of NVIDIA's tool on a compiled kernel."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(binary)
        return subprocess.run(
            [CUOBJDUMP, what, file.name], capture_output=True, text=True, check=True
        ).stdout


def resources(binary: bytes) -> dict[str, int]:
    """Registers, bytes of stack (which spilled registers take) and of shared memory."""
    report = dump(binary, "-res-usage")
    found = re.search(r"REG:(\d+) STACK:(\d+) SHARED:(\d+)", report)
    assert found is not None, report
    return dict(zip(("registers", "stack", "shared"), map(int, found.groups()), strict=True))


def widths(ptx: str, instruction: str) -> tuple[int, int]:
    """Bits of the widest loads or stores of global memory, and of those that move the most.

    Of logits, losses and gradients: elements of 64 bits are int64 labels and sums in float64.
    """
    accesses = re.findall(rf"{instruction}\.global[\w.:]*?(?:\.v(\d))?\.[bfus](\d+)", ptx)
    moved = Counter[int]()
    for count, bits in ((int(count or 1), int(bits)) for count, bits in accesses):
        if bits < 64:
            moved[count * bits] += count * bits
    return (max(moved), max(moved, key=moved.__getitem__)) if moved else (0, 0)


def codes(binary: bytes) -> list[instructions.Code]:
    """The code of a kernel, in instructions and in bytes."""
    listing = dump(binary, "-sass")
    return [instructions.read(listing, x) for x in (instructions.one, instructions.moved)]


def counted(code: list[instructions.Code], one: dict[str, Any], pixels: int) -> dict[str, Any]:
    """The instructions of a launch, and what all its threads take per pixel of the target.

    That of the solver is for LARGE, where a program works on many blocks.
    """
    kernel, numbers, programs = one["kernel"], one["numbers"], one["programs"]
    if kernel in ("count_kernel", "sift_kernel"):
        from lossmaxpool.ops.backends.triton.solver import solver
        from lossmaxpool.ops.weighting_set import WeightingSet

        losses, weighting = torch.empty(LARGE, device="meta"), WeightingSet(1.3, 0.25)
        each, pixels = solver(losses, False, weighting, True, None).programs, math.prod(LARGE)
        programs = LARGE[0] * each
        numbers = numbers | {"G": each, "units": LARGE[1] // numbers["UNIT"]}
    trips = instructions.trips(kernel, numbers)
    found: dict[str, Any] = {
        "instructions": code[0].amount, "loops": [loop.amount for loop in code[0].loops]
    }  # fmt: skip
    threads = programs * 32 * numbers["num_warps"]
    for name, measured in zip(("per_pixel", "bytes_per_pixel"), code, strict=True):
        thread = None if trips is None else measured.executed(trips)
        found[name] = None if thread is None else round(thread * threads / pixels, 1)
    return found


def main(
    capability: int, names: list[str], count: bool, call: Callable[[Case], None] = call
) -> None:
    """Print a line for every case: its error, or its launches in order."""
    driver.set_active(NoDevice(capability))
    launched: list[tuple[Any, dict[str, Any]]] = []

    def launch(kernel: Any, grid: tuple[int, ...]) -> Callable[..., None]:
        def compile_only(*arguments: Any, **options: Any) -> None:
            done = kernel.run(*arguments, grid=grid, warmup=True, **options)
            given = dict(zip(kernel.arg_names, arguments, strict=False)) | options
            numbers = {name: x for name, x in given.items() if isinstance(x, int)}
            one = {"kernel": kernel.fn.__name__, "programs": math.prod(grid), "numbers": numbers}
            launched.append((done, one))

        return compile_only

    JITFunction.__getitem__ = launch
    held: list[Any] = []  # an id is one of a living object
    known: dict[int, dict[str, int]] = {}
    read: dict[int, list[instructions.Code]] = {}
    groups = {"hot": HOT, "channels last": CHANNELS_LAST, "shapes": SHAPES}
    for case in (case for name in names for case in groups[name]):
        launched.clear()
        line: dict[str, Any] = {"case": case.name}
        try:
            call(case)
        except Exception as error:  # the next case may still compile
            line["error"] = f"{type(error).__name__}: {error}"
        for done, one in launched:
            if id(done) not in known:
                ptx, binary = done.asm["ptx"], done.asm["cubin"]
                (load, most), (store, _) = widths(ptx, "ld"), widths(ptx, "st")
                used = {"load": load, "most": most, "store": store}
                known[id(done)] = resources(binary) | used
                held.append(done)
            one |= known[id(done)]
            if count:
                if id(done) not in read:
                    read[id(done)] = codes(done.asm["cubin"])
                one |= counted(read[id(done)], one, case.batch * math.prod(case.size))
        line["launches"] = [one for _, one in launched]
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:] == ["by address"]:
        by_address()
    else:
        *words, last = sys.argv[1:]
        count = last == "count"
        main(int(words[0]), words[1:] if count else [*words[1:], last], count)
