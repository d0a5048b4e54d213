#include "generation/json_constraint.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "kvasir/error.h"

namespace kvasir::generation {

namespace {

constexpr std::size_t kMaxMasks = 64;     // of 16 KiB for a vocabulary of 128,000
constexpr std::size_t kMaxStates = 4096;  // kept from one token to the next, of 1 KiB

}  // namespace

std::shared_ptr<const grammar::JsonGrammar> compile_for(const TokenVocabulary& vocabulary,
                                                        const base::json::value& schema,
                                                        const std::string& origin) {
  const auto has_all = [&](int first, int last) {
    for (int byte = first; byte <= last; ++byte) {
      if (!vocabulary.has_byte(static_cast<std::uint8_t>(byte))) return false;
    }
    return true;
  };
  if (!has_all(0x20, 0x7E) || !has_all('\n', '\n')) {
    throw Error(
        ErrorCode::kUnsupported,
        origin +
            ": the model's tokenizer lacks tokens of single characters, so that JSON cannot be written "
            "with it in every case");
  }
  // A character that has begun with one token must be one that others can end.
  const bool ascii_only = !has_all(0x80, 0xBF) || !has_all(0xC2, 0xF4);
  return std::make_shared<const grammar::JsonGrammar>(
      grammar::compile_json_schema(schema, {.ascii_only = ascii_only}, origin));
}

JsonConstraint::JsonConstraint(std::shared_ptr<const grammar::JsonGrammar> grammar,
                               std::shared_ptr<const TokenVocabulary> vocabulary,
                               std::vector<std::int32_t> eos_token_ids)
    : grammar_(std::move(grammar)),
      vocabulary_(std::move(vocabulary)),
      eos_token_ids_(std::move(eos_token_ids)),
      matcher_(grammar_->grammar, grammar_->root),
      state_(matcher_.start()) {}

bool JsonConstraint::is_end(std::int32_t id) const noexcept {
  return std::find(eos_token_ids_.begin(), eos_token_ids_.end(), id) != eos_token_ids_.end();
}

bool JsonConstraint::allows(std::int32_t id) const {
  if (is_end(id)) return is_complete();
  const std::string_view bytes = vocabulary_->bytes(id);
  grammar::StateId state = bytes.empty() ? grammar::ByteMatcher::kDead : state_;
  for (std::size_t i = 0; i < bytes.size() && state != grammar::ByteMatcher::kDead; ++i) {
    state = matcher_.next(state, static_cast<std::uint8_t>(bytes[i]));
  }
  return state != grammar::ByteMatcher::kDead;
}

void JsonConstraint::accept(std::int32_t id) {
  if (is_end(id)) return;
  for (const char byte : vocabulary_->bytes(id))
    state_ = matcher_.next(state_, static_cast<std::uint8_t>(byte));
  if (matcher_.states() <= kMaxStates) return;
  state_ = matcher_.forget_all_but(state_);
  masks_.clear();
}

// Through the sorted tokens: ahead_[n] is the state after the first n bytes of the current one, so what a
// token has in common with the one before is not looked at again, and a beginning that does not match takes
// all its tokens along.
JsonConstraint::Mask JsonConstraint::find_allowed_tokens() const {
  Mask out((vocabulary_->size() + 63) / 64);
  const auto entries = vocabulary_->sorted();
  ahead_.assign(1, state_);
  std::size_t known = 0;  // bytes of the token before that matched
  for (std::size_t i = 0; i < entries.size();) {
    const std::string_view bytes = vocabulary_->bytes(entries[i].id);
    known = std::min<std::size_t>(known, entries[i].common);
    if (ahead_.size() <= bytes.size()) ahead_.resize(bytes.size() + 1);
    while (known < bytes.size()) {
      const grammar::StateId next = matcher_.next(ahead_[known], static_cast<std::uint8_t>(bytes[known]));
      if (next == grammar::ByteMatcher::kDead) break;
      ahead_[++known] = next;
    }
    if (known == bytes.size()) {
      const auto id = static_cast<std::size_t>(entries[i].id);
      out[id / 64] |= std::uint64_t{1} << (id % 64);
      ++i;
    } else {
      do ++i;
      while (i < entries.size() && entries[i].common > known);
    }
  }
  return out;
}

const JsonConstraint::Mask& JsonConstraint::allowed_tokens() const {
  if (const auto found = masks_.find(state_); found != masks_.end()) return found->second;
  if (masks_.size() >= kMaxMasks) masks_.clear();
  return masks_.emplace(state_, find_allowed_tokens()).first->second;
}

void JsonConstraint::mask(std::span<float> logits) const {
  constexpr float kForbidden = -std::numeric_limits<float>::infinity();
  const Mask& allowed = allowed_tokens();
  std::vector<float> ends;  // the logits of the end tokens, which their bytes do not matter to
  for (const std::int32_t id : eos_token_ids_) {
    const auto at = static_cast<std::size_t>(id);
    ends.push_back(is_complete() && at < logits.size() ? logits[at] : kForbidden);
  }
  for (std::size_t id = 0; id < logits.size(); ++id) {
    if (id >= vocabulary_->size() || (allowed[id / 64] >> (id % 64) & 1) == 0) logits[id] = kForbidden;
  }
  for (std::size_t i = 0; i < ends.size(); ++i) {
    const auto at = static_cast<std::size_t>(eos_token_ids_[i]);
    if (at < logits.size()) logits[at] = ends[i];
  }
}

}  // namespace kvasir::generation
