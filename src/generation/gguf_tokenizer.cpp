#include "generation/gguf_tokenizer.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/error.h"
#include "text/loading/gguf_vocabulary.h"

namespace kvasir::generation {

namespace {

using formats::GgufMetadata;

constexpr std::string_view kPrefix = "tokenizer.ggml.";
// Ids of tokens that are no more: text::GgufVocabulary refuses what is beyond the vocabulary.
constexpr std::int64_t kMaxId = std::int64_t{1} << 30;

std::string key(std::string_view name) {
  return std::string(kPrefix).append(name);
}

std::optional<std::int32_t> read_id(const GgufMetadata& metadata, std::string_view name) {
  const std::string full = key(name) + "_token_id";
  // -1, and 2^32 - 1 of files that keep it as u32, mean that there is none.
  if (!metadata.has(full)) return std::nullopt;
  const std::int64_t id = metadata.integer(full, -1, (std::int64_t{1} << 32) - 1);
  if (id == -1 || id == (std::int64_t{1} << 32) - 1) return std::nullopt;
  return static_cast<std::int32_t>(std::min(id, kMaxId));
}

std::optional<bool> read_flag(const GgufMetadata& metadata, std::string_view name) {
  const std::string full = key(name);
  return metadata.has(full) ? std::optional(metadata.boolean_or(full, false)) : std::nullopt;
}

std::string token_text(const text::Tokenizer& tokenizer, const std::optional<std::int32_t>& id) {
  return id ? std::string(tokenizer.token(*id)) : std::string();
}

}  // namespace

text::Tokenizer load_gguf_tokenizer(const GgufMetadata& metadata) {
  text::GgufVocabulary vocabulary;
  vocabulary.model = metadata.string(key("model"));
  vocabulary.pre = metadata.string_or(key("pre"), "");
  vocabulary.tokens = metadata.strings(key("tokens"));
  std::vector<float> scores;
  std::vector<std::int32_t> types;
  if (metadata.has(key("scores"))) scores = metadata.floats(key("scores"));
  if (metadata.has(key("token_type"))) {
    for (const std::int64_t type : metadata.integers(key("token_type"))) {
      types.push_back(static_cast<std::int32_t>(std::clamp<std::int64_t>(type, 0, 255)));
    }
  }
  vocabulary.scores = scores;
  vocabulary.types = types;
  if (metadata.has(key("merges"))) vocabulary.merges = metadata.strings(key("merges"));
  vocabulary.bos = read_id(metadata, "bos");
  vocabulary.eos = read_id(metadata, "eos");
  vocabulary.unk = read_id(metadata, "unknown");
  vocabulary.sep = read_id(metadata, "seperator");
  vocabulary.pad = read_id(metadata, "padding");
  vocabulary.cls = read_id(metadata, "cls");
  vocabulary.mask = read_id(metadata, "mask");
  vocabulary.add_bos = read_flag(metadata, "add_bos_token");
  vocabulary.add_eos = read_flag(metadata, "add_eos_token");
  vocabulary.add_space_prefix = metadata.boolean_or(key("add_space_prefix"), true);
  return text::Tokenizer::from_gguf(vocabulary, metadata.origin());
}

ModelLanguage load_gguf_language(const GgufMetadata& metadata) {
  ModelLanguage language{.tokenizer = load_gguf_tokenizer(metadata),
                         .eos_ids = {},
                         .bos_token = {},
                         .eos_token = {},
                         .chat_template = {}};
  const auto eos = read_id(metadata, "eos");
  language.bos_token = token_text(language.tokenizer, read_id(metadata, "bos"));
  language.eos_token = token_text(language.tokenizer, eos);
  for (const auto& id : {eos, read_id(metadata, "eot")}) {
    if (id && std::ranges::find(language.eos_ids, *id) == language.eos_ids.end())
      language.eos_ids.push_back(*id);
  }
  constexpr std::string_view kTemplate = "tokenizer.chat_template";
  if (metadata.has(kTemplate)) {
    language.chat_template = text::ChatTemplate::parse(metadata.string(kTemplate),
                                                       metadata.origin() + ": " + std::string(kTemplate));
  }
  return language;
}

}  // namespace kvasir::generation
