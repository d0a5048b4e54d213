// What training needs to know of a forward pass. The layers report each step to the tape before they compute
// it, in their order; the backward pass goes through the steps the other way round
// (src/train/backward_tape.h). Without a tape (ForwardContext::tape is null) nothing here is called.
//
// Gradients belong to places in memory: a step that writes to y takes the gradient of y and adds to those of
// what it reads, which may be the same place with its older values. So families may work in place and reuse
// memory as ever.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/kernels.h"
#include "tensor/ragged_batch.h"

namespace kvasir::models {

struct Linear;
struct LinearCall;
struct LayerNorm;
struct RmsNorm;
struct NormRows;
struct GatedRows;
struct Embedding;
struct InputEmbeddings;
struct LookUp;
struct NeighborRows;
struct RotateRows;
struct AttentionOptions;
struct AttentionBuffers;
class AttentionPlan;
struct ForwardContext;

// Which random numbers dropout draws for the rows that it sees: those of the tokens of the batch, or of a
// table that all sequences share.
enum class DropoutRows { kTokens, kTable };

class Tape {
 public:
  Tape() = default;
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;
  virtual ~Tape() = default;

  // Memory for the results of steps, in place of a slot of the workspace: it keeps them until the backward
  // pass.
  virtual float* floats(std::size_t size) = 0;

  // Each is about to be computed by the layer that calls. (An activation that is fused with a product comes
  // as a step of its own.)
  virtual void linear(const Linear& linear, const LinearCall& call) = 0;  // no activation, no dropout
  virtual void layer_norm(const LayerNorm& norm, const NormRows& call) = 0;
  virtual void no_norm(const LayerNorm& norm, const NormRows& call) = 0;
  virtual void rms_norm(const RmsNorm& norm, const NormRows& call) = 0;
  virtual void activate(kernels::Activation activation, std::span<float> x) = 0;  // in place
  virtual void activate_gated(kernels::Activation activation, const GatedRows& rows) = 0;
  virtual void tanh(std::span<float> x) = 0;                            // in place
  virtual void add(const float* from, std::span<float> to) = 0;         // to += from
  virtual void embed(const InputEmbeddings& embeddings, float* x) = 0;  // without its norm and dropout
  virtual void look_up(const LookUp& call) = 0;
  virtual void rotate(const RotateRows& call) = 0;  // in place
  virtual void gather_neighbors(const NeighborRows& call) = 0;
  virtual void clear_pads(std::size_t width, float* x) = 0;

  // The product that linear() announced is there: adds what an adapter of this weight adds to it, in steps of
  // its own.
  virtual void adapt(const Linear& linear, ForwardContext& context, const LinearCall& call) = 0;

  // These depend on the training step, so the tape computes them.
  // x := x · mask / (1 - p), rows of `width` floats.
  virtual void dropout(float p, DropoutRows rows, std::size_t width, std::span<float> x) = 0;
  virtual void attend(const AttentionPlan& plan, const AttentionOptions& options,
                      const AttentionBuffers& buffers) = 0;
};

}  // namespace kvasir::models
