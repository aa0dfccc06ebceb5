"""Fills the blocks of docs/speed.md, and of any other page that asks for one, from the results."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.blocks import filled
from benchmarks.drawing import write
from benchmarks.kernels import BACKWARD, LOSS
from benchmarks.speed.bars import counts
from benchmarks.speed.pictures import COST, SCALING, cost_picture, scaling_picture
from benchmarks.speed.results import RESULTS, MeasuredCase, Results, ops_digest, read
from benchmarks.speed.tables import (
    bar_table,
    left_out,
    logits_table,
    megabytes,
    number,
    promises,
    scaling_table,
    solver_table,
    table,
)

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "docs" / "speed.md")
IMAGES = ROOT / "docs" / "images"
DEVICES = ("cpu", "cuda")
UNKNOWN = "**Not measured yet: there is no figure, and none is claimed.**"


def render() -> None:
    """Write the pictures and the blocks of all pages."""
    for device in DEVICES:
        results = read(device)
        if results is not None:
            write(cost_picture(results), IMAGES / COST.format(device))
            write(scaling_picture(results), IMAGES / SCALING.format(device))
    for page in PAGES:
        page.write_text(rendered(page.read_text()))


def rendered(page: str) -> str:
    """A page with its blocks as the results have them."""

    def block(name: str) -> str:
        section, _, device = name.rpartition("-")
        if section in COUNTED:
            path = RESULTS / f"kernels-{device}.json"
            return COUNTED[section](json.loads(path.read_text())) if path.exists() else UNKNOWN
        results = read(device)
        return UNKNOWN if results is None else SECTIONS[section](results)

    return filled(page, "speed", block)


def _setting(results: Results) -> str:
    setting = results.content["environment"]
    versions = ", ".join(
        f"{name} {setting[name]}"
        for name in ("lossmaxpool", "torch", "cuda", "triton", "liger-kernel", "python")
        if name in setting
    )
    lines = [
        f"`{results.content['command']}` on {setting['date'][:10]}: {setting['device']}, "
        f"{setting['threads']} threads, {versions}."
    ]
    if setting.get("ops_digest", today := ops_digest()) != today:
        commit = f" (commit {setting['ops_commit']})" if "ops_commit" in setting else ""
        since = setting.get("ops_changes", "they")
        lines.append(f"**Measured with earlier kernels{commit}**: {since} have changed since.")
    missing = left_out(results.cases)
    return "\n\n".join([*lines, missing] if missing else lines)


def _dense(results: Results) -> str:
    return _logits(results, "dense")


def _upsampling(results: Results) -> str:
    return _logits(results, "upsampling")


def _logits(results: Results, kind: str) -> str:
    """One table per shape and dtype; the allocators of one shape share a table."""
    parts = []
    for case in results.of(kind, malloc="default"):
        content = case.content
        same = results.of(kind, shape=case.shape, dtype=content["dtype"])
        shape = "×".join(map(str, case.shape))
        low = "×".join(map(str, content["low"][2:]))
        source = f" from {low}" if kind == "upsampling" else ""
        parts.append(
            f"**{shape}{source}, {content['dtype']}**: logits of "
            f"{megabytes(content['logits_bytes'])} MB, floor {megabytes(content['floor_bytes'])} MB"
            + _at_clone(same)
        )
        parts.append(logits_table(same))
    return "\n\n".join(parts)


def _at_clone(cases: Sequence[MeasuredCase]) -> str:
    """How long the floor takes at the clone's bandwidth, allocator by allocator."""
    times = [
        f"{number(case.floor_ms)} ms" + f" ({case.content['malloc']})" * (len(cases) > 1)
        for case in cases
        if case.floor_ms is not None
    ]
    return f", which at the bandwidth of `clone` take {' or '.join(times)}" if times else ""


def _solver(results: Results) -> str:
    return solver_table(results.of("solver")[0])


def _scaling(results: Results) -> str:
    return scaling_table(results.of("scaling"))


def _all(results: Results) -> str:
    """Everything of one device, for a page that tells about it in one place."""
    device = results.content["device"]
    return "\n\n".join(
        [
            _setting(results),
            f"![Time and memory over those of cross-entropy](images/{COST.format(device)})",
            bar_table(results),
            _dense(results),
            _upsampling(results),
            _solver(results),
            f"![Time against the number of losses](images/{SCALING.format(device)})",
            _scaling(results),
        ]
    )


def _host(content: Any) -> str:
    """The microseconds of the host, from benchmarks.kernels."""
    before, setting = content["before"], content["environment"]
    then = {f"{backend}, at {before['commit']}": x for backend, x in before["host"].items()}
    rows = [
        (backend, f"`{name}`", row["forward_us"], row["forward_and_backward_us"],
         number(row["of_cross_entropy"]))
        for backend, losses in (content["host"] | then).items()
        for name, row in losses.items()
    ]  # fmt: skip
    shape = "×".join(map(str, content["shape"]))
    head = (
        f"`{content['command']}` on {setting['date'][:10]}: {setting['device']}, one thread, "
        f"lossmaxpool {setting['lossmaxpool']}, torch {setting['torch']}, logits of {shape}; "
        f"{content['how']}."
    )
    columns = ("backend", "loss", "µs forward", "µs with backward", "× CE")
    return f"{head}\n\n{table(columns, [tuple(map(str, row)) for row in rows], left=2)}"


def _kernels(content: Any) -> str:
    """Resources and times of the kernels, from benchmarks.kernels, without repeated rows."""

    def shown(figure: float | None) -> str:
        return "" if figure is None else f"{figure:g}"

    rows, seen, then = [], set(), content["before"]
    for case, launches in content["kernels"].items():
        before_it = {row["kernel"]: row for row in then["kernels"].get(case, ())}
        for one in launches:
            was = before_it.get(one["kernel"], {})
            used = (one["registers"], one["stack"], one["load"], one["store"])
            taken = (one["per_pixel"], one["bytes_per_pixel"])
            if (one["kernel"], used, taken) in seen and not was:
                continue
            seen.add((one["kernel"], used, taken))
            before = (was.get(key) for key in ("registers", "stack", "per_pixel"))
            rows.append(
                (case, one["kernel"].replace("_kernel", ""), *map(shown, (*used, *taken, *before)))
            )
    columns = (
        "case", "kernel", "registers", "stack", "load", "store", "instructions", "bytes",
        "registers before", "stack before", "instructions before",
    )  # fmt: skip
    head = (
        f"Triton {content['environment']['triton']}, {_launched(content)}; before: commit "
        f"{then['commit']}, Triton {then['environment']['triton']}, {_launched(then)}."
    )
    return f"{head}\n\n{table(columns, rows, left=2)}"


def _launched(content: Any) -> str:
    launched = content["launches"][LOSS]
    forward = launched.index(BACKWARD)
    return f"{forward} launches in a loss's forward pass, {len(launched) - forward - 1} in backward"


def _promised(content: Any) -> str:
    """The bars that are counted."""
    return promises(counts(content, read("cuda")))


# From the file of benchmarks.kernels.
COUNTED: dict[str, Callable[[Any], str]] = {
    "host": _host, "promised": _promised, "kernels": _kernels
}  # fmt: skip
SECTIONS: dict[str, Callable[[Results], str]] = {
    "setting": _setting,
    "bars": bar_table,
    "dense": _dense,
    "upsampling": _upsampling,
    "solver": _solver,
    "scaling": _scaling,
    "all": _all,
}
