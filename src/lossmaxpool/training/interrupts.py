"""Ctrl-C and SIGTERM at a moment when the state of a run is whole."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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
