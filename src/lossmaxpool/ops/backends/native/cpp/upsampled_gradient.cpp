// The gradient of low-resolution logits. Every band keeps what it gives to the row above and to the
// row below it; rows are added up afterwards, so that no two threads add to the same number and the
// bits do not depend on how many threads there are.
#include "interface.h"
#include "pools.h"
#include "upsampling.h"

using namespace lossmaxpool;

namespace {

// What one band gives to its two rows, accumulated over its output rows before it is narrowed to
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

  // Adds to the rows [classes][width] of the low resolution.
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

extern "C" void lossmaxpool_upsampled_gradient(const Problem* problem) {
  const Problem& P = *problem;
  const Kernels& K = kernels();
  const Scoring scoring = scoring_of(P);
  const Axis rows(P.low_height, P.height), columns(P.low_width, P.width);
  const int64_t pixels = std::min(tile_pixels(P.classes), P.width);
  const int64_t row = P.classes * P.low_width;  // floats of one low-resolution row
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
      const Weighing weighing = weighing_of(P, image);
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
      void* gradient = image_of(P.gradient, P.gradient_strides, image, P.logits_format);
      K.store(sum.data(), P.low_width, gradient, P.logits_format, P.gradient_strides, P.low_width,
              low * P.low_width, P.low_width, P.classes);
    }
  }
}
