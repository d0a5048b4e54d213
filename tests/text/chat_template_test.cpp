// Chat templates: recorded outputs of published ones in transformers, built-in templates, loading, limits.
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

TEST(ChatTemplate, TakesVariablesAndTheTime) {
  std::tm now{};
  now.tm_year = 124;
  EXPECT_EQ(render("{{ strftime_now('%Y') }}", {.now = &now}), "2024");
  EXPECT_EQ(render("{{ year }}", {.variables = {{"year", 1810}}}), "1810");
}

TEST(ChatTemplate, TokensAreUndefinedIfEmpty) {
  EXPECT_EQ(render("{{ bos_token is defined }}{{ tools }}"), "FalseNone");
  EXPECT_EQ(render("{{ bos_token }}{{ eos_token }}", {.bos_token = "<s>", .eos_token = "</s>"}), "<s></s>");
}

TEST(ChatTemplate, RefusesLongSources) {
  EXPECT_EQ(error_of(std::string(std::size_t{2} << 20, 'x')).code(), ErrorCode::kResourceExhausted);
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
