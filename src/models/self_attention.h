// Bidirectional multi-head attention over a ragged batch: each sequence sees itself, and there is no mask.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "models/qa_model.h"

namespace kvasir::models {

// The work of one layer's attention, cut into tasks. The same for every layer of a pass, so made once.
class AttentionPlan {
 public:
  // Some queries of one sequence in one head.
  struct Task {
    std::size_t head;
    std::size_t query_begin, queries;  // query_begin counts in the batch, not in the sequence
    std::size_t key_begin, keys;
  };
  struct Options {
    std::size_t heads = 0;
    std::size_t threads = 0;
  };
  AttentionPlan(const tensor::RaggedBatch& batch, const Options& options);

  std::span<const Task> tasks() const noexcept { return tasks_; }
  std::size_t heads() const noexcept { return heads_; }

 private:
  std::size_t heads_;
  std::vector<Task> tasks_;  // most expensive first
};

struct AttentionBuffers {
  const float* qkv = nullptr;  // [tokens, 3, heads, head_dim]
  float* out = nullptr;        // [tokens, heads, head_dim]
  std::size_t width = 0;       // heads · head_dim
};
void attend(const AttentionPlan& plan, ForwardContext& context, const AttentionBuffers& buffers);

}  // namespace kvasir::models
