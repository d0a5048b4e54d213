#include "kernels/kernels.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "kernels/tables.h"
#include "kvasir/error.h"

namespace kvasir::kernels {

namespace {

const IsaKernels& isa_kernels(base::Isa isa) {
  const auto& available = base::available_isas();
  if (std::find(available.begin(), available.end(), isa) == available.end()) {
    throw Error(ErrorCode::kUnsupported, std::string("this processor lacks the instruction set ") +
                                             base::isa_name(isa) + "; the best that it has is " +
                                             base::isa_name(base::best_isa()));
  }
#if defined(__x86_64__)
  if (isa == base::Isa::kAvx512) return avx512_kernels();
  if (isa == base::Isa::kAvx2) return avx2_kernels();
#endif
  return scalar_kernels();
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

const Kernels& kernels_for(base::Isa isa) {
  return isa_kernels(isa).table;
}

double measure_fma_ceiling(base::Isa isa, int threads) {
  const IsaKernels& kernels = isa_kernels(isa);
  // Rounds for about a millisecond: short enough to fit between the interruptions of a shared machine.
  std::size_t rounds = 1000;
  for (;;) {
    const auto start = std::chrono::steady_clock::now();
    kernels.multiply_adds(rounds);
    if (seconds_since(start) > 1e-3) break;
    rounds *= 2;
  }
  constexpr int kRuns = 40;
  std::vector<double> best(static_cast<std::size_t>(threads), 0.0);
  std::atomic<int> ready{0};
  const auto measure = [&](std::size_t t) {
    ready.fetch_add(1);
    while (ready.load() < threads) std::this_thread::yield();  // all at once: cores share power and clock
    for (int run = 0; run < kRuns; ++run) {
      const auto start = std::chrono::steady_clock::now();
      const double done = kernels.multiply_adds(rounds);
      best[t] = std::max(best[t], done / seconds_since(start));
    }
  };
  std::vector<std::jthread> others;
  for (std::size_t t = 1; t < best.size(); ++t) others.emplace_back(measure, t);
  measure(0);
  others.clear();  // joins
  double sum = 0;
  for (const double rate : best) sum += rate;
  return sum;
}

}  // namespace kvasir::kernels
