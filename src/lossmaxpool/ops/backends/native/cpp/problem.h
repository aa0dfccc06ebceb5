// What the caller passes: raw pointers, sizes and strides. Mirrored by calls.py, field by field.
#pragma once

#include <cstdint>

namespace lossmaxpool {

enum Format : int64_t { FLOAT32 = 0, BFLOAT16 = 1, FLOAT16 = 2 };
enum LabelFormat : int64_t { UINT8 = 0, INT8 = 1, INT16 = 2, INT32 = 3, INT64 = 4 };

// In elements, not bytes.
struct Strides {
  int64_t image, channel, row, column;
};

struct Problem {
  const void* logits;    // (B, C, low_height, low_width) of any strides
  const void* target;    // (B, height, width) contiguous
  const float* weight;   // (C,) or null
  float* losses;         // (B, height, width) contiguous: written forward, read backward
  void* gradient;        // like logits, with strides of its own; null forward
  float* scratch;  // upsampled gradient: (batch, low_height, 2, C, low_width) zeros; else null
  const float* grad_value;  // (rows,)
  const double* packed;     // (6, rows): value, alpha, cap, tie, num_valid, support
  int64_t logits_format, target_format;
  int64_t batch, classes, low_height, low_width, height, width;
  Strides logits_strides, gradient_strides;
  int64_t ignore_index, rows, threads;
  double label_smoothing;
  double exponent;  // q - 1; inf for p = 1, 0 for p = inf
};

constexpr float kIgnored = -1.0f;  // the loss of a pixel that does not exist

// Class ids inside a tile; all other values are in [0, C).
constexpr int32_t kIgnoredLabel = -1;
constexpr int32_t kWrongLabel = -2;

}  // namespace lossmaxpool
