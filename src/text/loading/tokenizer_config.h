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

// A special token as a configuration gives it: its content, with or without flags.
struct SpecialToken {
  AddedToken token;
  bool has_flags = false;
  bool from_class = false;  // no file names it
};

// What a tokenizer's class adds to the settings in the files.
struct TokenizerClass;

struct TokenizerConfig {
  std::string tokenizer_class;                  // without "Fast"; empty if unknown
  const TokenizerClass* known_class = nullptr;  // nullptr: nothing special about it
  bool has_tokenizer_json = false;
  // Set for BertTokenizer and its relatives, whose configuration overrides the normaliser.
  std::optional<BertNormalizerOptions> bert;
  bool overrides_chinese_chars = true;  // false for MPNet's, whose configuration does not set this
  std::array<std::optional<SpecialToken>, kSpecialRoles> special;
  std::vector<SpecialToken> additional_special;
  std::map<std::int32_t, AddedToken> added_tokens;  // by id
  bool legacy_tokens = true;     // they come from added_tokens.json, which tokenizer.json overrides
  std::size_t model_max_length;  // SIZE_MAX if unknown
  std::vector<std::string> model_input_names;
  std::optional<bool> pad_left;
  bool clean_up_tokenization_spaces = false;

  std::optional<bool> add_prefix_space;
  bool add_prefix_space_is_null = false;  // the file has null, which for Llama's differs from a missing key
  bool trim_offsets = true;               // RoBERTa's
  std::optional<bool> add_bos_token, add_eos_token;
  bool legacy = true;                                               // Llama's
  std::optional<bool> do_lower_case, keep_accents, split_by_punct;  // for SentencePiece models

  const std::optional<SpecialToken>& role(SpecialRole role) const {
    return special[static_cast<std::size_t>(role)];
  }
};

// Reads those of the folder's configuration files that exist; default_class is the tokenizer's class if they
// do not name one. Throws kFormat (naming file and key), kIo.
TokenizerConfig load_tokenizer_config(const formats::ModelFolder& folder, const std::string& default_class);

// Adds the configuration's tokens, and applies the settings that its class overrides: BERT's normaliser,
// spaces before byte-level words, trimming of offsets, the template of Llama and GPT-NeoX.
enum class PartsFrom { kTokenizerJson, kVocabularyFiles };
void apply_tokenizer_config(const TokenizerConfig& config, PartsFrom from, TokenizerParts& parts,
                            const std::string& origin);

enum class VocabularyKind { kNone, kWordPiece, kByteLevelBpe, kSentencePiece };
// The kind of files from which the class can be built without a tokenizer.json.
VocabularyKind vocabulary_kind(const TokenizerConfig& config) noexcept;

}  // namespace kvasir::text
