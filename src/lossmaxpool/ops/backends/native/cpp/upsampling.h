// Bilinear upsampling, align_corners = False, as torch has it.
//
// A band is the output rows between the centres of two neighbouring low-resolution rows: these two
// rows are all that it reads, and all that its gradient adds to. Bands are the unit of work, and
// their width is cut into tiles that stay in cache.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tiles.h"

namespace lossmaxpool {

// out[i] = (1 - fraction[i]) * in[lower[i]] + fraction[i] * in[upper[i]]
struct Axis {
  std::vector<int32_t> lower, upper;  // lower ascends
  std::vector<float> fraction;

  Axis(int64_t in, int64_t out) : lower(out), upper(out), fraction(out) {
    const float scale = static_cast<float>(in) / static_cast<float>(out);
    for (int64_t i = 0; i < out; ++i) {
      const float source = std::max(scale * (static_cast<float>(i) + 0.5f) - 0.5f, 0.0f);
      lower[i] = std::min<int32_t>(static_cast<int32_t>(source), static_cast<int32_t>(in) - 1);
      upper[i] = std::min<int32_t>(lower[i] + 1, static_cast<int32_t>(in) - 1);
      fraction[i] = source - static_cast<float>(lower[i]);
    }
  }

  // The outputs [first, last) between input `band` and the next one.
  int64_t first(int64_t band) const {
    return std::lower_bound(lower.begin(), lower.end(), static_cast<int32_t>(band)) - lower.begin();
  }
  int64_t last(int64_t band) const { return first(band + 1); }
};

// The two low-resolution rows of a band, in float32, and the scores of a piece of an output row.
class Band {
 public:
  Band(const Problem& problem, const Axis& rows, const Axis& columns)
      : P_(problem), rows_(rows), columns_(columns),
        top_(problem.classes * problem.low_width), bottom_(top_.size()), line_(top_.size()) {}

  void load(int64_t image, int64_t band) {
    const void* logits = image_of(P_.logits, P_.logits_strides, image, P_.logits_format);
    load_row(logits, band, top_.data());
    load_row(logits, std::min(band + 1, P_.low_height - 1), bottom_.data());
  }

  // Output pixels [first, first + n) of output row y, as a tile [classes][step].
  void scores(int64_t y, int64_t first, int64_t n, float* tile, int64_t step) {
    const Kernels& K = kernels();
    const int64_t width = P_.low_width;
    const int64_t left = columns_.lower[first];
    const int64_t used = columns_.upper[first + n - 1] - left + 1;
    for (int64_t c = 0; c < P_.classes; ++c) {
      float* const line = line_.data() + c * width;
      K.blend(top_.data() + c * width + left, bottom_.data() + c * width + left,
              rows_.fraction[y], used, line + left);
      K.stretch(line, &columns_.lower[first], &columns_.upper[first], &columns_.fraction[first], n,
                tile + c * step);
    }
  }

 private:
  void load_row(const void* logits, int64_t row, float* out) {
    kernels().load(logits, P_.logits_format, P_.logits_strides, P_.low_width, row * P_.low_width,
                   P_.low_width, P_.classes, out, P_.low_width);
  }

  const Problem& P_;
  const Axis& rows_;
  const Axis& columns_;
  std::vector<float> top_, bottom_, line_;
};

}  // namespace lossmaxpool
