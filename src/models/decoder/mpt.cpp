// MPT (MosaicML 2023): MPTForCausalLM of llm-foundry, whose config keys transformers' MptForCausalLM has but
// partly ignores. ALiBi or learned positions, LayerNorm before each part, usually no biases at all, the head
// tied to the embeddings.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "models/causal_attention.h"
#include "models/registry.h"

namespace kvasir::models {

namespace {

struct MptConfig {
  std::size_t vocab_size = 0;
  std::size_t d_model = 0;
  std::size_t n_heads = 0;
  std::size_t n_layers = 0;
  std::size_t expansion_ratio = 4;
  std::size_t max_seq_len = 2048;
  float layer_norm_epsilon = 1e-5F;
  bool no_bias = true;
  bool tie_word_embeddings = true;  // GGUF files may have a head that is rounded less
  bool learned_pos_emb = true;      // without ALiBi
  float logit_scale = 1;            // a number, or "inv_sqrt_d_model"
  struct {
    bool alibi = true;
    double alibi_bias_max = 8;
    float clip_qkv = 0;       // 0: not clipped
    float softmax_scale = 0;  // 0: 1 / √(d_model / n_heads)
    bool qk_ln = false;
    std::size_t kv_n_heads = 0;
  } attn_config;
};

// A number that may be null, as many of MPT's settings.
float number_or(const base::JsonObject& json, const char* key, float fallback) {
  const auto value = static_cast<float>(json.number_or(key, static_cast<double>(fallback)));
  if (!std::isfinite(value) || value < 0) json.fail(std::string("key ") + key + " is not a positive number");
  return value;
}

template <class Visitor>
void visit(MptConfig& c, const Visitor& v) {
  v.required("vocab_size", c.vocab_size, kMaxVocabulary);
  v.required("d_model", c.d_model, kMaxWidth);
  v.required("n_heads", c.n_heads, kMaxWidth);
  v.required("n_layers", c.n_layers, kMaxLayers);
  v.optional("expansion_ratio", c.expansion_ratio, 64);
  v.optional("max_seq_len", c.max_seq_len, kMaxPositions);
  v.optional("layer_norm_epsilon", c.layer_norm_epsilon);
  v.optional("no_bias", c.no_bias);
  v.optional("tie_word_embeddings", c.tie_word_embeddings);
  v.optional("learned_pos_emb", c.learned_pos_emb);
  const base::JsonObject& json = v.json();
  if (json.has("norm_type") && json.string("norm_type") != "layernorm") {
    v.only("norm_type", "low_precision_layernorm");
  }
  if (json.has("logit_scale")) {
    const bool by_width = json.at("logit_scale").is_string();
    if (by_width) v.only("logit_scale", "inv_sqrt_d_model");
    c.logit_scale =
        by_width ? 1 / std::sqrt(static_cast<float>(c.d_model)) : number_or(json, "logit_scale", 1);
  }
  c.attn_config.kv_n_heads = c.n_heads;
  if (!json.has("attn_config")) return;
  const ConfigReader attention(json.object("attn_config"));
  attention.optional("alibi", c.attn_config.alibi);
  attention.optional("alibi_bias_max", c.attn_config.alibi_bias_max);
  attention.optional("qk_ln", c.attn_config.qk_ln);
  attention.only("qk_gn", false);
  attention.only("prefix_lm", false);
  attention.only("rope", false);
  c.attn_config.clip_qkv = number_or(attention.json(), "clip_qkv", 0);
  c.attn_config.softmax_scale = number_or(attention.json(), "softmax_scale", 0);
  if (attention.json().string_or("attn_type", "") == "multiquery_attention") c.attn_config.kv_n_heads = 1;
  attention.optional("kv_n_heads", c.attn_config.kv_n_heads, kMaxWidth);
}

struct MptBlock {
  LayerNorm norm_1;
  Linear Wqkv, out_proj;
  LayerNorm q_ln, k_ln;  // of qk_ln only
  LayerNorm norm_2;
  Linear up_proj, down_proj;
};
struct MptWeights {
  Embedding wte, wpe;
  std::vector<MptBlock> blocks;
  LayerNorm norm_f;
  Linear lm_head;
};

template <class Weights, class Visitor>
void visit_weights(Weights& w, const MptConfig& c, Visitor& v) {
  const std::size_t head_dim = c.d_model / c.n_heads, kv_width = c.attn_config.kv_n_heads * head_dim;
  const Dim width{"d_model", c.d_model}, inner{"expansion_ratio * d_model", c.expansion_ratio * c.d_model};
  const Dim fused{"d_model + 2 * kv_n_heads * head_dim", c.d_model + 2 * kv_width},
      keys{"kv_n_heads * head_dim", kv_width};
  const MatrixShape vocabulary{{"vocab_size", c.vocab_size}, width};
  const Bias bias = c.no_bias ? Bias::kNo : Bias::kYes;
  v("wte", w.wte, vocabulary);
  if (c.learned_pos_emb) v("wpe", w.wpe, MatrixShape{{"max_seq_len", c.max_seq_len}, width});
  for (std::size_t i = 0; i < c.n_layers; ++i) {
    const std::string at = "blocks." + std::to_string(i) + ".";
    auto& block = w.blocks[i];
    v(at + "norm_1", block.norm_1, width, bias);
    v(at + "attn.Wqkv", block.Wqkv, MatrixShape{fused, width}, bias);
    if (c.attn_config.qk_ln) {
      v(at + "attn.q_ln", block.q_ln, width, bias);
      v(at + "attn.k_ln", block.k_ln, keys, bias);
    }
    v(at + "attn.out_proj", block.out_proj, MatrixShape{width, width}, bias);
    v(at + "norm_2", block.norm_2, width, bias);
    v(at + "ffn.up_proj", block.up_proj, MatrixShape{inner, width}, bias);
    v(at + "ffn.down_proj", block.down_proj, MatrixShape{width, inner}, bias);
  }
  v("norm_f", w.norm_f, width, bias);
  v(c.tie_word_embeddings ? "wte" : "lm_head", w.lm_head, vocabulary, Bias::kNo);
}

class Mpt final : public CausalLm {
 public:
  Mpt(MptConfig config, const ConfigReader& reader, WeightSource& source) : config_(std::move(config)) {
    check_heads(reader, {"d_model", config_.d_model}, {"n_heads", config_.n_heads});
    check_heads(reader, {"n_heads", config_.n_heads}, {"kv_n_heads", config_.attn_config.kv_n_heads});
    // As llm-foundry: ALiBi takes the place of learned positions.
    config_.learned_pos_emb = config_.learned_pos_emb && !config_.attn_config.alibi;
    // transformers' class saves models without biases whatever the key says.
    config_.no_bias = config_.no_bias || source.find("blocks.0.attn.Wqkv.bias") == nullptr;
    attention_ = {.heads = config_.n_heads,
                  .kv_heads = config_.attn_config.kv_n_heads,
                  .head_dim = config_.d_model / config_.n_heads,
                  .scale = config_.attn_config.softmax_scale};
    if (config_.attn_config.alibi) {
      attention_.alibi.slopes = alibi_slopes(config_.n_heads, config_.attn_config.alibi_bias_max);
    }
    weights_.blocks.resize(config_.n_layers);
    if (config_.tie_word_embeddings) source.leave_out("lm_head.weight");  // a copy
  }

  void logits(const DecoderBatch& batch, const KvShape& kv, ForwardContext& context,
              float* out) const override {
    const std::size_t tokens = batch.tokens(), width = config_.d_model, count = batch.outputs.size();
    float* x = context.workspace.floats(kHidden, tokens * width);
    embed_tokens(weights_.wte, batch.input_ids, context, x);
    if (config_.learned_pos_emb) add_positions(weights_.wpe, batch, context, x);
    const float* biases = alibi_biases(attention_, batch, context);
    for (std::size_t i = 0; i < weights_.blocks.size(); ++i) {
      run_block(i, {.batch = batch, .kv = kv, .biases = biases}, context, x);
    }
    float* last = gather_rows(batch.outputs, width, context, x);
    forward(weights_.norm_f, context, norm_rows(last, count));
    forward(weights_.lm_head, context, {.x = last, .y = out, .rows = count});
    if (config_.logit_scale == 1) return;
    for (float& logit : std::span(out, count * config_.vocab_size)) logit *= config_.logit_scale;
  }

  KvShape kv_shape(kernels::KvType type) const noexcept override {
    return {.layers = config_.n_layers,
            .heads = attention_.kv_heads,
            .layout = {.head_dim = attention_.head_dim, .type = type}};
  }
  void visit(WeightVisitor& visitor) override { visit_weights(weights_, config_, visitor); }
  void visit(ConstWeightVisitor& visitor) const override { visit_weights(weights_, config_, visitor); }
  const std::string& family() const noexcept override { return family_; }
  std::size_t max_positions() const noexcept override { return config_.max_seq_len; }
  std::size_t vocab_size() const noexcept override { return config_.vocab_size; }

 private:
  struct Pass {
    const DecoderBatch& batch;
    const KvShape& kv;
    const float* biases;
  };

  NormRows norm_rows(float* x, std::size_t rows, float* y = nullptr) const noexcept {
    return {.x = x, .rows = rows, .epsilon = config_.layer_norm_epsilon, .y = y};
  }

  // What may be done to queries, keys and values before they meet.
  void adjust(const MptBlock& block, std::size_t rows, ForwardContext& context, float* qkv) const {
    const std::size_t width = attention_.qkv_width();
    if (const float limit = config_.attn_config.clip_qkv; limit > 0) {
      for (float& value : std::span(qkv, rows * width)) value = std::clamp(value, -limit, limit);
    }
    if (!config_.attn_config.qk_ln) return;
    for (std::size_t row = 0; row < rows; ++row) {
      float* q = qkv + row * width;
      forward(block.q_ln, context, norm_rows(q, 1));
      forward(block.k_ln, context, norm_rows(q + config_.d_model, 1));
    }
  }

  void run_block(std::size_t index, const Pass& pass, ForwardContext& context, float* x) const {
    const MptBlock& block = weights_.blocks[index];
    const std::size_t rows = pass.batch.tokens(), width = config_.d_model;
    tensor::Workspace& workspace = context.workspace;
    float* normed = workspace.floats(kNormed, rows * width);
    float* qkv = workspace.floats(kQkv, rows * attention_.qkv_width());
    float* attended = workspace.floats(kContext, rows * width);
    float* up = workspace.floats(kUp, rows * config_.expansion_ratio * width);

    forward(block.norm_1, context, norm_rows(x, rows, normed));
    forward(block.Wqkv, context, {.x = normed, .y = qkv, .rows = rows});
    adjust(block, rows, context, qkv);
    attend(attention_, pass.batch, pass.kv, context,
           {.qkv = qkv, .out = attended, .layer = index, .biases = pass.biases});
    forward(block.out_proj, context, {.x = attended, .y = x, .rows = rows, .residual = x});

    forward(block.norm_2, context, norm_rows(x, rows, normed));
    forward(block.up_proj, context,
            {.x = normed, .y = up, .rows = rows, .activation = kernels::Activation::kGelu});
    forward(block.down_proj, context, {.x = up, .y = x, .rows = rows, .residual = x});
  }

  std::string family_ = "mpt";
  MptConfig config_;
  CausalAttention attention_;
  MptWeights weights_;
};

}  // namespace

const DecoderFamily kMpt{
    .prefix = "transformer.",
    .model = [](const ConfigReader& reader, WeightSource& source) -> std::unique_ptr<CausalLm> {
      MptConfig config;
      visit(config, reader);
      return std::make_unique<Mpt>(std::move(config), reader, source);
    }};

}  // namespace kvasir::models
