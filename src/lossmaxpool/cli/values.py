"""Option values as people type them: ``base,lmp``, ``0``, ``192x192``, ``inf``.

jsonargparse reads YAML, in which a list needs brackets and infinity a dot. These functions
translate the other common spellings, from flags and from files alike.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml

from lossmaxpool.checks import check_choice

_INFINITE = {"inf", "+inf", ".inf", "infinity", "∞"}


class OptionError(ValueError):
    """An option that cannot be read."""


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML whose keys are unique: a second one would silently replace the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in seen:
                raise OptionError(
                    f"the key {key!r} is on line {seen[key]} and again on line {line}"
                )
            seen[key] = line
        return super().construct_mapping(node, deep)


def read_options(given: str) -> dict[str, Any]:
    """Return the options of a YAML file, or of a YAML text such as ``{seed: 3}``.

    Raises:
        OptionError: There is no such file, it is not a text file, not YAML, or not a mapping with
            unique keys.
    """
    path = Path(given)
    try:
        is_text = not path.is_file() and ":" in given
        text = given if is_text else path.read_text("utf-8")
        content = yaml.load(text, _UniqueKeyLoader)  # a subclass of the safe loader
    except OSError as error:
        raise OptionError(f"{given}: {error.strerror}; expected a YAML file of options") from None
    except UnicodeDecodeError:
        raise OptionError(f"{given} is not a text file: expected a YAML file of options") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise OptionError(f"{given} is not valid YAML: {reason}") from None
    except OptionError as error:
        raise OptionError(f"{given}: {error}; keep one of them") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise OptionError(
            f"{given} holds {str(content)[:40]!r}: expected a YAML mapping, one 'option: value' "
            "per line"
        )
    # Imported here: the commands without a configuration need not load it.
    from lossmaxpool.runs.config import with_new_names

    try:
        return with_new_names(content)
    except ValueError as error:
        raise OptionError(f"{given}: {error}") from None


def with_typed_values(content: Mapping[str, Any], types: Mapping[str, Any]) -> dict[str, Any]:
    """Apply :func:`typed` to every option of a nested mapping."""

    def walk(value: Any, key: str) -> Any:
        if key in types:
            return typed(key, types[key], value)
        if isinstance(value, Mapping):
            return {k: walk(v, f"{key}.{k}" if key else str(k)) for k, v in value.items()}
        return value

    found: dict[str, Any] = walk(content, "")
    return found


def typed(key: str, hint: Any, value: Any) -> Any:
    """Return a value as its type wants it; what cannot be read is left to the parser.

    Args:
        key: The dotted name of the option, for messages.
        value: Text of a flag, or a value of a YAML file.

    Raises:
        OptionError: A choice that does not exist, or a pair that cannot be read.

    Example:
        >>> typed("seeds", list[int], "0,1"), typed("size", tuple[int, int], "64x32")
        ([0, 1], (64, 32))
        >>> typed("p", float, "inf"), typed("seeds", list[int], 0)
        (inf, [0])
    """
    hint = _without_none(hint)
    if value is None:
        return None
    if hint is str and isinstance(value, Mapping):
        return as_flag(value)
    if hint is float and isinstance(value, str) and value.strip().lower() in _INFINITE:
        return math.inf
    if hint is bool and isinstance(value, str):
        if value.strip().lower() not in ("true", "false"):
            raise OptionError(f"{key} is {value!r}: expected true or false")
        return value.strip().lower() == "true"
    if isinstance(hint, type) and issubclass(hint, int | float) and isinstance(value, str):
        return _number(key, hint, value)
    if get_origin(hint) is Literal:
        if isinstance(value, str):
            try:
                check_choice(key, value, get_args(hint))
            except ValueError as error:
                raise OptionError(str(error)) from None
        return value
    if get_origin(hint) in (list, tuple):
        return _several(key, hint, value)
    return value


def takes_several(hint: Any) -> bool:
    """Return whether a value of this type is a list or a pair."""
    return get_origin(_without_none(hint)) in (list, tuple)


def _without_none(hint: Any) -> Any:
    if get_origin(hint) not in (Union, UnionType):
        return hint
    members = [member for member in get_args(hint) if member is not NoneType]
    return members[0] if len(members) == 1 else hint


def _several(key: str, hint: Any, value: Any) -> Any:
    kinds = get_args(hint)
    pair = get_origin(hint) is tuple and Ellipsis not in kinds
    if isinstance(value, str):
        text = value.strip().removeprefix("[").removesuffix("]")
        separators = r"[,\s]+|(?<=\d)[x×](?=\d)" if pair else r"[,\s]+"
        words = [word.strip("\"'") for word in re.split(separators, text) if word]
        # If a part of a pair is not a number, the error below names the pair.
        items = [_as_number(word) if pair else word for word in words]
    else:
        items = list(value) if isinstance(value, list | tuple) else [value]
    if not pair:
        items = [typed(key, kinds[0], item) for item in items]
        return items if get_origin(hint) is list else tuple(items)
    if len(items) == 1:
        items *= 2
    if len(items) != 2 or not all(isinstance(item, int | float) for item in items):
        raise OptionError(f"{key} is {value!r}: expected one number, or two such as 192,256")
    return tuple(items)


def _as_number(word: str) -> int | float | str:
    for convert in (int, float):
        try:
            return convert(word)
        except ValueError:
            continue
    return word


def _number(key: str, kind: type, word: str) -> int | float | str:
    number, whole = _as_number(word), issubclass(kind, int)
    if isinstance(number, str) or (whole and number != number // 1):
        raise OptionError(f"{key} is {word!r}: expected a {'whole ' * whole}number")
    try:
        kind(number)  # a type with a restriction, such as PositiveInt, says which
    except ValueError as error:
        raise OptionError(f"{key}: {error}") from None
    return int(number) if whole else number


def as_flag(value: Any) -> str:
    """Return a value as the text of a flag, in YAML on one line."""
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, width=sys.maxsize).strip()
    return text.removesuffix("\n...")  # which ends a document of one scalar
