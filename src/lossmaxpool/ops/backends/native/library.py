"""The compiled library: located beside this file and loaded once, at its first use."""

from __future__ import annotations

import ctypes
import os
import warnings
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

# Written by the package's build if it finds a C++ compiler.
PATH = Path(__file__).with_name("lossmaxpool_native.so")
SWITCH = "LOSSMAXPOOL_NATIVE"
# Must equal kInterface of cpp/interface.h: checks that the library fits these Python files.
INTERFACE = 3


class CrossEntropy(ctypes.Structure):
    """``CrossEntropy`` of cpp/interface.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("logits", "target", "weight", "losses")),
        *((name, ctypes.c_void_p) for name in ("gradient", "scratch", "grad_value", "packed")),
        *((name, ctypes.c_void_p) for name in ("room", "value")),
        *((name, ctypes.c_int64) for name in ("logits_format", "target_format")),
        *((name, ctypes.c_int64) for name in ("batch", "classes", "low_height", "low_width")),
        *((name, ctypes.c_int64) for name in ("height", "width")),
        *((name, ctypes.c_int64 * 4) for name in ("logits_strides", "gradient_strides")),
        *((name, ctypes.c_int64) for name in ("ignore_index", "rows", "threads", "reduction")),
        *((name, ctypes.c_double) for name in ("label_smoothing", "p", "fraction", "least")),
        ("exponent", ctypes.c_double),
    ]


class Found(NamedTuple):
    """The loaded library, or the reason why it could not be loaded."""

    library: ctypes.CDLL | None
    absence: str | None
    process: int = 0  # the process that loaded it


@cache
def find() -> Found:
    """Load the library once. Warn about a library of another version and do not use it."""
    if os.environ.get(SWITCH, "1") == "0":
        return Found(None, f"the native kernels are switched off by {SWITCH}=0")
    if not PATH.is_file():
        return Found(
            None,
            "this installation was built without a C++ compiler, so it has no native kernels; "
            "install one (e.g. g++) and reinstall lossmaxpool from its source",
        )
    try:
        opened = _open()
    except OSError as error:
        return Found(None, f"the native kernels could not be loaded: {error}")
    try:
        _declare(opened)
    except _WrongInterfaceError as error:
        absence = (
            f"the native kernels in {PATH} were built for another version of lossmaxpool "
            f"({error}); reinstall lossmaxpool, in a checkout with: pip install -e ."
        )
        warnings.warn(f"{absence}. Until then torch's own operations serve.", stacklevel=2)
        return Found(None, absence)
    return Found(opened, None, os.getpid())


def threads() -> int:
    """The number of threads that a call may use.

    One in a forked child of the process that loaded the library: GNU's OpenMP does not restart its
    threads there, and a call that waits for them would hang. The result is the same.
    """
    return torch.get_num_threads() if find().process == os.getpid() else 1


class _WrongInterfaceError(Exception):
    pass


def _open() -> ctypes.CDLL:
    # The library is not linked to an OpenMP runtime: it uses the one that torch has loaded,
    # because two runtimes in one process would compete for the cores.
    try:
        return ctypes.CDLL(str(PATH))
    except OSError as error:
        if "GOMP" not in str(error) and "omp_" not in str(error):
            raise
        ctypes.CDLL("libgomp.so.1", mode=ctypes.RTLD_GLOBAL)
        return ctypes.CDLL(str(PATH))


def _declare(opened: ctypes.CDLL) -> None:
    """Compare the interface versions and declare the argument types of every function."""
    call, pointer = ctypes.POINTER(CrossEntropy), ctypes.c_void_p
    integer, real = ctypes.c_int64, ctypes.c_double
    rows_of_losses = (pointer, pointer, integer, integer)  # losses, valid, rows, n
    signatures = {
        **dict.fromkeys(
            ("dense_losses", "upsampled_losses", "dense_gradient", "upsampled_gradient"), (call,)
        ),
        "cross_entropy": (call,),
        "solve": (*rows_of_losses, real, real, real, integer, integer, pointer, pointer),
        "weigh": (*rows_of_losses, pointer, real, integer, pointer),
    }
    try:
        version = opened.lossmaxpool_interface
        version.argtypes, version.restype = [], integer
        if (found := version()) != INTERFACE:
            raise _WrongInterfaceError(f"interface {found}, expected {INTERFACE}")
        for name, arguments in signatures.items():
            function = getattr(opened, f"lossmaxpool_{name}")
            function.argtypes, function.restype = arguments, None
    except AttributeError as error:
        raise _WrongInterfaceError(f"it lacks a function: {error}") from error
