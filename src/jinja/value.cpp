#include "jinja/value.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/utf8.h"
#include "jinja/text.h"

namespace kvasir::jinja {

namespace {

// Searching costs at most about this: std::string::find compares at every place that might match.
std::size_t search_cost(std::string_view text, std::string_view pattern) noexcept {
  return 1 + text.size() / 64 * (1 + pattern.size() / 256);
}

[[noreturn]] void fail_operands(const Runtime& runtime, const char* op, const Value& a, const Value& b) {
  for (const Value* value : {&a, &b}) {
    if (const auto* undefined = std::get_if<Undefined>(&value->content())) runtime.fail(*undefined->what);
  }
  runtime.fail(std::string("operator ") + op + " does not take a " + a.type_name() + " and a " +
               b.type_name());
}

double as_double(const Value& value) {
  if (const double* number = value.if_float()) return *number;
  if (const std::int64_t* integer = value.if_integer()) return static_cast<double>(*integer);
  return *value.if_boolean() ? 1 : 0;
}

std::int64_t as_integer(const Value& value) {
  const std::int64_t* integer = value.if_integer();
  return integer != nullptr ? *integer : (*value.if_boolean() ? 1 : 0);
}

// Python compares exactly; so does this for all integers that a double can hold, and templates have no
// others.
int compare_numbers(const Value& a, const Value& b) {
  if (!a.if_float() && !b.if_float()) {
    const std::int64_t x = as_integer(a), y = as_integer(b);
    return x < y ? -1 : x > y ? 1 : 0;
  }
  const double x = as_double(a), y = as_double(b);
  return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;  // 2: not a number
}

void append_items(Runtime& runtime, const ListData& list, std::string& out) {
  out += list.tuple ? '(' : '[';
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out += ", ";
    append_repr(runtime, list.items[i], out);
  }
  if (list.tuple && list.items.size() == 1) out += ',';
  out += list.tuple ? ')' : ']';
}

void append_entries(Runtime& runtime, const DictData& entries, std::string& out) {
  out += '{';
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (i > 0) out += ", ";
    append_quoted(entries[i].first, out);
    out += ": ";
    append_repr(runtime, entries[i].second, out);
  }
  out += '}';
}

int depth_of(const Value& value) {
  if (const auto* list = std::get_if<Value::List>(&value.content())) return (*list)->depth;
  if (const auto* dict = std::get_if<Value::Dict>(&value.content())) return (*dict)->depth;
  const auto* callable = std::get_if<std::shared_ptr<const Callable>>(&value.content());
  return callable != nullptr ? depth_of((*callable)->self) : 0;  // a method of a list keeps the list
}

// What holds the value is one deeper; so deep that everything can be visited and freed by recursion.
int depth_above(const Runtime& runtime, int depth) {
  if (depth >= Runtime::kMaxDepth) {
    runtime.fail(ErrorCode::kResourceExhausted,
                 "a list is nested more than " + std::to_string(Runtime::kMaxDepth) + " levels deep");
  }
  return depth + 1;
}

// ---- calculation ----

Value add(Runtime& runtime, const Value& a, const Value& b) {
  if (a.if_string() && b.if_string()) {
    runtime.charge(a.if_string()->size() + b.if_string()->size());
    return Value::string(runtime, *a.if_string() + *b.if_string());
  }
  const auto* x = std::get_if<Value::List>(&a.content());
  const auto* y = std::get_if<Value::List>(&b.content());
  if (x == nullptr || y == nullptr || (*x)->tuple != (*y)->tuple) fail_operands(runtime, "+", a, b);
  std::vector<Value> items;
  runtime.charge(((*x)->items.size() + (*y)->items.size()) * sizeof(Value));
  items.insert(items.end(), (*x)->items.begin(), (*x)->items.end());
  items.insert(items.end(), (*y)->items.begin(), (*y)->items.end());
  return Value::list(runtime, std::move(items), (*x)->tuple);
}

Value repeat(Runtime& runtime, const Value& what, std::int64_t signed_times) {
  const auto times = static_cast<std::size_t>(std::max<std::int64_t>(signed_times, 0));
  const auto charge = [&](std::size_t bytes) {
    std::size_t total = 0;
    if (__builtin_mul_overflow(bytes, times, &total)) total = SIZE_MAX;
    runtime.charge(total);
  };
  if (const std::string* text = what.if_string()) {
    charge(text->size());
    std::string out;
    if (!text->empty()) {
      for (std::size_t i = 0; i < times; ++i) out += *text;
    }
    return Value::string(runtime, std::move(out));
  }
  const ListData& list = **std::get_if<Value::List>(&what.content());
  charge(list.items.size() * sizeof(Value));
  std::vector<Value> items;
  if (!list.items.empty()) {
    for (std::size_t i = 0; i < times; ++i) items.insert(items.end(), list.items.begin(), list.items.end());
  }
  return Value::list(runtime, std::move(items), list.tuple);
}

Value calculate_floats(Runtime& runtime, Operator op, double x, double y) {
  const bool divides = op == Operator::kDivide || op == Operator::kFloorDivide || op == Operator::kModulo;
  if (divides && y == 0) runtime.fail(std::string("operator ") + operator_name(op) + ": division by zero");
  switch (op) {
    case Operator::kAdd:
      return Value::number(x + y);
    case Operator::kSubtract:
      return Value::number(x - y);
    case Operator::kMultiply:
      return Value::number(x * y);
    case Operator::kDivide:
      return Value::number(x / y);
    case Operator::kFloorDivide:
      return Value::number(std::floor(x / y));
    case Operator::kModulo: {
      const double rest = std::fmod(x, y);
      return Value::number(rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest);
    }
    case Operator::kPower:
      return Value::number(std::pow(x, y));
  }
  runtime.fail(ErrorCode::kInternal, "an operator that does not exist");
}

Value integer_power(Runtime& runtime, std::int64_t x, std::int64_t y) {
  if (y < 0)
    return calculate_floats(runtime, Operator::kPower, static_cast<double>(x), static_cast<double>(y));
  std::int64_t out = 1;
  for (std::int64_t i = 0; i < y && out != 0; ++i) {
    if (x == 1 || x == -1) return Value::integer(x == 1 || y % 2 == 0 ? 1 : -1);
    if (__builtin_mul_overflow(out, x, &out)) runtime.fail("operator **: the number is too large");
  }
  return Value::integer(out);
}

// Rounds towards minus infinity, and the rest has the sign of the divisor.
Value calculate_integers(Runtime& runtime, Operator op, std::int64_t x, std::int64_t y) {
  std::int64_t out = 0;
  bool overflow = false;
  switch (op) {
    case Operator::kAdd:
      overflow = __builtin_add_overflow(x, y, &out);
      break;
    case Operator::kSubtract:
      overflow = __builtin_sub_overflow(x, y, &out);
      break;
    case Operator::kMultiply:
      overflow = __builtin_mul_overflow(x, y, &out);
      break;
    case Operator::kPower:
      return integer_power(runtime, x, y);
    case Operator::kDivide:
      return calculate_floats(runtime, op, static_cast<double>(x), static_cast<double>(y));
    case Operator::kFloorDivide:
    case Operator::kModulo: {
      if (y == 0) runtime.fail(std::string("operator ") + operator_name(op) + ": division by zero");
      if (y == -1) {
        if (op == Operator::kModulo) return Value::integer(0);
        overflow = __builtin_sub_overflow(std::int64_t{0}, x, &out);
        break;
      }
      const std::int64_t rest = x % y;
      const bool adjust = rest != 0 && (rest < 0) != (y < 0);
      out = op == Operator::kModulo ? (adjust ? rest + y : rest) : x / y - (adjust ? 1 : 0);
      break;
    }
  }
  if (overflow) runtime.fail(std::string("operator ") + operator_name(op) + ": the number is too large");
  return Value::integer(out);
}

// Position of a Python index, or the length if it is out of range.
std::size_t position(std::int64_t index, std::size_t length) noexcept {
  const auto signed_length = static_cast<std::int64_t>(length);
  if (index < 0) index += signed_length;
  return index < 0 || index >= signed_length ? length : static_cast<std::size_t>(index);
}

// The indices of a Python slice.
std::vector<std::size_t> slice_indices(Runtime& runtime, std::size_t length, const Value& start,
                                       const Value& stop, const Value& step) {
  const auto integer = [&](const Value& value, std::int64_t fallback) {
    if (value.is_none()) return fallback;
    if (const std::int64_t* given = value.if_integer()) return *given;
    runtime.fail(std::string("a slice wants integers, not a ") + value.type_name());
  };
  const std::int64_t by = integer(step, 1), n = static_cast<std::int64_t>(length);
  if (by == 0) runtime.fail("the step of a slice is 0");
  const std::int64_t low = by > 0 ? 0 : -1, high = by > 0 ? n : n - 1;
  const auto clamp = [&](std::int64_t index) {
    if (index < 0) index += n;  // cannot overflow: n >= 0
    return std::clamp(index, low, high);
  };
  const std::int64_t from = start.is_none() ? (by > 0 ? low : high) : clamp(integer(start, 0));
  const std::int64_t to = stop.is_none() ? (by > 0 ? high : low) : clamp(integer(stop, 0));
  std::vector<std::size_t> out;
  runtime.charge(length * sizeof(std::size_t));
  for (std::int64_t at = from; by > 0 ? at < to : at > to;) {
    out.push_back(static_cast<std::size_t>(at));
    if (__builtin_add_overflow(at, by, &at)) break;
  }
  return out;
}

}  // namespace

Value Value::string(Runtime& runtime, std::string text) {
  runtime.charge(text.size() + sizeof(std::string));
  return Value(Content(std::make_shared<const std::string>(std::move(text))));
}

Value Value::list(Runtime& runtime, std::vector<Value> items, bool tuple) {
  runtime.charge(items.size() * sizeof(Value) + sizeof(ListData));
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, depth_of(item));
  depth = depth_above(runtime, depth);
  return Value(Content(std::make_shared<const ListData>(ListData{std::move(items), tuple, depth})));
}

Value Value::dict(Runtime& runtime, DictData entries) {
  runtime.charge(entries.size() * sizeof(Entry) + sizeof(DictValue));
  int depth = 0;
  for (const auto& [key, value] : entries) depth = std::max(depth, depth_of(value));
  depth = depth_above(runtime, depth);
  return Value(Content(std::make_shared<const DictValue>(DictValue{std::move(entries), depth})));
}

Value Value::from_json(Runtime& runtime, const base::json::value& json) {
  runtime.step();
  if (json.is_null()) return {};
  if (json.is_bool()) return boolean(json.get_bool());
  if (json.is_int64()) return integer(json.get_int64());
  if (json.is_number()) return number(json.to_number<double>());
  if (json.is_string()) return string(runtime, std::string(json.get_string()));
  if (const base::json::array* array = json.if_array()) {
    std::vector<Value> items;
    for (const auto& item : *array) items.push_back(from_json(runtime, item));
    return list(runtime, std::move(items));
  }
  DictData entries;
  for (const auto& [key, item] : json.get_object()) entries.emplace_back(key, from_json(runtime, item));
  return dict(runtime, std::move(entries));
}

const std::vector<Value>* Value::if_list() const {
  const ListData* list = shared<ListData>();
  return list != nullptr ? &list->items : nullptr;
}

const DictData* Value::if_dict() const {
  const DictValue* dict = shared<DictValue>();
  return dict != nullptr ? &dict->entries : nullptr;
}

const char* Value::type_name() const {
  constexpr std::array<const char*, std::variant_size_v<Content>> kNames = {
      "undefined", "none", "bool", "int", "float", "string", "list", "dict", "namespace", "loop", "function"};
  if (const auto* list = std::get_if<List>(&content_); list != nullptr && (*list)->tuple) return "tuple";
  return kNames[content_.index()];
}

bool Value::truth() const {
  if (is_undefined() || is_none()) return false;
  if (is_number()) return as_double(*this) != 0;
  if (const std::string* text = if_string()) return !text->empty();
  if (const auto* items = if_list()) return !items->empty();
  if (const DictData* entries = if_dict()) return !entries->empty();
  return true;
}

const Value* find(const DictData& entries, std::string_view key) {
  for (const auto& [name, value] : entries) {
    if (name == key) return &value;
  }
  return nullptr;
}

void append_repr(Runtime& runtime, const Value& value, std::string& out) {
  runtime.step();
  if (const std::string* text = value.if_string()) {
    runtime.charge(text->size());
    append_quoted(*text, out);
  } else if (value.is_undefined()) {
    out += "Undefined";
  } else {
    append_string(runtime, value, out);
  }
}

void append_string(Runtime& runtime, const Value& value, std::string& out) {
  runtime.step();
  if (value.is_undefined()) return;
  if (const std::string* text = value.if_string()) {
    runtime.charge(text->size());
    out += *text;
  } else if (value.is_none()) {
    out += "None";
  } else if (const bool* boolean = value.if_boolean()) {
    out += *boolean ? "True" : "False";
  } else if (const std::int64_t* integer = value.if_integer()) {
    out += std::to_string(*integer);
  } else if (const double* number = value.if_float()) {
    append_float(*number, out);
  } else if (const auto* list = std::get_if<Value::List>(&value.content())) {
    append_items(runtime, **list, out);
  } else if (const DictData* dict = value.if_dict()) {
    append_entries(runtime, *dict, out);
  } else {
    runtime.fail(std::string("a ") + value.type_name() + " cannot be printed");
  }
}

std::string to_string(Runtime& runtime, const Value& value) {
  std::string out;
  append_string(runtime, value, out);
  return out;
}

bool equal(Runtime& runtime, const Value& a, const Value& b) {
  runtime.step();
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.content().index() != b.content().index()) return false;
  if (const std::string* text = a.if_string()) return *text == *b.if_string();
  if (const auto* list = std::get_if<Value::List>(&a.content())) {
    const ListData &x = **list, &y = **std::get_if<Value::List>(&b.content());
    if (x.tuple != y.tuple || x.items.size() != y.items.size()) return false;
    for (std::size_t i = 0; i < x.items.size(); ++i) {
      if (!equal(runtime, x.items[i], y.items[i])) return false;
    }
    return true;
  }
  if (const DictData* x = a.if_dict()) {
    const DictData& y = *b.if_dict();
    if (x->size() != y.size()) return false;
    for (const auto& [key, value] : *x) {
      runtime.step(1 + y.size() / 16);
      const Value* other = find(y, key);
      if (other == nullptr || !equal(runtime, value, *other)) return false;
    }
    return true;
  }
  if (const auto* x = std::get_if<std::shared_ptr<Namespace>>(&a.content())) {
    return *x == std::get<std::shared_ptr<Namespace>>(b.content());
  }
  if (const auto* x = std::get_if<std::shared_ptr<const Callable>>(&a.content())) {
    return *x == std::get<std::shared_ptr<const Callable>>(b.content());
  }
  return true;  // none and none, undefined and undefined
}

bool less(Runtime& runtime, const Value& a, const Value& b) {
  runtime.step();
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == -1;
  if (a.if_string() && b.if_string())
    return *a.if_string() < *b.if_string();  // UTF-8 sorts as code points do
  const auto* x = std::get_if<Value::List>(&a.content());
  const auto* y = std::get_if<Value::List>(&b.content());
  if (x == nullptr || y == nullptr || (*x)->tuple != (*y)->tuple) fail_operands(runtime, "<", a, b);
  const auto &p = (*x)->items, &q = (*y)->items;
  for (std::size_t i = 0; i < p.size() && i < q.size(); ++i) {
    if (!equal(runtime, p[i], q[i])) return less(runtime, p[i], q[i]);
  }
  return p.size() < q.size();
}

bool contains(Runtime& runtime, const Value& haystack, const Value& needle) {
  if (const std::string* text = haystack.if_string()) {
    const std::string* part = needle.if_string();
    if (part == nullptr) fail_operands(runtime, "in", needle, haystack);
    runtime.step(search_cost(*text, *part));
    return text->find(*part) != std::string::npos;
  }
  if (const auto* items = haystack.if_list()) {
    for (const Value& item : *items) {
      if (equal(runtime, item, needle)) return true;
    }
    return false;
  }
  if (const DictData* dict = haystack.if_dict()) {
    runtime.step(1 + dict->size() / 16);
    return needle.if_string() != nullptr && find(*dict, *needle.if_string()) != nullptr;
  }
  if (haystack.is_undefined()) return false;
  fail_operands(runtime, "in", needle, haystack);
}

std::vector<Value> iterate(Runtime& runtime, const Value& value) {
  if (value.is_undefined()) return {};
  if (const auto* items = value.if_list()) {
    runtime.charge(items->size() * sizeof(Value));
    return *items;
  }
  std::vector<Value> out;
  if (const DictData* dict = value.if_dict()) {
    runtime.charge(dict->size() * sizeof(Value));
    for (const auto& [key, item] : *dict) out.push_back(Value::string(runtime, key));
    return out;
  }
  const std::string* text = value.if_string();
  if (text == nullptr) runtime.fail(std::string("a ") + value.type_name() + " cannot be iterated over");
  runtime.charge(text->size() * sizeof(Value));
  for (std::size_t at = 0; at < text->size();) {
    const std::size_t length = base::decode_utf8(*text, at).length;
    out.push_back(Value::string(runtime, text->substr(at, length)));
    at += length;
  }
  return out;
}

const char* operator_name(Operator op) noexcept {
  constexpr std::array<const char*, 7> kNames = {"+", "-", "*", "/", "//", "%", "**"};
  return kNames[static_cast<std::size_t>(op)];
}

Value calculate(Runtime& runtime, Operator op, const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.if_float() || b.if_float()) return calculate_floats(runtime, op, as_double(a), as_double(b));
    return calculate_integers(runtime, op, as_integer(a), as_integer(b));
  }
  if (op == Operator::kAdd) return add(runtime, a, b);
  const auto repeats = [](const Value& what, const Value& times) {
    return (what.if_string() || what.if_list()) && (times.if_integer() || times.if_boolean());
  };
  if (op == Operator::kMultiply && repeats(a, b)) return repeat(runtime, a, as_integer(b));
  if (op == Operator::kMultiply && repeats(b, a)) return repeat(runtime, b, as_integer(a));
  if (op == Operator::kModulo && a.if_string()) {
    runtime.fail(ErrorCode::kUnsupported, "operator %: formatting of strings is not supported");
  }
  fail_operands(runtime, operator_name(op), a, b);
}

Value negate(Runtime& runtime, const Value& value) {
  return calculate(runtime, Operator::kSubtract, Value::integer(0), value);
}

Value item_of(Runtime& runtime, const Value& value, const Value& key) {
  if (const auto* undefined = std::get_if<Undefined>(&value.content())) runtime.fail(*undefined->what);
  const std::string* name = key.if_string();
  if (const DictData* dict = value.if_dict(); dict != nullptr && name != nullptr) {
    runtime.step(1 + dict->size() / 16);
    if (const Value* found = find(*dict, *name)) return *found;
  }
  if (const auto* space = std::get_if<std::shared_ptr<Namespace>>(&value.content());
      space && name != nullptr) {
    runtime.step(1 + (*space)->attributes.size() / 16);
    if (const Value* found = find((*space)->attributes, *name)) return *found;
  }
  if (const std::int64_t* index = key.if_integer()) {
    if (const auto* items = value.if_list()) {
      const std::size_t at = position(*index, items->size());
      if (at < items->size()) return (*items)[at];
    } else if (const std::string* text = value.if_string()) {
      runtime.charge(text->size());
      const auto offsets = boundaries(*text);
      const std::size_t at = position(*index, offsets.size() - 1);
      if (at + 1 < offsets.size()) {
        return Value::string(runtime, text->substr(offsets[at], offsets[at + 1] - offsets[at]));
      }
    }
  }
  std::string shown;
  append_repr(runtime, key, shown);
  return Value::undefined(std::string(value.type_name()) + " has no element " + shown);
}

Value slice_of(Runtime& runtime, const Value& value, const Value& start, const Value& stop,
               const Value& step) {
  if (const auto* list = std::get_if<Value::List>(&value.content())) {
    std::vector<Value> items;
    for (const std::size_t at : slice_indices(runtime, (*list)->items.size(), start, stop, step)) {
      items.push_back((*list)->items[at]);
    }
    return Value::list(runtime, std::move(items), (*list)->tuple);
  }
  const std::string* text = value.if_string();
  if (text == nullptr) {
    if (const auto* undefined = std::get_if<Undefined>(&value.content())) runtime.fail(*undefined->what);
    return Value::undefined(std::string(value.type_name()) + " has no slices");
  }
  runtime.charge(text->size() * sizeof(std::size_t));
  const auto offsets = boundaries(*text);
  std::string out;
  for (const std::size_t at : slice_indices(runtime, offsets.size() - 1, start, stop, step)) {
    out.append(*text, offsets[at], offsets[at + 1] - offsets[at]);
  }
  return Value::string(runtime, std::move(out));
}

}  // namespace kvasir::jinja
