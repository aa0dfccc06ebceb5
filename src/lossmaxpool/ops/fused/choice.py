"""Which backend computes a pixel loss, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, NamedTuple, cast, get_args

from torch import Tensor

from lossmaxpool.checks import check_choice
from lossmaxpool.ops.backends import Kernels
from lossmaxpool.ops.backends.native import support as native_support
from lossmaxpool.ops.backends.triton import support as triton_support

Backend = Literal["auto", "torch", "native", "triton"]

# Where the kernels are; imported when they are first used.
_KERNELS = {
    "triton": "lossmaxpool.ops.backends.triton.kernels",
    "native": "lossmaxpool.ops.backends.native.calls",
    "torch": "lossmaxpool.ops.fused.portable",
}
_ON_CPU_TRITON_IS_A_TEST = (
    "logits on the CPU would run in Triton's interpreter, which is for tests: "
    'ask for it with backend="triton"'
)


class Chosen(NamedTuple):
    """The backend that was chosen, and the module that holds its kernels."""

    name: str
    kernels: Kernels


@dataclass(frozen=True)
class Explanation:
    """What will compute a loss, and what spoke against the rest.

    Attributes:
        backend: "triton", "native" or "torch".
        reasons: for each of the three, why it runs or why it does not.
    """

    backend: str
    reasons: Mapping[str, str]

    def __str__(self) -> str:
        """One line per backend, the chosen one marked."""
        return "\n".join(
            f"{'->' if name == self.backend else '  '} {name:7} {reason}"
            for name, reason in self.reasons.items()
        )


def choose(logits: Tensor, target: Tensor, backend: str) -> Chosen:
    """The backend for these tensors.

    Raises:
        RuntimeError: one was asked for and cannot run on them.
    """
    if backend == "auto":
        refusals = ((name, _refusal(name, logits, target, asked=False)) for name in _KERNELS)
        backend = next(name for name, refusal in refusals if refusal is None)
    else:
        reason = _refusal(backend, logits, target, asked=True)
        if reason is not None:
            raise _cannot_run(backend, reason)
    return _load(backend)


def choose_solver(losses: Tensor, backend: str) -> Chosen:
    """The backend that solves and weighs (R, N) losses.

    Raises:
        RuntimeError: one was asked for and cannot.
    """
    if backend == "auto":
        native = losses.device.type == "cpu"
        fastest = "native" if native else "triton"
        backend = fastest if _refuses_losses(fastest, losses) is None else "torch"
    else:
        reason = _refuses_losses(backend, losses)
        if reason is not None:
            raise _cannot_run(backend, reason)
    return _load(backend)


def check_backend(backend: str) -> None:
    """Refuse a word that is no backend, and a backend that can take no tensor here."""
    check_choice("backend", backend, get_args(Backend))
    reason = absence(cast(Backend, backend))
    if reason is not None:
        raise _cannot_run(backend, reason)


def _load(backend: str) -> Chosen:
    return Chosen(backend, cast(Kernels, import_module(_KERNELS[backend])))


def _cannot_run(backend: str, reason: str) -> RuntimeError:
    return RuntimeError(
        f'backend="{backend}" cannot run: {reason}. Use "auto", which takes the fastest that can, '
        'or "torch".'
    )


def _refuses_losses(backend: str, losses: Tensor) -> str | None:
    """Why a backend cannot solve these losses; None: it can."""
    if backend == "native":
        return native_support.supports_solve(losses)
    if backend == "triton":
        return triton_support.supports_solve(losses)
    return None


def explain_backend(logits: Tensor, target: Tensor, backend: Backend = "auto") -> Explanation:
    """Say which backend the cross-entropy losses take for these tensors, and why.

    Args:
        logits: (B, C, *low) as the loss would get them.
        target: (B, *spatial) class ids, or (B, C, *spatial) probabilities.
        backend: what the loss was built with.

    Returns:
        An :class:`Explanation`; printing it shows the choice and the reasons.

    Raises:
        RuntimeError: a backend that cannot run on these tensors.
        ValueError: a word that is no backend.

    Example:
        >>> logits, target = torch.zeros(1, 3, 8, 8).double(), torch.zeros(1, 8, 8).long()
        >>> explain_backend(logits, target).backend
        'torch'
    """
    check_choice("backend", backend, get_args(Backend))
    chosen = choose(logits, target, backend)
    asked = backend != "auto"
    reasons = {}
    for name in _KERNELS:
        refusal = _refusal(name, logits, target, asked=asked and name == chosen.name)
        if refusal is not None:
            reasons[name] = f"does not run: {refusal}"
        elif name == chosen.name:
            reasons[name] = "is what was asked for" if asked else "is the fastest that can run"
        else:
            reasons[name] = "could run as well"
    return Explanation(chosen.name, reasons)


def absence(backend: Backend) -> str | None:
    """Why no tensors at all can be computed so on this machine; None: some can."""
    if backend == "native":
        return native_support.absence()
    if backend == "triton":
        return triton_support.absence()
    return None


def _refusal(name: str, logits: Tensor, target: Tensor, *, asked: bool) -> str | None:
    """Why a backend cannot run on these tensors; None: it can."""
    if name == "torch":
        return None
    if target.is_floating_point():
        return "target probabilities are computed by torch's own operations"
    if name == "native":
        return native_support.supports(logits, target, target.shape[1:])
    if not asked and logits.device.type == "cpu":
        return _ON_CPU_TRITON_IS_A_TEST
    return triton_support.supports(logits, target, target.shape[1:])
