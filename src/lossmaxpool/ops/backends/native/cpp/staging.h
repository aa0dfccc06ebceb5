// Conversion of logits and class ids between memory of any layout and type, and cached tiles of
// float32 scores and int32 ids.
#pragma once

#include <type_traits>

#include "kernels.h"
#include "numbers.h"

namespace {

using namespace lossmaxpool;

// Split pixels of an image into runs within one row: f(index in the tile, row, column, length).
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

typedef float Float8 __attribute__((vector_size(32)));

#if defined(__clang__) || __GNUC__ >= 12
#define LOSSMAXPOOL_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t Int8 __attribute__((vector_size(32)));
#define LOSSMAXPOOL_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Int8{__VA_ARGS__})
#endif

// Transpose eight lines of eight floats, from in + i * in_step to out + i * out_step.
inline void transpose(const float* in, int64_t in_step, float* out, int64_t out_step) {
  Float8 x[8], y[8];
  for (int i = 0; i < 8; ++i) __builtin_memcpy(&x[i], in + i * in_step, sizeof x[i]);
  for (int i = 0; i < 8; i += 2) {
    y[i] = LOSSMAXPOOL_SHUFFLE(x[i], x[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    y[i + 1] = LOSSMAXPOOL_SHUFFLE(x[i], x[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4)
    for (int j = 0; j < 2; ++j) {
      x[i + 2 * j] = LOSSMAXPOOL_SHUFFLE(y[i + j], y[i + 2 + j], 0, 1, 8, 9, 4, 5, 12, 13);
      x[i + 2 * j + 1] = LOSSMAXPOOL_SHUFFLE(y[i + j], y[i + 2 + j], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int i = 0; i < 4; ++i) {
    y[i] = LOSSMAXPOOL_SHUFFLE(x[i], x[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    y[i + 4] = LOSSMAXPOOL_SHUFFLE(x[i], x[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
  for (int i = 0; i < 8; ++i) __builtin_memcpy(out + i * out_step, &y[i], sizeof y[i]);
}

// A run of pixels whose classes are contiguous in memory (channels_last, rows of one pixel) is
// moved in squares of eight pixels by eight classes; the remainder is moved one by one.
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
      return;
    }
    for (int64_t t0 = 0; t0 < length; t0 += 8) {
      const int64_t t1 = t0 + 8 < length ? t0 + 8 : length;
      int64_t c = 0;
      if (s.channel == 1 && t1 == t0 + 8) {
        for (; c + 8 <= classes; c += 8) {
          float* const to = tile + c * step + at + t0;
          if constexpr (std::is_same_v<T, float>) {
            transpose(start + t0 * s.column + c, s.column, to, step);
            continue;
          }
          float square[64];
          for (int64_t t = 0; t < 8; ++t)
            for (int64_t k = 0; k < 8; ++k)
              square[8 * t + k] = widen(start[(t0 + t) * s.column + c + k]);
          transpose(square, 8, to, step);
        }
      }
      for (; c < classes; ++c)
        for (int64_t t = t0; t < t1; ++t)
          tile[c * step + at + t] = widen(start[c * s.channel + t * s.column]);
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
      return;
    }
    for (int64_t t0 = 0; t0 < length; t0 += 8) {
      const int64_t t1 = t0 + 8 < length ? t0 + 8 : length;
      int64_t c = 0;
      if (s.channel == 1 && t1 == t0 + 8) {
        for (; c + 8 <= classes; c += 8) {
          if constexpr (std::is_same_v<T, float>) {
            transpose(tile + c * step + at + t0, step, start + t0 * s.column + c, s.column);
            continue;
          }
          float square[64];
          transpose(tile + c * step + at + t0, step, square, 8);
          for (int64_t t = 0; t < 8; ++t)
            for (int64_t k = 0; k < 8; ++k)
              narrow(square[8 * t + k], start[(t0 + t) * s.column + c + k]);
        }
      }
      for (int64_t t = t0; t < t1; ++t)
        for (int64_t k = c; k < classes; ++k)
          narrow(tile[k * step + at + t], start[k * s.channel + t * s.column]);
    }
  });
}

void load(const void* image, int64_t format, const Strides& strides, int64_t width, int64_t first,
          int64_t pixels, int64_t classes, float* tile, int64_t step) {
  const auto load_as = [&](auto* typed) {
    load_tile(typed, strides, width, first, pixels, classes, tile, step);
  };
  switch (format) {
    case FLOAT32: return load_as(static_cast<const float*>(image));
    case BFLOAT16: return load_as(static_cast<const BFloat16*>(image));
    default: return load_as(static_cast<const Float16*>(image));
  }
}

void store(const float* tile, int64_t step, void* image, int64_t format, const Strides& strides,
           int64_t width, int64_t first, int64_t pixels, int64_t classes) {
  const auto store_as = [&](auto* typed) {
    store_tile(tile, step, typed, strides, width, first, pixels, classes);
  };
  switch (format) {
    case FLOAT32: return store_as(static_cast<float*>(image));
    case BFLOAT16: return store_as(static_cast<BFloat16*>(image));
    default: return store_as(static_cast<Float16*>(image));
  }
}

template <typename T>
void convert_labels(const T* target, int64_t pixels, int64_t ignore_index, int64_t classes,
                    int32_t* label) {
#pragma omp simd
  for (int64_t t = 0; t < pixels; ++t) {
    // Compare as int64: in a narrow type, -100 would wrap around, e.g. to 156.
    const int64_t id = static_cast<int64_t>(target[t]);
    const bool ignored = id == ignore_index;
    const bool inside = (id >= 0) & (id < classes);
    const int32_t known = inside ? static_cast<int32_t>(id) : kWrongLabel;
    label[t] = ignored ? kIgnoredLabel : known;
  }
}

// Class ids of any integer type to int32; ignored and invalid ones are marked.
void labels(const void* target, int64_t format, int64_t first, int64_t pixels,
            int64_t ignore_index, int64_t classes, int32_t* label) {
  const auto convert = [&](auto* ids) {
    convert_labels(ids + first, pixels, ignore_index, classes, label);
  };
  switch (format) {
    case UINT8: return convert(static_cast<const uint8_t*>(target));
    case INT8: return convert(static_cast<const int8_t*>(target));
    case INT16: return convert(static_cast<const int16_t*>(target));
    case INT32: return convert(static_cast<const int32_t*>(target));
    default: return convert(static_cast<const int64_t*>(target));
  }
}

}  // namespace
