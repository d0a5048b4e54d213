#include <algorithm>
#include <cassert>

#include "kernels/scalar/scalar.h"
#include "tensor/dtype.h"

namespace kvasir::kernels::scalar {

namespace {

float read(const std::byte* part, KvType type, std::size_t i) noexcept {
  if (type == KvType::kF32) return reinterpret_cast<const float*>(part)[i];
  return tensor::half_to_float(reinterpret_cast<const std::uint16_t*>(part)[i]);
}

void write(std::byte* part, KvType type, std::size_t i, float x) noexcept {
  if (type == KvType::kF32) {
    reinterpret_cast<float*>(part)[i] = x;
  } else {
    reinterpret_cast<std::uint16_t*>(part)[i] = tensor::float_to_half(x);
  }
}

// Where element d of the key or value of a page's token lies.
std::size_t key_index(std::size_t d, std::size_t slot) noexcept {
  return d * kPageTokens + slot;
}
std::size_t value_index(std::size_t d, std::size_t slot) noexcept {
  return d / kPanelColumns * kPageTokens * kPanelColumns + slot * kPanelColumns + d % kPanelColumns;
}

float key(const AttentionCall& call, std::size_t token, std::size_t d) noexcept {
  if (call.pages == nullptr) return call.k[token * call.kv_stride + d];
  const std::byte* part = call.pages->pages[token / kPageTokens] + call.pages->offset;
  return read(part, call.pages->type, key_index(d, token % kPageTokens));
}

float value(const AttentionCall& call, std::size_t token, std::size_t d) noexcept {
  if (call.pages == nullptr) return call.v[token * call.kv_stride + d];
  const KvLayout layout{.head_dim = call.head_dim, .type = call.pages->type};
  const std::byte* part = call.pages->pages[token / kPageTokens] + call.pages->offset + layout.key_bytes();
  return read(part, call.pages->type, value_index(d, token % kPageTokens));
}

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
  std::byte* values = call.part + layout.key_bytes();
  for (std::size_t d = 0; d < layout.head_dim; ++d) {
    write(call.part, layout.type, key_index(d, call.slot), call.k[d]);
    write(values, layout.type, value_index(d, call.slot), call.v[d]);
  }
  for (std::size_t d = layout.head_dim; d % kPanelColumns != 0; ++d) {
    write(values, layout.type, value_index(d, call.slot), 0);
  }
}

}  // namespace kvasir::kernels::scalar
