// Falcon (Almazrouei et al. 2023): FalconForCausalLM of transformers. Three designs share the name. 7B: one
// head of keys and values, attention and feed-forward side by side on one LayerNorm. 40B, 180B and 11B ("new
// decoder architecture"): grouped heads, side by side on two LayerNorms or on one. RW: one part after the
// other, ALiBi and biases.
#include <string>
#include <vector>

#include "models/causal_attention.h"
#include "models/registry.h"

namespace kvasir::models {

namespace {

struct FalconConfig {
  std::size_t vocab_size = 0;
  std::size_t hidden_size = 0;
  std::size_t num_hidden_layers = 0;    // or n_layer
  std::size_t num_attention_heads = 0;  // or n_head
  std::size_t num_kv_heads = 0;         // or n_head_kv
  std::size_t ffn_hidden_size = 0;      // 4 · hidden_size, where config.json does not say
  std::size_t max_position_embeddings = 2048;
  std::size_t num_ln_in_parallel_attn = 0;  // 2 for the new architecture likewise, else 1
  kernels::Activation activation = kernels::Activation::kGelu;
  float layer_norm_epsilon = 1e-5F;
  bool new_decoder_architecture = false, multi_query = true, parallel_attn = true;
  bool alibi = false, bias = false, tie_word_embeddings = true;
  Rotary rotary;
  RowOrder qkv_order;
};

template <class Visitor>
void visit(FalconConfig& c, const Visitor& v) {
  const auto key = [&](const char* name, const char* old) {
    return v.json().has(old) && !v.json().has(name) ? old : name;
  };
  v.required("vocab_size", c.vocab_size, kMaxVocabulary);
  v.required("hidden_size", c.hidden_size, kMaxWidth);
  v.required(key("num_hidden_layers", "n_layer"), c.num_hidden_layers, kMaxLayers);
  v.required(key("num_attention_heads", "n_head"), c.num_attention_heads, kMaxWidth);
  // The first 40B checkpoints say so by their type only.
  c.new_decoder_architecture = v.json().string_or("model_type", "falcon") == "RefinedWeb";
  v.optional("new_decoder_architecture", c.new_decoder_architecture);
  v.optional("multi_query", c.multi_query);
  c.num_kv_heads = c.multi_query ? 1 : c.num_attention_heads;
  if (c.new_decoder_architecture) {
    c.num_kv_heads = c.num_attention_heads;
    v.optional(key("num_kv_heads", "n_head_kv"), c.num_kv_heads, kMaxWidth);
  }
  c.ffn_hidden_size = 4 * c.hidden_size;
  v.optional("ffn_hidden_size", c.ffn_hidden_size, kMaxWidth);
  v.optional("max_position_embeddings", c.max_position_embeddings, kMaxPositions);
  c.num_ln_in_parallel_attn = c.new_decoder_architecture ? 2 : 1;
  if (c.new_decoder_architecture) v.optional("num_ln_in_parallel_attn", c.num_ln_in_parallel_attn, 2);
  v.optional("activation", c.activation);
  v.optional("layer_norm_epsilon", c.layer_norm_epsilon);
  v.optional("parallel_attn", c.parallel_attn);
  v.optional("alibi", c.alibi);
  v.optional("bias", c.bias);
  v.optional("tie_word_embeddings", c.tie_word_embeddings);
  c.rotary = {.head_dim = c.hidden_size / c.num_attention_heads, .positions = c.max_position_embeddings};
  read_rotary(v, c.rotary);
}

struct FalconLayer {
  LayerNorm attention_norm;  // ln_attn, or input_layernorm
  LayerNorm mlp_norm;        // ln_mlp, or post_attention_layernorm; empty: they share one
  Linear query_key_value, dense;
  Linear dense_h_to_4h, dense_4h_to_h;
};
struct FalconWeights {
  Embedding word_embeddings;
  std::vector<FalconLayer> h;
  LayerNorm ln_f;
  Linear lm_head;
};

template <class Weights, class Visitor>
void visit_weights(Weights& w, const FalconConfig& c, Visitor& v) {
  const Dim hidden{"hidden_size", c.hidden_size}, inner{"ffn_hidden_size", c.ffn_hidden_size};
  const std::size_t head_dim = c.hidden_size / c.num_attention_heads;
  const Dim fused{"(num_attention_heads + 2 * num_kv_heads) * head_dim",
                  (c.num_attention_heads + 2 * c.num_kv_heads) * head_dim};
  const MatrixShape vocabulary{{"vocab_size", c.vocab_size}, hidden};
  const Bias bias = c.bias ? Bias::kYes : Bias::kNo;
  v("word_embeddings", w.word_embeddings, vocabulary);
  for (std::size_t i = 0; i < c.num_hidden_layers; ++i) {
    const std::string at = "h." + std::to_string(i) + ".";
    auto& layer = w.h[i];
    const bool has_two = c.num_ln_in_parallel_attn == 2;
    v(at + (has_two ? "ln_attn" : "input_layernorm"), layer.attention_norm, hidden);
    if (has_two) v(at + "ln_mlp", layer.mlp_norm, hidden);
    if (!c.parallel_attn) v(at + "post_attention_layernorm", layer.mlp_norm, hidden);
    v({{at + "self_attention.query_key_value", fused, &c.qkv_order}}, layer.query_key_value, hidden, bias);
    v(at + "self_attention.dense", layer.dense, MatrixShape{hidden, hidden}, bias);
    v(at + "mlp.dense_h_to_4h", layer.dense_h_to_4h, MatrixShape{inner, hidden}, bias);
    v(at + "mlp.dense_4h_to_h", layer.dense_4h_to_h, MatrixShape{hidden, inner}, bias);
  }
  v("ln_f", w.ln_f, hidden);
  v(c.tie_word_embeddings ? "word_embeddings" : "lm_head", w.lm_head, vocabulary, Bias::kNo);
}

class Falcon final : public CausalLm {
 public:
  Falcon(FalconConfig config, const ConfigReader& reader, WeightSource& source) : config_(std::move(config)) {
    check_heads(reader, {"hidden_size", config_.hidden_size},
                {"num_attention_heads", config_.num_attention_heads});
    check_heads(reader, {"num_attention_heads", config_.num_attention_heads},
                {"num_kv_heads", config_.num_kv_heads});
    if (config_.new_decoder_architecture && !config_.parallel_attn) reader.only("parallel_attn", true);
    attention_ = {.heads = config_.num_attention_heads,
                  .kv_heads = config_.num_kv_heads,
                  .head_dim = config_.hidden_size / config_.num_attention_heads};
    if (config_.alibi) {
      attention_.alibi = {.kind = Alibi::Kind::kFalcon, .slopes = alibi_slopes(attention_.heads, 8)};
    } else {
      check_heads(reader, {"hidden_size", config_.hidden_size},
                  {"twice num_attention_heads", 2 * attention_.heads});  // rotary: pairs
    }
    config_.qkv_order = queries_keys_values(attention_, config_.num_kv_heads);
    weights_.h.resize(config_.num_hidden_layers);
    if (config_.tie_word_embeddings) source.leave_out("lm_head.weight");  // a copy
  }

  void logits(const DecoderBatch& batch, const KvShape& kv, ForwardContext& context,
              float* out) const override {
    const std::size_t tokens = batch.tokens(), width = config_.hidden_size;
    float* x = context.workspace.floats(kHidden, tokens * width);
    embed_tokens(weights_.word_embeddings, batch.input_ids, context, x);
    const Pass pass{.batch = batch,
                    .kv = kv,
                    .angles = config_.alibi ? nullptr : rotary_rows(config_.rotary, batch, context),
                    .biases = alibi_biases(attention_, batch, context)};
    for (std::size_t i = 0; i < weights_.h.size(); ++i) run_layer(i, pass, context, x);
    float* last = gather_rows(batch.outputs, width, context, x);
    forward(weights_.ln_f, context, norm_rows(last, batch.outputs.size()));
    forward(weights_.lm_head, context, {.x = last, .y = out, .rows = batch.outputs.size()});
  }

  KvShape kv_shape(kernels::KvType type) const noexcept override {
    return {.layers = config_.num_hidden_layers,
            .heads = attention_.kv_heads,
            .layout = {.head_dim = attention_.head_dim, .type = type}};
  }
  void visit(WeightVisitor& visitor) override { visit_weights(weights_, config_, visitor); }
  void visit(ConstWeightVisitor& visitor) const override { visit_weights(weights_, config_, visitor); }
  const std::string& family() const noexcept override { return family_; }
  std::size_t max_positions() const noexcept override { return config_.max_position_embeddings; }
  std::size_t vocab_size() const noexcept override { return config_.vocab_size; }

 private:
  struct Pass {
    const DecoderBatch& batch;
    const KvShape& kv;
    const float* angles;  // null with ALiBi
    const float* biases;  // null without
  };

  NormRows norm_rows(float* x, std::size_t rows, float* y = nullptr) const noexcept {
    return {.x = x, .rows = rows, .epsilon = config_.layer_norm_epsilon, .y = y};
  }

  void run_layer(std::size_t index, const Pass& pass, ForwardContext& context, float* x) const {
    const FalconLayer& layer = weights_.h[index];
    const std::size_t rows = pass.batch.tokens(), width = config_.hidden_size;
    tensor::Workspace& workspace = context.workspace;
    float* normed = workspace.floats(kNormed, rows * width);
    float* up = workspace.floats(kUp, rows * config_.ffn_hidden_size);

    forward(layer.attention_norm, context, norm_rows(x, rows, normed));
    if (!config_.parallel_attn) {
      attend_to(index, pass, context, {.x = normed, .y = x});
      forward(layer.mlp_norm, context, norm_rows(x, rows, normed));
    }
    const bool has_own_norm = config_.num_ln_in_parallel_attn == 2;
    // Side by side: the feed-forward sees x as it was, and goes first where its input is the attention's too.
    if (config_.parallel_attn && has_own_norm) {
      float* mlp_input = workspace.floats(kNarrow, rows * width);
      forward(layer.mlp_norm, context, norm_rows(x, rows, mlp_input));
      attend_to(index, pass, context, {.x = normed, .y = x});
      normed = mlp_input;
    } else if (config_.parallel_attn) {
      attend_to(index, pass, context, {.x = normed, .y = x});
    }
    forward(layer.dense_h_to_4h, context,
            {.x = normed, .y = up, .rows = rows, .activation = config_.activation});
    forward(layer.dense_4h_to_h, context, {.x = up, .y = x, .rows = rows, .residual = x});
  }

  struct AttentionRows {
    const float* x;
    float* y;  // to which the result is added
  };
  void attend_to(std::size_t index, const Pass& pass, ForwardContext& context,
                 const AttentionRows& io) const {
    const FalconLayer& layer = weights_.h[index];
    const std::size_t rows = pass.batch.tokens();
    float* qkv = context.workspace.floats(kQkv, rows * attention_.qkv_width());
    float* attended = context.workspace.floats(kContext, rows * config_.hidden_size);
    forward(layer.query_key_value, context, {.x = io.x, .y = qkv, .rows = rows});
    if (pass.angles != nullptr) {
      rotate(context, {.angles = pass.angles,
                       .x = qkv,
                       .rows = rows,
                       .x_stride = attention_.qkv_width(),
                       .heads = attention_.heads + attention_.kv_heads,  // queries, then keys
                       .head_dim = attention_.head_dim});
    }
    attend(attention_, pass.batch, pass.kv, context,
           {.qkv = qkv, .out = attended, .layer = index, .biases = pass.biases});
    forward(layer.dense, context, {.x = attended, .y = io.y, .rows = rows, .residual = io.y});
  }

  std::string family_ = "falcon";
  FalconConfig config_;
  CausalAttention attention_;
  FalconWeights weights_;
};

}  // namespace

const DecoderFamily kFalcon{
    .prefix = "transformer.",
    .model = [](const ConfigReader& reader, WeightSource& source) -> std::unique_ptr<CausalLm> {
      FalconConfig config;
      visit(config, reader);
      return std::make_unique<Falcon>(std::move(config), reader, source);
    }};

}  // namespace kvasir::models
