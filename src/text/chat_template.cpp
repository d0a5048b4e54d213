#include "text/chat_template.h"

#include <utility>

#include "base/mapped_file.h"
#include "base/utf8.h"
#include "jinja/evaluator.h"
#include "jinja/parser.h"
#include "kvasir/error.h"

namespace kvasir::text {

namespace {

namespace fs = std::filesystem;
namespace json = base::json;

constexpr std::size_t kMaxSource = std::size_t{1} << 20;  // the longest published ones have some 20 KB

// The source in tokenizer_config.json, or none.
std::optional<std::string> source_in(const base::JsonObject& config) {
  constexpr const char* kKey = "chat_template";
  if (!config.has(kKey)) return std::nullopt;
  const json::array* list = config.at(kKey).if_array();
  if (list == nullptr) return config.string(kKey);
  std::string names;
  for (const json::value& one : *list) {
    const base::JsonObject entry(one, config.origin() + ": " + kKey);
    const std::string name = entry.string("name");
    if (name == "default") return entry.string("template");
    names += (names.empty() ? "" : ", ") + name;
  }
  throw Error(ErrorCode::kNotFound, config.origin() + ": none of its chat templates (" + names +
                                        ") is named default; give one as chat_template.jinja");
}

}  // namespace

struct ChatTemplate::Impl {
  std::string origin;
  jinja::Body body;
};

ChatTemplate ChatTemplate::parse(std::string_view source, const std::string& origin) {
  if (source.size() > kMaxSource) {
    throw Error(ErrorCode::kResourceExhausted, origin + ": a chat template of over 1 MiB");
  }
  return ChatTemplate(std::make_shared<const Impl>(Impl{origin, jinja::parse(source, origin)}));
}

std::string ChatTemplate::render(std::span<const ChatMessage> messages, const RenderOptions& options) const {
  std::size_t size = 0;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    for (const std::string* part : {&messages[i].role, &messages[i].content}) {
      if (base::find_invalid_utf8(*part) != part->size()) {
        throw Error(ErrorCode::kInvalidArgument, "message " + std::to_string(i + 1) + " is not UTF-8");
      }
      size += part->size();
    }
  }
  constexpr std::size_t kPasses = 64;  // over all messages that a template may make
  jinja::Runtime runtime(impl_->origin, kPasses * size);
  jinja::Inputs inputs;
  inputs.now = options.now;
  const auto set = [&](std::string_view name, jinja::Value value) {
    for (auto& [key, old] : inputs.variables) {
      if (key == name) {
        old = std::move(value);
        return;
      }
    }
    inputs.variables.emplace_back(name, std::move(value));
  };
  std::vector<jinja::Value> list;
  for (const ChatMessage& message : messages) {
    list.push_back(
        jinja::Value::dict(runtime, {{"role", jinja::Value::string(runtime, message.role)},
                                     {"content", jinja::Value::string(runtime, message.content)}}));
  }
  set("messages", jinja::Value::list(runtime, std::move(list)));
  set("add_generation_prompt", jinja::Value::boolean(options.add_generation_prompt));
  set("tools", {});
  set("documents", {});
  set("self", jinja::Value::dict(runtime, {}));  // Jinja's, of the blocks of a template; some ask it in vain
  if (!options.bos_token.empty()) set("bos_token", jinja::Value::string(runtime, options.bos_token));
  if (!options.eos_token.empty()) set("eos_token", jinja::Value::string(runtime, options.eos_token));
  for (const auto& [name, value] : options.variables) set(name, jinja::Value::from_json(runtime, value));
  return jinja::render(runtime, impl_->body, std::move(inputs));
}

std::optional<ChatTemplateSource> read_chat_template(const formats::ModelFolder& folder) {
  constexpr const char* kOwnFile = "chat_template.jinja";
  if (folder.has(kOwnFile)) {
    return ChatTemplateSource{base::read_file(folder / kOwnFile), (folder / kOwnFile).string()};
  }
  const std::optional<base::JsonObject> config = folder.json("tokenizer_config.json");
  if (!config) return std::nullopt;
  const std::optional<std::string> source = source_in(*config);
  if (!source) return std::nullopt;
  return ChatTemplateSource{*source, config->origin() + ": chat_template"};
}

std::optional<ChatTemplate> load_chat_template(const formats::ModelFolder& folder) {
  const std::optional<ChatTemplateSource> source = read_chat_template(folder);
  if (!source) return std::nullopt;
  return ChatTemplate::parse(source->text, source->origin);
}

const BuiltinChatTemplate& builtin_chat_template(std::string_view name) {
  std::string names;
  for (const BuiltinChatTemplate& one : builtin_chat_templates()) {
    if (one.name == name) return one;
    names += (names.empty() ? "" : ", ") + std::string(one.name);
  }
  throw Error(ErrorCode::kNotFound,
              "there is no chat template " + std::string(name) + "; the built-in ones are " + names);
}

}  // namespace kvasir::text
