// The transformer layer of BERT and of families derived from it: attention and feed-forward, each added to
// its input and then normalised ("post-norm").
#pragma once

#include <string>

#include "models/config.h"
#include "models/layers.h"
#include "models/self_attention.h"

namespace kvasir::models {

struct PostNormLayer {
  Linear qkv;  // query, key and value, fused
  Linear attention_output;
  LayerNorm attention_norm;
  Linear up;    // width -> inner width
  Linear down;  // and back
  LayerNorm output_norm;
};

// The weights of a layer under BERT's names; `names` of query, key and value.
struct PostNormDims {
  Dim hidden, intermediate;
};
struct QkvNames {
  const char *query = "query", *key = "key", *value = "value";
};
template <class Layer, class Visitor>
void visit_bert_layer(Layer& layer, const std::string& at, const PostNormDims& dims, Visitor& v,
                      const QkvNames& names = {}) {
  const auto& [hidden, intermediate] = dims;
  const std::string self = at + "attention.self.";
  v({self + names.query, self + names.key, self + names.value}, layer.qkv, MatrixShape{hidden, hidden});
  v({at + "attention.output.dense"}, layer.attention_output, MatrixShape{hidden, hidden});
  v(at + "attention.output.LayerNorm", layer.attention_norm, hidden);
  v({at + "intermediate.dense"}, layer.up, MatrixShape{intermediate, hidden});
  v({at + "output.dense"}, layer.down, MatrixShape{hidden, intermediate});
  v(at + "output.LayerNorm", layer.output_norm, hidden);
}

struct PostNormOptions {
  kernels::Activation activation = kernels::Activation::kGelu;
  float epsilon = 1e-12F;
  AttentionOptions attention = {};
  // Of the two products that are added to the layer's input, in training.
  float attention_output_dropout = 0, output_dropout = 0;
};

// Replaces x [tokens, width] by the layer's output and returns it: the rows of the wanted tokens, side by
// side, or of all tokens if RaggedBatch::wanted is empty. Keys and values are computed for all tokens, what
// follows attention only for the wanted ones.
std::span<float> forward(const PostNormLayer& layer, const PostNormOptions& options,
                         const AttentionPlan& plan, ForwardContext& context, std::span<float> x,
                         std::span<const std::int32_t> wanted = {});

// A stack of layers; `wanted` applies to the last.
std::span<float> forward(std::span<const PostNormLayer> layers, const PostNormOptions& options,
                         const AttentionPlan& plan, ForwardContext& context, std::span<float> x,
                         std::span<const std::int32_t> wanted);

// Multiply-adds of one layer over one sequence: four projections, two of the feed-forward, scores and sums.
double post_norm_multiply_adds(std::size_t width, std::size_t inner, std::size_t tokens) noexcept;

}  // namespace kvasir::models
