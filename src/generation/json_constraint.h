// Restricts an output to a JSON schema: whichever of the allowed tokens are chosen, the text is a beginning
// of JSON that the schema allows, and may end only when the JSON is complete.
//
//   auto vocabulary = std::make_shared<const TokenVocabulary>(tokenizer);              // once for a model
//   auto grammar = compile_for(*vocabulary, schema, "the request's schema");           // once for a schema
//   JsonConstraint constraint(grammar, vocabulary, {eos});                             // for each sequence
//   const auto token = sampler.sample(logits, &constraint);
//   constraint.accept(token.id);
//
// Copies are independent.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "generation/token_constraint.h"
#include "generation/token_vocabulary.h"
#include "grammar/byte_matcher.h"
#include "grammar/json_schema.h"

namespace kvasir::generation {

// The grammar of a schema, limited to what the vocabulary can write. Throws as compile_json_schema, and
// kUnsupported if the vocabulary lacks tokens for the single characters of JSON.
std::shared_ptr<const grammar::JsonGrammar> compile_for(const TokenVocabulary& vocabulary,
                                                        const base::json::value& schema,
                                                        const std::string& origin);

class JsonConstraint : public TokenConstraint {
 public:
  JsonConstraint(std::shared_ptr<const grammar::JsonGrammar> grammar,
                 std::shared_ptr<const TokenVocabulary> vocabulary, std::vector<std::int32_t> eos_token_ids);

  bool allows(std::int32_t id) const override;
  void mask(std::span<float> logits) const override;
  void accept(std::int32_t id) override;
  // Back to the state in which nothing has been accepted. (Known states of the grammar are kept, so that
  // accepting the same text again takes 2 ns per byte.)
  void restart() noexcept { state_ = matcher_.start(); }

  bool is_complete() const noexcept { return matcher_.complete(state_); }  // the text may end here
  // Whether only an end token may follow, so that the caller need not run the model.
  bool must_end() const noexcept { return is_complete() && !matcher_.can_go_on(state_); }

 private:
  using Mask = std::vector<std::uint64_t>;  // a bit for each id
  bool is_end(std::int32_t id) const noexcept;
  const Mask& allowed_tokens() const;
  Mask find_allowed_tokens() const;

  std::shared_ptr<const grammar::JsonGrammar> grammar_;
  std::shared_ptr<const TokenVocabulary> vocabulary_;
  std::vector<std::int32_t> eos_token_ids_;
  mutable grammar::ByteMatcher matcher_;  // mutable because looking ahead adds states
  grammar::StateId state_;
  mutable std::vector<grammar::StateId> ahead_;
  // Masks of earlier states: a text inside a string is in the same state again and again.
  mutable std::map<grammar::StateId, Mask> masks_;
};

}  // namespace kvasir::generation
