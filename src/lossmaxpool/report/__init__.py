"""Tables, figures and the page of a comparison, made from run records alone."""

from typing import TYPE_CHECKING, Any

from lossmaxpool.report.tables import format_table, markdown_pairs, markdown_table
from lossmaxpool.runs import RecordError

if TYPE_CHECKING:
    from lossmaxpool.report.page import write_gain_picture, write_report

__all__ = [
    "RecordError", "format_table", "markdown_pairs", "markdown_table", "write_gain_picture",
    "write_report",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # The page draws with matplotlib, which is slow to import and which no table needs.
    if name not in ("write_gain_picture", "write_report"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lossmaxpool.report import page

    return getattr(page, name)
