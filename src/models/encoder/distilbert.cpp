// DistilBERT (Sanh et al. 2019): DistilBertModel of transformers. BERT without token types, under other
// names.
#include "models/post_norm_layer.h"
#include "models/registry.h"

namespace kvasir::models {

namespace {

constexpr float kEpsilon = 1e-12F;  // not in the config: fixed in the reference

struct DistilBertConfig {
  std::size_t vocab_size = 0;
  std::size_t dim = 0;
  std::size_t n_layers = 0;
  std::size_t n_heads = 0;
  std::size_t hidden_dim = 0;
  std::size_t max_position_embeddings = 0;
  kernels::Activation activation = kernels::Activation::kGelu;
  float dropout = 0.1F, attention_dropout = 0.1F;
};

// sinusoidal_pos_embds is not read: it says how position_embeddings began, and they are stored either way.
template <class Visitor>
void visit(DistilBertConfig& c, const Visitor& v) {
  v.required("vocab_size", c.vocab_size, kMaxVocabulary);
  v.required("dim", c.dim, kMaxWidth);
  v.required("n_layers", c.n_layers, kMaxLayers);
  v.required("n_heads", c.n_heads, kMaxWidth);
  v.required("hidden_dim", c.hidden_dim, kMaxWidth);
  v.required("max_position_embeddings", c.max_position_embeddings, kMaxPositions);
  v.optional("activation", c.activation);
  v.optional_dropout("dropout", c.dropout);
  v.optional_dropout("attention_dropout", c.attention_dropout);
}

struct DistilBertWeights {
  Embedding word_embeddings, position_embeddings;
  LayerNorm embedding_norm;
  std::vector<PostNormLayer> layers;
};

template <class Weights, class Visitor>
void visit_weights(Weights& w, const DistilBertConfig& c, Visitor& v) {
  const Dim dim{"dim", c.dim}, hidden_dim{"hidden_dim", c.hidden_dim};
  v("embeddings.word_embeddings", w.word_embeddings, MatrixShape{{"vocab_size", c.vocab_size}, dim});
  v("embeddings.position_embeddings", w.position_embeddings,
    MatrixShape{{"max_position_embeddings", c.max_position_embeddings}, dim});
  v("embeddings.LayerNorm", w.embedding_norm, dim);
  for (std::size_t i = 0; i < c.n_layers; ++i) {
    const std::string at = "transformer.layer." + std::to_string(i) + ".";
    auto& layer = w.layers[i];
    v({at + "attention.q_lin", at + "attention.k_lin", at + "attention.v_lin"}, layer.qkv,
      MatrixShape{dim, dim});
    v(at + "attention.out_lin", layer.attention_output, MatrixShape{dim, dim});
    v(at + "sa_layer_norm", layer.attention_norm, dim);
    v(at + "ffn.lin1", layer.up, MatrixShape{hidden_dim, dim});
    v(at + "ffn.lin2", layer.down, MatrixShape{dim, hidden_dim});
    v(at + "output_layer_norm", layer.output_norm, dim);
  }
}

class DistilBert final : public Encoder {
 public:
  explicit DistilBert(DistilBertConfig config)
      : Encoder({.family = "distilbert",
                 .max_positions = config.max_position_embeddings,
                 .vocab_size = config.vocab_size,
                 .type_vocab_size = 0,
                 .width = config.dim,
                 .width_key = "dim"}),
        config_(std::move(config)) {
    weights_.layers.resize(config_.n_layers);
  }

  std::span<float> hidden_states(const tensor::RaggedBatch& batch, ForwardContext& context) const override {
    const std::size_t floats = batch.tokens() * config_.dim;
    const std::span<float> x(context.floats(kHidden, floats), floats);
    embed({.word = &weights_.word_embeddings,
           .position = &weights_.position_embeddings,
           .norm = &weights_.embedding_norm,
           .epsilon = kEpsilon,
           .dropout = config_.dropout},
          batch, context, x.data());
    const AttentionPlan plan(
        batch, {.heads = config_.n_heads, .threads = static_cast<std::size_t>(context.pool.size())});
    const PostNormOptions options{.activation = config_.activation,
                                  .epsilon = kEpsilon,
                                  .attention = {.dropout = config_.attention_dropout},
                                  .output_dropout = config_.dropout};
    return forward(weights_.layers, options, plan, context, x, batch.wanted);
  }

  void visit(WeightVisitor& visitor) override { visit_weights(weights_, config_, visitor); }
  void visit(ConstWeightVisitor& visitor) const override { visit_weights(weights_, config_, visitor); }
  double multiply_adds(std::size_t tokens) const noexcept override {
    return static_cast<double>(config_.n_layers) *
           post_norm_multiply_adds(config_.dim, config_.hidden_dim, tokens);
  }

 private:
  DistilBertConfig config_;
  DistilBertWeights weights_;
};

std::unique_ptr<Encoder> make_distilbert(const ConfigReader& reader) {
  DistilBertConfig config;
  visit(config, reader);
  check_heads(reader, {"dim", config.dim}, {"n_heads", config.n_heads});
  return std::make_unique<DistilBert>(std::move(config));
}

std::unique_ptr<Head> make_distilbert_span_head(const ConfigReader& config, const EncoderFacts& facts) {
  float dropout = 0.1F;
  config.optional_dropout("qa_dropout", dropout);
  return make_span_head_with_dropout(facts, dropout);
}

std::unique_ptr<Head> make_distilbert_classifier(const ConfigReader& config, const EncoderFacts& facts) {
  return make_classifier(config, facts, {.dense = "pre_classifier", .activation = HeadActivation::kRelu});
}

}  // namespace

const EncoderFamily kDistilBert{.prefix = "distilbert.",
                                .encoder = make_distilbert,
                                .span_head = make_distilbert_span_head,
                                .classifier = make_distilbert_classifier};

}  // namespace kvasir::models
