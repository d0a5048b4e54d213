#include "text/wordpiece.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kvasir/error.h"

namespace kvasir::text {

namespace {

bool continues_code_point(char c) noexcept {
  return (static_cast<std::uint8_t>(c) & 0xC0) == 0x80;
}

std::size_t count_code_points(std::string_view text) noexcept {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !continues_code_point(c); }));
}

}  // namespace

WordPiece::WordPiece(Vocabulary vocabulary, const WordPieceOptions& options, const std::string& origin)
    : vocabulary_(std::move(vocabulary)),
      prefix_(options.continuing_subword_prefix),
      prefix_hash_(hash(prefix_)),
      max_chars_(options.max_input_chars_per_word),
      unk_id_(vocabulary_.find(options.unk_token)) {
  if (unk_id_ == kNoToken) {
    throw Error(ErrorCode::kFormat, origin + ": the vocabulary lacks the unknown token " + options.unk_token);
  }
}

WordPiece::Match WordPiece::longest_match(std::string_view prefix, std::uint64_t state,
                                          std::string_view rest) const {
  // Hashes of the beginnings of `rest` that end between code points, shortest first. A vocabulary's longest
  // token rarely has more than 64 bytes; where it has, beginnings beyond that are tried first, one by one.
  std::array<std::uint64_t, 64> states;
  std::array<std::uint8_t, 64> ends;
  std::size_t count = 0;
  const std::size_t limit = std::min(rest.size(), vocabulary_.longest());
  const auto ends_code_point = [&](std::size_t end) {
    return end == rest.size() || !continues_code_point(rest[end]);
  };
  for (std::size_t end = limit; end > states.size(); --end) {
    if (!ends_code_point(end)) continue;
    const std::string_view head = rest.substr(0, end);
    if (const std::int32_t id = vocabulary_.find(hash(head, state), prefix, head); id != kNoToken) {
      return {id, end};
    }
  }
  for (std::size_t end = 1; end <= std::min(limit, states.size()); ++end) {
    state = hash_step(state, static_cast<std::uint8_t>(rest[end - 1]));
    if (!ends_code_point(end)) continue;
    states[count] = state;
    ends[count++] = static_cast<std::uint8_t>(end);
  }
  while (count > 0) {
    --count;
    const std::int32_t id = vocabulary_.find(states[count], prefix, rest.substr(0, ends[count]));
    if (id != kNoToken) return {id, ends[count]};
  }
  return {kNoToken, 0};
}

void WordPiece::tokenize(std::string_view word, std::vector<WordToken>& tokens) const {
  if (count_code_points(word) > max_chars_) {
    tokens.push_back({unk_id_, 0, static_cast<std::uint32_t>(word.size())});
  } else {
    tokenize_short(word, tokens);
  }
}

void WordPiece::tokenize_short(std::string_view word, std::vector<WordToken>& tokens) const {
  const std::size_t first = tokens.size();
  for (std::size_t begin = 0; begin < word.size();) {
    const Match match = begin == 0 ? longest_match({}, kHashSeed, word)
                                   : longest_match(prefix_, prefix_hash_, word.substr(begin));
    if (match.id == kNoToken) {
      tokens.resize(first, {});
      tokens.push_back({unk_id_, 0, static_cast<std::uint32_t>(word.size())});
      return;
    }
    tokens.push_back(
        {match.id, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(begin + match.length)});
    begin += match.length;
  }
}

}  // namespace kvasir::text
