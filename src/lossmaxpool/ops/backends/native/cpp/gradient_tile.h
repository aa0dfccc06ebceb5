// w* of the pixels of a tile, and the gradient of its cross-entropies weighted by it.
#pragma once

#include "kernels.h"
#include "loss_tile.h"
#include "numbers.h"

namespace {

using namespace lossmaxpool;

template <typename Below>
inline void weigh_with(const float* __restrict losses, int64_t n, const Weighing& w,
                       float* __restrict out, Below below) {
  // Copies, and every branch computed: a loop that may read w again, or jump, is not vectorised.
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
    const float* __restrict x = tile.x + c * tile.step;
    float* __restrict e = out + c * out_step;
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
      e[t] = label[t] == kIgnoredLabel ? 0.0f : d;  // whatever the logits of an ignored pixel hold
    }
  }
  for (int64_t t = 0; t < n; ++t)
    if (label[t] >= 0) out[label[t] * out_step + t] -= label_share[t];
}

}  // namespace
