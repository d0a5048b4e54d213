#include "jinja/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "base/utf8.h"
#include "jinja/text.h"
#include "kvasir/error.h"
#include "unicode/python_text.h"

namespace kvasir::jinja {

namespace {

bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}
bool is_name_start(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_name_part(char c) noexcept {
  return is_name_start(c) || is_digit(c);
}

// All line breaks become \n, and one at the end goes.
std::string with_plain_lines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
    } else {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  Lexer(std::string source, const std::string& origin) : source_(std::move(source)), origin_(origin) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) lex_text();
    push(Token::Type::kEnd, "end of template");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::kFormat, origin_ + ":" + std::to_string(line_) + ": " + what);
  }
  std::string_view rest() const { return std::string_view(source_).substr(at_); }
  // Goes on to byte `to`, counting lines.
  void advance(std::size_t to) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
    at_ = to;
  }
  std::size_t after_spaces(std::size_t at) const {
    const std::string_view text = std::string_view(source_).substr(at);
    return at + (text.size() - unicode::strip_left(text).size());
  }
  void push(Token::Type type, std::string text) { tokens_.push_back({type, line_, std::move(text)}); }

  // The byte of the next tag, or the end.
  std::size_t find_tag() const {
    for (std::size_t at = source_.find('{', at_); at != std::string::npos; at = source_.find('{', at + 1)) {
      if (at + 1 < source_.size() &&
          (source_[at + 1] == '{' || source_[at + 1] == '%' || source_[at + 1] == '#')) {
        return at;
      }
    }
    return source_.size();
  }

  // Text [at_, tag) as the tag there leaves it: sign '-' takes all white space before the tag; a block tag or
  // comment without sign takes what is on its own line.
  std::string_view before_tag(std::size_t tag, char sign, bool variable) const {
    const std::string_view text = std::string_view(source_).substr(at_, tag - at_);
    if (sign == '-') return unicode::strip_right(text);
    if (sign == '+' || variable) return text;
    const std::size_t line_break = text.rfind('\n');
    const std::size_t begin = line_break == std::string_view::npos ? 0 : line_break + 1;
    if (begin == 0 && !line_starting_) return text;
    return unicode::strip_left(text.substr(begin)).empty() ? text.substr(0, begin) : text;
  }
  void push_text(std::string_view text) {
    if (!text.empty()) push(Token::Type::kText, std::string(text));
  }
  // Where a block tag or comment that ends at `end` (before %} or #}) leaves off.
  std::size_t after_end(std::size_t end, char sign) const {
    end += 2;
    if (sign == '-') return after_spaces(end);
    if (sign != '+' && end < source_.size() && source_[end] == '\n') return end + 1;
    return end;
  }
  void leave(std::size_t to) {
    line_starting_ = to > 0 && source_[to - 1] == '\n';
    advance(to);
  }

  void lex_text() {
    const std::size_t tag = find_tag();
    if (tag == source_.size()) {
      push_text(rest());
      advance(tag);
      return;
    }
    const char kind = source_[tag + 1];
    std::size_t inside = tag + 2;
    char sign = 0;
    if (inside < source_.size() && (source_[inside] == '-' || source_[inside] == '+'))
      sign = source_[inside++];
    push_text(before_tag(tag, sign, kind == '{'));
    advance(inside);
    line_starting_ = false;
    if (kind == '#') return skip_comment();
    if (kind == '%') {
      if (const std::size_t body = raw_body(); body != 0) return lex_raw(body);
    }
    push(kind == '{' ? Token::Type::kVariableBegin : Token::Type::kBlockBegin, kind == '{' ? "{{" : "{%");
    lex_tag(kind == '{');
  }

  void skip_comment() {
    const std::size_t end = source_.find("#}", at_);
    if (end == std::string::npos) fail("the comment {# has no #}");
    const char sign = end > at_ ? source_[end - 1] : '\0';
    leave(after_end(end, sign == '-' || sign == '+' ? sign : '\0'));
  }

  // If the block tag whose inside begins here is {% raw %}, where what follows it begins; else 0.
  std::size_t raw_body() const {
    std::size_t at = after_spaces(at_);
    if (source_.compare(at, 3, "raw") != 0) return 0;
    at = after_spaces(at + 3);
    if (source_.compare(at, 3, "-%}") == 0) return after_spaces(at + 3);
    return source_.compare(at, 2, "%}") == 0 ? at + 2 : 0;
  }

  // If there is an {% endraw %} at byte `tag`: the signs at its beginning and end, and the place of its %}.
  struct EndRaw {
    char begin_sign, end_sign;
    std::size_t end;
  };
  bool is_endraw(std::size_t tag, EndRaw& found) const {
    std::size_t at = tag + 2;
    found.begin_sign =
        at < source_.size() && (source_[at] == '-' || source_[at] == '+') ? source_[at++] : '\0';
    at = after_spaces(at);
    if (source_.compare(at, 6, "endraw") != 0) return false;
    at = after_spaces(at + 6);
    found.end_sign = at < source_.size() && (source_[at] == '-' || source_[at] == '+') ? source_[at++] : '\0';
    found.end = at;
    return source_.compare(at, 2, "%}") == 0;
  }

  void lex_raw(std::size_t body) {
    leave(body);
    EndRaw found{};
    std::size_t tag = source_.find("{%", at_);
    while (tag != std::string::npos && !is_endraw(tag, found)) tag = source_.find("{%", tag + 2);
    if (tag == std::string::npos) fail("the block {% raw %} has no {% endraw %}");
    push_text(before_tag(tag, found.begin_sign, false));
    leave(after_end(found.end, found.end_sign));
  }

  // The inside of {{ … }} or {% … %}.
  void lex_tag(bool variable) {
    const std::string_view end = variable ? "}}" : "%}";
    std::string open;  // brackets that are to be closed
    const int begin_line = line_;
    for (;;) {
      advance(after_spaces(at_));
      if (at_ >= source_.size()) {
        line_ = begin_line;
        fail(variable ? "the tag {{ has no }}" : "the tag {% has no %}");
      }
      if (open.empty() && ends_tag(end, variable)) return;
      lex_token(open);
    }
  }

  bool ends_tag(std::string_view end, bool variable) {
    char sign = 0;
    std::size_t at = at_;
    if (source_[at] == '-' || (source_[at] == '+' && !variable)) sign = source_[at++];
    if (source_.compare(at, 2, end) != 0) return false;
    push(variable ? Token::Type::kVariableEnd : Token::Type::kBlockEnd, std::string(end));
    leave(!variable ? after_end(at, sign) : sign == '-' ? after_spaces(at + 2) : at + 2);
    return true;
  }

  void lex_token(std::string& open) {
    const char c = source_[at_];
    if (is_digit(c)) return lex_number();
    if (is_name_start(c)) {
      std::size_t to = at_;
      while (to < source_.size() && is_name_part(source_[to])) ++to;
      push(Token::Type::kName, source_.substr(at_, to - at_));
      return advance(to);
    }
    if (c == '"' || c == '\'') return lex_string(c);
    lex_operator(open);
  }

  void lex_operator(std::string& open) {
    // The longer ones first.
    constexpr auto kOperators = std::to_array<std::string_view>(
        {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
         "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"});
    for (const std::string_view op : kOperators) {
      if (!rest().starts_with(op)) continue;
      if (op == "(") open += ')';
      if (op == "[") open += ']';
      if (op == "{") open += '}';
      if (op == ")" || op == "]" || op == "}") {
        if (open.empty() || open.back() != op[0]) {
          fail("unexpected " + std::string(op) +
               (open.empty() ? "" : ", expected " + std::string(1, open.back())));
        }
        open.pop_back();
      }
      push(Token::Type::kOperator, std::string(op));
      return advance(at_ + op.size());
    }
    const std::size_t length = base::decode_utf8(source_, at_).length;
    fail("unexpected character " + source_.substr(at_, length) + " in a tag");
  }

  // Digits with single underscores between them, from byte `at`; returns their end, or `at` if there are
  // none.
  std::size_t after_digits(std::size_t at) const {
    std::size_t end = at;
    while (end < source_.size() &&
           (is_digit(source_[end]) ||
            (source_[end] == '_' && end > at && end + 1 < source_.size() && is_digit(source_[end + 1])))) {
      ++end;
    }
    return end;
  }

  void lex_number() {
    const std::size_t begin = at_;
    std::size_t end = after_digits(begin);
    bool is_float = false;
    const bool after_dot = begin > 0 && source_[begin - 1] == '.';  // x.0.1: an index, not 0.1
    if (!after_dot) {
      std::size_t at = end;
      if (at < source_.size() && source_[at] == '.' && after_digits(at + 1) > at + 1) {
        at = after_digits(at + 1);
        is_float = true;
        end = at;
      }
      if (at < source_.size() && (source_[at] == 'e' || source_[at] == 'E')) {
        const std::size_t sign =
            at + 1 < source_.size() && (source_[at + 1] == '+' || source_[at + 1] == '-') ? 1 : 0;
        const std::size_t digits = at + 1 + sign;
        if (after_digits(digits) > digits) {
          end = after_digits(digits);
          is_float = true;
        }
      }
    }
    if (!is_float && (source_[begin] == '0') && end == begin + 1 && end < source_.size() &&
        std::string_view("xXoObB").find(source_[end]) != std::string_view::npos) {
      fail("numbers such as 0x10 are not supported; write them in decimal");
    }
    std::string digits = source_.substr(begin, end - begin);
    std::erase(digits, '_');
    push(is_float ? Token::Type::kFloat : Token::Type::kInteger, digits);
    Token& token = tokens_.back();
    const char* last = digits.data() + digits.size();
    const auto error = is_float ? std::from_chars(digits.data(), last, token.number).ec
                                : std::from_chars(digits.data(), last, token.integer).ec;
    if (error != std::errc()) fail("the number " + digits + " is too large");
    if (!is_float && digits.size() > 1 && digits[0] == '0' && token.integer != 0) {
      fail("the number " + digits + " begins with 0");
    }
    advance(end);
  }

  void lex_string(char quote) {
    std::size_t at = at_ + 1;
    while (at < source_.size() && source_[at] != quote) at += source_[at] == '\\' ? 2 : 1;
    if (at >= source_.size()) fail("the string that begins here has no end");
    push(Token::Type::kString, unescape(std::string_view(source_).substr(at_ + 1, at - at_ - 1)));
    advance(at + 1);
  }

  // The escapes of Python.
  std::string unescape(std::string_view text) const {
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
      if (text[at] != '\\') {
        out += text[at++];
        continue;
      }
      const char kind = text[at + 1];  // there is one: the string would not end otherwise
      at += 2;
      constexpr std::string_view kPlain = "\\'\"abfnrtv", kMeant = "\\'\"\a\b\f\n\r\t\v";
      if (const std::size_t i = kPlain.find(kind); i != std::string_view::npos) {
        out += kMeant[i];
      } else if (kind == 'x' || kind == 'u' || kind == 'U') {
        at = append_code(text, at, kind == 'x' ? 2 : kind == 'u' ? 4 : 8, 16, out);
      } else if (kind >= '0' && kind <= '7') {
        std::size_t digits = 1;
        while (digits < 3 && at - 1 + digits < text.size() && text[at - 1 + digits] >= '0' &&
               text[at - 1 + digits] <= '7') {
          ++digits;
        }
        at = append_code(text, at - 1, digits, 8, out);
      } else if (kind == 'N') {
        fail("the escape \\N{…} is not supported");
      } else if (kind != '\n') {  // a line break after the backslash is left out
        out += '\\';
        --at;  // the character follows as it is
        out.append(text, at, base::decode_utf8(text, at).length);
        at += base::decode_utf8(text, at).length;
      }
    }
    return out;
  }

  std::size_t append_code(std::string_view text, std::size_t at, std::size_t digits, int radix,
                          std::string& out) const {
    std::uint32_t code = 0;
    const std::string_view number = text.substr(at, digits);
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), code, radix);
    if (error != std::errc() || number.size() < digits || end != number.data() + number.size() ||
        code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
      fail("a string has an escape that stands for no character");
    }
    base::append_utf8(out, static_cast<char32_t>(code));
    return at + digits;
  }

  std::string source_;
  const std::string& origin_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // white space before the next tag begins a line
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source, const std::string& origin) {
  if (const std::size_t bad = base::find_invalid_utf8(source); bad < source.size()) {
    throw Error(ErrorCode::kFormat, origin + ": byte " + std::to_string(bad) + " is not UTF-8");
  }
  return Lexer(with_plain_lines(source), origin).run();
}

}  // namespace kvasir::jinja
