// Causal attention of decoders over pages of keys and values, with positions: rotary or ALiBi.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "models/causal_lm.h"
#include "models/config.h"
#include "models/layers.h"
#include "models/rotary.h"
#include "models/weight_source.h"

namespace kvasir::models {

// Cosines and sines of each token of the batch: rows of head_dim floats, in the workspace.
const float* rotary_rows(const Rotary& rotary, const DecoderBatch& batch, ForwardContext& context);

// The slopes of ALiBi (Press et al. 2022): 2^(-max_bias (h + 1) / c) for the first c = 2^⌊log2 heads⌋ heads,
// and for the rest the odd ones of twice as many.
std::vector<float> alibi_slopes(std::size_t heads, double max_bias);

// What ALiBi adds to the score of a query and a key.
struct Alibi {
  enum class Kind {
    kDistance,  // -slope · (query - key): BLOOM, MPT
    // Falcon: bfloat16(slope) · bfloat16(key), rounded to bfloat16 and scaled as scores are.
    kFalcon
  };
  Kind kind = Kind::kDistance;
  std::vector<float> slopes;  // [heads]; empty: nothing is added
};

struct CausalAttention {
  std::size_t heads = 0, kv_heads = 0, head_dim = 0;
  float scale = 0;  // factor of the scores; 0: 1 / √head_dim
  Alibi alibi = {};

  // Columns of a row [queries of all heads, keys, values].
  std::size_t qkv_width() const noexcept { return (heads + 2 * kv_heads) * head_dim; }
};
// The order of rows that turns a fused weight with interleaved groups (some heads of queries, one of keys,
// one of values, and so on) into [queries, keys, values]. There is one group for each head of keys (BLOOM,
// Falcon); groups = 1: the rows are in that order already.
RowOrder queries_keys_values(const CausalAttention& attention, std::size_t groups);

// Adds the rows of a table of positions.
void add_positions(const Embedding& table, const DecoderBatch& batch, ForwardContext& context, float* x);

// The biases of one forward pass, in the workspace; null if there are none.
const float* alibi_biases(const CausalAttention& attention, const DecoderBatch& batch,
                          ForwardContext& context);

struct CausalAttentionCall {
  const float* qkv = nullptr;  // [tokens, qkv_width()]
  float* out = nullptr;        // [tokens, heads · head_dim]
  std::size_t layer = 0;
  const float* biases = nullptr;  // of alibi_biases
};
// Stores the keys and values of the batch, then attends.
void attend(const CausalAttention& attention, const DecoderBatch& batch, const KvShape& kv,
            ForwardContext& context, const CausalAttentionCall& call);

}  // namespace kvasir::models
