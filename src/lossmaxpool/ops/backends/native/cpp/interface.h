// The functions that Python calls. Plain C, independent of the versions of torch and Python.
#pragma once

#include <cstdint>

// Compared with INTERFACE of library.py when the library is loaded. Increment both with every
// change of CrossEntropy or of the arguments of a function below.
constexpr int64_t kInterface = 3;

namespace lossmaxpool {

enum Format : int64_t { FLOAT32 = 0, BFLOAT16 = 1, FLOAT16 = 2 };
enum LabelFormat : int64_t { UINT8 = 0, INT8 = 1, INT16 = 2, INT32 = 3, INT64 = 4 };
// Over pools: their values, the sum, or the mean of those that have a valid pixel.
enum Reduction : int64_t { NONE = 0, SUM = 1, MEAN = 2 };

// In elements, not bytes.
struct Strides {
  int64_t image, channel, row, column;
};

// The arguments of the cross-entropy and its gradient. Mirrored by library.py, field by field.
struct CrossEntropy {
  const void* logits;    // (B, C, low_height, low_width) of any strides
  const void* target;    // (B, height, width) contiguous
  const float* weight;   // (C,) or null
  float* losses;         // (B, height, width) contiguous: written forward, read backward
  void* gradient;        // like logits, with strides of its own; null forward
  float* scratch;  // upsampled gradient: (batch, low_height, 2, C, low_width) zeros; else null
  const float* grad_value;  // of the result: (rows,) for NONE, else one number
  double* packed;  // (6, rows): value, alpha, cap, tie, num_valid, support; read backward
  float* room;     // (B, height, width) workspace of the solver
  float* value;    // the result, of the shape of grad_value
  int64_t logits_format, target_format;
  int64_t batch, classes, low_height, low_width, height, width;
  Strides logits_strides, gradient_strides;
  int64_t ignore_index, rows, threads, reduction;
  double label_smoothing, p, fraction, least;
  double exponent;  // q - 1; inf for p = 1, 0 for p = inf
};

}  // namespace lossmaxpool

// The only symbols that the library exports.
#define LOSSMAXPOOL_API __attribute__((visibility("default")))

extern "C" {

LOSSMAXPOOL_API int64_t lossmaxpool_interface();

// From the logits to the result: the losses, the thresholds of the rows (pools of consecutive
// images, of which there is at least one) and their values, reduced.
LOSSMAXPOOL_API void lossmaxpool_cross_entropy(const lossmaxpool::CrossEntropy* call);

// Logits as large as the target.
LOSSMAXPOOL_API void lossmaxpool_dense_losses(const lossmaxpool::CrossEntropy* call);
LOSSMAXPOOL_API void lossmaxpool_dense_gradient(const lossmaxpool::CrossEntropy* call);

// Logits smaller than the target, which are upsampled.
LOSSMAXPOOL_API void lossmaxpool_upsampled_losses(const lossmaxpool::CrossEntropy* call);
LOSSMAXPOOL_API void lossmaxpool_upsampled_gradient(const lossmaxpool::CrossEntropy* call);

// losses (rows, n) -> packed (6, rows). valid: (rows, n) of 0/1, or null. marked: a negative loss
// marks an ignored pixel. room: (rows, n) floats of workspace.
LOSSMAXPOOL_API void lossmaxpool_solve(const float* losses, const uint8_t* valid, int64_t rows,
                                       int64_t n, double p, double fraction, double least,
                                       int64_t marked, int64_t threads, float* room,
                                       double* packed);

// losses (rows, n) and their packed thresholds -> weights w* (rows, n), 0 where not valid.
// exponent: q - 1.
LOSSMAXPOOL_API void lossmaxpool_weigh(const float* losses, const uint8_t* valid, int64_t rows,
                                       int64_t n, const double* packed, double exponent,
                                       int64_t threads, float* weights);
}
