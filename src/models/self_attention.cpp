#include "models/self_attention.h"

#include <algorithm>
#include <cmath>

#include "models/layers.h"

namespace kvasir::models {

namespace {

// Tasks per thread that keep the cores busy to the end: the last to finish is at most 1/4 of a share late.
constexpr std::size_t kTasksPerThread = 4;
// Queries of a task, at least: the keys of a task are packed anew, which must not cost more than a little.
constexpr std::size_t kMinQueries = 48;
// Queries of a task with a window. Its keys are theirs and a window to both sides: few queries waste little
// on keys that only some of them see, many pack each key less often. Always the same, because where blocks of
// keys begin shows in the last digits.
constexpr std::size_t kWindowQueries = 64;

std::size_t divide_up(std::size_t a, std::size_t b) {
  return (a + b - 1) / b;
}
// Every thread's part of scratch memory is aligned.
std::size_t align(std::size_t floats) {
  constexpr std::size_t kFloats = tensor::kAlignment / sizeof(float);
  return divide_up(floats, kFloats) * kFloats;
}

}  // namespace

AttentionPlan::AttentionPlan(const tensor::RaggedBatch& batch, const Options& options) : options_(options) {
  // One sequence in few heads is cut into more pieces than many sequences.
  const std::size_t pieces = batch.sequences() * options_.heads;
  const std::size_t cuts = divide_up(options.threads == 1 ? 1 : options.threads * kTasksPerThread, pieces);
  for (std::size_t s = 0; s < batch.sequences(); ++s) {
    const auto begin = static_cast<std::size_t>(batch.cu_seqlens[s]);
    const std::size_t length = static_cast<std::size_t>(batch.cu_seqlens[s + 1]) - begin;
    const std::size_t keys =
        batch.key_lengths.empty() ? length : static_cast<std::size_t>(batch.key_lengths[s]);
    // The first of the tokens that see no key.
    std::size_t blind = options.blind_pads ? keys : length;
    if (options_.window < length) blind = std::min(blind, keys + options_.window);
    const std::size_t blocks = options_.window < length ? divide_up(blind, kWindowQueries)
                                                        : std::min(cuts, divide_up(blind, kMinQueries));
    add_tasks({.begin = begin, .length = length, .keys = keys}, 0, blind, blocks);
    if (blind == length) continue;
    for (std::size_t head = 0; head < options_.heads; ++head) {
      tasks_.push_back({.head = head,
                        .query_begin = begin + blind,
                        .queries = length - blind,
                        .key_begin = begin,
                        .keys = length,
                        .uniform = true});
    }
  }
  std::ranges::stable_sort(tasks_, std::greater<>(),
                           [](const AttentionTask& t) { return t.queries * t.keys; });
}

// Queries [begin, end) of the sequence, in so many blocks.
void AttentionPlan::add_tasks(const Sequence& sequence, std::size_t begin, std::size_t end,
                              std::size_t blocks) {
  const std::size_t length = end - begin;
  for (std::size_t head = 0; head < options_.heads; ++head) {
    for (std::size_t b = 0; b < blocks; ++b) {
      const std::size_t first = begin + length * b / blocks, last = begin + length * (b + 1) / blocks;
      const std::size_t key_begin = first > options_.window ? first - options_.window : 0;
      tasks_.push_back({.head = head,
                        .query_begin = sequence.begin + first,
                        .queries = last - first,
                        .key_begin = sequence.begin + key_begin,
                        .keys = std::min(sequence.keys, last + options_.window) - key_begin});
    }
  }
}

std::size_t longest(const tensor::RaggedBatch& batch) noexcept {
  std::int32_t length = 0;
  for (std::size_t s = 0; s < batch.sequences(); ++s) {
    length = std::max(length, batch.cu_seqlens[s + 1] - batch.cu_seqlens[s]);
  }
  return static_cast<std::size_t>(length);
}

float score_scale(const AttentionOptions& options, std::size_t head_dim) noexcept {
  return options.scale != 0 ? options.scale : 1 / std::sqrt(static_cast<float>(head_dim));
}

void attend(const AttentionPlan& plan, const AttentionOptions& options, ForwardContext& context,
            const AttentionBuffers& buffers) {
  if (context.tape != nullptr) return context.tape->attend(plan, options, buffers);
  const std::size_t width = buffers.width;
  const std::size_t head_dim = buffers.head_dim;
  std::size_t kernel_size = 0, bias_size = 0;
  for (const AttentionTask& t : plan.tasks()) {
    kernel_size = std::max(kernel_size, context.kernels.fp32.attention_scratch(t.queries, t.keys, head_dim));
    if (options.bias != nullptr) bias_size = std::max(bias_size, options.bias->scratch_size(t));
  }
  const std::size_t bias_offset = align(kernel_size), thread_size = bias_offset + align(bias_size);
  float* scratch =
      context.workspace.floats(kScratch, static_cast<std::size_t>(context.pool.size()) * thread_size);
  const float scale = score_scale(options, head_dim);

  const auto kernel = options.rounded && context.kernels.bf16_is_faster ? context.kernels.bf16->attention
                                                                        : context.kernels.fp32.attention;
  context.pool.parallel_for(plan.tasks().size(), [&](std::size_t i, int worker) noexcept {
    const AttentionTask& task = plan.tasks()[i];
    float* own = scratch + static_cast<std::size_t>(worker) * thread_size;
    ScoreBias::Rows bias{.data = nullptr, .stride = 0};
    if (options.bias != nullptr && !task.uniform) bias = options.bias->rows(task, buffers, own + bias_offset);
    kernel({.q = buffers.query(task.query_begin, task.head),
            .k = buffers.key(task.key_begin, task.head),
            .v = buffers.value(task.key_begin, task.head),
            .out = buffers.out + task.query_begin * width + task.head * head_dim,
            .q_stride = buffers.stride(),
            .kv_stride = buffers.stride(),
            .out_stride = width,
            .queries = task.queries,
            .keys = task.keys,
            .head_dim = head_dim,
            .scale = task.uniform ? 0 : scale,
            .bias = bias.data,
            .bias_stride = bias.stride,
            .window = task.uniform ? kernels::kNoWindow : plan.window(),
            .query_offset = task.query_offset()},
           own);
  });
}

}  // namespace kvasir::models
