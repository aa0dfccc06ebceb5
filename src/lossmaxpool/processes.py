"""How processes end: at Ctrl-C and SIGTERM with their state whole, children with their parent."""

from __future__ import annotations

import ctypes
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# From <sys/prctl.h>.
_PR_SET_PDEATHSIG = 1
# Polling interval for the parent in seconds, where the kernel sends no signal.
_INTERVAL = 1.0


def begin_worker(worker: int) -> None:
    """Prepare a data loading process; used as ``worker_init_fn`` of a ``DataLoader``.

    Workers ignore Ctrl-C, which reaches every process of a terminal: the main process stops them.
    If the main process is killed, the worker ends; a plain torch worker could block forever on its
    unread batches.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def end_with_parent() -> None:
    """Kill this process as soon as its parent ends, even by ``kill -9``.

    On Linux the kernel sends the signal, which also ends a process that hangs in a library call.
    Elsewhere, and under a fork server, a thread waits for the parent to end.
    """
    starter = multiprocessing.parent_process()
    if starter is not None and starter.pid != os.getppid():
        # A fork server is the direct parent, or the parent has already ended.
        sentinel = starter.sentinel
        _in_background(lambda: multiprocessing.connection.wait([sentinel]))
        return
    parent = os.getppid()
    if not _ask_the_kernel():
        _in_background(lambda: _poll(parent))
    if os.getppid() != parent:
        # The parent ended before the request took effect.
        _end()


def _ask_the_kernel() -> bool:
    """Request a signal at the parent's death; return False where this is not possible."""
    if sys.platform != "linux":
        return False
    try:
        status: int = ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    except (OSError, AttributeError):
        return False
    return status == 0


def _in_background(wait: Callable[[], object]) -> None:
    def watch() -> None:
        wait()
        _end()

    threading.Thread(target=watch, daemon=True).start()


def _poll(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_INTERVAL)


def _end() -> None:
    # Not `sys.exit`: its cleanup would block until the parent has read the queues.
    os._exit(1)


class Interrupt:
    """Whether somebody asked the run to stop."""

    def __init__(self) -> None:
        self.requested = False


@contextmanager
def postponed_interrupt() -> Iterator[Interrupt]:
    """Turn the first Ctrl-C into a request, which is answered between two steps.

    An exception in the middle of a step would leave weights half updated. The second Ctrl-C says
    what is lost and raises KeyboardInterrupt. SIGTERM, which a cluster sends before it takes a
    machine back, is a request, too; the second one ends the process. A signal that the process was
    started to ignore, as a shell does for Ctrl-C in its background jobs, stays ignored. Outside the
    main thread, where Python delivers no signal, nothing changes.
    """
    interrupt = Interrupt()

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stderr.write(
            "\nstopped at once: the steps after the last checkpoint are lost; --resume goes on "
            "from it\n"
        )
        raise KeyboardInterrupt

    def request(number: int, frame: FrameType | None) -> None:
        interrupt.requested = True
        by_keyboard = number == signal.SIGINT
        signal.signal(number, stop if by_keyboard else signal.SIG_DFL)
        again = "; Ctrl-C again stops at once" if by_keyboard else ""
        sys.stderr.write(f"\nstopping after this step (or evaluation), with a checkpoint{again}\n")

    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    earlier = {
        number: signal.signal(number, request)
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield interrupt
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
