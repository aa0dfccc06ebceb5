// The gradient of logits as large as the target: one pass over them, straight into the output.
#include "interface.h"
#include "pages.h"
#include "pools.h"
#include "tiles.h"

using namespace lossmaxpool;

extern "C" void lossmaxpool_dense_gradient(const Problem* problem) {
  const Problem& P = *problem;
  const Kernels& K = kernels();
  const Scoring scoring = scoring_of(P);
  const int64_t size = P.height * P.width;
  const int64_t pixels = tile_pixels(P.classes);
  const int64_t step = tile_step(pixels);
  const int64_t tiles = (size + pixels - 1) / pixels;
  const Strides& s = P.logits_strides;
  const Strides& g = P.gradient_strides;
  prefer_large_pages(P.gradient,
                     P.batch * P.classes * size * format_bytes(P.logits_format));
#pragma omp parallel num_threads(team(P, P.batch * tiles))
  {
    std::vector<float> tile(step * P.classes), out(step * P.classes), work(5 * pixels);
    std::vector<int32_t> label(pixels);
    float* const weights = work.data() + 4 * pixels;
#pragma omp for schedule(static)
    for (int64_t index = 0; index < P.batch * tiles; ++index) {
      const int64_t image = index / tiles, first = index % tiles * pixels;
      const int64_t n = std::min(pixels, size - first);
      const void* logits = image_of(P.logits, s, image, P.logits_format);
      void* gradient = image_of(P.gradient, g, image, P.logits_format);
      const float* losses = P.losses + image * size + first;
      K.labels(P.target, P.target_format, image * size + first, n, P.ignore_index, P.classes,
               label.data());
      K.weigh(losses, n, weighing_of(P, image), weights);
      Tile view{tile.data(), step, P.classes, n, label.data()};
      if (in_place(s, P.logits_format, P.width, first, n)) {
        view.x = static_cast<const float*>(logits) + place_of(s, P.width, first);
        view.step = s.channel;
      } else {
        K.load(logits, P.logits_format, s, P.width, first, n, P.classes, tile.data(), step);
      }
      if (in_place(g, P.logits_format, P.width, first, n)) {
        K.gradient(view, scoring, weights, work.data(),
                   static_cast<float*>(gradient) + place_of(g, P.width, first), g.channel);
      } else {
        K.gradient(view, scoring, weights, work.data(), out.data(), step);
        K.store(out.data(), step, gradient, P.logits_format, g, P.width, first, n, P.classes);
      }
    }
  }
}
