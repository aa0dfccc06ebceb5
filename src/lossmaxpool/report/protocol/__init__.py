"""The protocol of Rota Bulò et al. 2017: their tables beside what was run here."""

from lossmaxpool.report.protocol.beside import paper_tables
from lossmaxpool.report.protocol.find import Found, find_runs
from lossmaxpool.report.protocol.views import view_of
from lossmaxpool.report.protocol.window import Window

__all__ = ["Found", "Window", "find_runs", "paper_tables", "view_of"]
