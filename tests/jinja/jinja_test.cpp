// The template language: recorded outputs of Jinja in transformers' settings, errors, limits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "jinja/evaluator.h"
#include "jinja/parser.h"
#include "kvasir/error.h"

namespace kvasir::jinja {
namespace {

namespace json = base::json;
using ::testing::HasSubstr;

constexpr const char* kRecorded = KVASIR_TEST_DATA "/chat-templates/constructs.json";

std::string text_of(const json::value& value) {
  return std::string(value.as_string());
}

std::string render(std::string_view source, const json::object& variables = {},
                   const std::tm* now = nullptr) {
  Runtime runtime("test", 0);
  Inputs inputs;
  inputs.now = now;
  for (const auto& [name, value] : variables) {
    inputs.variables.emplace_back(name, Value::from_json(runtime, value));
  }
  return jinja::render(runtime, parse(source, "test"), std::move(inputs));
}

// The error of parsing and rendering; its code is for the caller.
Error error_of(std::string_view source, const json::object& variables = {}) {
  try {
    const std::string text = render(source, variables);
    ADD_FAILURE() << source << " gives " << text.substr(0, 100);
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::kInternal, "no error");
}

// Every construct, and white space around every kind of tag.
TEST(Jinja, ConstructsRenderAsJinja) {
  const json::value file = base::parse_json_file(kRecorded);
  const json::object& variables = file.at("variables").as_object();
  ASSERT_GE(file.at("cases").as_array().size(), 390u);
  for (const auto& one : file.at("cases").as_array()) {
    const std::string source = text_of(one.at("template"));
    try {
      EXPECT_EQ(render(source, variables), text_of(one.at("rendered"))) << source;
    } catch (const Error& error) {
      ADD_FAILURE() << source << ": " << error.what();
    }
  }
}

TEST(Jinja, RefusesWhatJinjaRefuses) {
  const json::value file = base::parse_json_file(kRecorded);
  const json::object& variables = file.at("variables").as_object();
  ASSERT_GE(file.at("errors").as_array().size(), 75u);
  for (const auto& one : file.at("errors").as_array()) {
    const Error error = error_of(text_of(one.at("template")), variables);
    EXPECT_THAT(error.what(), HasSubstr("test:1: ")) << one.at("template");
    EXPECT_NE(error.code(), ErrorCode::kInternal) << one.at("template");
  }
}

TEST(Jinja, ErrorsNameLineAndConstruct) {
  const struct {
    const char *source, *message;
    ErrorCode code;
  } cases[] = {
      {"a\n{% include 'x' %}", "test:2: the tag {% include %} is not supported", ErrorCode::kUnsupported},
      {"{% if true %}\n\n{{ 'a' | frobnicate }}{% endif %}", "test:3: filter frobnicate is not supported",
       ErrorCode::kUnsupported},
      {"\n{{ messages[0].role.x }}", "test:2: .role: list has no element 0", ErrorCode::kFormat},
      {"{{ 'a'.zfill(3) }}", "test:1: string has no attribute zfill", ErrorCode::kFormat},
      {"{{ date }}{{ date.x }}", "test:1: .x: date is undefined", ErrorCode::kFormat},
      {"{% for x in [1] %}\n{{ x }}", "test:2: the template ends before {% endfor %}", ErrorCode::kFormat},
      {"{{ strftime_now('%Y') }}", "test:1: strftime_now is undefined", ErrorCode::kFormat},
      {"{% for x in y recursive %}{% endfor %}", "test:1: {% for … recursive %} is not supported",
       ErrorCode::kUnsupported},
      {"{{ raise_exception('Only user and assistant!') }}",
       "test:1: the template refuses the messages: Only user and assistant!", ErrorCode::kInvalidArgument},
      {"{{ 'a' if }}", "test:1: expected an expression, found }}", ErrorCode::kFormat},
  };
  for (const auto& one : cases) {
    const Error error = error_of(one.source, {{"messages", json::array()}});
    EXPECT_STREQ(error.what(), one.message);
    EXPECT_EQ(error.code(), one.code) << one.source;
  }
}

TEST(Jinja, KnowsTheTimeThatItIsGiven) {
  std::tm now{};
  now.tm_year = 124, now.tm_mon = 6, now.tm_mday = 26;
  EXPECT_EQ(render("{{ strftime_now('%d %b %Y') }}", {}, &now), "26 Jul 2024");
  EXPECT_EQ(render("{{ strftime_now is defined }}", {}, &now), "True");
}

// What would take for ever, all memory or all of the stack ends in an error, soon.
TEST(Jinja, StopsWhatDoesNotEnd) {
  std::string brackets = "{{ ", chain = "{{ 1", blocks;
  for (int i = 0; i < 20'000; ++i) brackets += "(", chain += " + 1", blocks += "{% if 1 %}";
  brackets += "1" + std::string(20'000, ')') + " }}";
  const std::string cases[] = {
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
      "{% set ns = namespace(x='x') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
      "{% set ns = namespace(x='x') %}{% for i in range(99) %}{% set ns.x = ns.x.replace('x', 'xx') %}{% "
      "endfor %}",
      "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
      "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ "
      "ns.x }}",
      "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = {'a': ns.x, 'b': ns.x} %}{% "
      "endfor %}"
      "{{ ns.x == ns.x }}",
      "{% set ns = namespace(x=[1]) %}{% for i in range(9999) %}{% set ns.x = [ns.x.index] %}{% endfor %}",
      "{{ 'x' * 999999999999 }}",
      "{{ [1] * 999999999999 }}",
      "{{ ('x' * 9999999).replace('', 'y' * 9999) }}",
      "{{ (['x'] * 999999) | join('y' * 9999) }}",
      "{% for a in range(99999) %}{{ 'x' * 9999 }}{% endfor %}",
      "{{ range(99999999) }}",
      "{% set ns = namespace() %}{% for a in range(99999) %}{% if ('a' * 99999 + 'b') in 'a' * 999999 %}{% "
      "endif %}"
      "{% endfor %}",
      brackets,
      chain + " }}",
      blocks,
  };
  for (const std::string& source : cases) {
    EXPECT_EQ(error_of(source).code(), ErrorCode::kResourceExhausted) << source.substr(0, 120);
  }
}

// Values that hold themselves are freed (what the leak sanitizer sees), and long chains without recursion.
TEST(Jinja, FreesCircles) {
  EXPECT_EQ(
      render(
          "{% set ns = namespace() %}{% set ns.x = ns %}{% set ns.y = [ns] %}{{ ns.x.y[0].x is defined }}"),
      "True");
  EXPECT_EQ(render("{% macro m() %}a{% endmacro %}{% set n = [m] %}{{ n[0]() }}"), "a");
  EXPECT_EQ(render("{% for x in [1] %}{{ loop.changed(loop) }}{% endfor %}"), "True");
  EXPECT_EQ(
      render("{% set ns = namespace(x=none) %}{% for i in range(50000) %}{% set ns.x = namespace(x=ns.x) %}"
             "{% endfor %}{{ ns.x.x is defined }}"),
      "True");
}

}  // namespace
}  // namespace kvasir::jinja
