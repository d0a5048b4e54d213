// BERT (Devlin et al. 2018) with a question-answering head: BertForQuestionAnswering of transformers.
#include "models/post_norm_layer.h"
#include "models/registry.h"
#include "models/weights.h"

namespace kvasir::models {

namespace {

struct BertConfig {
  std::size_t vocab_size = 0;
  std::size_t hidden_size = 0;
  std::size_t num_hidden_layers = 0;
  std::size_t num_attention_heads = 0;
  std::size_t intermediate_size = 0;
  std::size_t max_position_embeddings = 0;
  std::size_t type_vocab_size = 2;
  kernels::Activation hidden_act = kernels::Activation::kGelu;
  float layer_norm_eps = 1e-12F;
};

template <class Visitor>
void visit(BertConfig& c, const Visitor& v) {
  v.required("vocab_size", c.vocab_size, kMaxVocabulary);
  v.required("hidden_size", c.hidden_size, kMaxWidth);
  v.required("num_hidden_layers", c.num_hidden_layers, kMaxLayers);
  v.required("num_attention_heads", c.num_attention_heads, kMaxWidth);
  v.required("intermediate_size", c.intermediate_size, kMaxWidth);
  v.required("max_position_embeddings", c.max_position_embeddings, kMaxPositions);
  v.optional("type_vocab_size", c.type_vocab_size, kMaxVocabulary);
  v.optional("hidden_act", c.hidden_act);
  v.optional("layer_norm_eps", c.layer_norm_eps);
  v.only("position_embedding_type", "absolute");
  v.only("is_decoder", false);
}

struct BertWeights {
  Embedding word_embeddings, position_embeddings, token_type_embeddings;
  LayerNorm embedding_norm;
  std::vector<PostNormLayer> layers;
  Linear qa_outputs;
};

template <class Weights, class Visitor>
void visit(Weights& w, const BertConfig& c, Visitor&& v) {
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
  v({std::string("qa_outputs")}, w.qa_outputs, MatrixShape{{"num_labels", 2}, hidden});
}

class Bert final : public QaModel {
 public:
  explicit Bert(const LoadContext& load) : source_(load.folder, "bert.") {
    visit(config_, load.config);
    check_heads(load.config, {"hidden_size", config_.hidden_size},
                {"num_attention_heads", config_.num_attention_heads});
    weights_.layers.resize(config_.num_hidden_layers);
    load_weights(weights_, config_, source_, load);
  }

  void qa_logits(const tensor::RaggedBatch& batch, ForwardContext& context, QaLogits out) const override {
    const std::size_t floats = batch.tokens() * config_.hidden_size;
    const std::span<float> x(context.workspace.floats(kHidden, floats), floats);
    embed({.word = &weights_.word_embeddings,
           .token_type = &weights_.token_type_embeddings,
           .position = &weights_.position_embeddings,
           .norm = &weights_.embedding_norm,
           .epsilon = config_.layer_norm_eps},
          batch, context, x.data());
    const AttentionPlan plan(batch, {.heads = config_.num_attention_heads,
                                     .threads = static_cast<std::size_t>(context.pool.size())});
    const PostNormOptions options{.activation = config_.hidden_act, .epsilon = config_.layer_norm_eps};
    const auto last = forward(weights_.layers, options, plan, context, x, batch.wanted);
    qa_head(weights_.qa_outputs, context, last.data(), out, batch.wanted);
  }

  const std::string& family() const noexcept override { return family_; }
  std::size_t max_positions() const noexcept override { return config_.max_position_embeddings; }
  std::size_t vocab_size() const noexcept override { return config_.vocab_size; }
  std::size_t type_vocab_size() const noexcept override { return config_.type_vocab_size; }
  std::size_t parameters() const noexcept override { return count_parameters(weights_, config_); }
  double multiply_adds(std::size_t tokens) const noexcept override {
    const double layer = post_norm_multiply_adds(config_.hidden_size, config_.intermediate_size, tokens);
    return static_cast<double>(config_.num_hidden_layers) * layer +
           2.0 * static_cast<double>(config_.hidden_size * tokens);
  }

 private:
  std::string family_ = "bert";
  BertConfig config_;
  WeightSource source_;  // keeps the embedding tables mapped
  BertWeights weights_;
};

}  // namespace

std::unique_ptr<const QaModel> load_bert(const LoadContext& context) {
  return std::make_unique<const Bert>(context);
}

}  // namespace kvasir::models
