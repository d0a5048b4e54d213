// RoBERTa (Liu et al. 2019) and XLM-RoBERTa (Conneau et al. 2019): RobertaModel and XLMRobertaModel of
// transformers. BERT with other positions.
#include "models/post_norm_layer.h"
#include "models/registry.h"

namespace kvasir::models {

namespace {

struct RobertaConfig {
  std::size_t vocab_size = 0;
  std::size_t hidden_size = 0;
  std::size_t num_hidden_layers = 0;
  std::size_t num_attention_heads = 0;
  std::size_t intermediate_size = 0;
  std::size_t max_position_embeddings = 0;
  std::size_t type_vocab_size = 2;
  std::int32_t pad_token_id = 1;
  kernels::Activation hidden_act = kernels::Activation::kGelu;
  float layer_norm_eps = 1e-12F;
  float hidden_dropout_prob = 0.1F, attention_probs_dropout_prob = 0.1F;
};

template <class Visitor>
void visit(RobertaConfig& c, const Visitor& v) {
  v.required("vocab_size", c.vocab_size, kMaxVocabulary);
  v.required("hidden_size", c.hidden_size, kMaxWidth);
  v.required("num_hidden_layers", c.num_hidden_layers, kMaxLayers);
  v.required("num_attention_heads", c.num_attention_heads, kMaxWidth);
  v.required("intermediate_size", c.intermediate_size, kMaxWidth);
  v.required("max_position_embeddings", c.max_position_embeddings, kMaxPositions);
  v.optional("type_vocab_size", c.type_vocab_size, kMaxVocabulary);
  v.optional_id("pad_token_id", c.pad_token_id, c.vocab_size);
  v.optional("hidden_act", c.hidden_act);
  v.optional("layer_norm_eps", c.layer_norm_eps);
  v.optional_dropout("hidden_dropout_prob", c.hidden_dropout_prob);
  v.optional_dropout("attention_probs_dropout_prob", c.attention_probs_dropout_prob);
  v.only("position_embedding_type", "absolute");
  v.only("is_decoder", false);
}

struct RobertaWeights {
  Embedding word_embeddings, position_embeddings, token_type_embeddings;
  LayerNorm embedding_norm;
  std::vector<PostNormLayer> layers;
};

template <class Weights, class Visitor>
void visit_weights(Weights& w, const RobertaConfig& c, Visitor& v) {
  const Dim hidden{"hidden_size", c.hidden_size}, intermediate{"intermediate_size", c.intermediate_size};
  const auto table = [&](const char* key, std::size_t rows) { return MatrixShape{{key, rows}, hidden}; };
  v("embeddings.word_embeddings", w.word_embeddings, table("vocab_size", c.vocab_size));
  v("embeddings.position_embeddings", w.position_embeddings,
    table("max_position_embeddings", c.max_position_embeddings));
  v("embeddings.token_type_embeddings", w.token_type_embeddings, table("type_vocab_size", c.type_vocab_size));
  v("embeddings.LayerNorm", w.embedding_norm, hidden);
  for (std::size_t i = 0; i < c.num_hidden_layers; ++i) {
    visit_bert_layer(w.layers[i], "encoder.layer." + std::to_string(i) + ".", {hidden, intermediate}, v);
  }
}

class Roberta final : public Encoder {
 public:
  Roberta(RobertaConfig config, std::string family)
      : Encoder({.family = std::move(family),
                 .max_positions =
                     config.max_position_embeddings - static_cast<std::size_t>(config.pad_token_id) - 1,
                 .vocab_size = config.vocab_size,
                 .type_vocab_size = 0,
                 .width = config.hidden_size}),
        config_(std::move(config)) {
    weights_.layers.resize(config_.num_hidden_layers);
  }

  std::span<float> hidden_states(const tensor::RaggedBatch& given, ForwardContext& context) const override {
    tensor::RaggedBatch batch = given;
    batch.token_type_ids = {};  // the reference feeds none: all have the first of the type embeddings
    const std::size_t floats = batch.tokens() * config_.hidden_size;
    const std::span<float> x(context.floats(kHidden, floats), floats);
    embed({.word = &weights_.word_embeddings,
           .token_type = &weights_.token_type_embeddings,
           .position = &weights_.position_embeddings,
           .norm = &weights_.embedding_norm,
           .epsilon = config_.layer_norm_eps,
           .dropout = config_.hidden_dropout_prob,
           .pad_id = config_.pad_token_id},
          batch, context, x.data());
    const AttentionPlan plan(batch, {.heads = config_.num_attention_heads,
                                     .threads = static_cast<std::size_t>(context.pool.size())});
    const PostNormOptions options{.activation = config_.hidden_act,
                                  .epsilon = config_.layer_norm_eps,
                                  .attention = {.dropout = config_.attention_probs_dropout_prob},
                                  .attention_output_dropout = config_.hidden_dropout_prob,
                                  .output_dropout = config_.hidden_dropout_prob};
    return forward(weights_.layers, options, plan, context, x, batch.wanted);
  }

  void visit(WeightVisitor& visitor) override { visit_weights(weights_, config_, visitor); }
  void visit(ConstWeightVisitor& visitor) const override { visit_weights(weights_, config_, visitor); }
  double multiply_adds(std::size_t tokens) const noexcept override {
    const double layer = post_norm_multiply_adds(config_.hidden_size, config_.intermediate_size, tokens);
    return static_cast<double>(config_.num_hidden_layers) * layer;
  }

 private:
  RobertaConfig config_;
  RobertaWeights weights_;
};

std::unique_ptr<Encoder> make_roberta(const ConfigReader& reader) {
  RobertaConfig config;
  visit(config, reader);
  check_heads(reader, {"hidden_size", config.hidden_size},
              {"num_attention_heads", config.num_attention_heads});
  // One position at least behind those of the pads.
  check_at_least(reader, {"max_position_embeddings", config.max_position_embeddings},
                 static_cast<std::size_t>(config.pad_token_id) + 2);
  return std::make_unique<Roberta>(std::move(config), reader.json().string("model_type"));
}

std::unique_ptr<Head> make_roberta_classifier(const ConfigReader& config, const EncoderFacts& facts) {
  return make_classifier(config, facts, {.dense = "classifier.dense", .output = "classifier.out_proj"});
}

}  // namespace

const EncoderFamily kRoberta{.prefix = "roberta.",
                             .encoder = make_roberta,
                             .span_head = make_span_head,
                             .classifier = make_roberta_classifier,
                             .pad_token_id = 1};

}  // namespace kvasir::models
