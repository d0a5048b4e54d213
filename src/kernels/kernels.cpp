#include "kernels/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

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

void check_available(base::Isa isa) {
  const auto& available = base::available_isas();
  if (std::find(available.begin(), available.end(), isa) != available.end()) return;
  throw Error(ErrorCode::kUnsupported, std::string("this processor lacks the instruction set ") +
                                           base::isa_name(isa) + "; the best that it has is " +
                                           base::isa_name(base::best_isa()));
}

const IsaFp32Kernels& isa_fp32_kernels(base::Isa isa) {
  check_available(isa);
#if defined(__x86_64__)
  if (isa == base::Isa::kAvx512) return avx512_fp32_kernels();
  if (isa == base::Isa::kAvx2) return avx2_fp32_kernels();
#endif
  return scalar_fp32_kernels();
}

const IsaInt8Kernels& isa_int8_kernels(base::Isa isa) {
  check_available(isa);
#if defined(__x86_64__)
  if (isa == base::Isa::kAvx512 && has_vnni()) return avx512vnni_int8_kernels();
  if (isa != base::Isa::kScalar) return avx2_int8_kernels();
#endif
  return scalar_int8_kernels();
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

const Fp32Kernels& fp32_kernels_for(base::Isa isa) {
  return isa_fp32_kernels(isa).table;
}

namespace {

const IsaBf16Kernels* isa_bf16_kernels(base::Isa isa) {
  check_available(isa);
  if (isa == base::Isa::kScalar) return &scalar_bf16_kernels();
#if defined(__x86_64__)
  // clang 14's __builtin_cpu_supports does not know the name.
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned kAvx512Bf16 = 1U << 5U;
  const bool has_bf16 = __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & kAvx512Bf16) != 0;
  if (isa == base::Isa::kAvx512 && has_bf16) return &avx512bf16_kernels();
#endif
  return nullptr;
}

}  // namespace

const BackwardKernels& backward_kernels_for(base::Isa isa) {
  check_available(isa);
#if defined(__x86_64__)
  if (isa == base::Isa::kAvx512) return avx512_backward_kernels();
  if (isa == base::Isa::kAvx2) return avx2_backward_kernels();
#endif
  return scalar_backward_kernels();
}

const Bf16Kernels* bf16_kernels_for(base::Isa isa) {
  const IsaBf16Kernels* kernels = isa_bf16_kernels(isa);
  return kernels == nullptr ? nullptr : &kernels->table;
}

const Int8Kernels& int8_kernels_for(base::Isa isa) {
  return isa_int8_kernels(isa).table;
}

const QuantKernels& quant_kernels_for(base::Isa isa) {
  check_available(isa);
#if defined(__x86_64__)
  if (isa == base::Isa::kAvx512 && has_vnni()) return avx512vnni_quant_kernels();
  if (isa != base::Isa::kScalar) return avx2_quant_kernels();
#endif
  return scalar_quant_kernels();
}

const HalfKernels& half_kernels_for(base::Isa isa) {
  check_available(isa);
#if defined(__x86_64__)
  if (isa == base::Isa::kAvx512) return avx512_half_kernels();
  if (isa == base::Isa::kAvx2) return avx2_half_kernels();
#endif
  return scalar_half_kernels();
}

namespace {

// By turns, best of several short runs: 1 ms in all. What is compared differs by a factor of two or more.
bool bf16_is_faster(base::Isa isa) {
  const IsaBf16Kernels* bf16 = isa_bf16_kernels(isa);
  if (bf16 == nullptr || bf16->multiply_adds == nullptr) return false;
  constexpr std::size_t kRounds = 2000;
  constexpr int kRuns = 10;
  const auto rate = [](double (*multiply_adds)(std::size_t rounds) noexcept) {
    const auto start = std::chrono::steady_clock::now();
    const double done = multiply_adds(kRounds);
    return done / seconds_since(start);
  };
  double best_bf16 = 0, best_fp32 = 0;
  for (int run = 0; run < kRuns; ++run) {
    best_bf16 = std::max(best_bf16, rate(bf16->multiply_adds));
    best_fp32 = std::max(best_fp32, rate(isa_fp32_kernels(isa).multiply_adds));
  }
  return best_bf16 > best_fp32;
}

}  // namespace

const Kernels& kernels_for(base::Isa isa) {
  const auto table_of = [](base::Isa one) {
    return Kernels{.isa = one,
                   .fp32 = fp32_kernels_for(one),
                   .backward = backward_kernels_for(one),
                   .int8 = int8_kernels_for(one),
                   .half = half_kernels_for(one),
                   .quants = quant_kernels_for(one),
                   .bf16 = bf16_kernels_for(one),
                   .bf16_is_faster = bf16_is_faster(one)};
  };
  static const Kernels scalar = table_of(base::Isa::kScalar);
  if (isa == base::Isa::kScalar) return scalar;
  check_available(isa);
  static const Kernels avx2 = table_of(base::Isa::kAvx2);
  if (isa == base::Isa::kAvx2) return avx2;
  static const Kernels avx512 = table_of(base::Isa::kAvx512);
  return avx512;
}

bool has_vnni() noexcept {
#if defined(__x86_64__)
  return base::best_isa() == base::Isa::kAvx512 && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

namespace {

// Multiply-adds per second of a register-only loop, over all threads together, best of several runs.
double measure_ceiling(double (*multiply_adds)(std::size_t rounds) noexcept, int threads) {
  // Rounds for about a millisecond: short enough to fit between the interruptions of a shared machine.
  std::size_t rounds = 1000;
  for (;;) {
    const auto start = std::chrono::steady_clock::now();
    multiply_adds(rounds);
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
      const double done = multiply_adds(rounds);
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

}  // namespace

double measure_fma_ceiling(base::Isa isa, int threads) {
  return measure_ceiling(isa_fp32_kernels(isa).multiply_adds, threads);
}

double measure_bf16_ceiling(base::Isa isa, int threads) {
  const IsaBf16Kernels* kernels = isa_bf16_kernels(isa);
  return kernels == nullptr || kernels->multiply_adds == nullptr
             ? 0
             : measure_ceiling(kernels->multiply_adds, threads);
}

double measure_int8_ceiling(base::Isa isa, int threads) {
  return measure_ceiling(isa_int8_kernels(isa).multiply_adds, threads);
}

}  // namespace kvasir::kernels
