#include "generation/model_language.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "generation/gguf_tokenizer.h"
#include "kvasir/error.h"
#include "text/added_tokens.h"

namespace kvasir::generation {

namespace {

// eos_token_id of generation_config.json, else of config.json: a number, or a list of them.
std::vector<std::int32_t> read_eos_ids(const formats::ModelFolder& folder) {
  for (const char* name : {"generation_config.json", "config.json"}) {
    const std::optional<base::JsonObject> json = folder.json(name);
    if (!json || !json->has("eos_token_id")) continue;
    std::vector<std::int32_t> ids;
    const auto add = [&](const base::json::value& value) {
      const std::int64_t* id = value.if_int64();
      if (id == nullptr) json->fail("key eos_token_id is neither a token id nor a list of them");
      ids.push_back(static_cast<std::int32_t>(std::clamp<std::int64_t>(*id, -1, 1 << 30)));
    };
    const base::json::value& value = json->at("eos_token_id");
    if (const base::json::array* list = value.if_array()) {
      for (const base::json::value& each : *list) add(each);
    } else {
      add(value);
    }
    return ids;
  }
  return {};
}

// A token that tokenizer_config.json names: a string, or an object with its content.
std::string read_token(const base::JsonObject& config, const char* key) {
  if (!config.has(key)) return {};
  const base::json::value& value = config.at(key);
  if (value.is_string()) return std::string(value.as_string());
  return value.is_object() ? config.object(key).string_or("content", "") : std::string();
}

std::string lower_name(const std::filesystem::path& model) {
  std::string name = std::filesystem::absolute(model).lexically_normal().string();
  if (name.ends_with('/')) name.pop_back();
  name = std::filesystem::path(name).filename().string();
  std::ranges::transform(name, name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  return name;
}

// Names of models that were published without a template, and what they were trained with.
struct KnownName {
  std::string_view part, other_part, chat_template;
};
constexpr std::array<KnownName, 8> kKnownNames{{{"vicuna", "", "vicuna"},
                                                {"llama-2", "chat", "llama-2-chat"},
                                                {"llama2", "chat", "llama-2-chat"},
                                                {"falcon", "instruct", "falcon-instruct"},
                                                {"falcon", "chat", "falcon-instruct"},
                                                {"mpt", "instruct", "mpt-instruct"},
                                                {"mpt", "chat", "chatml"},
                                                {"bloomz", "", "bloomz"}}};

// Tokens that end an answer whatever config.json says.
constexpr std::array<std::string_view, 3> kTurnEnds{"<|im_end|>", "<|eot_id|>", "<end_of_turn>"};

}  // namespace

ModelLanguage load_language(const formats::ModelFolder& folder) {
  if (const auto gguf = folder.gguf()) return load_gguf_language(gguf->metadata());
  ModelLanguage language{.tokenizer = text::Tokenizer::load(folder),
                         .eos_ids = read_eos_ids(folder),
                         .bos_token = {},
                         .eos_token = {},
                         .chat_template = text::load_chat_template(folder)};
  if (const auto config = folder.json("tokenizer_config.json")) {
    language.bos_token = read_token(*config, "bos_token");
    language.eos_token = read_token(*config, "eos_token");
  }
  return language;
}

void check_vocabulary(const text::Tokenizer& tokenizer, std::size_t rows, const std::string& origin) {
  const std::size_t tokens = tokenizer.vocab_size();
  const std::string sizes = origin + ": the tokenizer has " + std::to_string(tokens) +
                            " tokens, and the model embeddings of " + std::to_string(rows);
  for (std::size_t id = rows; id < tokens; ++id) {
    const auto token = static_cast<std::int32_t>(id);
    if (tokenizer.token(token).empty() || tokenizer.added_tokens().contains(token)) continue;
    throw Error(ErrorCode::kFormat, sizes + "; they do not belong together");
  }
  // Rows are rounded up: BLOOM has 200 more than tokens, MPT 155.
  if (rows > 2 * tokens + 1000) {
    base::log(LogLevel::kWarning, sizes + "; do they belong together?");
  }
}

Conversation::Conversation(const ModelLanguage& language, const std::filesystem::path& model,
                           const std::string& chosen)
    : model_(model.string()),
      template_(language.chat_template),
      bos_token_(language.bos_token),
      eos_token_(language.eos_token) {
  if (chosen.ends_with(".jinja") || chosen.find('/') != std::string::npos) {
    template_ =
        text::ChatTemplate::parse(base::read_file(chosen, {.max_bytes = std::size_t{1} << 20}), chosen);
  } else if (!chosen.empty()) {
    use_builtin(language, text::builtin_chat_template(chosen));
  } else if (!template_) {
    const std::string name = lower_name(model);
    const auto known = std::ranges::find_if(kKnownNames, [&](const KnownName& each) {
      return name.find(each.part) != std::string::npos && name.find(each.other_part) != std::string::npos;
    });
    if (known != kKnownNames.end()) use_builtin(language, text::builtin_chat_template(known->chat_template));
  }
  for (const std::string_view token : kTurnEnds) {
    if (const auto id = language.tokenizer.token_id(token)) eos_ids_.push_back(*id);
  }
}

void Conversation::use_builtin(const ModelLanguage& language, const text::BuiltinChatTemplate& builtin) {
  template_ = text::ChatTemplate::parse(builtin.source, std::string(builtin.name));
  if (!builtin.bos_token.empty()) bos_token_ = builtin.bos_token;
  if (!builtin.eos_token.empty()) {
    eos_token_ = builtin.eos_token;
    if (const auto id = language.tokenizer.token_id(builtin.eos_token)) eos_ids_.push_back(*id);
  }
  stop_ = builtin.stop;
}

std::string Conversation::prompt(std::span<const text::ChatMessage> messages) const {
  if (!template_) {
    std::string names;
    for (const text::BuiltinChatTemplate& each : text::builtin_chat_templates()) {
      names += (names.empty() ? "" : ", ") + std::string(each.name);
    }
    throw Error(ErrorCode::kUnsupported,
                model_ + ": the model does not say how it converses; choose a chat template: " + names +
                    ", or a file in Jinja");
  }
  return template_->render(messages, {.bos_token = bos_token_, .eos_token = eos_token_});
}

}  // namespace kvasir::generation
