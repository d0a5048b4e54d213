// A folder in the layout of sentence-transformers: modules.json, and the settings of its parts.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "models/sentence_head.h"

namespace kvasir::models {

// How vectors of the model are to be compared (similarity_fn_name).
enum class Similarity { kCosine, kDot, kEuclidean, kManhattan };
const char* similarity_name(Similarity similarity) noexcept;

struct SentenceModules {
  std::filesystem::path transformer;  // the encoder's folder
  SentenceLayout head;
  // Of the text, before it is tokenised: sentence_bert_config.json and config_sentence_transformers.json.
  std::optional<std::size_t> max_seq_length;  // tokens, special ones included
  bool do_lower_case = false;
  bool include_prompt = true;  // whether the prompt's tokens are pooled
  std::map<std::string, std::string> prompts;
  std::optional<std::string> default_prompt_name;
  Similarity similarity = Similarity::kCosine;
};

// The folder of a model's encoder: the model's own, or the one that modules.json names.
std::filesystem::path encoder_folder(const std::filesystem::path& model);
bool has_sentence_modules(const std::filesystem::path& folder);
// Throws kFormat, kUnsupported (an unknown module, by name), kIo.
SentenceModules read_sentence_modules(const std::filesystem::path& folder);
// Whether modules.json names a folder of this name.
bool is_module_folder(const std::filesystem::path& model, const std::filesystem::path& name);
// What sentence-transformers makes of an encoder's folder without modules.json: the mean of all tokens.
SentenceModules mean_of_tokens(const std::filesystem::path& folder);

}  // namespace kvasir::models
