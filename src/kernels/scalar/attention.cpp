#include <algorithm>
#include <cassert>

#include "kernels/scalar/scalar.h"

namespace kvasir::kernels::scalar {

std::size_t attention_scratch(std::size_t, std::size_t keys, std::size_t) noexcept {
  return keys;
}

void attention(const AttentionCall& call, float* scratch) noexcept {
  assert(call.queries >= 1 && call.keys >= 1 && call.head_dim >= 1);
  for (std::size_t i = 0; i < call.queries; ++i) {
    const float* q = call.q + i * call.q_stride;
    const std::size_t at = i + call.query_offset;
    const std::size_t begin = at > call.window ? at - call.window : 0;
    const std::size_t end = std::min(call.keys, at + call.window + 1);
    assert(begin < end);
    for (std::size_t j = begin; j < end; ++j) {
      const float* k = call.k + j * call.kv_stride;
      float sum = 0;
      for (std::size_t d = 0; d < call.head_dim; ++d) sum += q[d] * k[d];
      scratch[j] = sum * call.scale;
    }
    if (call.bias != nullptr) {
      const float* bias = call.bias + static_cast<std::ptrdiff_t>(i) * call.bias_stride;
      for (std::size_t j = begin; j < end; ++j) scratch[j] += bias[j];
    }
    softmax(scratch + begin, end - begin);
    float* out = call.out + i * call.out_stride;
    for (std::size_t d = 0; d < call.head_dim; ++d) out[d] = 0;
    for (std::size_t j = begin; j < end; ++j) {
      const float* v = call.v + j * call.kv_stride;
      for (std::size_t d = 0; d < call.head_dim; ++d) out[d] += scratch[j] * v[d];
    }
  }
}

}  // namespace kvasir::kernels::scalar
