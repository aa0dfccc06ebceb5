"""The build hook: compiles the native kernels where a C++ compiler is, and never needs one.

``CXX`` names the compiler. ``LOSSMAXPOOL_BUILD_NATIVE=0`` leaves the kernels out, ``=1`` makes it
an error if they cannot be built (as for released wheels); otherwise a pure Python wheel comes out,
which says at run time why it has none.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_NATIVE = Path("src", "lossmaxpool", "ops", "backends", "native")
_LIBRARY = _NATIVE / "lossmaxpool_native.so"
_FLAGS = [
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    # Selects instead of branches; NaN and infinity keep their meaning.
    "-fno-math-errno",
    "-fno-trapping-math",
]
# Threads, and without them at least vectors.
_THREADS = "-fopenmp"
_VECTORS = "-fopenmp-simd"
_X86 = {
    "plain": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": [
        *["-mavx2", "-mfma", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"],
        "-mprefer-vector-width=512",
    ],
}


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
        except (OSError, subprocess.CalledProcessError) as error:
            if wanted == "1":
                raise
            output = getattr(error, "stderr", "") or ""
            self.app.display_warning(f"Building without native kernels: {error}\n{output}")
            return
        build_data["artifacts"].append(_LIBRARY.as_posix())
        build_data["pure_python"] = False
        tag = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{tag}"


def _build(sources: Path, library: Path) -> None:
    compiler = _compiler()
    parallel = _THREADS if _has_threads(compiler) else _VECTORS
    with tempfile.TemporaryDirectory() as folder:
        objects = []
        for name, source, flags in _units(sources):
            unit = str(Path(folder, f"{name}.o"))
            _run([*compiler, *_FLAGS, parallel, *flags, "-c", str(source), "-o", unit])
            objects.append(unit)
        # No OpenMP runtime is named: the one that torch brings serves (see native/library.py).
        undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
        built = str(Path(folder, library.name))
        _run([*compiler, "-shared", *undefined, *objects, "-o", built])
        shutil.copyfile(built, library)


def _units(sources: Path) -> list[tuple[str, Path, list[str]]]:
    """What to compile: object name, source, flags of its own."""
    x86 = platform.machine().lower() in ("x86_64", "amd64") and "arm64" not in os.environ.get(
        "ARCHFLAGS", ""
    )
    shared = ["-DLOSSMAXPOOL_X86"] if x86 else []
    units = [(s.stem, s, shared) for s in sorted(sources.glob("*.cpp")) if s.stem != "kernels"]
    for name, flags in (_X86 if x86 else {"plain": []}).items():
        table = f"-DLOSSMAXPOOL_TABLE=kernels_{name}"
        units.append((f"kernels_{name}", sources / "kernels.cpp", [table, *flags]))
    return units


def _compiler() -> list[str]:
    named = os.environ.get("CXX")
    if named:
        return shlex.split(named)
    for name in ("c++", "g++", "clang++"):
        if shutil.which(name):
            return [name]
    raise FileNotFoundError("no C++ compiler (c++, g++, clang++) on the PATH; CXX names another")


def _has_threads(compiler: list[str]) -> bool:
    """Whether the compiler's threads are those of GNU's OpenMP, which torch brings on Linux.

    Apple's compiler has none; clang's need a runtime of their own, which would fight with torch's.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, unit = Path(folder, "probe.cpp"), Path(folder, "probe.o")
        source.write_text("void f(int *x) {\n#pragma omp parallel\n  ++*x;\n}\n")
        command = [*compiler, _THREADS, "-c", str(source), "-o", str(unit)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            return False
        return b"GOMP_parallel" in unit.read_bytes()


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
