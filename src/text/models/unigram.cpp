#include "text/models/unigram.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "base/utf8.h"
#include "kvasir/error.h"

namespace kvasir::text {

namespace {

// Of SentencePiece: how much worse than the worst token an unknown character is.
constexpr double kUnknownPenalty = 10.0;

std::vector<Trie::Entry> trie_entries(const Vocabulary& vocabulary) {
  std::vector<Trie::Entry> entries;
  entries.reserve(vocabulary.size());
  for (std::int32_t id = 0; id < vocabulary.end_id(); ++id) {
    if (const std::string_view token = vocabulary.token(id); !token.empty()) entries.push_back({token, id});
  }
  return entries;
}

std::string fallback_token(std::uint8_t byte) {
  constexpr const char* kDigits = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

}  // namespace

Unigram::Unigram(Vocabulary vocabulary, std::vector<double> scores, const UnigramOptions& options,
                 const std::string& origin)
    : vocabulary_(std::move(vocabulary)),
      scores_(std::move(scores)),
      options_(options),
      origin_(origin),
      trie_(trie_entries(vocabulary_)) {
  if (scores_.size() != static_cast<std::size_t>(vocabulary_.end_id())) {
    throw Error(ErrorCode::kFormat, origin + ": there are " + std::to_string(vocabulary_.end_id()) +
                                        " tokens and " + std::to_string(scores_.size()) + " scores");
  }
  if (options_.unk_id && (*options_.unk_id < 0 || *options_.unk_id >= vocabulary_.end_id())) {
    throw Error(ErrorCode::kFormat, origin + ": unk_id " + std::to_string(*options_.unk_id) +
                                        " is not one of the " + std::to_string(vocabulary_.end_id()) +
                                        " tokens");
  }
  double lowest = std::numeric_limits<double>::infinity();
  for (const double score : scores_) {
    if (!std::isfinite(score)) throw Error(ErrorCode::kFormat, origin + ": a score is not a finite number");
    lowest = std::min(lowest, score);
  }
  unk_score_ = lowest - kUnknownPenalty;
}

void Unigram::find_best(std::string_view word, Best* best) const {
  std::fill(best, best + word.size() + 1, Best{0, kNoToken, kNowhere});
  std::size_t at = 0;
  while (at < word.size()) {
    const double score = best[at].score;
    const std::size_t length = base::decode_utf8(word, at).length;
    bool has_character = false;
    const auto offer = [&](std::size_t size, double candidate, std::int32_t id) {
      Best& end = best[at + size];
      if (end.begin == kNowhere || candidate > end.score) {
        end = {candidate, id, static_cast<std::uint32_t>(at)};
      }
    };
    trie_.find_prefixes(word.substr(at), [&](std::size_t size, std::int32_t id) {
      offer(size, scores_[static_cast<std::size_t>(id)] + score, id);
      has_character = has_character || size == length;
    });
    if (!has_character) offer(length, unk_score_ + score, options_.unk_id.value_or(kNoToken));
    at += length;
  }
}

void Unigram::tokenize(std::string_view word, std::vector<WordToken>& tokens) const {
  std::array<Best, 96> few;
  std::vector<Best> many;
  if (word.size() >= few.size()) many.resize(word.size() + 1);
  Best* const best = many.empty() ? few.data() : many.data();
  find_best(word, best);

  const std::size_t first = tokens.size();
  const std::int32_t unknown = options_.unk_id.value_or(kNoToken);
  for (auto end = static_cast<std::uint32_t>(word.size()); end > 0;) {
    std::uint32_t begin = best[end].begin;
    const std::int32_t id = best[end].id;
    if (id != unknown) {
      tokens.push_back({id, begin, end});
    } else {
      while (begin > 0 && best[begin].id == unknown) begin = best[begin].begin;
      add_unknown(word, begin, end, tokens);
    }
    end = begin;
  }
  std::reverse(tokens.begin() + static_cast<std::ptrdiff_t>(first), tokens.end());
}

// Tokens from back to front.
void Unigram::add_unknown(std::string_view word, std::uint32_t begin, std::uint32_t end,
                          std::vector<WordToken>& tokens) const {
  const std::string_view text = word.substr(begin, end - begin);
  if (const std::int32_t id = vocabulary_.find(text); id != kNoToken) {
    tokens.push_back({id, begin, end});
    return;
  }
  if (options_.byte_fallback) {
    const std::size_t first = tokens.size();
    for (std::size_t i = text.size(); i-- > 0;) {
      const std::int32_t id = vocabulary_.find(fallback_token(static_cast<std::uint8_t>(text[i])));
      if (id == kNoToken) break;
      tokens.push_back({id, begin, end});  // as the reference: each has the span of all
    }
    if (tokens.size() - first == text.size()) return;
    tokens.resize(first, {});
  }
  if (!options_.unk_id) {
    throw Error(ErrorCode::kFormat, origin_ +
                                        ": the text has a character that is not in the vocabulary, and "
                                        "there is no unknown token (unk_id is null)");
  }
  tokens.push_back({*options_.unk_id, begin, end});
}

}  // namespace kvasir::text
