// Keeps an output to a JSON schema: whatever is chosen of what it allows, the text becomes valid JSON that
// the schema allows, and may end only there.
//
//   auto vocabulary = std::make_shared<const TokenVocabulary>(tokenizer);              // once for a model
//   auto grammar = compile_for(*vocabulary, schema, "the request's schema");           // once for a schema
//   JsonConstraint constraint(grammar, vocabulary, {eos});                             // for each sequence
//   const auto token = sampler.sample(logits, &constraint);
//   constraint.accept(token.id);
//
// A copy goes on by itself.
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

// The grammar of a schema with what the vocabulary can write. Throws as compile_json_schema, and kUnsupported
// if it lacks tokens of the single characters that JSON is made of.
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
  // Nothing has been accepted. (What was found out of the grammar stays, so that to accept the same again
  // takes 2 ns a byte.)
  void restart() noexcept { state_ = matcher_.start(); }

  bool is_complete() const noexcept { return matcher_.complete(state_); }  // the text may end here
  // Nothing but an end may follow: the caller need not run the model to know.
  bool must_end() const noexcept { return is_complete() && !matcher_.can_go_on(state_); }

 private:
  using Mask = std::vector<std::uint64_t>;  // a bit for each id
  bool is_end(std::int32_t id) const noexcept;
  const Mask& allowed_tokens() const;
  Mask find_allowed_tokens() const;

  std::shared_ptr<const grammar::JsonGrammar> grammar_;
  std::shared_ptr<const TokenVocabulary> vocabulary_;
  std::vector<std::int32_t> eos_token_ids_;
  mutable grammar::ByteMatcher matcher_;  // looking ahead adds states
  grammar::StateId state_;
  mutable std::vector<grammar::StateId> ahead_;
  // Of states that were met: a text inside a string is in the same one again and again.
  mutable std::map<grammar::StateId, Mask> masks_;
};

}  // namespace kvasir::generation
