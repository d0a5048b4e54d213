// A head: what an encoder's hidden states become. Logits of answer spans, logits of labels, or a vector for
// the whole text.
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
  // Whether it reads no hidden state but that of each sequence's first token.
  virtual bool reads_first_tokens_only() const noexcept = 0;

  // states: what Encoder::hidden_states returned for this batch; may be overwritten. out: [rows, columns];
  // rows of tokens that are not wanted get kUnwantedLogit.
  virtual void outputs(const tensor::RaggedBatch& batch, std::span<float> states, ForwardContext& context,
                       std::span<float> out) const = 0;

  // As Encoder's.
  virtual double multiply_adds(std::size_t tokens) const noexcept = 0;
  virtual void visit(WeightVisitor& visitor) = 0;
  virtual void visit(ConstWeightVisitor& visitor) const = 0;

  // What a folder lacks that has the encoder's weights alone, and what to do about it; for an error.
  virtual std::string missing_advice() const = 0;
};

// In place of a logit that nobody wants (RaggedBatch::wanted): finite, because logits are checked for that.
inline constexpr float kUnwantedLogit = -10000;
// Sets all rows of out [tokens, columns] to kUnwantedLogit but those of the wanted tokens, which it takes
// from `rows` [wanted, columns]. None wanted: all are.
void spread_wanted(const tensor::RaggedBatch& batch, std::span<const float> rows, std::size_t columns,
                   std::span<float> out);

// The mean of each sequence's states [tokens, width], written over the first of them; returns [sequences,
// width].
std::span<float> mean_of_sequences(const tensor::RaggedBatch& batch, std::size_t width,
                                   std::span<float> states);

// Extractive question answering: the logits of an answer that starts, and of one that ends, at each token.
// The Linear "qa_outputs" of most families. columns: start, end.
std::unique_ptr<Head> make_span_head(const ConfigReader& config, const EncoderFacts& facts);
std::string missing_span_head();
// Its outputs [tokens, 2], column by column.
struct SpanLogits {
  std::vector<float> start, end;  // [tokens]
};
SpanLogits split_span_logits(std::span<const float> outputs);

// What follows the dense layer of a classifier. There is one row for each sequence, so plain loops will do.
enum class HeadActivation { kIdentity, kTanh, kRelu, kGelu, kGeluTanh, kSilu, kSigmoid };
void activate(HeadActivation activation, std::span<float> x) noexcept;
// As config.json's hidden_act and its kin name them. Throws kUnsupported.
HeadActivation head_activation(const ConfigReader& config, const char* key, HeadActivation fallback);

// *ForSequenceClassification: the first token's state through a dense layer, then a logit for each label.
struct ClassifierLayout {
  const char* dense = nullptr;  // its name; null: none
  HeadActivation activation = HeadActivation::kTanh;
  const char* output = "classifier";
};
std::unique_ptr<Head> make_classifier(const ConfigReader& config, const EncoderFacts& facts,
                                      const ClassifierLayout& layout);
// Labels of a classifier: of id2label, else num_labels, else 2 as in transformers.
std::size_t num_labels(const ConfigReader& config);
std::string missing_classifier();

}  // namespace kvasir::models
