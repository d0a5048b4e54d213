#include "text/post_processors/offset_trimmer.h"

#include <algorithm>

#include "base/utf8.h"
#include "text/byte_level.h"
#include "unicode/tables.h"

namespace kvasir::text {

namespace {

bool continues_code_point(std::string_view text, std::size_t at) noexcept {
  return at < text.size() && (static_cast<std::uint8_t>(text[at]) & 0xC0) == 0x80;
}

bool is_space(char32_t c) noexcept {
  return c == byte_level::code_point(' ') || unicode::is_white_space(c);
}

// So many code points on, but not beyond `end`.
std::uint32_t forward(std::string_view text, std::uint32_t at, std::size_t code_points, std::uint32_t end) {
  for (; code_points > 0 && at < end; --code_points) {
    do {
      ++at;
    } while (at < end && continues_code_point(text, at));
  }
  return at;
}

// So many code points back, but not before `begin`; `at` itself if the text has not so many.
std::uint32_t back(std::string_view text, std::uint32_t at, std::size_t code_points, std::uint32_t begin) {
  std::uint32_t to = at;
  for (; code_points > 0; --code_points) {
    if (to == 0) return at;
    do {
      --to;
    } while (to > 0 && continues_code_point(text, to));
  }
  return std::max(to, begin);
}

}  // namespace

OffsetTrimmer::OffsetTrimmer(const Vocabulary& vocabulary, bool add_prefix_space)
    : add_prefix_space_(add_prefix_space) {
  spaces_.reserve(static_cast<std::size_t>(vocabulary.end_id()));
  for (std::int32_t id = 0; id < vocabulary.end_id(); ++id) spaces_.push_back(count(vocabulary.token(id)));
}

OffsetTrimmer::Spaces OffsetTrimmer::count(std::string_view token) noexcept {
  Spaces spaces{0, 0};
  bool leading = true;
  for (std::size_t at = 0; at < token.size();) {
    const base::CodePoint c = base::decode_utf8(token, at);
    at += c.length;
    if (is_space(c.value)) {
      ++spaces.trailing;
      if (leading) ++spaces.leading;
    } else {
      spaces.trailing = 0;
      leading = false;
    }
  }
  return spaces;
}

OffsetTrimmer::Trimmed OffsetTrimmer::trim(std::string_view text, ByteSpan span, std::int32_t id) const {
  const Spaces spaces = spaces_[static_cast<std::size_t>(id)];
  if (spaces.leading == 0 && spaces.trailing == 0) return {span, span};
  return trim(text, span, spaces);
}

OffsetTrimmer::Trimmed OffsetTrimmer::trim(std::string_view text, ByteSpan span,
                                           std::string_view found) const {
  return trim(text, span, count(found));
}

OffsetTrimmer::Trimmed OffsetTrimmer::trim(std::string_view text, ByteSpan span, Spaces spaces) const {
  const auto without = [&](bool is_first) {
    ByteSpan result = span;
    const bool keeps = is_first && add_prefix_space_ && spaces.leading == 1;
    if (!keeps) result.begin = forward(text, span.begin, spaces.leading, span.end);
    result.end = back(text, span.end, spaces.trailing, result.begin);
    return result;
  };
  const ByteSpan as_first = without(true);
  return {span.begin == 0 ? as_first : without(false), as_first};
}

}  // namespace kvasir::text
