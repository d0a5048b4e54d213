#include "base/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <thread>

#include "base/cgroup.h"
#include "kvasir/error.h"

namespace kvasir::base {

const char* isa_name(Isa isa) noexcept {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "unknown";
}

const std::vector<Isa>& available_isas() {
  static const std::vector<Isa> isas = [] {
    std::vector<Isa> found{Isa::kScalar};
#if defined(__x86_64__)
    // __builtin_cpu_supports also checks XCR0: whether the operating system saves the wide registers.
    __builtin_cpu_init();
    // clang 14's builtin does not know the name f16c; F16C needs no more of the system than AVX does.
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    const bool f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && f16c;
    if (avx2) found.push_back(Isa::kAvx2);
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
      found.push_back(Isa::kAvx512);
    }
#endif
    return found;
  }();
  return isas;
}

Isa best_isa() {
  return available_isas().back();
}

Isa parse_isa(std::string_view name) {
  for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512}) {
    if (name != isa_name(isa)) continue;
    const auto& available = available_isas();
    if (std::find(available.begin(), available.end(), isa) == available.end()) {
      throw Error(ErrorCode::kUnsupported, "this processor lacks the instruction set " + std::string(name) +
                                               "; the best that it has is " + isa_name(best_isa()));
    }
    return isa;
  }
  throw Error(ErrorCode::kInvalidArgument,
              "unknown instruction set \"" + std::string(name) + "\"; use scalar, avx2 or avx512");
}

int usable_cores() {
  int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) cores = std::max(1, CPU_COUNT(&mask));
  if (const double quota = cgroup_cores(); quota > 0) {
    cores = std::min(cores, std::max(1, static_cast<int>(std::ceil(quota))));
  }
  return cores;
}

}  // namespace kvasir::base
