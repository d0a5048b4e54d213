// The transformer layer of BERT and its many children: attention and feed-forward, each added to its input
// and then normalised ("post-norm").
#pragma once

#include "models/blocks.h"
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

struct PostNormOptions {
  kernels::Activation activation = kernels::Activation::kGelu;
  float epsilon = 1e-12F;
};

// x [tokens, width] becomes the layer's output.
void forward(const PostNormLayer& layer, const PostNormOptions& options, const AttentionPlan& plan,
             ForwardContext& context, std::span<float> x);

// Multiply-adds of one layer over one sequence: four projections, two of the feed-forward, scores and sums.
double post_norm_multiply_adds(std::size_t width, std::size_t inner, std::size_t tokens) noexcept;

}  // namespace kvasir::models
