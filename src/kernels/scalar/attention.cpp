#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdint>

#include "kernels/scalar/scalar.h"
#include "tensor/dtype.h"

namespace kvasir::kernels::scalar {

namespace {

// Where element d of the key or value of a page's token lies.
std::size_t key_index(std::size_t d, std::size_t slot) noexcept {
  return d * kPageTokens + slot;
}
std::size_t value_index(std::size_t d, std::size_t slot) noexcept {
  return d / kPanelColumns * kPageTokens * kPanelColumns + slot * kPanelColumns + d % kPanelColumns;
}
std::size_t scale_index(std::size_t d, std::size_t slot) noexcept {
  return d / kKvBlock * kPageTokens + slot;
}

// The number at an index, and the scale at another if it has one.
float read(KvType type, const std::byte* numbers, std::size_t i, const std::byte* scales,
           std::size_t scale) noexcept {
  if (type == KvType::kF32) return reinterpret_cast<const float*>(numbers)[i];
  if (type == KvType::kF16) return tensor::half_to_float(reinterpret_cast<const std::uint16_t*>(numbers)[i]);
  return static_cast<float>(reinterpret_cast<const std::int8_t*>(numbers)[i]) *
         tensor::bfloat16_to_float(reinterpret_cast<const std::uint16_t*>(scales)[scale]);
}

float key(const AttentionCall& call, std::size_t token, std::size_t d) noexcept {
  if (call.pages == nullptr) return call.k[token * call.kv_stride + d];
  const KvLayout layout{.head_dim = call.head_dim, .type = call.pages->type};
  const std::byte* part = call.pages->pages[token / kPageTokens] + call.pages->offset;
  const std::size_t slot = token % kPageTokens;
  return read(layout.type, part, key_index(d, slot), part + layout.key_scales(), scale_index(d, slot));
}

float value(const AttentionCall& call, std::size_t token, std::size_t d) noexcept {
  if (call.pages == nullptr) return call.v[token * call.kv_stride + d];
  const KvLayout layout{.head_dim = call.head_dim, .type = call.pages->type};
  const std::byte* part = call.pages->pages[token / kPageTokens] + call.pages->offset;
  const std::size_t slot = token % kPageTokens;
  return read(layout.type, part + layout.values(), value_index(d, slot), part + layout.value_scales(),
              scale_index(d, slot));
}

void write(std::byte* part, KvType type, std::size_t i, float x) noexcept {
  if (type == KvType::kF32) {
    reinterpret_cast<float*>(part)[i] = x;
  } else if (type == KvType::kF16) {
    reinterpret_cast<std::uint16_t*>(part)[i] = tensor::float_to_half(x);
  } else {
    reinterpret_cast<std::int8_t*>(part)[i] = static_cast<std::int8_t>(std::nearbyint(x));
  }
}

// Up to 32 elements of a key or value as they are stored: divided by their scale, if they have one.
struct StoredBlock {
  std::uint16_t scale = 0;
  float numbers[kKvBlock] = {};  // those beyond the head are 0

  StoredBlock(KvType type, const float* x, std::size_t count) noexcept {
    std::copy_n(x, count, numbers);
    if (type != KvType::kQ8_0) return;
    float largest = 0, finite = 0;  // or NaN
    for (std::size_t i = 0; i < count; ++i) {
      largest = std::max(largest, std::abs(x[i]));
      finite += x[i] * 0;
    }
    scale = kv_scale(largest + finite);
    const float divisor = tensor::bfloat16_to_float(scale);
    for (float& number : numbers) number = divisor > 0 ? number / divisor : 0;
  }
};

}  // namespace

std::size_t attention_scratch(std::size_t, std::size_t keys, std::size_t) noexcept {
  return keys;
}

void attention(const AttentionCall& call, float* scratch) noexcept {
  assert(call.queries >= 1 && call.keys >= 1 && call.head_dim >= 1);
  for (std::size_t row = 0; row < call.rows(); ++row) {
    const float* q = call.q_row(row);
    const std::size_t at = row / call.group + call.query_offset;
    const std::size_t begin = at > call.window ? at - call.window : 0;
    const std::size_t end = std::min(call.keys, at + (call.causal ? 0 : call.window) + 1);
    assert(begin < end);
    for (std::size_t j = begin; j < end; ++j) {
      float sum = 0;
      for (std::size_t d = 0; d < call.head_dim; ++d) sum += q[d] * key(call, j, d);
      scratch[j] = sum * call.scale;
    }
    if (call.bias != nullptr) {
      const float* bias = call.bias_row(row);
      for (std::size_t j = begin; j < end; ++j) scratch[j] += bias[j];
    }
    softmax(scratch + begin, end - begin);
    float* out = call.out_row(row);
    for (std::size_t d = 0; d < call.head_dim; ++d) out[d] = 0;
    for (std::size_t j = begin; j < end; ++j) {
      for (std::size_t d = 0; d < call.head_dim; ++d) out[d] += scratch[j] * value(call, j, d);
    }
  }
}

void store_kv(const KvStoreCall& call) noexcept {
  const KvLayout& layout = call.layout;
  for (std::size_t begin = 0; begin < layout.head_dim; begin += kKvBlock) {
    const std::size_t count = std::min(kKvBlock, layout.head_dim - begin);
    const StoredBlock k(layout.type, call.k + begin, count), v(layout.type, call.v + begin, count);
    for (std::size_t i = 0; i < count; ++i) {
      write(call.part, layout.type, key_index(begin + i, call.slot), k.numbers[i]);
    }
    for (std::size_t i = 0; i < (count + kPanelColumns - 1) / kPanelColumns * kPanelColumns; ++i) {
      write(call.part + layout.values(), layout.type, value_index(begin + i, call.slot), v.numbers[i]);
    }
    if (layout.type != KvType::kQ8_0) continue;
    const std::size_t at = scale_index(begin, call.slot);
    reinterpret_cast<std::uint16_t*>(call.part + layout.key_scales())[at] = k.scale;
    reinterpret_cast<std::uint16_t*>(call.part + layout.value_scales())[at] = v.scale;
  }
}

}  // namespace kvasir::kernels::scalar
