// MPNet (Song et al. 2020): MPNetModel of transformers. BERT without token types, with RoBERTa's positions,
// and a bias on the scores for the distance of two tokens.
#include <algorithm>
#include <cmath>

#include "models/post_norm_layer.h"
#include "models/registry.h"

namespace kvasir::models {

namespace {

// Not in the config: fixed in the reference.
constexpr std::int32_t kPadTokenId = 1;
constexpr std::size_t kBuckets = 32;
constexpr float kMaxDistance = 128;

struct MPNetConfig {
  std::size_t vocab_size = 0;
  std::size_t hidden_size = 0;
  std::size_t num_hidden_layers = 0;
  std::size_t num_attention_heads = 0;
  std::size_t intermediate_size = 0;
  std::size_t max_position_embeddings = 0;
  std::size_t relative_attention_num_buckets = kBuckets;
  kernels::Activation hidden_act = kernels::Activation::kGelu;
  float layer_norm_eps = 1e-12F;
  float hidden_dropout_prob = 0.1F, attention_probs_dropout_prob = 0.1F;
};

template <class Visitor>
void visit(MPNetConfig& c, const Visitor& v) {
  v.required("vocab_size", c.vocab_size, kMaxVocabulary);
  v.required("hidden_size", c.hidden_size, kMaxWidth);
  v.required("num_hidden_layers", c.num_hidden_layers, kMaxLayers);
  v.required("num_attention_heads", c.num_attention_heads, kMaxWidth);
  v.required("intermediate_size", c.intermediate_size, kMaxWidth);
  v.required("max_position_embeddings", c.max_position_embeddings, kMaxPositions);
  v.optional("relative_attention_num_buckets", c.relative_attention_num_buckets, kMaxPositions);
  v.optional("hidden_act", c.hidden_act);
  v.optional("layer_norm_eps", c.layer_norm_eps);
  v.optional_dropout("hidden_dropout_prob", c.hidden_dropout_prob);
  v.optional_dropout("attention_probs_dropout_prob", c.attention_probs_dropout_prob);
}

struct MPNetWeights {
  Embedding word_embeddings, position_embeddings;
  LayerNorm embedding_norm;
  Embedding relative_attention_bias;  // [buckets, heads]
  std::vector<PostNormLayer> layers;
};

template <class Weights, class Visitor>
void visit_weights(Weights& w, const MPNetConfig& c, Visitor& v) {
  const Dim hidden{"hidden_size", c.hidden_size}, intermediate{"intermediate_size", c.intermediate_size};
  v("embeddings.word_embeddings", w.word_embeddings, MatrixShape{{"vocab_size", c.vocab_size}, hidden});
  v("embeddings.position_embeddings", w.position_embeddings,
    MatrixShape{{"max_position_embeddings", c.max_position_embeddings}, hidden});
  v("embeddings.LayerNorm", w.embedding_norm, hidden);
  v("encoder.relative_attention_bias", w.relative_attention_bias,
    MatrixShape{{"relative_attention_num_buckets", c.relative_attention_num_buckets},
                {"num_attention_heads", c.num_attention_heads}});
  for (std::size_t i = 0; i < c.num_hidden_layers; ++i) {
    const std::string at = "encoder.layer." + std::to_string(i) + ".";
    auto& layer = w.layers[i];
    v({at + "attention.attn.q", at + "attention.attn.k", at + "attention.attn.v"}, layer.qkv,
      MatrixShape{hidden, hidden});
    v(at + "attention.attn.o", layer.attention_output, MatrixShape{hidden, hidden});
    v(at + "attention.LayerNorm", layer.attention_norm, hidden);
    v(at + "intermediate.dense", layer.up, MatrixShape{intermediate, hidden});
    v(at + "output.dense", layer.down, MatrixShape{hidden, intermediate});
    v(at + "output.LayerNorm", layer.output_norm, hidden);
  }
}

// The row of relative_attention_bias for a key that stands so many tokens behind the query (before it:
// negative). Half of the buckets for each side; of those, half for single distances and half on a logarithmic
// scale. In float, as the reference: the last digit decides at the edge of a bucket.
std::size_t bucket(std::ptrdiff_t key_minus_query) {
  constexpr std::size_t kSide = kBuckets / 2, kExact = kSide / 2;
  const auto distance = static_cast<std::size_t>(std::abs(key_minus_query));
  const std::size_t side = key_minus_query > 0 ? kSide : 0;
  if (distance < kExact) return side + distance;
  const float place = std::log(static_cast<float>(distance) / float{kExact}) /
                      static_cast<float>(std::log(double{kMaxDistance} / kExact)) * float{kSide - kExact};
  return side + std::min(kSide - 1, kExact + static_cast<std::size_t>(place));
}

// The same for all layers and sequences: per head one array of distances, which the kernel reads one place
// further left for each query.
class DistanceBias final : public ScoreBias {
 public:
  DistanceBias(const Embedding& table, std::size_t longest, ForwardContext& context)
      : longest_(longest),
        distances_(2 * longest - 1),
        heads_(static_cast<std::size_t>(table.table.shape[1])) {
    std::vector<std::int32_t> buckets(distances_);
    for (std::size_t d = 0; d < distances_; ++d) {
      const auto distance = static_cast<std::ptrdiff_t>(d) - static_cast<std::ptrdiff_t>(longest_ - 1);
      buckets[d] = static_cast<std::int32_t>(bucket(distance));
    }
    float* bias = context.floats(kPositions, heads_ * distances_);
    look_up(context, {.table = &table, .rows = buckets, .y = bias, .by_columns = true});
    bias_ = bias;
  }

  std::size_t scratch_size(const AttentionTask&) const noexcept override { return 0; }
  Rows rows(const AttentionTask& task, const AttentionBuffers&, float*) const noexcept override {
    return {.data = bias_ + place(task), .stride = -1};
  }

  void add_gradients(const AttentionTask& task, const AttentionBuffers&,
                     const Gradients& gradients) const override {
    float* sums = gradients.gradient(bias_) + place(task);
    for (std::size_t i = 0; i < task.queries; ++i, --sums) {
      const float* row = gradients.scores + i * gradients.stride;
      for (std::size_t j = 0; j < task.keys; ++j) sums[j] += row[j];
    }
  }
  std::vector<std::span<const float>> parameters() const override { return {{bias_, heads_ * distances_}}; }

 private:
  // Of query 0 and key 0.
  std::size_t place(const AttentionTask& task) const noexcept {
    return task.head * distances_ + longest_ - 1 - task.query_offset();
  }

  std::size_t longest_, distances_, heads_;
  const float* bias_;  // [heads, distances]
};

class MPNet final : public Encoder {
 public:
  explicit MPNet(MPNetConfig config)
      : Encoder({.family = "mpnet",
                 .max_positions = config.max_position_embeddings - kPadTokenId - 1,
                 .vocab_size = config.vocab_size,
                 .type_vocab_size = 0,
                 .width = config.hidden_size}),
        config_(std::move(config)) {
    weights_.layers.resize(config_.num_hidden_layers);
  }

  std::span<float> hidden_states(const tensor::RaggedBatch& batch, ForwardContext& context) const override {
    const std::size_t floats = batch.tokens() * config_.hidden_size;
    const std::span<float> x(context.floats(kHidden, floats), floats);
    embed({.word = &weights_.word_embeddings,
           .position = &weights_.position_embeddings,
           .norm = &weights_.embedding_norm,
           .epsilon = config_.layer_norm_eps,
           .dropout = config_.hidden_dropout_prob,
           .pad_id = kPadTokenId},
          batch, context, x.data());
    const AttentionPlan plan(batch, {.heads = config_.num_attention_heads,
                                     .threads = static_cast<std::size_t>(context.pool.size())});
    const auto bias =
        std::make_shared<DistanceBias>(weights_.relative_attention_bias, longest(batch), context);
    const PostNormOptions options{
        .activation = config_.hidden_act,
        .epsilon = config_.layer_norm_eps,
        .attention = {.bias = bias, .dropout = config_.attention_probs_dropout_prob},
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
  MPNetConfig config_;
  MPNetWeights weights_;
};

std::unique_ptr<Encoder> make_mpnet(const ConfigReader& reader) {
  MPNetConfig config;
  visit(config, reader);
  check_heads(reader, {"hidden_size", config.hidden_size},
              {"num_attention_heads", config.num_attention_heads});
  check_at_least(reader, {"relative_attention_num_buckets", config.relative_attention_num_buckets}, kBuckets);
  check_at_least(reader, {"max_position_embeddings", config.max_position_embeddings}, kPadTokenId + 2);
  return std::make_unique<MPNet>(std::move(config));
}

std::unique_ptr<Head> make_mpnet_classifier(const ConfigReader& config, const EncoderFacts& facts) {
  return make_classifier(config, facts, {.dense = "classifier.dense", .output = "classifier.out_proj"});
}

}  // namespace

const EncoderFamily kMPNet{.prefix = "mpnet.",
                           .encoder = make_mpnet,
                           .span_head = make_span_head,
                           .classifier = make_mpnet_classifier,
                           .pad_token_id = 1};

}  // namespace kvasir::models
