from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lossmaxpool.report import format_table, write_report


def test_report_and_summary_are_written(
    make_runs: Callable[..., list[Path]], tmp_path: Path
) -> None:
    runs = make_runs("base", "loss-only")
    page = write_report(runs, tmp_path / "report")
    assert page.name == "report.html"
    assert sorted(path.name for path in page.parent.iterdir()) == ["report.html", "summary.json"]
    assert "bicyclist" in format_table(runs)
