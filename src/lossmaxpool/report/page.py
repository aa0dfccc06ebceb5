"""The self-contained HTML page of a comparison."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from lossmaxpool.report.markup import Markup, element, join
from lossmaxpool.report.records import read_runs
from lossmaxpool.report.sections import sections
from lossmaxpool.report.statistics import summarize
from lossmaxpool.report.tables import summary_content

# The browser itself refuses whatever is not inside the page.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
TITLE = "Loss max-pooling, compared"


def write_report(run_folders: Sequence[Path], out: Path, title: str = TITLE) -> Path:
    """Writes ``report.html`` and ``summary.json`` of a comparison.

    The page needs no other file and no network: style, figures and images are inside. Both files
    are written beside and then renamed, so that an earlier report survives a failure.

    Args:
        run_folders: Run folders of one or more methods and seeds, on the same data.
        out: Folder for both files; made where it does not exist.
        title: Title of the page.

    Returns:
        The path of ``report.html``.

    Raises:
        RecordError: A record is bad, or the runs cannot be compared.
        OSError: The report cannot be written.

    Example:
        ``write_report(sorted(Path("runs/camvid").iterdir()), Path("reports/camvid"))``
    """
    summary = summarize(read_runs(run_folders))
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    page = element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("meta", http_equiv="Content-Security-Policy", content=POLICY),
            element("title", title),
            element("style", Markup(style)),
        ),
        element("body", element("main", join(sections(summary, title), "\n"))),
        lang="en",
    )
    content = json.dumps(summary_content(summary), indent=2, ensure_ascii=False, allow_nan=False)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "summary.json", content + "\n")
    return _write(out / "report.html", f"<!doctype html>\n{page}\n")


def _write(path: Path, text: str) -> Path:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path
