// The functions, filters, tests and methods of the template language.
#pragma once

#include <array>
#include <cstddef>
#include <ctime>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jinja/value.h"

namespace kvasir::jinja {

struct Arguments {
  std::vector<Value> positional;
  std::vector<Entry> named;
};

// One call of a filter, a test, a method or a function.
struct Call {
  Runtime& runtime;
  std::string who;  // "filter trim", for errors
  const Value& self;
  const Arguments& arguments;

  [[noreturn]] void fail(const std::string& what) const { runtime.fail(who + ": " + what); }
  // Arguments by position or name; nullptr for those not given. Fails for too many and for unknown names.
  template <std::size_t N>
  std::array<const Value*, N> bind(const std::array<const char*, N>& names) const {
    std::array<const Value*, N> out{};
    bind(names.data(), out.data(), N);
    return out;
  }
  void bind_none() const { bind(nullptr, nullptr, 0); }
  const std::string& string(const Value* value, const char* name) const;  // fails for another type
  std::int64_t integer(const Value* value, std::int64_t fallback, const char* name) const;

 private:
  void bind(const char* const* names, const Value** out, std::size_t count) const;
};

// Each fails with kUnsupported for a name that it does not know.
Value apply_filter(Runtime& runtime, const std::string& name, const Value& self, const Arguments& arguments);
bool apply_test(Runtime& runtime, const std::string& name, const Value& self, const Arguments& arguments);

bool has_method(const Value& self, std::string_view name);
Value call_method(Runtime& runtime, const std::string& name, const Value& self, const Arguments& arguments);

// range, dict, raise_exception, and strftime_now if there is a time. (namespace() is in the evaluator, which
// owns everything that changes.)
bool has_function(std::string_view name, const std::tm* now);
Value call_function(Runtime& runtime, const std::string& name, const Arguments& arguments,
                    const std::tm* now);

}  // namespace kvasir::jinja
