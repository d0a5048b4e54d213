// The filters.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "jinja/functions.h"
#include "jinja/text.h"
#include "unicode/python_text.h"

namespace kvasir::jinja {

namespace {

using Function = Value (*)(const Call&);

Value string(const Call& call, std::string text) {
  return Value::string(call.runtime, std::move(text));
}
// What a filter of strings works on: anything, as a string.
std::string subject(const Call& call) {
  return to_string(call.runtime, call.self);
}

const Value& required(const Call& call, const Value* value, const char* name) {
  if (value == nullptr) call.fail(std::string("argument ") + name + " is missing");
  return *value;
}

bool flag(const Value* value, bool fallback) {
  return value == nullptr ? fallback : value->truth();
}

// ---- strings ----

// An empty pattern stands between all characters, as in Python.
std::string replaced(const Call& call, const std::string& text, const std::string& from,
                     const std::string& to, std::int64_t count) {
  std::string out;
  std::size_t copied = 0;
  call.runtime.step(1 + text.size() / 64 * (1 + from.size() / 256));
  const auto offsets = from.empty() ? boundaries(text) : std::vector<std::size_t>();
  for (std::size_t i = 0; count != 0; ++i, --count) {
    const std::size_t at =
        from.empty() ? (i < offsets.size() ? offsets[i] : std::string::npos) : text.find(from, copied);
    if (at == std::string::npos) break;
    call.runtime.charge(at - copied + to.size());
    out.append(text, copied, at - copied).append(to);
    copied = at + from.size();
  }
  return out.append(text, copied);
}

Value filter_trim(const Call& call) {
  return call_method(call.runtime, "strip", string(call, subject(call)), call.arguments);
}
Value filter_upper(const Call& call) {
  call.bind_none();
  return string(call, to_upper(subject(call)));
}
Value filter_lower(const Call& call) {
  call.bind_none();
  return string(call, unicode::to_lower(subject(call)));
}
Value filter_capitalize(const Call& call) {
  call.bind_none();
  return string(call, capitalized(subject(call)));
}
Value filter_title(const Call& call) {
  call.bind_none();
  return string(call, titled(subject(call)));
}
Value filter_string(const Call& call) {
  call.bind_none();
  return string(call, subject(call));
}
Value filter_replace(const Call& call) {
  const auto [from, to, count] = call.bind<3>({"old", "new", "count"});
  const std::string old = to_string(call.runtime, required(call, from, "old"));
  const std::string replacement = to_string(call.runtime, required(call, to, "new"));
  const bool all = count == nullptr || count->is_none();
  return string(call,
                replaced(call, subject(call), old, replacement, all ? -1 : call.integer(count, -1, "count")));
}
Value filter_escape(const Call& call) {
  call.bind_none();
  std::string out;
  for (const char c : subject(call)) {
    const char* escaped = c == '&'    ? "&amp;"
                          : c == '<'  ? "&lt;"
                          : c == '>'  ? "&gt;"
                          : c == '\'' ? "&#39;"
                          : c == '"'  ? "&#34;"
                                      : nullptr;
    if (escaped != nullptr) {
      out += escaped;
    } else {
      out += c;
    }
  }
  return string(call, std::move(out));
}
Value filter_safe(const Call& call) {
  call.bind_none();
  return string(call, subject(call));
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (std::size_t at; (at = text.find('\n', begin)) != std::string::npos; begin = at + 1) {
    lines.push_back(text.substr(begin, at - begin));
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

Value filter_indent(const Call& call) {
  const auto [width, first, blank] = call.bind<3>({"width", "first", "blank"});
  std::string indent;
  if (width != nullptr && width->if_string()) {
    indent = *width->if_string();
  } else {
    const std::int64_t spaces = call.integer(width, 4, "width");
    constexpr std::int64_t kMaxSpaces = 10'000;
    if (spaces > kMaxSpaces) call.fail("a width over 10000");
    indent.assign(static_cast<std::size_t>(std::max<std::int64_t>(spaces, 0)), ' ');
  }
  const std::string text = subject(call);
  std::vector<std::string> lines = lines_of(text);
  if (text.empty() || text.ends_with('\n')) lines.emplace_back();
  call.runtime.charge(text.size() + lines.size() * (indent.size() + sizeof(std::string)));
  std::string out;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    const bool skip = i == 0 ? !flag(first, false) : lines[i].empty() && !flag(blank, false);
    out += (skip ? "" : indent) + lines[i];
  }
  return string(call, std::move(out));
}

Value filter_tojson(const Call& call) {
  const auto [ascii, indent, separators, sort] =
      call.bind<4>({"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = flag(ascii, false);
  style.sort_keys = flag(sort, false);
  if (indent != nullptr && !indent->is_none()) {
    style.multi_line = true;
    style.item_separator = ",";
    if (indent->if_string()) {
      style.indent = *indent->if_string();
    } else {
      constexpr std::int64_t kMaxSpaces = 100;
      const std::int64_t spaces = call.integer(indent, 0, "indent");
      if (spaces > kMaxSpaces) call.fail("an indent over 100");
      style.indent.assign(static_cast<std::size_t>(std::max<std::int64_t>(spaces, 0)), ' ');
    }
  }
  if (separators != nullptr && !separators->is_none()) {
    const auto* pair = separators->if_list();
    if (pair == nullptr || pair->size() != 2) call.fail("separators is not a pair of strings");
    style.item_separator = call.string(&(*pair)[0], "separators");
    style.key_separator = call.string(&(*pair)[1], "separators");
  }
  std::string out;
  append_json(call.runtime, call.self, style, out);
  return string(call, std::move(out));
}

// ---- numbers ----

// A whole string, with white space around it, as a number; false if it is none.
template <class Number>
bool parse_number(std::string_view text, Number& out) {
  text = unicode::strip(text);
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

Value filter_int(const Call& call) {
  const auto [fallback, base] = call.bind<2>({"default", "base"});
  if (base != nullptr && call.integer(base, 10, "base") != 10) call.fail("only base 10 is supported");
  const Value otherwise = fallback != nullptr ? *fallback : Value::integer(0);
  double number = 0;
  if (const std::string* text = call.self.if_string()) {
    std::int64_t integer = 0;
    if (parse_number(*text, integer)) return Value::integer(integer);
    if (!parse_number(*text, number)) return otherwise;  // "3.7" is 3
  } else if (const double* given = call.self.if_float()) {
    number = *given;
  } else if (call.self.is_number()) {
    return calculate(call.runtime, Operator::kAdd, Value::integer(0), call.self);
  } else {
    return otherwise;
  }
  return std::abs(number) < 9e18 ? Value::integer(static_cast<std::int64_t>(number)) : otherwise;
}
Value filter_float(const Call& call) {
  const auto [fallback] = call.bind<1>({"default"});
  double number = 0;
  if (const std::string* text = call.self.if_string(); text != nullptr && parse_number(*text, number)) {
    return Value::number(number);
  }
  if (call.self.is_number()) return calculate(call.runtime, Operator::kAdd, Value::number(0), call.self);
  return fallback != nullptr ? *fallback : Value::number(0);
}
Value filter_abs(const Call& call) {
  call.bind_none();
  if (!call.self.is_number()) call.fail(std::string("a ") + call.self.type_name() + " is no number");
  const bool negative = less(call.runtime, call.self, Value::integer(0));
  return negative ? negate(call.runtime, call.self)
                  : calculate(call.runtime, Operator::kAdd, Value::integer(0), call.self);
}

// ---- lists ----

Value filter_length(const Call& call) {
  call.bind_none();
  const auto count = [](std::size_t n) { return Value::integer(static_cast<std::int64_t>(n)); };
  if (const std::string* text = call.self.if_string()) {
    call.runtime.step(1 + text->size() / 64);
    return count(code_points(*text));
  }
  if (const auto* items = call.self.if_list()) return count(items->size());
  if (const DictData* dict = call.self.if_dict()) return count(dict->size());
  if (call.self.is_undefined()) return count(0);
  call.fail(std::string("a ") + call.self.type_name() + " has no length");
}

Value filter_list(const Call& call) {
  call.bind_none();
  return Value::list(call.runtime, iterate(call.runtime, call.self));
}
Value filter_first(const Call& call) {
  call.bind_none();
  const auto items = iterate(call.runtime, call.self);
  return items.empty() ? Value::undefined("filter first: the list is empty") : items.front();
}
Value filter_last(const Call& call) {
  call.bind_none();
  const auto items = iterate(call.runtime, call.self);
  return items.empty() ? Value::undefined("filter last: the list is empty") : items.back();
}
Value filter_reverse(const Call& call) {
  call.bind_none();
  auto items = iterate(call.runtime, call.self);
  std::reverse(items.begin(), items.end());
  if (!call.self.if_string()) return Value::list(call.runtime, std::move(items));
  std::string out;
  for (const Value& item : items) out += *item.if_string();
  return string(call, std::move(out));
}

Value filter_default(const Call& call) {
  const auto [fallback, also_false] = call.bind<2>({"default_value", "boolean"});
  const bool missing = call.self.is_undefined() || (flag(also_false, false) && !call.self.truth());
  if (!missing) return call.self;
  return fallback != nullptr ? *fallback : string(call, "");
}

// "a.b" is item b of item a; digits are an index.
Value attribute_of(const Call& call, Value value, const Value& path) {
  if (path.if_integer()) return item_of(call.runtime, value, path);
  std::string_view rest = call.string(&path, "attribute");
  for (;;) {
    const std::size_t dot = rest.find('.');
    const std::string_view name = rest.substr(0, dot);
    std::int64_t index = 0;
    const bool is_index = parse_number(name, index);
    value = item_of(call.runtime, value, is_index ? Value::integer(index) : string(call, std::string(name)));
    if (dot == std::string_view::npos) return value;
    rest.remove_prefix(dot + 1);
  }
}

Value filter_join(const Call& call) {
  const auto [separator, attribute] = call.bind<2>({"d", "attribute"});
  const std::string between = separator == nullptr ? "" : to_string(call.runtime, *separator);
  std::string out;
  bool first = true;
  for (const Value& item : iterate(call.runtime, call.self)) {
    if (!first) {
      call.runtime.charge(between.size());
      out += between;
    }
    first = false;
    append_string(call.runtime, attribute == nullptr ? item : attribute_of(call, item, *attribute), out);
  }
  return string(call, std::move(out));
}

Value filter_items(const Call& call) {
  call.bind_none();
  if (call.self.is_undefined()) return Value::list(call.runtime, {});
  const DictData* dict = call.self.if_dict();
  if (dict == nullptr) call.fail(std::string("a ") + call.self.type_name() + " is no mapping");
  std::vector<Value> out;
  for (const auto& [key, value] : *dict) {
    out.push_back(Value::list(call.runtime, {string(call, key), value}, true));
  }
  return Value::list(call.runtime, std::move(out));
}

// What strings are sorted by if case does not count.
Value sort_key(const Call& call, Value value, bool case_sensitive) {
  if (case_sensitive || !value.if_string()) return value;
  return string(call, unicode::to_lower(*value.if_string()));
}

// Sorts by keys; equal ones keep their order.
std::vector<Value> sorted(const Call& call, std::vector<std::pair<Value, Value>> keyed, bool reverse) {
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return reverse ? less(call.runtime, b.first, a.first) : less(call.runtime, a.first, b.first);
  });
  std::vector<Value> out;
  for (auto& [key, value] : keyed) out.push_back(std::move(value));
  return out;
}

Value filter_sort(const Call& call) {
  const auto [reverse, case_sensitive, attribute] = call.bind<3>({"reverse", "case_sensitive", "attribute"});
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : iterate(call.runtime, call.self)) {
    const bool whole = attribute == nullptr || attribute->is_none();
    Value key = whole ? item : attribute_of(call, item, *attribute);
    keyed.emplace_back(sort_key(call, std::move(key), flag(case_sensitive, false)), item);
  }
  return Value::list(call.runtime, sorted(call, std::move(keyed), flag(reverse, false)));
}

Value filter_dictsort(const Call& call) {
  const auto [case_sensitive, by, reverse] = call.bind<3>({"case_sensitive", "by", "reverse"});
  const std::string kind = by == nullptr ? "key" : call.string(by, "by");
  if (kind != "key" && kind != "value") call.fail("by is neither key nor value");
  const DictData* dict = call.self.if_dict();
  if (dict == nullptr) call.fail(std::string("a ") + call.self.type_name() + " is no mapping");
  std::vector<std::pair<Value, Value>> keyed;
  for (const auto& [key, value] : *dict) {
    const Value name = string(call, key);
    keyed.emplace_back(sort_key(call, kind == "key" ? name : value, flag(case_sensitive, false)),
                       Value::list(call.runtime, {name, value}, true));
  }
  return Value::list(call.runtime, sorted(call, std::move(keyed), flag(reverse, false)));
}

Value filter_unique(const Call& call) {
  const auto [case_sensitive, attribute] = call.bind<2>({"case_sensitive", "attribute"});
  std::vector<Value> out, seen;
  for (const Value& item : iterate(call.runtime, call.self)) {
    Value key = attribute == nullptr ? item : attribute_of(call, item, *attribute);
    key = sort_key(call, std::move(key), flag(case_sensitive, false));
    if (std::any_of(seen.begin(), seen.end(),
                    [&](const Value& one) { return equal(call.runtime, one, key); })) {
      continue;
    }
    seen.push_back(std::move(key));
    out.push_back(item);
  }
  return Value::list(call.runtime, std::move(out));
}

// map('upper'), map(attribute='role', default='')
Value filter_map(const Call& call) {
  std::vector<Value> out;
  if (call.arguments.positional.empty()) {
    const auto [attribute, fallback] = call.bind<2>({"attribute", "default"});
    for (const Value& item : iterate(call.runtime, call.self)) {
      const Value value = attribute_of(call, item, required(call, attribute, "attribute"));
      out.push_back(value.is_undefined() && fallback != nullptr ? *fallback : value);
    }
  } else {
    const auto& given = call.arguments.positional;
    const std::string& name = call.string(&given[0], "filter");
    const Arguments rest{{given.begin() + 1, given.end()}, call.arguments.named};
    for (const Value& item : iterate(call.runtime, call.self)) {
      out.push_back(apply_filter(call.runtime, name, item, rest));
    }
  }
  return Value::list(call.runtime, std::move(out));
}

// select, reject, selectattr, rejectattr: [attribute,] test, its arguments.
Value choose(const Call& call, bool by_attribute, bool wanted) {
  const auto& given = call.arguments.positional;
  const std::size_t skip = by_attribute ? 1 : 0;
  if (given.size() < skip) call.fail("the attribute is missing");
  std::string test;
  Arguments rest;
  if (given.size() > skip) {
    test = call.string(&given[skip], "test");
    rest.positional.assign(given.begin() + static_cast<std::ptrdiff_t>(skip) + 1, given.end());
  }
  std::vector<Value> out;
  for (const Value& item : iterate(call.runtime, call.self)) {
    const Value value = by_attribute ? attribute_of(call, item, given[0]) : item;
    const bool passes = test.empty() ? value.truth() : apply_test(call.runtime, test, value, rest);
    if (passes == wanted) out.push_back(item);
  }
  return Value::list(call.runtime, std::move(out));
}
Value filter_select(const Call& call) {
  return choose(call, false, true);
}
Value filter_reject(const Call& call) {
  return choose(call, false, false);
}
Value filter_selectattr(const Call& call) {
  return choose(call, true, true);
}
Value filter_rejectattr(const Call& call) {
  return choose(call, true, false);
}

const std::map<std::string_view, Function>& filters() {
  static const std::map<std::string_view, Function> kFilters = {{"abs", filter_abs},
                                                                {"capitalize", filter_capitalize},
                                                                {"count", filter_length},
                                                                {"d", filter_default},
                                                                {"default", filter_default},
                                                                {"dictsort", filter_dictsort},
                                                                {"e", filter_escape},
                                                                {"escape", filter_escape},
                                                                {"first", filter_first},
                                                                {"float", filter_float},
                                                                {"indent", filter_indent},
                                                                {"int", filter_int},
                                                                {"items", filter_items},
                                                                {"join", filter_join},
                                                                {"last", filter_last},
                                                                {"length", filter_length},
                                                                {"list", filter_list},
                                                                {"lower", filter_lower},
                                                                {"map", filter_map},
                                                                {"reject", filter_reject},
                                                                {"rejectattr", filter_rejectattr},
                                                                {"replace", filter_replace},
                                                                {"reverse", filter_reverse},
                                                                {"safe", filter_safe},
                                                                {"select", filter_select},
                                                                {"selectattr", filter_selectattr},
                                                                {"sort", filter_sort},
                                                                {"string", filter_string},
                                                                {"title", filter_title},
                                                                {"tojson", filter_tojson},
                                                                {"trim", filter_trim},
                                                                {"unique", filter_unique},
                                                                {"upper", filter_upper}};
  return kFilters;
}

}  // namespace

Value apply_filter(Runtime& runtime, const std::string& name, const Value& self, const Arguments& arguments) {
  runtime.step();
  const auto found = filters().find(name);
  if (found == filters().end()) runtime.fail(ErrorCode::kUnsupported, "filter " + name + " is not supported");
  return found->second({runtime, "filter " + name, self, arguments});
}

}  // namespace kvasir::jinja
