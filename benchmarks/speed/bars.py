"""The goals of the loss beside what was measured, all computed from a results file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.kernels import BACKWARD, LOSS, TRITON
from benchmarks.speed.results import MeasuredCase, Results

# Below, the time is in launches and caches; the exponent is fitted from here on, to those sizes
# that take several times as long as the smallest one: the others take what a call does.
LINEAR_FROM, GROWN = 2**20, 4
# At the size of an image, a call on a GPU is host time, of which a sort takes less.
SORTED = 2**24

Figure = Callable[[MeasuredCase], float | None]


@dataclass(frozen=True)
class Bar:
    """A promise, its limit and what was measured; None: not measured on this machine."""

    text: str
    limit: float
    measured: float | None
    at_most: bool = True

    @property
    def holds(self) -> bool | None:
        """Whether the promise is kept; None where nothing was measured."""
        if self.measured is None:
            return None
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit


def bars(results: Results) -> list[Bar]:
    """The bars of the device that was measured."""
    return _on_cuda(results) if results.content["device"] == "cuda" else _on_cpu(results)


def exponent(scaling: Sequence[MeasuredCase], contender: str = "lmp") -> float | None:
    """k of time ~ n^k from 2^20 losses on, by least squares.

    None where fewer than two sizes take a time that the losses decide, and not the calls.
    """
    times = {case.shape[3]: case.get(contender, "median_ms") for case in scaling}
    known = {size: time for size, time in times.items() if time is not None}
    call = known[min(known)] if known else 0.0
    points = [
        (size, time) for size, time in known.items() if size >= LINEAR_FROM and time >= GROWN * call
    ]
    if len(points) < 2:
        return None
    return float(np.polyfit(*np.log(np.array(points)).T, 1)[0])


def counts(content: Any, cuda: Results | None) -> list[Bar]:
    """The bars that are counted without a GPU, of benchmarks.kernels, and the scratch memory."""
    kernels, host = content["kernels"], content["host"][TRITON][LOSS]
    found = [
        Bar(f"launches forward, {words}", 4, content["launches"][loss].index(BACKWARD))
        for loss, words in (
            (LOSS, "dense"),
            (f"{LOSS}, p = 1", "dense, p = 1"),
            (f"{LOSS}, ×8 upsampling", "×8 upsampling"),
        )
    ]
    found.append(Bar("host, forward and backward: µs", 150, host["forward_and_backward_us"]))
    stacks: dict[str, list[int]] = {}
    for case, launched in kernels.items():
        for one in launched:
            group = "sift" if one["kernel"].startswith("sift") else case.split()[0]
            stacks.setdefault(group, []).append(one["stack"])
    for group, words in (
        ("dense", "dense logits"), ("upsampled", "×8 upsampling"), ("sift", "solver")
    ):  # fmt: skip
        found.append(Bar(f"{words}: bytes of stack a thread", 0, max(stacks[group])))
    for case, classes, size in (("upsampled 19", 19, 4), ("upsampled 150 bf16", 150, 2)):
        (one,) = (x for x in kernels[case] if x["kernel"] == "upsampled_losses_kernel")
        where = f"×8 upsampling, losses, C = {classes}"
        # Beside the logits, an int64 label is read and a float32 loss written.
        loads = (one["bytes_per_pixel"] - 8 - 4) / size / classes
        found += [
            Bar(f"{where}: instructions a score", 8, one["per_pixel"] / classes),
            Bar(f"{where}: logits read a score", 1 / 16, loads),
        ]
    for case in [] if cuda is None else cuda.of("upsampling", dtype="bfloat16"):
        share = _over(measure="extra_bytes")(case)
        where = f"×8 upsampling, bfloat16, C = {case.shape[1]}"
        found.append(
            Bar(
                f"{where}: extra memory, % of cross-entropy's",
                5,
                None if share is None else 100 * share,
            )
        )
    return found


def _on_cpu(results: Results) -> list[Bar]:
    dense = results.of("dense", malloc="default")
    pinned = results.of("dense", malloc="pinned")
    found = [
        Bar("dense, native kernel: time / cross-entropy", 0.75, _worst(dense, _over("lmp_native"))),
        Bar(
            "dense, native kernel: extra memory / cross-entropy",
            0.6,
            _worst(dense, _over("lmp_native", measure="extra_bytes")),
        ),
        Bar("dense, portable path: time / cross-entropy", 1.5, _worst(dense, _over("lmp_torch"))),
        Bar(
            "dense, native kernel, malloc pinned: time / cross-entropy",
            1.05,
            _worst(pinned, _over("lmp_native")),
        ),
        *_solver(results),
    ]
    for case in results.of("upsampling"):
        classes = case.shape[1]
        found += _upsampling(classes, [case], 2, 0.2 if classes == 19 else 0.05)
    return found


def _on_cuda(results: Results) -> list[Bar]:
    """Every bar takes the worse of float32 and bfloat16."""
    found = []
    for shape, compiled, eager, floor in (
        ([16, 19, 1024, 1024], 0.9, 0.5, 0.75),
        ([16, 150, 512, 512], 1.1, 0.55, 0.85),
    ):
        dense = results.of("dense", shape=shape)
        where = f"dense {'×'.join(map(str, shape))}"
        found += [
            Bar(
                f"{where}: time / compiled",
                compiled,
                _worst(dense, _over(None, "cross_entropy_compiled")),
            ),
            Bar(f"{where}: time / cross-entropy", eager, _worst(dense, _over())),
            Bar(f"{where}: time / by sort", 0.25, _worst(dense, _over(None, "lmp_by_sort"))),
            Bar(
                f"{where}: bandwidth of the floor's bytes / clone's",
                floor,
                _worst(dense, lambda case: case.of_clone(case.ours), largest=False),
                at_most=False,
            ),
        ]
    small = results.of("dense", shape=[2, 19, 550, 550])
    found.append(Bar("dense 2×19×550×550: time / cross-entropy", 1.0, _worst(small, _over())))
    for classes, faster in ((19, 8), (150, 12)):
        found += _upsampling(
            classes, [c for c in results.of("upsampling") if c.shape[1] == classes], faster, 0.05
        )
    waits = _worst(
        [case for case in results.cases if case.kind != "scaling"],
        lambda case: case.get(case.ours, "synchronizations"),
    )
    return [*found, *_solver(results), Bar("synchronizations", 0, waits)]


def _upsampling(
    classes: int, cases: Iterable[MeasuredCase], faster: float, memory: float
) -> list[Bar]:
    where = f"×8 upsampling, C = {classes}"
    cases = list(cases)
    return [
        Bar(
            f"{where}: times faster than cross-entropy",
            faster,
            _worst(cases, lambda case: case.ratio("cross_entropy", case.ours), largest=False),
            at_most=False,
        ),
        Bar(
            f"{where}: extra memory / cross-entropy",
            memory,
            _worst(cases, _over(measure="extra_bytes")),
        ),
    ]


def _solver(results: Results) -> list[Bar]:
    return [
        Bar(
            "solver, 2^24 losses: times faster than by sort",
            5,
            _worst(
                results.of("scaling", shape=[1, 1, 1, SORTED]),
                lambda case: case.ratio("lmp_by_sort", "lmp"),
                largest=False,
            ),
            at_most=False,
        ),
        Bar("solver: k of time ~ n^k, from 2^20 losses on", 1.1, exponent(results.of("scaling"))),
    ]


def _over(
    contender: str | None = None, rival: str = "cross_entropy", measure: str = "median_ms"
) -> Figure:
    """The ratio of a contender, or of what "auto" takes, to a rival."""
    return lambda case: case.ratio(contender or case.ours, rival, measure)


def _worst(cases: Iterable[MeasuredCase], figure: Figure, *, largest: bool = True) -> float | None:
    """The worst figure of some cases; None if one of them is missing."""
    figures = [figure(case) for case in cases]
    known = [value for value in figures if value is not None]
    if not known or len(known) < len(figures):
        return None
    return max(known) if largest else min(known)
