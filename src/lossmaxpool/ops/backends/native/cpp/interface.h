// The functions that Python calls. Plain C: they depend on no version of torch or Python.
#pragma once

#include <cstdint>

#include "problem.h"

// Compared with INTERFACE of library.py when the library is loaded. Raise both with every change
// of Problem, or of a function below in its arguments or their meaning.
constexpr int64_t kInterface = 2;

// The only names that the library shows.
#define LOSSMAXPOOL_API __attribute__((visibility("default")))

extern "C" {

LOSSMAXPOOL_API int64_t lossmaxpool_interface();

// Logits as large as the target.
LOSSMAXPOOL_API void lossmaxpool_dense_losses(const lossmaxpool::Problem* problem);
LOSSMAXPOOL_API void lossmaxpool_dense_gradient(const lossmaxpool::Problem* problem);

// Logits that are upsampled to the target's size.
LOSSMAXPOOL_API void lossmaxpool_upsampled_losses(const lossmaxpool::Problem* problem);
LOSSMAXPOOL_API void lossmaxpool_upsampled_gradient(const lossmaxpool::Problem* problem);

// losses (rows, n) -> packed (6, rows). valid: (rows, n) of 0/1, or null. marked: a negative loss
// does not exist. room: (rows, n) floats to work in.
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
