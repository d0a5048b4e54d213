#include "grammar/json_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <map>

#include "base/utf8.h"

namespace kvasir::grammar {

namespace {

ByteSet range(int first, int last) {
  ByteSet out;
  for (int byte = first; byte <= last; ++byte) out.set(static_cast<std::size_t>(byte));
  return out;
}

ByteSet bytes_of(std::string_view text) {
  ByteSet out;
  for (const char c : text) out.set(static_cast<std::uint8_t>(c));
  return out;
}

// Printable ASCII that stands for itself in a string.
ByteSet plain_ascii() {
  return range(0x20, 0x7E) & ~bytes_of("\"\\");
}

constexpr std::uint32_t kMaxIndent = 40;   // bounds what a model can write without saying anything
constexpr std::uint32_t kMaxDigits = 15;   // what a double holds exactly
constexpr std::uint32_t kMaxExponent = 2;  // digits: stays within a double's range

}  // namespace

JsonText::JsonText(ByteGrammar& grammar, bool ascii_only) : grammar_(grammar), ascii_only_(ascii_only) {
  const NodeId indent = grammar_.repeat(grammar_.set(bytes_of(" \t")), 0, kMaxIndent);
  gap_ = grammar_.choice({literal(""), literal(" "), grammar_.sequence({literal("\n"), indent})});
  character_ = make_character();
  make_numbers();
  make_any();
}

// A character of a string: as it is (well-formed UTF-8, RFC 3629) or escaped. No escapes of surrogates: alone
// they are no text, and pairs can be written as they are.
NodeId JsonText::make_character() {
  auto& g = grammar_;
  std::vector<NodeId> ways = {g.set(plain_ascii())};
  if (!ascii_only_) {
    const NodeId tail = g.set(range(0x80, 0xBF));
    const auto add = [&](int first, int last, int second_first, int second_last, std::size_t tails) {
      std::vector<NodeId> bytes = {g.set(range(first, last)), g.set(range(second_first, second_last))};
      bytes.insert(bytes.end(), tails, tail);
      ways.push_back(g.sequence(std::move(bytes)));
    };
    add(0xC2, 0xDF, 0x80, 0xBF, 0);
    add(0xE0, 0xE0, 0xA0, 0xBF, 1);
    add(0xE1, 0xEC, 0x80, 0xBF, 1);
    add(0xED, 0xED, 0x80, 0x9F, 1);
    add(0xEE, 0xEF, 0x80, 0xBF, 1);
    add(0xF0, 0xF0, 0x90, 0xBF, 2);
    add(0xF1, 0xF3, 0x80, 0xBF, 2);
    add(0xF4, 0xF4, 0x80, 0x8F, 2);
  }
  const NodeId hex = g.set(bytes_of("0123456789abcdefABCDEF"));
  const NodeId not_d = g.set(bytes_of("0123456789abcefABCEF")), d = g.set(bytes_of("dD"));
  const NodeId low = g.set(bytes_of("01234567"));
  const NodeId code = g.choice({g.sequence({not_d, hex, hex, hex}), g.sequence({d, low, hex, hex})});
  const NodeId simple = g.set(bytes_of("\"\\/bfnrt"));
  ways.push_back(g.sequence({literal("\\"), g.choice({simple, g.sequence({literal("u"), code})})}));
  return g.choice(std::move(ways));
}

void JsonText::make_numbers() {
  auto& g = grammar_;
  digit_ = g.set(range('0', '9'));
  const NodeId more = g.sequence({g.set(range('1', '9')), g.repeat(digit_, 0, kMaxDigits - 1)});
  integer_ = g.sequence({g.optional(literal("-")), g.choice({literal("0"), more})});
  const NodeId fraction = g.sequence({literal("."), g.repeat(digit_, 1, kMaxDigits)});
  const NodeId exponent = g.sequence(
      {g.set(bytes_of("eE")), g.optional(g.set(bytes_of("+-"))), g.repeat(digit_, 1, kMaxExponent)});
  number_ = g.sequence({integer_, g.optional(fraction), g.optional(exponent)});
}

void JsonText::make_any() {
  auto& g = grammar_;
  any_ = g.declare();
  const NodeId member = g.sequence({string({}), literal(":"), gap_, any_});
  const NodeId more = g.repeat(g.sequence({literal(","), gap_, member}), 0);
  any_object_ = g.sequence(
      {literal("{"), gap_, g.choice({g.sequence({member, more, gap_, literal("}")}), literal("}")})});
  g.define(any_, g.choice({any_object_, array(any_, {}), string({}), number_, literal("true"),
                           literal("false"), literal("null")}));
}

NodeId JsonText::string(Bounds characters) {
  const NodeId inside = grammar_.repeat(character_, characters.min, characters.max);
  return grammar_.sequence({literal("\""), inside, literal("\"")});
}

NodeId JsonText::array(NodeId item, Bounds items) {
  auto& g = grammar_;
  std::vector<NodeId> ways;
  if (items.min == 0) ways.push_back(literal("]"));
  if (items.max > 0 && items.min <= items.max) {
    const bool limited = items.max != ByteGrammar::kUnlimited;
    const NodeId more = g.repeat(g.sequence({literal(","), gap_, item}), items.min > 0 ? items.min - 1 : 0,
                                 limited ? items.max - 1 : items.max);
    ways.push_back(g.sequence({item, more, gap_, literal("]")}));
  }
  return g.sequence({literal("["), gap_, g.choice(std::move(ways))});
}

NodeId JsonText::name_except(const std::vector<std::string>& names) {
  std::vector<std::string> sorted = names;
  std::sort(sorted.begin(), sorted.end());
  return grammar_.sequence({literal("\""), name_after(sorted, 0)});
}

// The rest of a name, with its quote, where all of `names` have their first `length` bytes in common with it.
NodeId JsonText::name_after(const std::vector<std::string>& names, std::size_t length) {
  auto& g = grammar_;
  std::map<char, std::vector<std::string>> next;
  bool is_name = false;
  for (const std::string& name : names) {
    if (name.size() == length) {
      is_name = true;
    } else {
      next[name[length]].push_back(name);
    }
  }
  ByteSet other = plain_ascii();
  std::vector<NodeId> ways;
  for (const auto& [byte, longer] : next) {
    if (!other[static_cast<std::uint8_t>(byte)]) continue;  // a name that plain ASCII does not write
    other.reset(static_cast<std::uint8_t>(byte));
    ways.push_back(g.sequence({g.set(bytes_of({&byte, 1})), name_after(longer, length + 1)}));
  }
  if (!is_name) ways.push_back(literal("\""));
  ways.push_back(g.sequence({g.set(other), g.repeat(g.set(plain_ascii()), 0), literal("\"")}));
  return g.choice(std::move(ways));
}

std::string JsonText::quoted(std::string_view text) const {
  std::string out = "\"";
  const auto escape = [&](unsigned unit) {
    std::array<char, 16> buffer;
    std::snprintf(buffer.data(), buffer.size(), "\\u%04x", unit);
    out += buffer.data();
  };
  for (std::size_t at = 0; at < text.size();) {
    const auto [c, length] = base::decode_utf8(text, at);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c < 0x20 || (c >= 0x7F && ascii_only_ && c < 0x10000)) {
      escape(static_cast<unsigned>(c));
    } else if (c >= 0x10000 && ascii_only_) {
      escape(static_cast<unsigned>(0xD800 + ((c - 0x10000) >> 10)));
      escape(static_cast<unsigned>(0xDC00 + ((c - 0x10000) & 0x3FF)));
    } else {
      out.append(text, at, length);
    }
    at += length;
  }
  return out + '"';
}

void JsonText::append(const base::json::value& value, std::string& out) const {
  if (value.is_string()) {
    out += quoted(value.get_string());
  } else if (value.is_double()) {
    std::array<char, 32> buffer;
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value.get_double()).ptr;
    out.append(buffer.data(), end);
  } else if (const auto* array = value.if_array()) {
    out += '[';
    for (std::size_t i = 0; i < array->size(); ++i) {
      if (i > 0) out += ", ";
      append((*array)[i], out);
    }
    out += ']';
  } else if (const auto* object = value.if_object()) {
    out += '{';
    bool first = true;
    for (const auto& [key, member] : *object) {
      if (!first) out += ", ";
      first = false;
      out += quoted(key) + ": ";
      append(member, out);
    }
    out += '}';
  } else {
    out += base::json::serialize(value);  // null, true, false, an integer
  }
}

NodeId JsonText::value(const base::json::value& value) {
  std::string text;
  append(value, text);
  return grammar_.literal(std::move(text));
}

}  // namespace kvasir::grammar
