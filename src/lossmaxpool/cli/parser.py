"""jsonargparse with a hint for a mistyped option, and with resuming."""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NoReturn

import yaml
from jsonargparse import ArgumentParser, Namespace

from lossmaxpool.checks import check_choice
from lossmaxpool.cli.values import (
    OptionError,
    as_flag,
    read_options,
    takes_several,
    typed,
    with_typed_values,
)

_RECIPE = "--recipe"
_LOSSES = "--losses"
_FILES = (_RECIPE, "--config")
# Common short names of options.
_SHORT = {"crop": "crop_size"}
# The messages of jsonargparse for an unknown option: a flag, a key of a file, a key of a group.
_UNKNOWN = (
    re.compile(r"unrecognized arguments: (?:.*? )?--([\w.-]+)"),
    re.compile(r"Option '([\w.-]+)' is not accepted"),
    re.compile(r"Group '([\w.-]+)' does not accept option '([\w.-]+)'"),
)


class CommandParser(ArgumentParser):
    """Typed options from flags and YAML files; a wrong one is answered with the nearest one."""

    def __init__(self, **arguments: Any) -> None:
        # An abbreviation would change its meaning with the next option that is added.
        super().__init__(allow_abbrev=False, **arguments)
        self._saved: str | None = None
        self._more_defaults: Callable[[Namespace], Mapping[str, Mapping[str, Any]]] | None = None
        self._refused: dict[str, str] = {}
        self._methods: str | None = None

    def add_config_file(self) -> None:
        """Let a YAML file hold the options; flags after ``--config`` override it."""
        self.add_argument("--config", action="config", help="YAML file with these options")

    def add_recipe(self) -> None:
        """Let a YAML file of the package hold the options; what comes after it overrides it."""
        from lossmaxpool.runs.config import RECIPES

        self.add_argument(
            _RECIPE,
            type=str | None,
            default=None,
            help=f"the paper's settings for a data set: {', '.join(RECIPES)}",
        )

    def add_output(self, what: str, saved: str) -> None:
        """Add the folder to write and ``--resume``, which starts from the options saved in it.

        Args:
            what: What the folder is, for the help.
            saved: The YAML file in it.
        """
        self._saved = saved
        self.add_argument("--out", type=Path, required=True, help=what)
        self.add_argument(
            "--resume",
            type=bool | Literal["auto"],
            nargs="?",
            const=True,
            default=False,
            help=f"go on with what is in the folder, under the options of its {saved}; "
            '"auto" begins where there is nothing yet, for the scripts of a cluster',
        )

    def add_losses(self, methods: str) -> None:
        """Let a YAML file define further methods; ``methods`` is the option with names to check."""
        # Kept as text: jsonargparse would build the criteria that a mapping describes.
        self.add_argument(
            _LOSSES,
            type=str | None,
            default=None,
            help="YAML file with further methods: their names, and a class_path and init_args each",
        )
        self._methods = methods

    def refuse(self, name: str, reason: str) -> None:
        """Refuse a flag that would have no effect."""
        self._refused[name] = reason

    def add_defaults(
        self, defaults: Callable[[Namespace], Mapping[str, Mapping[str, Any]]]
    ) -> None:
        """Take the defaults of some groups from what another option names.

        Args:
            defaults: From the parsed options to the values of groups; keys that are not options
                here are left out.
        """
        self._more_defaults = defaults

    def parse(self, words: Sequence[str]) -> Namespace:
        """Return the options with their dataclasses built."""
        # The generated line would name every option once more, over two screens.
        places = [action.dest.upper() for action in self._actions if not action.option_strings]
        self.usage = " ".join([self.prog, *places, "[options]"])
        if any(key.endswith("optimization.steps") for key in self.keys()):
            self.epilog = (
                "A flag may leave its group out where one option alone has its name: "
                "--steps 100 --crop 192 --p inf"
            )
        try:
            given = [*self._saved_options(words), *self._translated(words)]
            parsed = self.parse_args(given)
            if self._more_defaults is not None:
                known = set(self.keys())
                found = {
                    group: {key: v for key, v in values.items() if f"{group}.{key}" in known}
                    for group, values in self._more_defaults(parsed).items()
                }
                parsed = self.parse_args([self._as_config(found), *given])
        except OptionError as error:
            self.error(str(error))
        if parsed.get("recipe") is not None:
            self.error("recipe is a flag, no key of a file: write --recipe, then --config")
        if self._methods is not None:
            losses = yaml.safe_load(parsed.losses or "{}")
            if not isinstance(losses, dict):
                self.error(f"losses is {losses!r}: expected a file, or methods by their names")
            self._check_methods(parsed[self._methods], losses)
        options: Namespace = self.instantiate(parsed)
        if self._methods is not None:
            options.losses = losses
        return options

    def error(self, message: str, *arguments: Any, **keywords: Any) -> NoReturn:
        """Say what is wrong, without the page of usage that would hide it, and leave."""
        unknown = [match for pattern in _UNKNOWN if (match := pattern.search(message))]
        hint = nearest_option(".".join(unknown[0].groups()), self.keys()) if unknown else ""
        sys.stderr.write(f"error: {message}{hint}\n{self.prog} --help lists the options\n")
        raise SystemExit(2)

    def _check_methods(self, given: str | list[str] | None, losses: dict[str, Any]) -> None:
        from lossmaxpool.runs.methods import method_named, method_names

        try:
            for name in [given] if isinstance(given, str) else given or ():
                check_choice(str(self._methods), name, method_names(losses))
            for name in losses:
                method_named(name, losses)
        except ValueError as error:
            self.error(str(error))

    def keys(self) -> list[str]:
        """Return the dotted names of all options."""
        return [action.dest for action in self._actions if action.option_strings]

    def _saved_options(self, words: Sequence[str]) -> list[str]:
        if self._saved is None:
            return []
        scout = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        scout.add_argument("--out", type=Path, default=None)
        scout.add_argument("--resume", nargs="?", const=True)
        known, _ = scout.parse_known_args(list(words))
        if not known.resume or known.out is None or not (known.out / self._saved).is_file():
            return []
        return [self._as_config(read_options(str(known.out / self._saved)))]

    def _translated(self, words: Sequence[str]) -> list[str]:
        """Return the words as jsonargparse expects them.

        Files and recipes are read here, values are translated by their option's type, and flags
        that are given twice, or have no effect, are refused.
        """
        types = self._types()
        # A word after a value may be the next one of a list, where no argument has a place of its
        # own among the flags.
        only_flags = all(action.option_strings for action in self._actions)
        translated: list[str] = []
        seen: set[str] = set()
        rest = deque(words)
        while rest:
            flag, equals, value = rest.popleft().partition("=")
            name = self._in_group(_new_name(flag))
            if not flag.startswith("--"):
                translated.append(flag + equals + value)
                continue
            key = name.removeprefix("--")
            if key in seen and flag not in _FILES:
                several = takes_several(types.get(key))
                instead = f"; several values are written {flag} a,b" if several else ""
                raise OptionError(f"{flag} is given twice: give it once{instead}")
            seen.add(key)
            if key in self._refused:
                raise OptionError(f"{flag} has no effect here: {self._refused[key]}")
            is_group = flag == _LOSSES or any(name.startswith(f"{key}.") for name in types)
            if is_group or flag in _FILES:
                given = value if equals or not rest else rest.popleft()
                found = read_options(_recipe(given) if flag == _RECIPE else given)
                translated.append(self._as_config({key: found} if is_group else found))
                continue
            values = [value] if equals else []
            hint = types.get(key)
            while rest and (takes_several(hint) or not values) and _is_value(rest[0]):
                if values and not (only_flags or _is_number(rest[0])):
                    break
                values.append(rest.popleft())
            if not values or hint is None:
                translated += [name + equals + value, *([] if equals else values)]
                continue
            one = typed(key, hint, ",".join(values))
            as_typed = one if isinstance(one, str) else as_flag(one)
            translated.append(f"{name}={as_typed}")
        return translated

    def _in_group(self, flag: str) -> str:
        """Return a flag without its group, such as ``--steps``, under its whole name.

        A name that several groups have is left as it is, and refused.
        """
        key, keys = flag.removeprefix("--"), self.keys()
        if not flag.startswith("--") or "." in key or key in keys:
            return flag
        leaf = _SHORT.get(key, key)
        found = [known for known in keys if known.rpartition(".")[2] == leaf]
        return f"--{found[0]}" if len(found) == 1 else flag

    def _as_config(self, options: dict[str, Any]) -> str:
        return f"--config={as_flag(with_typed_values(options, self._types()))}"

    def _types(self) -> dict[str, Any]:
        """Return the type of each option that has one, by its dotted name."""
        hints = {action.dest: getattr(action, "_typehint", None) for action in self._actions}
        return {name: hint for name, hint in hints.items() if hint is not None}


def _new_name(flag: str) -> str:
    """Return a flag of version 0.1 under its present name, with a warning."""
    group, dot, leaf = flag.removeprefix("--").partition(".")
    if not dot or not flag.startswith("--"):
        return flag
    from lossmaxpool.runs.config import RENAMED

    if group not in RENAMED:
        return flag
    name = f"--{RENAMED[group]}{dot}{leaf}"
    warnings.warn(f"{flag} is called {name} now", stacklevel=2)
    return name


def _recipe(name: str) -> str:
    # Imported here: the commands that take no recipe need none of the training libraries.
    from lossmaxpool.runs.config import recipe_file

    return str(recipe_file(name))


def _is_value(word: str) -> bool:
    return not word.startswith("-") or _is_number(word)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def nearest_option(given: str, known: Iterable[str]) -> str:
    """Return a sentence with the nearest options, or nothing.

    Args:
        given: What was written, e.g. "optimization.lrate" or "lr".

    Example:
        >>> nearest_option("lr", ["optimization.lr", "seed"])
        "; did you mean 'optimization.lr'?"
    """
    keys = list(known)
    leaf = given.rpartition(".")[2]
    # The right name in the wrong group comes first, then a mistyped one.
    near = [key for key in keys if key.rpartition(".")[2] == leaf]
    near = near or get_close_matches(given, keys, n=1, cutoff=0.7)
    if not near:
        leaves = {key.rpartition(".")[2]: key for key in keys}
        near = [leaves[name] for name in get_close_matches(leaf, leaves, n=1, cutoff=0.7)]
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
