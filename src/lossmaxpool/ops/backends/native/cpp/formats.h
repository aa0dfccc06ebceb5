// float32, bfloat16 and float16 to float32 and back, in integer arithmetic that vectorises anywhere.
#pragma once

#include <cstdint>

#include "numbers.h"

namespace {

struct BFloat16 {
  uint16_t bits;
};

struct Float16 {
  uint16_t bits;
};

inline float widen(float x) { return x; }

inline float widen(BFloat16 x) { return float_of(static_cast<int32_t>(uint32_t{x.bits} << 16)); }

inline float widen(Float16 x) {
  const uint32_t magnitude = x.bits & 0x7fffu;
  const uint32_t sign = (x.bits & 0x8000u) << 16;
  // The exponent's bias changes by a product, which also normalises subnormals.
  const float scaled = float_of(static_cast<int32_t>(magnitude << 13)) * 0x1p112f;
  const uint32_t special = magnitude >= 0x7c00u ? 0x7f800000u : 0u;  // inf and NaN
  return float_of(static_cast<int32_t>(static_cast<uint32_t>(bits_of(scaled)) | special | sign));
}

inline void narrow(float x, float& out) { out = x; }

// To nearest, ties to even.
inline void narrow(float x, BFloat16& out) {
  const uint32_t u = static_cast<uint32_t>(bits_of(x));
  const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  out.bits = static_cast<uint16_t>(x != x ? 0x7fc0u : rounded);
}

inline void narrow(float x, Float16& out) {
  const uint32_t u = static_cast<uint32_t>(bits_of(x));
  const float magnitude = float_of(static_cast<int32_t>(u & 0x7fffffffu));
  // Overflow saturates to infinity; adding a power of two of the right size does the rounding.
  const float base = (magnitude * 0x1p112f) * 0x1p-110f;
  const uint32_t doubled = u << 1;
  uint32_t bias = doubled & 0xff000000u;
  bias = bias < 0x71000000u ? 0x71000000u : bias;
  const float aligned = float_of(static_cast<int32_t>((bias >> 1) + 0x07800000u)) + base;
  const uint32_t b = static_cast<uint32_t>(bits_of(aligned));
  const uint32_t rounded = ((b >> 13) & 0x7c00u) + (b & 0x0fffu);
  out.bits = static_cast<uint16_t>(((u >> 16) & 0x8000u) |
                                   (doubled > 0xff000000u ? 0x7e00u : rounded));
}

}  // namespace
