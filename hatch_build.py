"""The build hook: compiles the native kernels where a C++ compiler is, and never needs one.

``CXX`` names the compiler. ``LOSSMAXPOOL_BUILD_NATIVE=0`` leaves the kernels out, ``=1`` makes it
an error if they cannot be built (as for released wheels); otherwise a pure Python wheel comes out,
which says at run time why it has none.
"""

from __future__ import annotations

import os
import runpy
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_NATIVE = Path("src", "lossmaxpool", "ops", "backends", "native")
_LIBRARY = _NATIVE / "lossmaxpool_native.so"
# By its path: the package cannot be imported here, torch is no requirement of the build.
_COMPILING = runpy.run_path(str(Path(__file__).resolve().parent / _NATIVE / "build.py"))
_build = _COMPILING["build"]


class NativeKernels(BuildHookInterface[Any]):
    """Adds the compiled kernels to a wheel, or to the source tree of an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; on success, mark the wheel as one for this platform."""
        wanted = os.environ.get("LOSSMAXPOOL_BUILD_NATIVE", "")
        library = Path(self.root, _LIBRARY)
        library.unlink(missing_ok=True)
        if wanted == "0":
            return
        try:
            _build(Path(self.root, _NATIVE, "cpp"), library)
        except _COMPILING["BuildError"] as failure:
            if wanted == "1":
                raise
            self.app.display_warning(f"Building without native kernels: {failure}")
            return
        build_data["artifacts"].append(_LIBRARY.as_posix())
        build_data["pure_python"] = False
        tag = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{tag}"
