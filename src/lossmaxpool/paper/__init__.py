"""The mathematics of Rota Bulò et al. 2017 in float64 NumPy, named as in the paper: the oracle.

``weighting_set`` holds Eq. 5, ``algorithm1`` the sorting algorithm, ``dual`` Eq. 6 to 9 and
``theorems`` the closed forms of Theorems 1 and 2. ``docs/paper.md`` maps every equation to its
function and its test; ``docs/errata.md`` lists points the paper leaves open and the choices made.
"""

from __future__ import annotations

from lossmaxpool.paper import algorithm1, dual, theorems, weighting_set

__all__ = ["algorithm1", "dual", "theorems", "weighting_set"]
