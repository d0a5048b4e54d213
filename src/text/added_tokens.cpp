#include "text/added_tokens.h"

#include <algorithm>

#include "base/utf8.h"
#include "kvasir/error.h"
#include "unicode/tables.h"

namespace kvasir::text {

namespace {

bool is_continuation(char c) noexcept {
  return (static_cast<std::uint8_t>(c) & 0xC0) == 0x80;
}

// The code point that ends at `end` > 0.
base::CodePoint code_point_before(std::string_view text, std::size_t end) {
  std::size_t at = end - 1;
  while (at > 0 && is_continuation(text[at])) --at;
  return base::decode_utf8(text, at);
}

bool is_word(char32_t c) {
  return (unicode::properties(c).flags & unicode::kWord) != 0;
}

// Whether a match neither continues the word before it nor is continued by the one after it.
bool stands_alone(std::string_view text, const StringMatcher::Match& match) {
  const bool open_left = match.begin == 0 || !is_word(code_point_before(text, match.begin).value);
  const bool open_right = match.end == text.size() || !is_word(base::decode_utf8(text, match.end).value);
  return open_left && open_right;
}

std::size_t skip_space_back(std::string_view text, std::size_t end) {
  while (end > 0) {
    const base::CodePoint c = code_point_before(text, end);
    if (!unicode::is_white_space(c.value)) break;
    end -= c.length;
  }
  return end;
}

std::size_t skip_space(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const base::CodePoint c = base::decode_utf8(text, at);
    if (!unicode::is_white_space(c.value)) break;
    at += c.length;
  }
  return at;
}

}  // namespace

void StringMatcher::add(std::string_view pattern, std::int32_t value) {
  const auto first = static_cast<std::uint8_t>(pattern.front());
  if (!starts_[first]) {
    starts_[first] = true;
    ++first_bytes_;
    first_byte_ = pattern.front();
  }
  std::size_t node = 0;
  for (const char c : pattern) {
    const auto [child, is_new] =
        nodes_[node].children.try_emplace(static_cast<std::uint8_t>(c), nodes_.size());
    node = child->second;
    if (is_new) nodes_.emplace_back();
  }
  if (nodes_[node].value == kNoToken) nodes_[node].value = value;
}

std::optional<StringMatcher::Match> StringMatcher::match_at(std::string_view text, std::size_t begin) const {
  std::optional<Match> longest;
  std::size_t node = 0;
  for (std::size_t at = begin; at < text.size(); ++at) {
    const auto child = nodes_[node].children.find(static_cast<std::uint8_t>(text[at]));
    if (child == nodes_[node].children.end()) break;
    node = child->second;
    if (nodes_[node].value != kNoToken) longest = {begin, at + 1, nodes_[node].value};
  }
  return longest;
}

std::optional<StringMatcher::Match> StringMatcher::find(std::string_view text, std::size_t from) const {
  while (first_bytes_ > 0) {
    if (first_bytes_ == 1) {  // as for BERT, all of whose tokens begin with "["
      from = text.find(first_byte_, from);
    } else {
      while (from < text.size() && !starts_[static_cast<std::uint8_t>(text[from])]) ++from;
    }
    if (from >= text.size()) break;
    if (const auto match = match_at(text, from)) return match;
    ++from;
  }
  return std::nullopt;
}

void AddedTokens::add(const std::vector<AddedToken>& tokens, const Vocabulary& vocabulary,
                      const Normalizer* normalizer, const std::string& origin) {
  for (const AddedToken& token : tokens) {
    if (token.special && !token.content.empty() && special_.insert(token.content).second) {
      special_list_.push_back(token);
    }
  }
  const auto vocabulary_size = static_cast<std::int32_t>(vocabulary.size());
  std::int32_t next_id = vocabulary_size;
  if (!by_id_.empty()) next_id = std::max(next_id, by_id_.rbegin()->first + 1);
  std::unordered_map<std::string, std::vector<AddedToken>> known;
  for (const auto& [id, token] : by_id_) known[token.content].push_back(token);
  for (const AddedToken& token : tokens) {
    std::vector<AddedToken>& same = known[token.content];
    if (token.content.empty() || std::find(same.begin(), same.end(), token) != same.end()) continue;
    same.push_back(token);
    std::int32_t id = kNoToken;
    if (const auto found = ids_.find(token.content); found != ids_.end()) id = found->second;
    if (id == kNoToken) id = vocabulary.find(token.content);
    if (id == kNoToken) {
      if (vocabulary.contains(next_id)) {
        throw Error(ErrorCode::kFormat, origin + ": added token \"" + token.content + "\" would get id " +
                                            std::to_string(next_id) + ", which token \"" +
                                            std::string(vocabulary.token(next_id)) + "\" has already");
      }
      id = next_id++;
    }
    ids_[token.content] = id;
    by_id_[id] = token;
    if (!special_.contains(token.content)) plain_list_.push_back(token);
  }
  rebuild_matchers(normalizer, origin);
}

void AddedTokens::rebuild_matchers(const Normalizer* normalizer, const std::string& origin) {
  raw_ = normalized_ = {};
  for (const std::vector<AddedToken>* list : {&special_list_, &plain_list_}) {
    for (const AddedToken& token : *list) {
      const std::int32_t id = ids_.at(token.content);
      if (!token.normalized) {
        raw_.add(token.content, id);
        continue;
      }
      NormalizedText content(token.content, 0);
      if (normalizer != nullptr) normalizer->normalize(content);
      if (content.text().empty()) {
        throw Error(ErrorCode::kUnsupported, origin + ": nothing is left of added token \"" + token.content +
                                                 "\" when it is normalised");
      }
      normalized_.add(content.text(), id);
      begins_beyond_ascii_ =
          begins_beyond_ascii_ || static_cast<std::uint8_t>(content.text().front()) >= 0x80;
    }
  }
}

bool AddedTokens::may_begin_in(std::string_view text) const noexcept {
  for (std::size_t at = 0; at < text.size();) {
    const base::CodePoint c = base::decode_utf8(text, at);
    at += c.length;
    if (c.value < 0x80) {
      const unicode::Properties& p = unicode::properties(c.value);
      const auto lower = static_cast<std::uint8_t>(static_cast<std::int32_t>(c.value) + p.lower_delta);
      if (normalized_.begins(static_cast<std::uint8_t>(c.value)) || normalized_.begins(lower)) return true;
      continue;
    }
    // What is not ASCII becomes something else that is not, with any first byte; a little of it decomposes to
    // ASCII and a mark, or has it as lower case.
    if (begins_beyond_ascii_) return true;
    const std::u32string_view parts = unicode::canonical_decomposition(c.value);
    const char32_t first = parts.empty() ? c.value : parts.front();
    const char32_t folded = first + static_cast<char32_t>(unicode::properties(first).lower_delta);
    if ((first < 0x80 && normalized_.begins(static_cast<std::uint8_t>(first))) ||
        (folded < 0x80 && normalized_.begins(static_cast<std::uint8_t>(folded))) ||
        (c.value == U'\u0130' && normalized_.begins('i'))) {
      return true;
    }
  }
  return false;
}

void AddedTokens::split(std::string_view text, Pass pass,
                        const std::function<void(const Part&)>& visit) const {
  std::size_t done = 0;
  std::size_t from = 0;
  while (const auto match = matcher(pass).find(text, from)) {
    from = match->end;  // also when what is cut out is longer, or the match is refused
    const AddedToken& token = by_id_.at(match->value);
    if (token.single_word && !stands_alone(text, *match)) continue;
    Piece piece{match->begin, match->end};
    if (token.lstrip) piece.begin = std::max(skip_space_back(text, piece.begin), done);
    if (token.rstrip) piece.end = skip_space(text, piece.end);
    if (done < piece.begin) visit({{done, piece.begin}, kNoToken});
    visit({piece, match->value});
    done = piece.end;
  }
  if (done < text.size()) visit({{done, text.size()}, kNoToken});
}

std::optional<std::int32_t> AddedTokens::id(std::string_view content) const {
  const auto found = ids_.find(std::string(content));
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

const AddedToken* AddedTokens::token(std::int32_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &found->second;
}

}  // namespace kvasir::text
