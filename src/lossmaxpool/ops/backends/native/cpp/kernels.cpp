// The table of one instruction set. Compiled once per set, named by LOSSMAXPOOL_TABLE.
// All callees are in anonymous namespaces, so that the linker cannot mix instruction sets.
#include "kernels.h"

#include "loss_bits.h"
#include "pixels.h"
#include "staging.h"

namespace {

// Linear interpolation between lines of numbers, and its transpose.

void blend(const float* a, const float* b, float fraction, int64_t n, float* out) {
  const float keep = 1.0f - fraction;
  const float* __restrict x = a;
  const float* __restrict y = b;
  float* __restrict z = out;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) z[i] = keep * x[i] + fraction * y[i];
}

void stretch(const float* line, const int32_t* lower, const int32_t* upper, const float* fraction,
             int64_t n, float* out) {
  const float* __restrict x = line;
  float* __restrict z = out;
#pragma omp simd
  for (int64_t t = 0; t < n; ++t)
    z[t] = (1.0f - fraction[t]) * x[lower[t]] + fraction[t] * x[upper[t]];
}

// The transpose of blend.
void divide(const float* line, float fraction, int64_t n, float* a, float* b) {
  const float keep = 1.0f - fraction;
  const float* __restrict z = line;
  float* __restrict x = a;
  float* __restrict y = b;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    x[i] += keep * z[i];
    y[i] += fraction * z[i];
  }
}

// The transpose of stretch. `lower` is ascending, so consecutive pixels add to the same element.
void gather(const float* line, const int32_t* lower, const int32_t* upper, const float* fraction,
            int64_t n, float* out) {
  for (int64_t t = 0; t < n;) {
    const int32_t from = lower[t], to = upper[t];
    float low = 0.0f, high = 0.0f;
    for (; t < n && lower[t] == from; ++t) {
      high += fraction[t] * line[t];
      low += (1.0f - fraction[t]) * line[t];
    }
    out[from] += low;
    out[to] += high;
  }
}

}  // namespace

namespace lossmaxpool {

extern const Kernels LOSSMAXPOOL_TABLE;
const Kernels LOSSMAXPOOL_TABLE = {load,      store, labels, losses,  weigh,  gradient,
                                   histogram, split, blend,  stretch, divide, gather};

}  // namespace lossmaxpool
