"""Instructions and bytes of global memory per pixel of a kernel, counted without a GPU.

``cuobjdump -sass`` lists a kernel's instructions with their addresses and the targets of branches.
A loop is a branch back to an instruction that comes before it on every path (a back edge of the
control flow graph), with all instructions between the two. How often a loop runs is known from the
launch: blocks of classes, blocks of a row, pixels of a cell.

Every instruction that can be reached counts once per run of its loops and thread, so both arms of a
conditional count. What does not: padding, subroutines for rare arguments of a division, arms for
the threads of a warp that diverged, and loops that depend on the losses (the last passes of the
solver), of whose kernels only the instructions and the loops are listed. Bytes are those of loads
and stores as they are written; a cache may serve some, and masked ones count.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

LINE = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;")
PREDICATE = re.compile(r"@(!?U?P\w+)\s+")
ACCESS = re.compile(r"(LDG|STG)[.\w]*")
BYTES = {"U8": 1, "S8": 1, "U16": 2, "S16": 2, "64": 8, "128": 16}
TARGET = re.compile(r"0x([0-9a-f]+)\s*$")


def assembler() -> str | None:
    """The version of NVIDIA's assembler that Triton calls, which allots the registers."""
    triton = find_spec("triton")
    if triton is None or triton.origin is None:
        return None
    own = Path(triton.origin).parent / "backends" / "nvidia" / "bin" / "ptxas"
    ptxas = os.environ.get("TRITON_PTXAS_PATH", str(own))
    try:
        said = subprocess.run([ptxas, "--version"], capture_output=True, text=True, check=True)
    except OSError:
        return None
    found = re.search(r"\bV(\d[\d.]+)", said.stdout)
    return None if found is None else found.group(1)


class Loop(NamedTuple):
    head: int  # the index of its first instruction
    amount: int  # with the loops inside
    parent: int | None  # which loop it is in


class Code(NamedTuple):
    """The code of a thread of a kernel, measured in instructions or otherwise."""

    amount: int  # of all that can be reached, once
    loops: tuple[Loop, ...]  # in the order of their heads

    def executed(self, trips: tuple[int, ...]) -> int | None:
        """The amount that a thread runs, given how often each loop runs per run of its parent.

        Without loops, the compiler has unrolled them. None if these are not the loops of the code.
        """
        if self.loops and len(trips) != len(self.loops):
            return None
        total, runs = self.amount, list[int]()
        for loop, trip in zip(self.loops, trips, strict=False):
            outer = 1 if loop.parent is None else runs[loop.parent]
            runs.append(outer * trip)
            total += (runs[-1] - outer) * loop.amount
        return total


def one(instruction: str) -> int:
    """The measure of which every instruction but padding is one."""
    return int(not instruction.startswith("NOP"))


def moved(instruction: str) -> int:
    """The bytes of a thread that an instruction reads from or writes to global memory."""
    found = ACCESS.match(PREDICATE.sub("", instruction, count=1))
    widths = [] if found is None else [BYTES[x] for x in found.group().split(".") if x in BYTES]
    return 0 if found is None else next(iter(widths), 4)


def read(listing: str, measure: Callable[[str], int] = one) -> Code:
    """The code of a listing with one kernel."""
    lines = [(int(place, 16), text) for place, text in LINE.findall(listing)]
    index = {place: i for i, (place, _) in enumerate(lines)}
    ways = [_successors(i, text, index) for i, (_, text) in enumerate(lines)]
    order, dominators = _dominators(ways)
    amounts = {i: measure(lines[i][1]) for i in order}
    bodies: dict[int, set[int]] = {}
    for i in order:
        for head in ways[i]:
            if head < i and _dominates(head, i, dominators):
                bodies.setdefault(head, set()).update(_body(head, i, ways, order))
    loops: list[Loop] = []
    for head in sorted(bodies):
        around = [k for k, loop in enumerate(loops) if head in bodies[loop.head]]
        # The innermost one has the latest head.
        amount = sum(amounts[i] for i in bodies[head])
        loops.append(Loop(head, amount, max(around, default=None)))
    return Code(sum(amounts.values()), tuple(loops))


def _successors(i: int, text: str, index: Mapping[int, int]) -> list[int]:
    """The instructions that may follow instruction i."""
    conditional = PREDICATE.match(text)
    operation, _, operands = PREDICATE.sub("", text, count=1).partition(" ")
    behind = [i + 1] if i + 1 < len(index) else []
    kind = operation.partition(".")[0]
    if kind in ("EXIT", "RET"):
        return behind if conditional else []
    if kind in ("BRX", "JMP", "JMX"):
        raise ValueError(f"{operation}: the targets of this branch are not in the listing.")
    if kind != "BRA" or operation.startswith("BRA.DIV"):
        return behind
    found = TARGET.search(operands)
    if found is None:
        raise ValueError(f"a branch without an address: {text!r}.")
    always = not conditional and operands.strip() == found.group(0).strip()
    return [index[int(found.group(1), 16)], *([] if always else behind)]


def _dominators(ways: list[list[int]]) -> tuple[list[int], dict[int, int]]:
    """Reachable instructions in reverse postorder; the immediate dominator of each.

    By the algorithm of Cooper, Harvey and Kennedy (2001).
    """
    order: list[int] = []
    seen, stack = {0}, [(0, iter(ways[0]))]
    while stack:
        node, rest = stack[-1]
        for way in rest:
            if way not in seen:
                seen.add(way)
                stack.append((way, iter(ways[way])))
                break
        else:
            order.append(stack.pop()[0])
    order.reverse()
    rank = {node: k for k, node in enumerate(order)}
    before: dict[int, list[int]] = {node: [] for node in order}
    for node in order:
        for way in ways[node]:
            before[way].append(node)
    found, changed = {0: 0}, True
    while changed:
        changed = False
        for node in order[1:]:
            known = [x for x in before[node] if x in found]
            near = known[0]
            for other in known[1:]:
                while near != other:
                    if rank[near] > rank[other]:
                        near = found[near]
                    else:
                        other = found[other]
            changed |= found.get(node) != near
            found[node] = near
    return order, found


def _dominates(head: int, node: int, dominators: Mapping[int, int]) -> bool:
    while node not in (head, 0):
        node = dominators[node]
    return node == head


def _body(head: int, tail: int, ways: list[list[int]], order: list[int]) -> set[int]:
    """The instructions from which ``tail`` is reached without passing ``head``, and ``head``."""
    before: dict[int, list[int]] = {}
    for node in order:
        for way in ways[node]:
            before.setdefault(way, []).append(node)
    body, stack = {head, tail}, [tail]
    while stack:
        node = stack.pop()
        for other in before.get(node, []) if node != head else []:
            if other not in body:
                body.add(other)
                stack.append(other)
    return body


def trips(kernel: str, numbers: Mapping[str, int]) -> tuple[int, ...] | None:
    """How often the loops of a kernel run, in their order; None if that depends on the losses.

    For losses without class weights and label smoothing.
    """

    def blocks(size: int, block: int) -> int:
        return -(-size // block)

    if kernel in ("dense_losses_kernel", "dense_gradient_kernel"):
        return (numbers["FULL"] // numbers["BLOCK_C"],)
    if kernel == "upsampled_losses_kernel":
        return (blocks(numbers["C"], numbers["BLOCK_C"]),)
    if kernel == "cells_kernel":
        return numbers["cell_h"], numbers["cell_w"]
    if kernel == "interleaved_gradient_kernel":
        return (blocks(numbers["BLOCK_N"] * numbers["C"], numbers["RUNS"] * numbers["RUN"]),)
    if kernel == "count_kernel" or (kernel == "sift_kernel" and numbers["PASS"] == 0):
        row = blocks(numbers["units"] * numbers["UNIT"], numbers["BLOCK"])
        search = () if kernel == "count_kernel" or numbers["TOP_K"] else (4,)  # for alpha*'s bin
        return (*search, blocks(row, numbers["G"]))
    return None if kernel == "sift_kernel" else ()
