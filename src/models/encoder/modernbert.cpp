// ModernBERT (Warner et al. 2024) with a question-answering head: ModernBertForQuestionAnswering of
// transformers. Rotary positions; most layers see a window only; gated feed-forwards; each part is normalised
// before it runs.
#include <cmath>

#include "models/registry.h"
#include "models/rotary.h"
#include "models/self_attention.h"
#include "models/weights.h"

namespace kvasir::models {

namespace {

struct ModernBertConfig {
  std::size_t vocab_size = 0;
  std::size_t hidden_size = 0;
  std::size_t intermediate_size = 0;
  std::size_t num_hidden_layers = 0;
  std::size_t num_attention_heads = 0;
  std::size_t max_position_embeddings = 0;
  std::size_t global_attn_every_n_layers = 3;
  std::size_t local_attention = 128;
  double global_rope_theta = 160'000, local_rope_theta = 10'000;
  kernels::Activation hidden_activation = kernels::Activation::kGelu;
  kernels::Activation classifier_activation = kernels::Activation::kGelu;
  float norm_eps = 1e-5F;
  bool norm_bias = false, attention_bias = false, mlp_bias = false, classifier_bias = false;
  std::vector<bool> is_local;  // of each layer
};

template <class Visitor>
void visit(ModernBertConfig& c, const Visitor& v) {
  v.required("vocab_size", c.vocab_size, kMaxVocabulary);
  v.required("hidden_size", c.hidden_size, kMaxWidth);
  v.required("intermediate_size", c.intermediate_size, kMaxWidth);
  v.required("num_hidden_layers", c.num_hidden_layers, kMaxLayers);
  v.required("num_attention_heads", c.num_attention_heads, kMaxWidth);
  v.required("max_position_embeddings", c.max_position_embeddings, kMaxPositions);
  v.optional("global_attn_every_n_layers", c.global_attn_every_n_layers, kMaxLayers);
  v.optional("local_attention", c.local_attention, kMaxPositions);
  v.optional("global_rope_theta", c.global_rope_theta);
  // Present, and null: as the global one.
  if (v.json().raw().contains("local_rope_theta")) c.local_rope_theta = c.global_rope_theta;
  v.optional("local_rope_theta", c.local_rope_theta);
  v.optional("hidden_activation", c.hidden_activation);
  v.optional("classifier_activation", c.classifier_activation);
  v.optional("norm_eps", c.norm_eps);
  v.optional("norm_bias", c.norm_bias);
  v.optional("attention_bias", c.attention_bias);
  v.optional("mlp_bias", c.mlp_bias);
  v.optional("classifier_bias", c.classifier_bias);
}

// What transformers 5 writes in place of global_attn_every_n_layers and the two thetas.
void visit_new_keys(ModernBertConfig& c, const ConfigReader& reader) {
  const base::JsonObject& json = reader.json();
  for (std::size_t i = 0; i < c.num_hidden_layers; ++i) {
    c.is_local.push_back(i % c.global_attn_every_n_layers != 0);
  }
  if (json.has("layer_types")) {
    const base::json::array* types = json.at("layer_types").if_array();
    if (types == nullptr || types->size() != c.num_hidden_layers) {
      json.fail("key layer_types is not a list of num_hidden_layers = " +
                std::to_string(c.num_hidden_layers) + " names");
    }
    for (std::size_t i = 0; i < types->size(); ++i) {
      const bool is_local = (*types)[i] == "sliding_attention";
      if (!is_local && (*types)[i] != "full_attention") {
        json.fail("key layer_types has another name than full_attention and sliding_attention");
      }
      c.is_local[i] = is_local;
    }
  }
  const auto rope = [&](const base::JsonObject& parent, const char* key, double* theta) {
    if (!parent.has(key)) return;
    const ConfigReader parameters(parent.object(key));
    parameters.only("rope_type", "default");
    if (theta != nullptr) parameters.optional("rope_theta", *theta);
  };
  rope(json, "rope_scaling", nullptr);
  if (json.has("rope_parameters")) {
    const base::JsonObject parameters = json.object("rope_parameters");
    rope(parameters, "full_attention", &c.global_rope_theta);
    rope(parameters, "sliding_attention", &c.local_rope_theta);
  }
}

struct ModernBertLayer {
  LayerNorm attn_norm;  // not of the first layer
  Linear Wqkv, attn_Wo;
  LayerNorm mlp_norm;
  Linear Wi, mlp_Wo;  // Wi: the input of the activation, then the gate
};
struct ModernBertWeights {
  Embedding tok_embeddings;
  LayerNorm embedding_norm;
  std::vector<ModernBertLayer> layers;
  LayerNorm final_norm;
  Linear head_dense;
  LayerNorm head_norm;
  Linear classifier;
};

template <class Weights, class Visitor>
void visit(Weights& w, const ModernBertConfig& c, Visitor&& v) {
  const Dim hidden{"hidden_size", c.hidden_size};
  const Dim fused{"hidden_size", 3 * c.hidden_size}, gated{"intermediate_size", 2 * c.intermediate_size};
  const auto bias = [](bool has) { return has ? Bias::kYes : Bias::kNo; };
  const Bias norm_bias = bias(c.norm_bias), attention_bias = bias(c.attention_bias);
  v("embeddings.tok_embeddings", w.tok_embeddings, MatrixShape{{"vocab_size", c.vocab_size}, hidden});
  v("embeddings.norm", w.embedding_norm, hidden, norm_bias);
  for (std::size_t i = 0; i < c.num_hidden_layers; ++i) {
    const std::string at = "layers." + std::to_string(i) + ".";
    auto& layer = w.layers[i];
    if (i > 0) v(at + "attn_norm", layer.attn_norm, hidden, norm_bias);
    v({at + "attn.Wqkv"}, layer.Wqkv, MatrixShape{fused, hidden}, attention_bias);
    v({at + "attn.Wo"}, layer.attn_Wo, MatrixShape{hidden, hidden}, attention_bias);
    v(at + "mlp_norm", layer.mlp_norm, hidden, norm_bias);
    v({at + "mlp.Wi"}, layer.Wi, MatrixShape{gated, hidden}, bias(c.mlp_bias));
    v({at + "mlp.Wo"}, layer.mlp_Wo, MatrixShape{hidden, {"intermediate_size", c.intermediate_size}},
      bias(c.mlp_bias));
  }
  v("final_norm", w.final_norm, hidden, norm_bias);
  v({std::string("head.dense")}, w.head_dense, MatrixShape{hidden, hidden}, bias(c.classifier_bias));
  v("head.norm", w.head_norm, hidden, norm_bias);
  v({std::string("classifier")}, w.classifier, MatrixShape{{"num_labels", 2}, hidden});
}

// What a layer of one kind, local or global, attends with.
struct Attending {
  const AttentionPlan& plan;
  const float* rotary_table;
};

class ModernBert final : public QaModel {
 public:
  explicit ModernBert(const LoadContext& load) : source_(load.folder, "model.") {
    visit(config_, load.config);
    visit_new_keys(config_, load.config);
    check_heads(load.config, {"hidden_size", config_.hidden_size},
                {"num_attention_heads", config_.num_attention_heads});
    check_heads(load.config, {"hidden_size", config_.hidden_size},
                {"twice num_attention_heads", 2 * config_.num_attention_heads});  // rotary: pairs
    weights_.layers.resize(config_.num_hidden_layers);
    load_weights(weights_, config_, source_, load);
  }

  void qa_logits(const tensor::RaggedBatch& batch, ForwardContext& context, QaLogits out) const override {
    const std::size_t tokens = batch.tokens(), floats = tokens * config_.hidden_size;
    const std::span<float> x(context.workspace.floats(kHidden, floats), floats);
    embed({.word = &weights_.tok_embeddings, .norm = &weights_.embedding_norm, .epsilon = config_.norm_eps},
          batch, context, x.data());

    const auto threads = static_cast<std::size_t>(context.pool.size());
    const AttentionPlan global_plan(batch, {.heads = config_.num_attention_heads, .threads = threads});
    const AttentionPlan local_plan(
        batch, {.heads = config_.num_attention_heads, .threads = threads, .window = reach()});
    const std::size_t head_dim = config_.hidden_size / config_.num_attention_heads;
    const RotaryOptions global_rotary{
        .theta = config_.global_rope_theta, .head_dim = head_dim, .positions = longest(batch)};
    RotaryOptions local_rotary = global_rotary;
    local_rotary.theta = config_.local_rope_theta;
    const std::size_t table_size = rotary_table_size(global_rotary);
    float* tables = context.workspace.floats(kPositions, 2 * table_size);
    fill_rotary_table(global_rotary, context.pool, tables);
    fill_rotary_table(local_rotary, context.pool, tables + table_size);

    const Attending global{.plan = global_plan, .rotary_table = tables};
    const Attending local{.plan = local_plan, .rotary_table = tables + table_size};
    for (std::size_t i = 0; i < weights_.layers.size(); ++i) {
      run_layer(weights_.layers[i], config_.is_local[i] ? local : global, batch, context, x);
    }
    forward(weights_.final_norm, context, {.x = x.data(), .rows = tokens, .epsilon = config_.norm_eps});
    float* head = context.workspace.floats(kNormed, floats);
    forward(weights_.head_dense, context,
            {.x = x.data(), .y = head, .rows = tokens, .activation = config_.classifier_activation});
    forward(weights_.head_norm, context, {.x = head, .rows = tokens, .epsilon = config_.norm_eps});
    qa_head(weights_.classifier, context, head, out);
  }

  const std::string& family() const noexcept override { return family_; }
  std::size_t max_positions() const noexcept override { return config_.max_position_embeddings; }
  std::size_t vocab_size() const noexcept override { return config_.vocab_size; }
  std::size_t type_vocab_size() const noexcept override { return 0; }
  std::size_t parameters() const noexcept override { return count_parameters(weights_, config_); }
  double multiply_adds(std::size_t tokens) const noexcept override {
    const auto width = static_cast<double>(config_.hidden_size), n = static_cast<double>(tokens);
    const auto inner = static_cast<double>(config_.intermediate_size);
    // Pairs of tokens that see each other through a window: all without the two triangles in the corners.
    const double hidden_from = n - 1 - static_cast<double>(reach());
    const double pairs = n * n - (hidden_from > 0 ? hidden_from * (hidden_from + 1) : 0);
    double sum = n * width * (width + 2);
    for (const bool is_local : config_.is_local) {
      sum += n * (4 * width * width + 3 * width * inner) + 2 * (is_local ? pairs : n * n) * width;
    }
    return sum;
  }

 private:
  // Tokens that a local layer sees to either side.
  std::size_t reach() const noexcept { return config_.local_attention / 2; }

  void run_layer(const ModernBertLayer& layer, const Attending& attending, const tensor::RaggedBatch& batch,
                 ForwardContext& context, std::span<float> x) const {
    const std::size_t width = config_.hidden_size, rows = batch.tokens(), inner = config_.intermediate_size;
    tensor::Workspace& workspace = context.workspace;
    float* normed = workspace.floats(kNormed, rows * width);
    float* qkv = workspace.floats(kQkv, rows * 3 * width);
    float* attended = workspace.floats(kContext, rows * width);
    float* up = workspace.floats(kUp, rows * 2 * inner);
    const auto normalise = [&](const LayerNorm& norm) {
      forward(norm, context, {.x = x.data(), .rows = rows, .epsilon = config_.norm_eps, .y = normed});
    };

    const bool is_first = layer.attn_norm.width() == 0;
    if (!is_first) normalise(layer.attn_norm);
    forward(layer.Wqkv, context, {.x = is_first ? x.data() : normed, .y = qkv, .rows = rows});
    rotate(batch, context,
           {.table = attending.rotary_table,
            .x = qkv,
            .x_stride = 3 * width,
            .heads = 2 * config_.num_attention_heads,  // queries, then keys
            .head_dim = width / config_.num_attention_heads});
    attend(attending.plan, {.rounded = !layer.Wqkv.is_fp32()}, context,
           {.qkv = qkv, .out = attended, .width = width, .head_dim = width / attending.plan.heads()});
    forward(layer.attn_Wo, context, {.x = attended, .y = x.data(), .rows = rows, .residual = x.data()});

    normalise(layer.mlp_norm);
    forward(layer.Wi, context, {.x = normed, .y = up, .rows = rows});
    activate_gated(config_.hidden_activation, context, {.x = up, .rows = rows, .width = inner});
    forward(layer.mlp_Wo, context,
            {.x = up, .y = x.data(), .rows = rows, .residual = x.data(), .x_stride = 2 * inner});
  }

  std::string family_ = "modernbert";
  ModernBertConfig config_;
  WeightSource source_;  // keeps the embedding table mapped
  ModernBertWeights weights_;
};

}  // namespace

std::unique_ptr<const QaModel> load_modernbert(const LoadContext& context) {
  return std::make_unique<const ModernBert>(context);
}

}  // namespace kvasir::models
