// Bidirectional multi-head attention over a ragged batch: each sequence sees itself, and there is no mask.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "models/forward_context.h"
#include "tensor/ragged_batch.h"

namespace kvasir::models {

// Some queries of one sequence in one head. Beginnings are token indices in the batch, not in the sequence.
struct AttentionTask {
  std::size_t head;
  std::size_t query_begin, queries;
  std::size_t key_begin, keys;
  bool uniform = false;  // all keys weigh the same, whatever the scores

  // The position of query 0 among the keys.
  std::size_t query_offset() const noexcept { return query_begin - key_begin; }
};

// The work of one layer's attention, divided into tasks. It is the same for every layer of one kind, so it is
// made once.
class AttentionPlan {
 public:
  struct Options {
    std::size_t heads = 0;
    std::size_t threads = 0;
    std::size_t window = kernels::kNoWindow;  // tokens that each sees to either side
    // Pads see no key at all. (In the reference all their scores are then equal, so they attend equally to
    // all tokens, pads included. So does any token that sees only pads.)
    bool blind_pads = false;
  };
  AttentionPlan(const tensor::RaggedBatch& batch, const Options& options);

  const Options& options() const noexcept { return options_; }
  std::span<const AttentionTask> tasks() const noexcept { return tasks_; }
  std::size_t heads() const noexcept { return options_.heads; }
  std::size_t window() const noexcept { return options_.window; }

 private:
  struct Sequence {
    std::size_t begin, length, keys;
  };
  void add_tasks(const Sequence& sequence, std::size_t begin, std::size_t end, std::size_t blocks);

  Options options_;
  std::vector<AttentionTask> tasks_;  // most expensive first
};

struct AttentionBuffers {
  const float* qkv = nullptr;  // [tokens, 3, heads, head_dim], or by heads: [3, heads, tokens, head_dim]
  float* out = nullptr;        // [tokens, heads, head_dim]
  std::size_t width = 0;       // heads · head_dim
  std::size_t head_dim = 0;
  // The tokens of the batch if qkv is laid out by heads, so that what one head reads is contiguous; otherwise
  // 0. (With rows a whole hidden state apart, it would be fetched from L3 cache line by cache line.)
  std::size_t tokens_by_head = 0;

  std::size_t stride() const noexcept { return tokens_by_head > 0 ? head_dim : 3 * width; }
  const float* query(std::size_t token, std::size_t head) const noexcept { return at(0, token, head); }
  const float* key(std::size_t token, std::size_t head) const noexcept { return at(1, token, head); }
  const float* value(std::size_t token, std::size_t head) const noexcept { return at(2, token, head); }

 private:
  const float* at(std::size_t part, std::size_t token, std::size_t head) const noexcept {
    const std::size_t column = part * width + head * head_dim;
    return qkv + (tokens_by_head > 0 ? column * tokens_by_head : column) + token * stride();
  }
};

// Biases that a family adds to the scores, for relative positions.
class ScoreBias {
 public:
  ScoreBias() = default;
  ScoreBias(const ScoreBias&) = delete;
  ScoreBias& operator=(const ScoreBias&) = delete;
  virtual ~ScoreBias() = default;

  // Query i and key j of the task get data[i · stride + j]; as kernels::AttentionCall.
  struct Rows {
    const float* data;
    std::ptrdiff_t stride;
  };
  // scratch: scratch_size(task) floats of the calling thread, 64-byte aligned.
  virtual std::size_t scratch_size(const AttentionTask& task) const noexcept = 0;
  virtual Rows rows(const AttentionTask& task, const AttentionBuffers& buffers,
                    float* scratch) const noexcept = 0;

  // Of training. scores: the gradient of the task's biases, [queries, keys], rows `stride` floats apart; q
  // and k: those of its queries and keys, which are added to. gradient(p): the gradient of what a step of the
  // tape has written to p. Tasks of one head come one after the other, in the order of the batch.
  struct Gradients {
    const float* scores;
    std::size_t stride;
    float *q, *k;
    std::size_t q_stride, k_stride;
    const std::function<float*(const float* p)>& gradient;
  };
  virtual void add_gradients(const AttentionTask& task, const AttentionBuffers& buffers,
                             const Gradients& gradients) const = 0;
  // Memory that add_gradients asks gradient() for, so that it is there before threads ask.
  virtual std::vector<std::span<const float>> parameters() const { return {}; }
};

// The number of tokens of the longest sequence.
std::size_t longest(const tensor::RaggedBatch& batch) noexcept;

struct AttentionOptions {
  float scale = 0;  // of the scores; 0: 1 / √head_dim
  // Products in bf16, where they are faster: for models whose other products are rounded more than that.
  bool rounded = false;
  std::shared_ptr<const ScoreBias> bias = nullptr;
  float dropout = 0;  // of the weights, with a tape only
};
// The scale that the options mean.
float score_scale(const AttentionOptions& options, std::size_t head_dim) noexcept;
void attend(const AttentionPlan& plan, const AttentionOptions& options, ForwardContext& context,
            const AttentionBuffers& buffers);

}  // namespace kvasir::models
