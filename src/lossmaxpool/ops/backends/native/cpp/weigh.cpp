// w* of losses that some other pixel loss than cross-entropy gave.
#include <algorithm>

#include "interface.h"
#include "pools.h"

using namespace lossmaxpool;

extern "C" void lossmaxpool_weigh(const float* losses, const uint8_t* valid, int64_t rows, int64_t n,
                                  const double* packed, double exponent, int64_t threads,
                                  float* weights) {
  const Kernels& K = kernels();
  const int64_t chunks = (n + kChunk - 1) / kChunk;
#pragma omp parallel for num_threads(team_for(rows * n, threads)) schedule(static)
  for (int64_t index = 0; index < rows * chunks; ++index) {
    const int64_t row = index / chunks, first = index % chunks * kChunk;
    const int64_t at = row * n + first, size = std::min(kChunk, n - first);
    K.weigh(losses + at, size, weighing_of(packed, rows, row, exponent, 1.0), weights + at);
    if (valid)
      for (int64_t i = at; i < at + size; ++i) weights[i] = valid[i] ? weights[i] : 0.0f;
  }
}
