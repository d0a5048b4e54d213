#include "unicode/normalization.h"

#include <algorithm>
#include <optional>

#include "base/utf8.h"
#include "unicode/tables.h"

namespace kvasir::unicode {

namespace {

// The Unicode Standard 9.0, section 3.12: where the jamo begin, and how many there are of each kind.
constexpr char32_t kLeadBase = 0x1100, kVowelBase = 0x1161, kTailBase = 0x11A7;
constexpr std::uint32_t kLeads = 19, kVowels = 21, kTails = 28;
static_assert(kLeads * kVowels * kTails == kHangulCount);

char32_t compose_pair(char32_t first, char32_t second) noexcept {
  if (first - kLeadBase < kLeads && second - kVowelBase < kVowels) {
    return kHangulBase + ((first - kLeadBase) * kVowels + (second - kVowelBase)) * kTails;
  }
  if (is_hangul_syllable(first) && (first - kHangulBase) % kTails == 0 &&
      second - kTailBase - 1 < kTails - 1) {
    return first + (second - kTailBase);
  }
  return composite(first, second);
}

std::uint8_t combining_class(char32_t c) noexcept {
  return properties(c).combining_class;
}

// Full decomposition, marks in canonical order.
std::vector<Change> decompose(std::string_view text, bool compatible) {
  std::vector<Change> changes;
  changes.reserve(text.size());
  std::size_t run = 0;  // where the marks after the last starter begin
  const auto sort_run = [&] {
    std::stable_sort(changes.begin() + static_cast<std::ptrdiff_t>(run), changes.end(),
                     [](const Change& a, const Change& b) {
                       return combining_class(a.code_point) < combining_class(b.code_point);
                     });
  };
  const auto push = [&](char32_t c, bool first) {
    if (combining_class(c) == 0) {
      sort_run();
      run = changes.size() + 1;
    }
    changes.push_back({c, first ? 0 : 1});
  };
  for (std::size_t at = 0; at < text.size();) {
    const base::CodePoint c = base::decode_utf8(text, at);
    at += c.length;
    if (is_hangul_syllable(c.value)) {
      const Jamo jamo = decompose_hangul(c.value);
      for (std::size_t i = 0; i < jamo.count; ++i) push(jamo.parts[i], i == 0);
      continue;
    }
    const std::u32string_view parts =
        compatible ? compatibility_decomposition(c.value) : canonical_decomposition(c.value);
    if (parts.empty()) push(c.value, true);
    for (std::size_t i = 0; i < parts.size(); ++i) push(parts[i], i == 0);
  }
  sort_run();
  return changes;
}

// Canonical composition of a decomposed text.
std::vector<Change> compose(const std::vector<Change>& decomposed) {
  std::vector<Change> out;
  out.reserve(decomposed.size());
  std::optional<std::size_t> starter;  // index in `out` of what marks may compose with
  int last_class = -1;                 // of the last mark that stands between it and the next one; -1: none
  for (const auto& [c, change] : decomposed) {
    const std::uint8_t own_class = combining_class(c);
    if (!starter) {
      if (own_class == 0) starter = out.size();
      out.push_back({c, change});
      continue;
    }
    const bool blocked = last_class >= own_class;
    const char32_t composed = blocked ? 0 : compose_pair(out[*starter].code_point, c);
    if (composed != 0) {
      // Together they stand for what both stood for; one more code point of the text is gone.
      out[*starter] = {composed, out[*starter].change + change - 1};
      continue;
    }
    if (own_class == 0) {
      starter = out.size();
      last_class = -1;
    } else {
      last_class = own_class;
    }
    out.push_back({c, change});
  }
  return out;
}

}  // namespace

Jamo decompose_hangul(char32_t syllable) noexcept {
  const std::uint32_t index = syllable - kHangulBase, tail = index % kTails;
  return {{kLeadBase + index / (kVowels * kTails), kVowelBase + index / kTails % kVowels, kTailBase + tail},
          tail == 0 ? std::size_t{2} : std::size_t{3}};
}

bool has_only_ascii(std::string_view text) noexcept {
  // Without a branch for each byte, so that the compiler takes many at a time.
  std::uint8_t all = 0;
  for (const char c : text) all = static_cast<std::uint8_t>(all | static_cast<std::uint8_t>(c));
  return all < 0x80;
}

bool is_plain_nfc(std::string_view text) noexcept {
  for (std::size_t at = 0; at < text.size();) {
    if (static_cast<std::uint8_t>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    // Latin without marks; punctuation; CJK ideographs: nothing that decomposes, combines or is combined
    // with.
    const base::CodePoint c = base::decode_utf8(text, at);
    const bool is_plain = c.value < 0x300 || (c.value >= 0x2010 && c.value <= 0x2027) ||
                          (c.value >= 0x2030 && c.value <= 0x205E) ||
                          (c.value >= 0x4E00 && c.value <= 0x9FFF);
    if (!is_plain) return false;
    at += c.length;
  }
  return true;
}

std::vector<Change> normalize(std::string_view text, Form form) {
  std::vector<Change> changes = decompose(text, form == Form::kNfkd || form == Form::kNfkc);
  return form == Form::kNfc || form == Form::kNfkc ? compose(changes) : changes;
}

}  // namespace kvasir::unicode
