"""The command ``lossmaxpool``.

A command has a function of its name in ``arguments``, whose docstring describes it and which adds
its options, and one in ``trainings`` or ``networks``, which runs it and returns the exit status or
nothing for 0. The second is imported after the options are parsed, so that help and typing errors
come at once: torch and the training libraries take seconds.
"""

from __future__ import annotations

import importlib
import os
import select
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import getdoc

from lossmaxpool._version import __version__
from lossmaxpool.checks import did_you_mean

COMMANDS = {
    "demo": "compare loss max-pooling with cross-entropy on embedded street scenes, in minutes",
    "inspect": "class shares, rare classes and label problems of a data set, before any training",
    "train": "train one method with one seed",
    "compare": "train several methods under the same seeds and write a report",
    "sweep": "train a grid of methods, exponents, supports and seeds; a table and a plot",
    "evaluate": "mIoU, per-class IoU and calibration of a checkpoint",
    "calibrate": "a temperature that brings a checkpoint's confidence nearer to its accuracy",
    "explore": "a page with sliders: which weights p and m give to the losses of an image",
    "predict": "masks and overlays of a folder of images",
    "export": "a trained network as ONNX, torch.export or safetensors",
}
_TRAIN = frozenset({"demo", "train", "compare", "sweep"})
# The paper's tables and figures are beside the package and are not installed with it.
MOVED = {name: f"python -m reproduction {name}" for name in ("tables", "figures")}
INTERRUPTED = 130
# The status of a program in a shell that writes to a pipe whose reader has left.
CLOSED_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The words after ``lossmaxpool``; those of this process if None.

    Returns:
        The exit status: 0, 1 for an error, 2 for a mistake in the arguments, 130 for Ctrl-C, 141
        where the reader of the output left.

    Example:
        >>> main(["--version"])  # doctest: +ELLIPSIS
        lossmaxpool ...
        0
    """
    try:
        try:
            return _main(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_left():
            raise
        return CLOSED_PIPE


def _main(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(_overview())
        return 0
    if words[0] == "--version":
        sys.stdout.write(f"lossmaxpool {__version__}\n")
        return 0
    name, *rest = words
    if name not in COMMANDS:
        if name in MOVED:
            sys.stderr.write(
                f"error: {name!r} was removed in version 0.2: run `{MOVED[name]}` in a "
                "checkout of the source\n"
            )
            return 2
        hint = did_you_mean(name, COMMANDS)
        sys.stderr.write(f"error: there is no command {name!r}. {hint}\n\n{_overview()}")
        return 2
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        return _run(name, rest)


def _reader_left() -> bool:
    """Whether nothing reads the output any more, as after ``| head``; it goes nowhere from then on.

    Python would otherwise try to write the rest at its end, and print a trace.
    """
    output = sys.stdout.fileno()
    poll = select.poll()
    poll.register(output, select.POLLOUT)
    left = any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    if left:
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return left


def _warn(message: Warning | str, *where: object, **options: object) -> None:
    """Print a warning without the line of code that raised it."""
    sys.stderr.write(f"warning: {message}\n")


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join(
        [
            "usage: lossmaxpool COMMAND [options]",
            "",
            "Loss max-pooling for semantic segmentation (Rota Bulò, Neuhold, Kontschieder 2017).",
            "",
            *lines,
            "",
            "lossmaxpool COMMAND --help lists the options of a command.",
            "",
        ]
    )


@contextmanager
def _starting(name: str) -> Iterator[None]:
    """Show on a terminal that the command has begun, as its libraries take seconds to load."""
    shown = sys.stderr.isatty()
    if shown:
        sys.stderr.write(f"lossmaxpool {name}: starting ...")
        sys.stderr.flush()
    try:
        yield
    finally:
        if shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _run(name: str, words: list[str]) -> int:
    try:
        with _starting(name):
            from lossmaxpool.cli import arguments
            from lossmaxpool.cli.parser import CommandParser

        add_arguments = getattr(arguments, name)
        parser = CommandParser(prog=f"lossmaxpool {name}", description=getdoc(add_arguments))
        add_arguments(parser)
        options = parser.parse(words)
        with _starting(name):
            room = "trainings" if name in _TRAIN else "networks"
            run = getattr(importlib.import_module(f"lossmaxpool.cli.{room}"), name)
        status: int | None = run(options)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return INTERRUPTED
    except Exception as error:
        from lossmaxpool.runs import RunInterruptedError

        if isinstance(error, BrokenPipeError):
            raise
        if isinstance(error, RunInterruptedError):
            sys.stderr.write(f"{error}\n")
            return INTERRUPTED
        told = _for_people(error)
        if told is None:
            raise
        sys.stderr.write(f"error: {told}\n")
        return 1
    return status or 0


def _for_people(error: Exception) -> str | None:
    """The message of an expected error; None for a bug, of which the traceback is shown."""
    from lossmaxpool.data import DataError
    from lossmaxpool.runs import TrainingError

    if isinstance(error, TrainingError):
        return str(error)
    if isinstance(error, DataError):
        # Out of a loader's worker, torch sets the trace there before what the error says.
        return str(error).rpartition(f"{DataError.__name__}: ")[2].strip()
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    # An error raised by this package itself already says what to change.
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    origin = trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
    expected = isinstance(error, ValueError | RuntimeError | OSError)
    return str(error) if expected and origin.startswith("lossmaxpool.") else None
