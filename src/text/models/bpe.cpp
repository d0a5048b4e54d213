#include "text/models/bpe.h"

#include <algorithm>
#include <bit>
#include <queue>

#include "base/utf8.h"
#include "kvasir/error.h"
#include "text/byte_level.h"

namespace kvasir::text {

namespace {

constexpr std::string_view kSpaceMark = "\u2581";  // "▁"
// Up to here, looking at all pairs for each merge is faster than keeping them in order.
constexpr std::size_t kFew = 48;

bool starts_with_mark(std::string_view text, std::size_t at) noexcept {
  return text.compare(at, kSpaceMark.size(), kSpaceMark) == 0;
}

// Where the next "▁" after another character is, from `at` on; the end if there is none.
std::size_t next_word(std::string_view text, std::size_t at) noexcept {
  bool after_mark = true;  // of the text's begin or of the "▁" that begins this word
  while (at < text.size()) {
    if (starts_with_mark(text, at)) {
      if (!after_mark) return at;
      at += kSpaceMark.size();
    } else {
      after_mark = false;
      const std::size_t mark = text.find(kSpaceMark.front(), at + 1);
      if (mark == std::string_view::npos) return text.size();
      at = mark;
    }
  }
  return text.size();
}

std::string fallback_token(unsigned byte) {
  constexpr const char* kDigits = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

}  // namespace

Bpe::Bpe(Vocabulary vocabulary, const MergeList& merges, const BpeOptions& options, const std::string& origin)
    : vocabulary_(std::move(vocabulary)),
      options_(options),
      origin_(origin),
      plain_(options.continuing_subword_prefix.empty() && options.end_of_word_suffix.empty()),
      whole_(static_cast<std::size_t>(vocabulary_.end_id())) {
  if (options_.unk_token) unk_id_ = vocabulary_.find(*options_.unk_token);
  for (unsigned byte = 0; byte < 256; ++byte) fallback_[byte] = vocabulary_.find(fallback_token(byte));
  add_merges(merges, origin);
  prepare_bytes();
}

void Bpe::add_merges(const MergeList& merges, const std::string& origin) {
  const std::size_t slots = std::bit_ceil(std::max<std::size_t>(merges.size() * 2, 16));
  slots_.resize(slots);
  mask_ = slots - 1;
  shift_ = 64 - std::countr_zero(slots);
  // Where a character can vanish, all offsets after it depend on it.
  const bool can_vanish =
      !options_.unk_token &&
      (!options_.byte_fallback || std::find(fallback_.begin(), fallback_.end(), kNoToken) != fallback_.end());
  separates_words_ = plain_ && !can_vanish && vocabulary_.find(kSpaceMark) != kNoToken;
  const std::size_t prefix = options_.continuing_subword_prefix.size();
  std::string merged;
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const std::string_view left = merges.left(i), right = merges.right(i);
    const auto id_of = [&](std::string_view token) {
      const std::int32_t id = vocabulary_.find(token);
      if (id == kNoToken) {
        throw Error(ErrorCode::kFormat, origin + ": merges[" + std::to_string(i) + "]: token \"" +
                                            std::string(token) + "\" is not in the vocabulary");
      }
      return id;
    };
    const std::int32_t left_id = id_of(left), right_id = id_of(right);
    merged.assign(left).append(right.substr(std::min(prefix, right.size())));
    const Merge merge{merges.rank(i), id_of(merged)};
    if (next_word(merged, 0) != merged.size()) separates_words_ = false;
    const std::uint64_t pair = static_cast<std::uint64_t>(static_cast<std::uint32_t>(left_id)) << 32 |
                               static_cast<std::uint32_t>(right_id);
    std::size_t at = (pair * 0x9E3779B97F4A7C15) >> shift_;
    while (slots_[at].pair != kFree && slots_[at].pair != pair) at = (at + 1) & mask_;
    slots_[at] = {pair, merge};  // of a pair that is listed twice, the last counts, as in the reference
  }
}

void Bpe::prepare_bytes() {
  if (!plain_ || options_.byte_fallback) return;
  for (unsigned byte = 0; byte < 256; ++byte) {
    byte_tokens_[byte] = vocabulary_.find(byte_level::character(static_cast<std::uint8_t>(byte)));
    if (byte_tokens_[byte] == kNoToken) return;
  }
  VocabularyList words;
  for (std::int32_t id = 0; id < vocabulary_.end_id(); ++id) {
    const auto bytes = byte_level::bytes_of(vocabulary_.token(id));
    if (bytes && !bytes->empty()) words.add(*bytes, id);
  }
  byte_words_ = std::make_unique<Vocabulary>(std::move(words), Vocabulary::Repeated::kError, origin_);
}

void Bpe::tokenize(std::string_view word, std::vector<WordToken>& tokens) const {
  if (options_.ignore_merges) {
    if (const std::int32_t id = vocabulary_.find(word); id != kNoToken) {
      tokens.push_back({id, 0, static_cast<std::uint32_t>(word.size())});
      return;
    }
  }
  std::uint32_t position = 0;  // where the next token begins
  for (std::size_t begin = 0; begin < word.size();) {
    const std::size_t end = separates_words_ ? next_word(word, begin) : word.size();
    const std::string_view part = word.substr(begin, end - begin);
    if (plain_ && part.size() <= vocabulary_.longest() &&
        add_whole(vocabulary_.find(part), position, position + part.size(), tokens)) {
      position = tokens.back().end;
    } else {
      const std::size_t first = tokens.size();
      add_characters(word, {begin, end}, position, tokens);
      if (tokens.size() > first) position = tokens.back().end;
      merge(tokens, first);
    }
    begin = end;
  }
}

void Bpe::tokenize_bytes(std::string_view bytes, std::vector<WordToken>& tokens) const {
  if (bytes.size() <= byte_words_->longest()) {
    const std::int32_t id = byte_words_->find(bytes);
    if (options_.ignore_merges && id != kNoToken) {
      tokens.push_back({id, 0, static_cast<std::uint32_t>(bytes.size())});
      return;
    }
    if (add_whole(id, 0, bytes.size(), tokens)) return;
  }
  const std::size_t first = tokens.size();
  for (std::uint32_t i = 0; i < bytes.size(); ++i) {
    tokens.push_back({byte_tokens_[static_cast<std::uint8_t>(bytes[i])], i, i + 1});
  }
  merge(tokens, first);
}

bool Bpe::add_whole(std::int32_t id, std::size_t begin, std::size_t end,
                    std::vector<WordToken>& tokens) const {
  if (id == kNoToken || !is_whole(id)) return false;
  tokens.push_back({id, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)});
  return true;
}

bool Bpe::is_whole(std::int32_t id) const {
  std::atomic<std::uint8_t>& known = whole_[static_cast<std::size_t>(id)];
  std::uint8_t state = known.load(std::memory_order_relaxed);
  if (state == kUnknown) {
    const std::string_view token = vocabulary_.token(id);
    std::vector<WordToken> tokens;
    // An unknown character anywhere: leave it to the long way.
    bool all_known = true;
    for (std::size_t at = 0; all_known && at < token.size();) {
      const std::size_t length = base::decode_utf8(token, at).length;
      all_known = vocabulary_.find(token.substr(at, length)) != kNoToken;
      at += length;
    }
    if (all_known) {
      add_characters(token, {0, token.size()}, 0, tokens);
      merge(tokens, 0);
    }
    state = tokens.size() == 1 && tokens.front().id == id ? kWhole : kNotWhole;
    known.store(state, std::memory_order_relaxed);
  }
  return state == kWhole;
}

void Bpe::add_characters(std::string_view word, Piece part, std::uint32_t position,
                         std::vector<WordToken>& tokens) const {
  const std::size_t first = tokens.size();
  std::optional<WordToken> unknown;  // waits for more of its kind
  for (std::size_t at = part.begin; at < part.end;) {
    const std::size_t next = at + base::decode_utf8(word, at).length;
    add_character(word, {at, next}, tokens, unknown);
    at = next;
  }
  if (unknown) tokens.push_back(*unknown);
  // The reference goes by lengths alone: after a character that vanished, all are off by its length.
  for (std::size_t i = first; i < tokens.size(); ++i) {
    const std::uint32_t length = tokens[i].end - tokens[i].begin;
    tokens[i].begin = position;
    tokens[i].end = position += length;
  }
}

void Bpe::add_character(std::string_view word, Piece character, std::vector<WordToken>& tokens,
                        std::optional<WordToken>& unknown) const {
  const auto begin = static_cast<std::uint32_t>(character.begin);
  const auto end = static_cast<std::uint32_t>(character.end);
  const std::string_view plain = word.substr(begin, end - begin);
  std::string decorated;
  if (!plain_) {
    if (begin > 0) decorated = options_.continuing_subword_prefix;
    decorated += plain;
    if (end == word.size()) decorated += options_.end_of_word_suffix;
  }
  const std::string_view text = plain_ ? plain : std::string_view(decorated);
  if (const std::int32_t id = vocabulary_.find(text); id != kNoToken) {
    if (unknown) tokens.push_back(*unknown);
    unknown.reset();
    tokens.push_back({id, begin, end});
    return;
  }
  const auto has_fallback = [&](char c) { return fallback_[static_cast<std::uint8_t>(c)] != kNoToken; };
  if (options_.byte_fallback && std::all_of(text.begin(), text.end(), has_fallback)) {
    for (std::uint32_t i = 0; i < text.size(); ++i) {
      tokens.push_back({fallback_[static_cast<std::uint8_t>(text[i])], begin + i, begin + i + 1});
    }
    return;
  }
  if (!options_.unk_token) return;
  if (unk_id_ == kNoToken) {
    throw Error(ErrorCode::kFormat, origin_ +
                                        ": the text has a character that is not in the vocabulary, and "
                                        "neither is the unknown token " +
                                        *options_.unk_token);
  }
  if (unknown && options_.fuse_unk) {
    unknown->end += end - begin;  // not `end`: bytes may have come in between
    return;
  }
  if (unknown) tokens.push_back(*unknown);
  unknown = WordToken{unk_id_, begin, end};
}

void Bpe::merge(std::vector<WordToken>& tokens, std::size_t first) const {
  if (tokens.size() - first <= kFew) {
    merge_few(tokens, first);
  } else {
    merge_many(tokens, first);
  }
}

void Bpe::merge_few(std::vector<WordToken>& tokens, std::size_t first) const {
  std::size_t count = tokens.size() - first;
  if (count < 2) return;
  WordToken* const symbols = tokens.data() + first;
  std::array<Merge, kFew> merges;  // of each symbol with the next
  for (std::size_t i = 0; i + 1 < count; ++i) merges[i] = find_merge(symbols[i].id, symbols[i + 1].id);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == kNoRank) break;
    symbols[best].id = merges[best].id;
    symbols[best].end = symbols[best + 1].end;
    std::copy(symbols + best + 2, symbols + count, symbols + best + 1);
    if (best + 2 < count) std::copy(&merges[best + 2], &merges[count - 1], &merges[best + 1]);
    --count;
    if (best > 0) merges[best - 1] = find_merge(symbols[best - 1].id, symbols[best].id);
    if (best + 1 < count) merges[best] = find_merge(symbols[best].id, symbols[best + 1].id);
  }
  tokens.resize(first + count, {});
}

void Bpe::merge_many(std::vector<WordToken>& tokens, std::size_t first) const {
  constexpr std::uint32_t kNone = 0xFFFFFFFF;
  struct Links {
    std::uint32_t previous, next;
  };
  struct Candidate {
    std::uint32_t rank, at;
    std::int32_t id;
    bool operator<(const Candidate& other) const noexcept {  // the queue wants the best to be the largest
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  WordToken* const symbols = tokens.data() + first;
  const auto count = static_cast<std::uint32_t>(tokens.size() - first);
  std::vector<Links> links(count);
  std::vector<Candidate> start;
  const auto candidate = [&](std::uint32_t left, std::uint32_t right) {
    const Merge merge = find_merge(symbols[left].id, symbols[right].id);
    return Candidate{merge.rank, left, merge.id};
  };
  for (std::uint32_t i = 0; i < count; ++i) {
    links[i] = {i == 0 ? kNone : i - 1, i + 1 == count ? kNone : i + 1};
    if (i + 1 == count) break;
    if (const Candidate c = candidate(i, i + 1); c.rank != kNoRank) start.push_back(c);
  }
  std::priority_queue<Candidate> queue({}, std::move(start));
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    // A symbol that is gone has no id; a pair that has changed since does not merge to what it did.
    if (symbols[best.at].id == kNoToken || links[best.at].next == kNone) continue;
    const std::uint32_t right = links[best.at].next;
    if (candidate(best.at, right).id != best.id) continue;
    symbols[best.at].id = best.id;
    symbols[best.at].end = symbols[right].end;
    symbols[right].id = kNoToken;
    const std::uint32_t previous = links[best.at].previous, next = links[right].next;
    links[best.at].next = next;
    if (next != kNone) links[next].previous = best.at;
    if (previous != kNone) {
      if (const Candidate c = candidate(previous, best.at); c.rank != kNoRank) queue.push(c);
    }
    if (next != kNone) {
      if (const Candidate c = candidate(best.at, next); c.rank != kNoRank) queue.push(c);
    }
  }
  const auto is_gone = [](const WordToken& token) { return token.id == kNoToken; };
  tokens.erase(std::remove_if(tokens.begin() + static_cast<std::ptrdiff_t>(first), tokens.end(), is_gone),
               tokens.end());
}

}  // namespace kvasir::text
