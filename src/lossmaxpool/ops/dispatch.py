"""Selection of the backend; the only module that knows all three."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Literal, cast, get_args

from torch import Tensor

from lossmaxpool.checks import check_choice
from lossmaxpool.ops.backends import Kernels, native
from lossmaxpool.ops.backends.triton import support as triton_support

Backend = Literal["auto", "torch", "native", "triton"]
_WORDS = get_args(Backend)

# Backend modules, fastest first; imported on first use.
_KERNELS = {
    "triton": "lossmaxpool.ops.backends.triton.kernels",
    "native": "lossmaxpool.ops.backends.native",
    "torch": "lossmaxpool.ops.backends.torch",
}
_ON_CPU_TRITON_IS_A_TEST = (
    "logits on the CPU would run in Triton's interpreter, which is for tests: "
    'ask for it with backend="triton"'
)


@dataclass(frozen=True)
class Explanation:
    """The backend that computes a loss, with a reason for or against each backend.

    Attributes:
        backend: "triton", "native" or "torch".
        reasons: for each of the three, why it runs or why it does not.
    """

    backend: str
    reasons: Mapping[str, str]

    def __str__(self) -> str:
        """One line per backend; the chosen one is marked."""
        return "\n".join(
            f"{'->' if name == self.backend else '  '} {name:7} {reason}"
            for name, reason in self.reasons.items()
        )


def choose(logits: Tensor, target: Tensor, backend: str) -> str:
    """The backend that computes the cross-entropy of these tensors.

    Raises:
        RuntimeError: the requested backend cannot run on them.
    """
    if backend == "auto":
        refusals = ((name, _refuses(name, logits, target, asked=False)) for name in _KERNELS)
        return next(name for name, refusal in refusals if refusal is None)
    _raise_if(backend, _refuses(backend, logits, target, asked=True))
    return backend


def choose_solver(losses: Tensor, backend: str) -> str:
    """The backend that solves (R, N) losses and computes their weights.

    Raises:
        RuntimeError: the requested backend cannot.
    """
    if backend == "auto":
        fastest = "native" if losses.device.type == "cpu" else "triton"
        return fastest if _refuses_losses(fastest, losses) is None else "torch"
    _raise_if(backend, _refuses_losses(backend, losses))
    return backend


@cache
def kernels(backend: str) -> Kernels:
    """The stages of the backend "torch", "native" or "triton"."""
    return cast(Kernels, import_module(_KERNELS[backend]))


def explain_backend(logits: Tensor, target: Tensor, backend: Backend = "auto") -> Explanation:
    """Explain which backend the cross-entropy losses use for these tensors.

    Args:
        logits: (B, C, *low), as passed to the loss.
        target: (B, *spatial) class ids, or (B, C, *spatial) probabilities.
        backend: the ``backend`` option of the loss.

    Returns:
        An :class:`Explanation`; printing it shows the choice and the reasons.

    Raises:
        RuntimeError: a backend that cannot run on these tensors.
        ValueError: an unknown backend.

    Example:
        >>> logits, target = torch.zeros(1, 3, 8, 8).double(), torch.zeros(1, 8, 8).long()
        >>> explain_backend(logits, target).backend
        'torch'
    """
    check_choice("backend", backend, _WORDS)
    chosen = choose(logits, target, backend)
    asked = backend != "auto"
    reasons = {}
    for name in _KERNELS:
        refusal = _refuses(name, logits, target, asked=asked and name == chosen)
        if refusal is not None:
            reasons[name] = f"does not run: {refusal}"
        elif name == chosen:
            reasons[name] = "is what was asked for" if asked else "is the fastest that can run"
        else:
            reasons[name] = "could run as well"
    return Explanation(chosen, reasons)


def check_backend(backend: str) -> None:
    """Raise for an unknown backend, and for one that cannot run on this machine."""
    check_choice("backend", backend, _WORDS)
    _raise_if(backend, absence(backend))


def absence(backend: str) -> str | None:
    """The reason why a backend cannot run on this machine at all; None if it can."""
    if backend == "native":
        return native.absence()
    if backend == "triton":
        return triton_support.absence()
    return None


def _raise_if(backend: str, reason: str | None) -> None:
    if reason is not None:
        raise RuntimeError(
            f'backend="{backend}" cannot run: {reason}. Use "auto", which takes the fastest that '
            'can, or "torch".'
        )


def _refuses(name: str, logits: Tensor, target: Tensor, *, asked: bool) -> str | None:
    """The reason why a backend cannot compute these tensors' cross-entropy; None if it can."""
    if name == "torch":
        return None
    if target.is_floating_point():
        return "target probabilities are computed by torch's own operations"
    if name == "native":
        return native.supports(logits, target, target.shape[1:])
    if not asked and logits.device.type == "cpu":
        return _ON_CPU_TRITON_IS_A_TEST
    return triton_support.supports(logits, target, target.shape[1:])


def _refuses_losses(backend: str, losses: Tensor) -> str | None:
    """The reason why a backend cannot solve these losses; None if it can."""
    if backend == "native":
        return native.supports_solve(losses)
    if backend == "triton":
        return triton_support.supports_solve(losses)
    return None
