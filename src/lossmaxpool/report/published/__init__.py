"""The tables of Rota Bulò et al. 2017, each cell as printed."""

from lossmaxpool.report.published.classes import TABLE_3A, TABLE_3B
from lossmaxpool.report.published.methods import SUPPORT, TABLE_1, TABLE_2, TABLE_4
from lossmaxpool.report.published.printed import ClassTable, Recipe, Row, Table, Task, value

__all__ = [
    "SUPPORT",
    "TABLE_1",
    "TABLE_2",
    "TABLE_3A",
    "TABLE_3B",
    "TABLE_4",
    "ClassTable",
    "Recipe",
    "Row",
    "Table",
    "Task",
    "value",
]
