// The filter tojson.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "base/utf8.h"
#include "jinja/text.h"
#include "jinja/value.h"

namespace kvasir::jinja {

namespace {

void append_json_string(Runtime& runtime, std::string_view text, bool ensure_ascii, std::string& out) {
  runtime.charge(text.size());
  const auto append_unit = [&](unsigned unit) {
    std::array<char, 16> escape;
    std::snprintf(escape.data(), escape.size(), "\\u%04x", unit);
    out += escape.data();
  };
  out += '"';
  for (std::size_t at = 0; at < text.size();) {
    const auto [c, length] = base::decode_utf8(text, at);
    constexpr std::string_view kEscaped = "\"\\\n\r\t\b\f", kLetters = "\"\\nrtbf";
    const std::size_t escape = c < 0x80 ? kEscaped.find(static_cast<char>(c)) : std::string_view::npos;
    if (escape != std::string_view::npos) {
      out += '\\';
      out += kLetters[escape];
    } else if (c < 0x20 || (ensure_ascii && c >= 0x7F && c < 0x10000)) {
      append_unit(static_cast<unsigned>(c));
    } else if (ensure_ascii && c >= 0x10000) {
      append_unit(static_cast<unsigned>(0xD800 + ((c - 0x10000) >> 10)));
      append_unit(static_cast<unsigned>(0xDC00 + ((c - 0x10000) & 0x3FF)));
    } else {
      out.append(text, at, length);
    }
    at += length;
  }
  out += '"';
}

class JsonWriter {
 public:
  JsonWriter(Runtime& runtime, const JsonStyle& style, std::string& out)
      : runtime_(runtime), style_(style), out_(out) {}

  void write(const Value& value) {
    runtime_.step();
    if (const std::string* text = value.if_string()) return write_string(*text);
    if (const auto* list = value.if_list()) return write_list(*list);
    if (const DictData* dict = value.if_dict()) return write_dict(*dict);
    if (value.is_none()) {
      out_ += "null";
    } else if (const bool* boolean = value.if_boolean()) {
      out_ += *boolean ? "true" : "false";
    } else if (const std::int64_t* integer = value.if_integer()) {
      out_ += std::to_string(*integer);
    } else if (const double* number = value.if_float()) {
      write_number(*number);
    } else {
      runtime_.fail(std::string("tojson: a value of type ") + value.type_name() + " has no JSON");
    }
  }

 private:
  void write_string(std::string_view text) { append_json_string(runtime_, text, style_.ensure_ascii, out_); }
  void write_number(double number) {
    if (std::isnan(number) || std::isinf(number)) {
      out_ += std::isnan(number) ? "NaN" : number < 0 ? "-Infinity" : "Infinity";
    } else {
      append_float(number, out_);
    }
  }
  void break_line() {
    if (!style_.multi_line) return;
    runtime_.charge(1 + level_ * style_.indent.size());
    out_ += '\n';
    for (std::size_t i = 0; i < level_; ++i) out_ += style_.indent;
  }
  template <class Container, class Write>
  void write_all(const Container& items, char open, char close, Write write_one) {
    out_ += open;
    ++level_;
    bool first = true;
    for (const auto& item : items) {
      if (!first) out_ += style_.item_separator;
      first = false;
      break_line();
      write_one(item);
    }
    --level_;
    if (!items.empty()) break_line();
    out_ += close;
  }
  void write_list(const std::vector<Value>& items) {
    write_all(items, '[', ']', [&](const Value& item) { write(item); });
  }
  void write_dict(const DictData& dict) {
    std::vector<const Entry*> entries;
    for (const Entry& entry : dict) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::sort(entries.begin(), entries.end(),
                [](const Entry* a, const Entry* b) { return a->first < b->first; });
    }
    write_all(entries, '{', '}', [&](const Entry* entry) {
      write_string(entry->first);
      out_ += style_.key_separator;
      write(entry->second);
    });
  }

  Runtime& runtime_;
  const JsonStyle& style_;
  std::string& out_;
  std::size_t level_ = 0;
};

}  // namespace

void append_json(Runtime& runtime, const Value& value, const JsonStyle& style, std::string& out) {
  JsonWriter(runtime, style, out).write(value);
}

}  // namespace kvasir::jinja
