// Chat templates: recorded outputs of Jinja in transformers' settings, built-in templates, loading, limits.
#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/json.h"
#include "kvasir/error.h"
#include "temporary_folder.h"

namespace kvasir::tests {
namespace {

namespace json = base::json;
using ::testing::HasSubstr;
using text::ChatMessage;
using text::ChatTemplate;

std::string text_of(const json::value& value) {
  return std::string(value.as_string());
}

std::filesystem::path recorded(const std::string& name) {
  return std::filesystem::path(KVASIR_TEST_DATA) / "chat-templates" / name;
}

std::vector<ChatMessage> messages_of(const json::value& value) {
  std::vector<ChatMessage> out;
  for (const auto& message : value.as_array()) {
    out.push_back({text_of(message.at("role")), text_of(message.at("content"))});
  }
  return out;
}

std::string render(std::string_view source, const ChatTemplate::RenderOptions& options = {}) {
  return ChatTemplate::parse(source, "test").render({}, options);
}

// The error of parsing and rendering; its code is for the caller.
Error error_of(std::string_view source, const ChatTemplate::RenderOptions& options = {}) {
  try {
    const std::string text = render(source, options);
    ADD_FAILURE() << source << " gives " << text.substr(0, 100);
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::kInternal, "no error");
}

void expect_recorded(const ChatTemplate& chat, const json::value& file) {
  const json::value& config = file.at("tokenizer_config");
  ChatTemplate::RenderOptions options{.bos_token = text_of(config.at("bos_token")),
                                      .eos_token = text_of(config.at("eos_token"))};
  ASSERT_GE(file.at("cases").as_array().size(), 10u);
  for (const auto& one : file.at("cases").as_array()) {
    options.add_generation_prompt = one.at("add_generation_prompt").as_bool();
    EXPECT_EQ(chat.render(messages_of(one.at("messages")), options), text_of(one.at("rendered")))
        << one.at("id");
  }
  for (const auto& one : file.at("errors").as_array()) {
    try {
      chat.render(messages_of(one.at("messages")), options);
      ADD_FAILURE() << "no error: " << one.at("message");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_THAT(error.what(), HasSubstr(text_of(one.at("message"))));
    }
  }
}

struct Family {
  const char *file, *builtin;
};
constexpr Family kFamilies[] = {{"falcon-instruct.json", "falcon-instruct"},
                                {"llama-2-chat.json", "llama-2-chat"},
                                {"mpt-7b-instruct.json", "mpt-instruct"},
                                {"mpt-chat-chatml.json", "chatml"},
                                {"vicuna-v1.1.json", "vicuna"}};

TEST(ChatTemplate, RendersPublishedTemplatesAsTransformers) {
  for (const auto& [name, builtin] : kFamilies) {
    SCOPED_TRACE(name);
    const json::value file = base::parse_json_file(recorded(name));
    expect_recorded(ChatTemplate::parse(text_of(file.at("tokenizer_config").at("chat_template")), name),
                    file);
  }
}

TEST(ChatTemplate, BuiltinTemplatesRenderTheSame) {
  for (const auto& [name, builtin] : kFamilies) {
    SCOPED_TRACE(builtin);
    const json::value file = base::parse_json_file(recorded(name));
    const text::BuiltinChatTemplate& found = text::builtin_chat_template(builtin);
    EXPECT_EQ(found.bos_token, text_of(file.at("tokenizer_config").at("bos_token")));
    EXPECT_EQ(found.eos_token, text_of(file.at("tokenizer_config").at("eos_token")));
    expect_recorded(ChatTemplate::parse(found.source, builtin), file);
  }
}

TEST(ChatTemplate, BuiltinBloomzIsPlain) {
  const auto chat = ChatTemplate::parse(text::builtin_chat_template("bloomz").source, "bloomz");
  const ChatMessage question{"user", " Who? "}, prepared{"user", "Who?\nAnswer:"},
      system{"system", "Be brief."};
  EXPECT_EQ(chat.render({{question}}, {}), "Who?\nAnswer:");
  EXPECT_EQ(chat.render({{prepared}}, {}), "Who?\nAnswer:");
  EXPECT_EQ(chat.render({{question}}, {.add_generation_prompt = false}), "Who?");
  const ChatMessage both[] = {system, question};
  EXPECT_EQ(chat.render(both, {}), "Be brief.\nWho?\nAnswer:");
}

TEST(ChatTemplate, UnknownBuiltinNamesTheOthers) {
  try {
    text::builtin_chat_template("gpt");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_THAT(error.what(), HasSubstr("vicuna"));
  }
  EXPECT_EQ(text::builtin_chat_templates().size(), 6u);
  EXPECT_EQ(text::builtin_chat_template("falcon-instruct").stop, std::vector<std::string>{"\nUser"});
}

// Every construct, and white space around every kind of tag.
TEST(ChatTemplate, ConstructsRenderAsJinja) {
  const json::value file = base::parse_json_file(recorded("constructs.json"));
  const ChatTemplate::RenderOptions options{.variables = file.at("variables").as_object()};
  ASSERT_GE(file.at("cases").as_array().size(), 390u);
  for (const auto& one : file.at("cases").as_array()) {
    const std::string source = text_of(one.at("template"));
    try {
      EXPECT_EQ(render(source, options), text_of(one.at("rendered"))) << source;
    } catch (const Error& error) {
      ADD_FAILURE() << source << ": " << error.what();
    }
  }
}

TEST(ChatTemplate, RefusesWhatJinjaRefuses) {
  const json::value file = base::parse_json_file(recorded("constructs.json"));
  const ChatTemplate::RenderOptions options{.variables = file.at("variables").as_object()};
  ASSERT_GE(file.at("errors").as_array().size(), 75u);
  for (const auto& one : file.at("errors").as_array()) {
    const Error error = error_of(text_of(one.at("template")), options);
    EXPECT_THAT(error.what(), HasSubstr("test:1: ")) << one.at("template");
    EXPECT_NE(error.code(), ErrorCode::kInternal) << one.at("template");
  }
}

TEST(ChatTemplate, ErrorsNameLineAndConstruct) {
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
    const Error error = error_of(one.source);
    EXPECT_STREQ(error.what(), one.message);
    EXPECT_EQ(error.code(), one.code) << one.source;
  }
}

TEST(ChatTemplate, KnowsTheTimeThatItIsGiven) {
  std::tm now{};
  now.tm_year = 124, now.tm_mon = 6, now.tm_mday = 26;
  EXPECT_EQ(render("{{ strftime_now('%d %b %Y') }}", {.now = &now}), "26 Jul 2024");
  EXPECT_EQ(render("{{ strftime_now is defined }}", {.now = &now}), "True");
}

TEST(ChatTemplate, TokensAreUndefinedIfEmpty) {
  EXPECT_EQ(render("{{ bos_token is defined }}{{ tools }}"), "FalseNone");
  EXPECT_EQ(render("{{ bos_token }}{{ eos_token }}", {.bos_token = "<s>", .eos_token = "</s>"}), "<s></s>");
}

// What would take for ever, all memory or all of the stack ends in an error, soon.
TEST(ChatTemplate, StopsWhatDoesNotEnd) {
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
      std::string(std::size_t{2} << 20, 'x'),
  };
  for (const std::string& source : cases) {
    EXPECT_EQ(error_of(source).code(), ErrorCode::kResourceExhausted) << source.substr(0, 120);
  }
}

// Values that hold themselves are freed (what the leak sanitizer sees), and long chains without recursion.
TEST(ChatTemplate, FreesCircles) {
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

TEST(ChatTemplate, RefusesWhatIsNotUtf8) {
  EXPECT_EQ(error_of("\xFF").code(), ErrorCode::kFormat);
  const ChatMessage broken{"user", "a\xC3"};
  try {
    ChatTemplate::parse("x", "test").render({{broken}}, {});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_STREQ(error.what(), "message 1 is not UTF-8");
  }
}

class ChatTemplateFolder : public ::testing::Test {
 protected:
  void write(const char* name, const std::string& content) { std::ofstream(folder_ / name) << content; }
  std::string rendered() {
    const auto chat = text::load_chat_template(folder_.path());
    return chat ? chat->render({}, {}) : "none";
  }
  TemporaryFolder folder_;
};

TEST_F(ChatTemplateFolder, LoadsFromTheConfiguration) {
  EXPECT_EQ(rendered(), "none");
  write("tokenizer_config.json", "{}");
  EXPECT_EQ(rendered(), "none");
  write("tokenizer_config.json", R"({"chat_template": "one"})");
  EXPECT_EQ(rendered(), "one");
  write(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "two"}]})");
  EXPECT_EQ(rendered(), "two");
  write("chat_template.jinja", "three\n");
  EXPECT_EQ(rendered(), "three");
}

TEST_F(ChatTemplateFolder, NamesWhatIsWrong) {
  const auto message = [&] {
    try {
      rendered();
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  write("tokenizer_config.json", R"({"chat_template": [{"name": "tool_use", "template": "t"}]})");
  EXPECT_THAT(message(), HasSubstr("(tool_use) is named default"));
  write("tokenizer_config.json", R"({"chat_template": 5})");
  EXPECT_THAT(message(), HasSubstr("key chat_template is an integer where a string is due"));
  write("tokenizer_config.json", R"({"chat_template": "{% if %}"})");
  EXPECT_THAT(message(), HasSubstr("tokenizer_config.json: chat_template:1: expected an expression"));
}

}  // namespace
}  // namespace kvasir::tests
