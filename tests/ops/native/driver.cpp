// Runs every function of the native library at the edges of its inputs, for `make sanitize`: built
// with address and undefined-behavior sanitizers, any wild access ends it. Every buffer is a heap
// block of exactly the size that the library may touch. Results are compared with plain loops in
// double, for every instruction set of the machine. Needs neither Python nor torch.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "interface.h"
#include "kernels.h"

using namespace lossmaxpool;

namespace {

std::mt19937 generator(0);
std::string current;  // the case that runs
int64_t checks = 0;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "sanitize: %s: %s\n", current.c_str(), what.c_str());
  std::exit(1);
}

void require(bool holds, const char* what, int64_t index = 0) {
  ++checks;
  if (!holds) fail(std::string(what) + " " + std::to_string(index));
}

void require_close(double found, double expected, double tolerance, const char* what,
                   int64_t index = 0) {
  ++checks;
  if (std::isnan(expected) ? std::isnan(found) : std::abs(found - expected) <= tolerance) return;
  fail(std::string(what) + " " + std::to_string(index) + " is " + std::to_string(found) +
       ", expected " + std::to_string(expected));
}

// --- The cross-entropy and its gradient ---

struct Case {
  int64_t batch, classes, low_height, low_width, height, width;
  int64_t format, label_format, layout;
  bool weighted;
  double smoothing, p;
  int64_t ignore_index, rows, threads;
};

uint16_t top_half(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return static_cast<uint16_t>(bits >> 16);
}

// An array of logits in any format. Values are multiples of 1/4 below 8, exact in all of them.
struct Logits {
  Logits(int64_t format, int64_t size) : format(format), bytes(size * (format == FLOAT32 ? 4 : 2)) {}

  void set(int64_t at, float x) {
    if (format == FLOAT32) {
      std::memcpy(&bytes[at * 4], &x, 4);
      return;
    }
    uint16_t half = top_half(x);
    if (format == FLOAT16) half = x == 0 ? 0 : float16(x);
    std::memcpy(&bytes[at * 2], &half, 2);
  }

  double get(int64_t at) const {
    if (format == FLOAT32) {
      float x;
      std::memcpy(&x, &bytes[at * 4], 4);
      return x;
    }
    uint16_t half;
    std::memcpy(&half, &bytes[at * 2], 2);
    const int sign = half >> 15 ? -1 : 1;
    if (format == BFLOAT16) {
      const uint32_t bits = static_cast<uint32_t>(half) << 16;
      float x;
      std::memcpy(&x, &bits, 4);
      return x;
    }
    const int exponent = half >> 10 & 31, mantissa = half & 1023;
    return exponent == 0 ? sign * std::ldexp(mantissa, -24)
                         : sign * std::ldexp(1024 + mantissa, exponent - 25);
  }

  static uint16_t float16(float x) {
    int exponent;
    const int mantissa = static_cast<int>(std::ldexp(std::frexp(std::abs(x), &exponent), 11));
    return static_cast<uint16_t>((x < 0) << 15 | (exponent + 14) << 10 | (mantissa & 1023));
  }

  int64_t format;
  std::vector<unsigned char> bytes;
};

enum Layout : int64_t { PLANAR = 0, CHANNELS_LAST = 1, TRANSPOSED = 2, LAYOUTS = 3 };

Strides strides_of(const Case& c) {
  const int64_t area = c.low_height * c.low_width, image = c.classes * area;
  if (c.layout == CHANNELS_LAST) return {image, 1, c.low_width * c.classes, c.classes};
  if (c.layout == TRANSPOSED) return {image, area, 1, c.low_height};
  return {image, area, c.low_width, 1};
}

int64_t place(const Strides& s, int64_t image, int64_t channel, int64_t row, int64_t column) {
  return image * s.image + channel * s.channel + row * s.row + column * s.column;
}

void set_label(std::vector<unsigned char>& target, int64_t format, int64_t at, int64_t label) {
  const int64_t bytes[] = {1, 1, 2, 4, 8};
  std::memcpy(&target[at * bytes[format]], &label, bytes[format]);  // little-endian
}

// Where an output row or column reads, and how much of the second place.
struct Tap {
  int64_t lower, upper;
  double fraction;
};

Tap tap(int64_t i, int64_t in, int64_t out) {
  const float scale = static_cast<float>(in) / static_cast<float>(out);
  const float source = std::max(scale * (static_cast<float>(i) + 0.5f) - 0.5f, 0.0f);
  const int64_t lower = std::min(static_cast<int64_t>(source), in - 1);
  return {lower, std::min(lower + 1, in - 1), source - static_cast<float>(lower)};
}

void run(const Case& c) {
  const bool dense = c.low_height == c.height && c.low_width == c.width;
  const int64_t size = c.height * c.width, low = c.low_height * c.low_width;
  const Strides s = strides_of(c);
  Logits logits(c.format, c.batch * c.classes * low), gradient = logits;
  for (int64_t i = 0; i < c.batch * c.classes * low; ++i)
    logits.set(i, static_cast<float>(static_cast<int>(generator() % 63) - 31) / 4);

  // Classes, ignored pixels and, where the type has room, labels that are none.
  const int64_t label_bytes[] = {1, 1, 2, 4, 8};
  const int64_t largest[] = {255, 127, 32767, 2147483647, std::numeric_limits<int64_t>::max()};
  const int64_t smallest[] = {0, -128, -32768, -2147483647 - 1,
                              std::numeric_limits<int64_t>::min()};
  std::vector<unsigned char> target(c.batch * size * label_bytes[c.label_format]);
  std::vector<int64_t> label(c.batch * size);
  const bool can_ignore = c.ignore_index >= smallest[c.label_format] &&
                          c.ignore_index <= largest[c.label_format];
  for (int64_t i = 0; i < c.batch * size; ++i) {
    const uint32_t kind = generator() % 8;
    int64_t y = generator() % (std::min(c.classes - 1, largest[c.label_format]) + 1);
    if (kind == 0 && can_ignore) y = c.ignore_index;
    if (kind == 1 && i % 5 == 0)
      y = i % 2 ? largest[c.label_format] : smallest[c.label_format];
    if (kind == 2 && i % 7 == 0 && c.classes <= largest[c.label_format]) y = c.classes;
    label[i] = y;
    set_label(target, c.label_format, i, y);
  }
  std::vector<float> weight;
  for (int64_t k = 0; k < c.classes && c.weighted; ++k)
    weight.push_back(0.5f + static_cast<float>(k % 3));

  // The scores and the losses, in double.
  std::vector<double> expected(c.batch * size), scores(c.classes), soft(c.classes);
  const auto interpolate = [&](int64_t image, int64_t y, int64_t x) {
    const Tap ty = tap(y, c.low_height, c.height), tx = tap(x, c.low_width, c.width);
    double top = -1e300, sum = 0;
    for (int64_t k = 0; k < c.classes; ++k) {
      const auto at = [&](int64_t r, int64_t q) { return logits.get(place(s, image, k, r, q)); };
      const double a = (1 - ty.fraction) * at(ty.lower, tx.lower) +
                       ty.fraction * at(ty.upper, tx.lower);
      const double b = (1 - ty.fraction) * at(ty.lower, tx.upper) +
                       ty.fraction * at(ty.upper, tx.upper);
      scores[k] = (1 - tx.fraction) * a + tx.fraction * b;
      top = std::max(top, scores[k]);
    }
    for (const double score : scores) sum += std::exp(score - top);
    for (int64_t k = 0; k < c.classes; ++k) soft[k] = std::exp(scores[k] - top) / sum;
    return top + std::log(sum);
  };
  const auto weight_of = [&](int64_t k) { return c.weighted ? weight[k] : 1.0; };
  for (int64_t i = 0; i < c.batch * size; ++i) {
    const double total = interpolate(i / size, i % size / c.width, i % c.width);
    if (label[i] == c.ignore_index) {
      expected[i] = -1;
    } else if (label[i] < 0 || label[i] >= c.classes) {
      expected[i] = std::nan("");
    } else {
      expected[i] = (1 - c.smoothing) * weight_of(label[i]) * (total - scores[label[i]]);
      for (int64_t k = 0; k < c.classes; ++k)
        expected[i] += c.smoothing / static_cast<double>(c.classes) * weight_of(k) *
                       (total - scores[k]);
    }
  }

  std::vector<float> losses(c.batch * size);
  CrossEntropy call{};
  call.logits = logits.bytes.data();
  call.target = target.data();
  call.weight = c.weighted ? weight.data() : nullptr;
  call.losses = losses.data();
  call.logits_format = c.format;
  call.target_format = c.label_format;
  call.batch = c.batch;
  call.classes = c.classes;
  call.low_height = c.low_height;
  call.low_width = c.low_width;
  call.height = c.height;
  call.width = c.width;
  call.logits_strides = call.gradient_strides = s;
  call.ignore_index = c.ignore_index;
  call.threads = c.threads;
  call.label_smoothing = c.smoothing;
  (dense ? lossmaxpool_dense_losses : lossmaxpool_upsampled_losses)(&call);
  for (int64_t i = 0; i < c.batch * size; ++i)
    require_close(losses[i], expected[i], 1e-4, "loss", i);

  // The gradient: of the pools without a wrong label, in which all is finite.
  std::vector<double> packed(6 * c.rows);
  std::vector<float> room(losses.size()), upstream(c.rows), weights(losses.size());
  std::vector<unsigned char> exists(losses.size());
  for (size_t i = 0; i < losses.size(); ++i) exists[i] = !(losses[i] < 0);
  const int64_t n = c.batch * size / c.rows;
  lossmaxpool_solve(losses.data(), nullptr, c.rows, n, c.p, 0.25, 1.0, 1, c.threads, room.data(),
                    packed.data());
  const double exponent = c.p == 1 ? std::numeric_limits<double>::infinity() : 1 / (c.p - 1);
  lossmaxpool_weigh(losses.data(), exists.data(), c.rows, n, packed.data(), exponent, c.threads,
                    weights.data());
  for (int64_t r = 0; r < c.rows; ++r) upstream[r] = 1.0f + static_cast<float>(r);
  std::vector<float> scratch(dense ? 0 : c.batch * c.low_height * 2 * c.classes * c.low_width);
  call.gradient = gradient.bytes.data();
  call.scratch = dense ? nullptr : scratch.data();
  call.grad_value = upstream.data();
  call.packed = packed.data();
  call.rows = c.rows;
  call.exponent = exponent;
  (dense ? lossmaxpool_dense_gradient : lossmaxpool_upsampled_gradient)(&call);

  // The same in one call, with a reduction: the gradient of one number over all pools.
  std::vector<double> again(6 * c.rows);
  std::vector<float> value(c.rows), other(losses.size());
  Logits reduced = gradient;
  CrossEntropy whole = call;
  whole.reduction = c.threads % 3;
  whole.p = c.p;
  whole.fraction = 0.25;
  whole.least = 1.0;
  whole.room = room.data();
  whole.losses = other.data();
  whole.packed = again.data();
  whole.value = value.data();
  lossmaxpool_cross_entropy(&whole);
  require(std::memcmp(other.data(), losses.data(), 4 * losses.size()) == 0, "losses in one call");
  require(std::memcmp(again.data(), packed.data(), 8 * packed.size()) == 0, "pools in one call");
  double sum = 0, occupied = 0;
  for (int64_t r = 0; r < c.rows; ++r) {
    sum += static_cast<float>(packed[r]);
    occupied += packed[4 * c.rows + r] > 0;
  }
  const double divisor = whole.reduction == MEAN && occupied > 1 ? occupied : 1;
  if (whole.reduction == NONE)
    for (int64_t r = 0; r < c.rows; ++r)
      require_close(value[r], packed[r], 1e-6 * std::abs(packed[r]), "value of pool", r);
  else
    require_close(value[0], sum / divisor, 1e-6 * std::abs(sum), "value");
  const float one = 1.5f;
  std::vector<float> shares(c.rows, static_cast<float>(one / divisor)), empty(scratch.size());
  whole.grad_value = whole.reduction == NONE ? upstream.data() : &one;
  whole.gradient = reduced.bytes.data();
  whole.scratch = dense ? nullptr : empty.data();
  (dense ? lossmaxpool_dense_gradient : lossmaxpool_upsampled_gradient)(&whole);
  if (whole.reduction != NONE) {
    empty.assign(empty.size(), 0.0f);
    call.grad_value = shares.data();
    call.scratch = whole.scratch;
    std::vector<unsigned char> kept = gradient.bytes;
    (dense ? lossmaxpool_dense_gradient : lossmaxpool_upsampled_gradient)(&call);
    std::swap(kept, gradient.bytes);
    require(kept == reduced.bytes, "gradient of a reduced value");
  } else {
    require(gradient.bytes == reduced.bytes, "gradient of the values");
  }

  std::vector<double> slope(c.batch * c.classes * low);
  double total_weight = 0, mean = 0;
  for (int64_t k = 0; k < c.classes; ++k) total_weight += weight_of(k);
  mean = c.smoothing / static_cast<double>(c.classes);
  for (int64_t i = 0; i < c.batch * size; ++i) {
    if (label[i] == c.ignore_index) continue;
    const int64_t image = i / size, y = i % size / c.width, x = i % c.width;
    interpolate(image, y, x);
    const Tap ty = tap(y, c.low_height, c.height), tx = tap(x, c.low_width, c.width);
    const double w = static_cast<double>(weights[i]) * upstream[i / n];
    const bool known = label[i] >= 0 && label[i] < c.classes;
    const double own = known ? (1 - c.smoothing) * weight_of(label[i]) : std::nan("");
    for (int64_t k = 0; k < c.classes; ++k) {
      const double d = w * (soft[k] * (own + mean * total_weight) - mean * weight_of(k) -
                            (k == label[i] ? own : 0.0));
      slope[place(s, image, k, ty.lower, tx.lower)] += (1 - ty.fraction) * (1 - tx.fraction) * d;
      slope[place(s, image, k, ty.lower, tx.upper)] += (1 - ty.fraction) * tx.fraction * d;
      slope[place(s, image, k, ty.upper, tx.lower)] += ty.fraction * (1 - tx.fraction) * d;
      slope[place(s, image, k, ty.upper, tx.upper)] += ty.fraction * tx.fraction * d;
    }
  }
  for (int64_t image = 0; image < c.batch; ++image) {
    if (std::isnan(packed[image / (c.batch / c.rows)])) continue;
    double most = 1e-3;
    for (int64_t i = image * s.image; i < (image + 1) * s.image; ++i)
      most = std::max(most, std::abs(slope[i]));
    const double digits = c.format == FLOAT32 ? 1e-4 : 1e-2;
    for (int64_t i = image * s.image; i < (image + 1) * s.image; ++i)
      require_close(gradient.get(i), slope[i], digits * most, "gradient", i);
  }
}

void run_cross_entropies() {
  struct Size {
    int64_t low_height, low_width, height, width;
  };
  const Size sizes[] = {
      {1, 1, 1, 1},   {1, 17, 1, 17}, {5, 1, 5, 1},   {33, 7, 33, 7},  {1, 1100, 1, 1100},
      {1, 1, 9, 5},   {5, 6, 40, 48}, {7, 7, 19, 19}, {1, 6, 7, 13},   {6, 5, 6, 11},
      {6, 5, 13, 5},  {3, 4, 4, 5},   {1, 1, 1, 2},   {2, 30, 3, 1100}, {1, 5, 1, 37}};
  const int64_t classes[] = {1, 2, 19, 150};
  const double exponents[] = {1, 1.0001, 1.3, 2, 100, std::numeric_limits<double>::infinity()};
  const int64_t ignored[] = {-100, 255, 0, -1, std::numeric_limits<int64_t>::min()};
  int64_t number = 0;
  for (const Size& size : sizes)
    for (const int64_t count : classes)
      for (int64_t format = 0; format < 3; ++format)
        for (int64_t layout = 0; layout < LAYOUTS; ++layout) {
          if (size.height * size.width * count > 20000) continue;
          ++number;
          const Case c{2, count, size.low_height, size.low_width, size.height, size.width, format,
                       number % 5, layout, number % 3 == 0, number % 4 == 0 ? 0.1 * (number % 11) : 0.0,
                       exponents[number % 6], ignored[number % 5], 1 + number % 2, 1 + number % 3};
          current = "cross-entropy " + std::to_string(number) + ": " + std::to_string(count) +
                    " classes, " + std::to_string(size.low_height) + "x" +
                    std::to_string(size.low_width) + " to " + std::to_string(size.height) + "x" +
                    std::to_string(size.width) + ", format " + std::to_string(format) +
                    ", layout " + std::to_string(layout);
          run(c);
        }
}

// --- Losses of any kind: thresholds and weights ---

float draw(int family) {
  const float u = static_cast<float>((generator() >> 8) + 1) * 0x1p-24f;  // (0, 1]
  switch (family) {
    case 0: return -std::log(u);
    case 1: return std::exp(4.0f * (2 * u - 1)) * 1e-3f;
    case 2: return 1.0f;
    case 3: return generator() % 2 ? 0.0f : -0.0f;
    case 4: return u * 1e-40f;  // subnormal
    case 5: return u * 3e38f;
    case 6: return static_cast<float>(generator() % 3);
    default: return 1.0f + 0x1p-23f * static_cast<float>(generator() % 5);  // neighbors
  }
}

// m >= 1 of the n valid losses share what the largest get.
void run_solver(int64_t rows, int64_t n, int family, double p, double fraction, int64_t threads,
                int mask, double poison) {
  current = "solve " + std::to_string(rows) + " x " + std::to_string(n) + ", family " +
            std::to_string(family) + ", p " + std::to_string(p) + ", fraction " +
            std::to_string(fraction) + ", mask " + std::to_string(mask);
  std::vector<float> losses(rows * n), room(rows * n), weights(rows * n);
  std::vector<unsigned char> valid(rows * n, 1);
  for (int64_t i = 0; i < rows * n; ++i) {
    losses[i] = draw(family);
    if (mask && generator() % 3 == 0) {
      valid[i] = 0;
      losses[i] = mask == 1 ? std::numeric_limits<float>::quiet_NaN() : -1.0f;
    }
  }
  const bool poisoned = poison != 0 && rows * n > 0;
  if (poisoned) {
    losses[n / 2] = static_cast<float>(poison);
    valid[n / 2] = 1;
  }
  std::vector<double> packed(6 * rows);
  const unsigned char* given = mask == 1 ? valid.data() : nullptr;
  lossmaxpool_solve(losses.data(), given, rows, n, p, fraction, 1.0, mask == 2, threads,
                    room.data(), packed.data());
  const double exponent = p == 1 ? std::numeric_limits<double>::infinity() : 1 / (p - 1);
  lossmaxpool_weigh(losses.data(), given, rows, n, packed.data(), exponent, threads,
                    weights.data());
  for (int64_t r = 0; r < rows; ++r) {
    const double value = packed[r], cap = packed[2 * rows + r];
    if (poisoned && r == 0) {
      require_close(value, std::nan(""), 0, "the value of an unsound row");
      continue;
    }
    double sum = 0, valid_count = 0, most = 0, weighed = 0;
    for (int64_t i = r * n; i < (r + 1) * n; ++i) {
      if (!valid[i]) {
        require(weights[i] == 0, "weight of a pixel that does not exist");
        continue;
      }
      valid_count += 1;
      sum += losses[i];
      most = std::max(most, static_cast<double>(losses[i]));
      weighed += static_cast<double>(weights[i]) * losses[i];
      require(weights[i] >= 0 && weights[i] <= cap * (1 + 1e-5), "weight", i);
    }
    const double mean = valid_count > 0 ? sum / valid_count : 0.0;
    require(packed[4 * rows + r] == valid_count, "number of valid losses");
    require(value >= mean * (1 - 1e-6) && value <= most * valid_count * (cap > 0 ? cap : 1) * 1.001,
            "value of row", r);
    if (family != 4) require_close(weighed, value, 1e-4 * value, "weights times losses of row", r);
    if (std::isinf(p) || fraction == 1.0) require_close(value, mean, 1e-5 * mean, "mean of row", r);
  }
}

void run_solvers() {
  const double infinity = std::numeric_limits<double>::infinity();
  const double exponents[] = {1, 1.0001, 1.3, 2, 100, infinity};
  const double fractions[] = {1e-9, 0.25, 1.0};
  const double poisons[] = {0, 0, 0, std::nan(""), infinity, -1.0};
  int64_t number = 0;
  for (const int64_t n : {0, 1, 2, 7, 100, 512, 513, 4095, 4096, 4097, 140000})
    for (int family = 0; family < 8; ++family)
      for (const double p : exponents) {
        const int64_t rows = n > 10000 ? 1 : number % 4;
        if (n > 10000 && family % 3 != 0) continue;
        const int mask = static_cast<int>(number % 3);
        const double poison = mask == 2 && number % 6 == 5 ? 0 : poisons[number % 6];
        run_solver(rows, n, family, p, fractions[number / 3 % 3], 1 + number % 3, mask, poison);
        ++number;
      }
}

}  // namespace

int main() {
  require(lossmaxpool_interface() == kInterface, "interface");
  std::string sets;
  for (const char* name : {"plain", "avx2", "avx512"}) {
    if (!use_instructions(name)) continue;
    sets += sets.empty() ? name : std::string(", ") + name;
    run_cross_entropies();
    run_solvers();
  }
  std::printf("sanitize: %lld checks passed (instruction sets: %s)\n",
              static_cast<long long>(checks), sets.c_str());
  return 0;
}
