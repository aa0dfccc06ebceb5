"""Compiles the C++ library, and the same sources under sanitizers. Needs Python and a compiler.

``hatch_build.py`` loads this file by its path while a wheel is built; ``make sanitize`` runs it::

    python src/lossmaxpool/ops/backends/native/build.py tests/ops/native/driver.cpp

``CXX`` names the compiler.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

SOURCES = Path(__file__).with_name("cpp")
_FLAGS = [
    "-std=c++17",
    "-fPIC",
    "-fvisibility=hidden",
    # Allow selects instead of branches; NaN and infinity keep their semantics.
    "-fno-math-errno",
    "-fno-trapping-math",
]
# OpenMP threads, or only SIMD if threads are not available.
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
_SANITIZERS = [
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
    "-g",
]


class BuildError(Exception):
    """The compiler is missing or failed."""


class _Unit(NamedTuple):
    name: str
    source: Path
    flags: list[str]


def build(sources: Path, library: Path) -> None:
    """Compile and link the library.

    Args:
        sources: the folder of the C++ files.
        library: the file to write.

    Raises:
        BuildError: the compiler is missing, or could not compile the sources.
    """
    compiler = _compiler()
    parallel = _THREADS if _has_threads(compiler) else _VECTORS
    # Do not link an OpenMP runtime: the one that torch ships is used (see library.py).
    undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    with tempfile.TemporaryDirectory() as folder:
        objects = _compile([*compiler, *_FLAGS, "-O3", parallel], _units(sources), Path(folder))
        built = str(Path(folder, library.name))
        _run([*compiler, "-shared", *undefined, *objects, "-o", built])
        library.unlink(missing_ok=True)  # replace, do not overwrite: a process may have it loaded
        shutil.copyfile(built, library)


def sanitize(sources: Path, driver: Path) -> int:
    """Compile the sources and a driver with address and undefined-behavior sanitizers and run it.

    Returns:
        The driver's exit status; also 0, with a message, if there is no compiler or sanitizer,
        unless ``LOSSMAXPOOL_BUILD_NATIVE=1`` requires them.
    """
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder, "driver"))
        try:
            compiler = _compiler()
            _probe_sanitizers(compiler, Path(folder))
        except BuildError as failure:
            sys.stderr.write(f"sanitize: skipped, nothing was checked: {failure}\n")
            return int(os.environ.get("LOSSMAXPOOL_BUILD_NATIVE") == "1")
        parallel = _THREADS if _has_threads(compiler) else _VECTORS
        flags = [*_FLAGS, "-O1", parallel, *_SANITIZERS]
        units = [*_units(sources), _Unit("driver", driver, [f"-I{sources}", *_defines()])]
        try:
            objects = _compile([*compiler, *flags], units, Path(folder))
            _run([*compiler, *_SANITIZERS, parallel, *objects, "-o", program])
        except BuildError as failure:
            sys.stderr.write(f"sanitize: {failure}\n")
            return 1
        environment = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"}
        return subprocess.run([program], env=environment, check=False).returncode


def _defines() -> list[str]:
    x86 = platform.machine().lower() in ("x86_64", "amd64") and "arm64" not in os.environ.get(
        "ARCHFLAGS", ""
    )
    return ["-DLOSSMAXPOOL_X86"] if x86 else []


def _units(sources: Path) -> list[_Unit]:
    """The files to compile. kernels.cpp is compiled once per instruction set."""
    defines = _defines()
    units = [
        _Unit(s.stem, s, defines) for s in sorted(sources.glob("*.cpp")) if s.stem != "kernels"
    ]
    for name, flags in (_X86 if defines else {"plain": []}).items():
        table = f"-DLOSSMAXPOOL_TABLE=kernels_{name}"
        units.append(_Unit(f"kernels_{name}", sources / "kernels.cpp", [table, *flags]))
    return units


def _compile(command: list[str], units: list[_Unit], folder: Path) -> list[str]:
    """Compile all units, one job per core, and return the object files."""
    objects = [str(folder / f"{unit.name}.o") for unit in units]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        commands = [
            [*command, *unit.flags, "-c", str(unit.source), "-o", built]
            for unit, built in zip(units, objects, strict=True)
        ]
        list(pool.map(_run, commands))
    return objects


def _compiler() -> list[str]:
    named = os.environ.get("CXX")
    if named:
        return shlex.split(named)
    for name in ("c++", "g++", "clang++"):
        if shutil.which(name):
            return [name]
    raise BuildError("no C++ compiler (c++, g++, clang++) on the PATH; CXX names another")


def _has_threads(compiler: list[str]) -> bool:
    """Whether the compiler uses GNU's OpenMP runtime, which torch ships on Linux.

    Apple's compiler has no OpenMP; clang needs its own runtime, which would conflict with torch's.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, unit = Path(folder, "probe.cpp"), Path(folder, "probe.o")
        source.write_text("void f(int *x) {\n#pragma omp parallel\n  ++*x;\n}\n")
        try:
            _run([*compiler, _THREADS, "-c", str(source), "-o", str(unit)])
        except BuildError:
            return False
        return b"GOMP_parallel" in unit.read_bytes()


def _probe_sanitizers(compiler: list[str], folder: Path) -> None:
    """Raise BuildError if the compiler cannot build and run a program with the sanitizers."""
    source, program = folder / "probe.cpp", str(folder / "probe")
    source.write_text("int main() { return 0; }\n")
    _run([*compiler, *_SANITIZERS, str(source), "-o", program])
    _run([program])


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except OSError as error:
        raise BuildError(f"{command[0]} does not run: {error}") from error
    except subprocess.CalledProcessError as error:
        output = f"{error.stdout}{error.stderr}".strip()
        raise BuildError(f"{shlex.join(command)} failed ({error.returncode}):\n{output}") from error


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} DRIVER.cpp")
    sys.exit(sanitize(SOURCES, Path(sys.argv[1])))
