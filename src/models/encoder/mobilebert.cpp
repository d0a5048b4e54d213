// MobileBERT (Sun et al. 2020): MobileBertModel of transformers. Each layer works at a fraction of the
// model's width, between two bottlenecks, and has several feed-forwards; in place of LayerNorm only scale and
// shift.
#include <algorithm>

#include "models/registry.h"
#include "models/self_attention.h"

namespace kvasir::models {

namespace {

constexpr std::size_t kTrigram = 3;
constexpr int kTrigramOffsets[kTrigram] = {1, 0, -1};

struct MobileBertConfig {
  std::size_t vocab_size = 0;
  std::size_t embedding_size = 128;
  std::size_t hidden_size = 0;
  std::size_t intra_bottleneck_size = 128;  // the width inside a layer, the reference's true_hidden_size
  std::size_t num_hidden_layers = 0;
  std::size_t num_attention_heads = 0;
  std::size_t num_feedforward_networks = 4;
  std::size_t intermediate_size = 0;
  std::size_t max_position_embeddings = 0;
  std::size_t type_vocab_size = 2;
  kernels::Activation hidden_act = kernels::Activation::kRelu;
  float hidden_dropout_prob = 0, attention_probs_dropout_prob = 0.1F;
};

// layer_norm_eps is not read: nothing here is normalised.
template <class Visitor>
void visit(MobileBertConfig& c, const Visitor& v) {
  v.required("vocab_size", c.vocab_size, kMaxVocabulary);
  v.optional("embedding_size", c.embedding_size, kMaxWidth);
  v.required("hidden_size", c.hidden_size, kMaxWidth);
  v.optional("intra_bottleneck_size", c.intra_bottleneck_size, kMaxWidth);
  v.required("num_hidden_layers", c.num_hidden_layers, kMaxLayers);
  v.required("num_attention_heads", c.num_attention_heads, kMaxWidth);
  v.optional("num_feedforward_networks", c.num_feedforward_networks, kMaxParts);
  v.required("intermediate_size", c.intermediate_size, kMaxWidth);
  v.required("max_position_embeddings", c.max_position_embeddings, kMaxPositions);
  v.optional("type_vocab_size", c.type_vocab_size, kMaxVocabulary);
  v.optional("hidden_act", c.hidden_act);
  v.optional_dropout("hidden_dropout_prob", c.hidden_dropout_prob);
  v.optional_dropout("attention_probs_dropout_prob", c.attention_probs_dropout_prob);
  v.only("normalization_type", "no_norm");
  v.only("trigram_input", true);
  v.only("use_bottleneck", true);
  v.only("use_bottleneck_attention", false);
  v.only("key_query_shared_bottleneck", true);
}

// A product and the NoNorm that follows.
struct DenseNorm {
  Linear dense;
  LayerNorm norm;
};
struct FeedForward {
  Linear intermediate;
  DenseNorm output;
};
struct MobileBertLayer {
  DenseNorm bottleneck_input;      // what the layer works on
  DenseNorm bottleneck_attention;  // what queries and keys are made of
  Linear query_key, value;
  DenseNorm attention_output;
  std::vector<FeedForward> ffn;  // the last is called intermediate and output
  DenseNorm output_bottleneck;
};
struct MobileBertWeights {
  Embedding word_embeddings, position_embeddings, token_type_embeddings;
  DenseNorm embedding_transformation;
  std::vector<MobileBertLayer> layers;
};

template <class Weights, class Visitor>
void visit_weights(Weights& w, const MobileBertConfig& c, Visitor& v) {
  const Dim hidden{"hidden_size", c.hidden_size}, narrow{"intra_bottleneck_size", c.intra_bottleneck_size};
  const Dim intermediate{"intermediate_size", c.intermediate_size};
  const auto dense_norm = [&](const std::string& at, auto& weights, const MatrixShape& shape) {
    v(at + "dense", weights.dense, shape);
    v(at + "LayerNorm", weights.norm, shape.rows);
  };
  v("embeddings.word_embeddings", w.word_embeddings,
    MatrixShape{{"vocab_size", c.vocab_size}, {"embedding_size", c.embedding_size}});
  v("embeddings.position_embeddings", w.position_embeddings,
    MatrixShape{{"max_position_embeddings", c.max_position_embeddings}, hidden});
  v("embeddings.token_type_embeddings", w.token_type_embeddings,
    MatrixShape{{"type_vocab_size", c.type_vocab_size}, hidden});
  v("embeddings.embedding_transformation", w.embedding_transformation.dense,
    MatrixShape{hidden, {"embedding_size", kTrigram * c.embedding_size}});
  v("embeddings.LayerNorm", w.embedding_transformation.norm, hidden);
  for (std::size_t i = 0; i < c.num_hidden_layers; ++i) {
    const std::string at = "encoder.layer." + std::to_string(i) + ".";
    auto& layer = w.layers[i];
    dense_norm(at + "bottleneck.input.", layer.bottleneck_input, {narrow, hidden});
    dense_norm(at + "bottleneck.attention.", layer.bottleneck_attention, {narrow, hidden});
    v({at + "attention.self.query", at + "attention.self.key"}, layer.query_key, MatrixShape{narrow, narrow});
    v(at + "attention.self.value", layer.value, MatrixShape{narrow, hidden});
    dense_norm(at + "attention.output.", layer.attention_output, {narrow, narrow});
    for (std::size_t f = 0; f < c.num_feedforward_networks; ++f) {
      const bool last = f + 1 == c.num_feedforward_networks;
      const std::string network = last ? at : at + "ffn." + std::to_string(f) + ".";
      v(network + "intermediate.dense", layer.ffn[f].intermediate, MatrixShape{intermediate, narrow});
      dense_norm(network + "output.", layer.ffn[f].output, {narrow, intermediate});
    }
    dense_norm(at + "output.bottleneck.", layer.output_bottleneck, {hidden, narrow});
  }
}

// y = NoNorm(x Wᵀ + b + residual).
void forward(const DenseNorm& weights, ForwardContext& context, const LinearCall& call) {
  forward(weights.dense, context, call);
  no_norm(weights.norm, context, {.x = call.y, .rows = call.rows});
}

class MobileBert final : public Encoder {
 public:
  explicit MobileBert(MobileBertConfig config)
      : Encoder({.family = "mobilebert",
                 .max_positions = config.max_position_embeddings,
                 .vocab_size = config.vocab_size,
                 .type_vocab_size = config.type_vocab_size,
                 .width = config.hidden_size}),
        config_(std::move(config)) {
    weights_.layers.resize(config_.num_hidden_layers);
    for (MobileBertLayer& layer : weights_.layers) layer.ffn.resize(config_.num_feedforward_networks);
  }

  std::span<float> hidden_states(const tensor::RaggedBatch& batch, ForwardContext& context) const override {
    const std::size_t floats = batch.tokens() * config_.hidden_size;
    const std::span<float> x(context.floats(kHidden, floats), floats);
    embed_trigrams(batch, context, x.data());
    const AttentionPlan plan(batch, {.heads = config_.num_attention_heads,
                                     .threads = static_cast<std::size_t>(context.pool.size())});
    const std::span<const MobileBertLayer> layers = weights_.layers;
    for (const MobileBertLayer& layer : layers.first(layers.size() - 1)) run_layer(layer, plan, context, x);
    return run_layer(layers.back(), plan, context, x, batch.wanted);
  }

  void visit(WeightVisitor& visitor) override { visit_weights(weights_, config_, visitor); }
  void visit(ConstWeightVisitor& visitor) const override { visit_weights(weights_, config_, visitor); }
  double multiply_adds(std::size_t tokens) const noexcept override {
    const auto n = static_cast<double>(tokens), hidden = static_cast<double>(config_.hidden_size);
    const auto narrow = static_cast<double>(config_.intra_bottleneck_size);
    const auto feed_forward =
        2 * narrow * static_cast<double>(config_.intermediate_size * config_.num_feedforward_networks);
    const double layer = n * (4 * hidden * narrow + 3 * narrow * narrow + feed_forward) + 2 * n * n * narrow;
    return static_cast<double>(config_.num_hidden_layers) * layer +
           n * hidden * static_cast<double>(kTrigram * config_.embedding_size);
  }

 private:
  // Each token's embedding between those of the next and of the previous one, brought to the model's width.
  void embed_trigrams(const tensor::RaggedBatch& batch, ForwardContext& context, float* x) const {
    const std::size_t width = config_.embedding_size, tokens = batch.tokens();
    float* words = context.floats(kNarrow, tokens * width);
    embed({.word = &weights_.word_embeddings}, batch, context, words);
    float* trigrams = context.floats(kUp, tokens * kTrigram * width);
    gather_neighbors(batch, context, {.x = words, .y = trigrams, .width = width, .offsets = kTrigramOffsets});
    const DenseNorm& transformation = weights_.embedding_transformation;
    forward(transformation.dense, context, {.x = trigrams, .y = x, .rows = tokens});
    embed({.token_type = &weights_.token_type_embeddings, .position = &weights_.position_embeddings}, batch,
          context, x);
    no_norm(transformation.norm, context, {.x = x, .rows = tokens});
    drop_out(context, {.p = config_.hidden_dropout_prob}, config_.hidden_size,
             {x, tokens * config_.hidden_size});
  }

  // Returns the output of the wanted tokens, or of all if none are named.
  std::span<float> run_layer(const MobileBertLayer& layer, const AttentionPlan& plan, ForwardContext& context,
                             std::span<float> x, std::span<const std::int32_t> wanted = {}) const {
    const std::size_t width = config_.intra_bottleneck_size;
    std::size_t rows = x.size() / config_.hidden_size;
    float* input = context.floats(kNarrow, rows * width);
    float* attended = context.floats(kContext, rows * width);
    float* normed = context.floats(kNormed, rows * width);
    float* qkv = context.floats(kQkv, rows * 3 * width);
    float* up = context.floats(kUp, rows * config_.intermediate_size);

    forward(layer.bottleneck_input, context, {.x = x.data(), .y = input, .rows = rows});
    forward(layer.bottleneck_attention, context, {.x = x.data(), .y = normed, .rows = rows});
    forward(layer.query_key, context, {.x = normed, .y = qkv, .rows = rows, .y_stride = 3 * width});
    forward(layer.value, context, {.x = x.data(), .y = qkv + 2 * width, .rows = rows, .y_stride = 3 * width});
    attend(plan, {.rounded = !layer.query_key.is_fp32(), .dropout = config_.attention_probs_dropout_prob},
           context, {.qkv = qkv, .out = attended, .width = width, .head_dim = width / plan.heads()});
    x = keep_rows(wanted, config_.hidden_size, x);
    keep_rows(wanted, width, {attended, rows * width});
    keep_rows(wanted, width, {input, rows * width});
    rows = x.size() / config_.hidden_size;
    forward(layer.attention_output, context, {.x = attended, .y = normed, .rows = rows, .residual = input});
    for (const FeedForward& network : layer.ffn) {
      forward(network.intermediate, context,
              {.x = normed, .y = up, .rows = rows, .activation = config_.hidden_act});
      forward(network.output, context, {.x = up, .y = normed, .rows = rows, .residual = normed});
    }
    forward(layer.output_bottleneck, context,
            {.x = normed,
             .y = x.data(),
             .rows = rows,
             .dropout = config_.hidden_dropout_prob,
             .residual = x.data()});
    return x;
  }

  MobileBertConfig config_;
  MobileBertWeights weights_;
};

std::unique_ptr<Encoder> make_mobilebert(const ConfigReader& reader) {
  MobileBertConfig config;
  visit(config, reader);
  check_heads(reader, {"intra_bottleneck_size", config.intra_bottleneck_size},
              {"num_attention_heads", config.num_attention_heads});
  return std::make_unique<MobileBert>(std::move(config));
}

std::unique_ptr<Head> make_mobilebert_classifier(const ConfigReader& config, const EncoderFacts& facts) {
  bool classifier_activation = true;  // without, there is no dense layer either
  config.optional("classifier_activation", classifier_activation);
  return make_classifier(config, facts, {.dense = classifier_activation ? "pooler.dense" : nullptr});
}

}  // namespace

const EncoderFamily kMobileBert{.prefix = "mobilebert.",
                                .encoder = make_mobilebert,
                                .span_head = make_span_head,
                                .classifier = make_mobilebert_classifier};

}  // namespace kvasir::models
