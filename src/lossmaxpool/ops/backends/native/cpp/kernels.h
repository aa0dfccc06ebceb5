// The loops over pixels, compiled once per instruction set and chosen when the library is first
// used. They contain no parallel regions: the calling files manage threads.
#pragma once

#include <cstdint>

#include "interface.h"

namespace lossmaxpool {

constexpr float kIgnored = -1.0f;  // the loss of an ignored pixel

// Special class ids inside a tile; all others are in [0, C).
constexpr int32_t kIgnoredLabel = -1;
constexpr int32_t kWrongLabel = -2;

// Pixels of one image: x[c * step + t] for class c and pixel t.
struct Tile {
  const float* x;
  int64_t step;
  int64_t classes;
  int64_t pixels;
  const int32_t* label;  // (pixels,)
};

// The parameters of the cross-entropy.
struct Scoring {
  const float* weight;  // (C,) or null
  float hard;           // 1 - s: the share of the label
  float soft;           // s / C: the share of every class
  float weight_total;   // sum of the class weights
};

// The numbers of the pool that w* depends on.
struct Weighing {
  float scale;      // upstream gradient times tau
  float below;      // the same times (af / alpha)^(q-1)
  float tie;        // upstream gradient times the weight of a loss equal to alpha (p = 1)
  float alpha;      // af: alpha* rounded down to float32
  float exponent;   // q - 1
};

// The parameters of one pool, from the packed thresholds (6, rows). upstream: the gradient with
// respect to its value.
Weighing weighing_of(const double* packed, int64_t rows, int64_t row, double exponent,
                     double upstream);

// A power sum relative to its own anchor: sum of l^q = sum * anchor^q.
struct Mass {
  double sum;
  double anchor;
};

// Losses split by an interval (low, high] of float bits.
struct Split {
  int64_t above;     // how many are above
  double above_sum;  // and their sum
  Mass below;
  int64_t inside;  // how many were copied
};

struct Counts {
  int64_t valid;
  int64_t zeros;
  bool sound;  // no NaN, no infinity, no negative loss among the valid ones
};

struct Kernels {
  // Gather pixels [first, first + pixels) of an image of any layout into a float32 tile.
  void (*load)(const void* image, int64_t format, const Strides& strides, int64_t width,
               int64_t first, int64_t pixels, int64_t classes, float* tile, int64_t step);
  // The reverse, rounding once to the format.
  void (*store)(const float* tile, int64_t step, void* image, int64_t format,
                const Strides& strides, int64_t width, int64_t first, int64_t pixels,
                int64_t classes);
  // Class ids of any integer type to int32.
  void (*labels)(const void* target, int64_t format, int64_t first, int64_t pixels,
                 int64_t ignore_index, int64_t classes, int32_t* label);
  // work: 2 * pixels floats.
  void (*losses)(const Tile& tile, const Scoring& scoring, float* work, float* losses);
  // w* times the upstream gradient, per pixel.
  void (*weigh)(const float* losses, int64_t pixels, const Weighing& weighing, float* weights);
  // work: 4 * pixels floats. out must not overlap tile.x.
  void (*gradient)(const Tile& tile, const Scoring& scoring, const float* weights, float* work,
                   float* out, int64_t out_step);
  // Count the losses by the bits above `shift`, counted from low + 1; zeros are not binned.
  void (*histogram)(const float* losses, const uint8_t* valid, int64_t n, bool marked, int32_t low,
                    int32_t shift, uint32_t* bins, Counts* counts);
  // Copy the losses inside (low, high] to `buffer`; at most kChunk losses.
  void (*split)(const float* losses, const uint8_t* valid, int64_t n, int32_t low, int32_t high,
                double q, float* buffer, Split* result);
  // out = (1 - fraction) * a + fraction * b.
  void (*blend)(const float* a, const float* b, float fraction, int64_t n, float* out);
  // out[t] = (1 - fraction[t]) * line[lower[t]] + fraction[t] * line[upper[t]].
  void (*stretch)(const float* line, const int32_t* lower, const int32_t* upper,
                  const float* fraction, int64_t n, float* out);
  // Their transposes, added to the output.
  void (*divide)(const float* line, float fraction, int64_t n, float* a, float* b);
  void (*gather)(const float* line, const int32_t* lower, const int32_t* upper,
                 const float* fraction, int64_t n, float* out);
};

constexpr int64_t kChunk = 4096;

// Number of threads for a loop over losses. With less work than this per thread, synchronization
// costs more than it gains.
constexpr int64_t kLossesPerThread = 1 << 16;
inline int team_for(int64_t losses, int64_t threads) {
  const int64_t worth = losses / kLossesPerThread > 1 ? losses / kLossesPerThread : 1;
  return static_cast<int>(threads < worth ? threads : worth);
}

// The table in use, by default that of the widest instruction set of this machine.
const Kernels& kernels();

// For tests: select the table "plain", "avx2" or "avx512". False if the machine does not support
// it.
bool use_instructions(const char* name);

}  // namespace lossmaxpool
