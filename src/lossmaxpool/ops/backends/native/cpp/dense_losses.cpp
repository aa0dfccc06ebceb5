// Logits as large as the target to losses: one pass over the logits.
#include "interface.h"
#include "tiles.h"

using namespace lossmaxpool;

extern "C" void lossmaxpool_dense_losses(const Problem* problem) {
  const Problem& P = *problem;
  const Kernels& K = kernels();
  const Scoring scoring = scoring_of(P);
  const int64_t size = P.height * P.width;
  const int64_t pixels = tile_pixels(P.classes);
  const int64_t step = tile_step(pixels);
  const int64_t tiles = (size + pixels - 1) / pixels;
#pragma omp parallel num_threads(team(P, P.batch * tiles))
  {
    std::vector<float> tile(step * P.classes), work(2 * pixels);
    std::vector<int32_t> label(pixels);
#pragma omp for schedule(static)
    for (int64_t index = 0; index < P.batch * tiles; ++index) {
      const int64_t image = index / tiles, first = index % tiles * pixels;
      const int64_t n = std::min(pixels, size - first);
      const Strides& s = P.logits_strides;
      const void* logits = image_of(P.logits, s, image, P.logits_format);
      K.labels(P.target, P.target_format, image * size + first, n, P.ignore_index, P.classes,
               label.data());
      Tile view{tile.data(), step, P.classes, n, label.data()};
      if (in_place(s, P.logits_format, P.width, first, n)) {
        view.x = static_cast<const float*>(logits) + place_of(s, P.width, first);
        view.step = s.channel;
      } else {
        K.load(logits, P.logits_format, s, P.width, first, n, P.classes, tile.data(), step);
      }
      K.losses(view, scoring, work.data(), P.losses + image * size + first);
    }
  }
}
