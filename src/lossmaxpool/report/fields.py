"""Typed access to the fields of a JSON object, with errors that name the file and the field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class RecordError(ValueError):
    """A run record that cannot be used, or runs that cannot be compared."""


@dataclass(frozen=True)
class Fields:
    """One JSON object and where it stands, for messages."""

    content: Mapping[str, Any]
    where: str

    @classmethod
    def of(cls, content: object, where: str) -> Fields:
        if not isinstance(content, dict):
            raise RecordError(f"{where}: {_named(content)}, expected a JSON object.")
        return cls(content, where)

    def has(self, key: str) -> bool:
        """Whether the field is there and not null."""
        return self.content.get(key) is not None

    def text(self, key: str) -> str:
        value = self._value(key)
        return value if isinstance(value, str) else self._refuse(key, value, "text")

    def integer(self, key: str) -> int:
        value = self._value(key)
        return value if type(value) is int else self._refuse(key, value, "an integer")

    def number(self, key: str) -> float:
        """A number; null is NaN, as strict JSON has no NaN."""
        value = self._value(key)
        return _number(value) if _is_number(value) else self._refuse(key, value, "a number")

    def fraction(self, key: str) -> float:
        """A number in [0, 1], or NaN for null."""
        value = self._value(key)
        return _number(value) if _is_fraction(value) else self._refuse(key, value, _FRACTION)

    def fractions(self, key: str, length: int) -> tuple[float, ...]:
        values = self.sequence(key, length)
        for value in values:
            if not _is_fraction(value):
                self._refuse(key, value, _FRACTION)
        return tuple(_number(value) for value in values)

    def counts(self, key: str, length: int) -> tuple[int, ...]:
        values = self.sequence(key, length)
        for value in values:
            if type(value) is not int or value < 0:
                self._refuse(key, value, "integers of at least 0")
        return tuple(values)

    def texts(self, key: str) -> list[str]:
        values = self.sequence(key)
        for value in values:
            if not isinstance(value, str):
                self._refuse(key, value, "a list of texts")
        return values

    def sequence(self, key: str, length: int | None = None) -> list[Any]:
        value = self._value(key)
        if not isinstance(value, list):
            self._refuse(key, value, "a list")
        if length is not None and len(value) != length:
            raise RecordError(
                f"{self.where}: {key} has {len(value)} entries, expected one per class ({length})."
            )
        return list(value)

    def mapping(self, key: str) -> Mapping[str, Any]:
        return self.child(key).content

    def child(self, key: str) -> Fields:
        return Fields.of(self._value(key), f"{self.where}: {key}")

    def children(self, key: str, *, required: bool = False) -> list[Fields]:
        """The objects of a list; none where the field is absent and not required."""
        if not required and not self.has(key):
            return []
        return [
            Fields.of(value, f"{self.where}: {key}[{i}]")
            for i, value in enumerate(self.sequence(key))
        ]

    def _value(self, key: str) -> Any:
        if key not in self.content:
            raise RecordError(
                f"{self.where}: {key!r} is missing. The record is partial; train the run again."
            )
        return self.content[key]

    def _refuse(self, key: str, value: object, expected: str) -> Any:
        raise RecordError(f"{self.where}: {key} is {_named(value)}, expected {expected}.")


_FRACTION = "a fraction in [0, 1] (not percent)"


def _is_number(value: object) -> bool:
    return value is None or type(value) in (int, float)


def _is_fraction(value: object) -> bool:
    return _is_number(value) and not (_number(value) < 0 or _number(value) > 1)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _named(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
