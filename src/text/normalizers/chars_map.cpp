#include "text/normalizers/chars_map.h"

#include <utf8proc.h>

#include <algorithm>

#include "base/utf8.h"
#include "kvasir/error.h"

namespace kvasir::text {

namespace {

// The largest published map has 316 KB.
constexpr std::size_t kMaxBytes = std::size_t{64} << 20;

int base64_digit(char c) noexcept {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

std::string decode_base64(std::string_view text, const std::string& origin) {
  const auto fail = [&] { throw Error(ErrorCode::kFormat, origin + ": is not base64"); };
  if (text.size() % 4 != 0) fail();
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  std::string out;
  out.reserve(text.size() / 4 * 3);
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool pad = i >= text.size() - padding;
    const int digit = pad ? 0 : base64_digit(text[i]);
    if (digit < 0) fail();
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    if (i % 4 != 3) continue;
    for (const int shift : {16, 8, 0}) out += static_cast<char>(bits >> shift & 0xFF);
  }
  out.resize(out.size() - padding);
  return out;
}

std::size_t count_code_points(std::string_view text) noexcept {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<std::uint8_t>(c) & 0xC0) != 0x80; }));
}

// `from` becomes `to`, with the spans that the reference gives it.
void append_changes(std::string_view from, std::string_view to, std::vector<Change>& changes) {
  const std::size_t first = changes.size(), old_count = count_code_points(from);
  for (std::size_t at = 0; at < to.size();) {
    const base::CodePoint c = base::decode_utf8(to, at);
    changes.push_back({c.value, changes.size() - first < old_count ? 0 : 1});
    at += c.length;
  }
  const std::size_t new_count = changes.size() - first;
  // What is deleted at the very beginning is forgotten: the spans of all that follows are then one place off,
  // in the reference as well.
  if (new_count < old_count && !changes.empty()) {
    changes.back().change -= static_cast<std::int32_t>(old_count - new_count);
  }
}

}  // namespace

CharsMap::CharsMap(std::string_view blob, const std::string& origin) {
  const auto fail = [&](const char* what) {
    throw Error(ErrorCode::kFormat, origin + ": is no character map: " + what);
  };
  if (blob.size() > kMaxBytes) fail("it is larger than 64 MiB");
  const auto word = [&](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      value |= static_cast<std::uint32_t>(static_cast<std::uint8_t>(blob[at + i])) << 8 * i;
    }
    return value;
  };
  if (blob.size() < 4) fail("it ends early");
  const std::size_t units = word(0) / 4;
  if (units == 0 || (blob.size() - 4) / 4 < units) fail("it ends early");
  units_.reserve(units);
  for (std::size_t i = 0; i < units; ++i) units_.push_back(word(4 + 4 * i));
  strings_ = blob.substr(4 + 4 * units);
  if (base::find_invalid_utf8(strings_) != strings_.size()) fail("its strings are not UTF-8");
  for (std::size_t i = 1; i < changes_ascii_.size(); ++i) {
    const auto c = static_cast<char>(i);
    changes_ascii_[i] = find({&c, 1}).has_value();
  }
  changes_ascii_['\r'] = true;  // may begin a grapheme of two
}

CharsMap CharsMap::from_base64(std::string_view text, const std::string& origin) {
  return {decode_base64(text, origin), origin};
}

std::optional<std::string_view> CharsMap::find(std::string_view text) const noexcept {
  const auto offset = [](std::uint32_t unit) {
    return static_cast<std::size_t>(unit >> 10) << ((unit & 1U << 9) >> 6);
  };
  std::size_t node = offset(units_[0]);
  for (const char c : text) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (byte == 0) return std::nullopt;
    node ^= byte;
    if (node >= units_.size() || (units_[node] & (1U << 31 | 0xFF)) != byte) return std::nullopt;
    const std::uint32_t unit = units_[node];
    node ^= offset(unit);
    if ((unit >> 8 & 1) == 0) continue;
    if (node >= units_.size()) return std::nullopt;
    const std::size_t begin = units_[node] & ~(1U << 31);
    // A damaged map may point into the middle of a code point.
    if (begin > strings_.size() ||
        (begin < strings_.size() && (static_cast<std::uint8_t>(strings_[begin]) & 0xC0) == 0x80)) {
      return std::nullopt;
    }
    const std::size_t end = std::min(strings_.find('\0', begin), strings_.size());
    return std::string_view(strings_).substr(begin, end - begin);
  }
  return std::nullopt;
}

void CharsMap::normalize(NormalizedText& normalized) const {
  const std::string& text = normalized.text();
  const auto is_ascii = [&](std::size_t at) { return static_cast<std::uint8_t>(text[at]) < 0x80; };
  const auto is_plain = [&](std::size_t at) {
    return is_ascii(at) && !changes_ascii_[static_cast<std::uint8_t>(text[at])];
  };
  std::size_t plain = 0;
  while (plain < text.size() && is_plain(plain)) ++plain;
  if (plain == text.size()) return;

  std::vector<Change> changes;
  changes.reserve(text.size());
  bool modified = false;
  const auto replace = [&](std::string_view from) {
    const auto to = find(from);
    if (to) append_changes(from, *to, changes);
    modified = modified || to.has_value();
    return to.has_value();
  };
  for (std::size_t at = 0; at < text.size();) {
    // Between two ASCII characters that are neither line end there is always a boundary.
    if (is_plain(at) && text[at] != '\r' && (at + 1 == text.size() || is_ascii(at + 1))) {
      changes.push_back({static_cast<char32_t>(text[at]), 0});
      ++at;
      continue;
    }
    base::CodePoint c = base::decode_utf8(text, at);
    std::size_t end = at + c.length;
    utf8proc_int32_t state = 0;
    while (end < text.size()) {
      const base::CodePoint next = base::decode_utf8(text, end);
      if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(c.value),
                                           static_cast<utf8proc_int32_t>(next.value), &state)) {
        break;
      }
      c = next;
      end += next.length;
    }
    const std::string_view grapheme = std::string_view(text).substr(at, end - at);
    at = end;
    if (grapheme.size() < 6 && replace(grapheme)) continue;
    for (std::size_t i = 0; i < grapheme.size();) {
      const base::CodePoint part = base::decode_utf8(grapheme, i);
      if (!replace(grapheme.substr(i, part.length))) changes.push_back({part.value, 0});
      i += part.length;
    }
  }
  if (modified) normalized.transform(changes);
}

}  // namespace kvasir::text
