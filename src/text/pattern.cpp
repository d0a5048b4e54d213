#include "text/pattern.h"

#include <oniguruma.h>

#include <array>
#include <chrono>
#include <utility>

#include "base/utf8.h"
#include "kvasir/error.h"
#include "unicode/tables.h"

namespace kvasir::text {

namespace {

// The longest expression of a published tokenizer has some 400 bytes.
constexpr std::size_t kMaxExpression = 10'000;
// Steps back that one search may take. Expressions that mean well take a few; at this many, some 20 ms are
// gone.
constexpr unsigned long kMaxRetries = 1'000'000;
// What all searches of a piece may take: far more than any expression that means well needs.
constexpr std::chrono::milliseconds kMaxTime{2000};
constexpr std::chrono::nanoseconds kMaxTimePerByte{20'000};

bool has(char32_t c, std::uint16_t flags) noexcept {
  return (unicode::properties(c).flags & flags) != 0;
}

// Makes parts of the matches that come in order.
class PartList {
 public:
  PartList(Piece piece, std::vector<Part>& parts) : piece_(piece), done_(piece.begin), parts_(parts) {}
  void match(Piece match) {
    if (done_ < match.begin) parts_.push_back({{done_, match.begin}, false});
    parts_.push_back({match, true});
    done_ = match.end;
  }
  void finish() {
    if (done_ < piece_.end) parts_.push_back({{done_, piece_.end}, false});
  }

 private:
  Piece piece_;
  std::size_t done_;
  std::vector<Part>& parts_;
};

class StringPattern : public Pattern {
 public:
  explicit StringPattern(std::string text) : text_(std::move(text)) {}
  void find(std::string_view text, Piece piece, std::vector<Part>& parts) const override {
    PartList list(piece, parts);
    text = text.substr(0, piece.end);
    for (std::size_t at = piece.begin; (at = text.find(text_, at)) != std::string_view::npos;) {
      list.match({at, at + text_.size()});
      at += text_.size();
    }
    list.finish();
  }
  // A string of spaces alone, or without any space, letter or digit, cannot reach over such a place.
  bool is_local() const noexcept override {
    if (text_.find_first_not_of(' ') == std::string::npos) return true;
    for (const char c : text_) {
      if (c == ' ' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
        return false;
    }
    return true;
  }

 private:
  std::string text_;
};

std::string onig_message(int code, const OnigErrorInfo* info = nullptr) {
  std::array<OnigUChar, ONIG_MAX_ERROR_MESSAGE_LEN> buffer{};
  const int length = info != nullptr ? onig_error_code_to_str(buffer.data(), code, info)
                                     : onig_error_code_to_str(buffer.data(), code);
  std::string message(reinterpret_cast<const char*>(buffer.data()), static_cast<std::size_t>(length));
  for (char& c : message) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  return message;
}

class Regex : public Pattern {
 public:
  Regex(const std::string& expression, const std::string& origin) : origin_(origin) {
    static const bool ready = [] {
      OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
      return onig_initialize(encodings, 1) == ONIG_NORMAL;
    }();
    if (!ready) throw Error(ErrorCode::kInternal, origin + ": Oniguruma cannot be initialised");
    if (expression.size() > kMaxExpression) {
      throw Error(ErrorCode::kFormat, origin + ": the regular expression has " +
                                          std::to_string(expression.size()) + " bytes, more than " +
                                          std::to_string(kMaxExpression));
    }
    const auto* begin = reinterpret_cast<const OnigUChar*>(expression.data());
    OnigErrorInfo info;
    regex_t* regex = nullptr;
    const int code = onig_new(&regex, begin, begin + expression.size(), ONIG_OPTION_NONE, ONIG_ENCODING_UTF8,
                              ONIG_SYNTAX_RUBY, &info);
    if (code != ONIG_NORMAL) {
      throw Error(ErrorCode::kFormat,
                  origin + ": not a valid regular expression: " + onig_message(code, &info));
    }
    regex_.reset(regex);
  }

  void find(std::string_view text, Piece piece, std::vector<Part>& parts) const override {
    PartList list(piece, parts);
    const std::string_view inside = text.substr(piece.begin, piece.end - piece.begin);
    const auto* begin = reinterpret_cast<const OnigUChar*>(inside.data());
    const std::unique_ptr<OnigRegion, FreeRegion> region(onig_region_new());
    const std::unique_ptr<OnigMatchParam, FreeParam> limits(onig_new_match_param());
    onig_initialize_match_param(limits.get());
    onig_set_retry_limit_in_match_of_match_param(limits.get(), kMaxRetries);
    onig_set_retry_limit_in_search_of_match_param(limits.get(), kMaxRetries);
    const auto deadline = std::chrono::steady_clock::now() + kMaxTime +
                          kMaxTimePerByte * static_cast<std::chrono::nanoseconds::rep>(inside.size());
    std::size_t from = 0, last_end = kNowhere;
    while (from <= inside.size()) {
      onig_region_clear(region.get());
      const int at =
          onig_search_with_param(regex_.get(), begin, begin + inside.size(), begin + from,
                                 begin + inside.size(), region.get(), ONIG_OPTION_NONE, limits.get());
      if (at == ONIG_MISMATCH) break;
      if (at < 0) fail(at);
      if (std::chrono::steady_clock::now() > deadline) fail(ONIGERR_RETRY_LIMIT_IN_SEARCH_OVER);
      const auto start = static_cast<std::size_t>(region->beg[0]);
      const auto end = static_cast<std::size_t>(region->end[0]);
      // As the reference: no empty match right after the last one.
      if (start == end && end == last_end) {
        if (from >= inside.size()) break;
        from += base::decode_utf8(inside, from).length;
        continue;
      }
      from = last_end = end;
      list.match({piece.begin + start, piece.begin + end});
    }
    list.finish();
  }

 private:
  static constexpr std::size_t kNowhere = static_cast<std::size_t>(-1);
  struct FreeRegex {
    void operator()(regex_t* regex) const noexcept { onig_free(regex); }
  };
  struct FreeRegion {
    void operator()(OnigRegion* region) const noexcept { onig_region_free(region, 1); }
  };
  struct FreeParam {
    void operator()(OnigMatchParam* param) const noexcept { onig_free_match_param(param); }
  };
  [[noreturn]] void fail(int code) const {
    throw Error(ErrorCode::kResourceExhausted,
                origin_ + ": the regular expression takes too long on this text: " + onig_message(code));
  }

  std::string origin_;
  std::unique_ptr<regex_t, FreeRegex> regex_;
};

// GPT-2's expression: every place of a text belongs to a match.
class Gpt2Words : public Pattern {
 public:
  void find(std::string_view text, Piece piece, std::vector<Part>& parts) const override {
    for (std::size_t at = piece.begin; at < piece.end;) {
      const std::size_t end = end_of_gpt2_word(text, at, piece.end);
      parts.push_back({{at, end}, true});
      at = end;
    }
  }
  bool is_local() const noexcept override { return true; }
  bool cuts() const noexcept override { return true; }
};

// What BLOOM's expression keeps out of its words: white space, and these.
bool parts_bloom_words(char32_t c) noexcept {
  switch (c) {
    case U'(':
    case U')':
    case U'|':
    case U'.':
    case U',':
    case U'!':
    case U'?':
    case U'\u2026':
    case U'\u3002':
    case U'\uFF0C':
    case U'\u3001':
    case U'\u0964':
    case U'\u06D4':
    case U'\u060C':
      return true;
    default:
      return has(c, unicode::kSpace);
  }
}

class BloomWords : public Pattern {
 public:
  void find(std::string_view text, Piece piece, std::vector<Part>& parts) const override {
    for (std::size_t at = piece.begin; at < piece.end;) {
      const std::size_t end = end_of_bloom_word(text, at, piece.end);
      const bool spaced =
          text[at] == ' ' && end > at + 1 && !parts_bloom_words(base::decode_utf8(text, at + 1).value);
      parts.push_back({{at, end}, spaced || !parts_bloom_words(base::decode_utf8(text, at).value)});
      at = end;
    }
  }
  bool is_local() const noexcept override { return true; }
  bool cuts() const noexcept override { return true; }
};

// Runs of at least two spaces.
class SpaceRuns : public Pattern {
 public:
  void find(std::string_view text, Piece piece, std::vector<Part>& parts) const override {
    PartList list(piece, parts);
    text = text.substr(0, piece.end);
    for (std::size_t at = piece.begin; (at = text.find("  ", at)) != std::string_view::npos;) {
      std::size_t end = at + 2;
      while (end < text.size() && text[end] == ' ') ++end;
      list.match({at, end});
      at = end;
    }
    list.finish();
  }
  bool is_local() const noexcept override { return true; }
};

class ThreeDigits : public Pattern {
 public:
  void find(std::string_view text, Piece piece, std::vector<Part>& parts) const override {
    PartList list(piece, parts);
    std::size_t digits = 0;
    for (std::size_t at = piece.begin; at < piece.end; ++at) {
      digits = text[at] >= '0' && text[at] <= '9' ? digits + 1 : 0;
      if (digits < 3) continue;
      list.match({at - 2, at + 1});
      digits = 0;
    }
    list.finish();
  }
  bool is_local() const noexcept override { return true; }
  bool is_bytewise() const noexcept override { return true; }
};

}  // namespace

std::size_t end_of_gpt2_word(std::string_view text, std::size_t at, std::size_t end) noexcept {
  constexpr std::uint16_t kKinds = unicode::kLetter | unicode::kNumber | unicode::kSpace;
  const auto kind_at = [&](std::size_t i) -> std::pair<std::uint16_t, std::size_t> {
    const base::CodePoint c = base::decode_utf8(text, i);
    return {static_cast<std::uint16_t>(unicode::properties(c.value).flags & kKinds), c.length};
  };
  if (text[at] == '\'' && at + 1 < end) {
    const char next = text[at + 1];
    if (next == 's' || next == 't' || next == 'm' || next == 'd') return at + 2;
    if (at + 2 < end) {
      const char last = text[at + 2];
      if ((next == 'r' && last == 'e') || (next == 'v' && last == 'e') || (next == 'l' && last == 'l')) {
        return at + 3;
      }
    }
  }
  auto [kind, length] = kind_at(at);
  std::size_t next = at + length;
  if (text[at] == ' ') {
    if (next == end) return next;
    const auto [after, after_length] = kind_at(next);
    if ((after & unicode::kSpace) == 0) {  // " ?": the space belongs to what follows
      kind = after;
      next += after_length;
    }
  }
  std::size_t last_length = length;
  while (next < end) {
    const auto byte = static_cast<std::uint8_t>(text[next]);
    if (byte < 0x80 && kind == unicode::kLetter) {
      if (static_cast<std::uint8_t>((byte | 0x20) - 'a') >= 26) break;
      ++next;
      continue;
    }
    const auto [following, following_length] = kind_at(next);
    if (following != kind) {
      // "\s+(?!\S)": of white space before a word, the last one stays out, if it is not alone.
      if ((kind & unicode::kSpace) != 0 && next - last_length > at) next -= last_length;
      break;
    }
    last_length = following_length;
    next += following_length;
  }
  return next;
}

std::size_t end_of_bloom_word(std::string_view text, std::size_t at, std::size_t end) noexcept {
  const auto parts_at = [&](std::size_t i, std::size_t& length) {
    const base::CodePoint c = base::decode_utf8(text, i);
    length = c.length;
    return parts_bloom_words(c.value);
  };
  // A word begins with a space that has one of its characters after it, or with such a character.
  const auto begins_word = [&](std::size_t i, std::size_t& length) {
    if (!parts_at(i, length)) return true;
    std::size_t ignored = 0;
    return text[i] == ' ' && i + 1 < end && !parts_at(i + 1, ignored);
  };
  std::size_t length = 0;
  const bool word = begins_word(at, length);
  std::size_t next = at + length;
  if (word) {
    while (next < end && !parts_at(next, length)) next += length;
  } else {
    while (next < end && !begins_word(next, length)) next += length;
  }
  return next;
}

std::unique_ptr<Pattern> make_regex(const std::string& expression, const std::string& origin) {
  return std::make_unique<Regex>(expression, origin);
}

std::unique_ptr<Pattern> make_pattern(const base::JsonObject& json) {
  if (!json.has("Regex")) {
    std::string text = json.string("String");
    if (text.empty()) json.fail("String is empty, which would match everywhere");
    return std::make_unique<StringPattern>(std::move(text));
  }
  const std::string expression = json.string("Regex");
  if (expression == kGpt2Expression) return std::make_unique<Gpt2Words>();
  if (expression == kBloomExpression) return std::make_unique<BloomWords>();
  if (expression == " {2,}") return std::make_unique<SpaceRuns>();
  if (expression == "[0-9][0-9][0-9]") return std::make_unique<ThreeDigits>();
  return std::make_unique<Regex>(expression, json.origin() + ": Regex");
}

}  // namespace kvasir::text
