"""Results of studies: from run folders to results files, from these to the pages."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import study_tables
from benchmarks.blocks import filled
from benchmarks.drawing import drawing, write
from benchmarks.study_pictures import picture
from benchmarks.study_tables import command, power_analysis, power_table
from lossmaxpool.report.statistics import class_scores
from lossmaxpool.runs.record import RECORD, RunRecord
from lossmaxpool.training.tuning import TUNING

if TYPE_CHECKING:
    from benchmarks.studies import Study

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "docs" / "images"
PAGES = (ROOT / "README.md", ROOT / "docs" / "evidence.md", ROOT / "docs" / "choosing.md")
COST = "cost.json"

# Left out of the records: paths of a machine, and what no table shows.
_LEFT_OUT = ("examples", "evolution", "curve", "confusion", "calibration", "weights", "suspects")


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


def read(name: str) -> dict[str, Any]:
    """Return the results of a study."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def read_all() -> dict[str, dict[str, Any]]:
    """Return the results of all studies by name."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    return {name: content for name, content in found.items() if "records" in content}


def write_tables(name: str) -> None:
    """Write the table of a study and its picture."""
    content = read(name)
    (RESULTS / f"{name}.md").write_text(study_tables.scores_table(content) + "\n")
    with drawing():
        write(picture(content), IMAGES / f"study-{name}.svg")


def print_plan(studies: Mapping[str, Study]) -> None:
    """Print the studies, and the gains that the spread of their runs settles."""
    for name, study in studies.items():
        known = (RESULTS / f"{name}.json").is_file()
        print(f"{name:24}{'has results' if known else 'not run':14}{study.question}")
    for name, methods in power_analysis(read_all()).items():
        for method, one in methods.items():
            runs = one.get("runs for 2 points")
            told = f"  {runs} runs settle 2 points" if runs else ""
            print(
                f"{f'{name}: {method}':44}sd {one['spread']:5.2f}  {one['pairs']} pairs settle "
                f"{one['settles']:.1f} points{told}"
            )


def rendered(page: str) -> str:
    """A page with its tables, and where they come from, as the results have them."""
    return filled(page, "study", _block)


def render() -> None:
    """Write the blocks of all pages, and the tables and pictures of the studies."""
    for name in read_all():
        write_tables(name)
    for page in PAGES:
        page.write_text(rendered(page.read_text()))


def _block(block: str) -> str:
    kind, _, study = block.partition("-")
    if kind == "power":
        return power_table(read_all(), study == "before")
    if kind == "halves":
        return study_tables.halves_table(read_all())
    if kind == "again":
        return study_tables.again_table(read_all(), study.removesuffix("-again"), study)
    if kind == "table":
        return (RESULTS / f"{study}.md").read_text()
    if kind == "setting":
        return study_tables.setting(study, read(study))
    tables = {
        "classes": study_tables.classes_table,
        "pairs": study_tables.pairs_table,
        "sampler": study_tables.sampler_table,
        "p_and_m": study_tables.p_and_m_table,
        "tuning": study_tables.tuning_table,
    }
    return tables[kind](read(study))
