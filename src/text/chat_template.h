// Chat templates: they turn messages into a prompt, in the format that a model was trained with.
//
//   const auto chat = text::ChatTemplate::parse(text::builtin_chat_template("vicuna").source, "vicuna");
//   const text::ChatMessage messages[] = {{"user", "Who built the Bell Rock lighthouse?"}};
//   chat.render(messages, {.eos_token = "</s>"});  // "A chat between … USER: Who built …? ASSISTANT:"
//
// Templates are programs in the language of Jinja. This class runs the part of the language that published
// chat templates use, with the settings of Hugging Face and the same output. Anything else is refused by
// name, and templates that do not end are stopped.
#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "formats/model_folder.h"

namespace kvasir::text {

struct ChatMessage {
  std::string role, content;  // role: "system", "user", "assistant"
};

class ChatTemplate {
 public:
  // Throws "ORIGIN:LINE: …": kFormat (bad syntax), kUnsupported (a tag that chat templates do not use),
  // kResourceExhausted (nested too deep, or over 1 MiB).
  static ChatTemplate parse(std::string_view source, const std::string& origin);

  struct RenderOptions {
    bool add_generation_prompt = true;           // end with the beginning of the assistant's turn
    std::string bos_token = {}, eos_token = {};  // undefined if empty
    base::json::object variables = {};           // others by name, such as tools; they replace those above
    const std::tm* now = nullptr;                // for strftime_now(), which is undefined without
  };
  // The prompt. It contains the special tokens that the template writes: tokenise it without adding more,
  // except the bos where the template does not write it (Vicuna's). Thread-safe. Throws "ORIGIN:LINE: …":
  // kInvalidArgument (the template refuses the messages; a message is not UTF-8), kFormat (the template does
  // not fit the messages), kUnsupported, kResourceExhausted (it makes too many steps or too much text).
  std::string render(std::span<const ChatMessage> messages, const RenderOptions& options) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

// The chat template of a model's folder: chat_template.jinja, else the key chat_template of
// tokenizer_config.json (of several the one named "default"); nullopt if there is neither. Throws as parse(),
// kIo, and kNotFound if there are several and none is named "default".
std::optional<ChatTemplate> load_chat_template(const formats::ModelFolder& folder);
// The same, not parsed.
struct ChatTemplateSource {
  std::string text, origin;
};
std::optional<ChatTemplateSource> read_chat_template(const formats::ModelFolder& folder);

// Templates of models that were published without one.
struct BuiltinChatTemplate {
  std::string_view name;
  std::string_view source;
  std::string_view bos_token, eos_token;
  std::vector<std::string> stop;  // strings that end an answer, besides eos_token
};
// By name: "llama-2-chat", "vicuna", "falcon-instruct", "mpt-instruct", "chatml" (MPT-chat), "bloomz". Throws
// kNotFound, with the list.
const BuiltinChatTemplate& builtin_chat_template(std::string_view name);
std::span<const BuiltinChatTemplate> builtin_chat_templates();

}  // namespace kvasir::text
