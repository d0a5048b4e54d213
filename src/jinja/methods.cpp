// The methods of strings, dictionaries and lists.
#include <algorithm>
#include <array>
#include <map>

#include "jinja/functions.h"
#include "jinja/text.h"
#include "unicode/python_text.h"

namespace kvasir::jinja {

namespace {

using Method = Value (*)(const Call&);

const std::string& text_of(const Call& call) {
  return *call.self.if_string();
}
Value string(const Call& call, std::string text) {
  return Value::string(call.runtime, std::move(text));
}

std::string_view strip_set(const Call& call, std::string_view text, const std::string& set, bool left,
                           bool right) {
  const auto last = [&] {
    std::size_t at = text.size() - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
    return at;
  };
  const auto in_set = [&](std::string_view character) {
    call.runtime.step(1 + set.size() / 64);
    return set.find(character) != std::string::npos;
  };
  while (left && !text.empty()) {
    std::size_t length = 1;
    while (length < text.size() && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) ++length;
    if (!in_set(text.substr(0, length))) break;
    text.remove_prefix(length);
  }
  while (right && !text.empty() && in_set(text.substr(last()))) text = text.substr(0, last());
  return text;
}

Value strip(const Call& call, bool left, bool right) {
  const auto [chars] = call.bind<1>({"chars"});
  std::string_view text = text_of(call);
  if (chars != nullptr && !chars->is_none()) {
    text = strip_set(call, text, call.string(chars, "chars"), left, right);
  } else {
    if (left) text = unicode::strip_left(text);
    if (right) text = unicode::strip_right(text);
  }
  return string(call, std::string(text));
}

// split() and rsplit() without separator: at runs of white space.
std::vector<Value> split_at_spaces(const Call& call, std::string_view text, std::int64_t limit) {
  std::vector<Value> out;
  text = unicode::strip_left(text);
  while (!text.empty()) {
    if (limit-- == 0) {
      out.push_back(string(call, std::string(unicode::strip_right(text))));
      break;
    }
    std::size_t end = 0;
    while (end < text.size()) {
      if ((static_cast<unsigned char>(text[end]) & 0xC0) != 0x80 &&
          unicode::strip_left(text.substr(end)).size() != text.size() - end) {
        break;
      }
      ++end;
    }
    out.push_back(string(call, std::string(text.substr(0, end))));
    text = unicode::strip_left(text.substr(end));
  }
  return out;
}

std::vector<Value> split_at(const Call& call, std::string_view text, const std::string& separator,
                            std::int64_t limit, bool from_right) {
  if (separator.empty()) call.fail("the separator is empty");
  call.runtime.step(1 + text.size() / 64 * (1 + separator.size() / 256));
  std::vector<Value> out;
  while (limit-- != 0) {
    const std::size_t at = from_right ? text.rfind(separator) : text.find(separator);
    if (at == std::string_view::npos) break;
    const std::string_view after = text.substr(at + separator.size());
    out.push_back(string(call, std::string(from_right ? after : text.substr(0, at))));
    text = from_right ? text.substr(0, at) : after;
  }
  out.push_back(string(call, std::string(text)));
  if (from_right) std::reverse(out.begin(), out.end());
  return out;
}

Value split(const Call& call, bool from_right) {
  const auto [separator, max] = call.bind<2>({"sep", "maxsplit"});
  const std::int64_t limit = call.integer(max, -1, "maxsplit");
  if (separator == nullptr || separator->is_none()) {
    if (from_right && limit >= 0) call.fail("rsplit with a limit wants a separator");
    return Value::list(call.runtime, split_at_spaces(call, text_of(call), limit));
  }
  return Value::list(call.runtime,
                     split_at(call, text_of(call), call.string(separator, "sep"), limit, from_right));
}

Value splitlines(const Call& call) {
  const auto [keep] = call.bind<1>({"keepends"});
  const std::string& text = text_of(call);
  std::vector<Value> out;
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t end = text.find_first_of("\r\n", begin);
    std::size_t next = text.size();
    if (end == std::string::npos) {
      end = text.size();
    } else {
      next = end + (text.compare(end, 2, "\r\n") == 0 ? 2 : 1);
    }
    const bool kept = keep != nullptr && keep->truth();
    out.push_back(string(call, text.substr(begin, (kept ? next : end) - begin)));
    begin = next;
  }
  return Value::list(call.runtime, std::move(out));
}

// startswith and endswith take one string or a tuple of them.
template <class Matches>
Value any_matches(const Call& call, Matches matches) {
  const auto [given] = call.bind<1>({"prefix"});
  if (given != nullptr && given->if_list()) {
    for (const Value& one : *given->if_list()) {
      if (matches(text_of(call), call.string(&one, "prefix"))) return Value::boolean(true);
    }
    return Value::boolean(false);
  }
  return Value::boolean(matches(text_of(call), call.string(given, "prefix")));
}

Value replace(const Call& call) {
  const auto [from, to, count] = call.bind<3>({"old", "new", "count"});
  call.string(from, "old");
  call.string(to, "new");
  const Value all = Value::integer(-1);
  const Arguments arguments{{*from, *to, count != nullptr ? *count : all}, {}};
  return apply_filter(call.runtime, "replace", call.self, arguments);
}

Value join(const Call& call) {
  const auto [items] = call.bind<1>({"iterable"});
  if (items == nullptr) call.fail("the list is missing");
  std::string out;
  bool first = true;
  for (const Value& item : iterate(call.runtime, *items)) {
    const std::string& text = call.string(&item, "of join");
    call.runtime.charge(text.size() + text_of(call).size());
    if (!first) out += text_of(call);
    first = false;
    out += text;
  }
  return string(call, std::move(out));
}

Value find_position(const Call& call, bool last) {
  const auto [part] = call.bind<1>({"sub"});
  const std::string &text = text_of(call), &sought = call.string(part, "sub");
  call.runtime.step(1 + text.size() / 64 * (1 + sought.size() / 256));
  const std::size_t at = last ? text.rfind(sought) : text.find(sought);
  if (at == std::string::npos) return Value::integer(-1);
  return Value::integer(static_cast<std::int64_t>(code_points(std::string_view(text).substr(0, at))));
}

Value count(const Call& call) {
  const auto [part] = call.bind<1>({"sub"});
  const std::string &text = text_of(call), &sought = call.string(part, "sub");
  if (sought.empty()) return Value::integer(static_cast<std::int64_t>(code_points(text)) + 1);
  call.runtime.step(1 + text.size() / 64 * (1 + sought.size() / 256));
  std::int64_t found = 0;
  for (std::size_t at = 0; (at = text.find(sought, at)) != std::string::npos; at += sought.size()) ++found;
  return Value::integer(found);
}

Value remove_prefix(const Call& call) {
  const auto [part] = call.bind<1>({"prefix"});
  const std::string& prefix = call.string(part, "prefix");
  return string(call,
                text_of(call).starts_with(prefix) ? text_of(call).substr(prefix.size()) : text_of(call));
}
Value remove_suffix(const Call& call) {
  const auto [part] = call.bind<1>({"suffix"});
  const std::string &suffix = call.string(part, "suffix"), &text = text_of(call);
  return string(call, text.ends_with(suffix) ? text.substr(0, text.size() - suffix.size()) : text);
}

Value is_digits(const Call& call) {
  call.bind_none();
  const std::string& text = text_of(call);
  return Value::boolean(!text.empty() &&
                        std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }));
}

Value upper(const Call& call) {
  return apply_filter(call.runtime, "upper", call.self, call.arguments);
}
Value lower(const Call& call) {
  return apply_filter(call.runtime, "lower", call.self, call.arguments);
}
Value capitalize(const Call& call) {
  return apply_filter(call.runtime, "capitalize", call.self, call.arguments);
}

const std::map<std::string_view, Method>& string_methods() {
  static const std::map<std::string_view, Method> kMethods = {
      {"capitalize", capitalize},
      {"count", count},
      {"endswith",
       [](const Call& call) {
         return any_matches(call, [](const std::string& a, const std::string& b) { return a.ends_with(b); });
       }},
      {"find", [](const Call& call) { return find_position(call, false); }},
      {"isdigit", is_digits},
      {"join", join},
      {"lower", lower},
      {"lstrip", [](const Call& call) { return strip(call, true, false); }},
      {"removeprefix", remove_prefix},
      {"removesuffix", remove_suffix},
      {"replace", replace},
      {"rfind", [](const Call& call) { return find_position(call, true); }},
      {"rsplit", [](const Call& call) { return split(call, true); }},
      {"rstrip", [](const Call& call) { return strip(call, false, true); }},
      {"split", [](const Call& call) { return split(call, false); }},
      {"splitlines", splitlines},
      {"startswith",
       [](const Call& call) {
         return any_matches(call,
                            [](const std::string& a, const std::string& b) { return a.starts_with(b); });
       }},
      {"strip", [](const Call& call) { return strip(call, true, true); }},
      {"upper", upper}};
  return kMethods;
}

// ---- dictionaries and lists ----

Value get(const Call& call) {
  const auto [key, fallback] = call.bind<2>({"key", "default"});
  const DictData& dict = *call.self.if_dict();
  call.runtime.step(1 + dict.size() / 16);
  const Value* found = key != nullptr && key->if_string() ? find(dict, *key->if_string()) : nullptr;
  if (found != nullptr) return *found;
  return fallback != nullptr ? *fallback : Value();
}
Value items(const Call& call) {
  return apply_filter(call.runtime, "items", call.self, call.arguments);
}
Value keys(const Call& call) {
  call.bind_none();
  return Value::list(call.runtime, iterate(call.runtime, call.self));
}
Value values(const Call& call) {
  call.bind_none();
  std::vector<Value> out;
  for (const auto& [key, value] : *call.self.if_dict()) out.push_back(value);
  return Value::list(call.runtime, std::move(out));
}
Value index(const Call& call) {
  const auto [sought] = call.bind<1>({"value"});
  if (sought == nullptr) call.fail("the value is missing");
  const auto& list = *call.self.if_list();
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (equal(call.runtime, list[i], *sought)) return Value::integer(static_cast<std::int64_t>(i));
  }
  call.fail("the value is not in the list");
}
Value count_items(const Call& call) {
  const auto [sought] = call.bind<1>({"value"});
  if (sought == nullptr) call.fail("the value is missing");
  std::int64_t found = 0;
  for (const Value& item : *call.self.if_list()) found += equal(call.runtime, item, *sought) ? 1 : 0;
  return Value::integer(found);
}

// Jinja's sandbox refuses what changes a value.
Value refuse_change(const Call& call) {
  call.fail("a template may not change a " + std::string(call.self.type_name()));
}

const std::map<std::string_view, Method>& dict_methods() {
  static const std::map<std::string_view, Method> kMethods = {
      {"clear", refuse_change}, {"get", get},
      {"items", items},         {"keys", keys},
      {"pop", refuse_change},   {"popitem", refuse_change},
      {"values", values},       {"setdefault", refuse_change},
      {"update", refuse_change}};
  return kMethods;
}

const std::map<std::string_view, Method>& list_methods() {
  static const std::map<std::string_view, Method> kMethods = {
      {"append", refuse_change}, {"clear", refuse_change},  {"count", count_items},
      {"extend", refuse_change}, {"index", index},          {"insert", refuse_change},
      {"pop", refuse_change},    {"remove", refuse_change}, {"reverse", refuse_change},
      {"sort", refuse_change}};
  return kMethods;
}

Method find_method(const Value& self, std::string_view name) {
  const auto in = [&](const std::map<std::string_view, Method>& methods) {
    const auto found = methods.find(name);
    return found != methods.end() ? found->second : nullptr;
  };
  if (self.if_string()) return in(string_methods());
  if (self.if_dict()) return in(dict_methods());
  return self.if_list() ? in(list_methods()) : nullptr;
}

}  // namespace

bool has_method(const Value& self, std::string_view name) {
  return find_method(self, name) != nullptr;
}

Value call_method(Runtime& runtime, const std::string& name, const Value& self, const Arguments& arguments) {
  runtime.step();
  const Method method = find_method(self, name);
  if (method == nullptr) {
    runtime.fail(ErrorCode::kUnsupported,
                 std::string("a ") + self.type_name() + " has no method " + name + " here");
  }
  return method({runtime, "method " + name, self, arguments});
}

}  // namespace kvasir::jinja
