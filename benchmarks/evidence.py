"""What studies found: from run folders to results files, and from these to tables and pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from scipy.stats import nct  # type: ignore[import-untyped]

from benchmarks.blocks import filled
from benchmarks.drawing import drawing, write
from lossmaxpool.report import markdown_pairs, markdown_table, write_gain_picture, write_report
from lossmaxpool.report.statistics import t_quantile
from lossmaxpool.report.sweep import write_sweep
from lossmaxpool.report.wording import count
from lossmaxpool.runs.record import RECORD

if TYPE_CHECKING:
    from benchmarks.studies import Study

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "docs" / "images"
PAGES = (ROOT / "README.md", ROOT / "docs" / "evidence.md")
COST = "cost.json"

# Left out of the records: paths of a machine, and what no table shows.
_LEFT_OUT = ("examples", "evolution", "curve", "confusion")
_COLORS = ("#6b7280", "#0f766e", "#f59e0b", "#c2410c", "#2563eb", "#7c3aed", "#db2777", "#65a30d")
Record = dict[str, Any]


def command(name: str) -> str:
    """Return the command that repeats a study."""
    return f"python -m benchmarks.studies {name} --data data --out runs/studies"


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
        cost = folder / COST
        kept |= {"variant": variant, "cost": json.loads(cost.read_text()) if cost.exists() else {}}
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


def score(evaluation: Mapping[str, Any], classes: Sequence[str]) -> float:
    """Return the mean IoU over the classes but the background, in percent."""
    values = evaluation["iou"][1 if classes[0] == "background" else 0 :]
    return 100 * fmean(value for value in values if value is not None)


def f1(evaluation: Mapping[str, Any], classes: Sequence[str]) -> float:
    """Return the mean F1 over the same classes: 2 IoU / (1 + IoU)."""
    values = evaluation["iou"][1 if classes[0] == "background" else 0 :]
    return 100 * fmean(2 * value / (1 + value) for value in values if value is not None)


def half_width(differences: Sequence[float], folds: int) -> float:
    """Return half the 95 % interval of a mean of paired differences.

    Folds share most of their training images, so that their differences are not independent: the
    variance of the mean is then taken as (1 / n + 1 / (folds - 1)) of that of a difference.

    References:
        Nadeau and Bengio 2003, "Inference for the generalization error", Eq. 12.
    """
    n = len(differences)
    if n < 2:
        return math.nan
    shared = 1 / (folds - 1) if folds else 0.0
    return t_quantile(n - 1) * stdev(differences) * math.sqrt(1 / n + shared)


def groups(records: Sequence[Record]) -> dict[tuple[str, str], dict[int, Record]]:
    """Return the records by variant and method, each by its seed."""
    found: dict[tuple[str, str], dict[int, Record]] = {}
    for record in records:
        key = (record.get("variant", ""), record["method"])
        found.setdefault(key, {})[record["seed"]] = record
    return found


def write_tables(name: str) -> None:
    """Write the table of a study and the picture of its learning curves."""
    content = read(name)
    by_method = groups(content["records"])
    variants = any(variant for variant, _ in by_method)
    head = ["method", "lr", "runs", "IoU", "F1", "IoU over BASE", "95 % interval", "last quarter",
            "CPU s / step"]  # fmt: skip
    if content["records"][0]["classes"][0] != "background":
        head[3] = "mIoU"
        head[5] = "mIoU over BASE"
    rows = [(["part"] if variants else []) + head]
    for (variant, _), runs in by_method.items():
        base = by_method.get((variant, "base")) or by_method.get(("", "base")) or {}
        cells = _row(runs, base, content["folds"])
        rows.append(([variant] if variants else []) + cells)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    words = 1 + variants
    lines.insert(1, "| " + " | ".join([":--"] * words + ["--:"] * (len(rows[0]) - words)) + " |")
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
    with drawing():
        write(curves(name), IMAGES / f"study-{name}.svg")


def _row(runs: Mapping[int, Record], base: Mapping[int, Record], folds: int) -> list[str]:
    some = next(iter(runs.values()))
    classes = some["classes"]
    final = {seed: score(run["evaluations"][-1], classes) for seed, run in runs.items()}
    dice = [f1(run["evaluations"][-1], classes) for run in runs.values()]
    pairs = [
        final[seed] - score(base[seed]["evaluations"][-1], classes)
        for seed in final
        if seed in base
    ]
    gain, bounds = "", ""
    if pairs and some["method"] != "base":
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
    values = list(final.values())
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return [
        some["label"],
        f"{some['config']['optimization']['lr']:g}",
        str(len(runs)),
        f"{fmean(values):.1f}{spread}",
        f"{fmean(dice):.1f}",
        gain,
        bounds,
        _signed(fmean(late)),
        f"{min(costs):.2f}" if costs else "",
    ]


def _three_quarters(run: Record) -> Mapping[str, Any]:
    """The evaluation at which the last quarter of a run begins."""
    steps = run["config"]["optimization"]["steps"]
    found: Mapping[str, Any] = min(
        run["evaluations"], key=lambda evaluation: abs(evaluation["step"] - 0.75 * steps)
    )
    return found


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def curves(name: str) -> Figure:
    """Draw the score of every method over the steps: the mean over the runs that are finished."""
    content = read(name)
    with drawing():
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        axes = figure.subplots()
        for k, ((variant, _), runs) in enumerate(groups(content["records"]).items()):
            some = next(iter(runs.values()))
            steps = [evaluation["step"] for evaluation in some["evaluations"]]
            means = [
                fmean(score(run["evaluations"][e], some["classes"]) for run in runs.values())
                for e in range(len(steps))
            ]
            own = some["method"] in ("lmp", "loss-only")
            axes.plot(
                steps,
                means,
                color=_COLORS[k % len(_COLORS)],
                linewidth=2 if own else 1.1,
                linestyle="--" if some["method"].endswith("+") else "-",
                label=f"{some['label']} {variant}".strip(),
            )
        measure = "mIoU" if some["classes"][0] != "background" else "IoU of the foreground"
        axes.set(xlabel="steps", ylabel=f"{measure}, %")
        axes.grid(visible=True)
        figure.legend(loc="outside right upper", frameon=False)
    figure.set_label(f"{content['question']} Learning curves of every method, mean over the runs.")
    return figure


def seeds_needed(spread: float, gain: float = 2.0, power: float = 0.8) -> int:
    """Return how many paired runs settle a gain with this probability.

    A paired t-test at 5 %, two-sided, on differences of this standard deviation.

    Example:
        >>> seeds_needed(0.9), seeds_needed(1.5)
        (4, 7)
    """
    for n in range(2, 1000):
        beyond = nct.sf(t_quantile(n - 1), n - 1, gain / spread * math.sqrt(n))
        if beyond >= power:
            return n
    raise ValueError(f"a spread of {spread} needs more than 1000 runs to settle {gain}")


def power_analysis() -> dict[str, Any]:
    """Return the spread of the paired gains that is known, and the runs that settle 2 points."""
    found = {}
    for path in sorted(RESULTS.glob("*.json")):
        content = json.loads(path.read_text())
        if not isinstance(content, dict) or "records" not in content or "sweep" in path.stem:
            continue
        by_method = groups(content["records"])
        for (variant, method), runs in by_method.items():
            base = by_method.get((variant, "base"), {})
            pairs = [
                score(run["evaluations"][-1], run["classes"])
                - score(base[seed]["evaluations"][-1], run["classes"])
                for seed, run in runs.items()
                if seed in base
            ]
            if method != "base" and len(pairs) > 1:
                spread = stdev(pairs)
                found[f"{path.stem}: {method} {variant}".strip()] = {
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
