// DeBERTa v2 and v3 (He et al. 2020, 2021): DebertaV2Model of transformers. BERT whose scores know the
// distance of two tokens, and in v2 a convolution beside the first layer.
#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "kvasir/error.h"
#include "models/disentangled_attention.h"
#include "models/post_norm_layer.h"
#include "models/registry.h"

namespace kvasir::models {

namespace {

struct DebertaV2Config {
  std::size_t vocab_size = 0;
  std::size_t embedding_size = 0;
  std::size_t hidden_size = 0;
  std::size_t num_hidden_layers = 0;
  std::size_t num_attention_heads = 0;
  std::size_t attention_head_size = 0;
  std::size_t intermediate_size = 0;
  std::size_t max_position_embeddings = 0;
  std::size_t type_vocab_size = 0;
  kernels::Activation hidden_act = kernels::Activation::kGelu;
  float layer_norm_eps = 1e-7F;
  float hidden_dropout_prob = 0.1F, attention_probs_dropout_prob = 0.1F;
  bool position_biased_input = true;
  bool relative_attention = false;
  bool share_att_key = false;
  std::size_t max_relative_positions = 0, position_buckets = 0;
  bool c2p = false, p2c = false;  // pos_att_type
  bool norm_rel_ebd = false;
  std::size_t conv_kernel_size = 0;  // 0: no convolution
  kernels::Activation conv_act = kernels::Activation::kNone;
  bool conv_tanh = false;  // in place of conv_act

  DistanceBuckets buckets() const noexcept {
    return {.position_buckets = position_buckets, .max_relative_positions = max_relative_positions};
  }
};

// "a|b" as the list that it stands for.
bool has_part(const std::string& text, std::string_view part) {
  return ("|" + text + "|").find("|" + std::string(part) + "|") != std::string::npos;
}

// Older configs write "p2c|c2p", newer ones ["p2c", "c2p"].
void visit_pos_att_type(DebertaV2Config& c, const base::JsonObject& json) {
  if (!json.has("pos_att_type")) return;
  std::string joined;
  if (const base::json::array* list = json.at("pos_att_type").if_array()) {
    for (const base::json::value& name : *list) {
      if (!name.is_string()) json.fail("key pos_att_type is not a list of names");
      joined += (joined.empty() ? "" : "|") + std::string(name.as_string());
    }
  } else {
    joined = json.string("pos_att_type");
  }
  std::erase(joined, ' ');
  std::ranges::transform(joined, joined.begin(),
                         [](char x) { return x >= 'A' && x <= 'Z' ? x - 'A' + 'a' : x; });
  c.c2p = has_part(joined, "c2p");
  c.p2c = has_part(joined, "p2c");
  // p2p stands in some configs of the paper's first version; the reference computes nothing for it.
  std::size_t known = 0;
  for (const char* name : {"c2p", "p2c", "p2p"}) known += has_part(joined, name) ? 4 : 0;
  if (joined.size() + 1 != std::max<std::size_t>(known, 1)) {
    throw Error(ErrorCode::kUnsupported,
                json.origin() + ": pos_att_type " + joined + " is not supported; known: c2p, p2c, p2p");
  }
}

template <class Visitor>
void visit(DebertaV2Config& c, const Visitor& v) {
  v.required("vocab_size", c.vocab_size, kMaxVocabulary);
  v.required("hidden_size", c.hidden_size, kMaxWidth);
  c.embedding_size = c.hidden_size;
  v.optional("embedding_size", c.embedding_size, kMaxWidth);
  v.required("num_hidden_layers", c.num_hidden_layers, kMaxLayers);
  v.required("num_attention_heads", c.num_attention_heads, kMaxWidth);
  v.optional("attention_head_size", c.attention_head_size, kMaxWidth);
  v.required("intermediate_size", c.intermediate_size, kMaxWidth);
  v.required("max_position_embeddings", c.max_position_embeddings, kMaxPositions);
  v.optional_or_none("type_vocab_size", c.type_vocab_size, kMaxVocabulary);
  v.optional("hidden_act", c.hidden_act);
  v.optional("layer_norm_eps", c.layer_norm_eps);
  v.optional_dropout("hidden_dropout_prob", c.hidden_dropout_prob);
  v.optional_dropout("attention_probs_dropout_prob", c.attention_probs_dropout_prob);
  v.optional("position_biased_input", c.position_biased_input);
  v.optional("relative_attention", c.relative_attention);
  v.optional("share_att_key", c.share_att_key);
  v.optional_or_none("max_relative_positions", c.max_relative_positions, kMaxPositions);
  if (c.max_relative_positions == 0) c.max_relative_positions = c.max_position_embeddings;
  v.optional_or_none("position_buckets", c.position_buckets, kMaxPositions);
  visit_pos_att_type(c, v.json());
  c.norm_rel_ebd = has_part(v.json().string_or("norm_rel_ebd", "none"), "layer_norm");
  v.optional_or_none("conv_kernel_size", c.conv_kernel_size, kMaxPositions);
  v.only("conv_groups", std::int64_t{1});
  c.conv_tanh = v.json().string_or("conv_act", "tanh") == "tanh";
  if (!c.conv_tanh) v.optional("conv_act", c.conv_act);
}

struct DebertaV2Layer {
  PostNormLayer layer;
  Linear pos_key_proj, pos_query_proj;  // if not share_att_key; only until the distances are projected
  std::shared_ptr<const ProjectedDistances> distances;  // in training they change, and are not kept here
};
struct DebertaV2Weights {
  Embedding word_embeddings, position_embeddings, token_type_embeddings;
  Linear embed_proj;  // only if embedding_size and hidden_size differ
  LayerNorm embedding_norm;
  Embedding rel_embeddings;
  LayerNorm rel_norm;
  Linear conv;
  LayerNorm conv_norm;
  std::vector<DebertaV2Layer> layers;
};

template <class Weights, class Visitor>
void visit_embeddings(Weights& w, const DebertaV2Config& c, Visitor& v) {
  const Dim hidden{"hidden_size", c.hidden_size}, embedding{"embedding_size", c.embedding_size};
  const auto table = [&](const char* key, std::size_t rows) { return MatrixShape{{key, rows}, embedding}; };
  v("embeddings.word_embeddings", w.word_embeddings, table("vocab_size", c.vocab_size));
  if (c.position_biased_input) {
    v("embeddings.position_embeddings", w.position_embeddings,
      table("max_position_embeddings", c.max_position_embeddings));
  }
  if (c.type_vocab_size > 0) {
    v("embeddings.token_type_embeddings", w.token_type_embeddings,
      table("type_vocab_size", c.type_vocab_size));
  }
  if (c.embedding_size != c.hidden_size) {
    v("embeddings.embed_proj", w.embed_proj, MatrixShape{hidden, embedding}, Bias::kNo);
  }
  v("embeddings.LayerNorm", w.embedding_norm, hidden);
}

template <class Weights, class Visitor>
void visit_weights(Weights& w, const DebertaV2Config& c, Visitor& v) {
  const Dim hidden{"hidden_size", c.hidden_size}, intermediate{"intermediate_size", c.intermediate_size};
  visit_embeddings(w, c, v);
  if (c.relative_attention) {
    const char* key = c.position_buckets > 0 ? "2 * position_buckets" : "2 * max_relative_positions";
    v("encoder.rel_embeddings", w.rel_embeddings, MatrixShape{{key, c.buckets().rows()}, hidden});
  }
  if (c.norm_rel_ebd) v("encoder.LayerNorm", w.rel_norm, hidden);
  if (c.conv_kernel_size > 0) {
    v("encoder.conv.conv", w.conv,
      ConvolutionShape{hidden, hidden, {"conv_kernel_size", c.conv_kernel_size}});
    v("encoder.conv.LayerNorm", w.conv_norm, hidden);
  }
  for (std::size_t i = 0; i < c.num_hidden_layers; ++i) {
    const std::string at = "encoder.layer." + std::to_string(i) + ".";
    auto& layer = w.layers[i];
    visit_bert_layer(layer.layer, at, {hidden, intermediate}, v, {"query_proj", "key_proj", "value_proj"});
    if (!c.relative_attention || c.share_att_key) continue;
    const MatrixShape square{hidden, hidden};
    if (c.c2p) v(at + "attention.self.pos_key_proj", layer.pos_key_proj, square);
    if (c.p2c) v(at + "attention.self.pos_query_proj", layer.pos_query_proj, square);
  }
}

class DebertaV2 final : public Encoder {
 public:
  explicit DebertaV2(DebertaV2Config config)
      : Encoder({.family = "deberta-v2",
                 .max_positions = config.max_position_embeddings,
                 .vocab_size = config.vocab_size,
                 .type_vocab_size = config.type_vocab_size,
                 .width = config.hidden_size}),
        config_(std::move(config)) {
    weights_.layers.resize(config_.num_hidden_layers);
  }

  std::span<float> hidden_states(const tensor::RaggedBatch& batch, ForwardContext& context) const override {
    const std::size_t width = config_.hidden_size, floats = batch.tokens() * width;
    const std::span<float> x(context.floats(kHidden, floats), floats);
    embed_tokens(batch, context, x);
    const bool convolve = config_.conv_kernel_size > 0;
    float* convolved = convolve ? convolution(batch, context, x) : nullptr;

    const AttentionPlan plan(batch, {.heads = config_.num_attention_heads,
                                     .threads = static_cast<std::size_t>(context.pool.size()),
                                     .blind_pads = true});
    const bool biased = config_.relative_attention && (config_.c2p || config_.p2c);
    const bool projects = biased && context.tape != nullptr;
    const float* table = projects ? distance_table(context) : nullptr;
    const auto rows = std::make_shared<DistanceRows>(config_.buckets(), longest(batch));
    std::span<float> out = x;
    for (std::size_t i = 0; i < weights_.layers.size(); ++i) {
      const DebertaV2Layer& layer = weights_.layers[i];
      std::shared_ptr<const ScoreBias> bias;
      if (biased) {
        const auto distances = projects ? project_distances(layer, table, context) : layer.distances;
        bias = std::make_shared<DisentangledBias>(distances, rows, context.kernels);
      }
      const PostNormOptions options{.activation = config_.hidden_act,
                                    .epsilon = config_.layer_norm_eps,
                                    .attention = {.scale = scale(),
                                                  .bias = std::move(bias),
                                                  .dropout = config_.attention_probs_dropout_prob},
                                    .attention_output_dropout = config_.hidden_dropout_prob,
                                    .output_dropout = config_.hidden_dropout_prob};
      const bool convolves = i == 0 && convolve, is_last = i + 1 == weights_.layers.size();
      out = forward(layer.layer, options, plan, context, x,
                    is_last && !convolves ? batch.wanted : std::span<const std::int32_t>());
      if (!convolves) continue;
      add(context, convolved, x);
      forward(weights_.conv_norm, context,
              {.x = x.data(), .rows = batch.tokens(), .epsilon = config_.layer_norm_eps});
      clear_pads(batch, width, context, x.data());
      if (is_last) out = keep_rows(batch.wanted, width, x);
    }
    return out;
  }

  // What queries and keys are multiplied with for the distances, of every layer.
  void finish_loading(ForwardContext& context) override {
    if (!config_.relative_attention) return;
    const float* table = distance_table(context);
    for (DebertaV2Layer& layer : weights_.layers) {
      layer.distances = project_distances(layer, table, context);
      layer.pos_key_proj = {};
      layer.pos_query_proj = {};
    }
  }

  void visit(WeightVisitor& visitor) override { visit_weights(weights_, config_, visitor); }
  void visit(ConstWeightVisitor& visitor) const override { visit_weights(weights_, config_, visitor); }
  double multiply_adds(std::size_t tokens) const noexcept override {
    const auto n = static_cast<double>(tokens), width = static_cast<double>(config_.hidden_size);
    double layer = post_norm_multiply_adds(config_.hidden_size, config_.intermediate_size, tokens);
    if (config_.relative_attention) {
      const auto last = static_cast<std::ptrdiff_t>(tokens) - 1;
      const std::size_t distances = config_.buckets().row(last) - config_.buckets().row(-last) + 1;
      layer += static_cast<double>((terms() - 1) * distances) * n * width;
    }
    const bool project = config_.embedding_size != config_.hidden_size;
    return static_cast<double>(config_.num_hidden_layers) * layer +
           n * width *
               (width * static_cast<double>(config_.conv_kernel_size) +
                static_cast<double>(project ? config_.embedding_size : 0));
  }

 private:
  // Terms of a score; the reference divides by the root of their number, even where they are switched off.
  std::size_t terms() const noexcept {
    return std::size_t{1} + (config_.c2p ? 1 : 0) + (config_.p2c ? 1 : 0);
  }

  float scale() const noexcept {
    const std::size_t head_dim = config_.hidden_size / config_.num_attention_heads;
    return 1 / std::sqrt(static_cast<float>(head_dim * terms()));
  }

  // Embeddings of pads are 0.
  void embed_tokens(const tensor::RaggedBatch& batch, ForwardContext& context, std::span<float> x) const {
    const std::size_t tokens = batch.tokens();
    const bool project = config_.embedding_size != config_.hidden_size;
    float* sum = project ? context.floats(kNarrow, tokens * config_.embedding_size) : x.data();
    embed({.word = &weights_.word_embeddings,
           .token_type = config_.type_vocab_size > 0 ? &weights_.token_type_embeddings : nullptr,
           .position = config_.position_biased_input ? &weights_.position_embeddings : nullptr},
          batch, context, sum);
    if (project) forward(weights_.embed_proj, context, {.x = sum, .y = x.data(), .rows = tokens});
    forward(weights_.embedding_norm, context,
            {.x = x.data(), .rows = tokens, .epsilon = config_.layer_norm_eps});
    clear_pads(batch, config_.hidden_size, context, x.data());
    drop_out(context, {.p = config_.hidden_dropout_prob}, config_.hidden_size, x);
  }

  // Of the embeddings x; what it returns lives until the workspace's next pass. 0 for pads.
  float* convolution(const tensor::RaggedBatch& batch, ForwardContext& context,
                     std::span<const float> x) const {
    const std::size_t width = config_.hidden_size, taps = config_.conv_kernel_size, tokens = batch.tokens();
    float* neighbors = context.floats(kUp, tokens * width * taps);  // [tokens, width, taps]
    std::vector<int> offsets(taps);
    std::iota(offsets.begin(), offsets.end(), -static_cast<int>(taps / 2));
    gather_neighbors(
        batch, context,
        {.x = x.data(), .y = neighbors, .width = width, .offsets = offsets, .taps_together = true});
    float* out = context.floats(kPositions, tokens * width);
    // In training, pads are cleared and elements dropped before the activation.
    const bool trains = context.tape != nullptr;
    forward(weights_.conv, context,
            {.x = neighbors,
             .y = out,
             .rows = tokens,
             .activation = trains ? kernels::Activation::kNone : config_.conv_act});
    clear_pads(batch, width, context, out);
    if (trains) {
      drop_out(context, {.p = config_.hidden_dropout_prob}, width, {out, tokens * width});
      activate(config_.conv_act, context, width, {out, tokens * width});
    }
    // No published model has it, so that there is no kernel for it.
    if (config_.conv_tanh) apply_tanh(context, {out, tokens * width});
    return out;
  }

  // The embeddings of all distances, [rows, hidden_size].
  const float* distance_table(ForwardContext& context) const {
    const std::size_t width = config_.hidden_size, rows = config_.buckets().rows();
    std::vector<std::int32_t> all(rows);
    std::iota(all.begin(), all.end(), 0);
    float* table = context.floats(kNormed, rows * width);
    look_up(context, {.table = &weights_.rel_embeddings, .rows = all, .y = table});
    if (config_.norm_rel_ebd) {
      forward(weights_.rel_norm, context, {.x = table, .rows = rows, .epsilon = config_.layer_norm_eps});
    }
    drop_out(context, {.p = config_.hidden_dropout_prob, .rows = DropoutRows::kTable}, width,
             {table, rows * width});
    return table;
  }

  // What the distances become in this layer. With a tape it remembers what they were made of.
  std::shared_ptr<const ProjectedDistances> project_distances(const DebertaV2Layer& layer, const float* table,
                                                              ForwardContext& context) const {
    const std::size_t width = config_.hidden_size, rows = config_.buckets().rows();
    auto distances = std::make_shared<ProjectedDistances>();
    distances->scale = scale();
    const auto project = [&](const Linear& linear) {
      float* projected = context.floats(kQkv, rows * linear.out());
      forward(linear, context, {.x = table, .y = projected, .rows = rows});
      if (context.tape != nullptr) distances->rows.emplace_back(projected, rows * linear.out());
      return Columns{.rows = projected, .stride = linear.out()};
    };
    const auto take = [&](ProjectedDistances::Term& term, Columns columns, std::size_t first) {
      columns.rows += first;
      term.heads = pack_by_head(columns, context.kernels.fp32);
      if (context.tape != nullptr) term.rows = columns.rows, term.stride = columns.stride;
    };
    if (config_.share_att_key) {
      const Columns qkv = project(layer.layer.qkv);
      if (config_.c2p) take(distances->keys, qkv, width);
      if (config_.p2c) take(distances->queries, qkv, 0);
    } else {
      if (config_.c2p) take(distances->keys, project(layer.pos_key_proj), 0);
      if (config_.p2c) take(distances->queries, project(layer.pos_query_proj), 0);
    }
    return distances;
  }

  struct Columns {
    const float* rows;
    std::size_t stride;
  };
  std::vector<kernels::PackedMatrix> pack_by_head(const Columns& columns,
                                                  const kernels::Fp32Kernels& kernels) const {
    const std::size_t rows = config_.buckets().rows();
    const std::size_t head_dim = config_.hidden_size / config_.num_attention_heads;
    const float scale = this->scale();
    tensor::Buffer<float> part(rows * head_dim);
    std::vector<kernels::PackedMatrix> heads;
    for (std::size_t head = 0; head < config_.num_attention_heads; ++head) {
      for (std::size_t row = 0; row < rows; ++row) {
        const float* from = columns.rows + row * columns.stride + head * head_dim;
        for (std::size_t d = 0; d < head_dim; ++d) part.data()[row * head_dim + d] = from[d] * scale;
      }
      heads.push_back(kernels::pack(kernels, part.data(), rows, head_dim));
    }
    return heads;
  }

  DebertaV2Config config_;
  DebertaV2Weights weights_;
};

void check(const DebertaV2Config& config, const ConfigReader& reader) {
  check_heads(reader, {"hidden_size", config.hidden_size},
              {"num_attention_heads", config.num_attention_heads});
  const std::size_t head_dim = config.hidden_size / config.num_attention_heads;
  if (config.attention_head_size > 0 && config.attention_head_size != head_dim) {
    reader.only("attention_head_size", static_cast<std::int64_t>(head_dim));
  }
  if (config.position_buckets > 0) check_at_least(reader, {"position_buckets", config.position_buckets}, 2);
  if (config.conv_kernel_size % 2 == 0 && config.conv_kernel_size > 0) {
    reader.json().fail("conv_kernel_size = " + std::to_string(config.conv_kernel_size) + " is not odd");
  }
}

std::unique_ptr<Encoder> make_deberta_v2(const ConfigReader& reader) {
  DebertaV2Config config;
  visit(config, reader);
  check(config, reader);
  return std::make_unique<DebertaV2>(std::move(config));
}

// The reference calls it the context pooler.
std::unique_ptr<Head> make_deberta_v2_classifier(const ConfigReader& config, const EncoderFacts& facts) {
  config.only("pooler_hidden_size", static_cast<std::int64_t>(facts.width));
  return make_classifier(config, facts,
                         {.dense = "pooler.dense",
                          .activation = head_activation(config, "pooler_hidden_act", HeadActivation::kGelu)});
}

}  // namespace

const EncoderFamily kDebertaV2{.prefix = "deberta.",
                               .encoder = make_deberta_v2,
                               .span_head = make_span_head,
                               .classifier = make_deberta_v2_classifier};

}  // namespace kvasir::models
