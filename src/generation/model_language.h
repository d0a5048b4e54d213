// What a model's files say beside its weights: how text becomes tokens, what ends a text, how it converses.
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
  std::string bos_token, eos_token;  // as chat templates want them; "" if there is none
  std::optional<text::ChatTemplate> chat_template;
};

// Of a folder of the Hugging Face kind, or of a GGUF file. Throws as text::Tokenizer::load and
// text::load_chat_template, and as load_gguf_language (gguf_tokenizer.h).
ModelLanguage load_language(const formats::ModelFolder& folder);

// Whether the tokenizer can be that of a model with so many rows of embeddings. Throws kFormat for one with
// tokens beyond them, other than added ones, which some publish without rows; warns of one that has so few
// that most of the model would never be used. (Rows beyond the tokens are common: sizes are rounded up.)
void check_vocabulary(const text::Tokenizer& tokenizer, std::size_t rows, const std::string& origin);

// A conversation's prompt, and what ends an answer beside the eos: of `chat_template` of GeneratorOptions,
// else of the model, else of a model of such a name that is built in ("vicuna-7b-v1.5").
class Conversation {
 public:
  Conversation(const ModelLanguage& language, const std::filesystem::path& model, const std::string& chosen);

  bool has_template() const noexcept { return template_.has_value(); }
  // Throws kUnsupported if nothing says how the model converses, and as text::ChatTemplate::render.
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
