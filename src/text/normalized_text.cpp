#include "text/normalized_text.h"

#include <utility>

#include "base/utf8.h"
#include "kvasir/error.h"
#include "text/pattern.h"
#include "unicode/tables.h"

namespace kvasir::text {

namespace {

// Unicode's own forms make a text at most 18 times as long (U+FDFA in NFKD); no replacement that means well
// does more than a few of those. Short texts may have a long prefix.
constexpr std::size_t kMaxGrowth = 100, kMaxGrowthOfShortTexts = 1 << 20;

}  // namespace

std::vector<char32_t> code_points(std::string_view text) {
  std::vector<char32_t> result;
  result.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const base::CodePoint c = base::decode_utf8(text, at);
    result.push_back(c.value);
    at += c.length;
  }
  return result;
}

NormalizedText::NormalizedText(std::string_view original, std::size_t shift, Ends ends)
    : shift_(shift),
      ends_(ends),
      max_size_(original.size() * kMaxGrowth + kMaxGrowthOfShortTexts),
      text_(original) {
  origins_.resize(original.size());
  for (std::size_t at = 0; at < original.size();) {
    const std::size_t length = base::decode_utf8(original, at).length;
    const ByteSpan span{static_cast<std::uint32_t>(shift + at),
                        static_cast<std::uint32_t>(shift + at + length)};
    for (const std::size_t end = at + length; at < end; ++at) origins_[at] = span;
  }
}

NormalizedText::NormalizedText(const NormalizedText& from, Piece piece)
    : shift_(from.shift_), ends_(from.ends_), max_size_(from.max_size_) {
  append(from, piece);
}

void NormalizedText::append(const NormalizedText& from, Piece piece) {
  text_.append(from.text_, piece.begin, piece.end - piece.begin);
  origins_.insert(origins_.end(), from.origins_.begin() + static_cast<std::ptrdiff_t>(piece.begin),
                  from.origins_.begin() + static_cast<std::ptrdiff_t>(piece.end));
}

void NormalizedText::transform(std::span<const Change> changes, std::size_t deleted) {
  std::string text;
  std::vector<ByteSpan> origins;
  text.reserve(text_.size());
  origins.reserve(origins_.size());
  std::size_t in = 0;  // bytes of text_ consumed
  const auto consume = [&] { in += base::decode_utf8(text_, in).length; };
  for (; deleted > 0; --deleted) consume();
  for (const auto& [c, change] : changes) {
    const ByteSpan span = change <= 0 ? origins_[in] : in > 0 ? origins_[in - 1] : ByteSpan{};
    for (std::int32_t n = change; n <= 0; ++n) consume();
    base::append_utf8(text, c);
    origins.resize(text.size(), span);
  }
  text_ = std::move(text);
  origins_ = std::move(origins);
}

void NormalizedText::filter(const std::function<bool(char32_t)>& keep) {
  std::vector<Change> changes;
  std::size_t deleted_first = 0;
  for (const char32_t c : code_points(text_)) {
    if (keep(c)) {
      changes.push_back({c, 0});
    } else if (changes.empty()) {
      ++deleted_first;
    } else {
      --changes.back().change;
    }
  }
  transform(changes, deleted_first);
}

void NormalizedText::map(const std::function<char32_t(char32_t)>& to) {
  std::vector<Change> changes;
  for (const char32_t c : code_points(text_)) changes.push_back({to(c), 0});
  transform(changes);
}

void NormalizedText::lowercase_ascii() {
  for (char& c : text_) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  }
}

void NormalizedText::strip(bool left, bool right) {
  const auto may_be_space = [](char c) { return static_cast<std::uint8_t>(c) <= ' ' || c < 0; };
  left = left && !text_.empty() && may_be_space(text_.front());
  right = right && !text_.empty() && may_be_space(text_.back());
  if (!left && !right) return;
  const std::vector<char32_t> all = code_points(text_);
  std::size_t begin = 0, end = all.size();
  while (left && begin < end && unicode::is_white_space(all[begin])) ++begin;
  while (right && begin < end && unicode::is_white_space(all[end - 1])) --end;
  std::vector<Change> changes;
  for (std::size_t i = begin; i < end; ++i) changes.push_back({all[i], 0});
  transform(changes, begin);
}

void NormalizedText::prepend(std::string_view prefix) {
  if (text_.empty() || prefix.empty()) return;
  // As the reference: the prefix's first code point takes the place of the text's first, which is inserted
  // again after it. All of them so carry the span of the text's first code point.
  const ByteSpan span = origins_.front();
  origins_.insert(origins_.begin(), prefix.size(), span);
  text_.insert(0, prefix);
}

void NormalizedText::replace(const Pattern& pattern, std::string_view by) {
  std::vector<Part> parts;
  pattern.find(text_, {0, text_.size()}, parts);
  if (parts.empty() || (parts.size() == 1 && !parts.front().match)) return;
  NormalizedText out = empty_like(*this);
  for (const auto& [piece, match] : parts) {
    if (!match) {
      out.append(*this, piece);
      continue;
    }
    // As the reference: the matched code points are deleted first, then the others inserted, so these carry
    // the span of the last deleted one.
    const auto start = static_cast<std::uint32_t>(shift_);
    out.append(by, piece.end > 0 ? origins_[piece.end - 1] : ByteSpan{start, start});
    if (out.text_.size() > max_size_) {
      throw Error(ErrorCode::kResourceExhausted, "normalizer: replacements make the text more than " +
                                                     std::to_string(kMaxGrowth) + " times as long");
    }
  }
  *this = std::move(out);
}

}  // namespace kvasir::text
