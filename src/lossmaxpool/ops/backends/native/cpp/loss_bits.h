// The solver's two passes over the losses: count them by their bits, split them by an interval.
// Non-negative floats are ordered like their bits.
#pragma once

#include "kernels.h"
#include "numbers.h"

namespace {

using namespace lossmaxpool;

constexpr int32_t kInfinityBits = 0x7f800000;

void histogram(const float* losses, const uint8_t* valid, int64_t n, bool marked, int32_t low,
               int32_t shift, uint32_t* bins, Counts* counts) {
  int64_t kept = 0, zeros = 0, unsound = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float l = losses[i];
    if ((valid && !valid[i]) || (marked && l < 0.0f)) continue;
    ++kept;
    const int32_t b = bits_of(l + 0.0f);  // -0.0 becomes 0.0
    if (b <= 0 || b >= kInfinityBits) {
      zeros += b == 0;
      unsound += b != 0;
      continue;
    }
    ++bins[(b - low - 1) >> shift];
  }
  counts->valid += kept;
  counts->zeros += zeros;
  counts->sound &= unsound == 0;
}

template <typename Power>
inline double sum_powers(const float* __restrict x, int64_t n, Power power) {
  double sum = 0.0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(power(x[i]));
  return sum;
}

// Negative, masked and zero losses are below and have power 0, so they need no special case.
void split(const float* losses, const uint8_t* valid, int64_t n, int32_t low, int32_t high,
           double q, float* buffer, Split* result) {
  alignas(64) float below[kChunk];
  const float bottom = float_of(low), top = float_of(high);
  double above_sum = 0.0;
  int64_t above = 0;
  float anchor = 0.0f;
#pragma omp simd reduction(+ : above_sum, above) reduction(max : anchor)
  for (int64_t i = 0; i < n; ++i) {
    const float l = valid && !valid[i] ? 0.0f : losses[i];
    above += l > top;
    above_sum += l > top ? l : 0.0f;
    below[i] = (l > 0.0f) & (l <= bottom) ? l : 0.0f;
    anchor = below[i] > anchor ? below[i] : anchor;
  }
  int64_t inside = 0;
  if (high > low) {
    for (int64_t i = 0; i < n; ++i) {
      const float l = losses[i];
      buffer[inside] = l;
      inside += (l > bottom) & (l <= top) & (!valid || valid[i]);
    }
  }
  result->above = above;
  result->above_sum = above_sum;
  result->inside = inside;
  result->below = Mass{0.0, anchor};
  if (anchor > 0.0f) {
    const float e = static_cast<float>(q);
    // Relative to the largest of this chunk: relative to alpha, all could underflow for p near 1.
    if (q == 1.0)
      result->below.sum = sum_powers(below, n, [=](float x) { return x / anchor; });
    else if (q <= kPlainPowerLimit)
      result->below.sum = sum_powers(below, n, [=](float x) { return relative_power(x, anchor, e); });
    else
      result->below.sum =
          sum_powers(below, n, [=](float x) { return steep_relative_power(x, anchor, e); });
  }
}

}  // namespace
