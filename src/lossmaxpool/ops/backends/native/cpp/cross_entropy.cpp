// The cross-entropy of every pixel and its gradient: images are cut into tiles, which threads
// share. The tiles and the order of every sum do not depend on the number of threads.
#include <algorithm>
#include <cstdint>
#include <vector>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "interface.h"
#include "kernels.h"

using namespace lossmaxpool;

namespace {

// Floats of one tile: a few tiles fit in a core's L2 cache.
constexpr int64_t kTileFloats = 24 * 1024;

int64_t tile_pixels(int64_t classes) {
  const int64_t fit = kTileFloats / std::max<int64_t>(classes, 1) / 16 * 16;
  return std::min<int64_t>(std::max<int64_t>(fit, 16), 1024);
}

// Buffers need not be larger than an image: for small ones, clearing them would take most of a call.
int64_t buffer_pixels(const CrossEntropy& call) {
  return std::min(tile_pixels(call.classes), call.height * call.width);
}

// Step between classes of a tile: an odd number of cache lines, so that a pixel's classes do not
// compete for the same cache sets.
int64_t tile_step(int64_t pixels) { return ((pixels + 15) / 16 | 1) * 16; }

// At most one thread per piece of work, and none with less work than this, which would take longer
// to start than it saves.
constexpr int64_t kScoresPerThread = 1 << 14;
int team(const CrossEntropy& call, int64_t pieces) {
  const int64_t scores = call.batch * call.classes * call.height * call.width;
  const int64_t worth = std::min({call.threads, pieces, scores / kScoresPerThread});
  return static_cast<int>(std::max<int64_t>(worth, 1));
}

int64_t format_bytes(int64_t format) { return format == FLOAT32 ? 4 : 2; }

const void* logits_of(const CrossEntropy& P, int64_t image) {
  const int64_t start = image * P.logits_strides.image * format_bytes(P.logits_format);
  return static_cast<const char*>(P.logits) + start;
}

void* gradient_of(const CrossEntropy& P, int64_t image) {
  const int64_t start = image * P.gradient_strides.image * format_bytes(P.logits_format);
  return static_cast<char*>(P.gradient) + start;
}

// Whether pixels [first, first + pixels) of float32 planes can be used in place.
bool in_place(const Strides& s, int64_t format, int64_t width, int64_t first,
              int64_t pixels) {
  return format == FLOAT32 && s.column == 1 && first / width == (first + pixels - 1) / width;
}

int64_t place_of(const Strides& s, int64_t width, int64_t first) {
  return first / width * s.row + first % width * s.column;
}

Scoring scoring_of(const CrossEntropy& call) {
  const int64_t classes = call.classes;
  double total = 0.0;
  for (int64_t c = 0; c < classes; ++c) total += call.weight ? call.weight[c] : 1.0f;
  return Scoring{call.weight, static_cast<float>(1.0 - call.label_smoothing),
                 static_cast<float>(call.label_smoothing / static_cast<double>(classes)),
                 static_cast<float>(total)};
}

double divisor_of(const CrossEntropy& P) {
  const double* valid = P.packed + 4 * P.rows;
  const int64_t some = std::count_if(valid, valid + P.rows, [](double n) { return n > 0; });
  return P.reduction == MEAN ? static_cast<double>(std::max<int64_t>(some, 1)) : 1.0;
}

Weighing weighing_of_image(const CrossEntropy& P, int64_t image, double divisor) {
  const int64_t row = image / (P.batch / P.rows);  // a pool is consecutive images
  const float upstream = P.grad_value[P.reduction == NONE ? row : 0];
  return weighing_of(P.packed, P.rows, row, P.exponent, static_cast<float>(upstream / divisor));
}

// Page faults of a new gradient cost more than its arithmetic: request 2 MiB pages.
void prefer_large_pages(void* data, int64_t bytes) {
#ifdef __linux__
  constexpr uintptr_t kLarge = uintptr_t{2} << 20;
  const uintptr_t start = (reinterpret_cast<uintptr_t>(data) + kLarge - 1) & ~(kLarge - 1);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + static_cast<uintptr_t>(bytes)) &
                        ~(kLarge - 1);
  // Only a hint: if the kernel rejects it, ordinary pages are used.
  if (start < end) madvise(reinterpret_cast<void*>(start), end - start, MADV_HUGEPAGE);
#else
  (void)data, (void)bytes;
#endif
}

// --- Logits as large as the target ---

// Iterates over the tiles of all images, with the buffer of one thread.
class DenseTiles {
 public:
  explicit DenseTiles(const CrossEntropy& call)
      : P_(call), size_(call.height * call.width), pixels_(tile_pixels(call.classes)),
        step_(tile_step(buffer_pixels(call))), per_image_((size_ + pixels_ - 1) / pixels_),
        label_(buffer_pixels(call)) {}

  static int64_t count(const CrossEntropy& call) {
    const int64_t pixels = tile_pixels(call.classes);
    return call.batch * ((call.height * call.width + pixels - 1) / pixels);
  }

  // Move to a tile: float32 planes are used in place, everything else is gathered.
  Tile load(int64_t index) {
    image = index / per_image_;
    first = index % per_image_ * pixels_;
    at = image * size_ + first;
    const int64_t n = std::min(pixels_, size_ - first);
    const Strides& s = P_.logits_strides;
    const void* logits = logits_of(P_, image);
    kernels().labels(P_.target, P_.target_format, at, n, P_.ignore_index, P_.classes,
                     label_.data());
    if (in_place(s, P_.logits_format, P_.width, first, n))
      return Tile{static_cast<const float*>(logits) + place_of(s, P_.width, first), s.channel,
                  P_.classes, n, label_.data()};
    scores_.resize(step_ * P_.classes);
    kernels().load(logits, P_.logits_format, s, P_.width, first, n, P_.classes, scores_.data(),
                   step_);
    return Tile{scores_.data(), step_, P_.classes, n, label_.data()};
  }

  int64_t image = 0, first = 0;  // of the tile
  int64_t at = 0;                // index of its first pixel among all images

 private:
  const CrossEntropy& P_;
  int64_t size_, pixels_, step_, per_image_;
  std::vector<float> scores_;
  std::vector<int32_t> label_;
};

}  // namespace

extern "C" void lossmaxpool_dense_losses(const CrossEntropy* call) {
  const CrossEntropy& P = *call;
  const Scoring scoring = scoring_of(P);
  const int64_t count = DenseTiles::count(P);
#pragma omp parallel num_threads(team(P, count))
  {
    DenseTiles tiles(P);
    std::vector<float> work(2 * buffer_pixels(P));
#pragma omp for schedule(static)
    for (int64_t index = 0; index < count; ++index) {
      const Tile tile = tiles.load(index);
      kernels().losses(tile, scoring, work.data(), P.losses + tiles.at);
    }
  }
}

extern "C" void lossmaxpool_dense_gradient(const CrossEntropy* call) {
  const CrossEntropy& P = *call;
  const Kernels& K = kernels();
  const Scoring scoring = scoring_of(P);
  const int64_t count = DenseTiles::count(P), pixels = buffer_pixels(P);
  const double divisor = divisor_of(P);
  const int64_t step = tile_step(pixels);
  const Strides& g = P.gradient_strides;
  prefer_large_pages(P.gradient,
                     P.batch * P.classes * P.height * P.width * format_bytes(P.logits_format));
#pragma omp parallel num_threads(team(P, count))
  {
    DenseTiles tiles(P);
    std::vector<float> out, work(5 * pixels);
    float* const weights = work.data() + 4 * pixels;
#pragma omp for schedule(static)
    for (int64_t index = 0; index < count; ++index) {
      const Tile tile = tiles.load(index);
      void* gradient = gradient_of(P, tiles.image);
      K.weigh(P.losses + tiles.at, tile.pixels, weighing_of_image(P, tiles.image, divisor), weights);
      if (in_place(g, P.logits_format, P.width, tiles.first, tile.pixels)) {
        float* place = static_cast<float*>(gradient) + place_of(g, P.width, tiles.first);
        K.gradient(tile, scoring, weights, work.data(), place, g.channel);
      } else {
        out.resize(step * P.classes);
        K.gradient(tile, scoring, weights, work.data(), out.data(), step);
        K.store(out.data(), step, gradient, P.logits_format, g, P.width, tiles.first, tile.pixels,
                P.classes);
      }
    }
  }
}

// --- Logits smaller than the target: bilinear upsampling, align_corners = False, as in torch ---
//
// A band is the output rows between the centers of two neighboring low-resolution rows. It reads
// only these two rows, and its gradient adds only to them. Bands are the unit of work; their width
// is cut into cache-sized tiles, and scores exist for one tile at a time.

namespace {

// out[i] = (1 - fraction[i]) * in[lower[i]] + fraction[i] * in[upper[i]]
struct Axis {
  std::vector<int32_t> lower, upper;  // lower ascends
  std::vector<float> fraction;

  Axis(int64_t in, int64_t out) : lower(out), upper(out), fraction(out) {
    const float scale = static_cast<float>(in) / static_cast<float>(out);
    for (int64_t i = 0; i < out; ++i) {
      const float source = std::max(scale * (static_cast<float>(i) + 0.5f) - 0.5f, 0.0f);
      lower[i] = std::min<int32_t>(static_cast<int32_t>(source), static_cast<int32_t>(in) - 1);
      upper[i] = std::min<int32_t>(lower[i] + 1, static_cast<int32_t>(in) - 1);
      fraction[i] = source - static_cast<float>(lower[i]);
    }
  }

  // The outputs [first, last) between input `band` and the next one.
  int64_t first(int64_t band) const {
    return std::lower_bound(lower.begin(), lower.end(), static_cast<int32_t>(band)) - lower.begin();
  }
  int64_t last(int64_t band) const { return first(band + 1); }
};

// The two low-resolution rows of a band, in float32, and the scores of a piece of an output row.
class Band {
 public:
  Band(const CrossEntropy& call, const Axis& rows, const Axis& columns)
      : P_(call), rows_(rows), columns_(columns),
        top_(call.classes * call.low_width), bottom_(top_.size()), line_(top_.size()) {}

  void load(int64_t image, int64_t band) {
    const void* logits = logits_of(P_, image);
    load_row(logits, band, top_.data());
    load_row(logits, std::min(band + 1, P_.low_height - 1), bottom_.data());
  }

  // Output pixels [first, first + n) of output row y, as a tile [classes][step].
  void scores(int64_t y, int64_t first, int64_t n, float* tile, int64_t step) {
    const Kernels& K = kernels();
    const int64_t width = P_.low_width;
    const int64_t left = columns_.lower[first];
    const int64_t used = columns_.upper[first + n - 1] - left + 1;
    for (int64_t c = 0; c < P_.classes; ++c) {
      float* const line = line_.data() + c * width;
      K.blend(top_.data() + c * width + left, bottom_.data() + c * width + left,
              rows_.fraction[y], used, line + left);
      K.stretch(line, &columns_.lower[first], &columns_.upper[first], &columns_.fraction[first], n,
                tile + c * step);
    }
  }

 private:
  void load_row(const void* logits, int64_t row, float* out) {
    kernels().load(logits, P_.logits_format, P_.logits_strides, P_.low_width, row * P_.low_width,
                   P_.low_width, P_.classes, out, P_.low_width);
  }

  const CrossEntropy& P_;
  const Axis& rows_;
  const Axis& columns_;
  std::vector<float> top_, bottom_, line_;
};

// The sums that one band adds to its two rows, accumulated over its output rows before it is narrowed to
// the low resolution: the narrowing is paid once per band.
class Gathered {
 public:
  Gathered(int64_t classes, int64_t pixels)
      : classes_(classes), pixels_(pixels), top_(classes * pixels), bottom_(classes * pixels) {}

  void clear() {
    std::fill(top_.begin(), top_.end(), 0.0f);
    std::fill(bottom_.begin(), bottom_.end(), 0.0f);
  }

  void add(const float* gradient, float fraction, int64_t n) {
    for (int64_t c = 0; c < classes_; ++c)
      kernels().divide(gradient + c * pixels_, fraction, n, &top_[c * pixels_],
                       &bottom_[c * pixels_]);
  }

  // Add to the rows [classes][width] of the low resolution.
  void narrow(const Axis& columns, int64_t first, int64_t n, int64_t width, float* top,
              float* bottom) const {
    for (int64_t c = 0; c < classes_; ++c) {
      const int32_t* lower = &columns.lower[first];
      const int32_t* upper = &columns.upper[first];
      const float* fraction = &columns.fraction[first];
      kernels().gather(&top_[c * pixels_], lower, upper, fraction, n, top + c * width);
      kernels().gather(&bottom_[c * pixels_], lower, upper, fraction, n, bottom + c * width);
    }
  }

 private:
  int64_t classes_, pixels_;
  std::vector<float> top_, bottom_;
};

}  // namespace

extern "C" void lossmaxpool_upsampled_losses(const CrossEntropy* call) {
  const CrossEntropy& P = *call;
  const Kernels& K = kernels();
  const Scoring scoring = scoring_of(P);
  const Axis rows(P.low_height, P.height), columns(P.low_width, P.width);
  const int64_t pixels = std::min(tile_pixels(P.classes), P.width);
#pragma omp parallel num_threads(team(P, P.batch * P.low_height))
  {
    Band band(P, rows, columns);
    std::vector<float> tile(pixels * P.classes), work(2 * pixels);
    std::vector<int32_t> label(pixels);
#pragma omp for schedule(static)
    for (int64_t index = 0; index < P.batch * P.low_height; ++index) {
      const int64_t image = index / P.low_height, low = index % P.low_height;
      band.load(image, low);
      for (int64_t y = rows.first(low); y < rows.last(low); ++y) {
        for (int64_t first = 0; first < P.width; first += pixels) {
          const int64_t n = std::min(pixels, P.width - first);
          const int64_t at = (image * P.height + y) * P.width + first;
          K.labels(P.target, P.target_format, at, n, P.ignore_index, P.classes, label.data());
          band.scores(y, first, n, tile.data(), pixels);
          K.losses(Tile{tile.data(), pixels, P.classes, n, label.data()}, scoring, work.data(),
                   P.losses + at);
        }
      }
    }
  }
}

// Every band stores its gradients for the rows above and below it; rows are summed afterwards, so
// that no two threads write to the same number.
extern "C" void lossmaxpool_upsampled_gradient(const CrossEntropy* call) {
  const CrossEntropy& P = *call;
  const Kernels& K = kernels();
  const Scoring scoring = scoring_of(P);
  const Axis rows(P.low_height, P.height), columns(P.low_width, P.width);
  const int64_t pixels = std::min(tile_pixels(P.classes), P.width);
  const int64_t row = P.classes * P.low_width;  // floats of one low-resolution row
  const double divisor = divisor_of(P);
#pragma omp parallel num_threads(team(P, P.batch * P.low_height))
  {
    Band band(P, rows, columns);
    Gathered gathered(P.classes, pixels);
    std::vector<float> tile(pixels * P.classes), out(pixels * P.classes), work(5 * pixels);
    std::vector<int32_t> label(pixels);
    float* const weights = work.data() + 4 * pixels;
#pragma omp for schedule(static)
    for (int64_t index = 0; index < P.batch * P.low_height; ++index) {
      const int64_t image = index / P.low_height, low = index % P.low_height;
      const Weighing weighing = weighing_of_image(P, image, divisor);
      float* const top = P.scratch + index * 2 * row;
      band.load(image, low);
      for (int64_t first = 0; first < P.width; first += pixels) {
        const int64_t n = std::min(pixels, P.width - first);
        gathered.clear();
        for (int64_t y = rows.first(low); y < rows.last(low); ++y) {
          const int64_t at = (image * P.height + y) * P.width + first;
          K.labels(P.target, P.target_format, at, n, P.ignore_index, P.classes, label.data());
          K.weigh(P.losses + at, n, weighing, weights);
          band.scores(y, first, n, tile.data(), pixels);
          K.gradient(Tile{tile.data(), pixels, P.classes, n, label.data()}, scoring,
                     weights, work.data(), out.data(), pixels);
          gathered.add(out.data(), rows.fraction[y], n);
        }
        gathered.narrow(columns, first, n, P.low_width, top, top + row);
      }
    }

    std::vector<float> sum(row);
#pragma omp for schedule(static)
    for (int64_t index = 0; index < P.batch * P.low_height; ++index) {
      const int64_t image = index / P.low_height, low = index % P.low_height;
      const float* own = P.scratch + index * 2 * row;
      std::copy(own, own + row, sum.begin());
      const auto add = [&](const float* other) {
        for (int64_t i = 0; i < row; ++i) sum[i] += other[i];
      };
      if (low > 0) add(own - row);                  // from below of the band above
      if (low == P.low_height - 1) add(own + row);  // the last band has no row below
      K.store(sum.data(), P.low_width, gradient_of(P, image), P.logits_format, P.gradient_strides, P.low_width,
              low * P.low_width, P.low_width, P.classes);
    }
  }
}

extern "C" void lossmaxpool_cross_entropy(const CrossEntropy* call) {
  const CrossEntropy& P = *call;
  const bool dense = P.low_height == P.height && P.low_width == P.width;
  (dense ? lossmaxpool_dense_losses : lossmaxpool_upsampled_losses)(call);
  lossmaxpool_solve(P.losses, nullptr, P.rows, P.batch / P.rows * P.height * P.width, P.p,
                    P.fraction, P.least, 1, P.threads, P.room, P.packed);
  double sum = 0.0;
  for (int64_t row = 0; row < P.rows; ++row) {
    const float value = static_cast<float>(P.packed[row]);
    if (P.reduction == NONE) P.value[row] = value;
    sum += value;
  }
  if (P.reduction != NONE) *P.value = static_cast<float>(sum / divisor_of(P));
}
