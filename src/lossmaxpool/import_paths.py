"""Objects by import path, as a configuration names them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from lossmaxpool.checks import did_you_mean


def import_path(path: str, what: str) -> Any:
    """Return the object that an import path names.

    Args:
        path: ``package.module.Name``, or ``package.module:name``.
        what: The option that holds it, for messages.

    Raises:
        ValueError: The module or the name in it does not exist, or importing it fails.

    Example:
        >>> import_path("torch.nn.CrossEntropyLoss", "class_path").__name__
        'CrossEntropyLoss'
    """
    module_name, _, name = path.rpartition(":" if ":" in path else ".")
    if not module_name or not name:
        raise ValueError(f"{what} is {path!r}: expected an import path such as package.module.Name")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        advice = (
            f"install {missing.partition('.')[0]}, or put its folder on PYTHONPATH"
            if "." not in missing
            else "correct the path"
        )
        raise ValueError(f"{what} is {path!r}: there is no module {missing}; {advice}") from error
    except Exception as error:  # whatever the module does while it is imported
        raise ValueError(
            f"{what} is {path!r}: importing {module_name} fails with {reason_of(error)}"
        ) from error
    if not hasattr(module, name):
        hint = did_you_mean(name, [known for known in vars(module) if not known.startswith("_")])
        raise ValueError(f"{what} is {path!r}: {module_name} has no {name}. {hint}".rstrip())
    return getattr(module, name)


def parameters_of(factory: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a class or a function by name; none where it does not say."""
    try:
        return inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return {}


def needed(factory: Callable[..., Any]) -> list[str]:
    """Return the names of the parameters without which a class or a function cannot be called.

    Example:
        >>> needed(int.from_bytes), needed(needed)
        (['bytes'], ['factory'])
    """
    return [
        name
        for name, each in parameters_of(factory).items()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]


def check_arguments(
    path: str, factory: Callable[..., Any], given: Collection[str], where: str, skip: int = 0
) -> None:
    """Refuse arguments that a class or a function says it does not take, or does not get.

    Args:
        where: The option that holds them, for the message.
        skip: Parameters at its beginning that are filled otherwise.

    Raises:
        ValueError: One of them is not among its parameters, and it takes no others by ``**``; or it
            needs another one.
    """
    known = parameters_of(factory)
    own = dict(list(known.items())[skip:])
    if known and not any(each.kind is each.VAR_KEYWORD for each in known.values()):
        for name in given:
            if name not in own:
                raise ValueError(
                    f"{path} takes no {name}. {did_you_mean(name, own)} "
                    f"There are: {', '.join(own)}."
                )
    missing = [name for name in needed(factory)[skip:] if name not in given]
    if missing:
        raise ValueError(f"{path} needs {' and '.join(missing)}: add it to {where}")


def kind_of(value: object) -> str:
    """Return what another library gave: "a tensor of shape (2, 3)", or "a dict".

    Example:
        >>> kind_of({}), kind_of(1.5)
        ('a dict', 'a float')
    """
    kind, shape = type(value).__name__, getattr(value, "shape", None)
    return f"a {kind}" if shape is None else f"a {kind.lower()} of shape {tuple(shape)}"


def reason_of(error: Exception) -> str:
    """Return what an error of another library says, as the end of a line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
