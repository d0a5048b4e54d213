// The tape of training: what a forward pass did, and the gradients that follow from it.
//
//   tape.begin({.batch = batch, …});
//   ForwardContext context{…, .tape = &tape};
//   float* logits = tape.floats(…);
//   model.run(batch, context, logits);            // the layers report to the tape
//   tape.backward(logits, gradient_of_logits);    // adds to the gradients of the parameters
//
// Results do not depend on the number of threads: whatever is added up over rows is added up in pieces of a
// fixed size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "models/forward_context.h"
#include "models/layers.h"
#include "models/self_attention.h"
#include "train/packing.h"
#include "train/parameters.h"

namespace kvasir::train {

class Lora;

// The random numbers of dropout are a function of these, of the place in the model, and of the token and its
// element.
struct DropoutKey {
  std::uint64_t seed = 0, step = 0;
};

// What one thread needs for a block of attention.
struct AttentionScratch {
  kernels::PackedMatrix packed;
  tensor::Buffer<float> p, dp, transposed, bias;
};

class BackwardTape final : public models::Tape {
 public:
  struct Options {
    const kernels::Kernels& kernels;
    base::ThreadPool& pool;
    Parameters& parameters;
    // Rows of tables of words that get no gradient: nn.Embedding's padding_idx. -1: none.
    std::int32_t pad_token_id = -1;
    const Lora* lora = nullptr;  // adapters, or null
  };
  explicit BackwardTape(const Options& options) : options_(options) {}

  struct Pass {
    const tensor::RaggedBatch& batch;  // until backward() has returned
    DropoutKey key = {};
    // A number for each sequence that stays the same whatever batch it is in; empty: their places.
    std::span<const std::uint64_t> examples = {};
    bool drops = true;  // false: no dropout, as in the gradients that tests compare
  };
  // Forgets the last pass.
  void begin(const Pass& pass);

  // gradient: of the numbers that were written to outputs.
  void backward(const float* outputs, std::span<const float> gradient);

  float* floats(std::size_t size) override;
  void linear(const models::Linear& linear, const models::LinearCall& call) override;
  void layer_norm(const models::LayerNorm& norm, const models::NormRows& call) override;
  void no_norm(const models::LayerNorm& norm, const models::NormRows& call) override;
  void rms_norm(const models::RmsNorm& norm, const models::NormRows& call) override;
  void activate(kernels::Activation activation, std::span<float> x) override;
  void activate_gated(kernels::Activation activation, const models::GatedRows& rows) override;
  void tanh(std::span<float> x) override;
  void add(const float* from, std::span<float> to) override;
  void embed(const models::InputEmbeddings& embeddings, float* x) override;
  void look_up(const models::LookUp& call) override;
  void rotate(const models::RotateRows& call) override;
  void gather_neighbors(const models::NeighborRows& call) override;
  void clear_pads(std::size_t width, float* x) override;
  void adapt(const models::Linear& linear, models::ForwardContext& context,
             const models::LinearCall& call) override;
  void dropout(float p, models::DropoutRows rows, std::size_t width, std::span<float> x) override;
  void attend(const models::AttentionPlan& plan, const models::AttentionOptions& options,
              const models::AttentionBuffers& buffers) override;

  // Bytes of activations and gradients of activations, at most, since the tape was made.
  std::size_t peak_bytes() const noexcept { return bytes_; }

 private:
  // A result of floats().
  struct Region {
    std::size_t size = 0;
    tensor::Buffer<float> gradient;  // if not empty: gradient memory
    bool is_set = false;             // whether it holds a gradient; otherwise the gradient is 0
    std::vector<std::size_t> reads;  // of memory in here
  };
  using Regions = std::map<const float*, Region>;
  // Values that the backward pass needs: where they lie now, or a copy that was made before they were
  // overwritten.
  struct Read {
    const float* p = nullptr;
    std::size_t size = 0;
  };
  // Gradient memory to write to, or to add to.
  struct Target {
    float* p;
    bool accumulates;
  };

  float* allocate(std::size_t size);
  Regions::iterator region_of(const float* p);
  // Notes that the backward pass needs these values; returns a number for value().
  std::size_t keep(const float* p, std::size_t size);
  const float* value(std::size_t read) const noexcept { return reads_[read].p; }
  // These are about to be overwritten: values that are still needed are copied.
  void overwrites(const float* p, std::size_t size);
  void record(std::function<void()> step) { steps_.push_back(std::move(step)); }

  // The gradient of what was written to p; null: there is none, because nothing that counts was made of it.
  float* gradient_of(const float* p);
  // The same, zeros if there is none.
  float* gradient_or_zeros(const float* p);
  // The gradient of values that are read: all of a region, or a part, to which is always added.
  Target target(const float* p, std::size_t size);
  // After a step has taken the gradient of what it wrote: what was there before has none so far.
  void take(const float* p, std::size_t size);
  void take_rows(const float* p, std::size_t rows, std::size_t width, std::size_t stride);
  void release(Region& region);

  // The gradient of a copy, or of a summand, to the rows of x, ldx floats apart, that it was made of.
  void pass_on(const MatrixRows& dy, const float* x, std::size_t ldx);
  void copy_rows(const float* x, std::size_t ldx, std::size_t rows, std::span<float> y);
  // x := x · factor.
  void scale(float factor, std::span<float> x);
  enum class Norm { kLayerNorm, kNoNorm, kRmsNorm };
  void norm(Norm kind, const void* weights, std::span<const float> weight, const models::NormRows& call);
  // sums[j] += Σ x[r, j] over all rows, in an order that does not depend on threads.
  void add_rows(const kernels::RowSumsCall& call);
  void multiply_back(const models::Linear& linear, const float* dy, std::size_t ldy, std::size_t rows,
                     const models::LinearCall& call);
  void add_weight_gradient(Parameter& parameter, const models::Linear& linear, const kernels::RowSumsCall& dy,
                           const float* x, std::size_t ldx);
  // table[ids[i]] += dy[i], rows of `width`. Rows of ids equal to `skipped` are left out.
  void scatter(Parameter& table, std::span<const std::int32_t> ids, const float* dy, std::int32_t skipped);
  void drop(float p, models::DropoutRows rows, std::size_t width, std::size_t site, std::span<float> x) const;
  // Row `row` of a sequence, or of a table that all share.
  struct RowKey {
    std::uint64_t example, row;
  };
  // Dropout of one row, at a place of dropout in the model.
  void drop_row(float p, std::size_t site, const RowKey& row, std::span<float> x) const noexcept;
  friend class AttentionSteps;

  Options options_;
  const tensor::RaggedBatch* batch_ = nullptr;
  DropoutKey key_;
  bool drops_ = true;
  std::vector<std::uint64_t> examples_;     // of each sequence
  std::vector<std::uint32_t> sequence_of_;  // of each token
  std::size_t sites_ = 0;                   // places of dropout so far in this pass

  std::vector<tensor::Buffer<float>> chunks_;  // memory of floats(), kept from pass to pass
  std::size_t chunk_ = 0, used_ = 0;           // the chunk that is filled, and floats of it
  Regions regions_;
  std::vector<Read> reads_;
  std::vector<std::function<void()>> steps_;
  std::vector<tensor::Buffer<float>> free_;  // gradient memory that is not used now
  std::size_t bytes_ = 0;                    // of all memory so far: none is ever freed

  // Operands of products in other layouts.
  kernels::PackedMatrix transposed_weight_, packed_dy_;
  tensor::Buffer<float> transposed_x_, product_, partial_;
  std::vector<AttentionScratch> attention_scratch_;  // of each thread
};

}  // namespace kvasir::train
