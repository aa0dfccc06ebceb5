// How dense logits are cut into tiles, the same for any number of threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels.h"

namespace lossmaxpool {

// Floats of one tile: a few of these stay in a core's second-level cache.
constexpr int64_t kTileFloats = 24 * 1024;

inline int64_t tile_pixels(int64_t classes) {
  const int64_t fit = kTileFloats / std::max<int64_t>(classes, 1) / 16 * 16;
  return std::min<int64_t>(std::max<int64_t>(fit, 16), 1024);
}

// From one class of a tile to the next: an odd number of cache lines, so that a pixel's classes do not
// compete for the same places of the cache.
inline int64_t tile_step(int64_t pixels) { return (pixels / 16 | 1) * 16; }

// No more threads than there are pieces of work.
inline int team(const Problem& problem, int64_t pieces) {
  return static_cast<int>(std::max<int64_t>(std::min(problem.threads, pieces), 1));
}

inline int64_t format_bytes(int64_t format) { return format == FLOAT32 ? 4 : 2; }

inline const void* image_of(const void* data, const Strides& strides, int64_t image,
                            int64_t format) {
  return static_cast<const char*>(data) + image * strides.image * format_bytes(format);
}

inline void* image_of(void* data, const Strides& strides, int64_t image, int64_t format) {
  return static_cast<char*>(data) + image * strides.image * format_bytes(format);
}

// Whether pixels [first, first + pixels) of float32 planes can be used where they are.
inline bool in_place(const Strides& s, int64_t format, int64_t width, int64_t first,
                     int64_t pixels) {
  return format == FLOAT32 && s.column == 1 && first / width == (first + pixels - 1) / width;
}

inline int64_t place_of(const Strides& s, int64_t width, int64_t first) {
  return first / width * s.row + first % width * s.column;
}

inline Scoring scoring_of(const Problem& problem) {
  const int64_t classes = problem.classes;
  double total = 0.0;
  for (int64_t c = 0; c < classes; ++c) total += problem.weight ? problem.weight[c] : 1.0f;
  return Scoring{problem.weight, static_cast<float>(1.0 - problem.label_smoothing),
                 static_cast<float>(problem.label_smoothing / static_cast<double>(classes)),
                 static_cast<float>(total)};
}

}  // namespace lossmaxpool
