"""All tolerances of the tests, with the reason for each value."""

from __future__ import annotations

import torch

# Solver against the float64 oracle: value relative, weights relative to their cap tau.
# float64: q = 10^4 turns one unit in the last place of alpha (1e-16) into 1e-12 of a weight;
# the rest is room for sums over 10^7 pixels. float32: the loss itself carries 6e-8, the fused
# power (l/alpha)^(q-1) a few units in the last place.
SOLVER = {torch.float64: 1e-9, torch.float32: 2e-6}

# The function for JAX against the oracle, value relative and weights relative to their cap: its
# powers are computed in logarithms, whose rounding q = 10^4 multiplies. In float32, for q <= 100.
JAX = {"float64": 1e-8, "float32": 2e-5}

# float32 on another SIMD lane: a vectorized power differs from its scalar tail in its last places.
LAST_PLACES = 1e-6

# Feasibility of the weights, relative to gamma and tau: rounding of the weights alone.
FEASIBLE = {torch.float64: 1e-9, torch.float32: 1e-6}

# Duality gap, relative to the value: two different sums over the same pixels.
GAP = {torch.float64: 1e-9, torch.float32: 2e-6}

# Closed form against the primal solved numerically, relative to the value: Clarabel stops at a gap
# of 1e-8, SLSQP as near, HiGHS at a reduced cost of 1e-7 (relative to the largest loss).
CONVEX_PROGRAM = 1e-6

# The same, weights relative to tau: an error e of the value moves the maximizer by about sqrt(e).
CONVEX_PROGRAM_WEIGHTS = 1e-3

# The oracle against its own formulas: alpha*, value, gap relative, weights relative to tau. The sum
# of 10^3 losses or powers, rounded a few times on its way.
ORACLE = 1e-13

# eta(alpha*) over m alpha*^q: one unit in the last place of alpha* times q = 10^4.
ORACLE_ROOT = 1e-11

# A crop with and without ignored pixels: the valid ones lie on other SIMD lanes and in other
# partial sums, so the loss and its gradient differ only in their last places.
PADDING = 1e-6

# Gradients with respect to float32 logits, where both computations round before the pixel losses: a
# loss of margin 10 is off by 1e-6, and its weight, a power of it, by a few times that.
FROM_LOGITS = 1e-5

# Gradients written in the logits' own dtype: half a unit in its last place, of the largest entry.
HALF_GRADIENT = {torch.float64: 1e-12, torch.float16: 5e-4, torch.bfloat16: 4e-3}

# A figure recomputed from a committed result: the last bits of a least-squares fit depend on the
# machine's instruction set.
RECOMPUTED = 1e-9

# float64 results of a few operations, in one order of the sum or another.
FLOAT64 = 1e-12

# float32 results of a few operations, relative or, near 0, absolute: ten units in the last place.
FLOAT32 = 1e-6

# All losses within a few units in the last place: the value, whose alpha is then hardly determined.
NEAR_TIES = 1e-3

# Near the smallest float32 number that there is (1.4e-45) a relative tolerance means nothing.
SMALLEST = 1e-44

# The oracle in float64 against the algorithm as it is printed, in 50 digits: p next to 1.
PRINTED_ALGORITHM = 1e-9

# A logarithm of a ratio next to 1: two units in the last place.
LOGARITHM = 5e-16

# p = 1 + 1e-9 or 1e9 against the limits p = 1 and infinity, between which the value is continuous.
LIMIT = 1e-6

# Loss max-pooling over the mean of the same losses, in a training from random weights: it is 1.02
# to 1.05 there. The mean itself, 1, must not pass.
ABOVE_THE_MEAN = 1.005

# Gradients of the contenders of the benchmark, in float32 and by different means. The absolute part
# is for entries that are sums of nearly opposite terms: upsampling adds up the most of them.
CONTENDERS = {
    "losses": {"rtol": 1e-4, "atol": 1e-8},
    "small": {"rtol": 1e-3, "atol": 1e-7},
    "upsampled": {"rtol": 1e-3, "atol": 1e-6},
}

# Our quantiles of Student's t against SciPy's.
QUANTILE = 1e-10

# Numbers that a file or a line rounds, half a unit and the rounding of the comparison: scores
# in JSON and CSV; a percentage with one decimal; the same where both sides are rounded; published
# scores with two decimals, from scores that were rounded, too.
PRINTED = 1e-3
STORED = 1e-5
ONE_DECIMAL = 0.0501
PRINTED_PERCENT = 0.1
TWO_DECIMALS = 0.0101

# Numbers of the paper that it rounds: a share, and the sum of 19 rounded scores.
PAPER = 1e-4
PAPER_SUM = 0.1

# Published shares of CamVid's classes, in per cent with one decimal.
PUBLISHED_SHARES = 6e-4

# A share of time that is stored with four decimals.
CLOCK = 1e-4

# A place in a drawing, in its pixels, that the drawing rounds to two decimals.
DRAWN = 0.02

# Pixels of a confusion matrix that change their class when logits change in their last places.
PIXELS = 2

# Normalized pixel values in float32, up to 3 in size.
PIXEL_VALUES = 2e-6

# The explorer's JavaScript against the oracle, both in float64: an exponential and a logarithm of
# another library, a few units in the last place, times q = 10^4.
IN_JAVASCRIPT = 1e-9

# Logits of a network that another program computes: sums in another order, folded batch norms.
EXPORTED = {"rtol": 1e-3, "atol": 1e-4}

# A temperature, found to 1e-6 of its logarithm from logits in float32, and what it changes.
SAME_TEMPERATURE = 1e-5

# Numbers of a diagnosis against the criterion's own: float32 sums over the pixels in another order.
SUMMED = 1e-5

# The same as a run records them, shares rounded to six decimals and then added up over the classes.
ROUNDED_SHARES = 1e-4

# Where the weight sits, as the report prints it: a ratio with two decimals, half a unit; a small
# percentage with two or three digits.
SHOWN_RATIO = 0.005
SHOWN_SHARE = 0.05

# 1 - beta^n over 1 - beta against the sum of n powers: beta = 0.9999 cancels four to eight digits.
GEOMETRIC_SUM = 1e-9

# Weights under the default beta, 1 - 1 / (median count), of counts of 10^8 and 1000 times as many:
# they have a common limit.
DEFAULT_BETA = 1e-5

# beta next to 1: the weights are nearly, but not quite, the inverse frequencies.
NEARLY_INVERSE = 0.1

# Numbers of a paper with three digits.
THREE_DIGITS = 0.01

# Statistical, at fixed seeds, several standard deviations wide: a temperature fitted to 3,000 drawn
# labels, and one to 300 of 1,200 pixels; the deviation of 350,000 drawn weights; the share of a
# class in thousands of drawn crops.
FEW_LABELS = 0.15
FEW_PIXELS = 0.2
DRAWN_WEIGHTS = 0.02
DRAWN_CROPS = 0.1

# The mean of a ramp of 12 bits in levels of 8 bits, each rounded.
MEAN_BRIGHTNESS = 1

# L-BFGS on a flat minimum, in logits.
DESCENT = 1e-2

# Memory of a process beside the tensors of a test: pages of the interpreter, in bytes; relative,
# the heap's own fields beside 8,000 small blocks.
OTHER_PAGES = 2 * 10**6
HEAP = 0.1
