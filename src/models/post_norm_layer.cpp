#include "models/post_norm_layer.h"

namespace kvasir::models {

void forward(const PostNormLayer& layer, const PostNormOptions& options, const AttentionPlan& plan,
             ForwardContext& context, std::span<float> x) {
  const std::size_t width = layer.qkv.in();
  const std::size_t rows = x.size() / width;
  tensor::Workspace& workspace = context.workspace;
  float* qkv = workspace.floats(kQkv, rows * 3 * width);
  float* attended = workspace.floats(kContext, rows * width);
  float* normed = workspace.floats(kNormed, rows * width);
  float* up = workspace.floats(kUp, rows * layer.up.out());

  forward(layer.qkv, context, {.x = x.data(), .y = qkv, .rows = rows});
  attend(plan, options.attention, context, {.qkv = qkv, .out = attended, .width = width});
  forward(layer.attention_output, context, {.x = attended, .y = normed, .rows = rows, .residual = x.data()});
  forward(layer.attention_norm, context, {.x = normed, .rows = rows, .epsilon = options.epsilon});
  forward(layer.up, context, {.x = normed, .y = up, .rows = rows, .activation = options.activation});
  forward(layer.down, context, {.x = up, .y = x.data(), .rows = rows, .residual = normed});
  forward(layer.output_norm, context, {.x = x.data(), .rows = rows, .epsilon = options.epsilon});
}

double post_norm_multiply_adds(std::size_t width, std::size_t inner, std::size_t tokens) noexcept {
  const auto w = static_cast<double>(width), n = static_cast<double>(tokens);
  return n * (4 * w * w + 2 * w * static_cast<double>(inner)) + 2 * n * n * w;
}

}  // namespace kvasir::models
