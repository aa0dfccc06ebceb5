"""The self-contained HTML page of a comparison, and the files beside it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lossmaxpool.atomic import write_atomically
from lossmaxpool.report import figures, pictures, wording
from lossmaxpool.report.comparison import read_runs
from lossmaxpool.report.figures import NARROW, WIDE, Drawing
from lossmaxpool.report.statistics import ECE, MethodSummary, Summary, summarize
from lossmaxpool.report.tables import results_csv, settled_classes, summary_content
from lossmaxpool.runs import RecordError
from lossmaxpool.runs.config import flat
from lossmaxpool.runs.record import RunRecord

TITLE = "Loss max-pooling, compared"
# Described run by run already.
_PER_RUN = ("command", "date")
# Options that one data set alone reads.
_DATA_SET_OF = {
    "classes": "folders", "image_range": "folders", "sbd": "voc", "train": "python",
    "val": "python", "vistas_version": "mapillary-vistas", "scene_size": "street-scenes",
    "train_scenes": "street-scenes", "val_scenes": "street-scenes", "scene_seed": "street-scenes",
}  # fmt: skip
_HERE = Path(__file__).parent


def write_report(run_folders: Sequence[Path], out: Path, title: str = TITLE) -> Path:
    """Writes ``report.html``, ``summary.json``, ``results.csv`` and the folder ``figures``.

    The page needs no other file and no network: style, figures, images and script are inside. Every
    file is written beside and then renamed, the page last, so that an earlier report survives a
    failure. The figures are SVG, for light and dark pages, and PDF.

    Args:
        run_folders: RunRecord folders of one or more methods and seeds, on the same data.
        out: Folder for the files; made where it does not exist.
        title: Title of the page.

    Returns:
        The path of ``report.html``.

    Raises:
        RecordError: A record is bad, or the runs cannot be compared.
        OSError: The report cannot be written.

    Example:
        ``write_report(sorted(Path("runs/camvid").glob("*-seed*")), Path("reports/camvid"))``
    """
    summary = summarize(read_runs(run_folders))
    drawings = _drawings(summary)
    page = _page(summary, drawings, title, Path(out))
    content = json.dumps(summary_content(summary), indent=2, ensure_ascii=False, allow_nan=False)
    out = Path(out)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for name, drawing in drawings.items():
        if not name.endswith("-narrow"):
            write_atomically(out / "figures" / f"{name}.svg", drawing.file.encode())
            write_atomically(out / "figures" / f"{name}.pdf", drawing.pdf)
    write_atomically(out / "results.csv", results_csv(summary).encode())
    write_atomically(out / "summary.json", f"{content}\n".encode())
    write_atomically(out / "report.html", page.encode())
    return out / "report.html"


def write_gain_picture(run_folders: Sequence[Path], out: Path) -> Path:
    """Writes an SVG of the gain per class against its share of the training pixels.

    Args:
        run_folders: RunRecord folders of the baseline and one other method, on the same data.
        out: The file to write.

    Returns:
        The path of the file.

    Raises:
        RecordError: A record is bad, the runs cannot be compared, or they are not of the baseline
            and exactly one other method.
        OSError: The file cannot be written.

    Example:
        ``write_gain_picture(sorted(Path("runs/camvid").glob("*-seed*")), Path("gain.svg"))``
    """
    summary = summarize(read_runs(run_folders))
    rivals = summary.rivals
    if len(rivals) != 1 or rivals[0].gains is None:
        raise RecordError(
            f"a gain picture shows the baseline and one other method, got "
            f"{', '.join(m.label for m in summary.methods)}: choose the run folders of two."
        )
    write_atomically(Path(out), figures.gain_figure(summary, rivals[0], WIDE, 400).file.encode())
    return Path(out)


def _drawings(summary: Summary) -> dict[str, Drawing]:
    """Every figure by the name of its file; those for a phone end with "-narrow"."""
    drawn: dict[str, Drawing] = {}
    for m in _gaining(summary):
        name = f"gain-{m.method.id}"
        drawn[name] = figures.gain_figure(summary, m, WIDE, 400)
        drawn[f"{name}-narrow"] = figures.gain_figure(summary, m, NARROW, 340)

    def twice(name: str, figure: Callable[[Summary, int], Drawing]) -> None:
        drawn[name], drawn[f"{name}-narrow"] = figure(summary, WIDE), figure(summary, NARROW)

    twice("classes", figures.class_figure)
    # Of a single evaluation the course would be one dot.
    if any(len(run.evaluations) > 1 for m in summary.methods for run in m.method.runs):
        drawn["miou"] = figures.miou_figure(summary)
    drawn["cross-entropy"] = figures.cross_entropy_figure(summary)
    if any(m.weights for m in summary.methods):
        twice("weights", figures.weights_figure)
    if ECE in summary.measures:
        twice("reliability", figures.reliability_figure)
    for m in summary.methods:
        drawn[f"confusion-{m.method.id}"] = figures.confusion_figure(summary, m)
    return drawn


def _gaining(summary: Summary) -> list[MethodSummary]:
    return [m for m in summary.rivals if m.gains and m.gains.lead.n]


def _page(summary: Summary, drawings: Mapping[str, Drawing], title: str, out: Path) -> str:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    largest = max(
        (
            abs(gain.mean)
            for m in _gaining(summary)
            for gain in ((*m.gains.iou, *m.gains.measures.values()) if m.gains else ())
            if gain.n
        ),
        default=0.0,
    )

    def drawing(name: str, class_: str = "figure") -> Markup:
        return _inline(drawings[name], class_)

    return environment.get_template("page.html").render(
        title=title,
        # The browser itself refuses everything that is not inside the page.
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src '{script_hash(script)}'",
        script=Markup(script),
        style=Markup(_style()),
        summary=summary,
        words=wording,
        names=summary.comparison.classes,
        several=any(m.lead.n > 1 for m in summary.methods),
        gaining=_gaining(summary),
        largest=largest or 1,
        drawing=drawing,
        drawings=drawings,
        keys=[_inline(figures.key(i), "key") for i in range(len(summary.methods))],
        strips=pictures.strips(summary),
        suspected=pictures.suspected(summary, out),
        palette=json.dumps(pictures.classes_by_color(summary)),
        seeds=sorted({m.method.runs[0].seed for m in summary.methods}),
        settled=settled_classes,
        commands=list(
            dict.fromkeys(
                _shown(run.environment["command"])
                for run in summary.comparison.runs
                if "command" in run.environment
            )
        ),
        date=_date,
        isnan=math.isnan,
        parts=figures.PARTS,
        numbered=figures.NUMBERED,
        **_settings(summary),
    )


def script_hash(script: str) -> str:
    """The name by which a content security policy allows one inline script and no other."""
    return f"sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _style() -> str:
    light = "".join(f"--{name}:{day};" for name, (day, _) in figures.PALETTE.items())
    dark = "".join(f"--{name}:{night};" for name, (_, night) in figures.PALETTE.items())
    colors = f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    sheet = (_HERE / "page.css").read_text(encoding="utf-8")
    return f"{colors}{figures.style_sheet()}\n{sheet}"


def _inline(drawing: Drawing, class_: str) -> Markup:
    """The drawing as a part of the page; one without words is not read aloud."""
    svg = drawing.svg if drawing.alt else drawing.svg.replace(' role="img" aria-label=""', "")
    hidden = "" if drawing.alt else ' aria-hidden="true"'
    return Markup(re.sub("^<svg", lambda _: f'<svg class="{class_}"{hidden}', svg))


def _date(run: RunRecord) -> str:
    date = _shown(run.environment.get("date", wording.MISSING))
    return date.replace("T", " ").replace("+00:00", " UTC")


def _settings(summary: Summary) -> dict[str, dict[str, tuple[str, ...]]]:
    """Configuration and environment: the entries that differ between methods, and the shared."""
    configuration = _by_method(summary, _config_of_its_data)
    environment = _by_method(
        summary, lambda run: {k: v for k, v in run.environment.items() if k not in _PER_RUN}
    )
    both = configuration | environment
    return {
        "differing": {key: values for key, values in both.items() if len(set(values)) > 1},
        "environment": {k: v[:1] for k, v in environment.items() if len(set(v)) == 1},
        "configuration": {k: v[:1] for k, v in configuration.items() if len(set(v)) == 1},
    }


def _config_of_its_data(run: RunRecord) -> dict[str, Any]:
    """The configuration without the options of data sets that the run did not use."""
    data = run.config.get("data", {})
    name = data.get("name")
    kept = {key: value for key, value in data.items() if _DATA_SET_OF.get(key, name) == name}
    return {**run.config, "data": kept}


def _by_method(
    summary: Summary, settings_of: Callable[[RunRecord], Mapping[str, Any]]
) -> dict[str, tuple[str, ...]]:
    """One text per setting and method: its values over the seeds, each named once."""
    found = [
        [
            {key: _shown(value) for key, value in flat(settings_of(run)).items()}
            for run in m.method.runs
        ]
        for m in summary.methods
    ]
    keys = dict.fromkeys(key for of_method in found for one in of_method for key in one)
    return {
        key: tuple(
            " · ".join(dict.fromkeys(one.get(key, wording.MISSING) for one in of_method))
            for of_method in found
        )
        for key in keys
    }


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
