#include "jinja/functions.h"

#include <algorithm>
#include <map>

#include "jinja/text.h"
#include "unicode/python_text.h"

namespace kvasir::jinja {

namespace {

using Test = bool (*)(const Call&);

Value string(const Call& call, std::string text) {
  return Value::string(call.runtime, std::move(text));
}
// What a test of strings works on: anything, as a string.
std::string subject(const Call& call) {
  return to_string(call.runtime, call.self);
}

const Value& required(const Call& call, const Value* value, const char* name) {
  if (value == nullptr) call.fail(std::string("argument ") + name + " is missing");
  return *value;
}

// ---- tests ----

bool is_integer(const Value& value) {
  return value.if_integer() != nullptr;
}
const Value& other(const Call& call) {
  const auto [value] = call.bind<1>({"other"});
  return required(call, value, "other");
}
bool is_multiple(const Call& call, const Value& of) {
  const Value rest = calculate(call.runtime, Operator::kModulo, call.self, of);
  return equal(call.runtime, rest, Value::integer(0));
}
bool test_is_equal(const Call& call) {
  return equal(call.runtime, call.self, other(call));
}
bool test_is_unequal(const Call& call) {
  return !equal(call.runtime, call.self, other(call));
}
bool test_is_less(const Call& call) {
  return less(call.runtime, call.self, other(call));
}
bool test_is_less_or_equal(const Call& call) {
  return equal(call.runtime, call.self, other(call)) || less(call.runtime, call.self, other(call));
}
bool test_is_greater(const Call& call) {
  return less(call.runtime, other(call), call.self);
}
bool test_is_greater_or_equal(const Call& call) {
  return equal(call.runtime, call.self, other(call)) || less(call.runtime, other(call), call.self);
}
bool test_is_in(const Call& call) {
  return contains(call.runtime, other(call), call.self);
}
bool test_is_same(const Call& call) {
  const Value& value = other(call);
  return call.self.content().index() == value.content().index() && equal(call.runtime, call.self, value);
}
bool test_is_iterable(const Call& call) {
  return call.self.if_string() || call.self.if_list() || call.self.if_dict() || call.self.is_undefined();
}
bool test_is_upper(const Call& call) {
  const std::string text = subject(call);
  return to_upper(text) == text && unicode::to_lower(text) != text;
}
bool test_is_lower(const Call& call) {
  const std::string text = subject(call);
  return unicode::to_lower(text) == text && to_upper(text) != text;
}

const std::map<std::string_view, Test>& tests() {
  static const std::map<std::string_view, Test> kTests = {
      {"!=", test_is_unequal},
      {"<", test_is_less},
      {"<=", test_is_less_or_equal},
      {"==", test_is_equal},
      {">", test_is_greater},
      {">=", test_is_greater_or_equal},
      {"boolean", [](const Call& call) { return call.self.if_boolean() != nullptr; }},
      {"callable",
       [](const Call& call) {
         return std::holds_alternative<std::shared_ptr<const Callable>>(call.self.content()) ||
                call.self.is_undefined();
       }},
      {"defined", [](const Call& call) { return !call.self.is_undefined(); }},
      {"divisibleby", [](const Call& call) { return is_multiple(call, other(call)); }},
      {"eq", test_is_equal},
      {"equalto", test_is_equal},
      {"even", [](const Call& call) { return is_multiple(call, Value::integer(2)); }},
      {"false", [](const Call& call) { return call.self.if_boolean() && !*call.self.if_boolean(); }},
      {"float", [](const Call& call) { return call.self.if_float() != nullptr; }},
      {"ge", test_is_greater_or_equal},
      {"greaterthan", test_is_greater},
      {"gt", test_is_greater},
      {"in", test_is_in},
      {"integer", [](const Call& call) { return is_integer(call.self); }},
      {"iterable", test_is_iterable},
      {"le", test_is_less_or_equal},
      {"lessthan", test_is_less},
      {"lower", test_is_lower},
      {"lt", test_is_less},
      {"mapping", [](const Call& call) { return call.self.if_dict() != nullptr; }},
      {"ne", test_is_unequal},
      {"none", [](const Call& call) { return call.self.is_none(); }},
      {"number", [](const Call& call) { return call.self.is_number(); }},
      {"odd", [](const Call& call) { return !is_multiple(call, Value::integer(2)); }},
      {"sameas", test_is_same},
      {"sequence", test_is_iterable},
      {"string", [](const Call& call) { return call.self.if_string() != nullptr; }},
      {"true", [](const Call& call) { return call.self.if_boolean() && *call.self.if_boolean(); }},
      {"undefined", [](const Call& call) { return call.self.is_undefined(); }},
      {"upper", test_is_upper}};
  return kTests;
}

// ---- functions ----

Value range(const Call& call) {
  const auto& given = call.arguments.positional;
  if (given.empty() || given.size() > 3 || !call.arguments.named.empty())
    call.fail("wants one to three numbers");
  std::int64_t numbers[3] = {0, 0, 1};
  for (std::size_t i = 0; i < given.size(); ++i) numbers[i] = call.integer(&given[i], 0, "of range");
  if (given.size() == 1) std::swap(numbers[0], numbers[1]);
  const auto [start, stop, step] = numbers;
  if (step == 0) call.fail("the step is 0");
  constexpr std::size_t kMaxRange = 100'000;  // that of Jinja's sandbox
  std::vector<Value> out;
  for (std::int64_t at = start; step > 0 ? at < stop : at > stop;) {
    if (out.size() == kMaxRange) {
      call.runtime.fail(ErrorCode::kResourceExhausted, "function range: more than 100000 numbers");
    }
    out.push_back(Value::integer(at));
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return Value::list(call.runtime, std::move(out));
}

Value format_time(const Call& call, const std::tm& now) {
  const auto [given] = call.bind<1>({"format"});
  const std::string& format = call.string(given, "format");
  constexpr std::size_t kMaxFormat = 200;  // "%d %b %Y"
  if (format.size() > kMaxFormat) call.fail("a format of over 200 bytes");
  if (format.empty()) return string(call, "");
  std::array<char, 8192> buffer;  // each of at most 100 conversions gives far less than 80 bytes
  const std::size_t size = std::strftime(buffer.data(), buffer.size(), format.c_str(), &now);
  return string(call, std::string(buffer.data(), size));
}

}  // namespace

void Call::bind(const char* const* names, const Value** out, std::size_t count) const {
  if (arguments.positional.size() > count) {
    fail("takes at most " + std::to_string(count) + " arguments, not " +
         std::to_string(arguments.positional.size()));
  }
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) out[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    std::size_t i = 0;
    while (i < count && name != names[i]) ++i;
    if (i == count) fail("has no argument " + name);
    if (out[i] != nullptr) fail("argument " + name + " is given twice");
    out[i] = &value;
  }
}

const std::string& Call::string(const Value* value, const char* name) const {
  if (value == nullptr) fail(std::string("argument ") + name + " is missing");
  if (const std::string* text = value->if_string()) return *text;
  if (const auto* undefined = std::get_if<Undefined>(&value->content())) fail(*undefined->what);
  fail(std::string("argument ") + name + " is a " + value->type_name() + ", not a string");
}

std::int64_t Call::integer(const Value* value, std::int64_t fallback, const char* name) const {
  if (value == nullptr) return fallback;
  if (const std::int64_t* number = value->if_integer()) return *number;
  if (const bool* boolean = value->if_boolean()) return *boolean ? 1 : 0;
  fail(std::string("argument ") + name + " is a " + value->type_name() + ", not an integer");
}

bool apply_test(Runtime& runtime, const std::string& name, const Value& self, const Arguments& arguments) {
  runtime.step();
  const auto found = tests().find(name);
  if (found == tests().end()) runtime.fail(ErrorCode::kUnsupported, "test is " + name + " is not supported");
  return found->second({runtime, "test " + name, self, arguments});
}

bool has_function(std::string_view name, const std::tm* now) {
  return name == "range" || name == "dict" || name == "raise_exception" || name == "namespace" ||
         (name == "strftime_now" && now != nullptr);
}

Value call_function(Runtime& runtime, const std::string& name, const Arguments& arguments,
                    const std::tm* now) {
  const Value none;
  const Call call{runtime, "function " + name, none, arguments};
  if (name == "range") return range(call);
  if (name == "raise_exception") {
    const auto [message] = call.bind<1>({"message"});
    runtime.fail(ErrorCode::kInvalidArgument, "the template refuses the messages: " +
                                                  to_string(runtime, required(call, message, "message")));
  }
  if (name == "strftime_now" && now != nullptr) return format_time(call, *now);
  if (!arguments.positional.empty()) call.fail("takes only arguments with names");
  DictData entries;
  for (const auto& [key, value] : arguments.named) entries.emplace_back(key, value);
  return Value::dict(runtime, std::move(entries));
}

}  // namespace kvasir::jinja
