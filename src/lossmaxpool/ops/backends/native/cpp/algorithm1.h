// Algorithm 1 of Rota Bulò et al. 2017 on a few values with multiplicities.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels.h"

namespace lossmaxpool {

// `counts[k]` losses of `value(k)`, ascending, above losses with the power sum `below`; `support`
// is what m leaves to all of them. Returns alpha*; every sum is relative to the value it has
// reached, so that no exponent overflows.
template <typename Value>
double threshold(const std::vector<int64_t>& counts, Value value, const Mass& below, double q,
                 double support) {
  int64_t from_here = 0;
  for (const int64_t count : counts) from_here += count;
  double sum = below.sum, anchor = below.anchor;  // power sum of what is not capped, so far
  for (size_t k = 0; k < counts.size(); ++k) {
    if (counts[k] == 0) continue;
    const double v = value(k);
    const double relative = sum > 0 ? sum * std::exp(q * std::log(anchor / v)) : 0.0;
    const double room = support - static_cast<double>(from_here);
    // eta > 0 at v, its own losses taken off both sides: from here on all are capped.
    if (room > relative) break;
    sum = relative + static_cast<double>(counts[k]);
    anchor = v;
    from_here -= counts[k];
  }
  const double room = support - static_cast<double>(from_here);
  return sum > 0 ? anchor * std::pow(sum / room, 1 / q) : 0.0;
}

}  // namespace lossmaxpool
