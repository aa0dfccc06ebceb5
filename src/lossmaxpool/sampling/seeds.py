"""Randomness as a function: integers are hashed, and no random state exists.

Whatever is drawn from (seed, step, slot, purpose) is the same in any process and in any order.
"""

from __future__ import annotations

_MASK = (1 << 64) - 1
_BITS = 63


def mix(*values: int) -> int:
    """Hash integers to 63 well-mixed bits (splitmix64): neighbouring steps get unrelated seeds.

    Args:
        values: Any integers; their order matters.

    Returns:
        An integer in [0, 2**63), the range that ``torch.Generator.manual_seed`` takes.

    Example:
        >>> mix(0, 1) != mix(1, 0)
        True
    """
    state = 0
    for value in values:
        state = (state ^ (value & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state >> 1


def below(bound: int, *key: int) -> int:
    """The integer in [0, bound) that belongs to a key, uniform over keys.

    Args:
        bound: A positive integer.
        *key: Any integers; their order matters.

    Example:
        >>> 0 <= below(10, 1, 2, 3) < 10
        True
    """
    # The high bits of a product instead of a remainder: uniform up to bound / 2**63.
    return mix(*key) * bound >> _BITS


def fraction(*key: int) -> float:
    """The number in [0, 1) that belongs to a key, uniform over keys.

    Args:
        *key: Any integers; their order matters.
    """
    return (mix(*key) >> _BITS - 53) / (1 << 53)  # 53 bits: every value is a float, none is 1
