"""The only tolerance table; every row says why it is what it is."""

from __future__ import annotations

import torch

# Solver against the float64 oracle: value relative, weights relative to their cap tau.
# float64: q = 10^4 turns one unit in the last place of alpha (1e-16) into 1e-12 of a weight;
# the rest is room for sums over 10^7 pixels. float32: the loss itself carries 6e-8, the fused
# power (l/alpha)^(q-1) a few units in the last place.
SOLVER = {torch.float64: 1e-9, torch.float32: 2e-6}

# Feasibility of the weights, relative to gamma and tau: rounding of the weights alone.
FEASIBLE = {torch.float64: 1e-9, torch.float32: 1e-6}

# Duality gap, relative to the value: two different sums over the same pixels.
GAP = {torch.float64: 1e-9, torch.float32: 2e-6}
