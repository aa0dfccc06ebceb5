"""A stub of the one module without which MMSegmentation cannot be imported.

mmcv has no wheel of its compiled operators, and mmcv-lite leaves them out, but mmseg.models imports
them all. None of the tests calls one.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any


class _Operators(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def absent(*args: Any, **options: Any) -> None:
            raise NotImplementedError(f"mmcv-lite has no operator {name}")

        return absent


_mmcv = importlib.util.find_spec("mmcv")
if _mmcv and _mmcv.origin and not [*Path(_mmcv.origin).parent.glob("_ext.*")]:
    _stub = _Operators("mmcv._ext")
    _stub.__spec__ = importlib.machinery.ModuleSpec("mmcv._ext", None)
    sys.modules["mmcv._ext"] = _stub
