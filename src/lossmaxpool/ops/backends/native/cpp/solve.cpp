// alpha* without a sort: histograms of the float bits, each inside one or two bins of the last, until
// a bin is a single float; then Algorithm 1 on what is left is exact. Two passes over all losses.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "algorithm1.h"
#include "interface.h"
#include "pool.h"

using namespace lossmaxpool;

namespace {

constexpr int32_t kLargestBits = 0x7f7fffff;
constexpr int32_t kCoarseShift = 18;  // 8160 bins over all positive floats
constexpr int32_t kMostBins = 8192;

// Far more than the rounding of a bound's sums, far less than a bin.
constexpr double kSlack = 1e-9;

double value_of(int32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// The bits of the largest float that is at most x.
int32_t floor_bits(double x) {
  float rounded = static_cast<float>(x);
  if (static_cast<double>(rounded) > x) rounded = std::nextafter(rounded, 0.0f);
  int32_t bits;
  std::memcpy(&bits, &rounded, sizeof bits);
  return bits;
}

struct Root {
  double alpha;
  double capped_sum;
  double room;
  double ties;  // losses equal to alpha (p = 1)
};

// Narrows (low, high] around alpha* until every bin is one float.
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
      // alpha* grows with every loss: it lies between those of the losses rounded down and up.
      narrow(std::max(low_, std::min(high_, floor_bits(lower * (1 - kSlack)))),
             std::max(low_, std::min(high_, floor_bits(std::min(upper * (1 + kSlack),
                                                                value_of(kLargestBits))))),
             q);
    }
  }

  // The loss number floor(m) + 1, from the largest on.
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
  std::vector<int64_t> bins = pool.histogram(0, kLargestBits, kCoarseShift, &counts);
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
  const bool by_row = rows >= threads;  // else the threads share a row
  const Request request{p, fraction, least, marked != 0, by_row ? 1 : static_cast<int>(threads)};
  const auto solve = [&](int64_t row) {
    solve_row(losses + row * n, valid ? valid + row * n : nullptr, n, request, room + row * n,
              packed + row, rows);
  };
  if (!by_row) {
    // Not a team of one: parallel regions inside one are nested, and start their threads anew.
    for (int64_t row = 0; row < rows; ++row) solve(row);
    return;
  }
#pragma omp parallel for num_threads(static_cast<int>(threads)) schedule(dynamic)
  for (int64_t row = 0; row < rows; ++row) solve(row);
}
