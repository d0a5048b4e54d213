// What transformers' tokenizer classes add to the parts of a tokenizer: tokenizer_config.json,
// special_tokens_map.json, added_tokens.json, and the defaults of the class.
//
// The rules are those of transformers 4.57 (PreTrainedTokenizerBase._from_pretrained,
// PreTrainedTokenizerFast, BertTokenizerFast).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "text/added_tokens.h"
#include "text/normalizer.h"
#include "text/tokenizer_json.h"

namespace kvasir::text {

// Roles of special tokens, in the order in which missing ones are added to the vocabulary.
enum class SpecialRole { kBos, kEos, kUnk, kSep, kPad, kCls, kMask };
inline constexpr std::size_t kSpecialRoles = 7;

// A special token as a configuration names it: only its content, or with its flags.
struct SpecialToken {
  AddedToken token;
  bool has_flags = false;
};

struct TokenizerConfig {
  std::string tokenizer_class;  // without "Fast"; empty if nothing says
  // Set for BertTokenizer and its kin, whose configuration has the last word on the normaliser.
  std::optional<BertNormalizerOptions> bert;
  std::array<std::optional<SpecialToken>, kSpecialRoles> special;
  std::vector<SpecialToken> additional_special;
  std::map<std::int32_t, AddedToken> added_tokens;  // by id
  bool legacy = true;            // they come from added_tokens.json, which tokenizer.json overrules
  std::size_t model_max_length;  // SIZE_MAX if nothing says
  std::vector<std::string> model_input_names;
  std::optional<bool> pad_left;

  const std::optional<SpecialToken>& role(SpecialRole role) const {
    return special[static_cast<std::size_t>(role)];
  }
};

// Reads the folder's configuration files, as far as there are any; default_class is the tokenizer's class if
// they do not tell. Throws kFormat (naming file and key), kIo.
TokenizerConfig load_tokenizer_config(const std::filesystem::path& folder, const std::string& default_class);

// Adds the configuration's tokens, and lets it override BERT's normaliser.
void apply_tokenizer_config(const TokenizerConfig& config, TokenizerParts& parts, const std::string& origin);

// The parts of a BERT tokenizer with this vocabulary: one token per line, numbered from 0. Throws kNotFound,
// kIo, kFormat, and kUnsupported if the class is not one of BERT's kin.
TokenizerParts load_vocab_txt(const std::filesystem::path& path, const TokenizerConfig& config);

}  // namespace kvasir::text
