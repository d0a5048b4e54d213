#include "runtime/json_constraint.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "kvasir/error.h"

namespace kvasir::runtime {

namespace {

constexpr std::size_t kMaxMasks = 64;  // of 16 KiB for a vocabulary of 128,000

}  // namespace

std::shared_ptr<const JsonGrammar> compile_for(const TokenVocabulary& vocabulary,
                                               const base::json::value& schema, const std::string& origin) {
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
  return std::make_shared<const JsonGrammar>(compile_json_schema(schema, {.ascii_only = ascii_only}, origin));
}

JsonConstraint::JsonConstraint(std::shared_ptr<const JsonGrammar> grammar,
                               std::shared_ptr<const TokenVocabulary> vocabulary,
                               std::vector<std::int32_t> eos_token_ids)
    : grammar_(std::move(grammar)),
      vocabulary_(std::move(vocabulary)),
      eos_token_ids_(std::move(eos_token_ids)),
      matcher_(grammar_->grammar, grammar_->root),
      ahead_(1) {}

bool JsonConstraint::ThreadLess::operator()(const std::vector<ByteMatcher::Thread>& a,
                                            const std::vector<ByteMatcher::Thread>& b) const {
  const auto key = [](const ByteMatcher::Thread& t) { return std::tuple(t.node, t.offset, t.next); };
  return std::lexicographical_compare(
      a.begin(), a.end(), b.begin(), b.end(),
      [&](const ByteMatcher::Thread& x, const ByteMatcher::Thread& y) { return key(x) < key(y); });
}

bool JsonConstraint::is_end(std::int32_t id) const noexcept {
  return std::find(eos_token_ids_.begin(), eos_token_ids_.end(), id) != eos_token_ids_.end();
}

bool JsonConstraint::allows(std::int32_t id) const {
  if (is_end(id)) return is_complete();
  const std::string_view bytes = vocabulary_->bytes(id);
  if (bytes.empty()) return false;
  const std::size_t mark = matcher_.mark();
  ahead_.resize(std::max<std::size_t>(ahead_.size(), 2));
  const ByteMatcher::State* state = &matcher_.state();
  for (std::size_t i = 0; i < bytes.size() && !state->dead(); ++i) {
    ByteMatcher::State& next = ahead_[i % 2];
    matcher_.step(*state, static_cast<std::uint8_t>(bytes[i]), next);
    state = &next;
  }
  const bool allowed = !state->dead();
  matcher_.release(mark);
  return allowed;
}

void JsonConstraint::accept(std::int32_t id) {
  if (is_end(id)) return;
  for (const char byte : vocabulary_->bytes(id)) matcher_.advance(static_cast<std::uint8_t>(byte));
}

// Through the sorted tokens: ahead_[n] is the state after the first n bytes of the current one, so what a
// token has in common with the one before is not looked at again, and a beginning that does not match takes
// all its tokens along.
JsonConstraint::Mask JsonConstraint::find_allowed_tokens() const {
  Mask out((vocabulary_->size() + 63) / 64);
  const std::size_t mark = matcher_.mark();
  const auto entries = vocabulary_->sorted();
  ahead_[0] = matcher_.state();
  std::size_t known = 0;  // bytes of the token before that matched
  for (std::size_t i = 0; i < entries.size();) {
    const std::string_view bytes = vocabulary_->bytes(entries[i].id);
    known = std::min<std::size_t>(known, entries[i].common);
    if (ahead_.size() <= bytes.size()) ahead_.resize(bytes.size() + 1);
    bool matches = true;
    while (known < bytes.size()) {
      matcher_.step(ahead_[known], static_cast<std::uint8_t>(bytes[known]), ahead_[known + 1]);
      if (ahead_[known + 1].dead()) {
        matches = false;
        break;
      }
      ++known;
    }
    if (matches) {
      const auto id = static_cast<std::size_t>(entries[i].id);
      out[id / 64] |= std::uint64_t{1} << (id % 64);
      ++i;
    } else {
      do ++i;
      while (i < entries.size() && entries[i].common > known);
    }
  }
  matcher_.release(mark);
  return out;
}

const JsonConstraint::Mask& JsonConstraint::allowed_tokens() const {
  const auto& threads = matcher_.state().threads;
  if (const auto found = masks_.find(threads); found != masks_.end()) return found->second;
  if (masks_.size() >= kMaxMasks) masks_.clear();
  return masks_.emplace(threads, find_allowed_tokens()).first->second;
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

}  // namespace kvasir::runtime
