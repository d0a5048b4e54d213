// ModernBERT (Warner et al. 2024): ModernBertModel of transformers, and its heads. Rotary positions; most
// layers see a window only; gated feed-forwards; each part is normalized before it runs.
#include <numeric>
#include <vector>

#include "models/registry.h"
#include "models/rotary.h"
#include "models/self_attention.h"

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
  float norm_eps = 1e-5F;
  bool norm_bias = false, attention_bias = false, mlp_bias = false;
  float embedding_dropout = 0, attention_dropout = 0, mlp_dropout = 0;
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
  v.optional("norm_eps", c.norm_eps);
  v.optional("norm_bias", c.norm_bias);
  v.optional("attention_bias", c.attention_bias);
  v.optional("mlp_bias", c.mlp_bias);
  v.optional_dropout("embedding_dropout", c.embedding_dropout);
  v.optional_dropout("attention_dropout", c.attention_dropout);
  v.optional_dropout("mlp_dropout", c.mlp_dropout);
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
};

template <class Weights, class Visitor>
void visit_weights(Weights& w, const ModernBertConfig& c, Visitor& v) {
  const Dim hidden{"hidden_size", c.hidden_size};
  const Dim fused{"hidden_size", 3 * c.hidden_size}, gated{"intermediate_size", 2 * c.intermediate_size};
  const Bias norm_bias = bias_if(c.norm_bias), attention_bias = bias_if(c.attention_bias);
  const Bias mlp_bias = bias_if(c.mlp_bias);
  v("embeddings.tok_embeddings", w.tok_embeddings, MatrixShape{{"vocab_size", c.vocab_size}, hidden});
  v("embeddings.norm", w.embedding_norm, hidden, norm_bias);
  for (std::size_t i = 0; i < c.num_hidden_layers; ++i) {
    const std::string at = "layers." + std::to_string(i) + ".";
    auto& layer = w.layers[i];
    if (i > 0) v(at + "attn_norm", layer.attn_norm, hidden, norm_bias);
    v(at + "attn.Wqkv", layer.Wqkv, MatrixShape{fused, hidden}, attention_bias);
    v(at + "attn.Wo", layer.attn_Wo, MatrixShape{hidden, hidden}, attention_bias);
    v(at + "mlp_norm", layer.mlp_norm, hidden, norm_bias);
    v(at + "mlp.Wi", layer.Wi, MatrixShape{gated, hidden}, mlp_bias);
    v(at + "mlp.Wo", layer.mlp_Wo, MatrixShape{hidden, {"intermediate_size", c.intermediate_size}}, mlp_bias);
  }
  v("final_norm", w.final_norm, hidden, norm_bias);
}

// What a layer of one kind, local or global, attends with.
struct Attending {
  const AttentionPlan& plan;
  const float* angles;                       // of each position
  std::span<const std::uint32_t> positions;  // of each token
};

// The angles of positions [0, count).
void fill_angles(const Rotary& rotary, std::size_t count, ForwardContext& context, float* table) {
  const std::vector<float> frequencies = rotary_frequencies(rotary, count);
  context.pool.parallel_for(count, [&](std::size_t position, int) noexcept {
    rotary_angles(frequencies, position, table + position * rotary.head_dim);
  });
}

// Of each token in its sequence.
std::vector<std::uint32_t> positions_of(const tensor::RaggedBatch& batch) {
  std::vector<std::uint32_t> positions(batch.tokens());
  for (std::size_t s = 0; s < batch.sequences(); ++s) {
    const std::span<std::uint32_t> own(positions.data() + batch.cu_seqlens[s],
                                       positions.data() + batch.cu_seqlens[s + 1]);
    std::iota(own.begin(), own.end(), 0U);
  }
  return positions;
}

// A dense layer and a norm before the logits of spans or labels.
struct ModernBertHeadConfig {
  std::size_t hidden_size = 0, num_labels = 2;
  kernels::Activation classifier_activation = kernels::Activation::kGelu;
  float norm_eps = 1e-5F;
  bool norm_bias = false, classifier_bias = false;
  float classifier_dropout = 0;
  bool pools_mean = false;  // classifier_pooling
};

template <class Visitor>
void visit(ModernBertHeadConfig& c, const Visitor& v) {
  v.optional("classifier_activation", c.classifier_activation);
  v.optional("norm_eps", c.norm_eps);
  v.optional("norm_bias", c.norm_bias);
  v.optional("classifier_bias", c.classifier_bias);
  v.optional_dropout("classifier_dropout", c.classifier_dropout);
}

struct ModernBertHeadWeights {
  Linear dense;
  LayerNorm norm;
  Linear classifier;
};

template <class Weights, class Visitor>
void visit_weights(Weights& w, const ModernBertHeadConfig& c, Visitor& v) {
  const Dim hidden{"hidden_size", c.hidden_size};
  v("head.dense", w.dense, MatrixShape{hidden, hidden}, bias_if(c.classifier_bias));
  v("head.norm", w.norm, hidden, bias_if(c.norm_bias));
  v("classifier", w.classifier, MatrixShape{{"num_labels", c.num_labels}, hidden});
}

class ModernBertHead final : public Head {
 public:
  ModernBertHead(const ModernBertHeadConfig& config, Rows rows) : config_(config), rows_(rows) {}

  Rows rows() const noexcept override { return rows_; }
  std::size_t columns() const noexcept override { return config_.num_labels; }
  bool reads_first_tokens_only() const noexcept override {
    return rows_ == Rows::kSequences && !config_.pools_mean;
  }
  std::string missing_advice() const override {
    return rows_ == Rows::kTokens ? missing_span_head() : missing_classifier();
  }
  double multiply_adds(std::size_t tokens) const noexcept override {
    const std::size_t rows = rows_ == Rows::kTokens ? tokens : 1;
    return static_cast<double>(rows * config_.hidden_size * (config_.hidden_size + config_.num_labels));
  }

  void outputs(const tensor::RaggedBatch& batch, std::span<float> states, ForwardContext& context,
               std::span<float> out) const override {
    const std::size_t width = config_.hidden_size;
    if (rows_ == Rows::kSequences && config_.pools_mean) states = mean_of_sequences(batch, width, states);
    const std::size_t rows = states.size() / width;
    float* head = context.floats(kNormed, rows * width);
    forward(weights_.dense, context,
            {.x = states.data(), .y = head, .rows = rows, .activation = config_.classifier_activation});
    forward(weights_.norm, context, {.x = head, .rows = rows, .epsilon = config_.norm_eps});
    drop_out(context, {.p = config_.classifier_dropout}, width, {head, rows * width});
    const std::size_t count = rows * config_.num_labels;
    const bool spread = rows_ == Rows::kTokens && !batch.wanted.empty();
    float* logits = spread ? context.floats(kHeadOut, count) : out.data();
    forward(weights_.classifier, context, {.x = head, .y = logits, .rows = rows});
    if (spread) spread_wanted(batch, {logits, count}, config_.num_labels, out);
  }

  void visit(WeightVisitor& visitor) override { visit_weights(weights_, config_, visitor); }
  void visit(ConstWeightVisitor& visitor) const override { visit_weights(weights_, config_, visitor); }

 private:
  ModernBertHeadConfig config_;
  Rows rows_;
  ModernBertHeadWeights weights_;
};

class ModernBert final : public Encoder {
 public:
  explicit ModernBert(ModernBertConfig config)
      : Encoder({.family = "modernbert",
                 .max_positions = config.max_position_embeddings,
                 .vocab_size = config.vocab_size,
                 .type_vocab_size = 0,
                 .width = config.hidden_size}),
        config_(std::move(config)) {
    weights_.layers.resize(config_.num_hidden_layers);
  }

  std::span<float> hidden_states(const tensor::RaggedBatch& batch, ForwardContext& context) const override {
    const std::size_t tokens = batch.tokens(), floats = tokens * config_.hidden_size;
    const std::span<float> x(context.floats(kHidden, floats), floats);
    embed({.word = &weights_.tok_embeddings,
           .norm = &weights_.embedding_norm,
           .epsilon = config_.norm_eps,
           .dropout = config_.embedding_dropout},
          batch, context, x.data());

    const auto threads = static_cast<std::size_t>(context.pool.size());
    const AttentionPlan global_plan(batch, {.heads = config_.num_attention_heads, .threads = threads});
    const AttentionPlan local_plan(
        batch, {.heads = config_.num_attention_heads, .threads = threads, .window = reach()});
    const std::size_t head_dim = config_.hidden_size / config_.num_attention_heads;
    const std::size_t table_size = longest(batch) * head_dim;
    float* tables = context.floats(kPositions, 2 * table_size);
    fill_angles({.theta = config_.global_rope_theta, .head_dim = head_dim}, longest(batch), context, tables);
    fill_angles({.theta = config_.local_rope_theta, .head_dim = head_dim}, longest(batch), context,
                tables + table_size);
    const std::vector<std::uint32_t> positions = positions_of(batch);

    const Attending global{.plan = global_plan, .angles = tables, .positions = positions};
    const Attending local{.plan = local_plan, .angles = tables + table_size, .positions = positions};
    std::span<float> out = x;
    for (std::size_t i = 0; i < weights_.layers.size(); ++i) {
      const bool is_last = i + 1 == weights_.layers.size();
      out = run_layer(weights_.layers[i], config_.is_local[i] ? local : global, batch, context, x,
                      is_last ? batch.wanted : std::span<const std::int32_t>());
    }
    forward(weights_.final_norm, context,
            {.x = out.data(), .rows = out.size() / config_.hidden_size, .epsilon = config_.norm_eps});
    return out;
  }

  void visit(WeightVisitor& visitor) override { visit_weights(weights_, config_, visitor); }
  void visit(ConstWeightVisitor& visitor) const override { visit_weights(weights_, config_, visitor); }
  double multiply_adds(std::size_t tokens) const noexcept override {
    const auto width = static_cast<double>(config_.hidden_size), n = static_cast<double>(tokens);
    const auto inner = static_cast<double>(config_.intermediate_size);
    // Pairs of tokens that see each other through a window: all without the two triangles in the corners.
    const double hidden_from = n - 1 - static_cast<double>(reach());
    const double pairs = n * n - (hidden_from > 0 ? hidden_from * (hidden_from + 1) : 0);
    double sum = 0;
    for (const bool is_local : config_.is_local) {
      sum += n * (4 * width * width + 3 * width * inner) + 2 * (is_local ? pairs : n * n) * width;
    }
    return sum;
  }

 private:
  // Tokens that a local layer sees to either side.
  std::size_t reach() const noexcept { return config_.local_attention / 2; }

  // Returns the output of the wanted tokens, or of all if none are named.
  std::span<float> run_layer(const ModernBertLayer& layer, const Attending& attending,
                             const tensor::RaggedBatch& batch, ForwardContext& context, std::span<float> x,
                             std::span<const std::int32_t> wanted) const {
    const std::size_t width = config_.hidden_size, inner = config_.intermediate_size;
    std::size_t rows = batch.tokens();
    float* normed = context.floats(kNormed, rows * width);
    float* qkv = context.floats(kQkv, rows * 3 * width);
    float* attended = context.floats(kContext, rows * width);
    float* up = context.floats(kUp, rows * 2 * inner);
    const auto normalize = [&](const LayerNorm& norm) {
      forward(norm, context, {.x = x.data(), .rows = rows, .epsilon = config_.norm_eps, .y = normed});
    };

    const bool is_first = layer.attn_norm.width() == 0;
    if (!is_first) normalize(layer.attn_norm);
    forward(layer.Wqkv, context, {.x = is_first ? x.data() : normed, .y = qkv, .rows = rows});
    rotate(context, {.angles = attending.angles,
                     .angle_rows = attending.positions,
                     .x = qkv,
                     .rows = rows,
                     .x_stride = 3 * width,
                     .heads = 2 * config_.num_attention_heads,  // queries, then keys
                     .head_dim = width / config_.num_attention_heads});
    attend(attending.plan, {.rounded = !layer.Wqkv.is_fp32(), .dropout = config_.attention_dropout}, context,
           {.qkv = qkv, .out = attended, .width = width, .head_dim = width / attending.plan.heads()});
    x = keep_rows(wanted, width, x);
    keep_rows(wanted, width, {attended, rows * width});
    rows = x.size() / width;
    forward(layer.attn_Wo, context,
            {.x = attended,
             .y = x.data(),
             .rows = rows,
             .dropout = config_.attention_dropout,
             .residual = x.data()});

    normalize(layer.mlp_norm);
    forward(layer.Wi, context, {.x = normed, .y = up, .rows = rows});
    activate_gated(config_.hidden_activation, context,
                   {.x = up, .rows = rows, .width = inner, .dropout = config_.mlp_dropout});
    forward(layer.mlp_Wo, context,
            {.x = up, .y = x.data(), .rows = rows, .residual = x.data(), .x_stride = 2 * inner});
    return x;
  }

  ModernBertConfig config_;
  ModernBertWeights weights_;
};

std::unique_ptr<Encoder> make_modernbert(const ConfigReader& reader) {
  ModernBertConfig config;
  visit(config, reader);
  visit_new_keys(config, reader);
  check_heads(reader, {"hidden_size", config.hidden_size},
              {"num_attention_heads", config.num_attention_heads});
  check_heads(reader, {"hidden_size", config.hidden_size},
              {"twice num_attention_heads", 2 * config.num_attention_heads});  // rotary: pairs
  return std::make_unique<ModernBert>(std::move(config));
}

ModernBertHeadConfig read_head(const ConfigReader& reader, const EncoderFacts& facts) {
  ModernBertHeadConfig config{.hidden_size = facts.width};
  visit(config, reader);
  return config;
}

std::unique_ptr<Head> make_modernbert_span_head(const ConfigReader& reader, const EncoderFacts& facts) {
  return std::make_unique<ModernBertHead>(read_head(reader, facts), Head::Rows::kTokens);
}

std::unique_ptr<Head> make_modernbert_classifier(const ConfigReader& reader, const EncoderFacts& facts) {
  ModernBertHeadConfig config = read_head(reader, facts);
  config.num_labels = num_labels(reader);
  config.pools_mean = reader.json().string_or("classifier_pooling", "cls") == "mean";
  if (!config.pools_mean) reader.only("classifier_pooling", "cls");
  return std::make_unique<ModernBertHead>(config, Head::Rows::kSequences);
}

}  // namespace

const EncoderFamily kModernBert{.prefix = "model.",
                                .encoder = make_modernbert,
                                .span_head = make_modernbert_span_head,
                                .classifier = make_modernbert_classifier,
                                .pad_token_id = 50283};

}  // namespace kvasir::models
