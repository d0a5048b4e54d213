// The reference of products of bytes: what every instruction set has to give, to the last bit before the
// activation.
#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <iterator>

#include "kernels/scalar/scalar.h"
#include "kernels/tables.h"

namespace kvasir::kernels {
namespace scalar {
namespace {

using Sums = std::array<std::int32_t, kPanelColumns>;

Sums sum_panel(const Int8GemmCall& call, std::size_t row, std::size_t panel) noexcept {
  Sums sums{};
  const std::uint8_t* a = call.a.data + row * call.a.stride;
  const std::int8_t* b = call.b->panel(panel);
  for (std::size_t k = 0; k < call.b->k; ++k) {
    const std::int8_t* group = b + k / kInt8Group * kInt8Group * kPanelColumns + k % kInt8Group;
    for (std::size_t j = 0; j < kPanelColumns; ++j) sums[j] += a[k] * group[j * kInt8Group];
  }
  return sums;
}

// The steps of rough_gelu<S> in vector/activation.h.
float rough_gelu(float x) noexcept {
  const float t = std::abs(x) > kRoughGeluEnd ? kRoughGeluEnd : std::abs(x);
  float q = 0;
  for (std::size_t i = std::size(kRoughGeluTerms); i > 0; --i) q = std::fma(q, t, kRoughGeluTerms[i - 1]);
  return std::fma(-t, q, x < 0 ? 0 : x);
}

void finish(const Int8GemmCall& call, std::size_t row, std::size_t panel, const Sums& sums) noexcept {
  const std::size_t first = panel * kPanelColumns;
  const std::size_t columns = std::min(kPanelColumns, call.b->n - first);
  float* c = call.c_column(first) + row * call.ldc;
  std::array<float, kPanelColumns> x{};
  for (std::size_t j = 0; j < columns; ++j) {
    // Fused as the vector kernels do, to the last bit.
    const float shifted =
        std::fma(-call.a.zeros[row], call.b->sums.data()[first + j], static_cast<float>(sums[j]));
    const float bias = call.bias == nullptr ? 0 : call.bias[first + j];
    x[j] = std::fma(shifted * call.b->scales.data()[first + j], call.a.scales[row], bias);
  }
  if (call.activation == Activation::kGelu) {
    for (float& one : x) one = rough_gelu(one);
  } else {
    activate(call.activation, x.data(), columns);
  }
  for (std::size_t j = 0; j < columns; ++j) {
    c[j] = call.residual == nullptr ? x[j] : x[j] + call.residual[row * call.ldr + first + j];
  }
}

}  // namespace

void quantize(const QuantizeCall& call, const Int8Rows& out) noexcept {
  for (std::size_t r = 0; r < call.rows; ++r) {
    const float* x = call.x + r * call.ldx;
    float min = 0, max = 0;
    for (std::size_t j = 0; j < call.columns; ++j) min = std::min(min, x[j]), max = std::max(max, x[j]);
    const float width = max - min;
    float inverse = 0;
    out.scales[r] = 1;
    out.zeros[r] = 0;
    if (width > 1e-30F && width < 3e38F) {
      inverse = static_cast<float>(kMaxActivation) / width;
      out.scales[r] = width / static_cast<float>(kMaxActivation);
      out.zeros[r] = std::nearbyint(-min * inverse);
    }
    for (std::size_t j = 0; j < call.columns; ++j) {
      const float q = std::nearbyint(x[j] * inverse) + out.zeros[r];
      out.data[r * out.stride + j] =
          static_cast<std::uint8_t>(std::clamp(q, 0.0F, static_cast<float>(kMaxActivation)));
    }
  }
}

void gemm_block(const Int8GemmCall& call, const GemmBlock& block) noexcept {
  assert(block.row_begin < block.row_end && block.row_end <= call.m);
  assert(block.panel_begin < block.panel_end && block.panel_end <= call.b->panels());
  for (std::size_t p = block.panel_begin; p < block.panel_end; ++p) {
    for (std::size_t row = block.row_begin; row < block.row_end; ++row) {
      finish(call, row, p, sum_panel(call, row, p));
    }
  }
}

}  // namespace scalar

namespace {

// What the plain loop does: a byte times a byte, added up in 32 bits, in vectors of four.
using Four [[gnu::vector_size(16)]] = std::int32_t;
double multiply_adds(std::size_t rounds) noexcept {
  constexpr std::size_t kChains = 12;
  std::array<Four, kChains> sums;
  for (std::size_t c = 0; c < kChains; ++c) sums[c] = Four{} + static_cast<std::int32_t>(c);
  volatile std::int32_t input = 3;  // unknown to the compiler, so that it cannot fold the loop
  const std::int32_t a = input;
  for (std::size_t round = 0; round < rounds; ++round) {
    for (Four& sum : sums) sum = (sum & 0xFF) * a + a;  // never overflows
  }
  for (const Four& sum : sums) input = sum[0];
  return static_cast<double>(rounds * kChains * 4);
}

}  // namespace

const IsaInt8Kernels& scalar_int8_kernels() noexcept {
  static constexpr IsaInt8Kernels kKernels = {
      .table = {.quantize = scalar::quantize, .gemm_block = scalar::gemm_block},
      .multiply_adds = multiply_adds};
  return kKernels;
}

}  // namespace kvasir::kernels
