"""The gain figure as a picture of its own, for a README or a slide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lossmaxpool.report.fields import RecordError
from lossmaxpool.report.files import standalone, write_text
from lossmaxpool.report.gain_figure import gain_figure
from lossmaxpool.report.records import read_runs
from lossmaxpool.report.statistics import summarize

WIDTH, HEIGHT = 840, 400


def write_gain_picture(run_folders: Sequence[Path], out: Path) -> Path:
    """Writes an SVG of the gain per class against its share of the training pixels.

    Args:
        run_folders: Run folders of the baseline and one other method, on the same data.
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
            f"{', '.join(m.method.label for m in summary.methods)}: choose the run folders of two."
        )
    drawing = gain_figure(summary, rivals[0], WIDTH, HEIGHT, "alone")
    return write_text(Path(out), standalone(drawing))
