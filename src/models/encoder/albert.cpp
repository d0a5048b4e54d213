// ALBERT (Lan et al. 2019): AlbertModel of transformers. BERT with narrow embeddings and layers that share
// their weights.
#include "models/post_norm_layer.h"
#include "models/registry.h"

namespace kvasir::models {

namespace {

struct AlbertConfig {
  std::size_t vocab_size = 0;
  std::size_t embedding_size = 128;
  std::size_t hidden_size = 0;
  std::size_t num_hidden_layers = 0;
  std::size_t num_hidden_groups = 1;
  std::size_t inner_group_num = 1;
  std::size_t num_attention_heads = 0;
  std::size_t intermediate_size = 0;
  std::size_t max_position_embeddings = 0;
  std::size_t type_vocab_size = 2;
  kernels::Activation hidden_act = kernels::Activation::kGeluTanh;
  float layer_norm_eps = 1e-12F;
  float hidden_dropout_prob = 0, attention_probs_dropout_prob = 0;
};

template <class Visitor>
void visit(AlbertConfig& c, const Visitor& v) {
  v.required("vocab_size", c.vocab_size, kMaxVocabulary);
  v.optional("embedding_size", c.embedding_size, kMaxWidth);
  v.required("hidden_size", c.hidden_size, kMaxWidth);
  v.required("num_hidden_layers", c.num_hidden_layers, kMaxLayers);
  v.optional("num_hidden_groups", c.num_hidden_groups, c.num_hidden_layers);
  v.optional("inner_group_num", c.inner_group_num, kMaxParts);
  v.required("num_attention_heads", c.num_attention_heads, kMaxWidth);
  v.required("intermediate_size", c.intermediate_size, kMaxWidth);
  v.required("max_position_embeddings", c.max_position_embeddings, kMaxPositions);
  v.optional("type_vocab_size", c.type_vocab_size, kMaxVocabulary);
  v.optional("hidden_act", c.hidden_act);
  v.optional("layer_norm_eps", c.layer_norm_eps);
  v.optional_dropout("hidden_dropout_prob", c.hidden_dropout_prob);
  v.optional_dropout("attention_probs_dropout_prob", c.attention_probs_dropout_prob);
  v.only("position_embedding_type", "absolute");
}

struct AlbertWeights {
  Embedding word_embeddings, position_embeddings, token_type_embeddings;
  LayerNorm embedding_norm;
  Linear embedding_hidden_mapping_in;
  std::vector<std::vector<PostNormLayer>> albert_layer_groups;
};

template <class Weights, class Visitor>
void visit_weights(Weights& w, const AlbertConfig& c, Visitor& v) {
  const Dim embedding{"embedding_size", c.embedding_size}, hidden{"hidden_size", c.hidden_size};
  const Dim intermediate{"intermediate_size", c.intermediate_size};
  const auto table = [&](const char* key, std::size_t rows) { return MatrixShape{{key, rows}, embedding}; };
  v("embeddings.word_embeddings", w.word_embeddings, table("vocab_size", c.vocab_size));
  v("embeddings.position_embeddings", w.position_embeddings,
    table("max_position_embeddings", c.max_position_embeddings));
  v("embeddings.token_type_embeddings", w.token_type_embeddings, table("type_vocab_size", c.type_vocab_size));
  v("embeddings.LayerNorm", w.embedding_norm, embedding);
  v("encoder.embedding_hidden_mapping_in", w.embedding_hidden_mapping_in, MatrixShape{hidden, embedding});
  for (std::size_t g = 0; g < c.num_hidden_groups; ++g) {
    for (std::size_t i = 0; i < c.inner_group_num; ++i) {
      const std::string at =
          "encoder.albert_layer_groups." + std::to_string(g) + ".albert_layers." + std::to_string(i) + ".";
      auto& layer = w.albert_layer_groups[g][i];
      v({at + "attention.query", at + "attention.key", at + "attention.value"}, layer.qkv,
        MatrixShape{hidden, hidden});
      v(at + "attention.dense", layer.attention_output, MatrixShape{hidden, hidden});
      v(at + "attention.LayerNorm", layer.attention_norm, hidden);
      v(at + "ffn", layer.up, MatrixShape{intermediate, hidden});
      v(at + "ffn_output", layer.down, MatrixShape{hidden, intermediate});
      v(at + "full_layer_layer_norm", layer.output_norm, hidden);
    }
  }
}

class Albert final : public Encoder {
 public:
  explicit Albert(AlbertConfig config)
      : Encoder({.family = "albert",
                 .max_positions = config.max_position_embeddings,
                 .vocab_size = config.vocab_size,
                 .type_vocab_size = config.type_vocab_size,
                 .width = config.hidden_size}),
        config_(std::move(config)) {
    for (std::size_t g = 0; g < config_.num_hidden_groups; ++g) {
      weights_.albert_layer_groups.emplace_back(config_.inner_group_num);
    }
  }

  std::span<float> hidden_states(const tensor::RaggedBatch& batch, ForwardContext& context) const override {
    const std::size_t tokens = batch.tokens(), floats = tokens * config_.hidden_size;
    const std::span<float> x(context.floats(kHidden, floats), floats);
    float* embedded = context.floats(kNarrow, tokens * config_.embedding_size);
    embed({.word = &weights_.word_embeddings,
           .token_type = &weights_.token_type_embeddings,
           .position = &weights_.position_embeddings,
           .norm = &weights_.embedding_norm,
           .epsilon = config_.layer_norm_eps,
           .dropout = config_.hidden_dropout_prob},
          batch, context, embedded);
    forward(weights_.embedding_hidden_mapping_in, context, {.x = embedded, .y = x.data(), .rows = tokens});
    const AttentionPlan plan(batch, {.heads = config_.num_attention_heads,
                                     .threads = static_cast<std::size_t>(context.pool.size())});
    const PostNormOptions options{.activation = config_.hidden_act,
                                  .epsilon = config_.layer_norm_eps,
                                  .attention = {.dropout = config_.attention_probs_dropout_prob},
                                  .attention_output_dropout = config_.hidden_dropout_prob};
    std::span<float> out = x;
    for (std::size_t i = 0; i < config_.num_hidden_layers; ++i) {
      const std::size_t group = i * config_.num_hidden_groups / config_.num_hidden_layers;
      const std::span<const PostNormLayer> layers = weights_.albert_layer_groups[group];
      const bool is_last = i + 1 == config_.num_hidden_layers;
      out = forward(layers, options, plan, context, x,
                    is_last ? batch.wanted : std::span<const std::int32_t>());
    }
    return out;
  }

  void visit(WeightVisitor& visitor) override { visit_weights(weights_, config_, visitor); }
  void visit(ConstWeightVisitor& visitor) const override { visit_weights(weights_, config_, visitor); }
  double multiply_adds(std::size_t tokens) const noexcept override {
    const double layer = post_norm_multiply_adds(config_.hidden_size, config_.intermediate_size, tokens);
    return static_cast<double>(config_.num_hidden_layers * config_.inner_group_num) * layer +
           static_cast<double>(config_.embedding_size * config_.hidden_size * tokens);
  }

 private:
  AlbertConfig config_;
  AlbertWeights weights_;
};

std::unique_ptr<Encoder> make_albert(const ConfigReader& reader) {
  AlbertConfig config;
  visit(config, reader);
  check_heads(reader, {"hidden_size", config.hidden_size},
              {"num_attention_heads", config.num_attention_heads});
  return std::make_unique<Albert>(std::move(config));
}

std::unique_ptr<Head> make_albert_classifier(const ConfigReader& config, const EncoderFacts& facts) {
  return make_classifier(config, facts, {.dense = "pooler"});
}

}  // namespace

const EncoderFamily kAlbert{.prefix = "albert.",
                            .encoder = make_albert,
                            .span_head = make_span_head,
                            .classifier = make_albert_classifier};

}  // namespace kvasir::models
