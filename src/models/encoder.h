// An encoder: it takes token ids and returns a hidden state for each token. One file per family under
// encoder/. Heads (models/head.h) turn hidden states into results.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "models/forward_context.h"
#include "models/weight_visitor.h"
#include "tensor/ragged_batch.h"

namespace kvasir::models {

struct EncoderFacts {
  std::string family;                     // config.json's model_type
  std::size_t max_positions = 0;          // longest sequence, tokens
  std::size_t vocab_size = 0;             // token ids are in [0, vocab_size)
  std::size_t type_vocab_size = 0;        // 0: the family has no token types, and they are ignored
  std::size_t width = 0;                  // of a hidden state
  const char* width_key = "hidden_size";  // of config.json
};

class Encoder {
 public:
  explicit Encoder(EncoderFacts facts) : facts_(std::move(facts)) {}
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;
  virtual ~Encoder() = default;

  const EncoderFacts& facts() const noexcept { return facts_; }

  // The hidden states of the batch's wanted tokens, [wanted, width], or of all tokens. They are in the
  // workspace and valid until its next pass. Preconditions (the engine checks them): ids and token types are
  // in their vocabularies, every sequence has 1 to max_positions tokens, key lengths are in [1, length].
  virtual std::span<float> hidden_states(const tensor::RaggedBatch& batch, ForwardContext& context) const = 0;

  // Multiply-adds of all hidden states of one sequence (matrix products and attention), to compare speed with
  // the machine's ceiling.
  virtual double multiply_adds(std::size_t tokens) const noexcept = 0;

  // Visits every weight, in the order of the model.
  virtual void visit(WeightVisitor& visitor) = 0;
  virtual void visit(ConstWeightVisitor& visitor) const = 0;

  // Called once after the weights were loaded: computes what depends only on them.
  virtual void finish_loading(ForwardContext& context);

 private:
  EncoderFacts facts_;
};

inline void Encoder::finish_loading(ForwardContext&) {}

}  // namespace kvasir::models
