#include "models/head.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kvasir/error.h"

namespace kvasir::models {

namespace {

constexpr std::size_t kMaxLabels = std::size_t{1} << 16;

class SpanHead final : public Head {
 public:
  SpanHead(Dim width, float dropout) : width_(width), dropout_(dropout) {}

  Rows rows() const noexcept override { return Rows::kTokens; }
  std::size_t columns() const noexcept override { return 2; }
  bool reads_first_tokens_only() const noexcept override { return false; }
  double multiply_adds(std::size_t tokens) const noexcept override {
    return 2.0 * static_cast<double>(width_.size * tokens);
  }
  std::string missing_advice() const override { return missing_span_head(); }

  void outputs(const tensor::RaggedBatch& batch, std::span<float> states, ForwardContext& context,
               std::span<float> out) const override {
    const std::size_t count = states.size() / width_.size;
    const bool all = batch.wanted.empty();
    drop_out(context, {.p = dropout_}, width_.size, states);
    float* logits = all ? out.data() : context.floats(kHeadOut, count * 2);
    forward(qa_outputs_, context, {.x = states.data(), .y = logits, .rows = count});
    if (!all) spread_wanted(batch, {logits, count * 2}, 2, out);
  }

  void visit(WeightVisitor& visitor) override { visit_weights(*this, visitor); }
  void visit(ConstWeightVisitor& visitor) const override { visit_weights(*this, visitor); }

 private:
  template <class Self, class Visitor>
  static void visit_weights(Self& self, Visitor& v) {
    v("qa_outputs", self.qa_outputs_, MatrixShape{{"num_labels", 2}, self.width_});
  }

  Dim width_;
  float dropout_;  // of the states, in training
  Linear qa_outputs_;
};

class Classifier final : public Head {
 public:
  Classifier(const ClassifierLayout& layout, Dim width, Dim labels)
      : layout_(layout), width_(width), labels_(labels) {}

  Rows rows() const noexcept override { return Rows::kSequences; }
  std::size_t columns() const noexcept override { return labels_.size; }
  bool reads_first_tokens_only() const noexcept override { return true; }
  double multiply_adds(std::size_t) const noexcept override {
    const std::size_t dense = layout_.dense == nullptr ? 0 : width_.size;
    return static_cast<double>(width_.size * (dense + labels_.size));
  }
  std::string missing_advice() const override { return missing_classifier(); }

  void outputs(const tensor::RaggedBatch& batch, std::span<float> states, ForwardContext& context,
               std::span<float> out) const override {
    const std::size_t rows = batch.sequences();
    const float* pooled = states.data();
    if (layout_.dense != nullptr) {
      const std::span<float> dense(context.floats(kHeadOut, rows * width_.size), rows * width_.size);
      forward(dense_, context, {.x = pooled, .y = dense.data(), .rows = rows});
      activate(layout_.activation, dense);
      pooled = dense.data();
    }
    forward(output_, context, {.x = pooled, .y = out.data(), .rows = rows});
  }

  void visit(WeightVisitor& visitor) override { visit_weights(*this, visitor); }
  void visit(ConstWeightVisitor& visitor) const override { visit_weights(*this, visitor); }

 private:
  template <class Self, class Visitor>
  static void visit_weights(Self& self, Visitor& v) {
    if (self.layout_.dense != nullptr) {
      v(self.layout_.dense, self.dense_, MatrixShape{self.width_, self.width_});
    }
    v(self.layout_.output, self.output_, MatrixShape{self.labels_, self.width_});
  }

  ClassifierLayout layout_;
  Dim width_, labels_;
  Linear dense_, output_;
};

struct ActivationName {
  const char* name;  // in transformers' ACT2FN
  HeadActivation activation;
};
constexpr ActivationName kActivations[] = {
    {"linear", HeadActivation::kIdentity},   {"tanh", HeadActivation::kTanh},
    {"relu", HeadActivation::kRelu},         {"gelu", HeadActivation::kGelu},
    {"gelu_new", HeadActivation::kGeluTanh}, {"gelu_pytorch_tanh", HeadActivation::kGeluTanh},
    {"silu", HeadActivation::kSilu},         {"swish", HeadActivation::kSilu},
    {"sigmoid", HeadActivation::kSigmoid},
};

float activated(HeadActivation activation, float x) noexcept {
  switch (activation) {
    case HeadActivation::kIdentity:
      return x;
    case HeadActivation::kTanh:
      return std::tanh(x);
    case HeadActivation::kRelu:
      return std::max(x, 0.0F);
    case HeadActivation::kGelu:
      return x / 2 * (1 + std::erf(x / std::numbers::sqrt2_v<float>));
    case HeadActivation::kGeluTanh: {
      constexpr float kSqrt2OverPi = 0.7978845608F;
      return x / 2 * (1 + std::tanh(kSqrt2OverPi * (x + 0.044715F * x * x * x)));
    }
    case HeadActivation::kSilu:
      return x / (1 + std::exp(-x));
    case HeadActivation::kSigmoid:
      return 1 / (1 + std::exp(-x));
  }
  return x;
}

}  // namespace

void activate(HeadActivation activation, std::span<float> x) noexcept {
  for (float& value : x) value = activated(activation, value);
}

HeadActivation head_activation(const ConfigReader& config, const char* key, HeadActivation fallback) {
  if (!config.json().has(key)) return fallback;
  const std::string name = config.json().string(key);
  std::string known;
  for (const ActivationName& row : kActivations) {
    if (name == row.name) return row.activation;
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  throw Error(ErrorCode::kUnsupported,
              config.json().origin() + ": " + key + " " + name + " is not supported; known: " + known);
}

void spread_wanted(const tensor::RaggedBatch& batch, std::span<const float> rows, std::size_t columns,
                   std::span<float> out) {
  if (batch.wanted.empty()) {
    std::ranges::copy(rows, out.begin());
    return;
  }
  std::ranges::fill(out, kUnwantedLogit);
  for (std::size_t i = 0; i < batch.wanted.size(); ++i) {
    std::copy_n(rows.data() + i * columns, columns,
                out.data() + static_cast<std::size_t>(batch.wanted[i]) * columns);
  }
}

std::span<float> mean_of_sequences(const tensor::RaggedBatch& batch, std::size_t width,
                                   std::span<float> states) {
  for (std::size_t s = 0; s < batch.sequences(); ++s) {
    const auto begin = static_cast<std::size_t>(batch.cu_seqlens[s]);
    const auto end = static_cast<std::size_t>(batch.cu_seqlens[s + 1]);
    float* mean =
        states.data() + s * width;  // behind or at the first of the states that are still to be read
    std::copy_n(states.data() + begin * width, width, mean);
    for (std::size_t token = begin + 1; token < end; ++token) {
      const float* state = states.data() + token * width;
      for (std::size_t i = 0; i < width; ++i) mean[i] += state[i];
    }
    for (std::size_t i = 0; i < width; ++i) mean[i] /= static_cast<float>(end - begin);
  }
  return states.first(batch.sequences() * width);
}

std::unique_ptr<Head> make_span_head(const ConfigReader&, const EncoderFacts& facts) {
  return make_span_head_with_dropout(facts, 0);
}

std::unique_ptr<Head> make_span_head_with_dropout(const EncoderFacts& facts, float dropout) {
  return std::make_unique<SpanHead>(Dim{facts.width_key, facts.width}, dropout);
}

std::string missing_span_head() {
  return "this is a pre-trained encoder without a question-answering head; fine-tune it, or choose a model "
         "that "
         "was (often named …-squad)";
}

SpanLogits split_span_logits(std::span<const float> outputs) {
  SpanLogits logits;
  for (std::size_t i = 0; i < outputs.size(); i += 2) {
    logits.start.push_back(outputs[i]);
    logits.end.push_back(outputs[i + 1]);
  }
  return logits;
}

std::size_t num_labels(const ConfigReader& config) {
  const base::JsonObject& json = config.json();
  if (json.has("id2label")) {
    const base::json::object* labels = json.at("id2label").if_object();
    if (labels == nullptr || labels->empty() || labels->size() > kMaxLabels) {
      json.fail("key id2label is not an object with a name for each label");
    }
    return labels->size();
  }
  std::size_t count = 2;
  config.optional("num_labels", count, kMaxLabels);
  return count;
}

std::unique_ptr<Head> make_classifier(const ConfigReader& config, const EncoderFacts& facts,
                                      const ClassifierLayout& layout) {
  return std::make_unique<Classifier>(layout, Dim{facts.width_key, facts.width},
                                      Dim{"labels of id2label", num_labels(config)});
}

std::string missing_classifier() {
  return "this is an encoder without a classification head; choose a cross-encoder or a classifier (its "
         "config.json names …ForSequenceClassification)";
}

}  // namespace kvasir::models
