"""A launch whose numbers are known beforehand: nothing but the tensors differs between two calls.

Triton binds all arguments and derives what to compile from them at every launch, which takes the
host longer than the launch itself.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from triton import knobs
from triton.runtime import driver

# Triton compiles another kernel for a tensor whose address is not a multiple of this.
ALIGNMENT = 16


class Launch:
    """A kernel with its grid and all its arguments but the tensors, which are its first ones.

    The numbers decide what is compiled, together with the dtypes, the device and the alignment of
    the tensors. Whoever keeps a launch calls it with tensors of the same dtypes and device only;
    the compiled kernel is kept for aligned tensors, and others take Triton's own way.

    Args:
        kernel: a function of ``triton.jit``.
        grid: the number of programs along each axis.
        numbers: the arguments between the tensors and the constants.
        constants: by name, with ``num_warps``.
    """

    def __init__(
        self, kernel: Any, grid: tuple[int, ...], *numbers: float, **constants: Any
    ) -> None:
        x, y, z = (*grid, 1, 1)[:3]
        self._kernel, self._grid = kernel, (x, y, z)
        self._numbers, self._constants = numbers, constants
        self._compiled: Callable[..., object] | None = None
        self._tail: tuple[Any, ...] = ()
        self._bound: Callable[..., object] | None = None

    def __call__(self, *tensors: Tensor | None) -> None:
        aligned = all(x is None or x.data_ptr() % ALIGNMENT == 0 for x in tensors)
        if aligned and self._compiled is not None and not self._kernel.pre_run_hooks:
            self._compiled(*tensors, *self._tail)
            return
        compiled = self._kernel[self._grid](*tensors, *self._numbers, **self._constants)
        if aligned and compiled is not None:  # the interpreter compiles nothing
            names = self._kernel.arg_names[len(tensors) + len(self._numbers) :]
            self._tail = (*self._numbers, *(self._constants[name] for name in names))
            self._compiled, self._bound = compiled[self._grid], None
            self._handle = compiled

    def bound(self) -> Callable[..., object] | None:
        """``(stream, *addresses)``, once aligned tensors have been launched; None before.

        Nothing stands between it and the launch: it looks neither at the tensors, which may be
        given by their addresses, nor at hooks (see :func:`observed`).
        """
        if self._bound is None and self._compiled is not None:
            handle, (x, y, z), tail = self._handle, self._grid, self._tail
            run, function, metadata = handle.run, handle.function, handle.packed_metadata

            def launch(stream: int, *addresses: int | None) -> None:
                run(x, y, z, stream, function, metadata, None, None, None, *addresses, *tail)

            self._bound = launch
        return self._bound


def may_bind(device: torch.device, addresses: int) -> bool:
    """Whether bound launches may be used on a device, at addresses with these bits.

    They do not change the current device, are compiled for aligned addresses, and call no hooks.
    """
    if addresses % ALIGNMENT or observed():
        return False
    index = device.index  # None: the interpreter
    return index is None or bool(index == driver.active.get_current_device())


def observed() -> bool:
    """Whether something, such as a profiler, asks Triton to be called at every launch."""
    runtime = knobs.runtime
    return _calls(runtime.launch_enter_hook) or _calls(runtime.launch_exit_hook)


def _calls(hook: Any) -> bool:
    return hook is not None and bool(getattr(hook, "calls", True))


def current_stream(device: torch.device) -> int:
    """The stream of the device on which launches are put."""
    stream: int = driver.active.get_current_stream(device.index or 0)
    return stream


def on_device_of(tensor: Tensor) -> AbstractContextManager[object]:
    """Make the device of ``tensor`` the current one, on which kernels are launched."""
    if tensor.device.type == "cpu":  # the interpreter
        return nullcontext()
    guard: AbstractContextManager[object] = torch.get_device_module(tensor.device).device(
        tensor.device
    )
    return guard
