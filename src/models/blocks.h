// The blocks that families are built of: weights as plain structs, and what each does to rows of floats.
// Activations are row-major and contiguous, [tokens, width].
#pragma once

#include <cstddef>
#include <span>

#include "models/qa_model.h"
#include "tensor/view.h"

namespace kvasir::models {

// y = x Wᵀ + b. Precision (and later device) is this struct's own business. Weights of one input may be
// fused: the rows of several matrices stored one below the other, for one product instead of three.
struct Linear {
  kernels::PackedMatrix weight;  // [out, in]
  tensor::Buffer<float> bias;    // [out]

  std::size_t in() const noexcept { return weight.k; }
  std::size_t out() const noexcept { return weight.n; }
};

struct LinearCall {
  const float* x = nullptr;  // [rows, in]
  float* y = nullptr;        // [rows, out]; not x
  std::size_t rows = 0;
  kernels::Activation activation = kernels::Activation::kNone;
  const float* residual = nullptr;  // [rows, out], added after the activation; may be y
};
void forward(const Linear& linear, ForwardContext& context, const LinearCall& call);

struct LayerNorm {
  tensor::Buffer<float> weight;  // [width]
  tensor::Buffer<float> bias;    // [width]

  std::size_t width() const noexcept { return weight.size(); }
};

struct LayerNormRows {
  float* x = nullptr;  // [rows, width], in place
  std::size_t rows = 0;
  float epsilon = 1e-12F;
};
void forward(const LayerNorm& norm, ForwardContext& context, const LayerNormRows& call);

// A table that stays in the mapped file as it is stored; rows are converted when they are looked up.
struct Embedding {
  tensor::TensorView table;  // [rows, width]

  void read_row(const kernels::Kernels& kernels, std::size_t row, std::span<float> out) const noexcept;
};

// LayerNorm((word + token type) + position) of every token; positions count from 0 in each sequence.
struct InputEmbeddings {
  const Embedding* word = nullptr;
  const Embedding* token_type = nullptr;  // null: the family has none
  const Embedding* position = nullptr;
  const LayerNorm* norm = nullptr;
  float epsilon = 1e-12F;
};
void embed(const InputEmbeddings& embeddings, const tensor::RaggedBatch& batch, ForwardContext& context,
           float* x);

// The question-answering head: a Linear with two outputs per token, start and end.
void qa_head(const Linear& qa_outputs, ForwardContext& context, const float* x, QaLogits out);

// Slots of the workspace, one per buffer that lives at the same time as another.
enum Slot : std::size_t { kHidden, kQkv, kContext, kNormed, kUp, kScratch, kHeadOut };

}  // namespace kvasir::models
