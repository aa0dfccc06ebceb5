// One pool of losses during the solve: what is decided so far, and the losses that are not.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels.h"

namespace lossmaxpool {

class Pool {
 public:
  // room: n floats of the caller's, where the undecided losses are kept.
  Pool(const float* losses, const uint8_t* valid, int64_t n, bool marked, int threads, float* room)
      : losses_(losses), valid_(valid), n_(n), marked_(marked), threads_(threads), room_(room) {}

  // The undecided losses, counted by the bits above `shift`, from low + 1 to high.
  std::vector<int64_t> histogram(int32_t low, int32_t high, int32_t shift, Counts* counts) const;

  // Decides the losses outside (low, high]: those above are capped, those below are not.
  void split(int32_t low, int32_t high, double q);

  int64_t above = 0;       // capped losses
  double above_sum = 0.0;  // and their sum
  Mass below{0.0, 0.0};    // power sum of those that are not

 private:
  const float* losses_;
  const uint8_t* valid_;
  int64_t n_;
  bool marked_;
  int threads_;
  float* room_;
};

}  // namespace lossmaxpool
