// A tile of pixels between memory of any layout and a small float32 scratch that stays in cache.
#pragma once

#include "formats.h"
#include "kernels.h"

namespace {

using namespace lossmaxpool;

// Pixels of an image fall into runs of one row each: f(index in the tile, row, column, length).
template <typename F>
inline void for_each_run(int64_t width, int64_t first, int64_t pixels, F f) {
  int64_t row = first / width, column = first % width;
  for (int64_t done = 0; done < pixels;) {
    const int64_t left = width - column;
    const int64_t length = left < pixels - done ? left : pixels - done;
    f(done, row, column, length);
    done += length;
    row += 1;
    column = 0;
  }
}

template <typename T>
void load_tile(const T* image, const Strides& s, int64_t width, int64_t first, int64_t pixels,
               int64_t classes, float* tile, int64_t step) {
  for_each_run(width, first, pixels, [&](int64_t at, int64_t row, int64_t column, int64_t length) {
    const T* start = image + row * s.row + column * s.column;
    if (s.column == 1) {
      for (int64_t c = 0; c < classes; ++c) {
        const T* from = start + c * s.channel;
        float* to = tile + c * step + at;
#pragma omp simd
        for (int64_t t = 0; t < length; ++t) to[t] = widen(from[t]);
      }
    } else {
      // Eight pixels at a time: their classes stay in cache while the tile is written in short runs.
      for (int64_t t0 = 0; t0 < length; t0 += 8) {
        const int64_t t1 = t0 + 8 < length ? t0 + 8 : length;
        for (int64_t c = 0; c < classes; ++c)
          for (int64_t t = t0; t < t1; ++t)
            tile[c * step + at + t] = widen(start[c * s.channel + t * s.column]);
      }
    }
  });
}

template <typename T>
void store_tile(const float* tile, int64_t step, T* image, const Strides& s, int64_t width,
                int64_t first, int64_t pixels, int64_t classes) {
  for_each_run(width, first, pixels, [&](int64_t at, int64_t row, int64_t column, int64_t length) {
    T* start = image + row * s.row + column * s.column;
    if (s.column == 1) {
      for (int64_t c = 0; c < classes; ++c) {
        const float* from = tile + c * step + at;
        T* to = start + c * s.channel;
#pragma omp simd
        for (int64_t t = 0; t < length; ++t) narrow(from[t], to[t]);
      }
    } else {
      for (int64_t t0 = 0; t0 < length; t0 += 8) {
        const int64_t t1 = t0 + 8 < length ? t0 + 8 : length;
        for (int64_t t = t0; t < t1; ++t)
          for (int64_t c = 0; c < classes; ++c)
            narrow(tile[c * step + at + t], start[c * s.channel + t * s.column]);
      }
    }
  });
}

void load(const void* image, int64_t format, const Strides& strides, int64_t width, int64_t first,
          int64_t pixels, int64_t classes, float* tile, int64_t step) {
  if (format == FLOAT32)
    load_tile(static_cast<const float*>(image), strides, width, first, pixels, classes, tile, step);
  else if (format == BFLOAT16)
    load_tile(static_cast<const BFloat16*>(image), strides, width, first, pixels, classes, tile,
              step);
  else
    load_tile(static_cast<const Float16*>(image), strides, width, first, pixels, classes, tile,
              step);
}

void store(const float* tile, int64_t step, void* image, int64_t format, const Strides& strides,
           int64_t width, int64_t first, int64_t pixels, int64_t classes) {
  if (format == FLOAT32)
    store_tile(tile, step, static_cast<float*>(image), strides, width, first, pixels, classes);
  else if (format == BFLOAT16)
    store_tile(tile, step, static_cast<BFloat16*>(image), strides, width, first, pixels, classes);
  else
    store_tile(tile, step, static_cast<Float16*>(image), strides, width, first, pixels, classes);
}

}  // namespace
