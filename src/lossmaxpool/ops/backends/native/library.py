"""The compiled library: found beside this file, loaded once, when it is first needed."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

# Written by the package's build where it finds a C++ compiler.
PATH = Path(__file__).with_name("lossmaxpool_native.so")
SWITCH = "LOSSMAXPOOL_NATIVE"


class Strides(ctypes.Structure):
    """``Strides`` of cpp/problem.h."""

    _fields_ = [(name, ctypes.c_int64) for name in ("image", "channel", "row", "column")]


class Problem(ctypes.Structure):
    """``Problem`` of cpp/problem.h, field by field."""

    _fields_ = [
        *[
            (name, ctypes.c_void_p)
            for name in (
                "logits",
                "target",
                "weight",
                "losses",
                "gradient",
                "scratch",
                "grad_value",
                "packed",
            )
        ],
        *[
            (name, ctypes.c_int64)
            for name in (
                "logits_format",
                "target_format",
                "batch",
                "classes",
                "low_height",
                "low_width",
                "height",
                "width",
            )
        ],
        ("logits_strides", Strides),
        ("gradient_strides", Strides),
        *[(name, ctypes.c_int64) for name in ("ignore_index", "rows", "threads")],
        *[(name, ctypes.c_double) for name in ("label_smoothing", "exponent")],
    ]


class Found(NamedTuple):
    """The library, or why there is none."""

    library: ctypes.CDLL | None
    absence: str | None


@cache
def find() -> Found:
    """Load the library, once."""
    if os.environ.get(SWITCH, "1") == "0":
        return Found(None, f"the native kernels are switched off by {SWITCH}=0")
    if not PATH.is_file():
        return Found(
            None,
            "this installation was built without a C++ compiler, so it has no native kernels; "
            "install one (e.g. g++) and reinstall lossmaxpool from its source",
        )
    try:
        return Found(_open(), None)
    except OSError as error:
        return Found(None, f"the native kernels could not be loaded: {error}")


def _open() -> ctypes.CDLL:
    # The library names no OpenMP runtime of its own: it takes the one that torch has loaded, for
    # two of them in one process would fight for the cores.
    try:
        opened = ctypes.CDLL(str(PATH))
    except OSError as error:
        if "GOMP" not in str(error) and "omp_" not in str(error):
            raise
        ctypes.CDLL("libgomp.so.1", mode=ctypes.RTLD_GLOBAL)
        opened = ctypes.CDLL(str(PATH))
    problem, integer, real = ctypes.POINTER(Problem), ctypes.c_int64, ctypes.c_double
    pointer = ctypes.c_void_p
    for name in ("dense_losses", "upsampled_losses", "dense_gradient", "upsampled_gradient"):
        function = getattr(opened, f"lossmaxpool_{name}")
        function.argtypes = [problem]
        function.restype = None
    solve = opened.lossmaxpool_solve
    rows_of_losses = (pointer, pointer, integer, integer)  # losses, valid, rows, n
    solve.argtypes = [*rows_of_losses, real, real, real, integer, integer, pointer, pointer]
    solve.restype = None
    weigh = opened.lossmaxpool_weigh
    weigh.argtypes = [*rows_of_losses, pointer, real, integer, pointer]
    weigh.restype = None
    return opened
