// DistilBERT (Sanh et al. 2019) with a question-answering head: DistilBertForQuestionAnswering of
// transformers. BERT without token types, under other names.
#include "models/post_norm_layer.h"
#include "models/registry.h"
#include "models/weights.h"

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
}

struct DistilBertWeights {
  Embedding word_embeddings, position_embeddings;
  LayerNorm embedding_norm;
  std::vector<PostNormLayer> layers;
  Linear qa_outputs;
};

template <class Weights, class Visitor>
void visit(Weights& w, const DistilBertConfig& c, Visitor&& v) {
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
    v({at + "attention.out_lin"}, layer.attention_output, MatrixShape{dim, dim});
    v(at + "sa_layer_norm", layer.attention_norm, dim);
    v({at + "ffn.lin1"}, layer.up, MatrixShape{hidden_dim, dim});
    v({at + "ffn.lin2"}, layer.down, MatrixShape{dim, hidden_dim});
    v(at + "output_layer_norm", layer.output_norm, dim);
  }
  v({std::string("qa_outputs")}, w.qa_outputs, MatrixShape{{"num_labels", 2}, dim});
}

class DistilBert final : public QaModel {
 public:
  explicit DistilBert(const LoadContext& load) : source_(load.folder, "distilbert.") {
    visit(config_, load.config);
    check_heads(load.config, {"dim", config_.dim}, {"n_heads", config_.n_heads});
    weights_.layers.resize(config_.n_layers);
    load_weights(weights_, config_, source_, load);
  }

  void qa_logits(const tensor::RaggedBatch& batch, ForwardContext& context, QaLogits out) const override {
    const std::size_t floats = batch.tokens() * config_.dim;
    const std::span<float> x(context.workspace.floats(kHidden, floats), floats);
    embed({.word = &weights_.word_embeddings,
           .position = &weights_.position_embeddings,
           .norm = &weights_.embedding_norm,
           .epsilon = kEpsilon},
          batch, context, x.data());
    const AttentionPlan plan(
        batch, {.heads = config_.n_heads, .threads = static_cast<std::size_t>(context.pool.size())});
    const PostNormOptions options{.activation = config_.activation, .epsilon = kEpsilon};
    const auto last = forward(weights_.layers, options, plan, context, x, batch.wanted);
    qa_head(weights_.qa_outputs, context, last.data(), out, batch.wanted);
  }

  const std::string& family() const noexcept override { return family_; }
  std::size_t max_positions() const noexcept override { return config_.max_position_embeddings; }
  std::size_t vocab_size() const noexcept override { return config_.vocab_size; }
  std::size_t type_vocab_size() const noexcept override { return 0; }
  std::size_t parameters() const noexcept override { return count_parameters(weights_, config_); }
  double multiply_adds(std::size_t tokens) const noexcept override {
    return static_cast<double>(config_.n_layers) *
               post_norm_multiply_adds(config_.dim, config_.hidden_dim, tokens) +
           2.0 * static_cast<double>(config_.dim * tokens);
  }

 private:
  std::string family_ = "distilbert";
  DistilBertConfig config_;
  WeightSource source_;  // keeps the embedding tables mapped
  DistilBertWeights weights_;
};

}  // namespace

std::unique_ptr<const QaModel> load_distilbert(const LoadContext& context) {
  return std::make_unique<const DistilBert>(context);
}

}  // namespace kvasir::models
