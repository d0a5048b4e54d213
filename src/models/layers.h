// The layers that families are built of: weights as plain structs, and functions that apply them to rows of
// floats. Activations are row-major and contiguous, [tokens, width].
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <variant>
#include <vector>

#include "kernels/kernels.h"
#include "models/forward_context.h"
#include "tensor/ragged_batch.h"
#include "tensor/view.h"

namespace kvasir::models {

// y = x Wᵀ + b. Only this struct knows the precision of the weight. Weights of the same input may be fused:
// the rows of several matrices stored one below the other, for one product instead of three.
struct Linear {
  // Weights that keep the bits of the file: quants of GGUF, or numbers of 16 bits. Fused matrices may have
  // different types, so there may be several parts, whose outputs lie side by side.
  struct Stored {
    std::vector<std::variant<kernels::QuantMatrix, kernels::HalfMatrix>> parts;
    std::size_t n = 0, k = 0;

    std::size_t bytes() const noexcept {
      std::size_t sum = 0;
      for (const auto& part : parts) {
        sum += std::visit([](const auto& matrix) { return matrix.bytes(); }, part);
      }
      return sum;
    }
  };
  std::variant<kernels::PackedMatrix, kernels::Bf16Matrix, kernels::Int8Matrix, Stored> weight;  // [out, in]
  tensor::Buffer<float> bias;                                                                    // [out]

  bool is_fp32() const noexcept { return std::holds_alternative<kernels::PackedMatrix>(weight); }
  bool is_int8() const noexcept { return std::holds_alternative<kernels::Int8Matrix>(weight); }
  std::size_t in() const noexcept {
    return std::visit([](const auto& w) { return w.k; }, weight);
  }
  std::size_t out() const noexcept {
    return std::visit([](const auto& w) { return w.n; }, weight);
  }
  std::size_t bytes() const noexcept {  // of the weight, which each product reads
    return std::visit([](const auto& w) { return w.bytes(); }, weight);
  }
};

struct LinearCall {
  const float* x = nullptr;  // [rows, in]
  float* y = nullptr;        // [rows, out]; not x
  std::size_t rows = 0;
  kernels::Activation activation = kernels::Activation::kNone;
  float dropout = 0;  // after the activation, with a tape only
  // [rows, out], added after activation and dropout; may be y, with its stride
  const float* residual = nullptr;
  std::size_t x_stride = 0, y_stride = 0;  // floats between rows; 0: in and out
  // As kernels::GemmCall::c_block: y is several matrices [rows, y_block], one behind the other. Not with a
  // tape; nor are strides of y with an activation or dropout.
  std::size_t y_block = 0, y_block_stride = 0;
};
void forward(const Linear& linear, ForwardContext& context, const LinearCall& call);

// Calls body(context, rows) for chunks of at most `most` of the rows [0, rows), each on one thread with
// memory of its own: a chain of products and norms over rows then stays in that core's cache, and threads
// synchronise once instead of after each step. If `most` is 0 or there are too few rows for the threads, body
// is called once for all rows, with `context` itself, so that each product is divided by columns. Results are
// the same either way. What body throws passes through.
struct RowChunks {
  std::size_t rows, most;
};
using RowBody = std::function<void(ForwardContext& context, kernels::RowRange rows)>;
void in_row_chunks(ForwardContext& context, const RowChunks& chunks, const RowBody& body);

struct LayerNorm {
  tensor::Buffer<float> weight;  // [width]
  tensor::Buffer<float> bias;    // [width]

  std::size_t width() const noexcept { return weight.size(); }
};

// Llama's: x / √(mean of x² + epsilon) · weight.
struct RmsNorm {
  tensor::Buffer<float> weight;  // [width]

  std::size_t width() const noexcept { return weight.size(); }
};

struct NormRows {
  float* x = nullptr;  // [rows, width]
  std::size_t rows = 0;
  float epsilon = 1e-12F;
  float* y = nullptr;  // [rows, width]; null: in place
};
void forward(const LayerNorm& norm, ForwardContext& context, const NormRows& call);
void forward(const RmsNorm& norm, ForwardContext& context, const NormRows& call);
// MobileBERT's NoNorm, which has the weights of a LayerNorm: x · weight + bias.
void no_norm(const LayerNorm& norm, ForwardContext& context, const NormRows& call);

struct GatedRows {
  float* x = nullptr;  // [rows, 2 · width]: the first half of each becomes activation(first) · second
  std::size_t rows = 0, width = 0;
  float dropout = 0;  // of the first halves, with a tape only
};
void activate_gated(kernels::Activation activation, ForwardContext& context, const GatedRows& rows);

// A table that stays in the mapped file as it is stored; rows are converted when they are looked up.
struct Embedding {
  tensor::TensorView table;             // [rows, width]
  std::shared_ptr<const void> storage;  // that the table lies in
  tensor::Buffer<float> scales;         // [rows] of a table of bytes, else empty

  void read_row(const kernels::Fp32Kernels& kernels, std::size_t row, std::span<float> out) const noexcept;
};

// LayerNorm((word + token type) + position) of every token. Positions count from 0 in each sequence.
struct InputEmbeddings {
  const Embedding* word = nullptr;        // null: the others are added to what x holds
  const Embedding* token_type = nullptr;  // null: the family has none
  const Embedding* position = nullptr;    // null likewise
  const LayerNorm* norm = nullptr;        // null: only the sum
  float epsilon = 1e-12F;
  float dropout = 0;  // after the norm, with a tape only
  // RoBERTa's positions: tokens with this id (pads) have it as their position and are not counted; the
  // positions of other tokens begin at pad_id + 1.
  std::int32_t pad_id = -1;
};
void embed(const InputEmbeddings& embeddings, const tensor::RaggedBatch& batch, ForwardContext& context,
           float* x);

// The rows of the ids; decoders need no more for their input.
void embed_tokens(const Embedding& table, std::span<const std::int32_t> ids, ForwardContext& context,
                  float* x);

// The positions of all tokens, as embed() counts them.
void token_positions(const tensor::RaggedBatch& batch, std::int32_t pad_id,
                     std::span<std::int32_t> positions);

// y[i] = table[rows[i]], for tables that are looked up whole, such as those of relative positions.
struct LookUp {
  const Embedding* table = nullptr;
  std::span<const std::int32_t> rows;
  float* y = nullptr;  // [rows, width]; by columns: [width, rows]
  bool by_columns = false;
};
void look_up(ForwardContext& context, const LookUp& call);

// to += from.
void add(ForwardContext& context, const float* from, std::span<float> to);

// An activation that no product is fused with, in place. Rows of `width` floats.
void activate(kernels::Activation activation, ForwardContext& context, std::size_t width, std::span<float> x);

// y := tanh(y).
void apply_tanh(ForwardContext& context, std::span<float> y);

// x := x · mask / (1 - p) for a random mask, with a tape only. Rows of `width` floats.
struct Dropout {
  float p = 0;
  DropoutRows rows = DropoutRows::kTokens;
};
void drop_out(ForwardContext& context, const Dropout& dropout, std::size_t width, std::span<float> x);

// What each token's neighbours in its sequence hold: y[token, tap, i] = x[token + offsets[tap], i], and 0
// beyond the ends of the sequence.
struct NeighborRows {
  const float* x = nullptr;  // [tokens, width]
  float* y = nullptr;        // [tokens, offsets · width]
  std::size_t width = 0;
  std::span<const int> offsets = {};
  bool taps_together = false;  // whether y is [token, i, tap] instead
};
void gather_neighbors(const tensor::RaggedBatch& batch, ForwardContext& context, const NeighborRows& call);

// Rows of x [·, width], side by side in the workspace.
float* gather_rows(std::span<const std::int32_t> rows, std::size_t width, ForwardContext& context,
                   const float* x);

// Sets the rows of pads to 0.
void clear_pads(const tensor::RaggedBatch& batch, std::size_t width, ForwardContext& context, float* x);

// Moves the rows of x [·, width] that are wanted (RaggedBatch::wanted) to its beginning, and returns them.
// None wanted: all, as always with a tape.
std::span<float> keep_rows(std::span<const std::int32_t> wanted, std::size_t width, std::span<float> x);

// Slots of the workspace, one per buffer that lives at the same time as another.
enum Slot : std::size_t {
  kHidden,
  kQkv,
  kContext,
  kNormed,
  kUp,
  kScratch,
  kHeadOut,
  kPositions,
  kNarrow,
  kRounded,
  kBiases
};

}  // namespace kvasir::models
