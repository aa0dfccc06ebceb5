// Class ids of any integer type to int32, with ignored and wrong ones marked.
#pragma once

#include "kernels.h"

namespace {

using namespace lossmaxpool;

template <typename T>
void convert_labels(const T* target, int64_t pixels, int64_t ignore_index, int64_t classes,
                    int32_t* label) {
#pragma omp simd
  for (int64_t t = 0; t < pixels; ++t) {
    // Compared in int64: in the target's own narrow type -100 would wrap around to 156.
    const int64_t id = static_cast<int64_t>(target[t]);
    const bool ignored = id == ignore_index;
    const bool inside = (id >= 0) & (id < classes);
    const int32_t known = inside ? static_cast<int32_t>(id) : kWrongLabel;
    label[t] = ignored ? kIgnoredLabel : known;
  }
}

void labels(const void* target, int64_t format, int64_t first, int64_t pixels,
            int64_t ignore_index, int64_t classes, int32_t* label) {
  switch (format) {
    case UINT8:
      convert_labels(static_cast<const uint8_t*>(target) + first, pixels, ignore_index,
                     classes, label);
      break;
    case INT8:
      convert_labels(static_cast<const int8_t*>(target) + first, pixels, ignore_index,
                     classes, label);
      break;
    case INT16:
      convert_labels(static_cast<const int16_t*>(target) + first, pixels, ignore_index,
                     classes, label);
      break;
    case INT32:
      convert_labels(static_cast<const int32_t*>(target) + first, pixels, ignore_index,
                     classes, label);
      break;
    default:
      convert_labels(static_cast<const int64_t*>(target) + first, pixels, ignore_index,
                     classes, label);
      break;
  }
}

}  // namespace
