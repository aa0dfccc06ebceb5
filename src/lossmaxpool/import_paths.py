"""Objects by import path, as a configuration names them."""

from __future__ import annotations

import importlib
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
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{what} is {path!r}: importing {module_name} fails with "
            f"{type(error).__name__}: {reason}"
        ) from error
    if not hasattr(module, name):
        hint = did_you_mean(name, [known for known in vars(module) if not known.startswith("_")])
        raise ValueError(f"{what} is {path!r}: {module_name} has no {name}. {hint}".rstrip())
    return getattr(module, name)
