// Which vector instructions this processor has, and which of them are used.
#pragma once

#include <string_view>
#include <vector>

namespace kvasir::base {

enum class Isa { kScalar, kAvx2, kAvx512 };

// "scalar", "avx2", "avx512".
const char* isa_name(Isa isa) noexcept;

// Throws kInvalidArgument for another name, kUnsupported for a set that this processor or operating system
// lacks.
Isa parse_isa(std::string_view name);

// What can run here, plainest first; always holds kScalar.
//  kAvx2:   AVX2, FMA and F16C.
//  kAvx512: those and AVX512 F, BW, DQ and VL (Skylake-SP, Zen 4 and later).
const std::vector<Isa>& available_isas();

// The last of available_isas().
Isa best_isa();

// Cores that this process may use: those of its affinity mask, which also reflects cpusets, limited by the
// CPU quotas of cgroups (rounded up). At least 1.
int usable_cores();

}  // namespace kvasir::base
