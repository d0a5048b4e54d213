#include <array>
#include <numeric>

#include "kernels/scalar/scalar.h"
#include "kernels/tables.h"

namespace kvasir::kernels {

namespace {

// Independent chains, enough to cover a latency of 4 cycles for two multiplies and two adds a cycle.
constexpr std::size_t kChains = 32;

double multiply_adds(std::size_t rounds) noexcept {
  std::array<float, kChains> sums;
  std::iota(sums.begin(), sums.end(), 0.0F);  // different, lest the compiler takes them for one
  volatile float input = 0.5F;                // unknown to the compiler, so that it cannot fold the loop
  const float a = input;
  for (std::size_t round = 0; round < rounds; ++round) {
    for (float& sum : sums) sum = sum * a + a;
  }
  for (const float sum : sums) input = sum;  // used, so that it cannot drop the loop
  return static_cast<double>(rounds * kChains);
}

}  // namespace

const IsaKernels& scalar_kernels() noexcept {
  static constexpr IsaKernels kKernels{
      .table = {.isa = base::Isa::kScalar,
                .pack_rows = scalar::pack_rows,
                .gemm_block = scalar::gemm_block,
                .attention = scalar::attention,
                .attention_scratch = scalar::attention_scratch,
                .layer_norm = scalar::layer_norm,
                .activate = scalar::activate,
                .softmax = scalar::softmax,
                .all_finite = scalar::all_finite,
                .convert_half = scalar::convert_half},
      .multiply_adds = multiply_adds,
  };
  return kKernels;
}

}  // namespace kvasir::kernels
