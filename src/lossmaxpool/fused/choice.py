"""Which implementation computes a pixel loss, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Literal, NamedTuple, get_args

from torch import Tensor

from lossmaxpool.checks import check_choice
from lossmaxpool.native import support as native_support
from lossmaxpool.triton_kernels import support as triton_support

Implementation = Literal["auto", "torch", "native", "triton"]

# Where the kernels are; imported when they are first used.
_KERNELS = {
    "triton": "lossmaxpool.triton_kernels.kernels",
    "native": "lossmaxpool.native.calls",
    "torch": "lossmaxpool.fused.portable",
}
_ON_CPU_TRITON_IS_A_TEST = (
    "logits on the CPU would run in Triton's interpreter, which is for tests: "
    'ask for it with implementation="triton"'
)


class Chosen(NamedTuple):
    """The implementation that was chosen, and the module that holds its kernels."""

    name: str
    kernels: ModuleType


@dataclass(frozen=True)
class Explanation:
    """What will compute a loss, and what spoke against the rest.

    Attributes:
        implementation: "triton", "native" or "torch".
        reasons: for each of the three, why it runs or why it does not.
    """

    implementation: str
    reasons: Mapping[str, str]

    def __str__(self) -> str:
        """One line per implementation, the chosen one marked."""
        return "\n".join(
            f"{'->' if name == self.implementation else '  '} {name:7} {reason}"
            for name, reason in self.reasons.items()
        )


def choose(logits: Tensor, target: Tensor, implementation: str) -> Chosen:
    """The implementation for these tensors.

    Raises:
        RuntimeError: one was asked for and cannot run on them.
    """
    if implementation == "auto":
        refusals = ((name, _refusal(name, logits, target, asked=False)) for name in _KERNELS)
        implementation = next(name for name, refusal in refusals if refusal is None)
    else:
        reason = _refusal(implementation, logits, target, asked=True)
        if reason is not None:
            raise RuntimeError(
                f'implementation="{implementation}" cannot run: {reason}. Use "auto", which takes '
                "the fastest that can."
            )
    return Chosen(implementation, import_module(_KERNELS[implementation]))


def explain_implementation(
    logits: Tensor, target: Tensor, implementation: Implementation = "auto"
) -> Explanation:
    """Say which implementation the cross-entropy losses take for these tensors, and why.

    Args:
        logits: (B, C, *low) as the loss would get them.
        target: (B, *spatial) class ids, or (B, C, *spatial) probabilities.
        implementation: what the loss was built with.

    Returns:
        An :class:`Explanation`; printing it shows the choice and the reasons.

    Raises:
        RuntimeError: an implementation that cannot run on these tensors.
        ValueError: a word that is no implementation.

    Example:
        >>> logits, target = torch.zeros(1, 3, 8, 8).double(), torch.zeros(1, 8, 8).long()
        >>> explain_implementation(logits, target).implementation
        'torch'
    """
    check_choice("implementation", implementation, get_args(Implementation))
    chosen = choose(logits, target, implementation)
    asked = implementation != "auto"
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


def absence(implementation: Implementation) -> str | None:
    """Why no tensors at all can be computed so on this machine; None: some can."""
    if implementation == "native":
        return native_support.absence()
    if implementation == "triton":
        return triton_support.absence()
    return None


def _refusal(name: str, logits: Tensor, target: Tensor, *, asked: bool) -> str | None:
    """Why an implementation cannot run on these tensors; None: it can."""
    if name == "torch":
        return None
    if target.is_floating_point():
        return "target probabilities are computed by torch's own operations"
    if name == "native":
        return native_support.supports(logits, target, target.shape[1:])
    if not asked and logits.device.type == "cpu":
        return _ON_CPU_TRITON_IS_A_TEST
    return triton_support.supports(logits, target, target.shape[1:])
