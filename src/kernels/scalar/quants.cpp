// The reference of products with quants.
#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstring>

#include "kernels/scalar/scalar.h"
#include "kernels/tables.h"
#include "tensor/dtype.h"

namespace kvasir::kernels {
namespace scalar {
namespace {

using tensor::DType;
using tensor::half_to_float;

// One column of one quant of a panel.
struct Column {
  const std::uint8_t* words;    // of column 0
  const std::uint16_t* halves;  // as well
  std::size_t j;

  std::uint8_t byte(std::size_t word, std::size_t i) const noexcept {
    return words[(word * kPanelColumns + j) * 4 + i];
  }
  // Bytes in the order of the file.
  std::uint8_t byte(std::size_t i) const noexcept { return byte(i / 4, i % 4); }
  float half(std::size_t i) const noexcept {  // the i-th pair of bytes
    return half_to_float(static_cast<std::uint16_t>(byte(2 * i) | byte(2 * i + 1) << 8));
  }
  float scale() const noexcept { return half_to_float(halves[j]); }
  int nibble(std::size_t i, bool high) const noexcept { return high ? byte(i) >> 4 : byte(i) & 15; }
  // Element e of Q5_0 and Q5_1, whose fifth bits begin at byte `at`.
  int five_bits(std::size_t at, std::size_t e) const noexcept {
    return nibble(at + 4 + e % 16, e >= 16) | (byte(at + e % 4) >> (e / 4) & 1) << 4;
  }
};

constexpr std::size_t kMostElements = tensor::kSuperQuantElements;
constexpr std::size_t kScaleElements = 16;  // elements that share a scale, at least

// The values of a quant of one column: x = scales[e / 16] q + minima[e / 16].
struct Values {
  std::array<int, kMostElements> q;
  std::array<float, kMostElements / kScaleElements> scales, minima;
};

void read_scales_and_minima(const Column& c, Values& out) noexcept {
  std::uint8_t packed[12];
  for (std::size_t i = 0; i < sizeof packed; ++i) packed[i] = c.byte(4 + i);
  for (std::size_t t = 0; t < 8; ++t) {
    const auto [scale, minimum] = tensor::scale_and_minimum(packed, t);
    for (const std::size_t half : {2 * t, 2 * t + 1}) {
      out.scales[half] = c.half(0) * static_cast<float>(scale);
      out.minima[half] = -c.half(1) * static_cast<float>(minimum);
    }
  }
}

// Where the pair of bits of element e lies in its byte.
std::size_t quarter(std::size_t e) noexcept {
  return e % 128 / 32 * 2;
}

void read(DType dtype, const Column& c, Values& out) noexcept {
  switch (dtype) {
    case DType::kQ4_0:
      for (std::size_t e = 0; e < 32; ++e) out.q[e] = c.nibble(e % 16, e >= 16) - 8;
      out.scales.fill(c.scale());
      break;
    case DType::kQ4_1:
      for (std::size_t e = 0; e < 32; ++e) out.q[e] = c.nibble(4 + e % 16, e >= 16);
      out.scales.fill(c.half(0));
      out.minima.fill(c.half(1));
      break;
    case DType::kQ5_0:
      for (std::size_t e = 0; e < 32; ++e) out.q[e] = c.five_bits(0, e) - 16;
      out.scales.fill(c.scale());
      break;
    case DType::kQ5_1:
      for (std::size_t e = 0; e < 32; ++e) out.q[e] = c.five_bits(4, e);
      out.scales.fill(c.half(0));
      out.minima.fill(c.half(1));
      break;
    case DType::kIQ4_NL:
      for (std::size_t e = 0; e < 32; ++e) out.q[e] = tensor::kIq4Values[c.nibble(e % 16, e >= 16)];
      out.scales.fill(c.scale());
      break;
    case DType::kQ8_0:
      for (std::size_t e = 0; e < 32; ++e) out.q[e] = c.byte(e) - 128;
      out.scales.fill(c.scale());
      break;
    case DType::kQ2_K:
      for (std::size_t e = 0; e < 256; ++e) out.q[e] = c.byte(16 + e / 128 * 32 + e % 32) >> quarter(e) & 3;
      for (std::size_t s = 0; s < 16; ++s) {
        out.scales[s] = c.half(40) * static_cast<float>(c.byte(s) & 15);
        out.minima[s] = -c.half(41) * static_cast<float>(c.byte(s) >> 4);
      }
      break;
    case DType::kQ3_K:
      for (std::size_t e = 0; e < 256; ++e) {
        const int low = c.byte(32 + e / 128 * 32 + e % 32) >> quarter(e) & 3;
        out.q[e] = (low | (c.byte(e % 32) >> (e / 32) & 1) << 2) - 4;
      }
      for (std::size_t s = 0; s < 16; ++s) {
        const int low = c.nibble(96 + s % 8, s >= 8);
        const int scale = low | (c.byte(104 + s % 4) >> (s / 4 * 2) & 3) << 4;
        out.scales[s] = c.scale() * static_cast<float>(scale - 32);
      }
      break;
    case DType::kQ4_K:
      read_scales_and_minima(c, out);
      for (std::size_t e = 0; e < 256; ++e) out.q[e] = c.nibble(16 + e / 64 * 32 + e % 32, e / 32 % 2 == 1);
      break;
    case DType::kQ5_K:
      read_scales_and_minima(c, out);
      for (std::size_t e = 0; e < 256; ++e) {
        const int high = c.byte(16 + e % 32) >> (e / 32) & 1;
        out.q[e] = c.nibble(48 + e / 64 * 32 + e % 32, e / 32 % 2 == 1) | high << 4;
      }
      break;
    case DType::kQ6_K:
      for (std::size_t e = 0; e < 256; ++e) {
        const std::size_t half = e / 128, quarter = e % 128 / 32, l = e % 32;
        const int high = c.byte(128 + 32 * half + l) >> (2 * quarter) & 3;
        out.q[e] = (c.nibble(64 * half + 32 * (quarter & 1) + l, quarter >= 2) | high << 4) - 32;
      }
      for (std::size_t s = 0; s < 16; ++s) {
        out.scales[s] = c.scale() * static_cast<float>(static_cast<std::int8_t>(c.byte(192 + s)));
      }
      break;
    default:
      assert(!"gemm_block: not a type of quant products");
  }
}

// Elements per scale of a type, and whether it has minima.
struct Scaling {
  std::size_t elements;
  bool minima;
};
Scaling scaling(DType dtype) noexcept {
  switch (dtype) {
    case DType::kQ2_K:
      return {.elements = 16, .minima = true};
    case DType::kQ3_K:
    case DType::kQ6_K:
      return {.elements = 16, .minima = false};
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {.elements = 32, .minima = true};
    default:
      return {.elements = 32, .minima = false};
  }
}

// Adds one quant of a column to the sum of a row.
float add_quant(const Values& w, const Scaling& scaling, std::size_t elements, const std::int8_t* x,
                const RowQuant* quants, float sum) noexcept {
  for (std::size_t e = 0; e < elements; e += scaling.elements) {
    std::int32_t products = 0;
    for (std::size_t i = e; i < e + scaling.elements; ++i) products += w.q[i] * x[i];
    const RowQuant& quant = quants[e / tensor::kQuantElements];
    sum = std::fma(w.scales[e / kScaleElements] * static_cast<float>(products), quant.scale, sum);
    if (!scaling.minima) continue;
    const float x_sum = scaling.elements == tensor::kQuantElements
                            ? quant.sum
                            : quant.scale * static_cast<float>(quant.halves[e / kScaleElements % 2]);
    sum = std::fma(w.minima[e / kScaleElements], x_sum, sum);
  }
  return sum;
}

constexpr std::size_t kRows = 32;  // for which a column is unpacked once
using Sums = std::array<float, kRows>;

// Sums of some rows with one column.
Sums sum_column(const QuantGemmCall& call, RowRange rows, std::size_t column) noexcept {
  const QuantMatrix& b = *call.b;
  const QuantLayout layout = b.layout();
  const std::size_t panel = column / kPanelColumns;
  Sums sums{};
  Values values;
  for (std::size_t at = 0; at < b.quants(); ++at) {
    read(b.dtype,
         {.words = b.panel(panel) + at * layout.words * 4 * kPanelColumns,
          .halves = b.half_panel(panel) + (layout.has_half ? at * kPanelColumns : 0),
          .j = column % kPanelColumns},
         values);
    const std::size_t first = at * layout.elements;
    for (std::size_t row = rows.begin; row < rows.end; ++row) {
      float& sum = sums[row - rows.begin];
      sum = add_quant(values, scaling(b.dtype), layout.elements, call.a.data + row * call.a.stride + first,
                      call.a.quants + row * call.a.quant_stride + first / tensor::kQuantElements, sum);
    }
  }
  return sums;
}

}  // namespace

void quantize(const QuantizeCall& call, const QuantRows& out) noexcept {
  assert(call.columns % tensor::kQuantElements == 0);
  for (std::size_t at = 0; at < call.rows * (call.columns / tensor::kQuantElements); ++at) {
    const std::size_t row = at / (call.columns / tensor::kQuantElements),
                      b = at % (call.columns / tensor::kQuantElements);
    const float* x = call.x + row * call.ldx + b * tensor::kQuantElements;
    std::int8_t* q = out.data + row * out.stride + b * tensor::kQuantElements;
    float largest = 0;
    for (std::size_t i = 0; i < tensor::kQuantElements; ++i) largest = std::max(largest, std::abs(x[i]));
    RowQuant& quant = out.quants[row * out.quant_stride + b];
    const bool some = largest > kLeastMagnitude;
    const float inverse = some ? 127 / largest : 0;
    quant = {.scale = some ? largest / 127 : 0, .sum = 0, .halves = {}};
    for (std::size_t i = 0; i < tensor::kQuantElements; ++i) {
      const float rounded = std::nearbyint(x[i] * inverse);
      q[i] = static_cast<std::int8_t>(rounded > -127 ? rounded : -127.0F);
      quant.halves[i / kScaleElements] = static_cast<std::int16_t>(quant.halves[i / kScaleElements] + q[i]);
    }
    quant.sum = quant.scale * static_cast<float>(quant.halves[0] + quant.halves[1]);
  }
}

void gemm_block(const QuantGemmCall& call, const GemmBlock& block) noexcept {
  assert(block.row_begin < block.row_end && block.row_end <= call.m);
  assert(block.panel_begin < block.panel_end && block.panel_end <= call.b->panels());
  const std::size_t begin = block.panel_begin * kPanelColumns;
  const std::size_t end = std::min(call.b->n, block.panel_end * kPanelColumns);
  for (std::size_t row = block.row_begin; row < block.row_end; row += kRows) {
    const RowRange rows{row, std::min(row + kRows, block.row_end)};
    for (std::size_t column = begin; column < end; ++column) {
      Sums sums = sum_column(call, rows, column);
      finish_column(call, rows, column, sums.data());
    }
  }
}

}  // namespace scalar

const QuantKernels& scalar_quant_kernels() noexcept {
  static constexpr QuantKernels kKernels = {.quantize = scalar::quantize, .gemm_block = scalar::gemm_block};
  return kKernels;
}

}  // namespace kvasir::kernels
