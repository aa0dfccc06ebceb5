// The thresholds of rows of losses, and the weights that follow from them.
//
// alpha* without a sort: histograms of the float bits, each inside one or two bins of the previous
// one, until a bin is a single float; Algorithm 1 on the rest is then exact. Two passes over all
// losses.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "interface.h"
#include "kernels.h"
#include "numbers.h"

using namespace lossmaxpool;

namespace {

// One pool of losses: the sums of those classified so far, and the undecided ones.
class Pool {
 public:
  // room: workspace of n floats for the undecided losses.
  Pool(const float* losses, const uint8_t* valid, int64_t n, bool marked, int threads, float* room)
      : losses_(losses), valid_(valid), n_(n), marked_(marked), threads_(threads), room_(room) {}

  // Count the undecided losses by the bits above `shift`, from low + 1 to high.
  std::vector<int64_t> histogram(int32_t low, int32_t high, int32_t shift, Counts* counts) const;

  // Classify the losses outside (low, high]: those above are capped, those below are not.
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

// Fixed chunks, reduced in order: bit-identical for any number of threads.
int64_t chunks_of(int64_t n) { return (n + kChunk - 1) / kChunk; }

Mass add(const std::vector<Split>& parts, const Mass& start, double q) {
  Mass total = start;
  for (const Split& part : parts) total.anchor = std::max(total.anchor, part.below.anchor);
  if (total.anchor == 0.0) return total;
  const auto moved = [&](const Mass& mass) {
    return mass.sum > 0 ? mass.sum * std::exp(q * std::log(mass.anchor / total.anchor)) : 0.0;
  };
  total.sum = moved(start);
  for (const Split& part : parts) total.sum += moved(part.below);
  return total;
}

std::vector<int64_t> Pool::histogram(int32_t low, int32_t high, int32_t shift,
                                     Counts* counts) const {
  const Kernels& K = kernels();
  const int64_t size = ((high - low - 1) >> shift) + 1;
  const int64_t chunks = chunks_of(n_);
  std::vector<int64_t> total(size, 0);
#pragma omp parallel num_threads(team_for(n_, threads_))
  {
    std::vector<uint32_t> bins(size, 0);
    Counts own{0, 0, true};
#pragma omp for schedule(static) nowait
    for (int64_t i = 0; i < chunks; ++i)
      K.histogram(losses_ + i * kChunk, valid_ ? valid_ + i * kChunk : nullptr,
                  std::min(kChunk, n_ - i * kChunk), marked_, low, shift, bins.data(), &own);
    // Integers, so the order of the threads does not matter.
#pragma omp critical
    {
      for (int64_t k = 0; k < size; ++k) total[k] += bins[k];
      counts->valid += own.valid;
      counts->zeros += own.zeros;
      counts->sound = counts->sound && own.sound;
    }
  }
  return total;
}

void Pool::split(int32_t low, int32_t high, double q) {
  const Kernels& K = kernels();
  const int64_t chunks = chunks_of(n_);
  const int threads = team_for(n_, threads_);
  std::vector<Split> parts(chunks);
  // Threads take consecutive runs of chunks and write undecided losses to the front of their own
  // run, never ahead of the read position, so the input may be in `room` itself.
  std::vector<int64_t> kept(threads, 0);
  const auto first_chunk = [&](int64_t thread) { return chunks * thread / threads; };
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t thread = 0; thread < threads; ++thread) {
    float buffer[kChunk];
    float* const front = room_ + first_chunk(thread) * kChunk;
    for (int64_t i = first_chunk(thread); i < first_chunk(thread + 1); ++i) {
      K.split(losses_ + i * kChunk, valid_ ? valid_ + i * kChunk : nullptr,
              std::min(kChunk, n_ - i * kChunk), low, high, q, buffer, &parts[i]);
      std::copy(buffer, buffer + parts[i].inside, front + kept[thread]);
      kept[thread] += parts[i].inside;
    }
  }
  for (const Split& part : parts) {
    above += part.above;
    above_sum += part.above_sum;
  }
  below = add(parts, below, q);
  int64_t size = 0;
  for (int64_t thread = 0; thread < threads; ++thread) {
    if (kept[thread] == 0) continue;  // room_ may be null for an empty pool
    const float* front = room_ + first_chunk(thread) * kChunk;
    std::memmove(room_ + size, front, static_cast<size_t>(kept[thread]) * sizeof(float));
    size += kept[thread];
  }
  losses_ = room_;
  valid_ = nullptr;
  n_ = size;
}

// Algorithm 1 of Rota Bulò et al. 2017 on a few values with multiplicities.
//
// `counts[k]` losses of `value(k)`, ascending, above losses with the power sum `below`; `support`
// is the part of m left for all of them. Returns alpha*; sums are relative to the current value, so
// that no power overflows.
template <typename Value>
double threshold(const std::vector<int64_t>& counts, Value value, const Mass& below, double q,
                 double support) {
  int64_t from_here = 0;
  for (const int64_t count : counts) from_here += count;
  double sum = below.sum, anchor = below.anchor;  // power sum of the uncapped losses so far
  for (size_t k = 0; k < counts.size(); ++k) {
    if (counts[k] == 0) continue;
    const double v = value(k);
    const double relative = sum > 0 ? sum * std::exp(q * std::log(anchor / v)) : 0.0;
    const double room = support - static_cast<double>(from_here);
    // eta > 0 at v, after subtracting its own losses from both sides: all from here on are capped.
    if (room > relative) break;
    sum = relative + static_cast<double>(counts[k]);
    anchor = v;
    from_here -= counts[k];
  }
  const double room = support - static_cast<double>(from_here);
  return sum > 0 ? anchor * std::pow(sum / room, 1 / q) : 0.0;
}

constexpr int32_t kLargestBits = 0x7f7fffff;
constexpr int32_t kCoarseShift = 18;  // 8160 bins over all positive floats
constexpr int32_t kMostBins = 8192;

// Much larger than the rounding of a bound's sums, much smaller than a bin.
constexpr double kSlack = 1e-9;

double value_of(int32_t bits) { return float_of(bits); }

// The bits of the largest float that is at most x.
int32_t floor_bits(double x) {
  const float rounded = static_cast<float>(x);
  return bits_of(static_cast<double>(rounded) > x ? std::nextafter(rounded, 0.0f) : rounded);
}

struct Root {
  double alpha;
  double capped_sum;
  double room;
  double ties;  // losses equal to alpha (p = 1)
};

// Narrow (low, high] around alpha* until every bin is one float.
class Search {
 public:
  Search(Pool& pool, std::vector<int64_t> counts, double m) : pool_(pool), counts_(counts), m_(m) {}

  Root power(double q) {
    for (;;) {
      const double support = m_ - static_cast<double>(pool_.above);
      const auto top = [&](size_t k) { return value_of(last_of(k)); };
      const double upper = threshold(counts_, top, pool_.below, q, support);
      if (shift_ == 0 || empty()) return finish(upper);
      const auto bottom = [&](size_t k) { return value_of(first_of(k)); };
      const double lower = threshold(counts_, bottom, pool_.below, q, support);
      // alpha* is monotone in every loss, so it lies between those of the losses rounded down and
      // up.
      narrow(std::max(low_, std::min(high_, floor_bits(lower * (1 - kSlack)))),
             std::max(low_, std::min(high_, floor_bits(std::min(upper * (1 + kSlack),
                                                                value_of(kLargestBits))))),
             q);
    }
  }

  // The (floor(m) + 1)-th largest loss.
  Root order() {
    for (;;) {
      const int64_t rank = static_cast<int64_t>(std::floor(m_)) + 1 - pool_.above;
      size_t k = counts_.size();
      int64_t reached = 0;
      while (reached < rank) reached += counts_[--k];
      if (shift_ == 0) {
        const double ties = static_cast<double>(counts_[k]);
        for (size_t j = k + 1; j < counts_.size(); ++j) add_bin(j);
        return Root{value_of(first_of(k)), pool_.above_sum, m_ - static_cast<double>(pool_.above),
                    ties};
      }
      narrow(first_of(k) - 1, last_of(k), 1.0);
    }
  }

 private:
  int32_t first_of(size_t k) const { return low_ + 1 + (static_cast<int32_t>(k) << shift_); }
  int32_t last_of(size_t k) const {
    const int64_t last = int64_t{low_} + (static_cast<int64_t>(k + 1) << shift_);
    return static_cast<int32_t>(std::min<int64_t>(last, high_));
  }
  bool empty() const {
    return std::all_of(counts_.begin(), counts_.end(), [](int64_t count) { return count == 0; });
  }

  void narrow(int32_t low, int32_t high, double q) {
    low_ = low;
    high_ = std::max(low, high);
    pool_.split(low_, high_, q);
    int32_t shift = 0;
    while (((high_ - low_) >> shift) >= kMostBins) ++shift;
    shift_ = std::min(shift, shift_ - 1);
    Counts counts{0, 0, true};
    counts_ = pool_.histogram(low_, high_, shift_, &counts);
  }

  void add_bin(size_t k) {
    pool_.above += counts_[k];
    pool_.above_sum += static_cast<double>(counts_[k]) * value_of(first_of(k));
  }

  Root finish(double alpha) {
    for (size_t k = 0; k < counts_.size(); ++k)
      if (counts_[k] > 0 && value_of(first_of(k)) > alpha) add_bin(k);
    return Root{alpha, pool_.above_sum, m_ - static_cast<double>(pool_.above), 1.0};
  }

  Pool& pool_;
  std::vector<int64_t> counts_;
  double m_;
  int32_t low_ = 0, high_ = kLargestBits, shift_ = kCoarseShift;
};

// Pools up to this size are sorted, which is cheaper than scanning the bins of a histogram.
constexpr int64_t kFew = 512;

// The positive ones of `size` losses.
std::vector<float> positive_losses(const float* losses, const uint8_t* valid, int64_t size,
                                   bool marked, Counts* counts) {
  std::vector<float> positive;
  for (int64_t i = 0; i < size; ++i) {
    const float l = losses[i];
    if ((valid && !valid[i]) || (marked && l < 0.0f)) continue;
    counts->valid += 1;
    counts->zeros += l == 0.0f;
    counts->sound &= l >= 0.0f && std::isfinite(l);
    if (l > 0.0f) positive.push_back(l);
  }
  return positive;
}

// The root for m < x.size() positive losses, or, for p = 1, floor(m) < x.size().
Root root_of_few(std::vector<float>& x, double m, double p) {
  std::sort(x.begin(), x.end());
  Root root{0.0, 0.0, m, 1.0};
  if (p == 1) {
    root.alpha = x[x.size() - 1 - static_cast<size_t>(m)];
    root.ties = static_cast<double>(std::count(x.begin(), x.end(), static_cast<float>(root.alpha)));
  } else {
    const std::vector<int64_t> ones(x.size(), 1);
    const auto value = [&](size_t k) { return static_cast<double>(x[k]); };
    root.alpha = threshold(ones, value, Mass{0.0, 0.0}, std::isinf(p) ? 1.0 : p / (p - 1), m);
  }
  for (const float l : x) {
    if (l <= root.alpha) continue;
    root.capped_sum += l;
    root.room -= 1;
  }
  return root;
}

struct Request {
  double p, fraction, least;
  bool marked;
  int threads;
};

void solve_row(const float* losses, const uint8_t* valid, int64_t size, const Request& request,
               float* room, double* packed, int64_t stride) {
  const double p = request.p;
  Pool pool(losses, valid, size, request.marked, request.threads, room);
  Counts counts{0, 0, true};
  const bool few = size <= kFew;
  std::vector<float> losses_of_few;
  std::vector<int64_t> bins;
  if (few)
    losses_of_few = positive_losses(losses, valid, size, request.marked, &counts);
  else
    bins = pool.histogram(0, kLargestBits, kCoarseShift, &counts);
  const double n = static_cast<double>(counts.valid);
  const double m = std::min(std::max(request.fraction * n, request.least), n);
  const double cap = counts.valid > 0 ? std::pow(n / m, 1 / p) / n : 0.0;
  const int64_t positive = counts.valid - counts.zeros;

  Root root{0.0, 0.0, m, 1.0};
  if (!counts.sound) {
    root.capped_sum = std::numeric_limits<double>::quiet_NaN();
  } else if (p == 1 ? std::floor(m) + 1 > static_cast<double>(positive)
                    : static_cast<double>(positive) <= m) {
    // Every positive loss is capped.
    pool.split(0, 0, 1.0);
    root.capped_sum = pool.above_sum;
  } else if (few) {
    root = root_of_few(losses_of_few, m, p);
  } else {
    Search search(pool, std::move(bins), m);
    root = p == 1 ? search.order() : search.power(std::isinf(p) ? 1.0 : p / (p - 1));
  }
  const double share = p != 1 ? 1.0 : root.alpha > 0 ? root.room / root.ties : 0.0;
  const double row[6] = {cap * (root.capped_sum + root.room * root.alpha), root.alpha, cap,
                         cap * share, n, m};
  for (int i = 0; i < 6; ++i) packed[i * stride] = row[i];
}

}  // namespace

extern "C" void lossmaxpool_solve(const float* losses, const uint8_t* valid, int64_t rows,
                                  int64_t n, double p, double fraction, double least,
                                  int64_t marked, int64_t threads, float* room,
                                  double* packed) {
  const bool by_row = rows >= threads;  // otherwise the threads share a row
  const Request request{p, fraction, least, marked != 0, by_row ? 1 : static_cast<int>(threads)};
  const auto solve = [&](int64_t row) {
    solve_row(losses + row * n, valid ? valid + row * n : nullptr, n, request, room + row * n,
              packed + row, rows);
  };
  if (!by_row) {
    // Avoid a team of one thread: parallel regions inside it would be nested and restart threads.
    for (int64_t row = 0; row < rows; ++row) solve(row);
    return;
  }
#pragma omp parallel for num_threads(team_for(rows * n, threads)) schedule(dynamic)
  for (int64_t row = 0; row < rows; ++row) solve(row);
}

namespace lossmaxpool {

Weighing weighing_of(const double* packed, int64_t rows, int64_t row, double exponent,
                            double upstream) {
  const double value = packed[row], alpha = packed[rows + row];
  const double cap = packed[2 * rows + row], tie = packed[3 * rows + row];
  if (std::isnan(value)) upstream = value;
  float floor = static_cast<float>(alpha);
  if (static_cast<double>(floor) > alpha) floor = std::nextafter(floor, 0.0f);
  // The rounding error of alpha* in float32, raised to the same power.
  const double lost = floor > 0.0f && std::isfinite(exponent)
                          ? std::pow(static_cast<double>(floor) / alpha, exponent)
                          : 0.0;
  return Weighing{static_cast<float>(upstream * cap),
                  static_cast<float>(upstream * cap * (exponent == 0.0 ? 1.0 : lost)),
                  static_cast<float>(upstream * tie), floor, static_cast<float>(exponent)};
}

}  // namespace lossmaxpool

// w* for pixel losses other than the cross-entropy.
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
