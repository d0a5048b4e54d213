// BLOOM and BLOOMZ (BigScience 2022): BloomForCausalLM of transformers. ALiBi instead of positions, LayerNorm
// before each part and after the embeddings, biases everywhere, the head tied to the embeddings.
#include <string>
#include <vector>

#include "models/causal_attention.h"
#include "models/registry.h"

namespace kvasir::models {

namespace {

struct BloomConfig {
  std::size_t vocab_size = 0;
  std::size_t hidden_size = 0;  // or n_embed
  std::size_t n_layer = 0;      // or num_hidden_layers
  std::size_t n_head = 0;       // or num_attention_heads
  std::size_t seq_length = 2048;
  float layer_norm_epsilon = 1e-5F;
  bool apply_residual_connection_post_layernorm = false;
  bool tie_word_embeddings = true;  // GGUF files may have a head that is rounded less
  RowOrder qkv_order;
};

template <class Visitor>
void visit(BloomConfig& c, const Visitor& v) {
  const auto either = [&](const char* key, const char* other, std::size_t& field, std::size_t max) {
    v.required(v.json().has(other) && !v.json().has(key) ? other : key, field, max);
  };
  v.required("vocab_size", c.vocab_size, kMaxVocabulary);
  either("hidden_size", "n_embed", c.hidden_size, kMaxWidth);
  either("n_layer", "num_hidden_layers", c.n_layer, kMaxLayers);
  either("n_head", "num_attention_heads", c.n_head, kMaxWidth);
  v.optional("seq_length", c.seq_length, kMaxPositions);
  v.optional("layer_norm_epsilon", c.layer_norm_epsilon);
  v.optional("apply_residual_connection_post_layernorm", c.apply_residual_connection_post_layernorm);
  v.optional("tie_word_embeddings", c.tie_word_embeddings);
}

struct BloomLayer {
  LayerNorm input_layernorm;
  Linear query_key_value, dense;
  LayerNorm post_attention_layernorm;
  Linear dense_h_to_4h, dense_4h_to_h;
};
struct BloomWeights {
  Embedding word_embeddings;
  LayerNorm word_embeddings_layernorm;
  std::vector<BloomLayer> h;
  LayerNorm ln_f;
  Linear lm_head;
};

template <class Weights, class Visitor>
void visit_weights(Weights& w, const BloomConfig& c, Visitor& v) {
  const Dim hidden{"hidden_size", c.hidden_size}, inner{"4 * hidden_size", 4 * c.hidden_size};
  const Dim fused{"3 * hidden_size", 3 * c.hidden_size};
  const MatrixShape vocabulary{{"vocab_size", c.vocab_size}, hidden};
  v("word_embeddings", w.word_embeddings, vocabulary);
  v("word_embeddings_layernorm", w.word_embeddings_layernorm, hidden);
  for (std::size_t i = 0; i < c.n_layer; ++i) {
    const std::string at = "h." + std::to_string(i) + ".";
    auto& layer = w.h[i];
    v(at + "input_layernorm", layer.input_layernorm, hidden);
    v({{at + "self_attention.query_key_value", fused, &c.qkv_order}}, layer.query_key_value, hidden);
    v(at + "self_attention.dense", layer.dense, MatrixShape{hidden, hidden});
    v(at + "post_attention_layernorm", layer.post_attention_layernorm, hidden);
    v(at + "mlp.dense_h_to_4h", layer.dense_h_to_4h, MatrixShape{inner, hidden});
    v(at + "mlp.dense_4h_to_h", layer.dense_4h_to_h, MatrixShape{hidden, inner});
  }
  v("ln_f", w.ln_f, hidden);
  v(c.tie_word_embeddings ? "word_embeddings" : "lm_head", w.lm_head, vocabulary, Bias::kNo);
}

class Bloom final : public CausalLm {
 public:
  Bloom(BloomConfig config, const ConfigReader& reader, WeightSource& source) : config_(std::move(config)) {
    check_heads(reader, {"hidden_size", config_.hidden_size}, {"n_head", config_.n_head});
    attention_ = {.heads = config_.n_head,
                  .kv_heads = config_.n_head,
                  .head_dim = config_.hidden_size / config_.n_head,
                  .alibi = {.slopes = alibi_slopes(config_.n_head, 8)}};
    config_.qkv_order = queries_keys_values(attention_, config_.n_head);
    weights_.h.resize(config_.n_layer);
    if (config_.tie_word_embeddings) source.leave_out("lm_head.weight");  // a copy
  }

  void logits(const DecoderBatch& batch, const KvShape& kv, ForwardContext& context,
              float* out) const override {
    const std::size_t tokens = batch.tokens(), width = config_.hidden_size;
    float* x = context.workspace.floats(kHidden, tokens * width);
    embed_tokens(weights_.word_embeddings, batch.input_ids, context, x);
    forward(weights_.word_embeddings_layernorm, context, norm_rows(x, tokens));
    const float* biases = alibi_biases(attention_, batch, context);
    for (std::size_t i = 0; i < weights_.h.size(); ++i) {
      run_layer(i, {.batch = batch, .kv = kv, .biases = biases}, context, x);
    }
    float* last = gather_rows(batch.outputs, width, context, x);
    forward(weights_.ln_f, context, norm_rows(last, batch.outputs.size()));
    forward(weights_.lm_head, context, {.x = last, .y = out, .rows = batch.outputs.size()});
  }

  KvShape kv_shape(kernels::KvType type) const noexcept override {
    return {.layers = config_.n_layer,
            .heads = attention_.kv_heads,
            .layout = {.head_dim = attention_.head_dim, .type = type}};
  }
  void visit(WeightVisitor& visitor) override { visit_weights(weights_, config_, visitor); }
  void visit(ConstWeightVisitor& visitor) const override { visit_weights(weights_, config_, visitor); }
  const std::string& family() const noexcept override { return family_; }
  std::size_t max_positions() const noexcept override { return config_.seq_length; }
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

  void run_layer(std::size_t index, const Pass& pass, ForwardContext& context, float* x) const {
    const BloomLayer& layer = weights_.h[index];
    const std::size_t rows = pass.batch.tokens(), width = config_.hidden_size;
    tensor::Workspace& workspace = context.workspace;
    float* normed = workspace.floats(kNormed, rows * width);
    float* qkv = workspace.floats(kQkv, rows * 3 * width);
    float* attended = workspace.floats(kContext, rows * width);
    float* up = workspace.floats(kUp, rows * 4 * width);
    const float* residual = config_.apply_residual_connection_post_layernorm ? normed : x;

    forward(layer.input_layernorm, context, norm_rows(x, rows, normed));
    forward(layer.query_key_value, context, {.x = normed, .y = qkv, .rows = rows});
    attend(attention_, pass.batch, pass.kv, context,
           {.qkv = qkv, .out = attended, .layer = index, .biases = pass.biases});
    forward(layer.dense, context, {.x = attended, .y = x, .rows = rows, .residual = residual});

    forward(layer.post_attention_layernorm, context, norm_rows(x, rows, normed));
    forward(layer.dense_h_to_4h, context,
            {.x = normed, .y = up, .rows = rows, .activation = kernels::Activation::kGeluTanh});
    forward(layer.dense_4h_to_h, context, {.x = up, .y = x, .rows = rows, .residual = residual});
  }

  std::string family_ = "bloom";
  BloomConfig config_;
  CausalAttention attention_;
  BloomWeights weights_;
};

}  // namespace

const DecoderFamily kBloom{
    .prefix = "transformer.",
    .model = [](const ConfigReader& reader, WeightSource& source) -> std::unique_ptr<CausalLm> {
      BloomConfig config;
      visit(config, reader);
      return std::make_unique<Bloom>(std::move(config), reader, source);
    }};

}  // namespace kvasir::models
