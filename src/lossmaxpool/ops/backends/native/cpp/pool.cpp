#include "pool.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace lossmaxpool {

namespace {

// Fixed chunks, reduced in their order: the same bits for any number of threads.
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

}  // namespace

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
    // Integers: the order of the threads does not matter.
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
  // Threads take consecutive runs of chunks and keep what is undecided at the front of their own
  // run: never ahead of what they read, so that the room may hold the losses themselves.
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
    if (kept[thread] == 0) continue;  // of an empty pool, room_ may be null
    const float* front = room_ + first_chunk(thread) * kChunk;
    std::memmove(room_ + size, front, static_cast<size_t>(kept[thread]) * sizeof(float));
    size += kept[thread];
  }
  losses_ = room_;
  valid_ = nullptr;
  n_ = size;
}

}  // namespace lossmaxpool
