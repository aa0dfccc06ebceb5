"""Tables, figures and the page of a comparison, made from run records alone."""

from lossmaxpool.report.fields import RecordError
from lossmaxpool.report.page import write_gain_picture, write_report
from lossmaxpool.report.tables import format_table, markdown_pairs, markdown_table

__all__ = [
    "RecordError",
    "format_table",
    "markdown_pairs",
    "markdown_table",
    "write_gain_picture",
    "write_report",
]
