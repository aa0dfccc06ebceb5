// The pixels of a tile: their cross-entropies, their weights w*, and the gradient of the weighted
// sum.
#pragma once

#include "kernels.h"
#include "numbers.h"

namespace {

using namespace lossmaxpool;

// The maximum starts at -inf, because very negative logits are legal. NaN fails every comparison
// and propagates through the sum.
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
    // Skip the term instead of multiplying it by 0: the label's logit may be -inf.
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

template <typename Below>
inline void weigh_with(const float* __restrict losses, int64_t n, const Weighing& w,
                       float* __restrict out, Below below) {
  // Copy the members and compute every branch: otherwise the compiler would not vectorize the loop.
  const float alpha = w.alpha, scale = w.scale;
#pragma omp simd
  for (int64_t t = 0; t < n; ++t) {
    const float l = losses[t];
    const float under = below(l < 0.0f ? 0.0f : l);
    const float weight = l > alpha ? scale : under;
    out[t] = l < 0.0f ? 0.0f : weight;
  }
}

// Rota Bulò et al. 2017, Theorems 1 and 2.
void weigh(const float* losses, int64_t n, const Weighing& w, float* out) {
  const float alpha = w.alpha, exponent = w.exponent, scale = w.below, tie = w.tie;
  if (exponent == 0.0f)
    weigh_with(losses, n, w, out, [=](float) { return scale; });
  else if (exponent == __builtin_inff())
    weigh_with(losses, n, w, out, [=](float l) { return l == alpha ? tie : 0.0f * tie; });
  else if (alpha == 0.0f)
    weigh_with(losses, n, w, out, [=](float) { return 0.0f * scale; });
  else if (exponent <= kPlainPowerLimit)
    weigh_with(losses, n, w, out,
               [=](float l) { return scale * relative_power(l, alpha, exponent); });
  else
    weigh_with(losses, n, w, out,
               [=](float l) { return scale * steep_relative_power(l, alpha, exponent); });
}

void gradient(const Tile& tile, const Scoring& scoring, const float* weights, float* work,
              float* out, int64_t out_step) {
  const int64_t n = tile.pixels;
  float* __restrict top = work;
  float* __restrict share = work + n;
  float* __restrict label_share = work + 2 * n;
  float* __restrict sum = work + 3 * n;
  const int32_t* __restrict label = tile.label;

  column_maximum(tile, top);
  for (int64_t t = 0; t < n; ++t) sum[t] = 0.0f;
  for (int64_t c = 0; c < tile.classes; ++c) {
    const float* x = tile.x + c * tile.step;
    float* e = out + c * out_step;  // may be x: the gradient overwrites the logits
#pragma omp simd
    for (int64_t t = 0; t < n; ++t) {
      e[t] = exp_of(x[t] - top[t]);
      sum[t] += e[t];
    }
  }
  for (int64_t t = 0; t < n; ++t) {
    const int64_t y = label[t] < 0 ? 0 : label[t];
    label_share[t] = weights[t] * (scoring.hard * (scoring.weight ? scoring.weight[y] : 1.0f));
  }
#pragma omp simd
  for (int64_t t = 0; t < n; ++t)
    share[t] = (label_share[t] + weights[t] * (scoring.soft * scoring.weight_total)) / sum[t];

  for (int64_t c = 0; c < tile.classes; ++c) {
    float* __restrict e = out + c * out_step;
    const float even = scoring.soft * (scoring.weight ? scoring.weight[c] : 1.0f);
#pragma omp simd
    for (int64_t t = 0; t < n; ++t) {
      const float d = e[t] * share[t] - weights[t] * even;
      e[t] = label[t] == kIgnoredLabel ? 0.0f : d;  // for any logits of an ignored pixel
    }
  }
  for (int64_t t = 0; t < n; ++t)
    if (label[t] >= 0) out[label[t] * out_step + t] -= label_share[t];
}

}  // namespace
