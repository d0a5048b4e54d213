// A head turns an encoder's hidden states into results: logits of answer spans, logits of labels, or a vector
// for the whole text.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/config.h"
#include "models/encoder.h"

namespace kvasir::models {

class Head {
 public:
  Head() = default;
  Head(const Head&) = delete;
  Head& operator=(const Head&) = delete;
  virtual ~Head() = default;

  // `columns` numbers for each token of the batch, or for each sequence.
  enum class Rows { kTokens, kSequences };
  virtual Rows rows() const noexcept = 0;
  virtual std::size_t columns() const noexcept = 0;
  // Whether it reads only the hidden state of each sequence's first token.
  virtual bool reads_first_tokens_only() const noexcept = 0;

  // states: the result of Encoder::hidden_states for this batch; may be overwritten. out: [rows, columns];
  // rows of tokens that are not wanted get kUnwantedLogit.
  virtual void outputs(const tensor::RaggedBatch& batch, std::span<float> states, ForwardContext& context,
                       std::span<float> out) const = 0;

  // As Encoder's.
  virtual double multiply_adds(std::size_t tokens) const noexcept = 0;
  virtual void visit(WeightVisitor& visitor) = 0;
  virtual void visit(ConstWeightVisitor& visitor) const = 0;

  // For errors: what is missing in a folder that has only the encoder's weights, and what to do about it.
  virtual std::string missing_advice() const = 0;
};

// The logit of tokens that are not wanted (RaggedBatch::wanted). Finite, because logits are checked to be.
inline constexpr float kUnwantedLogit = -10000;
// Copies `rows` [wanted, columns] to the rows of the wanted tokens in out [tokens, columns], and sets the
// other rows to kUnwantedLogit. If batch.wanted is empty, all tokens are wanted.
void spread_wanted(const tensor::RaggedBatch& batch, std::span<const float> rows, std::size_t columns,
                   std::span<float> out);

// The mean of each sequence's states [tokens, width], written over the first of them; returns [sequences,
// width].
std::span<float> mean_of_sequences(const tensor::RaggedBatch& batch, std::size_t width,
                                   std::span<float> states);

// Extractive question answering: the logits of an answer that starts, and of one that ends, at each token.
// The Linear "qa_outputs" of most families. columns: start, end.
std::unique_ptr<Head> make_span_head(const ConfigReader& config, const EncoderFacts& facts);
std::unique_ptr<Head> make_span_head_with_dropout(const EncoderFacts& facts, float dropout);
std::string missing_span_head();
// Its outputs [tokens, 2], column by column.
struct SpanLogits {
  std::vector<float> start, end;  // [tokens]
};
SpanLogits split_span_logits(std::span<const float> outputs);

// The activation after the dense layer of a classifier. Plain loops suffice for one row per sequence.
enum class HeadActivation { kIdentity, kTanh, kRelu, kGelu, kGeluTanh, kSilu, kSigmoid };
void activate(HeadActivation activation, std::span<float> x) noexcept;
// By its name in config.json's hidden_act and similar keys. Throws kUnsupported.
HeadActivation head_activation(const ConfigReader& config, const char* key, HeadActivation fallback);

// *ForSequenceClassification: the first token's state through a dense layer, then a logit for each label.
struct ClassifierLayout {
  const char* dense = nullptr;  // its name; null: no dense layer
  HeadActivation activation = HeadActivation::kTanh;
  const char* output = "classifier";
};
std::unique_ptr<Head> make_classifier(const ConfigReader& config, const EncoderFacts& facts,
                                      const ClassifierLayout& layout);
// Labels of a classifier: of id2label, else num_labels, else 2 as in transformers.
std::size_t num_labels(const ConfigReader& config);
std::string missing_classifier();

}  // namespace kvasir::models
