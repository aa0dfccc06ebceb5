"""Results of studies: from run folders to results files, from these to tables and pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from benchmarks.blocks import filled
from benchmarks.comparing import (
    Condition,
    Record,
    f1,
    gains,
    groups,
    half_width,
    measure,
    named,
    picture,
    reference,
    score,
    seeds_needed,
)
from benchmarks.drawing import drawing, write
from lossmaxpool.report import markdown_pairs, markdown_table, write_gain_picture, write_report
from lossmaxpool.report.statistics import class_scores
from lossmaxpool.report.sweep import write_sweep
from lossmaxpool.report.wording import count, points
from lossmaxpool.runs.record import RECORD, RunRecord

if TYPE_CHECKING:
    from benchmarks.studies import Study

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "docs" / "images"
PAGES = (ROOT / "README.md", ROOT / "docs" / "evidence.md", ROOT / "docs" / "choosing.md")
COST = "cost.json"

# Left out of the records: paths of a machine, and what no table shows.
_LEFT_OUT = ("examples", "evolution", "curve", "confusion", "calibration", "weights", "suspects")


def command(name: str) -> str:
    """Return the command that repeats a study; scenes are drawn and need no data."""
    data = "" if name.startswith("scenes-") else " --data data"
    return f"python -m benchmarks.studies {name}{data} --out runs/studies"


def collect(name: str, study: Study, runs: Sequence[tuple[str, Path]]) -> None:
    """Write what is finished of a study to the results, with what is not."""
    records = []
    for variant, folder in runs:
        if not (folder / RECORD).is_file():
            continue
        record = json.loads((folder / RECORD).read_text())
        if record["status"] != "finished":
            continue
        kept = {key: record[key] for key in record if key not in _LEFT_OUT}
        kept["config"]["data"]["root"] = study.data
        kept["environment"].pop("command", None)
        cost, scores = folder / COST, class_scores(RunRecord.read(folder))
        kept |= {
            "variant": variant,
            "wrong": study.variants[variant].wrong,
            **{
                name: [None if math.isnan(value) else value for value in scores[name]]
                for name in ("precision", "recall")
            },
            "cost": json.loads(cost.read_text()) if cost.exists() else {},
        }
        records.append(kept)
    if not records:
        return
    head = {
        "study": name,
        "question": study.question,
        "command": command(name),
        "planned": len(runs),
        "finished": len(records),
        "folds": study.folds,
        "over": study.over,
    }
    lines = ",\n".join(json.dumps(record) for record in records)
    text = f'{json.dumps(head, indent=1)[:-2]},\n "records": [\n{lines}\n ]\n}}\n'
    (RESULTS / f"{name}.json").write_text(text)
    folders = [folder for _, folder in runs]
    if study.plain and len(records) == len(runs):
        _write_plain(name, study, folders)
    else:
        write_tables(name)


def _write_plain(name: str, study: Study, folders: Sequence[Path]) -> None:
    """Write the tables of runs that share their data: those of the package's own report."""
    out = folders[0].parent
    write_sweep(folders, out)
    (RESULTS / f"{name}.md").write_text((out / "sweep.md").read_text())
    if len(study.grid.p or ()) > 1:
        (IMAGES / f"{name}.svg").write_text((out / "sweep.svg").read_text())
    if compares(study):
        own = "lmp" if "lmp" in study.grid.methods else "loss-only"
        write_report(folders, out)
        (RESULTS / f"{name}-classes.md").write_text(markdown_table(folders) + "\n")
        (RESULTS / f"{name}-pairs.md").write_text(markdown_pairs(folders, own) + "\n")
        both = [run for run in folders if run.name.startswith(("base-", f"{own}-"))]
        write_gain_picture(both, IMAGES / f"{name}.svg")


def compares(study: Study) -> bool:
    """Whether several methods stand side by side, each with one setting."""
    return study.plain and len(study.grid.methods) > 1 and len(study.grid.p or ()) == 1


def read(name: str) -> dict[str, Any]:
    """Return the results of a study."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def write_tables(name: str) -> None:
    """Write the table of a study and its picture."""
    content = read(name)
    parts, over = groups(content["records"]), content.get("over", "")
    told = measure(content["records"][0])
    head = ["part", "method", "lr", "runs", told, "F1", "precision", "recall",
            f"{told} over {over or 'BASE'}", "95 % interval", "last quarter",
            "CPU s / step"]  # fmt: skip
    rows = [
        [part.variant, *_row(part, runs, reference(parts, part, over), content["folds"])]
        for part, runs in parts.items()
    ]
    # One rate, or one variant, for all needs no column, nor do scores of a foreground without one.
    shown = [
        k for k in range(len(head)) if k not in (0, 2, 6, 7) or len({row[k] for row in rows}) > 1
    ]
    marks = [":--" if head[k] in ("part", "method") else "--:" for k in shown]
    lines = [[row[k] for k in shown] for row in (head, *rows)]
    lines.insert(1, marks)
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    (RESULTS / f"{name}.md").write_text(text + "\n")
    with drawing():
        write(picture(content), IMAGES / f"study-{name}.svg")


def _row(
    part: Condition, runs: Mapping[int, Record], over: Mapping[int, Record], folds: int
) -> list[str]:
    some = next(iter(runs.values()))
    classes = some["classes"]
    values = [score(run["evaluations"][-1], classes) for run in runs.values()]
    dice = [f1(run["evaluations"][-1], classes) for run in runs.values()]
    pairs = gains(runs, over)
    gain, bounds = "", ""
    if pairs:
        middle, half = fmean(pairs), half_width(pairs, folds)
        gain = _signed(middle)
        if not math.isnan(half):
            bounds = f"{_signed(middle - half)} to {_signed(middle + half)}"
            gain += r"\*" if abs(middle) > half else ""
    late = [
        score(run["evaluations"][-1], classes) - score(_three_quarters(run), classes)
        for run in runs.values()
    ]
    steps = some["config"]["optimization"]["steps"]
    costs = [run["cost"]["cpu_seconds"] / steps for run in runs.values() if run.get("cost")]
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return [
        named(part, runs),
        f"{some['config']['optimization']['lr']:g}",
        str(len(runs)),
        f"{fmean(values):.1f}{spread}",
        f"{fmean(dice):.1f}",
        *(_foreground(runs.values(), name) for name in ("precision", "recall")),
        gain,
        bounds,
        _signed(fmean(late)),
        f"{min(costs):.2f}" if costs else "",
    ]


def _foreground(runs: Iterable[Record], name: str) -> str:
    """The mean of a score over the classes but the background, and the runs; empty without one."""
    values = [
        value
        for run in runs
        if run["classes"][0] == "background"
        for value in run.get(name, [])[1:]
        if value is not None
    ]
    return f"{100 * fmean(values):.1f}" if values else ""


def _three_quarters(run: Record) -> Mapping[str, Any]:
    """The evaluation at which the last quarter of a run begins."""
    steps = run["config"]["optimization"]["steps"]
    found: Mapping[str, Any] = min(
        run["evaluations"], key=lambda evaluation: abs(evaluation["step"] - 0.75 * steps)
    )
    return found


def _signed(value: float) -> str:
    return points(value / 100)


def power_analysis() -> dict[str, Any]:
    """Return the spread of the paired gains that is known, and the runs that settle 2 points."""
    found = {}
    for path in sorted(RESULTS.glob("*.json")):
        content = json.loads(path.read_text())
        if not isinstance(content, dict) or "records" not in content or "sweep" in path.stem:
            continue
        parts = groups(content["records"])
        for part, runs in parts.items():
            # Other variants tell of wrong labels or schedules, not of the usual spread.
            pairs = [] if part.variant else gains(runs, reference(parts, part, ""))
            if len(pairs) > 1:
                spread = stdev(pairs)
                found[f"{path.stem}: {part.method}"] = {
                    "pairs": len(pairs),
                    "standard deviation": round(spread, 2),
                    "runs for 2 points": seeds_needed(max(spread, 0.05)),
                }
    return found


def print_plan(studies: Mapping[str, Study]) -> None:
    """Print the studies, and how many runs settle 2 points."""
    for name, study in studies.items():
        known = (RESULTS / f"{name}.json").is_file()
        print(f"{name:24}{'has results' if known else 'not run':14}{study.question}")
    for name, one in power_analysis().items():
        print(f"{name:44}sd {one['standard deviation']:5}  runs {one['runs for 2 points']}")


def _power_table() -> str:
    lines = [
        "| study: method, over BASE | pairs | standard deviation | runs |",
        "| :-- | --: | --: | --: |",
    ]
    for name, one in power_analysis().items():
        spread = one["standard deviation"]
        lines.append(f"| {name} | {one['pairs']} | {spread} | {one['runs for 2 points']} |")
    return "\n".join(lines)


def rendered(page: str) -> str:
    """A page with its tables, and where they come from, as the results have them."""
    page = filled(page, "camvid", lambda name: _block(*_named(name, "camvid-")))
    return filled(page, "study", lambda name: _block(*_named(name, "")))


def render() -> None:
    """Write the blocks of all pages, and the tables and pictures of the studies."""
    for path in RESULTS.glob("*.json"):
        if "planned" in path.read_text()[:800] and not (RESULTS / f"{path.stem}-pairs.md").exists():
            write_tables(path.stem)
    for page in PAGES:
        page.write_text(rendered(page.read_text()))


def _named(block: str, prefix: str) -> tuple[str, str]:
    kind, _, study = block.partition("-")
    return kind, prefix + study


def _block(kind: str, study: str) -> str:
    if kind == "power":
        return _power_table()
    if kind == "table":
        return (RESULTS / f"{study}.md").read_text()
    content = read(study)
    records = content["records"]
    (threads, device, torch), *others = {
        tuple(record["environment"][key] for key in ("threads", "device", "torch"))
        for record in records
    }
    if others:
        raise ValueError(f"the runs of {study} are of several machines or versions: repeat them")
    days = sorted({record["environment"]["date"][:10] for record in records})
    hours = sum(record["seconds"] for record in records) / 3600
    when = " to ".join(dict.fromkeys((days[0], days[-1])))
    runs = count(len(records), "run")
    planned = content.get("planned", len(records))
    left = "" if planned == len(records) else f" of {planned} (the others are not finished)"
    return (
        f"`{command(study)}`, {when}: {runs}{left}, {hours:.1f} hours in all, each with "
        f"{count(threads, 'thread')} of {device}, torch {torch}."
    )
