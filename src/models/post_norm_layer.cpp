#include "models/post_norm_layer.h"

#include <algorithm>

namespace kvasir::models {

namespace {

// Maximum size of a chunk's activations between the products: 288 KiB, the part of a small L2 (512 KiB) that
// the panels of weights streaming through it leave.
constexpr std::size_t kChunkBytes = std::size_t{288} << 10;
constexpr std::size_t kTileRows = 12;  // chunks are whole tiles of the widest kernels

// Weights in fp32 are too large for that: reading all of them for each chunk made MiniLM 10 % slower (Zen 5,
// 128 and 384 tokens) than dividing each product separately.
RowChunks chunks_of(const PostNormLayer& layer, std::size_t rows) {
  if (layer.up.is_fp32()) return {.rows = rows, .most = 0};
  const std::size_t most = kChunkBytes / sizeof(float) / layer.up.out() / kTileRows * kTileRows;
  return {.rows = rows, .most = std::max(most, kTileRows)};
}

// All that follows attention: its output projection and the feed-forward, row by row.
void project_and_feed(const PostNormLayer& layer, const PostNormOptions& options, ForwardContext& context,
                      std::span<const float> attended, std::span<float> x) {
  const std::size_t rows = x.size() / layer.qkv.in();
  float* normed = context.floats(kNormed, x.size());
  float* up = context.floats(kUp, rows * layer.up.out());
  forward(layer.attention_output, context,
          {.x = attended.data(),
           .y = normed,
           .rows = rows,
           .dropout = options.attention_output_dropout,
           .residual = x.data()});
  forward(layer.attention_norm, context, {.x = normed, .rows = rows, .epsilon = options.epsilon});
  forward(layer.up, context, {.x = normed, .y = up, .rows = rows, .activation = options.activation});
  forward(layer.down, context,
          {.x = up, .y = x.data(), .rows = rows, .dropout = options.output_dropout, .residual = normed});
  forward(layer.output_norm, context, {.x = x.data(), .rows = rows, .epsilon = options.epsilon});
}

}  // namespace

std::span<float> forward(const PostNormLayer& layer, const PostNormOptions& options,
                         const AttentionPlan& plan, ForwardContext& context, std::span<float> x,
                         std::span<const std::int32_t> wanted) {
  const std::size_t width = layer.qkv.in();
  const std::size_t rows = x.size() / width;
  float* qkv = context.floats(kQkv, rows * 3 * width);
  std::span<float> attended(context.floats(kContext, x.size()), x.size());

  AttentionBuffers buffers{
      .qkv = qkv, .out = attended.data(), .width = width, .head_dim = width / plan.heads()};
  const bool by_head = buffers.head_dim % kernels::kPanelColumns == 0 && context.tape == nullptr;
  if (by_head) buffers.tokens_by_head = rows;
  in_row_chunks(context, chunks_of(layer, rows), [&](ForwardContext& own, kernels::RowRange r) {
    LinearCall call{.x = x.data() + r.begin * width, .rows = r.end - r.begin, .y_stride = buffers.stride()};
    call.y = qkv + r.begin * call.y_stride;
    if (buffers.tokens_by_head > 0) {
      call.y_block = buffers.head_dim;
      call.y_block_stride = rows * buffers.head_dim;
    }
    forward(layer.qkv, own, call);
  });
  AttentionOptions attention = options.attention;
  attention.rounded = !layer.qkv.is_fp32();
  attend(plan, attention, context, buffers);
  x = keep_rows(wanted, width, x);
  attended = keep_rows(wanted, width, attended);
  in_row_chunks(context, chunks_of(layer, x.size() / width), [&](ForwardContext& own, kernels::RowRange r) {
    const std::size_t first = r.begin * width, count = (r.end - r.begin) * width;
    project_and_feed(layer, options, own, attended.subspan(first, count), x.subspan(first, count));
  });
  return x;
}

std::span<float> forward(std::span<const PostNormLayer> layers, const PostNormOptions& options,
                         const AttentionPlan& plan, ForwardContext& context, std::span<float> x,
                         std::span<const std::int32_t> wanted) {
  for (const PostNormLayer& layer : layers.first(layers.size() - 1)) {
    forward(layer, options, plan, context, x);
  }
  return forward(layers.back(), options, plan, context, x, wanted);
}

double post_norm_multiply_adds(std::size_t width, std::size_t inner, std::size_t tokens) noexcept {
  const auto w = static_cast<double>(width), n = static_cast<double>(tokens);
  return n * (4 * w * w + 2 * w * static_cast<double>(inner)) + 2 * n * n * w;
}

}  // namespace kvasir::models
