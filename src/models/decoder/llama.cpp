// Llama (Touvron et al. 2023) and what is built the same: Llama 2, Vicuna, TinyLlama, SmolLM.
// LlamaForCausalLM of transformers. Rotary positions, grouped heads, RMSNorm before each part, a gated
// feed-forward, no biases.
#include <string>
#include <vector>

#include "models/causal_attention.h"
#include "models/registry.h"

namespace kvasir::models {

namespace {

struct LlamaConfig {
  std::size_t vocab_size = 0;
  std::size_t hidden_size = 0;
  std::size_t intermediate_size = 0;
  std::size_t num_hidden_layers = 0;
  std::size_t num_attention_heads = 0;
  std::size_t num_key_value_heads = 0;  // num_attention_heads, where config.json does not say
  std::size_t head_dim = 0;             // hidden_size / num_attention_heads likewise
  std::size_t max_position_embeddings = 2048;
  kernels::Activation hidden_act = kernels::Activation::kSilu;
  float rms_norm_eps = 1e-6F;
  bool attention_bias = false, mlp_bias = false, tie_word_embeddings = false;
  Rotary rotary;
};

template <class Visitor>
void visit(LlamaConfig& c, const Visitor& v) {
  v.required("vocab_size", c.vocab_size, kMaxVocabulary);
  v.required("hidden_size", c.hidden_size, kMaxWidth);
  v.required("intermediate_size", c.intermediate_size, kMaxWidth);
  v.required("num_hidden_layers", c.num_hidden_layers, kMaxLayers);
  v.required("num_attention_heads", c.num_attention_heads, kMaxWidth);
  c.num_key_value_heads = c.num_attention_heads;
  v.optional("num_key_value_heads", c.num_key_value_heads, kMaxWidth);
  c.head_dim = c.hidden_size / c.num_attention_heads;
  v.optional("head_dim", c.head_dim, kMaxWidth);
  v.optional("max_position_embeddings", c.max_position_embeddings, kMaxPositions);
  v.optional("hidden_act", c.hidden_act);
  v.optional("rms_norm_eps", c.rms_norm_eps);
  v.optional("attention_bias", c.attention_bias);
  v.optional("mlp_bias", c.mlp_bias);
  v.optional("tie_word_embeddings", c.tie_word_embeddings);
  c.rotary = {.head_dim = c.head_dim, .positions = c.max_position_embeddings};
  read_rotary(v, c.rotary);
}

struct LlamaLayer {
  RmsNorm input_layernorm;
  Linear qkv_proj, o_proj;
  RmsNorm post_attention_layernorm;
  Linear gate_up_proj, down_proj;
};
struct LlamaWeights {
  Embedding embed_tokens;
  std::vector<LlamaLayer> layers;
  RmsNorm norm;
  Linear lm_head;
};

template <class Weights, class Visitor>
void visit_weights(Weights& w, const LlamaConfig& c, Visitor& v) {
  const Dim hidden{"hidden_size", c.hidden_size}, vocabulary{"vocab_size", c.vocab_size};
  const Dim inner{"intermediate_size", c.intermediate_size};
  const Dim queries{"num_attention_heads * head_dim", c.num_attention_heads * c.head_dim};
  const Dim keys{"num_key_value_heads * head_dim", c.num_key_value_heads * c.head_dim};
  const Bias attention = c.attention_bias ? Bias::kYes : Bias::kNo, mlp = c.mlp_bias ? Bias::kYes : Bias::kNo;
  v("embed_tokens", w.embed_tokens, MatrixShape{vocabulary, hidden});
  for (std::size_t i = 0; i < c.num_hidden_layers; ++i) {
    const std::string at = "layers." + std::to_string(i) + ".";
    auto& layer = w.layers[i];
    v(at + "input_layernorm", layer.input_layernorm, hidden);
    v({{at + "self_attn.q_proj", queries}, {at + "self_attn.k_proj", keys}, {at + "self_attn.v_proj", keys}},
      layer.qkv_proj, hidden, attention);
    v(at + "self_attn.o_proj", layer.o_proj, MatrixShape{hidden, queries}, attention);
    v(at + "post_attention_layernorm", layer.post_attention_layernorm, hidden);
    v({at + "mlp.gate_proj", at + "mlp.up_proj"}, layer.gate_up_proj, MatrixShape{inner, hidden}, mlp);
    v(at + "mlp.down_proj", layer.down_proj, MatrixShape{hidden, inner}, mlp);
  }
  v("norm", w.norm, hidden);
  v(c.tie_word_embeddings ? "embed_tokens" : "lm_head", w.lm_head, MatrixShape{vocabulary, hidden},
    Bias::kNo);
}

class Llama final : public CausalLm {
 public:
  Llama(LlamaConfig config, const ConfigReader& reader, WeightSource& source) : config_(std::move(config)) {
    check_heads(reader, {"num_attention_heads", config_.num_attention_heads},
                {"num_key_value_heads", config_.num_key_value_heads});
    check_heads(reader, {"head_dim", config_.head_dim}, {"the pairs of rotary positions", 2});
    attention_ = {.heads = config_.num_attention_heads,
                  .kv_heads = config_.num_key_value_heads,
                  .head_dim = config_.head_dim};
    weights_.layers.resize(config_.num_hidden_layers);
    if (config_.tie_word_embeddings) source.leave_out("lm_head.weight");  // a copy
  }

  void logits(const DecoderBatch& batch, const KvShape& kv, ForwardContext& context,
              float* out) const override {
    const std::size_t tokens = batch.tokens(), width = config_.hidden_size;
    float* x = context.workspace.floats(kHidden, tokens * width);
    embed_tokens(weights_.embed_tokens, batch.input_ids, context, x);
    const float* angles = rotary_rows(config_.rotary, batch, context);
    for (std::size_t i = 0; i < weights_.layers.size(); ++i) {
      run_layer(i, {.batch = batch, .kv = kv, .angles = angles}, context, x);
    }
    float* last = gather_rows(batch.outputs, width, context, x);
    forward(weights_.norm, context, norm_rows(last, batch.outputs.size()));
    forward(weights_.lm_head, context, {.x = last, .y = out, .rows = batch.outputs.size()});
  }

  KvShape kv_shape(kernels::KvType type) const noexcept override {
    return {.layers = config_.num_hidden_layers,
            .heads = config_.num_key_value_heads,
            .layout = {.head_dim = config_.head_dim, .type = type}};
  }
  void visit(WeightVisitor& visitor) override { visit_weights(weights_, config_, visitor); }
  void visit(ConstWeightVisitor& visitor) const override { visit_weights(weights_, config_, visitor); }
  const std::string& family() const noexcept override { return family_; }
  std::size_t max_positions() const noexcept override {
    // Dynamic scaling is made for longer sequences, of any length.
    return config_.rotary.scaling.kind == RotaryScaling::Kind::kDynamic ? kMaxPositions
                                                                        : config_.max_position_embeddings;
  }
  std::size_t vocab_size() const noexcept override { return config_.vocab_size; }
  std::size_t sharable_positions() const noexcept override {
    return config_.rotary.scaling.kind == RotaryScaling::Kind::kDynamic ? config_.max_position_embeddings
                                                                        : SIZE_MAX;
  }

 private:
  struct Pass {
    const DecoderBatch& batch;
    const KvShape& kv;
    const float* angles;
  };

  NormRows norm_rows(float* x, std::size_t rows, float* y = nullptr) const noexcept {
    return {.x = x, .rows = rows, .epsilon = config_.rms_norm_eps, .y = y};
  }

  void run_layer(std::size_t index, const Pass& pass, ForwardContext& context, float* x) const {
    const LlamaLayer& layer = weights_.layers[index];
    const std::size_t rows = pass.batch.tokens(), width = config_.hidden_size,
                      inner = config_.intermediate_size;
    tensor::Workspace& workspace = context.workspace;
    float* normed = workspace.floats(kNormed, rows * width);
    float* qkv = workspace.floats(kQkv, rows * attention_.qkv_width());
    float* attended = workspace.floats(kContext, rows * attention_.heads * attention_.head_dim);
    float* up = workspace.floats(kUp, rows * 2 * inner);

    forward(layer.input_layernorm, context, norm_rows(x, rows, normed));
    forward(layer.qkv_proj, context, {.x = normed, .y = qkv, .rows = rows});
    rotate(context, {.angles = pass.angles,
                     .x = qkv,
                     .rows = rows,
                     .x_stride = attention_.qkv_width(),
                     .heads = attention_.heads + attention_.kv_heads,  // queries, then keys
                     .head_dim = attention_.head_dim});
    attend(attention_, pass.batch, pass.kv, context, {.qkv = qkv, .out = attended, .layer = index});
    forward(layer.o_proj, context, {.x = attended, .y = x, .rows = rows, .residual = x});

    forward(layer.post_attention_layernorm, context, norm_rows(x, rows, normed));
    forward(layer.gate_up_proj, context, {.x = normed, .y = up, .rows = rows});
    activate_gated(config_.hidden_act, context, {.x = up, .rows = rows, .width = inner});
    forward(layer.down_proj, context, {.x = up, .y = x, .rows = rows, .residual = x, .x_stride = 2 * inner});
  }

  std::string family_ = "llama";
  LlamaConfig config_;
  CausalAttention attention_;
  LlamaWeights weights_;
};

}  // namespace

const DecoderFamily kLlama{
    .prefix = "model.",
    .model = [](const ConfigReader& reader, WeightSource& source) -> std::unique_ptr<CausalLm> {
      LlamaConfig config;
      visit(config, reader);
      return std::make_unique<Llama>(std::move(config), reader, source);
    }};

}  // namespace kvasir::models
