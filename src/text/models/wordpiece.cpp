#include "text/models/wordpiece.h"

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
      prefix_key_(prefix_),
      max_chars_(options.max_input_chars_per_word),
      unk_id_(vocabulary_.find(options.unk_token)) {
  if (unk_id_ == kNoToken) {
    throw Error(ErrorCode::kFormat, origin + ": the vocabulary lacks the unknown token " + options.unk_token);
  }
}

WordPiece::Match WordPiece::longest_match(std::string_view prefix, TokenKey key,
                                          std::string_view rest) const {
  // The beginnings of `rest` that end between code points and are no longer than any token, shortest first.
  struct Head {
    TokenKey key;
    std::size_t length;
  };
  std::array<Head, 64> short_heads;  // BERT's longest token has 18 bytes
  std::vector<Head> long_heads;
  const std::size_t limit = std::min(rest.size(), vocabulary_.longest());
  if (limit > short_heads.size()) long_heads.resize(limit);
  Head* const heads = long_heads.empty() ? short_heads.data() : long_heads.data();
  std::size_t count = 0;
  for (std::size_t length = 1; length <= limit; ++length) {
    key.append(static_cast<std::uint8_t>(rest[length - 1]));
    if (length == rest.size() || !continues_code_point(rest[length])) heads[count++] = {key, length};
  }
  while (count > 0) {
    const auto& [head_key, length] = heads[--count];
    const std::int32_t id = vocabulary_.find(head_key, prefix, rest.substr(0, length));
    if (id != kNoToken) return {id, length};
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
    const Match match =
        begin == 0 ? longest_match({}, {}, word) : longest_match(prefix_, prefix_key_, word.substr(begin));
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
