// Arithmetic that compilers can vectorize on any machine: polynomials, selects and integers,
// without tables or calls.
#pragma once

#include <cstdint>

namespace {

inline int32_t bits_of(float x) {
  int32_t i;
  __builtin_memcpy(&i, &x, sizeof i);
  return i;
}

inline float float_of(int32_t i) {
  float x;
  __builtin_memcpy(&x, &i, sizeof x);
  return x;
}

// --- exp, log and powers. The coefficients are those of Cephes' expf and logf: within 2 units in the
// last place. ---

// e^x up to x = 88; 0 where the result would be subnormal; NaN stays NaN.
inline float exp_of(float x) {
  float c = x > 88.0f ? 88.0f : x;
  c = c < -87.33f ? -87.33f : c;
  // Adding 1.5 * 2^23 leaves the rounded integer in the low bits.
  const float shifted = c * 1.44269504088896341f + 12582912.0f;
  const float n = shifted - 12582912.0f;
  // Unsigned: shifting a negative integer to the left is undefined.
  const uint32_t scale = (static_cast<uint32_t>(bits_of(shifted)) << 23) + 0x3f800000u;
  const float r = (c - n * 0.693359375f) + n * 2.12194440e-4f;
  float y = 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = (y * (r * r) + r) + 1.0f;
  return x < -87.33f ? 0.0f : y * float_of(static_cast<int32_t>(scale));
}

// ln x for x >= 0: -inf at 0; inf and NaN are unchanged.
inline float log_of(float x) {
  const bool tiny = x < 1.17549435e-38f;
  const float normal = tiny ? x * 8388608.0f : x;
  // Split at sqrt(1/2), so that the mantissa is around 1.
  const int32_t i = bits_of(normal) - 0x3f3504f3;
  const float e = static_cast<float>(i >> 23) - (tiny ? 23.0f : 0.0f);
  const float f = float_of((i & 0x007fffff) + 0x3f3504f3) - 1.0f;
  const float z = f * f;
  float y = 7.0376836292e-2f;
  y = y * f - 1.1514610310e-1f;
  y = y * f + 1.1676998740e-1f;
  y = y * f - 1.2420140846e-1f;
  y = y * f + 1.4249322787e-1f;
  y = y * f - 1.6668057665e-1f;
  y = y * f + 2.0000714765e-1f;
  y = y * f - 2.4999993993e-1f;
  y = y * f + 3.3333331174e-1f;
  y = y * f * z;
  y = y - e * 2.12194440e-4f;
  y = y - 0.5f * z;
  const float r = (f + y) + e * 0.693359375f;
  const float special = x == 0.0f ? -__builtin_inff() : x;
  return (x > 0.0f) & (x < __builtin_inff()) ? r : special;
}

// (x / anchor)^exponent for 0 <= x <= anchor. A plain power of the rounded ratio is off by
// `exponent` units in the last place; x - anchor is exact where the power is not negligible.
inline float relative_power(float x, float anchor, float exponent) {
  return exp_of(exponent * log_of(x / anchor));
}

inline float steep_relative_power(float x, float anchor, float exponent) {
  const float z = (x - anchor) / anchor;
  const float u = 1.0f + z;
  const float lost = u > 0.0f ? (z - (u - 1.0f)) / u : 0.0f;
  return exp_of(exponent * (log_of(u) + lost));
}

constexpr float kPlainPowerLimit = 8.0f;

// --- float32, bfloat16 and float16 to float32 and back ---

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
  // A product changes the exponent's bias and also normalizes subnormals.
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
