// Cross-entropy of the pixels of a tile.
#pragma once

#include "kernels.h"
#include "numbers.h"

namespace {

using namespace lossmaxpool;

// The maximum starts at -inf: very negative logits are legal. NaN loses every comparison and comes
// back through the sum.
inline void column_maximum(const Tile& tile, float* __restrict top) {
  const int64_t n = tile.pixels;
  for (int64_t t = 0; t < n; ++t) top[t] = -__builtin_inff();
  for (int64_t c = 0; c < tile.classes; ++c) {
    const float* __restrict x = tile.x + c * tile.step;
#pragma omp simd
    for (int64_t t = 0; t < n; ++t) top[t] = x[t] > top[t] ? x[t] : top[t];
  }
}

void losses(const Tile& tile, const Scoring& scoring, float* work, float* losses) {
  const int64_t n = tile.pixels;
  float* __restrict top = work;
  float* __restrict sum = work + n;
  float* __restrict out = losses;
  column_maximum(tile, top);
  for (int64_t t = 0; t < n; ++t) sum[t] = 0.0f;
  for (int64_t c = 0; c < tile.classes; ++c) {
    const float* __restrict x = tile.x + c * tile.step;
#pragma omp simd
    for (int64_t t = 0; t < n; ++t) sum[t] += exp_of(x[t] - top[t]);
  }
#pragma omp simd
  for (int64_t t = 0; t < n; ++t) sum[t] = log_of(sum[t]);

  for (int64_t t = 0; t < n; ++t) {
    const int64_t y = tile.label[t] < 0 ? 0 : tile.label[t];
    const float share = scoring.hard * (scoring.weight ? scoring.weight[y] : 1.0f);
    // Skipped, not multiplied by 0: the label's logit may be -inf where it has no share.
    out[t] = scoring.hard == 0.0f ? 0.0f : share * ((top[t] - tile.x[y * tile.step + t]) + sum[t]);
  }
  if (scoring.soft != 0.0f) {
    for (int64_t c = 0; c < tile.classes; ++c) {
      const float* __restrict x = tile.x + c * tile.step;
      const float share = scoring.soft * (scoring.weight ? scoring.weight[c] : 1.0f);
#pragma omp simd
      for (int64_t t = 0; t < n; ++t) out[t] += share * ((top[t] - x[t]) + sum[t]);
    }
  }
  const int32_t* __restrict label = tile.label;
#pragma omp simd
  for (int64_t t = 0; t < n; ++t) {
    const float positive = out[t] < 0.0f ? 0.0f : out[t] + 0.0f;  // never -0.0; NaN stays
    const float known = label[t] == kWrongLabel ? __builtin_nanf("") : positive;
    out[t] = label[t] == kIgnoredLabel ? kIgnored : known;
  }
}

}  // namespace
