"""The self-contained HTML page of a comparison."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lossmaxpool.report.files import style, write_text
from lossmaxpool.report.markup import element, join
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
        ``write_report(sorted(Path("runs/camvid").glob("*-seed*")), Path("reports/camvid"))``
    """
    summary = summarize(read_runs(run_folders))
    page = element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("meta", http_equiv="Content-Security-Policy", content=POLICY),
            element("title", title),
            element("style", style("drawing.css", "page.css")),
        ),
        element("body", element("main", join(sections(summary, title), "\n"))),
        lang="en",
    )
    content = json.dumps(summary_content(summary), indent=2, ensure_ascii=False, allow_nan=False)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "summary.json", content + "\n")
    return write_text(out / "report.html", f"<!doctype html>\n{page}\n")
