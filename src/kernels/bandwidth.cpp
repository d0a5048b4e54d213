// What a product that reads its weights once is measured against.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "kernels/quants.h"
#include "tensor/buffer.h"

namespace kvasir::kernels {

namespace {

// All threads' buffers together, and each: whatever the caches hold of it from the last run is little. Of
// 256 MiB together, 32 MiB of cache gave a tenth.
constexpr std::size_t kBytes = std::size_t{1} << 30U;
constexpr std::size_t kMost = std::size_t{512} << 20U, kLeast = std::size_t{16} << 20U;
constexpr std::size_t kChunk = std::size_t{2} << 20U;  // between two looks at the clock
constexpr int kRuns = 2;                               // end to end

// How far ahead lines are fetched. Two cores of a Zen 5 read 80 GB/s without, 79, 82, 87 and 85 with 1, 2, 4
// and 8 KiB.
constexpr std::size_t kAhead = 4096;

using Four [[gnu::vector_size(16)]] = std::uint32_t;

std::uint32_t read(const std::uint8_t* p, std::size_t bytes) noexcept {
  const auto* words = reinterpret_cast<const Four*>(p);
  Four a{}, b{}, c{}, d{};  // not an array, which -O2 would keep in memory
  for (std::size_t i = 0; i < bytes / sizeof(Four); i += 4) {
    __builtin_prefetch(p + i * sizeof(Four) + kAhead);
    a |= words[i];
    b |= words[i + 1];
    c |= words[i + 2];
    d |= words[i + 3];
  }
  const Four all = (a | b) | (c | d);
  return all[0] | all[1] | all[2] | all[3];
}

}  // namespace

double measure_bandwidth(int threads) {
  using Clock = std::chrono::steady_clock;
  constexpr std::size_t kWindow = 8;  // chunks over which a rate is taken: caches do not hold so much ahead
  const auto count = static_cast<std::size_t>(threads);
  const std::size_t size = std::clamp(kBytes / count / kChunk * kChunk, kLeast, kMost);
  std::vector<tensor::Buffer<std::uint8_t>> buffers;
  for (std::size_t t = 0; t < count; ++t) {
    buffers.emplace_back(size);
    std::fill_n(buffers[t].data(), size, std::uint8_t{1});
  }
  std::vector<double> best(count, 0.0);
  std::atomic<std::size_t> ready{0};
  std::atomic<std::uint32_t> used{0};
  const auto measure = [&](std::size_t t) {
    ready.fetch_add(1);
    while (ready.load() < count) std::this_thread::yield();
    std::vector<Clock::time_point> at{Clock::now()};
    for (int run = 0; run < kRuns; ++run) {
      for (std::size_t i = 0; i < size; i += kChunk) {
        used.fetch_or(read(buffers[t].data() + i, kChunk));
        at.push_back(Clock::now());
      }
    }
    for (std::size_t i = kWindow; i < at.size(); ++i) {
      const double seconds = std::chrono::duration<double>(at[i] - at[i - kWindow]).count();
      best[t] = std::max(best[t], static_cast<double>(kWindow * kChunk) / seconds);
    }
  };
  std::vector<std::jthread> others;
  for (std::size_t t = 1; t < count; ++t) others.emplace_back(measure, t);
  measure(0);
  others.clear();  // joins
  double sum = 0;
  for (const double rate : best) sum += rate;
  return sum;
}

}  // namespace kvasir::kernels
