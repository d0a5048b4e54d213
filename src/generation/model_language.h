// What a model's files contain besides weights: the tokenizer, the end tokens, the chat template.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "formats/model_folder.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace kvasir::generation {

struct ModelLanguage {
  text::Tokenizer tokenizer;
  std::vector<std::int32_t> eos_ids;
  std::string bos_token, eos_token;  // for chat templates; "" if there is none
  std::optional<text::ChatTemplate> chat_template;
};

// From a Hugging Face folder or a GGUF file. Throws as text::Tokenizer::load and text::load_chat_template,
// and as load_gguf_language (gguf_tokenizer.h).
ModelLanguage load_language(const formats::ModelFolder& folder);

// Checks that the tokenizer fits a model with this many rows of embeddings. Throws kFormat if tokens other
// than added ones have no row (some models are published without rows for added tokens); warns if there are
// so few tokens that most rows would never be used. (Some more rows than tokens are common: sizes are rounded
// up.)
void check_vocabulary(const text::Tokenizer& tokenizer, std::size_t rows, const std::string& origin);

// The prompt of a conversation, and what ends an answer besides the eos. The template is that of
// GeneratorOptions::chat_template, otherwise the model's, otherwise a built-in one chosen by the model's name
// ("vicuna-7b-v1.5").
class Conversation {
 public:
  Conversation(const ModelLanguage& language, const std::filesystem::path& model, const std::string& chosen);

  bool has_template() const noexcept { return template_.has_value(); }
  // Throws kUnsupported if there is no template, and as text::ChatTemplate::render.
  std::string prompt(std::span<const text::ChatMessage> messages) const;
  const std::vector<std::string>& stop() const noexcept { return stop_; }
  const std::vector<std::int32_t>& eos_ids() const noexcept { return eos_ids_; }

 private:
  void use_builtin(const ModelLanguage& language, const text::BuiltinChatTemplate& builtin);

  std::string model_;
  std::optional<text::ChatTemplate> template_;
  std::string bos_token_, eos_token_;
  std::vector<std::string> stop_;
  std::vector<std::int32_t> eos_ids_;
};

}  // namespace kvasir::generation
