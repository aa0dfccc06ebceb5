// From the packed threshold of a pool to what its pixels need.
#pragma once

#include <cmath>
#include <limits>

#include "kernels.h"

namespace lossmaxpool {

inline Weighing weighing_of(const Problem& P, int64_t image) {
  const int64_t row = image / (P.batch / P.rows);  // a pool is consecutive images
  const double value = P.packed[row], alpha = P.packed[P.rows + row];
  const double cap = P.packed[2 * P.rows + row], tie = P.packed[3 * P.rows + row];
  const double upstream =
      std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : P.grad_value[row];
  float floor = static_cast<float>(alpha);
  if (static_cast<double>(floor) > alpha) floor = std::nextafter(floor, 0.0f);
  // What rounding alpha* to float32 lost, raised to the same power.
  const double lost = floor > 0.0f && std::isfinite(P.exponent)
                          ? std::pow(static_cast<double>(floor) / alpha, P.exponent)
                          : 0.0;
  return Weighing{static_cast<float>(upstream * cap),
                  static_cast<float>(upstream * cap * (P.exponent == 0.0 ? 1.0 : lost)),
                  static_cast<float>(upstream * tie), floor, static_cast<float>(P.exponent)};
}

}  // namespace lossmaxpool
