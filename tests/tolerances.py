"""The only tolerance table; every row says why it is what it is."""

from __future__ import annotations

import torch

# Solver against the float64 oracle: value relative, weights relative to their cap tau.
# float64: q = 10^4 turns one unit in the last place of alpha (1e-16) into 1e-12 of a weight;
# the rest is room for sums over 10^7 pixels. float32: the loss itself carries 6e-8, the fused
# power (l/alpha)^(q-1) a few units in the last place.
SOLVER = {torch.float64: 1e-9, torch.float32: 2e-6}

# float32 on another SIMD lane: a vectorised power differs from its scalar tail in its last places.
LAST_PLACES = 1e-6

# Feasibility of the weights, relative to gamma and tau: rounding of the weights alone.
FEASIBLE = {torch.float64: 1e-9, torch.float32: 1e-6}

# Duality gap, relative to the value: two different sums over the same pixels.
GAP = {torch.float64: 1e-9, torch.float32: 2e-6}

# Closed form against the primal solved numerically, relative to the value: Clarabel stops at a gap
# of 1e-8, SLSQP as near, HiGHS at a reduced cost of 1e-7 (relative to the largest loss).
CONVEX_PROGRAM = 1e-6

# The same, weights relative to tau: an error e of the value moves the maximiser by about sqrt(e).
CONVEX_PROGRAM_WEIGHTS = 1e-3

# The oracle against its own formulas: alpha*, value, gap relative, weights relative to tau. The sum
# of 10^3 losses or powers, rounded a few times on its way.
ORACLE = 1e-13

# eta(alpha*) over m alpha*^q: one unit in the last place of alpha* times q = 10^4.
ORACLE_ROOT = 1e-11

# A crop with and without ignored pixels: the valid ones lie on other SIMD lanes and in other
# partial sums, so that the loss and its gradient differ in their last places, and in no more.
PADDING = 1e-6

# Gradients with respect to float32 logits, where the two ways round before the pixel losses: a loss
# of margin 10 is off by 1e-6, and its weight, a power of it, by a few times that.
FROM_LOGITS = 1e-5

# Gradients written in the logits' own dtype: half a unit in its last place, of the largest entry.
HALF_GRADIENT = {torch.float64: 1e-12, torch.float16: 5e-4, torch.bfloat16: 4e-3}

# A figure computed again from a committed result: a least-squares fit rounds its last bits as the
# instruction set of the machine has it.
RECOMPUTED = 1e-9
