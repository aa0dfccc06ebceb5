// From the packed threshold of a pool to what its pixels need.
#pragma once

#include <cmath>

#include "kernels.h"

namespace lossmaxpool {

// packed: (6, rows); upstream: the gradient with respect to the row's value.
inline Weighing weighing_of(const double* packed, int64_t rows, int64_t row, double exponent,
                            double upstream) {
  const double value = packed[row], alpha = packed[rows + row];
  const double cap = packed[2 * rows + row], tie = packed[3 * rows + row];
  if (std::isnan(value)) upstream = value;
  float floor = static_cast<float>(alpha);
  if (static_cast<double>(floor) > alpha) floor = std::nextafter(floor, 0.0f);
  // What rounding alpha* to float32 lost, raised to the same power.
  const double lost = floor > 0.0f && std::isfinite(exponent)
                          ? std::pow(static_cast<double>(floor) / alpha, exponent)
                          : 0.0;
  return Weighing{static_cast<float>(upstream * cap),
                  static_cast<float>(upstream * cap * (exponent == 0.0 ? 1.0 : lost)),
                  static_cast<float>(upstream * tie), floor, static_cast<float>(exponent)};
}

inline Weighing weighing_of(const Problem& P, int64_t image) {
  const int64_t row = image / (P.batch / P.rows);  // a pool is consecutive images
  return weighing_of(P.packed, P.rows, row, P.exponent, P.grad_value[row]);
}

}  // namespace lossmaxpool
