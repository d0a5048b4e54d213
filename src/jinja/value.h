// Values of the template language: those of Python, as far as chat templates need them.
//
// Cheap to copy (long values are shared and immutable). Strings are well-formed UTF-8 and are counted, sliced
// and iterated by code points, as in Python.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"
#include "kvasir/error.h"

namespace kvasir::jinja {

// The limits and the current line of one rendering: operations on values charge their cost here, and fail
// through it.
class Runtime {
 public:
  // Templates are small programs from untrusted sources. Published ones take some thousand steps for a long
  // conversation; 5 million take about a second. kMaxBytes counts all strings and lists ever made, and so
  // bounds memory.
  static constexpr std::size_t kMaxSteps = 5'000'000, kMaxBytes = std::size_t{256} << 20;
  static constexpr int kMaxDepth = 100;  // of lists in lists

  Runtime(std::string origin, std::size_t extra_bytes)
      : origin_(std::move(origin)), bytes_left_(kMaxBytes + extra_bytes) {}

  void step(std::size_t steps = 1) {
    if (steps > steps_left_) {
      fail(ErrorCode::kResourceExhausted, "the template does not come to an end (" +
                                              std::to_string(kMaxSteps) + " steps); it may loop for ever");
    }
    steps_left_ -= steps;
  }
  // To be called before this many bytes are made.
  void charge(std::size_t bytes) {
    if (bytes > bytes_left_) {
      fail(ErrorCode::kResourceExhausted,
           "the template makes too much text (over " + std::to_string(kMaxBytes >> 20) + " MiB)");
    }
    bytes_left_ -= bytes;
  }
  void set_line(int line) noexcept { line_ = line; }
  int line() const noexcept { return line_; }
  // Throws "ORIGIN:LINE: what"; kFormat, a template that does not fit its input, if no code is given.
  [[noreturn]] void fail(ErrorCode code, const std::string& what) const {
    throw Error(code, origin_ + ":" + std::to_string(line_) + ": " + what);
  }
  [[noreturn]] void fail(const std::string& what) const { fail(ErrorCode::kFormat, what); }

 private:
  std::string origin_;
  int line_ = 1;
  std::size_t steps_left_ = kMaxSteps, bytes_left_;
};

class Value;
struct ListData;
struct DictValue;
struct Namespace;
struct Loop;
struct Callable;
using Entry = std::pair<std::string, Value>;
using DictData = std::vector<Entry>;  // in the order of insertion; keys differ

struct Undefined {
  std::shared_ptr<const std::string> what;  // "'x' is undefined"
};
struct None {};

class Value {
 public:
  using String = std::shared_ptr<const std::string>;
  using List = std::shared_ptr<const ListData>;
  using Dict = std::shared_ptr<const DictValue>;
  using Content =
      std::variant<Undefined, None, bool, std::int64_t, double, String, List, Dict,
                   std::shared_ptr<Namespace>, std::shared_ptr<Loop>, std::shared_ptr<const Callable>>;

  Value() : content_(None{}) {}
  explicit Value(Content content) : content_(std::move(content)) {}
  static Value undefined(std::string what) {
    return Value(Content(Undefined{std::make_shared<const std::string>(std::move(what))}));
  }
  static Value boolean(bool value) { return Value(Content(value)); }
  static Value integer(std::int64_t value) { return Value(Content(value)); }
  static Value number(double value) { return Value(Content(value)); }
  // These charge the bytes that they use.
  static Value string(Runtime& runtime, std::string text);
  static Value list(Runtime& runtime, std::vector<Value> items, bool tuple = false);
  static Value dict(Runtime& runtime, DictData entries);
  static Value from_json(Runtime& runtime, const base::json::value& json);

  bool is_undefined() const { return std::holds_alternative<Undefined>(content_); }
  bool is_none() const { return std::holds_alternative<None>(content_); }
  const std::string* if_string() const { return shared<std::string>(); }
  const std::vector<Value>* if_list() const;
  const DictData* if_dict() const;
  const bool* if_boolean() const { return std::get_if<bool>(&content_); }
  const std::int64_t* if_integer() const { return std::get_if<std::int64_t>(&content_); }
  const double* if_float() const { return std::get_if<double>(&content_); }
  bool is_number() const { return if_boolean() || if_integer() || if_float(); }
  const Content& content() const noexcept { return content_; }

  const char* type_name() const;  // Python's
  bool truth() const;

 private:
  template <class T>
  const T* shared() const {
    const auto* pointer = std::get_if<std::shared_ptr<const T>>(&content_);
    return pointer != nullptr ? pointer->get() : nullptr;
  }
  Content content_;
};

struct ListData {
  std::vector<Value> items;
  bool tuple = false;
  int depth = 1;  // 1 + the deepest of the items
};

struct DictValue {
  DictData entries;
  int depth = 1;
};

// namespace(): the only thing that a template can change.
struct Namespace {
  DictData attributes;
};

// The variable `loop`.
struct Loop {
  std::vector<Value> items;
  std::size_t index = 0;
  std::vector<Value> last_changed;  // arguments of the latest loop.changed()
  bool has_changed = false;
};

struct Macro;
struct Frame;

// A global function, a method of a value, or a macro of the template.
struct Callable {
  std::string name;
  Value self;  // of a method
  bool is_method = false;
  const Macro* macro = nullptr;
  std::weak_ptr<Frame> frame;  // where the macro was defined; the evaluator keeps it alive
};

const Value* find(const DictData& entries, std::string_view key);

// str() and repr() of Python, appended to out.
void append_string(Runtime& runtime, const Value& value, std::string& out);
void append_repr(Runtime& runtime, const Value& value, std::string& out);
std::string to_string(Runtime& runtime, const Value& value);

struct JsonStyle {
  std::string item_separator = ", ", key_separator = ": ", indent;
  bool multi_line = false, sort_keys = false, ensure_ascii = false;
};
// json.dumps() of Python.
void append_json(Runtime& runtime, const Value& value, const JsonStyle& style, std::string& out);

bool equal(Runtime& runtime, const Value& a, const Value& b);
// a < b; fails for what Python cannot order.
bool less(Runtime& runtime, const Value& a, const Value& b);
// `needle in haystack`.
bool contains(Runtime& runtime, const Value& haystack, const Value& needle);
// The elements that `for` iterates over: items, characters, or keys. Undefined is empty.
std::vector<Value> iterate(Runtime& runtime, const Value& value);

enum class Operator { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo, kPower };
const char* operator_name(Operator op) noexcept;
Value calculate(Runtime& runtime, Operator op, const Value& a, const Value& b);
Value negate(Runtime& runtime, const Value& value);

// x[key] and x.key for items, not methods; undefined if there is none.
Value item_of(Runtime& runtime, const Value& value, const Value& key);
Value slice_of(Runtime& runtime, const Value& value, const Value& start, const Value& stop,
               const Value& step);

}  // namespace kvasir::jinja
