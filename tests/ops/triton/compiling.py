"""Compile every kernel for a GPU that need not be there; print what spills. Run as a program.

Triton reads from a launch which arguments it may take for granted; this makes up the same.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from lossmaxpool.ops.backends.triton import bracket, newton, order, pool_pixels, tiles
from lossmaxpool.ops.backends.triton.dense_gradient import dense_gradient_kernel
from lossmaxpool.ops.backends.triton.dense_losses import dense_losses_kernel
from lossmaxpool.ops.backends.triton.upsampled_gradient import cells_kernel, gather_kernel
from lossmaxpool.ops.backends.triton.upsampled_losses import upsampled_losses_kernel

HOPPER = GPUTarget("cuda", 90, 32)
FLOATS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
SCALARS = ("keep", "spread", "exponent", "fraction", "least", "q", "inverse_p")
WIDE = ("packed", "statistics", "steps", "parts")
CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"

Constants = dict[str, Any]


def kernels() -> list[tuple[Any, str, str, int, Constants]]:
    """Kernel, dtype of the logits, dtype of the target, warps, constants."""
    cases: list[tuple[Any, str, str, int, Constants]] = []
    plain = {"HARD": True, "SMOOTH": False, "WEIGHTED": False, "NORM": 1}
    plain |= {"weight": None, "weight_sum": None, "MARGIN": False}
    everything = plain | {"SMOOTH": True, "WEIGHTED": True}
    del everything["weight"], everything["weight_sum"]
    for dtype, classes, target, terms in (
        (torch.float32, 19, "i64", plain),
        (torch.bfloat16, 150, "u8", plain),
        (torch.float16, 21, "i16", everything),
    ):
        name = FLOATS[dtype]
        for unit in (16, 1):
            tile = tiles.dense_tile(classes, dtype, unit)
            shape = {"BLOCK_C": tile.classes, "FULL": tile.full, "TAIL": tile.tail}
            shape |= {"BLOCK_N": tile.pixels, "C": classes, "UNIT": unit, "FLAT": unit > 1}
            if unit > 1:
                shape |= {"stride_w": 1, "out_w": 1, "height": 1}
            for kernel in (dense_losses_kernel, dense_gradient_kernel):
                cases.append((kernel, name, target, tile.warps, shape | terms))
        for kernel, block in (
            (upsampled_losses_kernel, tiles.UPSAMPLED),
            (cells_kernel, tiles.CELLS),
            (gather_kernel, tiles.CELLS),
        ):
            shape = {"BLOCK_C": block.classes, "BLOCK_N": block.pixels, "BLOCK_M": block.pixels}
            cases.append((kernel, name, target, block.warps, shape | terms | {"C": classes}))
    losses = {"MASKED": False, "MARKED": True, "valid": None, "GP": 128}
    losses |= {"BLOCK": pool_pixels.BLOCK}
    for i, shift in enumerate(bracket.SHIFTS):
        constants = {"LAST_SHIFT": bracket.SHIFTS[max(i - 1, 0)], "SHIFT": shift, "PASS": i}
        cases.append((bracket.bracket_kernel, "", "", pool_pixels.WARPS, losses | constants))
    for first in (True, False):
        constants = {"LAST_SHIFT": bracket.SHIFTS[-1], "FIRST": first}
        cases.append((newton.newton_kernel, "", "", pool_pixels.WARPS, losses | constants))
    cases.append((newton.finish_kernel, "", "", 1, {"GP": 128}))
    for i in range(1, len(order.SHIFTS)):
        constants = {"LAST_SHIFT": order.SHIFTS[i - 1], "SHIFT": order.SHIFTS[i], "FIRST": i == 1}
        cases.append((order.order_kernel, "", "", pool_pixels.WARPS, losses | constants))
    cases.append((order.order_split_kernel, "", "", pool_pixels.WARPS, losses))
    cases.append((order.order_finish_kernel, "", "", 1, {"GP": 128}))
    return cases


def argument(name: str, logits: str, target: str) -> str:
    if name in ("logits", "gradient"):
        return f"*{logits}"
    if name == "target":
        return f"*{target}"
    if name.endswith("counts"):
        return "*i32"
    if name.endswith(WIDE):
        return "*fp64"
    if name in ("losses", "margins", "corners", "weight", "weight_sum", "grad_value"):
        return "*fp32"
    return "fp32" if name.removesuffix("_low") in SCALARS else "i32"


def resources(kernel: Any, logits: str, target: str, warps: int, constants: Constants) -> str:
    names = kernel.arg_names
    constants = {name: value for name, value in constants.items() if name in names}
    signature = {
        name: "constexpr" if name in constants else argument(name, logits, target) for name in names
    }
    aligned = {
        (names.index(name),): [["tt.divisibility", 16]]
        for name, kind in signature.items()
        if kind.startswith("*")
    }
    values = {(names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=values, attrs=aligned)
    compiled = triton.compile(source, target=HOPPER, options={"num_warps": warps})
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(compiled.asm["cubin"])
        report = subprocess.run(
            [CUOBJDUMP, "-res-usage", file.name], capture_output=True, text=True, check=True
        )
    found = re.search(r"REG:(\d+) STACK:(\d+) SHARED:(\d+)", report.stdout)
    assert found is not None, report.stdout
    return "registers {:>3}  stack {:>4}  shared {:>5}".format(*found.groups())


if __name__ == "__main__":
    for case in kernels():
        kernel, logits, target, warps, constants = case
        used = resources(*case)
        label = f"{kernel.__name__} {logits} {target} C={constants.get('C')}"
        sys.stdout.write(f"{used}  {label} unit={constants.get('UNIT')}\n")
