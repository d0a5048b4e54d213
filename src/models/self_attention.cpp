#include "models/self_attention.h"

#include <algorithm>
#include <cmath>

#include "models/blocks.h"

namespace kvasir::models {

namespace {

// Tasks per thread that keep the cores busy to the end: the last to finish is at most 1/4 of a share late.
constexpr std::size_t kTasksPerThread = 4;
// Queries of a task, at least: the keys of a task are packed anew, which must not cost more than a little.
constexpr std::size_t kMinQueries = 48;

std::size_t divide_up(std::size_t a, std::size_t b) {
  return (a + b - 1) / b;
}

}  // namespace

AttentionPlan::AttentionPlan(const tensor::RaggedBatch& batch, const Options& options)
    : heads_(options.heads) {
  // One sequence in few heads is cut into more pieces than many sequences.
  const std::size_t pieces = batch.sequences() * heads_;
  const std::size_t cuts = divide_up(options.threads == 1 ? 1 : options.threads * kTasksPerThread, pieces);
  for (std::size_t s = 0; s < batch.sequences(); ++s) {
    const auto begin = static_cast<std::size_t>(batch.cu_seqlens[s]);
    const std::size_t length = static_cast<std::size_t>(batch.cu_seqlens[s + 1]) - begin;
    const std::size_t keys =
        batch.key_lengths.empty() ? length : static_cast<std::size_t>(batch.key_lengths[s]);
    const std::size_t blocks = std::min(cuts, divide_up(length, kMinQueries));
    for (std::size_t head = 0; head < heads_; ++head) {
      for (std::size_t b = 0; b < blocks; ++b) {
        const std::size_t first = length * b / blocks;
        tasks_.push_back({.head = head,
                          .query_begin = begin + first,
                          .queries = length * (b + 1) / blocks - first,
                          .key_begin = begin,
                          .keys = keys});
      }
    }
  }
  std::ranges::stable_sort(tasks_, std::greater<>(), [](const Task& t) { return t.queries * t.keys; });
}

void attend(const AttentionPlan& plan, ForwardContext& context, const AttentionBuffers& buffers) {
  const std::size_t width = buffers.width;
  const std::size_t head_dim = width / plan.heads();
  std::size_t scratch_size = 0;
  for (const AttentionPlan::Task& t : plan.tasks()) {
    scratch_size = std::max(scratch_size, context.kernels.attention_scratch(t.queries, t.keys, head_dim));
  }
  constexpr std::size_t kFloats = tensor::kAlignment / sizeof(float);
  scratch_size = divide_up(scratch_size, kFloats) * kFloats;  // every thread's part is aligned
  float* scratch =
      context.workspace.floats(kScratch, static_cast<std::size_t>(context.pool.size()) * scratch_size);
  const float scale = 1 / std::sqrt(static_cast<float>(head_dim));

  context.pool.parallel_for(plan.tasks().size(), [&](std::size_t i, int worker) noexcept {
    const AttentionPlan::Task& task = plan.tasks()[i];
    const std::size_t column = task.head * head_dim;
    const float* keys = buffers.qkv + task.key_begin * 3 * width + column;
    context.kernels.attention({.q = buffers.qkv + task.query_begin * 3 * width + column,
                               .k = keys + width,
                               .v = keys + 2 * width,
                               .out = buffers.out + task.query_begin * width + column,
                               .q_stride = 3 * width,
                               .kv_stride = 3 * width,
                               .out_stride = width,
                               .queries = task.queries,
                               .keys = task.keys,
                               .head_dim = head_dim,
                               .scale = scale},
                              scratch + static_cast<std::size_t>(worker) * scratch_size);
  });
}

}  // namespace kvasir::models
