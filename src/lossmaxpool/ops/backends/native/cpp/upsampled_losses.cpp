// Low-resolution logits to losses at the target's size: the scores exist for one tile at a time.
#include "interface.h"
#include "upsampling.h"

using namespace lossmaxpool;

extern "C" void lossmaxpool_upsampled_losses(const Problem* problem) {
  const Problem& P = *problem;
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
