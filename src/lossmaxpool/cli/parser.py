"""jsonargparse with a hint for a mistyped option, and with resuming."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from lossmaxpool.training.recipes import RECIPES, recipe_file

_RECIPE = "--recipe"
# How jsonargparse reports a word that is no option: as a flag, in a file, in a group of a file.
_UNKNOWN = (
    re.compile(r"unrecognized arguments: (?:.*? )?--([\w.-]+)"),
    re.compile(r"Option '([\w.-]+)' is not accepted"),
    re.compile(r"Group '([\w.-]+)' does not accept option '([\w.-]+)'"),
)


class CommandParser(ArgumentParser):
    """Typed options from flags and YAML files; a wrong one is answered with the nearest right one.

    Args:
        arguments: As for ``jsonargparse.ArgumentParser``.
    """

    def __init__(self, **arguments: Any) -> None:
        # An abbreviation would change its meaning with the next option that is added.
        super().__init__(allow_abbrev=False, **arguments)
        self._saved: str | None = None
        self._more_defaults: Callable[[Namespace], Mapping[str, Mapping[str, Any]]] | None = None

    def add_config_file(self) -> None:
        """Let a YAML file hold the options; flags after ``--config`` override it."""
        self.add_argument("--config", action="config", help="YAML file with these options")

    def add_recipe(self) -> None:
        """Let a YAML file of the package hold the options; what comes after it overrides it."""
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
            action="store_true",
            help=f"go on with what is in the folder, under the options of its {saved}",
        )

    def add_defaults(
        self, defaults: Callable[[Namespace], Mapping[str, Mapping[str, Any]]]
    ) -> None:
        """Take the defaults of some groups from what another option names.

        Args:
            defaults: From the parsed options to the values of groups; keys that are no options
                here are left out.
        """
        self._more_defaults = defaults

    def parse(self, words: Sequence[str]) -> Namespace:
        """Return the options with their dataclasses built."""
        parsed = self.parse_args([*self._saved_options(words), *_recipes_as_files(words)])
        if self._more_defaults is not None:
            found = self._more_defaults(parsed)
            known = set(self.keys())
            earlier = [
                f"--{group}.{key}={json.dumps(value) if not isinstance(value, str) else value}"
                for group, values in found.items()
                for key, value in values.items()
                if f"{group}.{key}" in known
            ]
            parsed = self.parse_args([*earlier, *words])
        if parsed.get("recipe") is not None:
            self.error("recipe is a flag, no key of a file: write --recipe, then --config")
        options: Namespace = self.instantiate(parsed)
        return options

    def error(self, message: str, *arguments: Any, **keywords: Any) -> NoReturn:
        """Say what is wrong, without the page of usage that would hide it, and leave."""
        unknown = [match for pattern in _UNKNOWN if (match := pattern.search(message))]
        hint = nearest_option(".".join(unknown[0].groups()), self.keys()) if unknown else ""
        sys.stderr.write(f"error: {message}{hint}\n{self.prog} --help lists the options\n")
        raise SystemExit(2)

    def keys(self) -> list[str]:
        """Return the dotted names of all options."""
        return [action.dest for action in self._actions if action.option_strings]

    def _saved_options(self, words: Sequence[str]) -> list[str]:
        if self._saved is None:
            return []
        scout = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        scout.add_argument("--out", type=Path, default=None)
        scout.add_argument("--resume", action="store_true")
        known, _ = scout.parse_known_args(list(words))
        if not known.resume or known.out is None or not (known.out / self._saved).is_file():
            return []
        return ["--config", str(known.out / self._saved)]


def _recipes_as_files(words: Sequence[str]) -> list[str]:
    """Put ``--config FILE`` where ``--recipe NAME`` stands: the later of two files overrides."""
    found: list[str] = []
    rest = iter(words)
    for word in rest:
        flag, equals, name = word.partition("=")
        if flag == _RECIPE:
            found += ["--config", str(recipe_file(name if equals else next(rest, "")))]
        else:
            found.append(word)
    return found


def nearest_option(given: str, known: Iterable[str]) -> str:
    """Return a sentence with the nearest options, or nothing.

    Args:
        given: What was written, e.g. "optimization.lrate" or "lr".
        known: The dotted names of the options.

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
