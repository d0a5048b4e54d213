#include <array>

#include "kernels/scalar/scalar.h"
#include "kernels/tables.h"

namespace kvasir::kernels {

namespace {

// The compiler makes vectors of four of the plain loops here, so that is what their ceiling is measured with.
// 12 independent chains: the latencies of a multiplication and an addition (3 + 3 cycles), two of each a
// cycle.
using Four [[gnu::vector_size(16)]] = float;
constexpr std::size_t kChains = 12;

double multiply_adds(std::size_t rounds) noexcept {
  std::array<Four, kChains> sums;
  for (std::size_t c = 0; c < kChains; ++c) sums[c] = Four{} + static_cast<float>(c);
  volatile float input = 0.5F;  // unknown to the compiler, so that it cannot fold the loop
  const float a = input;
  for (std::size_t round = 0; round < rounds; ++round) {
    for (Four& sum : sums) sum = sum * a + a;
  }
  for (const Four& sum : sums) input = sum[0];  // used, so that it cannot drop the loop
  return static_cast<double>(rounds * kChains * 4);
}

}  // namespace

const IsaFp32Kernels& scalar_fp32_kernels() noexcept {
  static constexpr IsaFp32Kernels kKernels{
      .table = {.pack_rows = scalar::pack_rows,
                .gemm_block = scalar::gemm_block,
                .attention = scalar::attention,
                .attention_scratch = scalar::attention_scratch,
                .store_kv = scalar::store_kv,
                .layer_norm = scalar::layer_norm,
                .no_norm = scalar::no_norm,
                .rms_norm = scalar::rms_norm,
                .activate = scalar::activate,
                .softmax = scalar::softmax,
                .maximum = scalar::maximum,
                .sum_exp = scalar::sum_exp,
                .activate_gated = scalar::activate_gated,
                .rotate = scalar::rotate,
                .all_finite = scalar::all_finite,
                .convert_half = scalar::convert_half},
      .multiply_adds = multiply_adds,
  };
  return kKernels;
}

}  // namespace kvasir::kernels
