// What transformers' tokenizer classes add to the parts of a tokenizer: tokenizer_config.json,
// special_tokens_map.json, added_tokens.json, and the defaults of the class.
//
// The rules are those of transformers 4.57 (PreTrainedTokenizerBase._from_pretrained,
// PreTrainedTokenizerFast and the fast class of each model).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "formats/model_folder.h"
#include "text/added_tokens.h"
#include "text/normalizers/normalizer.h"
#include "text/parts.h"

namespace kvasir::text {

// Roles of special tokens, in the order in which missing ones are added to the vocabulary.
enum class SpecialRole { kBos, kEos, kUnk, kSep, kPad, kCls, kMask };
inline constexpr std::size_t kSpecialRoles = 7;

// A special token as a configuration names it: only its content, or with its flags.
struct SpecialToken {
  AddedToken token;
  bool has_flags = false;
  bool from_class = false;  // no file names it
};

// What a class of tokenizer does beside what the files say.
struct TokenizerClass;

struct TokenizerConfig {
  std::string tokenizer_class;                  // without "Fast"; empty if nothing says
  const TokenizerClass* known_class = nullptr;  // nullptr: it is like any other
  bool has_tokenizer_json = false;
  // Set for BertTokenizer and its kin, whose configuration has the last word on the normaliser.
  std::optional<BertNormalizerOptions> bert;
  bool overrides_chinese_chars = true;  // of MPNet's it has none on that
  std::array<std::optional<SpecialToken>, kSpecialRoles> special;
  std::vector<SpecialToken> additional_special;
  std::map<std::int32_t, AddedToken> added_tokens;  // by id
  bool legacy_tokens = true;     // they come from added_tokens.json, which tokenizer.json overrules
  std::size_t model_max_length;  // SIZE_MAX if nothing says
  std::vector<std::string> model_input_names;
  std::optional<bool> pad_left;
  bool clean_up_tokenization_spaces = false;

  std::optional<bool> add_prefix_space;
  bool add_prefix_space_is_null = false;  // says the file, which is less than nothing for Llama's
  bool trim_offsets = true;               // RoBERTa's
  std::optional<bool> add_bos_token, add_eos_token;
  bool legacy = true;                                               // Llama's
  std::optional<bool> do_lower_case, keep_accents, split_by_punct;  // for SentencePiece models

  const std::optional<SpecialToken>& role(SpecialRole role) const {
    return special[static_cast<std::size_t>(role)];
  }
};

// Reads the folder's configuration files, as far as there are any; default_class is the tokenizer's class if
// they do not tell. Throws kFormat (naming file and key), kIo.
TokenizerConfig load_tokenizer_config(const formats::ModelFolder& folder, const std::string& default_class);

// Adds the configuration's tokens, and lets it override what its class has a say in: BERT's normaliser,
// spaces before byte-level words, trimming of offsets, the template of Llama and GPT-NeoX.
enum class PartsFrom { kTokenizerJson, kVocabularyFiles };
void apply_tokenizer_config(const TokenizerConfig& config, PartsFrom from, TokenizerParts& parts,
                            const std::string& origin);

enum class VocabularyKind { kNone, kWordPiece, kByteLevelBpe, kSentencePiece };
// From what files the class can be built without a tokenizer.json.
VocabularyKind vocabulary_kind(const TokenizerConfig& config) noexcept;

}  // namespace kvasir::text
