"""Make child processes end with their parent, even if the parent is killed."""

from __future__ import annotations

import ctypes
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

# From <sys/prctl.h>.
_PR_SET_PDEATHSIG = 1
# Polling interval for the parent in seconds, where the kernel sends no signal.
_INTERVAL = 1.0


def begin_worker(worker: int) -> None:
    """Prepare a data loading process; used as ``worker_init_fn`` of a ``DataLoader``.

    Workers ignore Ctrl-C, which reaches every process of a terminal: the main process stops them.
    If the main process is killed, the worker ends; a plain torch worker could block forever on its
    unread batches.

    Args:
        worker: Its number.
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
