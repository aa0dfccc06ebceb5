"""Results of studies: from run folders to results files, from these to tables and pictures."""

from __future__ import annotations

import json
import math
import re
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
    settled_gain,
)
from benchmarks.drawing import drawing, write
from lossmaxpool.report import markdown_pairs, markdown_table, write_gain_picture, write_report
from lossmaxpool.report.statistics import class_scores
from lossmaxpool.report.sweep import write_sweep
from lossmaxpool.report.wording import count, points
from lossmaxpool.runs.record import RECORD, RunRecord
from lossmaxpool.training.tuning import TUNING

if TYPE_CHECKING:
    from benchmarks.studies import Study

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "docs" / "images"
PAGES = (ROOT / "README.md", ROOT / "docs" / "evidence.md", ROOT / "docs" / "choosing.md")
COST = "cost.json"
# The spread that was known before the other studies were planned: those of version 0.1.0.
KNOWN_BEFORE = ("camvid-longer", "camvid-methods", "camvid-sequence")

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
        environment = kept["environment"]
        environment.pop("command", None)
        # Runs of earlier versions name the kernel, too: system and architecture are kept.
        environment["platform"] = re.sub(
            r"^(\w+)-.*?(x86_64|aarch64|arm64|AMD64).*", r"\1 \2", environment["platform"]
        )
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
    search = _search({variant: folder.parent for variant, folder in runs})
    tuning = f' "tuning": {json.dumps(search)},\n' if search else ""
    text = f'{json.dumps(head, indent=1)[:-2]},\n{tuning} "records": [\n{lines}\n ]\n}}\n'
    (RESULTS / f"{name}.json").write_text(text)
    folders = [folder for _, folder in runs]
    if study.plain and len(records) == len(runs):
        _write_plain(name, study, folders)
    else:
        write_tables(name)


def _search(folders: Mapping[str, Path]) -> dict[str, Any]:
    """The learning rates that each part of a study tried, their scores, and what it took."""
    return {
        variant: {
            **json.loads((folder / TUNING).read_text()),
            "seconds": round(
                sum(
                    json.loads(path.read_text())["seconds"]
                    for path in folder.glob(f"tuning/*/{RECORD}")
                ),
                1,
            ),
        }
        for variant, folder in folders.items()
        if (folder / TUNING).is_file()
    }


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
        if len(study.grid.methods) > 2:  # of two methods, the table itself has the gains
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
    gain, bounds = _gain(gains(runs, over), folds)
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
        _last_quarter(runs),
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


def _gain(pairs: Sequence[float], folds: int) -> tuple[str, str]:
    """The mean of paired differences, with a star where it is settled, and its 95 % interval."""
    if not pairs:
        return "", ""
    middle, half = fmean(pairs), half_width(pairs, folds)
    if math.isnan(half):
        return _signed(middle), ""
    star = r"\*" if abs(middle) > half else ""
    return _signed(middle) + star, f"{_signed(middle - half)} to {_signed(middle + half)}"


def _last_quarter(runs: Mapping[int, Record]) -> str:
    """The mean change of the score from the evaluation nearest to three quarters of the steps."""
    changes = []
    for run in runs.values():
        start = 0.75 * run["config"]["optimization"]["steps"]
        at = min(run["evaluations"], key=lambda evaluation: abs(evaluation["step"] - start))
        end = score(run["evaluations"][-1], run["classes"])
        changes.append(end - score(at, run["classes"]))
    return _signed(fmean(changes))


def _signed(value: float) -> str:
    return points(value / 100)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with its first column to the left."""
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def power_analysis() -> dict[str, dict[str, dict[str, float]]]:
    """Return by study and method the spread of the paired gains over BASE, and its consequences.

    These are the runs that settle 2 points, which folds of one data set cannot provide, and the
    smallest gain that the runs there are settle.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for path in sorted(RESULTS.glob("*.json")):
        content = json.loads(path.read_text())
        if not isinstance(content, dict) or "records" not in content or "sweep" in path.stem:
            continue
        # Wrong labels and schedules do not have the usual spread.
        if content.get("over") or any(record.get("wrong") for record in content["records"]):
            continue
        parts, folds = groups(content["records"]), content.get("folds", 0)
        for part, runs in parts.items():
            pairs = gains(runs, reference(parts, part, ""))
            if len(pairs) > 1:
                spread = max(stdev(pairs), 0.05)
                found.setdefault(path.stem, {})[_name(part, runs)] = {
                    "pairs": len(pairs),
                    "spread": spread,
                    **({} if folds else {"runs for 2 points": seeds_needed(spread)}),
                    "settles": settled_gain(spread, len(pairs), folds),
                }
    return found


def print_plan(studies: Mapping[str, Study]) -> None:
    """Print the studies, and the gains that the spread of their runs settles."""
    for name, study in studies.items():
        known = (RESULTS / f"{name}.json").is_file()
        print(f"{name:24}{'has results' if known else 'not run':14}{study.question}")
    for name, methods in power_analysis().items():
        for method, one in methods.items():
            runs = one.get("runs for 2 points")
            told = f"  {runs} runs settle 2 points" if runs else ""
            print(
                f"{f'{name}: {method}':44}sd {one['spread']:5.2f}  {one['pairs']} pairs settle "
                f"{one['settles']:.1f} points{told}"
            )


def _name(part: Condition, runs: Mapping[int, Record]) -> str:
    return f"{named(part, runs)} ({part.variant})" if part.variant else named(part, runs)


def _power_table(before: bool) -> str:
    """The spread that was known, and the runs it asks for; or that found since, which settles."""
    key, told = ("runs for 2 points", "runs") if before else ("settles", "gain that is settled")
    rows = []
    for name, methods in power_analysis().items():
        if (name in KNOWN_BEFORE) == before:
            each = list(methods.values())
            pairs, spreads, ends = ([one[k] for one in each] for k in ("pairs", "spread", key))
            rows.append([name, str(len(each)), _range(pairs, 0), _range(spreads, 1),
                         _range(ends, 0 if before else 1)])  # fmt: skip
    return _table(["study", "methods over BASE", "pairs", "standard deviation", told], rows)


def _range(values: Sequence[float], digits: int) -> str:
    """The least and the greatest of some values, once where they read alike."""
    ends = (f"{end(values):.{digits}f}" for end in (min, max))
    return " to ".join(dict.fromkeys(ends))


def _together(pairs: Sequence[float], folds: int) -> str:
    """A gain and its interval in one cell."""
    gain, bounds = _gain(pairs, folds)
    return f"{gain} ({bounds})" if bounds else gain or "–"


def _pairs_table(content: Mapping[str, Any]) -> str:
    """The methods with loss max-pooling, and the sampler alone, over each other one but BASE.

    Every pair is there once.
    """
    parts, folds = groups(content["records"]), content.get("folds", 0)
    own = [part for part in parts if part.method in ("base+", "loss-only", "lmp", "dice-lmp")]
    rows = [
        [
            _name(other, runs),
            *(
                "–" if other in own[k:] else _together(gains(parts[part], runs), folds)
                for k, part in enumerate(own)
            ),
        ]
        for other, runs in parts.items()
        if other.method != "base" and other not in own[-1:]
    ]
    told = measure(content["records"][0])
    return _table([f"{told} over", *(_name(part, parts[part]) for part in own)], rows)


def _halves_table() -> str:
    """The gains of the loss with and without the sampler, and of the sampler with either loss."""
    rows = []
    for path in sorted(RESULTS.glob("*.json")):
        if "records" not in (content := json.loads(path.read_text())):
            continue
        parts = groups(content["records"])
        each = [parts.get(Condition("", name)) for name in ("base", "base+", "loss-only", "lmp")]
        if all(each):
            base, sampled, loss, both = (runs or {} for runs in each)
            couples = ((loss, base), (both, sampled), (sampled, base), (both, loss))
            cells = [_together(gains(*couple), content.get("folds", 0)) for couple in couples]
            rows.append([path.stem, measure(content["records"][0]), *cells])
    head = ["study", "score", "the loss, without the sampler", "the loss, with the sampler",
            "the sampler, with cross-entropy", "the sampler, with the loss"]  # fmt: skip
    return _table(head, rows)


def _curves_table(content: Mapping[str, Any]) -> str:
    """The mean score of every method at each evaluation, and what its fastest run took."""
    rows = []
    for part, runs in groups(content["records"]).items():
        some = next(iter(runs.values()))
        means = [
            fmean(score(run["evaluations"][k], some["classes"]) for run in runs.values())
            for k in range(len(some["evaluations"]))
        ]
        seconds = min(run["seconds"] for run in runs.values())
        rows.append([
            _name(part, runs),
            *(f"{mean:.1f}" for mean in means),
            _last_quarter(runs),
            f"{seconds / some['config']['optimization']['steps']:.2f}",
        ])  # fmt: skip
    steps = [f"{one['step']} steps" for one in content["records"][0]["evaluations"]]
    told = measure(content["records"][0])
    return _table([f"{told} after", *steps, "last quarter", "s / step"], rows)


def _tuning_table(content: Mapping[str, Any]) -> str:
    """The scores of the rates that every method tried, the one it took in bold."""
    parts = groups(content["records"])
    rates = sorted({
        lr for one in content["tuning"].values() for tried in one["tried"].values()
        for lr, _ in tried
    })  # fmt: skip
    rows, edges = [], []
    for part, runs in parts.items():
        tried = dict(content["tuning"][part.variant]["tried"][part.method])
        taken = next(iter(runs.values()))["config"]["optimization"]["lr"]
        cells = ["–" if (one := tried.get(lr)) is None else f"{100 * one:.1f}" for lr in rates]
        rows.append([_name(part, runs)] + [
            f"**{cell}**" if lr == taken else cell for lr, cell in zip(rates, cells, strict=True)
        ])  # fmt: skip
        if taken in (min(tried), max(tried)):
            edges.append(f"{rows[-1][0]} ({taken:g})")
    some = next(iter(content["tuning"].values()))
    edge = f"at the edge of those tried: {', '.join(edges)}" if edges else "none is at the edge"
    return (
        f"{_table(['rate', *(f'{lr:g}' for lr in rates)], rows)}\n\n"
        f"mIoU in percent, over all classes, after {some['steps']} steps, on "
        f"{100 * some['held_out']:.0f} % of the training images, held out from the rest; the rate "
        f"that was taken is bold, and {edge}."
    )


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
        return _power_table(study == "before")
    if kind == "halves":
        return _halves_table()
    if kind == "table":
        return (RESULTS / f"{study}.md").read_text()
    content = read(study)
    tables = {"pairs": _pairs_table, "curves": _curves_table, "tuning": _tuning_table}
    return tables[kind](content) if kind in tables else _setting(study, content)


def _setting(study: str, content: Mapping[str, Any]) -> str:
    """How, when and with what a study was run."""
    records = content["records"]
    (threads, device, torch), *others = {
        tuple(record["environment"][key] for key in ("threads", "device", "torch"))
        for record in records
    }
    if others:
        raise ValueError(f"the runs of {study} are of several machines or versions: repeat them")
    versions = sorted({record["environment"]["lossmaxpool"] for record in records})
    days = sorted({record["environment"]["date"][:10] for record in records})
    when = " to ".join(dict.fromkeys((days[0], days[-1])))
    runs = count(len(records), "run")
    planned = content.get("planned", len(records))
    left = "" if planned == len(records) else f" of {planned} (the others are not finished)"
    hours = f"{_hours(record['seconds'] for record in records)} in all"
    if search := content.get("tuning"):
        spent = _hours(one["seconds"] for one in search.values())
        hours = f"{hours}, after {spent} of search for their learning rates"
    today, then = command(study), content["command"]
    older = (
        f" Made with an older command, `{then}`, and not repeated since." if then != today else ""
    )
    return (
        f"`{today}`, {when}: {runs}{left}, {hours}, each with {count(threads, 'thread')} of "
        f"{device}, lossmaxpool {' and '.join(versions)}, torch {torch}.{older}"
    )


def _hours(seconds: Iterable[float]) -> str:
    return f"{sum(seconds) / 3600:.1f} hours"
