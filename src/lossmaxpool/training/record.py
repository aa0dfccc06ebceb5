"""The record lives in :mod:`lossmaxpool.runs.record`; these are its names here."""

from lossmaxpool.runs.record import RECORD, RunRecord

__all__ = ["RECORD", "RunRecord"]
