"""Run folders, as the report's tests make them."""

from tests.report.conftest import make_runs

__all__ = ["make_runs"]
